"""The part of a record that decides equals the fold of all of it, after every step (rule 22)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete

from interop.ledger import decisive, entries
from interop.ledger.engine import Ids, reading, writing
from interop.tables import EntryRow, IdentityRow
from mappings import keys
from mappings.record import Code, Entry, Identifier, PatientRecord, Source, Text, When
from mappings.wanted import Span, Wanted

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
NAMES = (Identifier("1", "HOSP"), Identifier("2", "CITY"))
WANTED = Wanted(
    as_of=NOON + timedelta(days=1),
    spans=(
        Span(frozenset({"1834-1"}), NOON - timedelta(days=2), NOON),
        Span(frozenset({"777-3", "1751-7"}), NOON - timedelta(days=5), NOON),
    ),
    kinds=frozenset({"report"}),
    demographics=frozenset({"birth_date"}),
)
OTHER = replace(WANTED, spans=WANTED.spans[:1], kinds=frozenset({"order"}))
_message = count(1)

# Few moments, in and out of the spans and at their ends, so that facts meet.
day = st.sampled_from([-9, -6, -2, -1, 0, 3]).map(lambda n: NOON + timedelta(days=n))
moment = st.one_of(
    day.map(When.instant),
    day.map(lambda t: When(t.replace(tzinfo=None, hour=0), "day")),
    st.tuples(day, st.sampled_from([None, -720, 0, 480])).map(
        lambda pair: When(pair[0].replace(tzinfo=None), "minute", pair[1])
    ),
)


@st.composite
def entry(draw: st.DrawFn) -> Entry:
    """Any version of one of few facts, so that many collide."""
    kind = draw(st.sampled_from(["observation"] * 6 + ["patient", "patient", "report", "order"]))
    when = draw(st.one_of(st.none(), moment, moment))
    code = Code("http://loinc.org", draw(st.sampled_from(["1834-1"] * 4 + ["777-3", "1-8"])))
    filler = draw(st.sampled_from(["", "F1", "F2"]))
    key, twin = keys.observation(code.code, filler, "", when, None), keys.twin(code.code, "", when)
    if kind == "patient":
        key, twin = draw(st.sampled_from(["patient/birth_date", "patient/sex"])), None
    elif kind == "report":
        key, twin = keys.report("r", filler, when, None), keys.report_twin("r", when)
    elif kind == "order":
        key, twin = f"order/{filler}", None
    told = draw(st.none() | day.map(When.instant))
    return Entry(
        kind, key, draw(st.sampled_from(NAMES)),
        Source("his", next(_message), draw(day)), "X",
        draw(st.sampled_from(["final", "final", "corrected", "preliminary", "deleted"])),
        code=None if kind == "patient" else code,
        value=draw(st.sampled_from([None, Text("a"), Text("b")])),
        effective=None if kind == "patient" else when, source_time=told, twin=twin,
        details={"value_as_before": True} if kind != "patient" and draw(st.booleans()) else {},
    )  # fmt: skip


def asked(record: PatientRecord) -> list[tuple[object, ...]]:
    """What a record says of what was wanted."""
    told = []
    for e in record.entries:
        when = e.effective.earliest if e.effective else None
        in_span = any(
            e.kind == "observation" and e.code and e.code.code in s.codes
            and when is not None and s.since <= when <= s.until
            for s in WANTED.spans
        )  # fmt: skip
        if in_span or e.kind in WANTED.kinds or e.key == "patient/birth_date":
            told.append((e.key, e.status, e.value, e.effective, e.source.message))
    return told


def check(ledger: Engine, fresh: list[Entry]) -> None:
    """With some entries not stored yet, the part says what the whole says."""
    with reading(ledger) as connection:
        every = entries.of_person(connection, "p")
        reader = decisive.Reader(connection, "p")
        reader.of(OTHER)  # asked before: the answer is the same
        part, met = reader.of(WANTED, fresh), reader.met(fresh)
    late = 1 << 62
    new = [_with_seq(e, late + n) for n, e in enumerate(fresh)]
    whole = PatientRecord.of([*every, *new], as_of=WANTED.as_of)
    told = [e for e in new if e in WANTED.concerns(new)]
    record = PatientRecord.of([*part.entries, *told], as_of=WANTED.as_of)
    assert asked(whole) == asked(record)
    if not met and all(e.kind == "observation" for e in fresh):
        # Facts of their own leave every other as it was.
        assert {*asked(PatientRecord.of(every, as_of=WANTED.as_of))} <= {*asked(whole)}
    seen = {e.code.code for e in [*part.entries, *fresh] if e.kind == "observation" and e.code}
    there = {e.code.code for e in every if e.kind == "observation" and e.code}
    assert (there & WANTED.codes) - seen == part.elsewhere - seen


def _with_seq(one: Entry, seq: int) -> Entry:
    return replace(one, seq=seq)


@pytest.fixture
def person(ledger: Engine) -> Engine:
    """One person of two identifiers."""
    with writing(ledger) as connection:
        for name in NAMES:
            connection.execute(
                IdentityRow.__table__.insert(),  # type: ignore[attr-defined]
                {"authority": name.authority, "value": name.value, "number": "p", "person": "p"},
            )
    return ledger


def test_the_part_that_decides_equals_the_fold_after_every_step(person: Engine):
    """Late versions, weak keys and twins, other zones, retractions, second readings."""
    ids = Ids(0)

    @settings(max_examples=150, deadline=None)
    @given(
        steps=st.lists(st.lists(entry(), min_size=1, max_size=3), min_size=2, max_size=5),
        again=st.sets(st.integers(0, 9), max_size=4),
    )
    def history(steps: list[list[Entry]], again: set[int]) -> None:
        with writing(person) as connection:
            connection.execute(delete(EntryRow))
        stored: list[Entry] = []
        for step in steps:
            check(person, step)
            with writing(person) as connection:
                entries.append(connection, entries.rows(person, step, ids, 0))
            stored += step
        check(person, [])
        # A message read again under mended maps: something else, at another time, or nothing.
        for n in sorted(again):
            if n < len(stored):
                second = replace(
                    stored[n], reading=1, source_time=None,
                    details={"unsaid": True} if n % 2 else {},
                )  # fmt: skip
                with writing(person) as connection:
                    entries.append(connection, entries.rows(person, [second], ids, 0))
                check(person, [])

    history()


def afp(filler: str, effective: datetime, told: datetime, text: str) -> Entry:
    """A version of an AFP."""
    when = When(effective.replace(tzinfo=None), "second", 0)
    return Entry(
        "observation", keys.observation("1834-1", filler, "", when, None), NAMES[0],
        Source("his", next(_message), NOON), "X", code=Code("http://loinc.org", "1834-1"),
        value=Text(text), effective=when, source_time=When.instant(told),
        twin=keys.twin("1834-1", "", when),
    )  # fmt: skip


INSIDE, OUTSIDE = NOON - timedelta(days=1), NOON - timedelta(days=8)
HISTORIES = {
    "corrected to a time outside": [afp("F1", INSIDE, INSIDE, "a"), afp("F1", OUTSIDE, NOON, "b")],
    "corrected to a time inside": [afp("F1", OUTSIDE, OUTSIDE, "a"), afp("F1", INSIDE, NOON, "b")],
    "a twin within the minute, at the end of the span": [
        afp("", NOON + timedelta(seconds=20), NOON - timedelta(days=1), "a"),
        afp("F1", NOON, NOON - timedelta(days=2), "b"),
    ],
    "a twin of a version outside tells of a fact inside": [
        afp("F1", INSIDE, OUTSIDE, "a"),
        afp("F1", OUTSIDE, OUTSIDE - timedelta(days=1), "b"),
        afp("", OUTSIDE, NOON, "c"),
    ],
}


@pytest.mark.parametrize("history", HISTORIES)
def test_a_fact_is_read_whole_wherever_its_versions_lie(person: Engine, history: str):
    """Each in every order of arrival, the last one not stored yet."""
    for order in permutations(HISTORIES[history]):
        with writing(person) as connection:
            connection.execute(delete(EntryRow))
            entries.append(connection, entries.rows(person, order[:-1], Ids(0), 0))
        check(person, list(order[-1:]))
        with writing(person) as connection:
            entries.append(connection, entries.rows(person, order[-1:], Ids(1), 0))
        check(person, [])


def test_what_lies_elsewhere_is_named(person: Engine):
    """Whoever waits for an AFP learns that there is one, at another time."""
    with writing(person) as connection:
        entries.append(connection, entries.rows(person, [afp("F1", OUTSIDE, NOON, "a")], Ids(0), 0))
    with reading(person) as connection:
        found = decisive.of_person(connection, "p", WANTED)
    assert (frozenset({"1834-1"}), []) == (found.elsewhere, found.entries)
