"""Studies as PACS really send them: series by series, again, with reports, under two patients."""

from __future__ import annotations

import hashlib
from typing import Any

from pydicom.dataset import Dataset
from whole_line import Line

from interop.ledger import images
from interop.ledger.engine import reading
from workers.demo import ct, hospital
from workers.demo.hospital import Chart
from workers.replay import replay_message


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


def test_a_dose_report_ahead_of_its_ct_does_not_hide_it_either(line: Line, who: Chart):
    """Whatever comes first, the CT tells what the study is."""
    line.register(who)
    series = by_series(who)
    report = next(ct.instances(who))
    report.Modality, report.StudyDescription, report.BodyPartExamined = "SR", "dose", ""
    report.SOPInstanceUID = report.file_meta.MediaStorageSOPInstanceUID = (
        report.SOPInstanceUID + ".9"
    )
    report.SeriesInstanceUID += ".9"
    for part in ([report], *series):
        line.stow(*part)
        line.settle()
    row = study(line, who.study_uid)
    told = (row.modality, row.body["body_part"], row.body["description"])
    assert ("CT", "LIVER", series[0][0].StudyDescription) == told


def test_silence_does_not_complete_what_is_not_read_yet(line: Line, who: Chart):
    """Instances wait in the queue while the silence ends: they are read first."""
    line.register(who)
    first, *rest = by_series(who)
    line.stow(*first)
    line.settle()
    for part in rest:
        line.stow(*part)
    line.clock.forward(seconds=11)
    line.settle()
    line.clock.forward(seconds=60)
    line.settle()
    row = study(line, who.study_uid)
    assert ("complete", 0) == (row.state, row.revision)
    assert 4 == len(row.body["phases"])


def test_a_torn_instance_does_not_count_until_it_comes_whole(line: Line, who: Chart):
    """Announced series are complete when every instance of them can be read."""
    line.register(who)
    line.send(line.labs(who))
    line.send(hospital.oru_report(who, line.control_id(), line.clock()))
    line.fhir(hospital.fhir_history(who, ct.counts(who)))
    whole = [ct.part10(instance) for instance in ct.instances(who)]
    line.stow(*whole[:5], whole[5][:-3000], *whole[6:])
    line.settle()
    assert "arriving" == study(line, who.study_uid).state
    line.stow(*whole)
    line.settle()
    row = study(line, who.study_uid)
    assert ("complete", "announced series are complete") == (row.state, row.evidence)
    assert {("assess", "parked"), ("ingest", "parked")}.isdisjoint(line.jobs())
    assert ["CONFIRMED"] == [d.state for d in line.deliveries(who)]


def test_nothing_of_a_request_that_is_set_aside_counts(line: Line, who: Chart):
    """One instance with other pixels under its UID: the whole request waits for a person."""
    line.register(who)
    first, second, *_ = by_series(who)
    line.stow(*first)
    line.settle()
    first[0].PixelData = bytes(len(first[0].PixelData))
    line.stow(first[0], *second)
    line.settle()
    with reading(line.parts.engine) as connection:
        counts = images.series_counts(connection, who.study_uid)
    assert {first[0].SeriesInstanceUID: len(first)} == counts


def test_a_replay_leaves_the_newer_version_of_an_instance(line: Line, who: Chart):
    """Tags were edited since: what is read again is still the older one."""
    line.register(who)
    [instance] = by_series(who)[0][:1]
    old = ct.part10(instance)
    instance.StudyDescription = "corrected"
    for part in (old, instance):
        line.stow(part)
        line.settle()
    first = min(m["id"] for m in line.inbound("applied") if m["door"] == "stow")
    replay_message(line.parts, first)
    line.settle()
    with reading(line.parts.engine) as connection:
        rows = images.of_study(connection, who.study_uid)
    old_digest = hashlib.sha256(old).hexdigest()
    assert ["replaced"] == [r.state for r in rows if r.sha256 == old_digest]
    assert ["current"] == [r.state for r in rows if r.sha256 != old_digest]


def dose_report(who: Chart) -> Dataset:
    """An X-Ray Radiation Dose SR of the study, without any pixels, as scanners send it."""
    made = next(ct.instances(who))
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated", "ImageOrientationPatient"):
        delattr(made, keyword)
    made.Modality, made.SeriesDescription, made.SeriesNumber = "SR", "Dose Report", 999
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.67"
    made.SeriesInstanceUID += ".9"
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID + ".9"
    return made


def test_a_report_without_pixels_is_part_of_its_study(line: Line, who: Chart):
    """Announced with the rest, alone in its request: with it the study is complete."""
    line.register(who)
    report = dose_report(who)
    announced = {**ct.counts(who), str(report.SeriesInstanceUID): 1}
    line.fhir(hospital.fhir_history(who, announced))
    line.stow(*ct.instances(who))
    line.settle()
    assert "arriving" == study(line, who.study_uid).state
    line.stow(report)
    line.settle()
    row = study(line, who.study_uid)
    assert ("complete", "announced series are complete") == (row.state, row.evidence)
    assert (4, []) == (len(row.body["phases"]), line.inbound("parked"))


def test_a_report_that_is_sent_again_in_other_words_counts_in_its_newest_version(
    line: Line, who: Chart
):
    """A PACS edits its tags; there are no pixels that could be others."""
    line.register(who)
    first, second = dose_report(who), dose_report(who)
    second.SeriesDescription = "Dose Report (corrected)"
    for report in (first, second):
        line.stow(report)
        line.settle()
    assert [] == line.inbound("parked")
    with reading(line.parts.engine) as connection:
        states = {r.sha256: r.state for r in images.of_study(connection, who.study_uid)}
    digests = [hashlib.sha256(ct.part10(report)).hexdigest() for report in (first, second)]
    assert ["replaced", "current"] == [states[digest] for digest in digests]


def test_an_image_without_its_pixels_is_set_aside(line: Line, who: Chart):
    """It says that it has some."""
    line.register(who)
    torn = next(ct.instances(who))
    del torn.PixelData
    line.stow(torn)
    line.settle()
    assert 1 == len(line.inbound("parked"))
