"""What a study asks beside its headline: kinds of a diagnosis, and what follows an operation.

Each has a bound of its own, checked by brute force as the headline's is.
Source: models.md 1.2; model-rules 4 and 9.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from inference.training.cohorts import expected, persons
from inference.training.cohorts.bound import (
    Bools,
    Question,
    bound,
    brute_force,
    disagreement,
)
from inference.training.cohorts.classes import Classes
from inference.training.cohorts.drawing import Batch
from inference.training.cohorts.outcome import Events
from inference.training.cohorts.prognosis import GRID_MONTHS, Course, Prognosis
from inference.training.cohorts.study import Study
from inference.training.contract import Clause

Doubles = NDArray[np.float64]
_KINDS_BAR = (0.72, 0.95)


def clauses(batch: Batch, draws: int, brute: int) -> Iterator[Clause]:
    """Those that the study has an answer to; none where the headline is all."""
    if isinstance(batch.study.outcome, Classes):
        yield from _kinds(batch, draws, brute)
    if batch.study.prognosis is not None:
        yield from _prognosis(batch, draws, brute)


def _classes(study: Study) -> Classes:
    assert isinstance(study.outcome, Classes)
    return study.outcome


def _told_apart(
    _study: Study, events: Events, _z: Doubles, _rng: np.random.Generator
) -> tuple[Bools, Bools]:
    return events.recorded_cause == 2, (events.recorded_cause == 1) | (events.recorded_cause == 2)


SECOND_KIND = Question(
    "the second kind, not the first, of those told as either",
    lambda study, _z, eta: _classes(study).told(eta)[1],
    lambda study, _z, eta: _classes(study).told(eta)[:2].sum(0),
    _told_apart,
)


def _kinds(batch: Batch, draws: int, brute: int) -> Iterator[Clause]:
    outcome, full = _classes(batch.study), frozenset(batch.study.modalities)
    first, second, *_ = outcome.causes
    told = outcome.told(batch.eta)
    either = np.isin(batch.events.recorded_cause, (1, 2))
    some, truth = batch.rows(either), (told[1] / told[:2].sum(0))[either]
    best = bound(some, full, question=SECOND_KIND, draws=draws, scrambles=8)
    found = expected.auc(truth, best.risk)
    own = _own_error([expected.auc(truth, s) for s in best.scrambles])
    table = bound(some, batch.study.tabular, question=SECOND_KIND, draws=draws)
    low, high = _KINDS_BAR
    yield Clause(
        "a",
        f"{second} against {first}, of those told as either: full Bayes AUC {found:.3f}, its own "
        f"error {own:.5f}, tabular {expected.auc(truth, table.risk):.3f}, n {len(some)}",
        f"{low:.2f} to {high:.2f}",
        low <= found <= high,
    )
    away = float(np.abs(told.sum(0) - batch.risk).max())
    shares = ", ".join(
        f"{name} {(batch.events.recorded_cause == k).mean():.3f}"
        for k, name in enumerate(("none", *outcome.causes))
    )
    both = (batch.events.cause > 0) & (batch.events.recorded_cause > 0)
    confused = float((batch.events.cause != batch.events.recorded_cause)[both].mean())
    yield Clause(
        "kinds",
        f"told: {shares}; kind taken for another {confused:.3f}; kinds sum to the headline but "
        f"for {away:.0e}",
        "one distribution, noise in it",
        away < 1e-12 and 0 < confused <= 0.05,
    )
    yield _brute(some.rows(slice(0, brute)), SECOND_KIND)


def _own_error(figures: list[float]) -> float:
    return float(np.std(figures, ddof=1) / np.sqrt(len(figures)))


def _brute(few: Batch, question: Question) -> Clause:
    full = frozenset(few.study.modalities)
    away = disagreement(
        bound(few, full, question=question, draws=512), brute_force(few, full, question=question)
    )
    rms = float(np.sqrt((away**2).mean()))
    return Clause(
        "bound",
        f"{question.name}: against brute force, {len(few)} patients: rms {rms:.2f}, at most "
        f"{np.abs(away).max():.1f} standard errors",
        "rms at most 1.4, none beyond 5",
        rms <= 1.4 and bool(np.abs(away).max() <= 5),
    )


def event_by(months: float, *, which: int) -> Question:
    """Progression or death (which 0), or death (which 1), by a time after the operation."""

    def asked(study: Study, _z: Doubles, eta: Doubles) -> Doubles:
        outcome = _classes(study)
        ill: Doubles = outcome.incidence(eta).sum(0)
        return (1 - outcome.overlooked) * ill

    def true(study: Study, z: Doubles, eta: Doubles) -> Doubles:
        free = persons.prognosis_of(study).survival(persons.hazards(study, z), months)[which]
        made: Doubles = asked(study, z, eta) * (1 - free)
        return made

    def lived(
        study: Study, events: Events, z: Doubles, rng: np.random.Generator
    ) -> tuple[Bools, Bools]:
        diagnosed = (events.cause > 0) & (events.recorded_cause > 0)
        course = persons.prognosis_of(study).draw(
            persons.hazards(study, z), diagnosed, rng.random((len(z), 5))
        )
        return _ends(course)[which] <= months, course.operated

    words = ("progression or death", "death")[which]
    return Question(f"{words} by {months:g} months of the operation", true, asked, lived)


def _ends(course: Course) -> tuple[Doubles, Doubles]:
    """(n,) months to the end of progression-free and of overall survival."""
    return np.minimum(course.progressed_months, course.died_months), course.died_months


def _prognosis(batch: Batch, draws: int, brute: int) -> Iterator[Clause]:
    assert batch.course is not None
    asked = persons.prognosis_of(batch.study)
    some, full = batch.rows(batch.course.operated), frozenset(batch.study.modalities)
    assert some.course is not None
    oracle = persons.hazards(batch.study, some.z)
    for which, name in enumerate(("PFS", "OS")):
        question = event_by(asked.horizon_months, which=which)
        ends = _ends(some.course)[which]
        best = bound(some, full, question=question, draws=draws, scrambles=8)
        found = expected.ranked(ends, GRID_MONTHS[-1], best.risk)
        own = _own_error([expected.ranked(ends, GRID_MONTHS[-1], s) for s in best.scrambles])
        latent = 1 - asked.survival(oracle, asked.horizon_months)[which]
        most = expected.ranked(ends, GRID_MONTHS[-1], latent)
        low, high = asked.bar
        yield Clause(
            "a",
            f"{name} after {asked.operation.display}: full Bayes C-index {found:.3f}, its own "
            f"error {own:.5f} (latent oracle {most:.3f}), n {len(some)}",
            f"{low:.2f} to {high:.2f}",
            low <= found <= high,
        )
        yield _brute(some.rows(slice(0, brute)), question)
    yield _curves(some, asked)


def _curves(some: Batch, asked: Prognosis) -> Clause:
    """Both survivals as lived against their closed form, and the law that ties them."""
    assert some.course is not None
    eta, ends = persons.hazards(some.study, some.z), _ends(some.course)
    lived = np.array([[(e > t).mean() for t in GRID_MONTHS] for e in ends])
    closed = np.array([asked.survival(eta, t).mean(1) for t in GRID_MONTHS]).T
    stray = np.sqrt(closed * (1 - closed) / len(some))
    away = float((np.abs(lived - closed) / stray).max())
    each = np.array([asked.survival(eta[:, :500], t) for t in GRID_MONTHS])
    ratio = each[:, 0] / each[:, 1]
    told = ", ".join(
        f"{t} months {lived[0, GRID_MONTHS.index(t)]:.3f} / {lived[1, GRID_MONTHS.index(t)]:.3f}"
        for t in (12, 24, 36, 60)
    )
    censored = 1 - float(some.course.os[1].mean())
    return Clause(
        "survival",
        f"S_PFS / S_OS: {told}; against their closed form at most {away:.1f} standard errors; OS "
        f"censored {censored:.2f}",
        "at most 4.5; S_PFS = S_OS G, G never rising",
        away <= 4.5 and bool((np.diff(ratio, axis=0) <= 0).all()) and bool((ratio <= 1).all()),
    )
