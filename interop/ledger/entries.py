"""Entries: the record's rows, appended once and read back as `Entry` values, by person.

Which identifiers name a person is kept in `persons`. Source: site rules 6, 9 to 11, 22.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, Select, and_, bindparam, or_, select, text, update

from interop.ledger.engine import Ids, failure
from interop.ledger.prepared import BulkInsert, Prepared
from interop.tables import EntryRow, IdentityRow, Person
from mappings.persons import mirrored, own
from mappings.record import Code, Entry, Identifier, Knowledge, Source
from mappings.record_json import to_json, value_from_json, when_from_json

_entry = EntryRow.__table__  # type: ignore[attr-defined]
_identity = IdentityRow.__table__  # type: ignore[attr-defined]
_person = Person.__table__  # type: ignore[attr-defined]
_SAID = frozenset({"alias", "move"})
# Written into the statement, not bound: a partial index is used only for words it can read.
_IS_RARE = text("entry.kind NOT IN ('observation', 'patient')")
_IS_SAID = text("entry.kind IN ('alias', 'move')")
_MOST_NAMES = 100
_SINCE, _MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
Rows = Sequence[Any]  # as the driver takes them


def rows(engine: Engine, entries: Sequence[Entry], ids: Ids, now_ms: int) -> Rows:
    """Entries as rows to append, made before the write lock is taken.

    What is said of two identifiers is written under both, so that either leads to the other.
    """
    said = [e for e in entries if e.kind in _SAID and e.value != e.patient]
    made = [_row(e, ids.next(now_ms)) for e in (*entries, *map(mirrored, said))]
    return _insert(engine).bound(made)


def append(connection: Connection, some: Rows) -> None:
    """Write rows of entries; those of a message that was mapped before are left as they are.

    Raises:
        LedgerRefuses: The database will never take a value of them.
        LedgerUnavailable: Any other error of the database.
    """
    try:
        cursor = connection.connection.cursor()
        _insert(connection.engine).run(cursor, some)
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
    "reading",
    "interface",
    "origin",
    "rank",
    "received_at",
    "effective_ms",
    "moment_ms",
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
        entry.reading,
        source.interface,
        source.origin,
        source.rank,
        source.received_at,
        None if entry.effective is None else ms(entry.effective.earliest),
        ms(entry.precedence[0]),
        orjson.dumps(to_json(entry)),
    )


def ms(moment: datetime) -> int:
    """Milliseconds since 1970, downwards."""
    return (moment - _SINCE) // _MILLISECOND


def from_row(row: Any) -> Entry:
    """An entry as it was stored; the row has every column, in the table's order."""
    columns = tuple(row)
    return (_remembered if len(columns[-1]) <= _LONG else _read)(columns)


def _read(row: tuple[Any, ...]) -> Entry:
    # By place: to ask a row by name takes longer than to parse its body.
    (
        seq, authority, patient, kind, key, twin, system, code, status, message, path, reading,
        interface, origin, rank, received_at, _effective, _moment, stored,
    ) = row  # fmt: skip
    body = orjson.loads(stored)
    told = body.get
    return Entry(
        kind=kind,
        key=key,
        patient=Identifier(patient, authority),
        source=Source(
            interface, message, received_at, origin, rank, told("visit", ""), told("account", "")
        ),
        path=path,
        status=status,
        code=Code(system, code, told("display", "")) if code else None,
        alternates=tuple(Code(*c) for c in told("alternates", ())),
        value=value_from_json(body["value"]) if "value" in body else None,
        effective=when_from_json(body["effective"]) if "effective" in body else None,
        source_time=when_from_json(body["source_time"]) if "source_time" in body else None,
        twin=twin,
        details=told("details", {}),
        seq=seq,
        reading=reading,
    )


# Each protocol, and each message of a patient, asks for the same rows, and rows never change.
_remembered = lru_cache(maxsize=4096)(_read)
_LONG = 4096  # bytes of a body that is not remembered


def of_person(connection: Connection, person: str) -> list[Entry]:
    """Every entry of a person: filed under their identifiers, and of visits moved to them.

    What a pack reads comes from `decisive`, which reads no more than may decide it.
    """
    names = identifiers(connection, person)
    found = _filed(connection, names)
    if all(entry.kind != "move" for entry in found):
        return found
    return own(_connected(connection, names[0]), names[0])


def of_identifier(
    connection: Connection,
    who: Identifier,
    *,
    as_of: datetime | None = None,
    knowledge: Knowledge = "received",
) -> list[Entry]:
    """Every entry of the person whom an identifier named at a moment, without the projection.

    Args:
        connection: A transaction.
        who: The identifier.
        as_of: Aware UTC; entries and words on identifiers that were known later are left out.
            None reads all that is known.
        knowledge: As for `PatientRecord.of`.
    """
    connected = _connected(connection, who)
    return own(connected, who, as_of=as_of, knowledge=knowledge)


def _connected(connection: Connection, who: Identifier) -> list[Entry]:
    """Entries under every identifier that any word ever connected with one."""
    said = statements(connection, [who])
    return _filed(connection, {who, *(entry.patient for entry in said)})


def _filed(connection: Connection, names: Collection[Identifier]) -> list[Entry]:
    """Entries filed under identifiers, in ledger order."""
    found: list[Entry] = []
    for some in batches(names):
        rows = connection.execute(_filed_under(len(some)), pairs(some))
        found += [from_row(row) for row in rows]
    return found


@lru_cache(maxsize=_MOST_NAMES)
def _filed_under(count: int) -> Select[Any]:
    """Entries under so many identifiers."""
    c = _entry.c
    return select(_entry).where(_pairs(c.authority, c.patient, count)).order_by(c.id)


def pairs(some: Sequence[Identifier]) -> dict[str, Any]:
    """Identifiers as parameters a0, v0, a1 ..."""
    asked = {f"a{n}": name.authority for n, name in enumerate(some)}
    return asked | {f"v{n}": name.value for n, name in enumerate(some)}


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
        rows = connection.execute(select(_entry).where(_IS_RARE, _IS_SAID, _under(some)))
        found += [from_row(row) for row in rows]
    return found


def of_kind(connection: Connection, kind: str) -> Iterator[Entry]:
    """Every entry of a kind, of whomever; reads the whole ledger."""
    for row in connection.execute(select(_entry).where(_entry.c.kind == kind)):
        yield from_row(row)


def batches(names: Iterable[Identifier]) -> Iterator[list[Identifier]]:
    """A few at a time: databases bound how deep a condition may be."""
    listed = list(names)
    for start in range(0, len(listed), _MOST_NAMES):
        yield listed[start : start + _MOST_NAMES]


def _under(names: Iterable[Identifier]) -> Any:
    c = _entry.c
    return or_(*(and_(c.authority == n.authority, c.patient == n.value) for n in names))


def identifiers(connection: Connection, person: str) -> list[Identifier]:
    """All identifiers that name a person."""
    rows = _NAMES.rows(connection, {"who": person})
    return [Identifier(value, authority) for value, authority in rows]


def person_of(connection: Connection, names: Iterable[Identifier]) -> str | None:
    """The person any of these identifiers names, or None."""
    return next(iter(persons_of(connection, names)), None)


def named(connection: Connection, some: Sequence[Identifier]) -> list[Any]:
    """The identity rows of a batch of identifiers, of those that are known."""
    return _named(len(some)).rows(connection, pairs(some))


@lru_cache(maxsize=_MOST_NAMES)
def _named(count: int) -> Prepared:
    """The rows of so many identifiers."""
    return Prepared(
        select(_identity).where(_pairs(_identity.c.authority, _identity.c.value, count))
    )


def _pairs(authority: Any, value: Any, count: int) -> Any:
    """The condition that a row's (authority, value) is one of so many, given as by `pairs`."""
    asked: Iterator[Any] = ((bindparam(f"a{n}"), bindparam(f"v{n}")) for n in range(count))
    return or_(*(and_(authority == a, value == v) for a, v in asked))


def persons_of(connection: Connection, names: Iterable[Identifier]) -> list[str]:
    """Every person these identifiers name; more than one where a message would join them."""
    return sorted({row.person for some in batches(names) for row in named(connection, some)})


_RAISE = Prepared(
    update(_person)
    .where(_person.c.id == bindparam("who"))
    .values(epoch=_person.c.epoch + 1)
    .returning(_person.c.epoch)
)
_EPOCH = select(_person.c.epoch).where(_person.c.id == bindparam("who"))
_EPOCHS = {False: Prepared(_EPOCH), True: Prepared(_EPOCH.with_for_update())}
_NAMES = Prepared(
    select(_identity.c.value, _identity.c.authority).where(_identity.c.person == bindparam("who"))
)


def raise_epoch(connection: Connection, person: str) -> int:
    """Say that the record of a person changed; assess and deliver compare before they finish."""
    (row,) = _RAISE.rows(connection, {"who": person})
    return int(row.epoch)


def epoch_of(connection: Connection, person: str, *, lock: bool = False) -> int:
    """The present epoch of a person; locked, nobody raises it before this transaction ends."""
    (row,) = _EPOCHS[lock].rows(connection, {"who": person})
    return int(row.epoch)
