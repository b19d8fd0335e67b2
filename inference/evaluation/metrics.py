"""Metrics of a binary probability, each with its interval. numpy only.

Sources: DeLong 1988 in the form of Sun and Xu 2014 (midranks); Wilson 1927; Cox 1958 for the
calibration line; Brier 1950.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
_EPSILON = 1e-12
_CONVERGED = 1e-10


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval and standard error."""

    value: float
    low: float
    high: float
    se: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def _z(level: float) -> float:
    return NormalDist().inv_cdf(0.5 + level / 2)


def _around(
    value: float, se: float, level: float, low: float = -np.inf, high: float = np.inf
) -> Estimate:
    half = _z(level) * se
    return Estimate(value, max(value - half, low), min(value + half, high), se)


def midranks(x: Floats) -> Floats:
    """Ranks from 1, ties sharing their mean."""
    order = np.argsort(x, kind="stable")
    values, first, counts = np.unique(x[order], return_index=True, return_counts=True)
    del values
    ranks = np.empty(len(x))
    ranks[order] = np.repeat(first + (counts + 1) / 2, counts)
    return ranks


def _placements(label: Labels, score: Floats) -> tuple[float, Floats, Floats]:
    """AUC, and each event's and each non-event's share of it."""
    events, others = score[label == 1], score[label == 0]
    m, n = len(events), len(others)
    ranks = midranks(np.concatenate([events, others]))
    auc = (ranks[:m].sum() - m * (m + 1) / 2) / (m * n)
    of_events = (ranks[:m] - midranks(events)) / n
    of_others = 1 - (ranks[m:] - midranks(others)) / m
    return float(auc), of_events, of_others


def auc(label: Labels, score: Floats, level: float = 0.95) -> Estimate:
    """Area under the ROC curve with DeLong's interval; ties count one half."""
    value, events, others = _placements(label, np.asarray(score, float))
    variance = events.var(ddof=1) / len(events) + others.var(ddof=1) / len(others)
    return _around(value, float(np.sqrt(variance)), level, 0.0, 1.0)


def auc_difference(label: Labels, first: Floats, second: Floats, level: float = 0.95) -> Estimate:
    """AUC(first) - AUC(second) on the same patients, paired DeLong."""
    a, a_events, a_others = _placements(label, np.asarray(first, float))
    b, b_events, b_others = _placements(label, np.asarray(second, float))
    events, others = a_events - b_events, a_others - b_others
    variance = events.var(ddof=1) / len(events) + others.var(ddof=1) / len(others)
    return _around(a - b, float(np.sqrt(variance)), level)


def brier(label: Labels, probability: Floats, level: float = 0.95) -> Estimate:
    """Mean squared error of a probability."""
    errors = (probability - label) ** 2
    return _around(
        float(errors.mean()), float(errors.std(ddof=1) / np.sqrt(len(errors))), level, 0.0
    )


def wilson(hits: int, of: int, level: float = 0.95) -> Estimate:
    """A proportion with Wilson's interval."""
    if of == 0:
        return Estimate(float("nan"), 0.0, 1.0, float("nan"))
    z, p = _z(level), hits / of
    centre = (p + z**2 / (2 * of)) / (1 + z**2 / of)
    half = z * np.sqrt(p * (1 - p) / of + z**2 / (4 * of**2)) / (1 + z**2 / of)
    return Estimate(p, float(centre - half), float(centre + half), float(np.sqrt(p * (1 - p) / of)))


def logit(probability: Floats) -> Floats:
    """Log odds, bounded away from infinity."""
    p = np.clip(probability, _EPSILON, 1 - _EPSILON)
    made: Floats = np.log(p / (1 - p))
    return made


def calibration(
    label: Labels, probability: Floats, level: float = 0.95
) -> tuple[Estimate, Estimate]:
    """Slope of the calibration line, and calibration in the large as an offset in logit."""
    x = logit(probability)
    ones = np.ones_like(x)
    line, line_cov = logistic(np.stack([ones, x], 1), label, np.zeros_like(x))
    large, large_cov = logistic(ones[:, None], label, x)
    return (
        _around(float(line[1]), float(np.sqrt(line_cov[1, 1])), level),
        _around(float(large[0]), float(np.sqrt(large_cov[0, 0])), level),
    )


def logistic(x: Floats, label: Labels, offset: Floats, steps: int = 30) -> tuple[Floats, Floats]:
    """Maximum likelihood coefficients (k,) and covariance (k, k) by Newton's method."""
    beta = np.zeros(x.shape[1])
    information = np.eye(x.shape[1])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-(x @ beta + offset)))
        information = (x * (p * (1 - p))[:, None]).T @ x + 1e-9 * np.eye(x.shape[1])
        step = np.linalg.solve(information, x.T @ (label - p))
        beta = beta + step
        if np.abs(step).max() < _CONVERGED:
            break
    covariance: Floats = np.linalg.inv(information).astype(float)
    return beta, covariance


@dataclass(frozen=True, slots=True)
class AtThreshold:
    """What a locked threshold does."""

    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    accuracy: Estimate


def at_threshold(label: Labels, probability: Floats, threshold: float) -> AtThreshold:
    """Sensitivity, specificity, predictive values and accuracy, each with Wilson's interval."""
    said, true = probability >= threshold, label == 1
    tp, fp = int((said & true).sum()), int((said & ~true).sum())
    fn, tn = int((~said & true).sum()), int((~said & ~true).sum())
    return AtThreshold(
        wilson(tp, tp + fn),
        wilson(tn, tn + fp),
        wilson(tp, tp + fp),
        wilson(tn, tn + fn),
        wilson(tp + tn, len(label)),
    )
