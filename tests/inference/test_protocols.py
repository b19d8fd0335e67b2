"""Protocols: every rule of the five studies on records that fit and do not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from study_facts import (
    LABS,
    NOW,
    T0,
    as_if,
    born,
    coded,
    consent,
    entry,
    fitting,
    judged,
    lab,
    verdict,
    with_,
    without,
)

from inference import eligibility, features, protocol_reading
from inference.protocol_reading import FOLDER
from mappings.record import Entry, PatientRecord, Quantity, Text, When

ALL = sorted(path.stem for path in FOLDER.glob("*.toml"))


def test_all_five_studies_have_protocols() -> None:
    """With the pack liver_dx every registry number of the house is there."""
    studies = {p.study for p in protocol_reading.shipped().values()} | {"NCT07658586"}
    assert {
        "NCT06791473", "NCT07658586", "NCT07244094", "NCT07030842", "NCT07392567"
    } == studies  # fmt: skip
    assert ALL == sorted(protocol_reading.shipped())


@pytest.mark.parametrize("name", ALL)
def test_a_fitting_patient_is_ready(name: str) -> None:
    """Every rule that gates is met, with evidence where it rests on something."""
    ready = judged(name, fitting(name))
    assert ("ready", ()) == (ready.state, ready.waiting_for), ready.waiting_for
    assert all(r.source and r.text for r in ready.rules)


@pytest.mark.parametrize("name", ALL)
def test_an_empty_record_is_never_eligible(name: str) -> None:
    """Unknown is not met: without facts a protocol waits."""
    ready = judged(name, ([], []))
    assert "waiting" == ready.state
    gating = [r for r in ready.rules if r.scope != "analyse" and r.verdict == "met"]
    assert all("nobody told of it" in r.reason or r.rule == "lock" for r in gating)


@pytest.mark.parametrize("name", ALL)
def test_only_what_is_analysed_looks_beyond_the_lock(name: str) -> None:
    """Facts of years later change no rule that gates (model-rules 1)."""
    later = [entry("condition", code, 400) for code in ("C78.7", "C22.0", "O80", "Z51.5")]
    later += [lab(n, 400) for n in LABS] + [coded("21902-2", "IV", 400)]
    entries, studies = fitting(name)
    before = {r.rule: r for r in judged(name, (entries, studies)).rules}
    after = judged(name, ([*entries, *later], studies), NOW + timedelta(days=900))
    for rule in after.rules:
        if rule.scope == "predict" and name != "hcc_ar_pre":
            assert before[rule.rule].verdict == rule.verdict, rule


PREGNANT = ("pan_cancer_now", "not_pregnant")
CASES: list[tuple[str, str, Iterable[Entry], str]] = [
    # Pan cancer: pregnancy, consent, minors.
    (*PREGNANT, born(1990, "female"), "unknown"),
    (*PREGNANT, [*born(1990, "female"), coded("82810-3", "not pregnant", -1)], "met"),
    (*PREGNANT, [*born(1990, "female"), coded("82810-3", "77386006", -1)], "not_met"),
    (*PREGNANT, [*born(1990, "female"), coded("82810-3", "not pregnant", -400)], "unknown"),
    (*PREGNANT, [*born(1990, "female"), entry("condition", "O26.901", -30)], "not_met"),
    (*PREGNANT, [*born(1990, "female"), entry("condition", "O26.901", -400)], "unknown"),
    (*PREGNANT, born(1950, "female"), "met"),
    (*PREGNANT, born(1990, "male"), "met"),
    ("pan_cancer_now", "consent", [*born(2015), consent()], "unknown"),
    ("pan_cancer_now", "consent", [*born(2015), consent(patient=False)], "met"),
    ("pan_cancer_now", "no_severe_cognitive_disorder", [entry("condition", "F03.x00", -9)], "not_met"),
    ("pan_cancer_now", "no_terminal_illness", [entry("condition", "Z51.500", -9)], "not_met"),
    ("pan_cancer_1y", "no_known_cancer", [entry("condition", "C34.900", -900)], "not_met"),
    ("pan_cancer_now", "age", born(1930), "not_met"),
    # Liver prognosis.
    ("liver_px", "radical", [coded("84892-9", "R1", 9)], "not_met"),
    ("liver_px", "radical", [entry("observation", "84892-9", 9, Text("阴性"))], "met"),
    ("liver_px", "age", born(1940), "not_met"),
    ("liver_px", "neoadjuvant", [entry("medication", "L01XX", -60)], "not_met"),
    # Breast.
    ("breast_dm", "female", born(1975, "male"), "not_met"),
    ("breast_dm", "not_metastatic", [entry("condition", "C79.500", -3)], "not_met"),
    ("breast_dm", "before_treatment", [entry("medication", "L01CD", -40)], "not_met"),
    ("breast_dm", "before_treatment", [entry("medication", "L01CD", 30)], "met"),
    # HCC.
    ("hcc_ar_post", "no_neoadjuvant", [entry("medication", "L01EX", -90)], "not_met"),
    ("hcc_ar_post", "no_neoadjuvant", [entry("medication", "L01EX", 90)], "met"),
    ("hcc_ar_post", "no_tace", [entry("procedure", "39.7900", -90)], "not_met"),
    ("hcc_ar_post", "no_macrovascular_invasion", [entry("condition", "I81.x00", -9)], "not_met"),
    # Colorectal.
    ("crlm_2y", "stage", [coded("21902-2", "IVA", 9)], "not_met"),
    ("crlm_2y", "no_synchronous", [entry("condition", "C78.700", 15)], "not_met"),
    ("crlm_2y", "no_synchronous", [entry("condition", "C78.700", 90)], "met"),
    ("crlm_2y", "no_other_cancer", [entry("condition", "C50.900", -2000)], "not_met"),
    ("crlm_2y", "no_other_cancer", [entry("condition", "C18.900", -20)], "met"),
    ("crlm_2y", "age", born(1940), "not_met"),
    ("crlm_2y", "follow_up", [entry("condition", "C78.700", 200)], "met"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "rule", "told", "expected"), CASES)
def test_each_rule_can_fail(name: str, rule: str, told: Iterable[Entry], expected: str) -> None:
    """A fitting patient but for what is told here."""
    as_of = NOW + timedelta(days=900) if rule == "follow_up" else NOW
    ready = judged(name, as_if(fitting(name), *told), as_of)
    assert expected == next(r.verdict for r in ready.rules if r.rule == rule)


@pytest.mark.parametrize(
    ("name", "rule", "code"),
    [
        ("crlm_2y", "colorectal_cancer", "C18.700"), ("crlm_2y", "consent", "59284-0"),
        ("crlm_2y", "cea", "2039-6"), ("crlm_2y", "pt_known", "21899-0"),
        ("crlm_2y", "lock", "60568-3"), ("crlm_2y", "stage", "21902-2"),
        ("breast_dm", "invasive", "C50.901"), ("breast_dm", "er_known", "85337-4"),
        ("breast_dm", "before_treatment", "119376003"), ("hcc_ar_post", "margin", "84892-9"),
        ("hcc_ar_pre", "core_labs", "1834-1"), ("hcc_ar_pre", "early_stage", "405930005"),
        ("hcc_ar_post", "early_stage", "macrovascular-invasion"),
        ("hcc_ar_pre", "early_stage", "389026000"), ("pan_cancer_1y", "history", "I10"),
    ],
)  # fmt: skip
def test_what_is_missing_is_waited_for(name: str, rule: str, code: str) -> None:
    """The rule becomes unknown, and with it the patient waits."""
    facts = without(fitting(name), code)
    assert "unknown" == verdict(name, rule, facts)
    assert "waiting" == judged(name, facts).state


@pytest.mark.parametrize(("name", "rule", "told", "expected"), CASES)
def test_what_is_asked_for_decides(
    name: str, rule: str, told: Iterable[Entry], expected: str
) -> None:
    """The part of the record that readiness asks for gives the answer of the whole record."""
    entries, studies = as_if(fitting(name), *told)
    p, as_of = (
        protocol_reading.shipped()[name],
        NOW if rule != "follow_up" else NOW + timedelta(days=900),
    )
    as_of = T0 if p.index.on == "assessment" else as_of
    whole = PatientRecord.of(entries, as_of=as_of)
    study = eligibility.index_study(p, studies, as_of)
    wanted = eligibility.asked(p, eligibility.index_time(p, whole, study, as_of), as_of)
    part = [
        e
        for e in entries
        if e.kind in wanted.kinds
        or e.key.removeprefix("patient/") in wanted.demographics
        or wanted.spans_hold(e)
    ]
    record = PatientRecord.of(part, as_of=as_of)
    found = eligibility.readiness(p, record, studies, as_of).rules
    assert eligibility.readiness(p, whole, studies, as_of).rules == found
    assert expected == next(r.verdict for r in found if r.rule == rule)


def test_an_old_value_serves_where_the_last_days_have_none() -> None:
    """Of long windows the last days are read first; what they lack is looked for in the whole."""
    p, told = (
        protocol_reading.shipped()["pan_cancer_now"],
        [*born(), lab("CEA", -600), lab("ALB", -5)],
    )
    unusable = entry("observation", "1834-1", -5, Quantity(Decimal(9), None, "9"))
    told += [lab("AFP", -400), unusable, lab("ALB", -500)]
    narrow = eligibility.asked(p, T0, T0, whole=())
    part = [e for e in told if e.kind == "patient" or narrow.spans_hold(e)]
    assert {"1751-7", "1834-1"} == {e.code.code for e in part if e.code}
    record = PatientRecord.of(part, as_of=T0, elsewhere=frozenset({"2039-6"}))
    whole = eligibility.unserved(p, record, T0, T0)
    assert {"AFP", "CEA"} == whole
    wide = eligibility.asked(p, T0, T0, whole=whole)
    record = PatientRecord.of(
        [e for e in told if e.kind == "patient" or wide.spans_hold(e)], as_of=T0
    )
    everything = PatientRecord.of(told, as_of=T0)
    found = [features.find_all(p.inputs, r, T0, T0) for r in (record, everything)]
    assert found[0] == found[1]
    assert found[0]["AFP"].there


def test_pre_and_post_part_at_the_operation() -> None:
    """PRE is over when surgery began; what it reads ends before; POST waits for pathology."""
    entries, studies = fitting("hcc_ar_pre")
    operated = entry("procedure", "107963000", 7)
    after = judged("hcc_ar_pre", ([*entries, operated], studies))
    assert "not_eligible" == after.state
    assert "not_met" == next(r.verdict for r in after.rules if r.rule == "lock")
    late = without((entries, studies), "1834-1")
    told = judged("hcc_ar_pre", with_(late, lab("AFP", 9), operated))
    assert not next(i.present for i in told.inputs if i.input == "AFP")
    assert "unknown" == verdict("hcc_ar_post", "lock", without(fitting("hcc_ar_post"), "60568-3"))


def test_a_coarse_time_is_unknown() -> None:
    """A diagnosis of 'this year' may lie before or after the window's end."""
    vague = entry("condition", "C78.700", effective=When(datetime(2026, 1, 1), "year"))
    assert "unknown" == verdict("crlm_2y", "no_synchronous", with_(fitting("crlm_2y"), vague))


def test_an_unconfirmed_diagnosis_is_unknown() -> None:
    """Neither excluded by it nor cleared of it."""
    vague = entry("condition", "C78.700", -5, status="preliminary")
    assert "unknown" == verdict("crlm_2y", "no_synchronous", with_(fitting("crlm_2y"), vague))


def test_contradictory_dates_are_unknown_and_harm_nothing() -> None:
    """A birth after the index, surgery twice, a specimen of an unknown day."""
    facts = as_if(fitting("breast_dm"), *born(2027, "female"))
    assert "not_met" == verdict("breast_dm", "age", facts)
    undated = entry("specimen", "119376003", None)
    facts = with_(without(fitting("breast_dm"), "119376003"), undated)
    assert "unknown" == verdict("breast_dm", "before_treatment", facts)


def test_our_own_results_are_no_evidence() -> None:
    """A diagnosis that we wrote ourselves proves nothing (site rule 1)."""
    ours = entry("condition", "C78.700", -5)
    ours = replace(ours, source=replace(ours.source, origin="own"))
    assert "met" == verdict("crlm_2y", "no_synchronous", with_(fitting("crlm_2y"), ours))


def test_icd10_of_chinese_length_matches() -> None:
    """C18.700x003 lies below C18 and inside C18-C20; C21 does not."""
    for code, expected in (("C18.700x003", "met"), ("C20.x00", "met"), ("C21.000", "unknown")):
        facts = with_(without(fitting("crlm_2y"), "C18.700"), entry("condition", code, -9))
        assert expected == verdict("crlm_2y", "colorectal_cancer", facts), code
