"""The work list of local codes and units, and the replay of what a mended map concerns.

The maps are `codes`; what stands in the record is asked of `interop.ledger.unmapped`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from interop.ledger import unmapped
from interop.ledger.engine import reading
from interop.ledger.unmapped import Local
from mappings import codes, units
from mappings.site import Site
from workers.codes import UNIT, question
from workers.parts import Parts
from workers.replay import replay_message
from workers.settings import BadSettings

Why = Literal["code without a map", "answer without a map", "unit not known", "no unit sent"]


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the work list.

    Attributes:
        sender: Interface.
        system: As a code map writes it; `unit` for a unit.
        code: The code, or the unit as sent; empty for a number that came without one.
        of: Question of an answer or of a number without a unit, as a code map writes it.
        why: What is wrong.
        text: Words that came with it; of a unit, a code it came with.
        count: How many entries.
        last: When it was received last, aware UTC.
        mended: The maps know it now: a replay mends the record.
    """

    sender: str
    system: str
    code: str
    of: str
    why: Why
    text: str
    count: int
    last: datetime
    mended: bool


def listed(parts: Parts) -> list[Item]:
    """Everything local that no map has changed in the record: codes, answers, units."""
    with reading(parts.engine) as connection:
        local = unmapped.codes(connection, lambda system: not codes.is_standard(system))
        answers = unmapped.answers(connection, lambda system: not codes.is_standard(system))
        unknown = unmapped.units(connection)
    return [
        *(_item(parts, item, "code without a map") for item in local),
        *(_item(parts, item, "answer without a map") for item in answers),
        *(
            _item(parts, item, "unit not known" if item.code else "no unit sent")
            for item in unknown
        ),
    ]


def _item(parts: Parts, item: Local, why: Why) -> Item:
    site = parts.site.senders.get(item.interface)
    mended = site is not None and _known(site, item, why)
    system = codes.system_name(item.system) if item.system else UNIT
    asked = next((f"{codes.system_name(system)}|{code}" for system, code in item.asked), "")
    return Item(
        item.interface, system, item.code, asked, why, item.text, item.count, item.last, mended
    )


def _known(site: Site, item: Local, why: Why) -> bool:
    """Whether the sender's maps know it by now."""
    match why:
        case "unit not known":
            return units.normalise(item.code, site.unit_aliases) is not None
        case "no unit sent":
            return any(asked in site.default_units for asked in item.asked)
    place = (item.system, item.code)
    return place in site.code_maps or any(
        (*asked, *place) in site.answer_maps for asked in item.asked
    )


def replay_code(parts: Parts, sender: str, system: str, code: str, of: str = "") -> int:
    """Queue the messages of a sender in which a code or unit stands; how many there are.

    Args:
        parts: The service's.
        sender: Interface.
        system: As a code map writes it; `unit` for a unit.
        code: The code, or the unit as sent; empty for numbers without one.
        of: Only of this question, as a code map writes it.

    Raises:
        BadSettings: The site has no such sender, or `of` names no question.
    """
    chosen = _concerned(parts, sender, system, code, of)
    for message in chosen:
        replay_message(parts, message)
    return len(chosen)


def replay_mended(parts: Parts) -> int:
    """Queue the messages of everything listed that the maps know now; how many there are."""
    chosen = {
        message
        for item in listed(parts)
        if item.mended
        for message in _concerned(parts, item.sender, item.system, item.code, item.of)
    }
    for message in sorted(chosen):
        replay_message(parts, message)
    return len(chosen)


def _concerned(parts: Parts, sender: str, system: str, code: str, of: str) -> list[int]:
    if sender not in parts.site.senders:
        raise BadSettings(f"the site has no sender {sender}")
    asked = question(of) if of else None
    if of and asked is None:
        raise BadSettings(f"{of} is no question: its system and code are, as in L|AFP")
    with reading(parts.engine) as connection:
        if system == UNIT:
            return unmapped.messages_of_unit(connection, sender, code, asked)
        uri = codes.system_uri(system)
        return unmapped.messages_of_code(connection, sender, uri, code, asked)
