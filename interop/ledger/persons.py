"""Persons: which identifiers name whom, as a projection that the next message is held against.

The word is with the `alias` and `move` entries (`mappings.persons`); `identity` answers without a
fold whom an identifier names now, and can be made anew from them. What is kept under a person's
number follows the identifier under which it was received (`following`).
Source: site rules 5 to 8 and 22; docs/decisions/0010.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from interop.ledger import entries, following
from interop.ledger.engine import Ids, insert_ignore
from interop.ledger.entries import Rows
from interop.tables import EntryRow, IdentityRow, Person
from mappings import persons
from mappings.conversion import Conversion
from mappings.persons import Claim, Described, Doubt, Known, Named, Persons
from mappings.record import Entry, Identifier

_identity = IdentityRow.__table__  # type: ignore[attr-defined]
_person = Person.__table__  # type: ignore[attr-defined]
_entry = EntryRow.__table__  # type: ignore[attr-defined]
_AFTER_ALL_STORED = 1 << 62
_NOTHING = Described()
_REGROUPING = 0x6F6E636F7264


@dataclass(frozen=True, slots=True)
class Filed:
    """What became of one message's word on identities.

    Attributes:
        persons: Person by each identifier under which its entries are filed.
        doubt: Why nothing of it was applied, or None.
        regrouped: Persons whose identifiers are not what they were.
    """

    persons: Mapping[Identifier, str] = field(default_factory=dict)
    doubt: Doubt | None = None
    regrouped: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Row:
    """What is held of an identifier."""

    number: str
    person: str
    described: Described = _NOTHING
    disputes: tuple[int, ...] = ()


_Rows = dict[Identifier, _Row]


def unheard(connection: Connection, found: Conversion) -> tuple[Conversion, Claim]:
    """A conversion and its claim without the lists of identifiers that were told before.

    A laboratory repeats both numbers of a patient in every message; only the first time, and an
    earlier one that comes late, says anything.
    """
    said = persons.claim(found)
    lists = [e for e in said.statements if "says" not in e.details]
    if not lists:
        return found, said
    heard: dict[tuple[Identifier, Any], datetime] = {}
    for entry in entries.said_of(connection, {e.patient for e in lists}):
        if "says" not in entry.details:
            pair, moment = (entry.patient, entry.value), entry.precedence[0]
            heard[pair] = min(heard.get(pair, moment), moment)
    old = {
        id(e)
        for e in lists
        if (e.patient, e.value) in heard and heard[e.patient, e.value] <= e.precedence[0]
    }
    if not old:
        return found, said
    kept = tuple(e for e in found.entries if id(e) not in old)
    statements = tuple(e for e in said.statements if id(e) not in old)
    return replace(found, entries=kept), replace(said, statements=statements)


def file(
    connection: Connection,
    said: Sequence[Claim],
    fresh: Rows,
    *,
    message: int,
    ids: Ids,
    now_ms: int,
    decided: bool = False,
) -> Filed:
    """Write a message's entries under the persons whom its identifiers name.

    A message that carries two identifiers of one patient is its sender's word that they are one;
    persons are made, joined and parted as the entries say. Of a message in doubt nothing is
    written but that its identifier is in dispute.

    Args:
        connection: The transaction that also ends the job.
        said: What the parts of the message say of identities.
        fresh: The rows of all its entries.
        message: Ledger id of the message.
        ids: The process's id sequence.
        now_ms: Milliseconds since 1970.
        decided: A person looked at it, and it is applied whatever else is known.
    """
    names = list(dict.fromkeys(name for claim in said for name in claim.names))
    people = [who for claim in said for who in claim.people]
    while True:
        rows = _rows(connection, names)
        doubt = None if decided else _doubt(connection, said, rows)
        if doubt is not None:
            _dispute(connection, doubt, rows, message)
            return Filed(doubt=doubt)
        if _regroups(said, rows):
            return _regroup(connection, said, fresh, ids, now_ms, decided=decided)
        if _introduce(connection, people, rows, ids, now_ms):
            break
    entries.append(connection, fresh)
    _describe(connection, people, rows)
    return Filed({who.names[0]: rows[who.names[0]].person for who in people})


def _rows(connection: Connection, names: Iterable[Identifier]) -> _Rows:
    """What is held of identifiers, of those that are known."""
    found: _Rows = {}
    for some in entries.batches(names):
        found |= _read(entries.named(connection, some))
    return found


def _read(rows: Iterable[Any]) -> _Rows:
    return {
        Identifier(row.value, row.authority): _Row(
            row.number, row.person, _described(row.described), tuple(row.disputes or ())
        )
        for row in rows
    }


def _described(body: Mapping[str, Sequence[str]] | None) -> Described:
    return Described(**{k: frozenset(v) for k, v in body.items()}) if body else _NOTHING


def _doubt(connection: Connection, said: Sequence[Claim], rows: _Rows) -> Doubt | None:
    """Whether a person must look; what was said of somebody under any identifier counts."""
    known = _known(rows, rows)
    if any(_unlike(who, known) for claim in said for who in claim.people):
        theirs = _identity.c.person.in_({row.person for row in rows.values()})
        known = _known(rows, _read(connection.execute(select(_identity).where(theirs))))
    return next((d for claim in said if (d := persons.doubt(claim, known))), None)


def _known(rows: _Rows, bearers: _Rows) -> dict[Identifier, Known]:
    whole: dict[str, Described] = {}
    for row in bearers.values():
        whole[row.person] = whole.get(row.person, _NOTHING) | row.described
    return {n: Known(r.person, whole[r.person], bool(r.disputes)) for n, r in rows.items()}


def _unlike(who: Named, known: Mapping[Identifier, Known]) -> bool:
    """Whether a message may speak of somebody else than its identifiers did so far."""
    held = [known[name] for name in who.names if name in known]
    births = who.described.births
    other = bool(births) and any(not births & there.described.births for there in held)
    return other or len({there.person for there in held}) > 1


def _dispute(connection: Connection, doubt: Doubt, rows: _Rows, message: int) -> None:
    for name in doubt.disputed:
        if message not in rows[name].disputes:
            _set(connection, name, disputes=[*rows[name].disputes, message])


def decide(connection: Connection, message: int) -> None:
    """A person decided on a message that was in doubt: its identifiers are in dispute no more."""
    disputed = select(_identity).where(_identity.c.disputes.is_not(None))
    for name, row in _read(connection.execute(disputed)).items():
        if message in row.disputes:
            left = [other for other in row.disputes if other != message]
            _set(connection, name, disputes=left or None)


def _set(connection: Connection, name: Identifier, **values: Any) -> None:
    c = _identity.c
    connection.execute(
        update(_identity)
        .where(c.authority == name.authority, c.value == name.value)
        .values(**values)
    )


def _regroups(said: Sequence[Claim], rows: _Rows) -> bool:
    """Whether a message may change which of the known identifiers name one person."""
    for claim in said:
        for entry in claim.statements:
            # Of whom nobody knows, no other word can tell anything else than a list does.
            if "says" in entry.details or entry.patient in rows or entry.value in rows:
                return True
        for who in claim.people:
            if len({rows[name].person for name in who.names if name in rows}) > 1:
                return True
    return False


def _introduce(
    connection: Connection, people: Sequence[Named], rows: _Rows, ids: Ids, now_ms: int
) -> bool:
    """Give identifiers that nobody knows to whom they are named with; False: look again."""
    made: list[str] = []
    for who in people:
        new = [name for name in who.names if name not in rows]
        if not new:
            continue
        numbers = {name: _number(ids, now_ms) for name in new}
        person = next((rows[name].person for name in who.names if name in rows), None)
        if person is None:
            person = numbers[new[0]]
            made.append(person)
        _add(connection, {name: _Row(numbers[name], person) for name in new}, rows)
    if connection.dialect.name == "sqlite":  # one writer at a time: nobody came between
        return True
    for person in sorted({rows[name].person for who in people for name in who.names}):
        entries.epoch_of(connection, person, lock=True)
    names = [name for who in people for name in who.names]
    held = {row.person for row in _rows(connection, names).values()}
    if held == {rows[name].person for name in names}:
        return True
    connection.execute(delete(_person).where(_person.c.id.in_(set(made) - held)))
    return False


def _number(ids: Ids, now_ms: int) -> str:
    """A number that sorts after every earlier one of this process."""
    return f"{ids.next(now_ms):016x}"


def _add(connection: Connection, new: _Rows, rows: _Rows) -> None:
    """Write identifiers and the persons they name."""
    dialect = connection.dialect.name
    named = [{"id": person, "epoch": 0} for person in sorted({r.person for r in new.values()})]
    connection.execute(insert_ignore(_person, dialect), named)
    # In one order everywhere: two workers that make the same names wait, and do not deadlock.
    values = [
        {"authority": n.authority, "value": n.value, "number": r.number, "person": r.person}
        for n, r in sorted(new.items(), key=lambda item: (item[0].authority, item[0].value))
    ]
    connection.execute(insert_ignore(_identity, dialect), values)
    rows.update(new)


def _describe(connection: Connection, people: Iterable[Named], rows: _Rows) -> None:
    """Remember what was said of the bearers of identifiers, as far as it is new."""
    for who in people:
        name = who.names[0]
        known = rows[name].described
        if not known >= who.described:
            whole = known | who.described
            rows[name] = replace(rows[name], described=whole)
            _set(connection, name, described=_body(whole))


def _body(described: Described) -> dict[str, list[str]]:
    return {
        "births": sorted(described.births),
        "sexes": sorted(described.sexes),
        "names": sorted(described.names),
    }


def _regroup(
    connection: Connection,
    said: Sequence[Claim],
    fresh: Rows,
    ids: Ids,
    now_ms: int,
    *,
    decided: bool,
) -> Filed:
    """Join and part persons as all words together say, this message's among them."""
    _alone(connection)
    names = {name for claim in said for name in claim.names}
    stored = entries.statements(connection, names)
    words = [entry for claim in said for entry in claim.statements]
    words = [replace(e, seq=_AFTER_ALL_STORED + n) for n, e in enumerate(words)]
    people = persons.persons([*stored, *words])
    if not decided and not all(people.holds(claim) for claim in said):
        return Filed(doubt=Doubt(persons.TOLD_APART))
    names |= {entry.patient for entry in stored}
    while True:
        rows = _rows(connection, names)
        before = {name: row.person for name, row in rows.items()}
        new = {name: _number(ids, now_ms) for name in sorted(names - rows.keys(), key=str)}
        now = _grouped(people, new | {name: row.number for name, row in rows.items()})
        if not new:
            break
        _add(connection, {name: _Row(number, now[name]) for name, number in new.items()}, rows)
        if connection.dialect.name == "sqlite" or rows == _rows(connection, names):
            break
    entries.append(connection, fresh)
    regrouped = _settle(connection, before, now) | _moved(connection, words, now)
    named = [who for claim in said for who in claim.people]
    _describe(connection, named, rows)
    return Filed({who.names[0]: now[who.names[0]] for who in named}, regrouped=regrouped)


def _alone(connection: Connection) -> None:
    """Hold out whoever else would regroup persons; on SQLite there is one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_REGROUPING)))


def _grouped(people: Persons, numbers: Mapping[Identifier, str]) -> dict[Identifier, str]:
    """A person bears the oldest number of their identifiers."""
    return {name: min(numbers[other] for other in people.of(name)) for name in numbers}


def _moved(
    connection: Connection, words: Iterable[Entry], now: Mapping[Identifier, str]
) -> frozenset[str]:
    """Persons from whom and to whom a visit or account went."""
    ends = {
        now[name]
        for entry in words
        if entry.kind == "move" and isinstance(entry.value, Identifier)
        if now[entry.value] != now[entry.patient]
        for name in (entry.value, entry.patient)
    }
    for person in sorted(ends):
        entries.raise_epoch(connection, person)
    return frozenset(ends)


def _settle(
    connection: Connection, before: Mapping[Identifier, str], now: Mapping[Identifier, str]
) -> frozenset[str]:
    """Bring the projection from one grouping to another; persons whose identifiers changed."""
    changed = {name for name, person in before.items() if now[name] != person}
    concerned = {p for name in changed for p in (before[name], now[name])}
    if not concerned:
        return frozenset()
    named = [{"id": person, "epoch": 0} for person in sorted(concerned)]
    connection.execute(insert_ignore(_person, connection.dialect.name), named)
    for person in sorted(concerned):  # who is writing under an old number finishes first
        entries.epoch_of(connection, person, lock=True)
    for name in changed:
        _set(connection, name, person=now[name])
    for old in sorted({before[name] for name in changed}):
        following.follow(connection, old, {n: now[n] for n, p in before.items() if p == old})
    for person in sorted(concerned):
        # What is being computed for it must not be written.
        entries.raise_epoch(connection, person)
    return frozenset(concerned)


def rebuild(connection: Connection) -> int:
    """Make the projection anew from all entries; how many identifiers named another person.

    What is in dispute stays so: that awaits a person, not a computation.
    """
    _alone(connection)
    rows = _read(connection.execute(select(_identity)))
    people = persons.persons(entries.of_kind(connection, "alias"))
    numbers = {name: row.number for name, row in rows.items()}
    before = {name: row.person for name, row in rows.items()}
    now = _grouped(people, numbers)
    _settle(connection, before, now)
    whole: dict[Identifier, Described] = {}
    for entry in entries.of_kind(connection, "patient"):
        said = whole.get(entry.patient, _NOTHING)
        whole[entry.patient] = said | persons.described(entry)
    for name, said in whole.items():
        _set(connection, name, described=_body(said))
    return sum(1 for name in before if before[name] != now[name])
