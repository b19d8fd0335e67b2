"""metrics: against brute force, against scikit-learn, and against their own sampling."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score

from inference.evaluation import gap, metrics


def sample(n: int, seed: int, strength: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels and calibrated probabilities."""
    rng = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-strength * rng.normal(size=n)))
    return (rng.random(n) < p).astype(np.int64), p


def test_auc_is_the_share_of_ordered_pairs_with_ties_as_halves() -> None:
    """Against every pair."""
    y, p = sample(120, 0)
    p = np.round(p, 1)
    events, others = p[y == 1], p[y == 0]
    pairs = (events[:, None] > others).mean() + 0.5 * (events[:, None] == others).mean()
    assert pytest.approx(pairs) == metrics.auc(y, p).value
    assert pytest.approx(roc_auc_score(y, p)) == metrics.auc(y, p).value


def test_delongs_error_is_the_bootstraps() -> None:
    """Within 10 % at n=400."""
    y, p = sample(400, 1)
    rng = np.random.default_rng(2)
    drawn = []
    for _ in range(800):
        rows = rng.integers(0, 400, 400)
        drawn.append(metrics.auc(y[rows], p[rows]).value)
    assert pytest.approx(np.std(drawn), rel=0.1) == metrics.auc(y, p).se


def test_delongs_interval_covers() -> None:
    """93 to 97 % of 400 samples of n=300 hold the true AUC."""
    truth = metrics.auc(*sample(200_000, 3)).value
    hits = 0
    for seed in range(400):
        one = metrics.auc(*sample(300, 1000 + seed))
        hits += one.low <= truth <= one.high
    assert 0.925 <= hits / 400 <= 0.975


def test_a_paired_difference_is_tighter_than_two_intervals() -> None:
    """The same patients carry the same luck; a score against itself differs by 0."""
    y, p = sample(500, 4)
    q = p + np.random.default_rng(5).normal(0, 0.05, 500)
    paired = metrics.auc_difference(y, p, q)
    assert paired.se < np.hypot(metrics.auc(y, p).se, metrics.auc(y, q).se) / 2
    assert (0, 0) == (metrics.auc_difference(y, p, p).value, metrics.auc_difference(y, p, p).se)


def test_a_calibrated_probability_has_slope_one() -> None:
    """And a stretched one the inverse of its stretch; an offset shows in the large."""
    y, p = sample(40_000, 6)
    slope, large = metrics.calibration(y, p)
    assert slope.low <= 1 <= slope.high
    assert large.low <= 0 <= large.high
    stretched = 1 / (1 + np.exp(-2 * metrics.logit(p)))
    assert pytest.approx(slope.value / 2, abs=1e-6) == metrics.calibration(y, stretched)[0].value


def test_newtons_method_finds_what_scikit_learn_finds() -> None:
    """Same maximum likelihood."""
    y, p = sample(2000, 7)
    x = metrics.logit(p)
    beta, _ = metrics.logistic(np.stack([np.ones_like(x), x], 1), y, np.zeros_like(x))
    other = LogisticRegression(C=1e9, tol=1e-9).fit(x[:, None], y)
    assert pytest.approx([other.intercept_[0], other.coef_[0, 0]], abs=1e-3) == beta


def test_brier_is_the_mean_squared_error() -> None:
    """Against scikit-learn."""
    y, p = sample(300, 8)
    assert pytest.approx(brier_score_loss(y, p)) == metrics.brier(y, p).value


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662)],
)
def test_wilsons_interval(hits: int, of: int, low: float, high: float) -> None:
    """Published values (Newcombe 1998, method 3, for 81 of 263)."""
    made = metrics.wilson(hits, of)
    assert pytest.approx((low, high), abs=1e-4) == (made.low, made.high)


def test_at_a_threshold_everything_is_counted() -> None:
    """By hand."""
    y = np.array([1, 1, 1, 0, 0])
    made = metrics.at_threshold(y, np.array([0.9, 0.5, 0.1, 0.6, 0.2]), 0.5)
    got = [made.sensitivity, made.specificity, made.ppv, made.npv, made.accuracy]
    assert pytest.approx([2 / 3, 1 / 2, 2 / 3, 1 / 2, 3 / 5]) == [g.value for g in got]


def test_the_gap_is_above_zero_for_a_worse_score_and_a_better_one_is_a_leak() -> None:
    """The bound against a noisy copy, and the other way round."""
    y, p = sample(3000, 9, 1.5)
    worse = metrics.logit(p) + np.random.default_rng(10).normal(0, 1.0, 3000)
    assert gap.bound_gap(y, p, worse, draws=200).low > 0
    assert gap.leaks(gap.bound_gap(y, worse, p, draws=200))
    assert not gap.leaks(gap.bound_gap(y, p, p, draws=50))
