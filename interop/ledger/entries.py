"""Entries: the record's rows, appended once and read back as `Entry` values, by person.

Which identifiers name a person is kept in `persons`. Source: site rules 6, 9 to 11, 22.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, and_, or_, select, text, update

from interop.ledger.engine import BulkInsert, Ids, failure
from interop.tables import EntryRow, IdentityRow, Person
from mappings.persons import mirrored, own
from mappings.record import (
    Code,
    Entry,
    Identifier,
    Knowledge,
    Source,
    to_json,
    value_from_json,
    when_from_json,
)

_entry = EntryRow.__table__  # type: ignore[attr-defined]
_identity = IdentityRow.__table__  # type: ignore[attr-defined]
_person = Person.__table__  # type: ignore[attr-defined]
_SAID = frozenset({"alias", "move"})
# Written into the statement, not bound: a partial index is used only for words it can read.
_IS_SAID = text("entry.kind IN ('alias', 'move')")
_IS_MOVE = text("entry.kind = 'move'")
_MOST_NAMES = 100


def append(connection: Connection, entries: Sequence[Entry], ids: Ids, now_ms: int) -> None:
    """Write entries; those of a message that was mapped before are left as they are.

    What is said of two identifiers is written under both, so that either leads to the other.

    Raises:
        LedgerRefuses: The database will never take a value of them.
        LedgerUnavailable: Any other error of the database.
    """
    said = [e for e in entries if e.kind in _SAID and e.value != e.patient]
    rows = [_row(e, ids.next(now_ms)) for e in (*entries, *map(mirrored, said))]
    try:
        cursor = connection.connection.cursor()
        _insert(connection.engine).run(cursor, rows)
        cursor.close()
    except connection.dialect.loaded_dbapi.Error as error:
        raise failure(error, "while writing entries") from error


@lru_cache(maxsize=4)
def _insert(engine: Engine) -> BulkInsert:
    return BulkInsert(_entry, _COLUMNS, engine, ignore=True)


_COLUMNS = (
    "id",
    "authority",
    "patient",
    "kind",
    "key",
    "twin",
    "system",
    "code",
    "status",
    "message",
    "path",
    "interface",
    "origin",
    "rank",
    "received_at",
    "body",
)


def _row(entry: Entry, row_id: int) -> tuple[Any, ...]:
    code = entry.code
    source = entry.source
    return (
        row_id,
        entry.patient.authority,
        entry.patient.value,
        entry.kind,
        entry.key,
        entry.twin,
        code.system if code else "",
        code.code if code else "",
        entry.status,
        source.message,
        entry.path,
        source.interface,
        source.origin,
        source.rank,
        source.received_at,
        orjson.dumps(to_json(entry)),
    )


def _entry_of(row: Any) -> Entry:
    body = orjson.loads(row.body)
    code = Code(row.system, row.code, body.get("display", "")) if row.code else None
    return Entry(
        kind=row.kind,
        key=row.key,
        patient=Identifier(row.patient, row.authority),
        source=Source(
            row.interface,
            row.message,
            row.received_at,
            row.origin,
            row.rank,
            body.get("visit", ""),
            body.get("account", ""),
        ),
        path=row.path,
        status=row.status,
        code=code,
        alternates=tuple(Code(*c) for c in body.get("alternates", ())),
        value=value_from_json(body["value"]) if "value" in body else None,
        effective=when_from_json(body["effective"]) if "effective" in body else None,
        source_time=when_from_json(body["source_time"]) if "source_time" in body else None,
        twin=row.twin,
        details=body.get("details", {}),
        seq=row.id,
    )


def of_person(
    connection: Connection, person: str, *, codes: Collection[str] | None = None
) -> list[Entry]:
    """Every entry of a person: filed under their identifiers, and of visits moved to them.

    Args:
        connection: A transaction.
        person: Ledger number of the person.
        codes: Only observations of these bare codes; entries without a code, and everything that
            is no observation, always come along.
    """
    names = identifiers(connection, person)
    found = _filed(connection, names, codes)
    if all(entry.kind != "move" for entry in found):
        return found
    return own(_connected(connection, names[0], codes), names[0])


def of_identifier(
    connection: Connection,
    who: Identifier,
    *,
    as_of: datetime | None = None,
    knowledge: Knowledge = "received",
    codes: Collection[str] | None = None,
) -> list[Entry]:
    """Every entry of the person whom an identifier named at a moment, without the projection.

    Args:
        connection: A transaction.
        who: The identifier.
        as_of: Aware UTC; entries and words on identifiers that were known later are left out.
            None reads all that is known.
        knowledge: As for `PatientRecord.of`.
        codes: As for `of_person`.
    """
    connected = _connected(connection, who, codes)
    return own(connected, who, as_of=as_of, knowledge=knowledge)


def _connected(
    connection: Connection, who: Identifier, codes: Collection[str] | None
) -> list[Entry]:
    """Entries under every identifier that any word ever connected with one."""
    said = statements(connection, [who])
    return _filed(connection, {who, *(entry.patient for entry in said)}, codes)


def _filed(
    connection: Connection, names: Collection[Identifier], codes: Collection[str] | None
) -> list[Entry]:
    """Entries filed under identifiers, in ledger order."""
    c = _entry.c
    found: list[Entry] = []
    for some in batches(names):
        query = select(_entry).where(_under(some)).order_by(c.id)
        if codes is not None:
            wanted = (c.kind != "observation", c.code.in_(tuple(codes)), c.code == "")
            query = query.where(or_(*wanted))
        found += [_entry_of(row) for row in connection.execute(query)]
    return found


def any_filed(connection: Connection, names: Iterable[Identifier]) -> bool:
    """Whether anything but words on identifiers is filed under any of these."""
    query = select(_entry.c.id).where(_under(names), _entry.c.kind.not_in(_SAID)).limit(1)
    return connection.execute(query).first() is not None


def statements(connection: Connection, names: Iterable[Identifier]) -> list[Entry]:
    """All that was ever said of identifiers (`alias`, `move`), and of those they lead to."""
    found: list[Entry] = []
    seen: set[Identifier] = set()
    ask = set(names)
    while ask:
        seen |= ask
        here = said_of(connection, ask)
        found += here
        ask = {e.value for e in here if isinstance(e.value, Identifier)} - seen
    return found


def said_of(connection: Connection, names: Iterable[Identifier]) -> list[Entry]:
    """All that was said of identifiers (`alias`, `move`)."""
    found: list[Entry] = []
    for some in batches(names):
        rows = connection.execute(select(_entry).where(_IS_SAID, _under(some)))
        found += [_entry_of(row) for row in rows]
    return found


def of_kind(connection: Connection, kind: str) -> Iterator[Entry]:
    """Every entry of a kind, of whomever; reads the whole ledger."""
    for row in connection.execute(select(_entry).where(_entry.c.kind == kind)):
        yield _entry_of(row)


def batches(names: Iterable[Identifier]) -> Iterator[list[Identifier]]:
    """A few at a time: databases bound how deep a condition may be."""
    listed = list(names)
    for start in range(0, len(listed), _MOST_NAMES):
        yield listed[start : start + _MOST_NAMES]


def versions(connection: Connection, person: str, keys: Collection[str]) -> list[Entry]:
    """Every stored version of the facts with these keys or twins."""
    names = identifiers(connection, person)
    if not names or not keys:
        return []
    moved = select(_entry.c.id).where(_IS_SAID, _IS_MOVE, _under(names)).limit(1)
    if connection.execute(moved).first() is not None:
        every = of_person(connection, person)
        return [e for e in every if e.key in keys or e.twin in keys]
    c = _entry.c
    query = select(_entry).where(_under(names), or_(c.key.in_(keys), c.twin.in_(keys)))
    return [_entry_of(row) for row in connection.execute(query)]


def _under(names: Iterable[Identifier]) -> Any:
    c = _entry.c
    return or_(*(and_(c.authority == n.authority, c.patient == n.value) for n in names))


def identifiers(connection: Connection, person: str) -> list[Identifier]:
    """All identifiers that name a person."""
    c = _identity.c
    query = select(c.value, c.authority).where(c.person == person)
    return [Identifier(value, authority) for value, authority in connection.execute(query)]


def person_of(connection: Connection, names: Iterable[Identifier]) -> str | None:
    """The person any of these identifiers names, or None."""
    c = _identity.c
    wanted = [and_(c.authority == n.authority, c.value == n.value) for n in names]
    if not wanted:
        return None
    found: str | None = connection.execute(
        select(c.person).where(or_(*wanted)).order_by(c.person).limit(1)
    ).scalar()
    return found


def persons_of(connection: Connection, names: Iterable[Identifier]) -> list[str]:
    """Every person these identifiers name; more than one where a message would join them."""
    c = _identity.c
    wanted = [and_(c.authority == n.authority, c.value == n.value) for n in names]
    if not wanted:
        return []
    query = select(c.person).where(or_(*wanted)).distinct()
    return list(connection.execute(query).scalars())


def raise_epoch(connection: Connection, person: str) -> int:
    """Say that the record of a person changed; assess and deliver compare before they finish."""
    epoch: int = connection.execute(
        update(_person)
        .where(_person.c.id == person)
        .values(epoch=_person.c.epoch + 1)
        .returning(_person.c.epoch)
    ).scalar_one()
    return epoch


def epoch_of(connection: Connection, person: str, *, lock: bool = False) -> int:
    """The present epoch of a person; locked, nobody raises it before this transaction ends."""
    query = select(_person.c.epoch).where(_person.c.id == person)
    if lock and connection.dialect.name == "postgresql":
        query = query.with_for_update()
    return int(connection.execute(query).scalar_one())
