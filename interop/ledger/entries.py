"""Entries and persons: the record's rows, appended once and read back as `Entry` values.

Which identifiers name one person is itself told by entries (aliases); `identity` is a projection
of them that answers the question without a fold. Source: site rules 6, 7, 9 to 11, 22.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, and_, delete, insert, or_, select, update
from sqlmodel import SQLModel

from interop.ledger import jobs
from interop.ledger.engine import BulkInsert, Ids, failure, insert_ignore
from interop.tables import EntryRow, IdentityRow, Person
from mappings.record import (
    Code,
    Entry,
    Identifier,
    Source,
    to_json,
    value_from_json,
    when_from_json,
)

_entry = EntryRow.__table__  # type: ignore[attr-defined]
_identity = IdentityRow.__table__  # type: ignore[attr-defined]
_person = Person.__table__  # type: ignore[attr-defined]
_ALWAYS = ("patient", "alias")


def append(connection: Connection, entries: Sequence[Entry], ids: Ids, now_ms: int) -> None:
    """Write entries; those of a message that was mapped before are left as they are.

    Raises:
        LedgerRefuses: The database will never take a value of them.
        LedgerUnavailable: Any other error of the database.
    """
    rows = [_row(entry, ids.next(now_ms)) for entry in entries]
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
        source=Source(row.interface, row.message, row.received_at, row.origin, row.rank),
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
    """Every entry filed under a person's identifiers.

    Args:
        connection: A transaction.
        person: Ledger number of the person.
        codes: Only observations of these bare codes; entries without a code, and everything that
            is no observation, always come along.
    """
    names = identifiers(connection, person)
    if not names:
        return []
    c = _entry.c
    query = select(_entry).where(_under(names)).order_by(c.id)
    if codes is not None:
        query = query.where(or_(c.kind != "observation", c.code.in_(tuple(codes)), c.code == ""))
    return [_entry_of(row) for row in connection.execute(query)]


def versions(connection: Connection, person: str, keys: Collection[str]) -> list[Entry]:
    """Every stored version of the facts with these keys or twins."""
    names = identifiers(connection, person)
    if not names or not keys:
        return []
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


def resolve(connection: Connection, names: Sequence[Identifier]) -> str:
    """The person these identifiers name together, made if none is known; joins persons they link.

    A message that carries two identifiers of one patient is its sender's word that they are one.
    """
    known = _named(connection, names)
    persons = sorted(set(known.values()))
    made = None
    if not persons:
        made = uuid.uuid4().hex
        connection.execute(insert(_person), {"id": made, "epoch": 0})
        persons = [made]
    # In one order everywhere: two workers that make the same names wait, and do not deadlock.
    fresh = sorted({(n.authority, n.value) for n in names} - known.keys())
    if fresh:
        connection.execute(
            insert_ignore(_identity, connection.dialect.name),
            [{"authority": a, "value": v, "person": persons[0]} for a, v in fresh],
        )
    while True:
        person, *others = persons
        for other in others:
            _join(connection, other, person)
        if connection.dialect.name == "sqlite":  # one writer at a time: nobody came between
            return person
        epoch_of(connection, person, lock=True)
        persons = sorted(set(_named(connection, names).values()))
        if made is not None and made not in persons:
            connection.execute(delete(_person).where(_person.c.id == made))
            made = None
        if persons == [person]:
            return person


def _named(connection: Connection, names: Iterable[Identifier]) -> dict[tuple[str, str], str]:
    """Person by (authority, value), of those that are known."""
    c = _identity.c
    wanted = or_(*(and_(c.authority == n.authority, c.value == n.value) for n in names))
    rows = connection.execute(select(c.authority, c.value, c.person).where(wanted))
    return {(row.authority, row.value): row.person for row in rows}


# Everything kept under a person's number; readiness is judged anew instead.
_OF_PERSON = ("identity", "inbound", "study", "prediction", "used_input", "delivery")


def _join(connection: Connection, old: str, person: str) -> None:
    """File everything kept of one person under another."""
    epoch_of(connection, old, lock=True)  # who is writing under the old number finishes first
    tables = SQLModel.metadata.tables
    for table in (tables[name] for name in _OF_PERSON):
        connection.execute(update(table).where(table.c.person == old).values(person=person))
    _move_triggers(connection, old, person)
    jobs.rekey(connection, old, person)
    raise_epoch(connection, old)  # what is being computed for the old number must not be written


def _move_triggers(connection: Connection, old: str, person: str) -> None:
    """A trigger that waits must wait on under the new number; of two, the newer one."""
    readiness = SQLModel.metadata.tables["readiness"]
    c = readiness.c
    rows = connection.execute(
        select(c.pack, c.trigger, c.triggered_at).where(c.person == old, c.trigger.is_not(None))
    )
    for pack, trigger, at in rows.all():
        # The state is judged anew with the message that joined them.
        fresh = {"person": person, "pack": pack, "state": "waiting", "updated_at": at}
        connection.execute(insert_ignore(readiness, connection.dialect.name), [fresh])
        connection.execute(
            update(readiness)
            .where(
                c.person == person,
                c.pack == pack,
                or_(c.triggered_at.is_(None), c.triggered_at < at),
            )
            .values(trigger=trigger, triggered_at=at)
        )
    connection.execute(delete(readiness).where(c.person == old))


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
