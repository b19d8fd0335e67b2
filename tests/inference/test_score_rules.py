"""Rules on derived scores: BCLC and Milan, computed with their evidence and never guessed."""

from __future__ import annotations

import pytest
from study_facts import (
    LIVER_LABS,
    NOW,
    T0,
    born,
    coded,
    fitting,
    judged,
    lab,
    number,
    staged,
    study,
)

from inference import eligibility, features, matching, protocol_reading
from inference.protocol_reading import FOLDER
from inference.toml_table import document
from mappings.record import Entry, PatientRecord

# What is told otherwise of a patient of stage A, and the stage it makes.
STAGES: dict[str, tuple[dict[str, Entry | None], str | None]] = {
    "a small nodule": ({"largest": number("21889-1", "20", "mm")}, "0"),
    "three of 3 cm": (
        {"nodules": number("405930005", "3", "1"), "largest": number("21889-1", "30", "mm")}, "A",
    ),
    "two, one of 3.4 cm": ({"nodules": number("405930005", "2", "1")}, "B"),
    "portal vein": ({"vessels": coded("macrovascular-invasion", "见癌栓", -4)}, "C"),
    "in a vessel": ({"vessels": coded("macrovascular-invasion", "present", -4)}, "C"),
    "outside of the liver": ({"spread": coded("extrahepatic-spread", "LA9633-4", -4)}, "C"),
    "ECOG 2": ({"ecog": number("89247-1", "2", "{score}")}, "C"),
    "in doubt": ({"spread": coded("extrahepatic-spread", "不除外", -4)}, None),
    "after the window": ({"nodules": number("405930005", "1", "1", -90)}, None),
    "how much ascites": ({"ascites": coded("389026000", "腹水", -4)}, None),
    "half a nodule": ({"nodules": number("405930005", "0.5", "1")}, None),
}  # fmt: skip


@pytest.mark.parametrize("case", STAGES)
@pytest.mark.parametrize("name", ["hcc_ar_pre", "hcc_ar_post"])
def test_bclc_is_computed_and_never_guessed(name: str, case: str) -> None:
    """0 and A are met, other stages are not, and what lacks a part is unknown and names it."""
    told, stage = STAGES[case]
    tumour = {e.code.code for e in staged() if e.code}
    entries, studies = fitting(name)
    others = [e for e in entries if not e.code or e.code.code not in tumour]
    ready = judged(name, ([*others, *staged(**told)], studies))
    rule = next(r for r in ready.rules if r.rule == "early_stage")
    if stage is None:
        assert ("unknown", "waiting") == (rule.verdict, ready.state)
        assert "BCLC stage cannot be told" in rule.reason
        assert () == rule.evidence
    else:
        assert ("met" if stage in "0A" else "not_met") == rule.verdict
        assert f"BCLC stage is {stage}" == rule.reason
        used = {key.split("/")[1] for key in rule.evidence}
        assert {*tumour, "1751-7", "1975-2", "6301-6"} == used


def test_a_stage_rests_on_every_size_and_is_a_number_for_a_graph() -> None:
    """The largest of two tumours decides, and both were read for it; stage B is 2 there."""
    p = protocol_reading.shipped()["hcc_ar_pre"]
    sizes = [number("21889-1", "12", "mm", -9), number("21889-1", "31", "mm", -12)]
    told = [*staged(largest=None, nodules=number("405930005", "2", "1")), *sizes]
    record = PatientRecord.of([*born(), *(lab(n) for n in LIVER_LABS), *told], as_of=NOW)
    made = features.read(p, None, record, T0, NOW)
    assert (31.0, 2.0) == (made.numbers["largest_mm"], made.numbers["BCLC"])
    assert {e.key for e in sizes} <= {u.key for u in made.used if u.used_as == "BCLC"}


def test_a_question_with_a_hyphen_is_no_range() -> None:
    """Neither for an input nor for a selector of a rule."""
    asked = coded("macrovascular-invasion", "absent")
    assert matching.coded_as(asked, ["macrovascular-invasion"])
    assert not matching.coded_as(coded("macrovascular", "absent"), ["macrovascular-invasion"])
    assert not matching.coded_as(asked, ["extrahepatic-spread"])


MILAN = """
[[inputs]]
id = "MILAN"
kind = "score"
modality = "clinical"
display = "Milan criteria"
required = false
score = "MILAN"
of = ["nodules", "largest_mm", "macrovascular", "extrahepatic"]
transform = "identity"
tokens = { within = 0, exceeding = 1 }

[[rules]]
id = "milan"
scope = "both"
test = "score"
input = "MILAN"
values = ["within"]
text = "Within the Milan criteria"
source = "Mazzaferro 1996"
"""


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, "met"),
        ({"largest": number("21889-1", "51", "mm"), "spread": None}, "not_met"),
        ({"spread": None}, "unknown"),
        ({"ecog": None}, "met"),
    ],
)
def test_a_rule_may_ask_for_the_milan_criteria(
    told: dict[str, Entry | None], expected: str
) -> None:
    """One thing beyond them decides; being within them needs everything."""
    text = (FOLDER / "hcc_ar_pre.toml").read_text("utf-8") + MILAN
    p = protocol_reading.read(document(text.encode(), "x.toml"))
    entries, studies = [*born(), *(lab(n) for n in LIVER_LABS), *staged(**told)], [study("MR", 0)]
    ready = eligibility.readiness(p, PatientRecord.of(entries, as_of=NOW), studies, NOW)
    assert expected == next(r.verdict for r in ready.rules if r.rule == "milan")
