"""Studies as PACS really send them: series by series, again, with reports, under two patients."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset
from whole_line import Line

from interop.ledger import images
from interop.ledger.engine import reading
from workers.demo import ct, hospital
from workers.demo.hospital import Chart


def study(line: Line, uid: str) -> Any:
    """The study's row."""
    with reading(line.parts.engine) as connection:
        return images.study(connection, uid)


def by_series(who: Chart) -> list[list[Dataset]]:
    """The study's instances, one list a series."""
    series: dict[str, list[Dataset]] = {}
    for instance in ct.instances(who):
        series.setdefault(instance.SeriesInstanceUID, []).append(instance)
    return list(series.values())


def test_series_by_series_is_one_study_by_silence(line: Line, who: Chart):
    """Four requests two seconds apart: complete once, with every phase."""
    line.register(who)
    for part in by_series(who):
        line.stow(*part)
        line.settle()
        line.clock.forward(seconds=2)
    assert "arriving" == study(line, who.study_uid).state
    line.clock.forward(seconds=30)
    line.settle()
    row = study(line, who.study_uid)
    assert ("complete", "silence", 0) == (row.state, row.evidence, row.revision)
    assert 4 == len(row.body["phases"])


def test_series_by_series_is_complete_with_the_last_announced_one(line: Line, who: Chart):
    """An announcement needs no silence."""
    line.register(who)
    line.fhir(hospital.fhir_history(who, ct.counts(who)))
    line.settle()
    states = []
    for part in by_series(who):
        line.stow(*part)
        line.settle()
        states.append(study(line, who.study_uid).state)
    assert ["arriving"] * 3 + ["complete"] == states
    assert 0 == study(line, who.study_uid).revision


def test_a_dose_report_does_not_hide_the_ct(line: Line, who: Chart):
    """Another modality in a request of its own leaves what packs look for."""
    line.register(who)
    line.evidence(who)
    line.settle()
    report = next(ct.instances(who))
    report.Modality = "SR"
    report.SOPInstanceUID = report.file_meta.MediaStorageSOPInstanceUID = (
        report.SOPInstanceUID + ".9"
    )
    report.SeriesInstanceUID += ".9"
    report.BodyPartExamined = ""
    line.stow(report)
    line.settle()
    row = study(line, who.study_uid)
    assert ("CT", "LIVER") == (row.modality, row.body["body_part"])


def test_a_ct_that_is_sent_again_changes_nothing(line: Line, who: Chart):
    """PACS resend: known instances are applied, nothing is set aside, nothing runs."""
    line.register(who)
    line.evidence(who)
    line.settle()
    assert 200 == line.stow(*ct.instances(who)).status_code
    line.settle()
    line.clock.forward(seconds=60)
    line.settle()
    assert [] == line.inbound("parked", "quarantined")
    assert 1 == len(line.deliveries(who))


def test_a_study_is_never_moved_to_another_patient(line: Line, who: Chart, other_patient: Chart):
    """Another patient's instance under a known study is parked (site rule 20)."""
    line.register(who)
    line.evidence(who)
    line.settle()
    line.register(other_patient)
    stray = next(ct.instances(other_patient))
    stray.StudyInstanceUID = who.study_uid
    assert 200 == line.stow(stray).status_code
    line.settle()
    line.clock.forward(seconds=60)
    line.settle()
    row = study(line, who.study_uid)
    assert (line.person(who), "complete") == (row.person, row.state)
    assert ["the study belongs to another patient"] == [m["reason"] for m in line.inbound("parked")]
