"""eligibility: three-valued rules, windows, triggers, and nothing from the future."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from inference import eligibility
from inference.eligibility import Readiness
from inference.packs import Pack
from inference.rules import StudySummary
from inference.training.examples import AS_OF, T0
from mappings.record import (
    Code,
    Entry,
    Identifier,
    Origin,
    PatientRecord,
    Source,
    Text,
    When,
)

Make = Callable[..., Entry]
Study = Callable[..., StudySummary]


def judged(
    pack: Pack, entries: list[Entry], studies: list[StudySummary], as_of: datetime = AS_OF
) -> Readiness:
    """Readiness of these entries and studies."""
    record = PatientRecord.of(entries, as_of=as_of)
    return eligibility.readiness(pack.manifest, record, studies, as_of)


def verdict(ready: Readiness, rule: str) -> str:
    """One rule's answer."""
    return next(r.verdict for r in ready.rules if r.rule == rule)


def born(entries: list[Entry], when: When | None) -> list[Entry]:
    """The entries with another birth date, or none."""
    kept = [e for e in entries if e.key != "patient/birth_date"]
    old = next(e for e in entries if e.key == "patient/birth_date")
    return kept if when is None else [*kept, replace(old, value=when)]


def test_a_complete_patient_is_ready(pack: Pack, entries: list[Entry], study: Study) -> None:
    """All rules met, and the answer is JSON."""
    ready = judged(pack, entries, [study()])
    assert ("ready", (), T0, "2.25.1") == (
        ready.state,
        ready.waiting_for,
        ready.t0,
        ready.study_instance_uid,
    )
    assert "a new CT study arrives live" in json.loads(json.dumps(ready.to_json()))["triggers"]


def test_nobody_knows_anything_yet(pack: Pack) -> None:
    """An empty record waits; unknown is never met."""
    ready = judged(pack, [], [])
    assert "waiting" == ready.state
    assert {"unknown"} == {r.verdict for r in ready.rules}


@pytest.mark.parametrize(
    ("birth", "expected"),
    [
        (When(datetime.fromisoformat("1970-01-01"), "day"), "met"),
        (When(datetime.fromisoformat("1970-01-01"), "year"), "met"),
        (When(datetime.fromisoformat("2007-03-02"), "day"), "met"),
        (When(datetime.fromisoformat("2008-03-04"), "day"), "not_met"),
        (When(datetime.fromisoformat("2008-01-01"), "year"), "unknown"),
        (When(datetime.fromisoformat("2008-03-01"), "month"), "unknown"),
        (When(datetime.fromisoformat("1945-06-01"), "day"), "met"),
        (When(datetime.fromisoformat("1945-01-01"), "year"), "unknown"),
        (When(datetime.fromisoformat("1944-01-01"), "year"), "not_met"),
        (None, "unknown"),
    ],
)
def test_a_partial_birth_date_is_an_interval(
    pack: Pack, entries: list[Entry], study: Study, birth: When | None, expected: str
) -> None:
    """An interval inside 18 to 80 is met, outside is not, across the edge is unknown."""
    assert expected == verdict(judged(pack, born(entries, birth), [study()]), "age")


def test_an_unknown_rule_waits_and_a_failed_one_ends_it(
    pack: Pack, entries: list[Entry], study: Study
) -> None:
    """An unknown rule gives waiting, not met gives not eligible, whatever else is unknown."""
    assert "waiting" == judged(pack, born(entries, None), [study()]).state
    child = born(entries, When(datetime.fromisoformat("2020-01-01"), "day"))
    assert "not_eligible" == judged(pack, child, [study(phases=None)]).state


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "met"),
        ({"phases": ("AP", "PV")}, "met"),
        ({"phases": ("NC",)}, "not_met"),
        ({"phases": None}, "unknown"),
        ({"complete": False}, "unknown"),
        ({"complete": False, "phases": ("NC",)}, "unknown"),
        ({"modality": "MR"}, "unknown"),
        ({"modality": "CT\\SR"}, "met"),
        ({"started": None}, "unknown"),
        ({"body_part": "HEAD"}, "unknown"),
        ({"body_part": ""}, "met"),
        ({"started": When.instant(AS_OF + timedelta(days=1))}, "unknown"),
    ],
)
def test_contrast_is_evidence_and_not_assumption(
    pack: Pack, entries: list[Entry], study: Study, changes: dict[str, object], expected: str
) -> None:
    """Incomplete, unread, absent and future studies are unknown; a study without contrast fails."""
    assert expected == verdict(judged(pack, entries, [study(**changes)]), "contrast_ct")


def test_the_newest_study_that_may_fit_is_the_index(
    pack: Pack, entries: list[Entry], study: Study
) -> None:
    """A later plain CT does not displace the contrast CT."""
    plain = study(
        study_instance_uid="2.25.2", phases=("NC",), started=When.instant(T0 + timedelta(days=1))
    )
    newer = study(study_instance_uid="2.25.3", started=When.instant(T0 + timedelta(days=2)))
    assert "2.25.1" == judged(pack, entries, [plain, study()]).study_instance_uid
    assert "2.25.3" == judged(pack, entries, [newer, plain, study()]).study_instance_uid


def test_a_scanner_without_zone_is_not_in_the_future(
    pack: Pack, entries: list[Entry], study: Study
) -> None:
    """DICOM times seldom carry an offset; a hospital in UTC+8 is eight hours ahead of UTC."""
    local = (AS_OF + timedelta(hours=8)).replace(tzinfo=None)
    assert "met" == verdict(judged(pack, entries, [study(started=When(local))]), "contrast_ct")


def test_a_missing_lab_is_waited_for_by_name(
    pack: Pack, entries: list[Entry], study: Study
) -> None:
    """The sentence names the input and what became of it."""
    without = [e for e in entries if not e.has_code("1834-1")]
    ready = judged(pack, without, [study()])
    assert ("waiting", ("waiting for Alpha-fetoprotein (nothing received)",)) == (
        ready.state,
        ready.waiting_for,
    )


def test_an_optional_lab_is_not_waited_for(pack: Pack, entries: list[Entry], study: Study) -> None:
    """DCP and CA 19-9 may be absent."""
    without = [e for e in entries if not e.has_code("34444-0") and not e.has_code("24108-3")]
    assert "ready" == judged(pack, without, [study()]).state


@pytest.mark.parametrize(
    ("days", "present"), [(-31, False), (-30, True), (0, True), (3, True), (5, False), (15, False)]
)
def test_labs_count_inside_their_window_and_before_the_lock(
    pack: Pack, entries: list[Entry], study: Study, lab: Make, days: float, present: bool
) -> None:
    """30 days before to 14 days after the CT, and never after `as_of` (here day 4)."""
    others = [e for e in entries if not e.has_code("1834-1")]
    ready = judged(pack, [*others, lab(days=days)], [study()])
    assert present == next(i.present for i in ready.inputs if i.input == "AFP")


def test_time_travel_changes_nothing(
    pack: Pack, entries: list[Entry], study: Study, lab: Make
) -> None:
    """Entries received after the lock, even with an earlier clinical time, are not read."""
    later = lab("9999", days=-1, received_days=10, key="observation/Y/1834-1/")
    assert judged(pack, entries, [study()]) == judged(pack, [*entries, later], [study()])


def test_a_report_without_findings_is_not_read(
    pack: Pack, entries: list[Entry], study: Study
) -> None:
    """The impression alone names the answer; it never stands in for the findings."""
    kept = [
        replace(e, details={"modality": "CT", "sections": {"impression": "HCC"}})
        if e.kind == "report"
        else e
        for e in entries
    ]
    ready = judged(pack, kept, [study()])
    assert ("waiting", "unknown") == (ready.state, verdict(ready, "radiology_report"))


@pytest.mark.parametrize(
    ("status", "expected"),
    [("preliminary", "unknown"), ("registered", "unknown"), ("final", "met"), ("corrected", "met")],
)
def test_a_report_counts_once_it_is_final(
    pack: Pack, entries: list[Entry], study: Study, status: str, expected: str
) -> None:
    """Preliminary wording is not evidence."""
    kept = [replace(e, status=status) if e.kind == "report" else e for e in entries]  # type: ignore[arg-type]
    assert expected == verdict(judged(pack, kept, [study()]), "radiology_report")


def test_pathology_never_gates(pack: Pack, entries: list[Entry], study: Study) -> None:
    """The label's rule has scope analyse: its answer is shown and decides nothing."""
    report = next(e for e in entries if e.kind == "report")
    pathology = replace(
        report,
        key="report/PATH-1",
        code=Code("http://loinc.org", "11526-1"),
        details={"sections": {"findings": "HCC"}},
    )
    with_it = judged(pack, [*entries, pathology], [study()])
    without = judged(pack, entries, [study()])
    assert ("unknown", "met") == (verdict(without, "pathology"), verdict(with_it, "pathology"))
    assert ("ready", "ready") == (without.state, with_it.state)
    assert without.inputs == with_it.inputs


@pytest.mark.parametrize(("origin", "fires"), [("live", True), ("history", False), ("own", False)])
def test_only_what_arrives_live_pulls_the_trigger(
    pack: Pack, study: Study, origin: Origin, fires: bool
) -> None:
    """Imports, replays and our own results start nothing."""
    assert fires == (eligibility.fired(pack.manifest, study(origin=origin)) is not None)
    entry = Entry(
        kind="imaging_study",
        key="imaging_study/2.25.1",
        patient=Identifier("SYN-1", "example"),
        source=Source("pacs", 1, AS_OF, origin=origin),
        path="",
        value=Text("x"),
        details={"modality": "CT\\SEG"},
    )
    assert fires == (eligibility.fired(pack.manifest, entry) is not None)


def test_a_lab_pulls_no_trigger(pack: Pack, entries: list[Entry], study: Study) -> None:
    """New data alone never starts or repeats an assessment; neither does another modality."""
    assert eligibility.fired(pack.manifest, entries) is None
    assert eligibility.fired(pack.manifest, study(modality="MR")) is None
