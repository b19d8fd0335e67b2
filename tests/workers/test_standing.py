"""What holds is not judged anew: the answer would be the same (rule 22)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete
from whole_line import NOW, T0, Line

from inference import protocol_reading
from inference.eligibility import Readiness
from inference.protocol import Input, Protocol
from inference.standing import holds
from interop.ledger import decisive, entries, images
from interop.ledger.engine import Ids, reading, writing
from interop.tables import EntryRow, IdentityRow
from mappings import keys
from mappings.record import Code, Entry, Identifier, Quantity, Source, Text, When
from mappings.record_json import when_to_json
from workers.evidence import Evidence

PERSON = Identifier("1", "HOSP")
SHIPPED = protocol_reading.shipped()
OFTEN = ("liver_dx", "liver_px")  # most of whose inputs nothing weighs
_message = count(1)

day = st.sampled_from([-400, -21, -2, -1, 0, 1])
filler = st.sampled_from(["", "F1", "F2", "F3"])


def source(received: datetime = NOW - timedelta(hours=1)) -> Source:
    """Of a message of its own."""
    return Source("his", next(_message), received)


def values(wanted: Input) -> st.SearchStrategy[Any]:
    """Usable and not."""
    low, high = wanted.plausible or (0.0, 1.0)
    number = Decimal(str(round((low + high) / 2, 3)))
    return st.sampled_from(
        [
            *[Quantity(number, wanted.unit, str(number))] * 3,
            Quantity(number, None, str(number), "odd"),
            Quantity(Decimal("1e9"), wanted.unit, "1e9"),
            *(Text(word) for word in (*wanted.tokens, "?")),
            None,
        ]
    )


@st.composite
def measured(draw: st.DrawFn, protocol: Protocol) -> Entry:
    """Any version of an observation that the protocol asks for, or that nobody does."""
    inputs = [i for i in protocol.inputs if i.codes]
    wanted = draw(st.sampled_from(inputs))
    others = sorted(protocol.codes | {"9-9"})
    code = draw(st.one_of(st.sampled_from(wanted.codes), st.sampled_from(others)))
    when = draw(st.none() | day.map(lambda n: When.instant(T0 + timedelta(days=n))))
    number = draw(filler)
    return Entry(
        "observation", keys.observation(code, number, "", when, None), PERSON, source(), "OBX[1]",
        draw(st.sampled_from(["final", "final", "final", "corrected", "preliminary", "deleted"])),
        code=Code("http://loinc.org", code), value=draw(values(wanted)), effective=when,
        alternates=(Code("L", draw(st.sampled_from(others))),) if draw(st.booleans()) else (),
        source_time=draw(st.none() | day.map(lambda n: When.instant(T0 + timedelta(days=n)))),
        twin=keys.twin(code, "", when), details={"role": "specimen"} if draw(day) == 1 else {},
    )  # fmt: skip


@st.composite
def served(draw: st.DrawFn, protocol: Protocol) -> list[Entry]:
    """A usable value of most inputs, inside their windows."""
    found = []
    for wanted in protocol.inputs:
        if wanted.kind not in ("quantity", "answer") or draw(st.integers(0, 9)) == 0:
            continue
        low, high = wanted.plausible or (0.0, 1.0)
        number = Decimal(str(round((low + high) / 2, 3)))
        days = (wanted.window_days or (0, 0))[1]
        when = When.instant(T0 + timedelta(days=min(days, 0)))
        said = next(iter(wanted.tokens), "")
        found.append(
            Entry(
                "observation", keys.observation(wanted.codes[0], draw(filler), "", when, None), PERSON,
                source(), "OBX[1]", code=Code("http://loinc.org", wanted.codes[0]),
                value=Text(said) if said else Quantity(number, wanted.unit, str(number)),
                effective=when, twin=keys.twin(wanted.codes[0], "", when),
            )
        )  # fmt: skip
    return found


def background() -> list[Entry]:
    """Who it is, and an operation of each kind that some protocol starts from."""
    born = When(datetime(1960, 5, 1), "day")
    done = When.instant(T0)
    return [
        Entry("patient", "patient/birth_date", PERSON, source(), "PID-7", value=born),
        Entry("patient", "patient/sex", PERSON, source(), "PID-8", value=Text("F")),
        *(
            Entry("procedure", f"procedure/{code}", PERSON, source(), "PR1", effective=done,
                  code=Code("urn:snomed", code))
            for code in ("107963000", "23968004", "5884001")
        ),
    ]  # fmt: skip


@pytest.fixture
def studied(line: Line) -> Line:
    """A person with an index study of each kind."""
    with writing(line.parts.engine) as connection:
        connection.execute(
            IdentityRow.__table__.insert(),  # type: ignore[attr-defined]
            {"authority": PERSON.authority, "value": "1", "number": "p", "person": "p"},
        )
        body = {"started": when_to_json(When.instant(T0)), "phases": ["AP", "PV"],
                "body_part": "LIVER"}  # fmt: skip
        for modality in ("CT", "MR"):
            study = {"person": "p", "modality": modality, "state": "complete", "body": body}
            images.put_study(connection, f"2.25.{modality}", study, now=NOW)
    return line


def said(answer: Readiness) -> dict[str, Any]:
    """An answer without what it rests on."""
    body = answer.to_json()
    return {
        **{name: body[name] for name in ("state", "t0", "study_instance_uid", "waiting_for")},
        "rules": [(r["rule"], r["verdict"], r["reason"]) for r in body["rules"]],
        "inputs": [(i["input"], i["present"], i["reason"]) for i in body["inputs"]],
    }


@pytest.mark.parametrize("name", ["liver_dx", *SHIPPED])
def test_an_answer_that_holds_is_the_answer_that_would_be_given(studied: Line, name: str):
    """Whatever is stored, whatever comes."""
    parts = studied.parts
    protocol = parts.packs[0].manifest if name == "liver_dx" else SHIPPED[name]
    evidence, ids, held = Evidence(parts), Ids(0), list[bool]()

    @settings(max_examples=20, deadline=None)
    @given(
        base=served(protocol),
        more=st.lists(measured(protocol), max_size=3),
        fresh=st.lists(measured(protocol), min_size=1, max_size=3),
        pick=st.integers(0, 99),
    )
    def history(base: list[Entry], more: list[Entry], fresh: list[Entry], pick: int) -> None:
        with writing(parts.engine) as connection:
            connection.execute(delete(EntryRow))
            rows = entries.rows(parts.engine, [*background(), *base, *more], ids, 0)
            entries.append(connection, rows)
        another = [own_fact(e, fresh[0]) for e in base[pick % max(1, len(base)) :][:1]]
        for new in (fresh, [own_fact(e, e) for e in fresh], another):
            before, after, holding = judged(evidence, studied, protocol, new)
            held.append(holding)
            assert not holding or said(before) == said(after)

    history()
    assert any(held) or name not in OFTEN


@pytest.mark.parametrize(
    ("changes", "holding"),
    [
        ({}, True),
        ({"statistic": "slope_per_year", "distinct_days": 2}, True),
        ({"transform": "zscore_by_age"}, False),
    ],
)
def test_what_serves_an_input_serves_it_on_unless_its_value_is_weighed(
    changes: dict[str, Any], holding: bool
):
    """A further value: nothing lost; but a score, a rule of a score, or an age may say otherwise."""
    protocol = SHIPPED["crlm_2y"]
    wanted = next(i for i in protocol.inputs if i.kind == "quantity" and i.transform != "identity")
    alone = replace(wanted, codes=("9-9",), **changes)
    score = Input(
        id="score", kind="score", modality="labs", display="", required=False,
        score="FIB4", of=(alone.id,),
    )  # fmt: skip
    fresh = Entry(
        "observation", "observation/N/9-9/", PERSON, source(), "OBX[1]",
        code=Code("http://loinc.org", "9-9"), effective=When.instant(T0),
    )  # fmt: skip

    def answered(*inputs: Input) -> bool:
        asked = replace(protocol, inputs=inputs)
        answer = {
            "version": protocol.version, "as_of": NOW.isoformat(),
            "inputs": [{"input": i.id, "present": True} for i in inputs],
        }  # fmt: skip
        return holds(asked, answer, [fresh])

    assert holding == answered(alone)
    assert not answered(alone, score)
    assert not answered(replace(alone, codes=("8-8",)), replace(alone, id="b", kind="report"))


def own_fact(entry: Entry, says: Entry) -> Entry:
    """Of the same code and time, under a number of its own, with the words of another."""
    assert entry.code is not None
    number = f"N{says.source.message}"
    return replace(
        entry, key=keys.observation(entry.code.code, number, "", entry.effective, None),
        source=says.source, value=says.value, status=says.status,
    )  # fmt: skip


def judged(
    evidence: Evidence, line: Line, protocol: Protocol, fresh: Sequence[Entry]
) -> tuple[Readiness, Readiness, bool]:
    """An answer without and with some entries, and whether it holds."""
    with reading(line.parts.engine) as connection:
        before = evidence.readiness(connection, "p", protocol)
        after = evidence.readiness(connection, "p", protocol, fresh)
        met = decisive.Reader(connection, "p").met(fresh)
    return before, after, holds(protocol, before.to_json(), fresh) and not met
