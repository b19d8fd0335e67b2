"""Of a person's entries those that may decide what is asked, found without reading all of them.

A fact is read whole or not at all: with one version in a span come all versions that share its key
or its twin, wherever they lie, so that the fold chooses among them as it would among all entries.
Demographics come newest first, and only the newest. Source: site rules 9, 10 and 22;
docs/decisions/0012.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    exists,
    or_,
    select,
    text,
)

from interop.ledger import entries
from interop.ledger.prepared import Prepared, among, room, spread
from interop.tables import EntryRow
from mappings.record import Entry, Identifier, When
from mappings.wanted import Wanted

_entry = EntryRow.__table__  # type: ignore[attr-defined]
_IS_RARE = text("entry.kind NOT IN ('observation', 'patient')")
# Twins are told apart to the day at least, whatever zone their senders wrote.
_SLACK = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Found:
    """What may decide.

    Attributes:
        entries: Versions of facts, in no order.
        elsewhere: Codes that were asked for, of which there is something at another time only.
    """

    entries: list[Entry]
    elsewhere: frozenset[str] = frozenset()


class Reader:
    """One person's stored entries, for who asks several times in a transaction that adds none.

    Args:
        connection: The transaction.
        person: Ledger number of the person.
    """

    def __init__(self, connection: Connection, person: str) -> None:
        self._connection, self._person = connection, person
        self._rare: dict[str, list[Entry]] = {}
        self._told: dict[tuple[frozenset[str], datetime], list[Entry]] = {}

    @cached_property
    def _names(self) -> list[Identifier]:
        return entries.identifiers(self._connection, self._person)

    def of(self, wanted: Wanted, fresh: Sequence[Entry] = ()) -> Found:
        """The entries that may decide what is asked.

        Args:
            wanted: What is asked.
            fresh: Entries about to be stored, of which stored ones may be versions.
        """
        connection, names = self._connection, self._names
        if not names:
            return Found([])
        rare = self._of_kinds({*wanted.kinds, "move"})
        if self._rare["move"]:
            # Whose an entry is takes all that was ever said of visits (decision 10).
            return Found(entries.of_person(connection, self._person))
        told = self.newest({f"patient/{name}" for name in wanted.demographics}, wanted.as_of)
        if not wanted.spans:
            return Found([*rare, *told])
        new = [entry for entry in wanted.concerns(fresh) if entry.kind == "observation"]
        measured = _in_spans(connection, names, wanted)
        inside = [entry for entry in measured if wanted.spans_hold(entry)]
        measured += _other_versions(connection, names, [*measured, *new], with_twins=inside)
        seen = {e.code.code for e in (*measured, *new) if e.code is not None}
        elsewhere = _with_entries(connection, names, wanted.codes - seen)
        return Found([*rare, *told, *measured], elsewhere)

    def met(self, some: Sequence[Entry]) -> bool:
        """Whether any of some observations may be a version of a fact that is stored already."""
        connection, names = self._connection, self._names
        if not names or not some:
            return False
        if self._of_kinds({"move"}) or _ids_by_key(connection, names, {e.key for e in some}):
            return True
        # Two facts with filler numbers of their own stay two, though code and time are the same.
        weak = {e.twin for e in some if e.twin and "@" in e.key}
        asked = _twins_asked([e for e in some if e.twin])
        return bool(asked and _met_weakly(connection, names, asked, weak))

    def newest(self, keys: Collection[str], as_of: datetime) -> list[Entry]:
        """Of facts that came with their values and have no twins what was told last, with ties."""
        asked = (frozenset(keys), as_of)
        if asked not in self._told:
            self._told[asked] = _newest(self._connection, self._names, *asked)
        return self._told[asked]

    def _of_kinds(self, kinds: Collection[str]) -> list[Entry]:
        if new := set(kinds) - self._rare.keys():
            found = _of_kinds(self._connection, self._names, new)
            self._rare |= {kind: [e for e in found if e.kind == kind] for kind in new}
        return [entry for kind in kinds for entry in self._rare[kind]]


def of_person(connection: Connection, person: str, wanted: Wanted) -> Found:
    """The stored entries that may decide what is asked of a person, once."""
    return Reader(connection, person).of(wanted)


def facts(connection: Connection, person: str, some: Sequence[Entry]) -> list[Entry]:
    """Every stored version of the facts that some entries speak of."""
    names = entries.identifiers(connection, person)
    if not names or not some:
        return []
    if _of_kinds(connection, names, {"move"}):
        keys = {e.key for e in some} | {e.twin for e in some if e.twin}
        every = entries.of_person(connection, person)
        return [e for e in every if e.key in keys or e.twin in keys]
    return _other_versions(connection, names, some)


def named(connection: Connection, person: str, key: str) -> list[Entry]:
    """Every stored version of one fact that has no twins."""
    names = entries.identifiers(connection, person)
    if _of_kinds(connection, names, {"move"}):
        return [e for e in entries.of_person(connection, person) if e.key == key]
    return _by_ids(connection, _ids_by_key(connection, names, {key}))


def _of_kinds(
    connection: Connection, names: Sequence[Identifier], kinds: Collection[str]
) -> list[Entry]:
    found: list[Entry] = []
    for some in entries.batches(names):
        query = _kinds_of(len(some), room(len(kinds)))
        rows = query.rows(connection, entries.pairs(some) | spread("kind", kinds))
        found += map(entries.from_row, rows)
    return found


@lru_cache(maxsize=64)
def _kinds_of(names: int, kinds: int) -> Prepared:
    asked = among(_entry.c.kind, "kind", kinds)
    return Prepared(select(_entry).where(_IS_RARE, _of_names(names, asked)))


def _of_names(names: int, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """The conditions for each of so many identifiers: an OR whose every part an index answers."""
    c = _entry.c
    return or_(
        *(
            and_(c.authority == bindparam(f"a{n}"), c.patient == bindparam(f"v{n}"), *conditions)
            for n in range(names)
        )
    )


def _in_spans(connection: Connection, names: Sequence[Identifier], wanted: Wanted) -> list[Entry]:
    asked: dict[str, Any] = {}
    for n, span in enumerate(wanted.spans):
        asked |= {
            f"codes{n}": tuple(span.codes),
            f"low{n}": entries.ms(span.since - _SLACK),
            f"high{n}": entries.ms(span.until + _SLACK),
        }
    found: dict[int, Entry] = {}
    for some in entries.batches(names):
        query = _spans_of(len(some), len(wanted.spans))
        for row in connection.execute(query, {**entries.pairs(some), **asked}):
            found[row.id] = entries.from_row(row)
    return list(found.values())


@lru_cache(maxsize=64)
def _spans_of(names: int, spans: int) -> Select[Any]:
    c = _entry.c
    parts = [
        _of_names(
            names,
            c.code.in_(bindparam(f"codes{n}", expanding=True)),
            c.effective_ms >= bindparam(f"low{n}"),
            c.effective_ms <= bindparam(f"high{n}"),
        )
        for n in range(spans)
    ]
    return select(_entry).where(c.kind == "observation", or_(*parts))


def _other_versions(
    connection: Connection,
    names: Sequence[Identifier],
    some: Sequence[Entry],
    *,
    with_twins: Iterable[Entry] = (),
) -> list[Entry]:
    """Stored entries that share a key or a twin with some, or with one that does, and so on.

    `with_twins`: those whose twins are among `some` already.
    """
    have = {e.seq for e in some if e.seq}
    keys: set[str] = set()
    twins = {e.twin for e in with_twins if e.twin}
    found: list[Entry] = []
    ask: Sequence[Entry] = some
    while ask:
        mates = [e for e in ask if e.twin and e.twin not in twins]
        new_keys = {e.key for e in ask} - keys
        keys |= new_keys
        twins |= {e.twin for e in mates if e.twin}
        ids = _ids_by_key(connection, names, new_keys) | _ids_by_twin(connection, names, mates)
        ask = _by_ids(connection, ids - have)
        have |= ids
        found += ask
    return found


def _ids_by_key(
    connection: Connection, names: Sequence[Identifier], keys: Collection[str]
) -> set[int]:
    if not keys:
        return set()
    found: set[int] = set()
    for some in entries.batches(names):
        query = _ids_of_keys(len(some), room(len(keys)))
        rows = query.rows(connection, entries.pairs(some) | spread("key", keys))
        found.update(row.id for row in rows)
    return found


@lru_cache(maxsize=64)
def _ids_of_keys(names: int, keys: int) -> Prepared:
    asked = among(_entry.c.key, "key", keys)
    return Prepared(select(_entry.c.id).where(_of_names(names, asked)))


def _ids_by_twin(
    connection: Connection, names: Sequence[Identifier], some: Sequence[Entry]
) -> set[int]:
    """Entries with the twins of some: an observation's by code and time, any other's by kind."""
    found: set[int] = set()
    if asked := _twins_asked(some):
        found |= _ids(connection, _observed_twins, names, asked)
    others = [e for e in some if e.kind not in ("observation", "patient")]
    if others:
        asked = {"kinds": tuple({e.kind for e in others}), "twins": tuple({e.twin for e in others})}
        found |= _ids(connection, _rare_twins, names, asked)
    return found


def _twins_asked(some: Sequence[Entry]) -> dict[str, Any]:
    """The observations among some by code and time; empty where there is none."""
    measured = [e for e in some if e.kind == "observation" and e.code and e.effective]
    if not measured:
        return {}
    moments = [e.effective.earliest for e in measured if isinstance(e.effective, When)]
    return {
        "codes": tuple({e.code.code for e in measured if e.code}),
        "low": entries.ms(min(moments) - _SLACK),
        "high": entries.ms(max(moments) + _SLACK),
        "twins": tuple({e.twin for e in measured}),
    }


def _ids(
    connection: Connection, query: Any, names: Sequence[Identifier], asked: dict[str, Any]
) -> set[int]:
    found: set[int] = set()
    for some in entries.batches(names):
        found.update(
            connection.execute(query(len(some)), {**entries.pairs(some), **asked}).scalars()
        )
    return found


@lru_cache(maxsize=64)
def _observed_twins(names: int) -> Select[Any]:
    c = _entry.c
    twins = c.twin.in_(bindparam("twins", expanding=True))
    return select(c.id).where(
        twins,
        _of_names(
            names,
            c.code.in_(bindparam("codes", expanding=True)),
            c.effective_ms >= bindparam("low"),
            c.effective_ms <= bindparam("high"),
        ),
    )


def _met_weakly(
    connection: Connection,
    names: Sequence[Identifier],
    asked: dict[str, Any],
    weak: Collection[str],
) -> bool:
    """Whether any stored twin is one fact with theirs: either has no filler number."""
    lists = {"code": asked["codes"], "twin": asked["twins"], "weak": weak}
    values: dict[str, Any] = {"low": asked["low"], "high": asked["high"]}
    for name, listed in lists.items():
        values |= spread(name, listed)
    sizes = [room(len(listed)) for listed in lists.values()]
    return any(
        _weak_twins(len(some), *sizes).rows(connection, entries.pairs(some) | values)
        for some in entries.batches(names)
    )


@lru_cache(maxsize=64)
def _weak_twins(names: int, codes: int, twins: int, weak: int) -> Prepared:
    c = _entry.c
    here = _of_names(
        names,
        among(c.code, "code", codes),
        c.effective_ms >= bindparam("low"),
        c.effective_ms <= bindparam("high"),
    )
    alone = or_(c.key.contains("@"), among(c.twin, "weak", weak))
    return Prepared(select(c.id).where(among(c.twin, "twin", twins), here, alone).limit(1))


@lru_cache(maxsize=64)
def _rare_twins(names: int) -> Select[Any]:
    c = _entry.c
    kinds = c.kind.in_(bindparam("kinds", expanding=True))
    twins = c.twin.in_(bindparam("twins", expanding=True))
    return select(c.id).where(_IS_RARE, twins, _of_names(names, kinds))


_BY_ID = select(_entry).where(_entry.c.id.in_(bindparam("ids", expanding=True)))


def _by_ids(connection: Connection, ids: Collection[int]) -> list[Entry]:
    if not ids:
        return []
    return [entries.from_row(row) for row in connection.execute(_BY_ID, {"ids": tuple(ids)})]


def _newest(
    connection: Connection, names: Sequence[Identifier], keys: Collection[str], as_of: datetime
) -> list[Entry]:
    if not keys:
        return []
    named = {f"k{n}": key for n, key in enumerate(sorted(keys))}
    found: list[Entry] = []
    for some in entries.batches(names):
        asked = {**entries.pairs(some), **named, "as_of": as_of}
        query = _newest_of(len(some), len(named))
        found += map(entries.from_row, query.rows(connection, asked))
    messages = {entry.source.message for entry in found}
    reread = _reread(room(len(messages)))
    if messages and reread.first(connection, spread("message", messages)) is not None:
        # A message read again may tell less than it did, or at another time: all that was told.
        return _by_ids(connection, _ids_by_key(connection, names, keys))
    return found


@lru_cache(maxsize=16)
def _reread(messages: int) -> Prepared:
    told = among(_entry.c.message, "message", messages)
    return Prepared(select(_entry.c.id).where(told, _entry.c.reading > 0).limit(1))


@lru_cache(maxsize=64)
def _newest_of(names: int, keys: int) -> Prepared:
    c, parts = _entry.c, []
    for n in range(names):
        for k in range(keys):
            here = _entry.alias()
            newest = (
                select(here.c.moment_ms)
                .where(
                    here.c.authority == bindparam(f"a{n}"),
                    here.c.patient == bindparam(f"v{n}"),
                    here.c.key == bindparam(f"k{k}"),
                    here.c.received_at <= bindparam("as_of"),
                )
                .order_by(here.c.moment_ms.desc())
                .limit(1)
            )
            parts.append(
                and_(
                    c.authority == bindparam(f"a{n}"),
                    c.patient == bindparam(f"v{n}"),
                    c.key == bindparam(f"k{k}"),
                    c.moment_ms == newest.scalar_subquery(),
                )
            )
    return Prepared(select(_entry).where(or_(*parts)))


def _with_entries(
    connection: Connection, names: Sequence[Identifier], codes: Iterable[str]
) -> frozenset[str]:
    """Those codes of which a person has any observation."""
    listed = sorted(codes)
    found: set[str] = set()
    for some in entries.batches(names) if listed else ():
        asked = {**entries.pairs(some), **{f"c{n}": code for n, code in enumerate(listed)}}
        there = connection.execute(_coded(len(some), len(listed)), asked).one()
        found.update(code for code, has in zip(listed, there, strict=True) if has)
    return frozenset(found)


@lru_cache(maxsize=256)
def _coded(names: int, codes: int) -> Select[Any]:
    """A column for each of so many codes: whether there is any observation of it."""
    c = _entry.c
    kind = c.kind == "observation"
    of_code = [_of_names(names, c.code == bindparam(f"c{n}")) for n in range(codes)]
    columns: list[Any] = [exists().where(kind, condition) for condition in of_code]
    return select(*columns)
