"""Leaks: whether a reader of records takes anything that it must not know.

A reader is asked twice: of a case, and of the same case with what it must not read changed. Another
answer is a leak, whatever the label is: no statistics are needed to see it. What no change of a
record shows (a label that was written into a feature) `shuffled_auc` shows.

Source: models.md 3.2.6; model-rules 1, 16, 23; feasibility.md on shuffles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.evaluation import metrics
from inference.rules import StudySummary
from mappings.record import Code, Entry, Identifier, Text, When

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Reading = Mapping[str, Any]
_LEAST_SHUFFLES = 20  # model-rules 23: the AUC of one has an SD of 0.05
_PATHOLOGY = Code("http://loinc.org", "60568-3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One patient as a reader gets them.

    Attributes:
        entries: Everything that was received up to today, not only up to the lock.
        lock: Last moment that may be read, aware UTC.
        answer: ICD-10 code of what the model is asked; only to write it where it must not count.
    """

    entries: tuple[Entry, ...]
    studies: tuple[StudySummary, ...]
    t0: datetime
    lock: datetime
    answer: str


Reader = Callable[[Case], Reading]
Probe = Callable[[Case], Case]


@dataclass(frozen=True, slots=True)
class Leak:
    """A probe that changed what a reader says.

    Attributes:
        probe: Name of the probe.
        cases: How many cases answered otherwise.
        inputs: What of the reading changed, of any case.
    """

    probe: str
    cases: int
    inputs: tuple[str, ...]


def audit(reader: Reader, cases: Sequence[Case]) -> list[Leak]:
    """Every probe that changes what a reader says of any case."""
    found = []
    for name, probe in PROBES.items():
        differing = [d for d in (_differing(reader(c), reader(probe(c))) for c in cases) if d]
        if differing:
            inputs = tuple(sorted(set().union(*differing)))
            found.append(Leak(name, len(differing), inputs))
    return found


def _differing(one: Reading, other: Reading) -> set[str]:
    return {key for key in {*one, *other} if one.get(key) != other.get(key)}


def time_travel(case: Case) -> Case:
    """Nothing that happened, or was told, after the lock."""
    kept = tuple(
        e
        for e in case.entries
        if e.source.received_at <= case.lock
        and (e.effective is None or e.effective.earliest <= case.lock)
    )
    return replace(case, entries=kept)


def future_label(case: Case) -> Case:
    """Diagnosis and pathology of a year later, received then."""
    later = case.lock + timedelta(days=365)
    return _told(case, effective=later, received=later)


def retro_dated(case: Case) -> Case:
    """The same, dated before the lock by who wrote it, and received after it."""
    return _told(case, effective=case.t0, received=case.lock + timedelta(days=30))


def _told(case: Case, *, effective: datetime, received: datetime) -> Case:
    pattern = case.entries[0]
    source = replace(pattern.source, message=1 << 40, received_at=received)
    when = When.instant(effective)
    words = f"{case.answer} 恶性 malignant, metastasis"
    told: dict[str, Any] = {"status": "final", "effective": when, "source_time": when}
    report = Entry(
        "report", "report/LEAK", pattern.patient, source, "leak", code=_PATHOLOGY,
        value=Text(words), details={"sections": {"findings": words, "impression": words}}, **told,
    )  # fmt: skip
    diagnosis = Entry(
        "condition", f"condition/{case.answer}", pattern.patient, source, "leak",
        code=Code("http://hl7.org/fhir/sid/icd-10", case.answer), **told,
    )  # fmt: skip
    values = [
        replace(e, source=source, key=f"{e.key}/LEAK", twin=None, value=Text(words), **told)
        for e in case.entries
        if e.kind == "observation"
    ]
    return replace(case, entries=(*case.entries, report, diagnosis, *values))


def other_impression(case: Case) -> Case:
    """Reports that conclude something else; their findings are the same."""

    def changed(entry: Entry) -> Entry:
        parts = entry.details.get("sections")
        if entry.kind != "report" or not isinstance(parts, Mapping):
            return entry
        told = {
            n: v if n == "findings" else f"{case.answer} 恶性 malignant" for n, v in parts.items()
        }
        told["impression"] = f"{case.answer} 恶性 malignant"
        return replace(entry, details={**entry.details, "sections": told})

    return replace(case, entries=tuple(map(changed, case.entries)))


def other_descriptions(case: Case) -> Case:
    """Studies whose descriptions name the answer."""
    named = tuple(replace(s, description=f"{case.answer} recurrence") for s in case.studies)

    def changed(entry: Entry) -> Entry:
        if entry.kind != "imaging_study":
            return entry
        return replace(entry, details={**entry.details, "description": case.answer})

    return replace(case, studies=named, entries=tuple(map(changed, case.entries)))


def other_numbers(case: Case) -> Case:
    """Other identifiers, message numbers, paths and order of arrival; the facts are the same."""
    names: dict[Identifier, Identifier] = {}
    made = []
    for place, entry in enumerate(reversed(case.entries)):
        name = names.setdefault(entry.patient, Identifier(f"{len(names)}9", "urn:other"))
        source = replace(entry.source, message=(1 << 41) + place, interface="other")
        made.append(replace(entry, patient=name, source=source, seq=place + 1, path="other"))
    studies = tuple(replace(s, study_instance_uid=f"2.25.9{n}") for n, s in enumerate(case.studies))
    return replace(case, entries=tuple(made), studies=studies)


PROBES: Mapping[str, Probe] = {
    "time travel": time_travel,
    "label of the future": future_label,
    "retro-dated label": retro_dated,
    "impression": other_impression,
    "study description": other_descriptions,
    "numbers and order": other_numbers,
}


def shuffled_auc(
    score: Callable[[Labels], Floats],
    train: Labels,
    test: Labels,
    *,
    times: int = _LEAST_SHUFFLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Mean AUC, and its standard error, of a model trained on shuffled labels.

    One shuffle is no gate: its AUC alone was 0.562 by chance once (feasibility.md).

    Args:
        score: Trains on labels of the training set, gives scores of the test set.
        train: Labels to shuffle.
        test: The true ones.
        times: Shuffles, at least 20.
        seed: Of the shuffles.
    """
    if times < _LEAST_SHUFFLES:
        raise ValueError(f"a gate averages at least {_LEAST_SHUFFLES} shuffles")
    rng = np.random.default_rng(seed)
    found = [metrics.auc(test, score(rng.permutation(train))).value for _ in range(times)]
    return float(np.mean(found)), float(np.std(found, ddof=1) / np.sqrt(times))
