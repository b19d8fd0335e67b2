"""The work list: local codes, local answers and missing units as they stand in the record.

Nothing is kept for it: what is unmapped is found among the entries, whose last reading counts.
These questions read the whole table; an operator asks them, no stage does.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
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
    """A local code, local answer or unknown unit that stands in the record.

    Attributes:
        interface: Sender.
        system: URI of the code's system; empty for a unit.
        code: The code, or the unit as sent; empty for a number without one.
        text: Words that came with it; of an unknown unit, a code it came with.
        count: How many entries.
        last: When it was received last, aware UTC.
        asked: Of an answer or a number without a unit: system and code of what was asked, in each
            of its codes.
    """

    interface: str
    system: str
    code: str
    text: str
    count: int
    last: datetime
    asked: tuple[tuple[str, str], ...] = ()


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
    """Units that nobody knows, most frequent first; numbers without one by what was asked."""
    found: _Found = defaultdict(list)
    for row, body in _bodies(connection, b'"unit":null'):
        value = body.get("value", {})
        if value.get("type") == "Quantity" and value["unit"] is None:
            unit = value["raw_unit"]
            asked = () if unit else _codings(row, body)
            found[row.interface, "", unit, asked].append((row, row.code))
    return _counted(found)


def answers(connection: Connection, local: Callable[[str], bool]) -> list[Local]:
    """Answers whose codes are all of `local` systems, by what was asked, most frequent first."""
    found: _Found = defaultdict(list)
    for row, body in _bodies(connection, b'"type":"Coded"'):
        value = body.get("value", {})
        codings = value.get("codes", ()) if value.get("type") == "Coded" else ()
        if row.kind == "observation" and codings and all(local(c[0]) for c in codings):
            system, code, display = codings[0]
            place = (row.interface, system, code, _codings(row, body))
            found[place].append((row, display or value["text"]))
    return _counted(found)


_Found = dict[tuple[str, str, str, tuple[tuple[str, str], ...]], list[tuple[Any, str]]]


def _counted(found: _Found) -> list[Local]:
    made = [
        Local(
            interface, system, code, rows[-1][1], len(rows),
            max(row.received_at for row, _ in rows), asked,
        )
        for (interface, system, code, asked), rows in found.items()
    ]  # fmt: skip
    return sorted(
        made, key=lambda item: (-item.count, item.interface, item.system, item.code, item.asked)
    )


def _codings(row: Any, body: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """System and code of what an entry is of, in each of its codes."""
    others = ((system, code) for system, code, _ in body.get("alternates", ()))
    return ((row.system, row.code), *others)


def _bodies(connection: Connection, sent: bytes) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Entries whose body holds a text, with that body."""
    query = (
        select(_c.interface, _c.kind, _c.system, _c.code, _c.received_at, _c.body)
        .where(_holds(connection, sent), _last(connection))
        .order_by(_c.id)
    )
    for row in connection.execute(query):
        yield row, orjson.loads(row.body)


def messages_of_code(
    connection: Connection,
    interface: str,
    system: str,
    code: str,
    asked: tuple[str, str] | None = None,
) -> list[int]:
    """Messages of a sender in which a code stands, mapped or not, oldest first.

    Args:
        connection: To the ledger.
        interface: Sender.
        system: URI of the code's system.
        code: The code.
        asked: System URI and code of the question whose answer it is; None for wherever it stands.
    """
    if asked is None:
        return _messages(connection, interface, _named(connection, system, code))
    answer = _holds(connection, _coding(system, code))
    return _messages(connection, interface, answer, _named(connection, *asked))


def messages_of_unit(
    connection: Connection, interface: str, unit: str, asked: tuple[str, str] | None = None
) -> list[int]:
    """Messages of a sender in which a unit stands, known or not, oldest first.

    `asked` is what the numbers are of, by system URI and code; None for whatever they are of.
    """
    stands = _holds(connection, b'"raw_unit":' + orjson.dumps(unit))
    if asked is None:
        return _messages(connection, interface, stands)
    return _messages(connection, interface, stands, _named(connection, *asked))


def _messages(connection: Connection, interface: str, *conditions: Any) -> list[int]:
    query = (
        select(_c.message)
        .where(_c.interface == interface, *conditions, _last(connection))
        .distinct()
        .order_by(_c.message)
    )
    return list(connection.execute(query).scalars())


def _named(connection: Connection, system: str, code: str) -> Any:
    """That a code stands in an entry, first or beside another."""
    first = and_(_c.system == system, _c.code == code)
    return first | _holds(connection, _coding(system, code))


def _coding(system: str, code: str) -> bytes:
    """How a coding begins in an entry's body."""
    return orjson.dumps([system, code])[:-1] + b","


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
