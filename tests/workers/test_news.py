"""Readiness is judged when a message tells anything a protocol reads, and only then (rule 22)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest
from whole_line import Line

from interop.ledger import results
from interop.ledger.engine import reading, writing
from workers.demo.hospital import Chart
from workers.evidence import Evidence, Foreseen, _still_holds
from workers.ingest import Mapped, _still


def judged_at(line: Line, who: Chart) -> datetime:
    """When the standing answer of liver_dx was worked out."""
    with reading(line.parts.engine) as connection:
        row = results.readiness(connection, line.person(who), "liver_dx")
    moment: datetime = row.updated_at
    return moment


def lab(line: Line, who: Chart, code: str, pid: str = "") -> bytes:
    """One result, by default with the PID of every other message."""
    at = line.clock().strftime("%Y%m%d%H%M%S+0000")
    birth, sex = who.birth_date.replace("-", ""), "M" if who.synthetic.sex == "male" else "F"
    identity = pid or f"{birth}|{sex}"
    return (
        f"MSH|^~\\&|LIS|DEMOHOSP|||{at}||ORU^R01^ORU_R01|{line.control_id()}|P|2.5.1\r"
        f"PID|1||{who.number}^^^DEMOHOSP^MR||SYNTHETIC||{identity}\rPV1|1|I|HEP||||||||||||||||V1\r"
        f"OBR|1||{line.control_id()}^LIS|1^panel^L|||{at}|||||||||||||||{at}||CH|F\r"
        f"OBX|1|NM|{code}^X^LN||140|mmol/L|||||F|||{at}\r"
    ).encode()


@pytest.fixture
def known(line: Line, who: Chart) -> Line:
    """A patient with one result that no protocol reads."""
    line.register(who)
    line.send(lab(line, who, "2951-2"))
    line.settle()
    return line


def test_a_repeated_pid_and_visit_judge_nothing(known: Line, who: Chart):
    """Sodium of a known patient: nothing that liver_dx asks for."""
    before = judged_at(known, who)
    known.clock.forward(minutes=5)
    known.send(lab(known, who, "2951-2"))
    known.settle()
    assert before == judged_at(known, who)


@pytest.mark.parametrize(
    "told",
    [
        lambda line, who: lab(line, who, "1834-1"),
        lambda line, who: lab(line, who, "2951-2", pid="19551231|M"),
        lambda line, who: lab(line, who, "2951-2", pid=f"{who.birth_date.replace('-', '')}|O"),
    ],
    ids=["a code of the pack", "another birth date", "another sex"],
)
def test_what_is_new_is_judged(known: Line, who: Chart, told: Callable[[Line, Chart], bytes]):
    """A code of the protocol, or a word that makes the patient another."""
    before = judged_at(known, who)
    known.clock.forward(minutes=5)
    known.send(told(known, who))
    known.settle()
    assert before < judged_at(known, who)


def test_a_birth_date_that_comes_back_is_news(known: Line, who: Chart):
    """A, B, A: the third changes the record as the second did."""
    for pid in ("19551231|M", ""):
        before = judged_at(known, who)
        known.clock.forward(minutes=5)
        known.send(lab(known, who, "2951-2", pid=pid))
        known.settle()
        assert before < judged_at(known, who)


@pytest.fixture
def served(line: Line, who: Chart) -> Line:
    """A patient for whom liver_dx has everything, assessed."""
    line.register(who)
    line.evidence(who)
    line.settle()
    line.send(again(line, who, filler="L0"))  # the laboratory's word on the patient stands last
    line.settle()
    return line


def again(line: Line, who: Chart, **changes: str) -> bytes:
    """The labs once more, under another order number."""
    return line.labs(who, **({"filler": "L2"} | changes))


def test_a_further_value_of_what_is_there_judges_nothing(served: Line, who: Chart):
    """The newest usable value serves, and there is one already."""
    before = judged_at(served, who)
    for filler in ("L2", "L3"):
        served.clock.forward(minutes=5)
        served.send(again(served, who, filler=filler))
        served.settle()
    assert before == judged_at(served, who)


@pytest.mark.parametrize(
    "told",
    [
        lambda line, who: again(line, who, filler="L1", status="C"),
        lambda line, who: again(line, who, filler="L1", status="D"),
        lambda line, who: again(line, who, filler=""),
        lambda line, who: lab(line, who, "1834-1", pid="19551231|M"),
    ],
    ids=[
        "a correction",
        "a retraction",
        "without a number, at the same time",
        "another birth date",
    ],
)
def test_what_may_change_what_is_there_is_judged(
    served: Line, who: Chart, told: Callable[[Line, Chart], bytes]
):
    """A version of a fact that is known, or a word on the patient beside it."""
    before = judged_at(served, who)
    served.clock.forward(minutes=5)
    sent = told(served, who)
    served.send(sent)
    served.settle()
    assert before < judged_at(served, who)


def test_an_answer_that_was_replaced_meanwhile_holds_no_longer(served: Line, who: Chart):
    """A study was judged between the reading and the writing of one message."""
    evidence, parts = Evidence(served.parts), served.parts
    [protocol] = [p for p in parts.protocols if p.id == "liver_dx"]
    person, seen = served.person(who), judged_at(served, who)
    foreseen = Foreseen(person, 1, [], {}, {"liver_dx": seen})
    with writing(parts.engine) as connection:
        assert _still_holds(connection, person, protocol, foreseen)
        served.clock.forward(minutes=5)
        evidence.judge(connection, person, protocol, None, "study/1")
        assert not _still_holds(connection, person, protocol, foreseen)


def test_what_was_foreseen_of_a_smaller_record_is_worked_out_anew():
    """Another worker wrote between the reading and the writing of one message."""
    seen = Foreseen("p", 5, [], {})
    made = Mapped(foreseen=seen)
    assert seen is _still(made, "p", 5)
    assert _still(made, "p", 6) is None
    assert _still(made, "other", 5) is None
    assert _still(Mapped(), "p", 5) is None
