"""What triggers and what never does; what a correction overtakes (site rules 2, 3, 9 to 13)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from whole_line import NOW, SITE, Line, opened

from workers.demo import ct, hospital
from workers.demo.hospital import AFP, MRN_SYSTEM, Chart


@pytest.fixture
def assessed(line: Line, who: Chart) -> Line:
    """A line with one delivered result."""
    line.register(who)
    line.evidence(who)
    line.settle()
    assert ["CONFIRMED"] == [d.state for d in line.deliveries(who)]
    return line


def afp(line: Line, who: Chart, value: str, **changes: str) -> None:
    """Another version of the AFP that was used."""
    line.clock.forward(minutes=10)
    line.send(line.labs(who, loincs=[AFP], values={AFP: Decimal(value)}, **changes))
    line.settle()


def test_the_order_of_arrival_does_not_matter(line: Line, who: Chart):
    """Study first, then announcement, report, labs: one result when the last is there."""
    line.register(who)
    assert 200 == line.stow(*ct.instances(who)).status_code
    line.settle()
    line.fhir(hospital.fhir_history(who, ct.counts(who)))
    line.send(hospital.oru_report(who, line.control_id(), line.clock()))
    line.settle()
    assert [] == line.deliveries(who)
    line.send(line.labs(who))
    line.settle()
    assert ["CONFIRMED"] == [d.state for d in line.deliveries(who)]


def test_a_study_is_complete_by_silence_when_nobody_announced_it(line: Line, who: Chart):
    """Evidence first, silence last."""
    line.register(who)
    line.send(line.labs(who))
    line.send(hospital.oru_report(who, line.control_id(), line.clock()))
    line.stow(*ct.instances(who))
    line.settle()
    assert [] == line.deliveries(who)
    line.clock.forward(seconds=11)
    line.settle()
    assert ["CONFIRMED"] == [d.state for d in line.deliveries(who)]


def test_five_hundred_labs_and_one_trigger_give_one_result(assessed: Line, who: Chart):
    """New data alone re-runs nothing (site rule 2)."""
    line, old = assessed, (who.t0 - timedelta(days=2)).strftime("%Y%m%d%H%M%S%z").encode()
    names = list(who.synthetic.labs)
    for number in range(500 // len(names) + 1):
        line.clock.forward(hours=12)
        # Each its own order and moment: facts of their own, not corrections.
        drawn = line.clock().strftime("%Y%m%d%H%M%S+0000").encode()
        sent = line.labs(who, loincs=names, filler=f"N{number}").replace(old, drawn)
        assert b"|AA|" in line.send(sent)
    line.settle()
    assert (1, 1) == (len(line.current(who)), len(line.deliveries(who)))
    assert 1 == line.jobs()[("assess", "done")]


def test_the_same_labs_sent_again_change_nothing(assessed: Line, who: Chart):
    """Other control id, same facts: no second run that is written (site rule 13)."""
    assessed.clock.forward(minutes=5)
    assessed.send(assessed.labs(who))
    assessed.settle()
    assert 1 == len(assessed.deliveries(who))


def test_a_correction_re_runs_and_amends(assessed: Line, who: Chart):
    """OBX-11 = C of an input that was used."""
    afp(assessed, who, "999.0", status="C")
    assert ["preliminary", "corrected"] == [d.status for d in assessed.deliveries(who)]
    [prediction] = assessed.current(who)
    assert ("correction", 2) == (prediction.why, prediction.revision)


def test_a_second_correction_amends_again(assessed: Line, who: Chart):
    """The lineage goes on; ids stay."""
    [before] = assessed.in_ehr("RiskAssessment")
    for value in ("999.0", "3.1"):
        afp(assessed, who, value, status="C")
    [after] = assessed.in_ehr("RiskAssessment")
    assert before["id"] == after["id"]
    assert ["CONFIRMED"] * 3 == [d.state for d in assessed.deliveries(who)]
    assert [3] == [p.revision for p in assessed.current(who)]


def test_a_correction_of_what_was_not_used_re_runs_nothing(assessed: Line, who: Chart):
    """A platelet count of another order."""
    assessed.clock.forward(minutes=5)
    message = assessed.labs(who, loincs=["777-3"], filler="OTHER").replace(b"777-3", b"718-7")
    assessed.send(message)
    assessed.settle()
    assert 1 == len(assessed.deliveries(who))


def test_a_retraction_withdraws_the_result(assessed: Line, who: Chart):
    """OBX-11 = W of a required input: entered-in-error in the EHR, no current prediction."""
    afp(assessed, who, "1.0", status="W")
    assert [] == assessed.current(who)
    assert ["preliminary", "entered-in-error"] == [d.status for d in assessed.deliveries(who)]
    assert ["CONFIRMED"] * 2 == [d.state for d in assessed.deliveries(who)]
    for kind in ("RiskAssessment", "DiagnosticReport", "Observation"):
        assert {"entered-in-error"} == {r["status"] for r in assessed.in_ehr(kind)}


def test_an_older_version_that_comes_late_overtakes_nothing(assessed: Line, who: Chart):
    """OBR-22 decides, not the moment of receipt (site rule 9)."""
    old = hospital.oru_labs(
        who, assessed.control_id(), NOW - timedelta(days=3), loincs=[AFP], filler="L1",
        values={AFP: Decimal("5.0")},
    )  # fmt: skip
    assessed.send(old)
    assessed.settle()
    assert 1 == len(assessed.deliveries(who))


def test_history_never_triggers(line: Line, who: Chart):
    """The same evidence through the history doors: known, and silent (site rule 3)."""
    patient = hospital.fhir_patient(who)
    line.ehr.store.update("Patient", patient["id"], patient)
    line.send(hospital.adt_a04(who, "H1", line.clock()), "archive")
    line.send(line.labs(who), "archive")
    line.send(hospital.oru_report(who, "H3", line.clock()), "archive")
    line.stow(*ct.instances(who), path="/dicomweb/archive/studies")
    line.settle()
    line.clock.forward(minutes=5)
    line.settle()
    assert ([], []) == (line.current(who), line.deliveries(who))
    assert ("assess", "done") not in line.jobs()


def test_readiness_says_what_is_missing(line: Line, who: Chart):
    """A stored answer per pack, asked by identifier."""
    line.register(who)
    line.settle()
    asked = {"system": MRN_SYSTEM, "value": who.number}
    [answer] = httpx.post(f"{line.http}/readiness", json=asked).json()["packs"]
    assert ("waiting", "liver_dx") == (answer["state"], answer["pack"])
    assert answer["waiting_for"]
    assert answer["triggers"]


def test_two_patients_do_not_mix(line: Line, who: Chart, other_patient: Chart):
    """Interleaved evidence gives each their own result (I4)."""
    for patient in (who, other_patient):
        line.register(patient)
    for patient in (other_patient, who):
        line.evidence(patient)
    line.settle()
    line.clock.forward(seconds=30)
    line.settle()
    subjects = {r["subject"]["reference"] for r in line.in_ehr("DiagnosticReport")}
    expected = {f"Patient/{p.number.lower()}" for p in (who, other_patient) if line.deliveries(p)}
    assert expected == subjects
    assert len(subjects) >= 1


@pytest.fixture
def silent(tmp_path: Path, sqlite_url: str) -> Iterator[Line]:
    """A site that has not switched write-back on."""
    site = SITE.replace("write_back = true", "write_back = false")
    with opened(tmp_path, sqlite_url, site=site) as made:
        yield made


def test_a_site_starts_silent(silent: Line, who: Chart):
    """Predicted and kept, never delivered (site rule 3)."""
    silent.register(who)
    silent.evidence(who)
    silent.settle()
    assert (1, []) == (len(silent.current(who)), silent.deliveries(who))


def test_an_ehr_that_is_down_blocks_no_ingest(line: Line, who: Chart, other_patient: Chart):
    """Deliver waits by itself; ADT of the same patient goes on, and then it is written once."""
    line.register(who)
    line.ehr.faults.extend(["unavailable", "busy", "unavailable"])
    line.evidence(who)
    line.settle()
    assert "CONFIRMED" != line.deliveries(who)[0].state
    assert b"|AA|" in line.send(hospital.adt_a04(who, line.control_id(), line.clock()))
    line.settle()
    assert [] == line.inbound("received")
    for _ in range(5):
        line.clock.forward(seconds=60)
        line.settle()
    assert ["CONFIRMED"] == [d.state for d in line.deliveries(who)]
    assert 1 == len(line.in_ehr("DiagnosticReport"))


def test_a_lost_answer_is_found_again(line: Line, who: Chart):
    """UNKNOWN, looked up, confirmed; the EHR holds one set."""
    line.register(who)
    line.ehr.faults.append("lose-answer")
    line.evidence(who)
    line.settle()
    assert ["UNKNOWN"] == [d.state for d in line.deliveries(who)]
    line.clock.forward(seconds=60)
    line.settle()
    assert ["CONFIRMED"] == [d.state for d in line.deliveries(who)]
    assert (1, 1) == (len(line.in_ehr("DiagnosticReport")), line.ehr.writes)


def test_a_report_that_a_person_edited_is_left_alone(assessed: Line, who: Chart):
    """The correction is parked for a person, the edit stands."""
    [report] = assessed.in_ehr("DiagnosticReport")
    assessed.ehr.store.update("DiagnosticReport", report["id"], {**report, "status": "final"})
    afp(assessed, who, "999.0", status="C")
    assert ["CONFIRMED", "PARKED"] == [d.state for d in assessed.deliveries(who)]
    assert ["final"] == [r["status"] for r in assessed.in_ehr("DiagnosticReport")]


def test_a_result_for_a_patient_the_ehr_does_not_have_is_parked(line: Line, who: Chart):
    """Never written to a guess (site rule 8)."""
    line.send(hospital.adt_a04(who, "A1", line.clock()))
    line.evidence(who)
    line.settle()
    assert (["PARKED"], []) == (
        [d.state for d in line.deliveries(who)], line.in_ehr("DiagnosticReport"),
    )  # fmt: skip
