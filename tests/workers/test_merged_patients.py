"""Patients merged, parted and moved: what becomes of results, studies and what waits."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from whole_line import Line

from interop.ledger import jobs, results
from interop.ledger.engine import reading, writing
from workers.demo import ct, hospital
from workers.demo.hospital import AFP, Chart
from workers.replay import drop_item, replay_item


@pytest.fixture
def survivor(who: Chart) -> Chart:
    """The same patient, registered a second time under another number."""
    return replace(who, number="SYN-90000002", study_uid="2.25.90000002")


@pytest.fixture
def assessed(line: Line, who: Chart, survivor: Chart) -> Line:
    """A line with one delivered result of `who`; the other number was known before."""
    line.register(survivor)
    line.settle()
    line.register(who)
    line.evidence(who)
    line.settle()
    assert ["CONFIRMED"] == [d.state for d in line.deliveries(who)]
    return line


def say(line: Line, event: str, *segments: str) -> None:
    """An ADT message of this moment, a little later than what was before."""
    line.clock.forward(seconds=1)
    stamp = line.clock().strftime("%Y%m%d%H%M%S+0000")
    head = (
        f"MSH|^~\\&|HIS|DEMOHOSP|ONCORD|DEMOHOSP|{stamp}||ADT^{event}|{line.control_id()}|P|2.5.1"
    )
    sent = "\r".join([head, f"EVN|{event}|{stamp}", *segments]) + "\r"
    assert b"|AA|" in line.send(sent.encode())
    line.settle()


def pid(chart: Chart, *, sex: str = "", born: str = "") -> str:
    """PID of a chart."""
    return f"PID|1||{chart.number}^^^DEMOHOSP^MR||||{born}|{sex}"


def merge(line: Line, survivor: Chart, prior: Chart, *, born: str = "") -> None:
    """A40 here; `born` is the survivor's birth date."""
    say(line, "A40", pid(survivor, born=born), f"MRG|{prior.number}^^^DEMOHOSP^MR")


def unmerge(line: Line, one: Chart, other: Chart, *, born: str = "") -> None:
    """A37 here; `born` is the other's birth date."""
    say(line, "A37", pid(one), pid(other, born=born))


def ehr_merges(line: Line, survivor: Chart, prior: Chart) -> None:
    """The EHR retires the prior patient and puts the survivor into what was theirs."""
    patient = line.ehr.store.read("Patient", prior.number.lower())
    line.ehr.store.update("Patient", patient["id"], {**patient, "active": False})
    for kind in ("RiskAssessment", "DiagnosticReport", "Observation"):
        for held in line.in_ehr(kind):
            subject = {"reference": f"Patient/{survivor.number.lower()}"}
            line.ehr.store.update(kind, held["id"], {**held, "subject": subject})


def afp(line: Line, chart: Chart, value: str, **changes: Any) -> None:
    """Another AFP of the order that was used."""
    line.clock.forward(minutes=1)
    line.send(line.labs(chart, loincs=[AFP], values={AFP: Decimal(value)}, **changes))
    line.settle()


def reports(line: Line) -> list[tuple[str, str]]:
    """Status and patient of every report in the EHR."""
    found = [(r["status"], r["subject"]["reference"]) for r in line.in_ehr("DiagnosticReport")]
    return sorted(found)


def chart_of(chart: Chart) -> str:
    """The patient in the EHR."""
    return f"Patient/{chart.number.lower()}"


def test_a_merge_that_adds_nothing_to_what_was_used_leaves_the_result(
    assessed: Line, who: Chart, survivor: Chart
):
    """Run again, the same grounds, nothing written; the number of the person is no ground."""
    before = assessed.person(survivor)
    merge(assessed, survivor, who)
    assert before == assessed.person(who) == assessed.person(survivor)
    assert 2 == assessed.jobs()[("assess", "done")]
    assert (1, 1) == (len(assessed.current(who)), len(assessed.deliveries(survivor)))


def test_a_merge_that_changes_the_inputs_corrects_the_result_on_the_survivors_chart(
    assessed: Line, who: Chart, survivor: Chart
):
    """The EHR has put the survivor into our report; we amend it there and say why."""
    afp(assessed, survivor, "5000")
    assert 1 == len(assessed.deliveries(who))
    ehr_merges(assessed, survivor, who)
    merge(assessed, survivor, who)
    assert [("corrected", chart_of(survivor))] == reports(assessed)
    assert ["CONFIRMED", "CONFIRMED"] == [d.state for d in assessed.deliveries(survivor)]
    [report] = assessed.in_ehr("DiagnosticReport")
    assert "became one" in report["conclusion"]


def test_a_result_is_never_put_on_another_chart_by_us(assessed: Line, who: Chart, survivor: Chart):
    """The EHR has merged its patients and left our report with the prior: a person must look."""
    afp(assessed, survivor, "5000")
    patient = assessed.ehr.store.read("Patient", who.number.lower())
    assessed.ehr.store.update("Patient", patient["id"], {**patient, "active": False})
    merge(assessed, survivor, who)
    assert [("preliminary", chart_of(who))] == reports(assessed)
    [parked] = jobs.parked(assessed.parts.engine)
    assert "another chart" in parked["reason"]
    ehr_merges(assessed, survivor, who)
    replay_item(assessed.parts, parked["id"])
    assessed.settle()
    assert [("corrected", chart_of(survivor))] == reports(assessed)


def test_a_result_of_two_patients_is_withdrawn_first_and_then_made_anew(
    assessed: Line, who: Chart, survivor: Chart
):
    """An unmerge: entered-in-error where it stands, then a new result of the patient's own."""
    afp(assessed, survivor, "5000")
    ehr_merges(assessed, survivor, who)
    merge(assessed, survivor, who)
    patient = assessed.ehr.store.read("Patient", who.number.lower())
    assessed.ehr.store.update("Patient", patient["id"], {**patient, "active": True})
    unmerge(assessed, survivor, who)
    assert [("entered-in-error", chart_of(survivor)), ("preliminary", chart_of(who))] == (
        reports(assessed)
    )
    writes = [(d.status, d.state) for d in assessed.deliveries(who)]
    assert [("entered-in-error", "CONFIRMED"), ("preliminary", "CONFIRMED")] == writes[-2:]
    assert [] == assessed.deliveries(survivor)
    [now] = assessed.current(who)
    assert ("parted", 1) == (now.why, now.revision)
    assert "5000" not in str(now.body["inputs"])
    withdrawn = next(r for r in assessed.in_ehr("DiagnosticReport") if "error" in r["status"])
    assert "more than one patient" in withdrawn["conclusion"]


def test_a_result_of_two_patients_is_made_anew_once(assessed: Line, who: Chart, survivor: Chart):
    """The unmerge corrects an input that was used, too, and comes twice."""
    patient = assessed.ehr.store.read("Patient", who.number.lower())
    ehr_merges(assessed, survivor, who)
    merge(assessed, survivor, who, born="19500505")
    assert ["merge"] == [p.why for p in assessed.current(who)]
    assessed.ehr.store.update("Patient", patient["id"], {**patient, "active": True})
    for _ in range(2):
        unmerge(assessed, survivor, who, born=who.birth_date.replace("-", ""))
    assert [("parted", 1)] == [(p.why, p.revision) for p in assessed.current(who)]
    statuses = [d.status for d in assessed.deliveries(who)]
    assert ["preliminary", "corrected", "entered-in-error", "preliminary"] == statuses


def test_an_unmerge_leaves_alone_what_was_made_before_the_merge(
    assessed: Line, who: Chart, survivor: Chart
):
    """It rests on nothing of the other patient."""
    merge(assessed, survivor, who)
    unmerge(assessed, survivor, who)
    assert (["preliminary"], 1) == (
        [d.status for d in assessed.deliveries(who)], len(assessed.current(who)),
    )  # fmt: skip
    assert [] == assessed.current(survivor)


def test_a_result_that_used_a_visit_of_another_patient_is_withdrawn(
    line: Line, who: Chart, survivor: Chart
):
    """A45: the labs of a visit were somebody else's."""
    line.register(who)
    line.register(survivor)
    visit = "PV1|1|O|" + "|" * 16 + "V77"
    for message in (line.labs(who), hospital.oru_report(who, line.control_id(), line.clock())):
        line.send(message.replace(b"PV1|1|O", visit.encode()))
    line.fhir(hospital.fhir_history(who, ct.counts(who)))
    line.stow(*ct.instances(who))
    line.settle()
    assert [("preliminary", chart_of(who))] == reports(line)
    say(line, "A45", pid(survivor), f"MRG|{who.number}^^^DEMOHOSP^MR||||V77", visit)
    assert [("entered-in-error", chart_of(who))] == reports(line)
    assert [] == line.current(who)
    assert AFP in {e.code.code for e in line.entries(survivor) if e.code}
    assert AFP not in {e.code.code for e in line.entries(who) if e.code}


def test_what_waits_for_the_prior_is_done_for_the_survivor(line: Line, who: Chart, survivor: Chart):
    """Assess and deliver wait in the lane of a person; a merge takes both."""
    line.register(survivor)
    line.send(hospital.adt_a04(who, line.control_id(), line.clock()))
    line.evidence(who)
    line.settle(("ingest",))
    assert 1 == line.jobs()[("assess", "ready")]
    line.clock.forward(minutes=1)
    stamp = line.clock().strftime("%Y%m%d%H%M%S+0000")
    line.send(
        f"MSH|^~\\&|HIS|DEMOHOSP|ONCORD|DEMOHOSP|{stamp}||ADT^A40|M1|P|2.5.1\r"
        f"{pid(survivor)}\rMRG|{who.number}^^^DEMOHOSP^MR\r".encode()
    )
    line.settle()
    assert [("preliminary", chart_of(survivor))] == reports(line)


def test_an_assessment_under_way_is_not_written_for_who_is_no_more(
    line: Line, who: Chart, survivor: Chart
):
    """The epoch of both was raised; it is run again for the person who is (site rule 4)."""
    line.register(who)
    line.register(survivor)
    line.evidence(who)
    line.settle(("ingest",))
    stage = line.worker._stages["assess"]
    held = jobs.claim(line.parts.engine, "assess", now=line.clock(), limit=9)
    pack = line.parts.packs[0]
    read = [stage._read(pack, claim) for claim in held]  # type: ignore[attr-defined]
    merge(line, survivor, who)
    with writing(line.parts.engine) as connection:
        stage._record(connection, pack, read[0], None)  # type: ignore[attr-defined]
    with reading(line.parts.engine) as connection:
        assert [] == results.current(connection, line.person(who))
    line.clock.forward(minutes=1)
    line.settle()
    assert 1 == len(line.current(survivor))


@pytest.fixture
def again(line: Line, who: Chart) -> Line:
    """A number that was given out again: the second patient's registration is set aside."""
    line.register(who)
    line.settle()
    other = {"male": "F", "female": "M"}[who.synthetic.sex]
    say(line, "A28", pid(who, sex=other, born="20010910"))
    [parked] = line.inbound("parked")
    assert "known with another birth date" in parked["reason"]
    return line


def test_an_identifier_given_out_again_is_set_aside(again: Line, who: Chart):
    """And so is what nobody can tell whose it is (site rule 8)."""
    born = {e.value.isoformat()[:10] for e in again.entries(who) if e.key == "patient/birth_date"}
    assert {who.birth_date} == born
    unsure = again.labs(who).replace(who.birth_date.replace("-", "").encode(), b"")
    again.send(unsure)
    again.send(again.labs(who))
    again.settle()
    assert ["in dispute"] == [
        "in dispute" for row in again.inbound("parked") if "in dispute" in row["reason"]
    ]
    assert 1 == len({e.source.message for e in again.entries(who) if e.kind == "observation"})


def test_a_person_may_decide_that_it_is_the_same_patient(again: Line, who: Chart):
    """The message is applied; the dispute is over."""
    [parked] = again.inbound("parked")
    assert "message" == replay_item(again.parts, parked["id"], same_patient=True)
    again.settle()
    assert [] == again.inbound("parked")
    born = {e.value.isoformat()[:10] for e in again.entries(who) if e.key == "patient/birth_date"}
    assert {who.birth_date, "2001-09-10"} == born


def test_a_person_may_drop_it(again: Line, who: Chart):
    """The dispute is over, and the number names whom it named."""
    [parked] = again.inbound("parked")
    assert "message" == drop_item(again.parts, parked["id"])
    again.send(again.labs(who).replace(who.birth_date.replace("-", "").encode(), b""))
    again.settle()
    assert [] == again.inbound("parked")
    assert [e for e in again.entries(who) if e.kind == "observation"]


def test_replayed_as_it_is_it_is_set_aside_again(again: Line):
    """Nothing was mended."""
    [parked] = again.inbound("parked")
    replay_item(again.parts, parked["id"])
    again.settle()
    assert [parked["id"]] == [row["id"] for row in again.inbound("parked")]


def test_a_study_under_a_disputed_number_is_set_aside(again: Line, who: Chart):
    """A PACS says nothing that would tell whose it is."""
    assert 200 == again.stow(*list(ct.instances(who))[:2]).status_code
    again.settle()
    assert ["stow"] == [row["door"] for row in again.inbound("parked") if row["door"] == "stow"]
