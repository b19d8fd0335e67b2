"""Corrections where they meet other events: returned values, two studies, lost answers, silence."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from whole_line import SITE, Line, opened

from interop.ledger import jobs
from workers.demo import ct, hospital
from workers.demo.hospital import AFP, Chart
from workers.replay import replay_item


def assess(line: Line, who: Chart) -> None:
    """One patient with one confirmed result."""
    line.register(who)
    line.evidence(who)
    line.settle()
    assert ["CONFIRMED"] == [d.state for d in line.deliveries(who)]


def afp(line: Line, who: Chart, value: str, status: str = "C") -> None:
    """A later version of the AFP that was used."""
    line.clock.forward(minutes=10)
    line.send(line.labs(who, loincs=[AFP], values={AFP: Decimal(value)}, status=status))
    line.settle()


def told(line: Line) -> list[tuple[str, str]]:
    """Status and conclusion of every report in the EHR."""
    return [(r["status"], r["conclusion"]) for r in line.in_ehr("DiagnosticReport")]


def test_a_value_that_returns_is_said_again(line: Line, who: Chart):
    """10, then 5000, then 10 again: the EHR ends with what 10 gives."""
    assess(line, who)
    afp(line, who, "10")
    [(_, ten)] = told(line)
    afp(line, who, "5000")
    afp(line, who, "10")
    [(status, last)] = told(line)
    [now] = line.current(who)
    assert ("corrected", 4) == (status, now.revision)
    assert ten.partition("now ")[2].split(" %")[0] == last.partition("now ")[2].split(" %")[0]


def test_a_withdrawn_result_is_said_again_when_its_input_returns(line: Line, who: Chart):
    """OBX-11 = W withdraws; a new value reinstates under the same ids."""
    assess(line, who)
    afp(line, who, "1.0", status="W")
    assert ["entered-in-error"] == [status for status, _ in told(line)]
    afp(line, who, "55")
    assert ["corrected"] == [status for status, _ in told(line)]
    assert [True] == ["55" in str(p.body["inputs"]) for p in line.current(who)]


def test_the_same_value_of_another_status_is_no_correction(line: Line, who: Chart):
    """A laboratory that resends a group as C changes nothing."""
    assess(line, who)
    value = str(who.synthetic.labs[AFP][0])
    afp(line, who, value, status="C")
    assert 1 == len(line.deliveries(who))


def test_a_correction_is_judged_for_the_study_it_concerns(line: Line, who: Chart):
    """A newer CT that waits for its report does not withdraw the older CT's result."""
    assess(line, who)
    later = replace(hospital.chart(who.synthetic, t0=who.t0 + timedelta(days=8)), number=who.number)
    line.clock.forward(days=9)
    line.stow(*ct.instances(later))
    line.clock.forward(seconds=60)
    line.settle()
    before = len(line.current(who))
    afp(line, who, "5000")
    statuses = [status for status, _ in told(line)]
    assert "entered-in-error" not in statuses
    assert "corrected" in statuses
    assert before == len(line.current(who))


def test_a_correction_while_the_study_is_open_again_waits(line: Line, who: Chart):
    """A late instance re-opens the study; nothing is withdrawn for that."""
    assess(line, who)
    late = next(ct.instances(who))
    late.SOPInstanceUID = late.file_meta.MediaStorageSOPInstanceUID = late.SOPInstanceUID + ".9"
    late.SeriesInstanceUID += ".9"
    line.stow(late)
    line.settle()
    afp(line, who, "5000")
    line.clock.forward(seconds=60)
    line.settle()
    line.clock.forward(seconds=60)
    line.settle()
    assert ["corrected"] == [status for status, _ in told(line)]


def test_an_overtaken_delivery_is_never_written(line: Line, who: Chart):
    """The first result was parked, its correction was written; replaying the first does nothing."""
    line.send(hospital.adt_a04(who, line.control_id(), line.clock()))
    line.evidence(who)
    line.settle()
    assert ["PARKED"] == [d.state for d in line.deliveries(who)]
    patient = hospital.fhir_patient(who)
    line.ehr.store.update("Patient", patient["id"], patient)
    afp(line, who, "5000")
    assert ["corrected"] == [status for status, _ in told(line)]
    [parked] = jobs.parked(line.parts.engine)
    replay_item(line.parts, parked["id"])
    line.settle()
    assert ["corrected"] == [status for status, _ in told(line)]
    assert ["OVERTAKEN", "CONFIRMED"] == [d.state for d in line.deliveries(who)]


def test_a_result_withdrawn_before_it_was_written_never_is(line: Line, who: Chart):
    """The EHR is busy, the AFP is withdrawn meanwhile: the EHR sees nothing."""
    line.register(who)
    line.ehr.faults.append("busy")
    line.evidence(who)
    line.settle()
    afp(line, who, "1.0", status="W")
    line.clock.forward(seconds=60)
    line.settle()
    assert [] == told(line)
    assert {"OVERTAKEN"} == {d.state for d in line.deliveries(who)}


@pytest.mark.parametrize("strategy", ["put", "post"])
def test_doubt_outlives_an_ehr_that_is_then_down(
    tmp_path: Path, sqlite_url: str, who: Chart, strategy: str
):
    """The answer to a correction is lost, the next try finds nobody: it is written once."""
    with opened(tmp_path, sqlite_url, strategy=f'strategy = "{strategy}"') as line:
        assess(line, who)
        line.ehr.faults.extend(["lose-answer", "unavailable"])
        afp(line, who, "5000")
        for _ in range(4):
            line.clock.forward(seconds=60)
            line.settle()
        assert ["CONFIRMED", "CONFIRMED"] == [d.state for d in line.deliveries(who)]
        [report] = line.in_ehr("DiagnosticReport")
        assert ("corrected", "2") == (report["status"], report["meta"]["versionId"])
        assert 2 == len(line.in_ehr("Provenance"))


def test_a_silent_site_writes_no_withdrawal(tmp_path: Path, sqlite_url: str, who: Chart):
    """Write-back is off: what was never written is not taken back in the EHR."""
    site = SITE.replace("write_back = true", "write_back = false")
    with opened(tmp_path, sqlite_url, site=site) as line:
        line.register(who)
        line.evidence(who)
        line.settle()
        afp(line, who, "1.0", status="W")
        assert ([], []) == (line.deliveries(who), told(line))
