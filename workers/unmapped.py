"""The work list of local codes and unknown units, and the replay of what a mended map concerns.

The maps are `codes`; what stands in the record is asked of `interop.ledger.unmapped`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from interop.ledger import unmapped
from interop.ledger.engine import reading
from interop.ledger.unmapped import Local
from mappings import codes, units
from workers.codes import UNIT
from workers.parts import Parts
from workers.replay import replay_message
from workers.settings import BadSettings


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the work list.

    Attributes:
        sender: Interface.
        system: As a code map writes it; `unit` for a unit.
        code: The code, or the unit as sent; empty for a number that came without one.
        text: Words that came with it; of a unit, a code it came with.
        count: How many entries.
        last: When it was received last, aware UTC.
        mended: The maps know it now: a replay mends the record.
    """

    sender: str
    system: str
    code: str
    text: str
    count: int
    last: datetime
    mended: bool


def listed(parts: Parts) -> list[Item]:
    """Everything local that no map has changed in the record, codes before units."""
    with reading(parts.engine) as connection:
        local = unmapped.codes(connection, lambda system: not codes.is_standard(system))
        unknown = unmapped.units(connection)
    named = [_item(parts, item, codes.system_name(item.system)) for item in local]
    return named + [_item(parts, item, UNIT) for item in unknown]


def _item(parts: Parts, item: Local, system: str) -> Item:
    site = parts.site.senders.get(item.interface)
    if site is None:
        mended = False
    elif system == UNIT:
        mended = units.normalise(item.code, site.unit_aliases) is not None
    else:
        mended = (item.system, item.code) in site.code_maps
    return Item(item.interface, system, item.code, item.text, item.count, item.last, mended)


def replay_code(parts: Parts, sender: str, system: str, code: str) -> int:
    """Queue the messages of a sender in which a code or unit stands; how many there are.

    Raises:
        BadSettings: The site has no such sender.
    """
    chosen = _concerned(parts, sender, system, code)
    for message in chosen:
        replay_message(parts, message)
    return len(chosen)


def replay_mended(parts: Parts) -> int:
    """Queue the messages of everything listed that the maps know now; how many there are."""
    chosen = {
        message
        for item in listed(parts)
        if item.mended
        for message in _concerned(parts, item.sender, item.system, item.code)
    }
    for message in sorted(chosen):
        replay_message(parts, message)
    return len(chosen)


def _concerned(parts: Parts, sender: str, system: str, code: str) -> list[int]:
    if sender not in parts.site.senders:
        raise BadSettings(f"the site has no sender {sender}")
    with reading(parts.engine) as connection:
        if system == UNIT:
            return unmapped.messages_of_unit(connection, sender, code)
        uri = codes.system_uri(system)
        return unmapped.messages_of_code(connection, sender, uri, code)
