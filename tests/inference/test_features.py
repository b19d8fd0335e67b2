"""features: units, comparators, plausibility, and what a report says."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from inference import features, findings
from inference.packs import Pack
from inference.training import liver, liver_report
from inference.training.examples import AS_OF, T0
from mappings.record import Entry, PatientRecord, Text

Make = Callable[..., Entry]


def read(pack: Pack, *entries: Entry) -> features.Features:
    """Features of these entries."""
    record = PatientRecord.of(entries, as_of=AS_OF)
    return features.read(pack.manifest, pack.lexicon, record, T0, AS_OF)


@pytest.mark.parametrize(
    ("code", "value", "unit", "name", "expected"),
    [
        ("1834-1", "20", "ng/mL", "AFP", math.log(20)),
        ("1834-1", "20", "ug/L", "AFP", math.log(20)),
        ("1751-7", "41.5", "g/L", "ALB", 4.15),
        ("1751-7", "4.15", "g/dL", "ALB", 4.15),
        ("1975-2", "1.2", "mg/dL", "TBIL", math.log(1.2)),
        ("14631-6", "20.52", "umol/L", "TBIL", math.log(1.2)),
        ("777-3", "210", "10*9/L", "PLT", math.log(210)),
        ("6301-6", "1.12", "{INR}", "INR", math.log(1.12)),
    ],
)
def test_values_are_brought_to_the_packs_unit(
    pack: Pack, lab: Make, code: str, value: str, unit: str, name: str, expected: float
) -> None:
    """Both bilirubin codes, both albumin units; then the declared transform."""
    got = read(pack, lab(value, unit, code=code)).numbers
    assert pytest.approx(expected, abs=2e-3) == got[name]


@pytest.mark.parametrize(
    ("value", "unit", "reason"),
    [
        ("20", None, "received with a blank or unknown unit"),
        ("20", "mol/L", "received in a unit that is not convertible to ng/mL"),
        ("20", "furlong", "received in a unit that is not convertible to ng/mL"),
        ("-3", "ng/mL", "received, but outside the plausible range"),
        ("2000001", "ng/mL", "received, but outside the plausible range"),
    ],
)
def test_what_cannot_be_a_feature_is_missing_with_its_reason(
    pack: Pack, lab: Make, value: str, unit: str | None, reason: str
) -> None:
    """Blank and foreign units are never guessed, implausible values never clipped."""
    got = read(pack, lab(value, unit))
    assert "AFP" not in got.numbers
    assert reason == next(m.reason for m in got.missing if m.input == "AFP")


def test_an_unusable_newer_value_leaves_the_older_one(pack: Pack, lab: Make) -> None:
    """The newest usable value serves."""
    got = read(pack, lab("20", key="a"), lab("30", None, days=0, key="b"))
    assert pytest.approx(math.log(20)) == got.numbers["AFP"]


def test_a_comparator_stands_at_the_end_of_the_range(pack: Pack, lab: Make) -> None:
    """The value "<0.9" counts as 0.9 and is named."""
    got = read(pack, lab("0.9", comparator="<"))
    assert ("AFP",) == got.comparators
    assert pytest.approx(math.log(0.9)) == got.numbers["AFP"]


def test_zero_has_a_logarithm(pack: Pack, lab: Make) -> None:
    """An assay that writes 0 means below its limit."""
    assert math.isfinite(read(pack, lab("0")).numbers["AFP"])


@pytest.mark.parametrize("status", ["preliminary", "registered", "unknown"])
def test_a_preliminary_value_is_not_used(pack: Pack, lab: Make, status: str) -> None:
    """Its final version will be."""
    assert "AFP" not in read(pack, lab(status=status)).numbers


def test_our_own_results_are_never_evidence(pack: Pack, lab: Make) -> None:
    """An echo of ours is not a lab."""
    assert "AFP" not in read(pack, lab(origin="own")).numbers


def test_the_digest_is_of_the_value_and_not_of_the_message(lab: Make) -> None:
    """Same number, other spelling, time and sequence: same digest. Other status: another."""
    first = features.value_digest(lab("12.5", seq=4))
    assert first == features.value_digest(lab("12.50", days=-2, seq=9))
    assert first != features.value_digest(lab("12.6"))
    assert first != features.value_digest(lab("12.5", "ug/L"))
    assert first != features.value_digest(lab("12.5", comparator="<"))
    assert first != features.value_digest(lab("12.5", status="corrected"))


@pytest.mark.parametrize(
    ("text", "finding", "expected"),
    [
        ("There is ascites.", "ascites", 1),
        ("No ascites.", "ascites", -1),
        ("No splenomegaly or ascites is present.", "ascites", -1),
        ("No splenomegaly, but ascites is present.", "ascites", 1),
        ("Without evidence of ascites.", "ascites", -1),
        ("Ascites is not seen.", "ascites", -1),
        ("Possible ascites.", "ascites", 0),
        ("Ascites cannot be excluded.", "ascites", 0),
        ("The liver is unremarkable.", "ascites", 0),
        ("ASCITES.", "ascites", 1),
        ("No splenomegaly. Ascites.", "ascites", 1),
        ("可见腹水。", "ascites", 1),
        ("未见腹水。", "ascites", -1),
        ("未见脾大、腹水。", "ascites", -1),
        ("无脾大，可见腹水。", "ascites", 1),
        ("可疑腹水。", "ascites", 0),
        ("腹腔积液不除外。", "ascites", 0),
        ("脾脏增大，未见明显腹水。", "splenomegaly", 1),
        ("门静脉内充盈缺损。", "portal_filling_defect", 1),
        ("No ascites. Repeat: ascites is seen.", "ascites", 1),
    ],
)
def test_negation_and_hedging_are_read(pack: Pack, text: str, finding: str, expected: int) -> None:
    """English and Chinese; a cue reaches to the end of its clause."""
    assert expected == findings.states(pack.lexicon, text)[finding]


def test_the_cohorts_reports_are_read_as_they_were_meant(pack: Pack) -> None:
    """Every state of 300 reports in both languages comes back."""
    meaning = {"present": 1, "absent": -1, "hedged": 0, "unmentioned": 0}
    for index in range(300):
        patient = liver.patient(4, index, render=False)
        said = findings.states(pack.lexicon, patient.findings)
        for finding, state in zip(liver_report.FINDINGS, patient.truth.states, strict=True):
            assert meaning[state] == said[finding.name]


def test_the_impression_is_never_read(pack: Pack, entries: list[Entry]) -> None:
    """Whatever the impression says, the findings states stay."""

    def told(impression: str) -> object:
        kept = [
            replace(
                e,
                details={
                    **e.details,
                    "sections": {**e.details["sections"], "impression": impression},
                },
            )
            if e.kind == "report"
            else e
            for e in entries
        ]
        return read(pack, *kept).findings

    assert told("Ascites. Satellite nodules. Hepatocellular carcinoma.") == told("")


@pytest.mark.parametrize(("word", "expected"), [("male", 1.0), ("F", 0.0), ("other", None)])
def test_sex_is_male_female_or_missing(
    pack: Pack, entries: list[Entry], word: str, expected: float | None
) -> None:
    """Anything else is no number."""
    kept = [replace(e, value=Text(word)) if e.key == "patient/sex" else e for e in entries]
    assert expected == read(pack, *kept).numbers.get("sex")
