"""Leaks: our own readers have none, and every planted one is caught (model-rules 23)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference import eligibility, features, packs, protocol_reading
from inference.evaluation import gap, leaks, metrics
from inference.evaluation.leaks import Case, Reader
from inference.protocol import Protocol
from inference.rules import StudySummary
from inference.training import baselines, examples, liver
from inference.training.cohorts import bound, naive, studies
from inference.training.cohorts.drawing import draw
from inference.training.cohorts.patients import entries, patient
from mappings.record import PatientRecord, Quantity, When

T0 = datetime(2026, 3, 4, 9, tzinfo=UTC)
LIVER = packs.load(Path(packs.__file__).parent / "packs" / "liver_dx")
COHORTS = {"crlm_2y": "crlm", "hcc_ar_pre": "hcc", "hcc_ar_post": "hcc", "breast_dm": "breast"}
COHORTS |= {"pan_cancer_now": "pan", "pan_cancer_1y": "pan_1y", "liver_px": "liver"}


def summaries() -> tuple[StudySummary, ...]:
    """A complete study of each modality."""
    return tuple(
        StudySummary(
            study_instance_uid=f"2.25.{n}", modality=modality, started=When.instant(T0),
            complete=True, phases=("NC", "AP", "PV", "DL"), body_part="ABDOMEN",
        )
        for n, modality in enumerate(("CT", "MR", "SM"))
    )  # fmt: skip


def cohort_cases(name: str) -> list[Case]:
    """Patients of a declared study, all of whose facts were received before the lock."""
    lock = T0 + timedelta(days=60)
    made = []
    for index in range(4):
        one = patient(studies.study(COHORTS[name]), 5, index)
        told = entries(one, index_at=T0, received_at=T0 + timedelta(days=50))
        told = [e for e in told if e.effective is None or e.effective.earliest <= T0]
        made.append(
            Case(entries=tuple(told), studies=summaries(), t0=T0, lock=lock, answer="C78.7")
        )
    return made


def liver_cases() -> list[Case]:
    """Patients of the liver cohort."""
    return [
        Case(
            entries=tuple(examples.entries(liver.patient(77, n, render=False))),
            studies=summaries(), t0=examples.T0, lock=examples.AS_OF, answer="C22.0",
        )
        for n in range(4)
    ]  # fmt: skip


def reader_of(p: Protocol) -> Reader:
    """What a protocol reads of a case: values of inputs, findings, verdicts that gate."""

    def read(case: Case) -> Mapping[str, Any]:
        record = PatientRecord.of(case.entries, as_of=case.lock)
        made = features.read(p, LIVER.lexicon, record, case.t0, case.lock)
        said = made.findings or {}
        ready = eligibility.readiness(p, record, case.studies, case.lock)
        told = {f"rule {r.rule}": r.verdict for r in ready.rules if r.scope != "analyse"}
        return {**made.numbers, **{f"finding {k}": v for k, v in said.items()}, **told}

    return read


@pytest.mark.parametrize("name", COHORTS)
def test_no_protocol_knows_what_it_must_not(name: str) -> None:
    """Time travel, labels of the future and retro-dated ones, impressions, numbers."""
    cases = cohort_cases(name)
    reader = reader_of(protocol_reading.shipped()[name])
    assert any(isinstance(v, float) for v in reader(cases[0]).values())
    assert [] == leaks.audit(reader, cases)


def test_the_shipped_pack_knows_nothing_it_must_not() -> None:
    """Its labs, its findings and its rules."""
    reader, cases = reader_of(LIVER.manifest), liver_cases()
    assert {"AFP", "ALB", "age"} <= set(reader(cases[0]))
    assert [] == leaks.audit(reader, cases)


def careless(case: Case) -> PatientRecord:
    """Everything that was ever received, whenever."""
    return PatientRecord.of(case.entries, as_of=case.lock + timedelta(days=9999))


def later_issued(case: Case) -> Mapping[str, Any]:
    """Reads reports of the right clinical time, whenever they came."""
    found = [
        e
        for e in careless(case).of_kind("report")
        if e.effective and e.effective.earliest <= case.lock
    ]
    return {"says malignant": any("恶性" in str(e.value) for e in found)}


def of_the_future(case: Case) -> Mapping[str, Any]:
    """Counts diagnoses."""
    return {"diagnoses": len(careless(case).of_kind("condition"))}


def impression(case: Case) -> Mapping[str, Any]:
    """Reads what the radiologist concluded."""
    reports = PatientRecord.of(case.entries, as_of=case.lock).of_kind("report")
    return {"concluded": [e.details["sections"].get("impression") for e in reports]}


def description(case: Case) -> Mapping[str, Any]:
    """Reads StudyDescription."""
    return {"described": [s.description for s in case.studies]}


def order_of_numbers(case: Case) -> Mapping[str, Any]:
    """Reads the medical record number, as a row order would."""
    return {"number": case.entries[0].patient.value}


def newest_value(case: Case) -> Mapping[str, Any]:
    """Reads the newest value of each code, also one of after the lock."""
    values = {
        e.code.code: e.value
        for e in careless(case).of_kind("observation")
        if e.code and e.value is not None
    }
    return {"numbers": sum(isinstance(v, Quantity) for v in values.values())}


PLANTED: list[tuple[Reader, set[str]]] = [
    (later_issued, {"retro-dated label"}),
    (of_the_future, {"label of the future", "retro-dated label"}),
    (impression, {"impression"}),
    (description, {"study description"}),
    (order_of_numbers, {"numbers and order"}),
    (newest_value, {"label of the future", "retro-dated label"}),
]


@pytest.mark.parametrize(("reader", "probes"), PLANTED, ids=lambda v: getattr(v, "__name__", ""))
def test_every_planted_leak_is_caught(reader: Reader, probes: set[str]) -> None:
    """A label in a later report, the impression, StudyDescription, the order of numbers."""
    found = {leak.probe for leak in leaks.audit(reader, liver_cases())}
    assert probes <= found


def test_what_came_after_the_lock_is_found_missing() -> None:
    """Time travel shows a reader that takes what a case holds of after its lock."""
    cases = [leaks.future_label(case) for case in liver_cases()]
    found = {leak.probe for leak in leaks.audit(of_the_future, cases)}
    assert "time travel" in found
    assert [] == leaks.audit(reader_of(LIVER.manifest), cases)


def test_shuffled_labels_teach_nothing() -> None:
    """Twenty shuffles of the table of crlm: 0.5 within four standard errors; the true one more."""
    train, test = (draw(studies.study("crlm"), seed, np.arange(3000)) for seed in (1, 2))
    table, test_table = naive.columns(train), naive.columns(test)

    def score(labels: Any) -> Any:
        return baselines.regression(table, labels, test_table)

    mean, error = leaks.shuffled_auc(score, train.label, test.label)
    assert abs(mean - 0.5) < 4 * error
    assert metrics.auc(test.label, score(train.label)).value > 0.5 + 10 * error


def test_a_label_among_the_features_raises_the_alarm() -> None:
    """A noisy copy of the label in a feature: better than what can be known of the table."""
    train, test = (draw(studies.study("crlm"), seed, np.arange(3000)) for seed in (1, 2))
    best = bound.bound(test, test.study.tabular, draws=32).risk
    noise = np.random.default_rng(3)
    told = [np.c_[naive.columns(b), b.label + noise.normal(0, 0.5, 3000)] for b in (train, test)]
    honest = baselines.regression(naive.columns(train), train.label, naive.columns(test))
    leaking = baselines.regression(told[0], train.label, told[1])
    assert not gap.leaks(gap.bound_gap(test.label, best, honest, draws=200))
    assert gap.leaks(gap.bound_gap(test.label, best, leaking, draws=200))


def test_one_shuffle_is_no_gate() -> None:
    """Fewer than twenty are refused."""
    with pytest.raises(ValueError, match="20"):
        leaks.shuffled_auc(lambda y: y * 1.0, np.array([0, 1]), np.array([0, 1]), times=1)
