"""The work list of codes: local codes and unknown units as they stand in the record.

Nothing is kept for it: what is unmapped is found among the entries, whose last reading counts.
These questions read the whole table; an operator asks them, no stage does.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, LargeBinary, and_, bindparam, func, select

from interop.tables import EntryRow

_entry = EntryRow.__table__  # type: ignore[attr-defined]
_later = _entry.alias("later")
_c = _entry.c
_MOST = 500


@dataclass(frozen=True, slots=True)
class Local:
    """A local code or unit that stands in the record.

    Attributes:
        interface: Sender.
        system: URI of the code's system; empty for a unit.
        code: The code, or the unit as sent.
        text: Words that came with it; of a unit, a code it came with.
        count: How many entries.
        last: When it was received last, aware UTC.
    """

    interface: str
    system: str
    code: str
    text: str
    count: int
    last: datetime


def codes(connection: Connection, local: Callable[[str], bool]) -> list[Local]:
    """Codes of systems that are `local`, which no map gave another, most frequent first."""
    systems = connection.execute(select(_c.system).where(_c.system != "").distinct()).scalars()
    groups = (_c.interface, _c.system, _c.code)
    query = (
        select(*groups, func.count(), func.max(_c.received_at), func.max(_c.id))
        .where(_c.system.in_([system for system in systems if local(system)]), _last(connection))
        .group_by(*groups)
    )
    found = list(connection.execute(query))
    newest: dict[int, Any] = {}
    for start in range(0, len(found), _MOST):
        some = [row[5] for row in found[start : start + _MOST]]
        named = connection.execute(select(_c.id, _c.body).where(_c.id.in_(some)))
        newest |= {row.id: orjson.loads(row.body) for row in named}
    made = [
        Local(interface, system, code, newest[newest_id].get("display", ""), count, last)
        for interface, system, code, count, last, newest_id in found
    ]
    return sorted(made, key=lambda item: (-item.count, item.interface, item.system, item.code))


def units(connection: Connection) -> list[Local]:
    """Units that nobody knows, most frequent first; a blank one is an empty code."""
    counts: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for row, unit in _unknown_units(connection):
        counts[row.interface, unit].append(row)
    made = [
        Local(interface, "", unit, rows[-1].code, len(rows), max(r.received_at for r in rows))
        for (interface, unit), rows in counts.items()
    ]
    return sorted(made, key=lambda item: (-item.count, item.interface, item.code))


def messages_of_code(connection: Connection, interface: str, system: str, code: str) -> list[int]:
    """Messages of a sender in which a code stands, mapped or not, oldest first."""
    coding = orjson.dumps([system, code])[:-1] + b","
    query = (
        select(_c.message)
        .where(
            _c.interface == interface,
            and_(_c.system == system, _c.code == code) | _holds(connection, coding),
            _last(connection),
        )
        .distinct()
        .order_by(_c.message)
    )
    return list(connection.execute(query).scalars())


def messages_of_unit(connection: Connection, interface: str, unit: str) -> list[int]:
    """Messages of a sender in which a unit stands, known or not, oldest first."""
    sent = b'"raw_unit":' + orjson.dumps(unit)
    query = (
        select(_c.message)
        .where(_c.interface == interface, _holds(connection, sent), _last(connection))
        .distinct()
        .order_by(_c.message)
    )
    return list(connection.execute(query).scalars())


def _unknown_units(connection: Connection) -> Iterator[tuple[Any, str]]:
    """Entries of a number without a UCUM unit, with the unit as sent."""
    query = (
        select(_c.interface, _c.code, _c.received_at, _c.body)
        .where(_holds(connection, b'"unit":null'), _last(connection))
        .order_by(_c.id)
    )
    for row in connection.execute(query):
        value = orjson.loads(row.body).get("value", {})
        if value.get("type") == "Quantity" and value["unit"] is None:
            yield row, value["raw_unit"]


def _last(connection: Connection) -> Any:
    """That an entry is its message's last word on its place, and was not unsaid."""
    later = select(_later.c.id).where(
        _later.c.message == _c.message,
        _later.c.path == _c.path,
        _later.c.key == _c.key,
        _later.c.reading > _c.reading,
    )
    return and_(~later.exists(), ~_holds(connection, b'"unsaid":true'))


def _holds(connection: Connection, sent: bytes) -> Any:
    """That a text stands in the entry's body."""
    if connection.dialect.name == "postgresql":
        pattern = b"%" + re.sub(rb"([\\%_])", rb"\\\1", sent) + b"%"
        return _c.body.op("LIKE", is_comparison=True)(bindparam(None, pattern, LargeBinary))
    return func.instr(_c.body, sent) > 0
