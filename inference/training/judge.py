"""The evaluation: split T opened once, everything side by side with the bound.

How it is printed is in `card`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.evaluation import gap, metrics
from inference.evaluation.metrics import AtThreshold, Estimate
from inference.training import baselines, bound, contract, fusion, gates, liver
from inference.training.cohort import Split
from inference.training.fusion import FULL, Inputs
from inference.training.gates import Pattern, Removal

Floats = NDArray[np.float64]
BAR_GAP = 0.05
STUDY_N = 600


@dataclass(frozen=True, slots=True)
class Erased:
    """Image contribution of the same patients with and without the lesion's voxels."""

    with_lesion: Floats
    without: Floats
    label: NDArray[np.int64]

    @property
    def moved(self) -> float:
        """Mean absolute change in calibrated logit."""
        return float(np.abs(self.with_lesion - self.without).mean())

    @property
    def auc(self) -> float:
        """What the image score still knows without the lesion: about one half."""
        return metrics.auc(self.label, self.without).value


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Every figure of the card."""

    n: int
    events: int
    sizes: dict[str, int]
    bound: Estimate
    model: Estimate
    gap: Estimate
    without_site: Estimate
    latent_oracle: Estimate
    brute_force_off: float
    bound_monte_carlo: float
    rows: dict[str, tuple[Estimate, Estimate]]
    slope: Estimate
    in_the_large: Estimate
    brier: Estimate
    at_threshold: AtThreshold
    threshold: float
    patterns: list[Pattern]
    removals: list[Removal]
    erased_moved: float
    erased_auc: float
    shuffled_labels: tuple[float, float]
    label_shuffles: int
    external: Estimate
    study_size: tuple[float, float, float]
    members_sd: float
    clauses: list[contract.Clause]

    @property
    def passed(self) -> dict[str, bool]:
        """The bars of this pack."""
        mean, se = self.shuffled_labels
        return {
            f"gap to the bound at most {BAR_GAP}": self.gap.high <= BAR_GAP,
            "no leak (model not above the bound)": not gap.leaks(self.gap),
            **{
                f"{r.modality}: removed or shuffled costs half of the bound's loss": r.passed
                for r in self.removals
            },
            "image score moves when the lesion is erased": self.erased_moved > 0.3,
            "shuffled labels give AUC 0.5": abs(mean - 0.5) <= 0.02 + 3 * se,
            "calibration slope within 0.9 to 1.1": self.slope.low >= 0.9 and self.slope.high <= 1.1,
            "calibration in the large within 0.1": abs(self.in_the_large.value) <= 0.1,
        }

    def to_json(self) -> dict[str, Any]:
        """For the work folder."""
        return {**asdict(self), "passed": self.passed}


def judge(
    net: fusion.Fusion,
    platt: tuple[float, float],
    threshold: float,
    splits: dict[str, Split],
    ready: dict[str, Inputs],
    erased: Erased,
    *,
    draws: int,
    seed: int,
    shuffles: int,
    progress: Callable[[str, float], None],
) -> Report:
    """Evaluate on split T."""
    test, y = splits["T"], splits["T"].label
    progress("bound", 0.0)
    m = test.measurements()
    best = gates.bounds(m, draws)
    p = gates.probability(net, ready["T"], platt)
    progress("baselines", 0.0)
    rows = _baselines(splits, ready, y, p)
    progress("gates", 0.0)
    slope, large = metrics.calibration(y, p)
    few, few_labels = ready["B"].rows(np.arange(len(ready["B"]))[:2000]), splits["B"].label[:2000]
    shuffled = gates.shuffled_labels(
        few, few_labels, ready["T"], y, seed=seed, times=shuffles, steps=150
    )
    outside = gates.probability(net, ready["E"], platt)
    return Report(
        n=len(y),
        events=int(y.sum()),
        sizes={k: len(s.label) for k, s in splits.items()},
        bound=metrics.auc(y, best[FULL]),
        model=metrics.auc(y, p),
        gap=gap.bound_gap(y, best[FULL], p),
        without_site=metrics.auc(y, _without_site(m, draws // 2)),
        latent_oracle=metrics.auc(y, _oracle(test)),
        brute_force_off=_brute_force_off(m, best[FULL]),
        bound_monte_carlo=_monte_carlo(m, y, best[FULL], draws // 2),
        rows=rows,
        slope=slope,
        in_the_large=large,
        brier=metrics.brier(y, p),
        at_threshold=metrics.at_threshold(y, p, threshold),
        threshold=threshold,
        patterns=gates.patterns(net, ready["T"], y, platt, best),
        removals=gates.removals(net, ready["T"], y, platt, best, seed),
        erased_moved=erased.moved,
        erased_auc=erased.auc,
        shuffled_labels=shuffled,
        label_shuffles=shuffles,
        external=metrics.auc(splits["E"].label, outside),
        study_size=_study_size(y, p, seed),
        members_sd=float((platt[0] * fusion.predict(net, ready["T"])[0]).std(1, ddof=1).mean()),
        clauses=contract.clauses(splits["A"], test, splits["E"], best, erased.auc),
    )


def _brute_force_off(m: bound.Measurements, best: Floats) -> float:
    """Largest difference of probability to weighting 10^5 prior draws, on some patients."""
    few = m.part(slice(0, min(40, len(m) // 16)))
    exact = bound.brute_force(few, frozenset(gates.given(FULL)))
    return float(np.abs(exact - best[: len(exact)]).max())


def _monte_carlo(m: bound.Measurements, y: NDArray[np.int64], best: Floats, draws: int) -> float:
    """What other draws, and half as many, change in the bound's AUC."""
    again = bound.probability(m, frozenset(gates.given(FULL)), draws=draws, seed=8)
    return abs(metrics.auc(y, again).value - metrics.auc(y, best).value)


def _without_site(m: bound.Measurements, draws: int) -> Floats:
    """The Bayes probability of a reader who does not ask where the patient comes from."""
    everything = frozenset(gates.given(FULL))
    shifts = [np.full(len(m), site.shift) for site in liver.SITES]
    found = [bound.probability(replace(m, shift=s), everything, draws=draws) for s in shifts]
    made: Floats = np.mean(found, 0)
    return made


def _oracle(test: Split) -> Floats:
    return liver.logit(test.arrays["z"], test.arrays["m_shift"])


def _baselines(
    splits: dict[str, Split], ready: dict[str, Inputs], y: NDArray[np.int64], p: Floats
) -> dict[str, tuple[Estimate, Estimate]]:
    """Name to (AUC, model minus baseline, paired)."""
    train, test = baselines.tabular(ready["B"]), baselines.tabular(ready["T"])
    label = splits["B"].label
    with_image = np.concatenate([train, splits["B"].arrays["statistics"]], 1)
    test_image = np.concatenate([test, splits["T"].arrays["statistics"]], 1)
    scores = {
        "AFP alone": np.nan_to_num(ready["T"].labs[:, 0]).astype(float),
        "labs, age, sex: logistic regression": baselines.regression(train, label, test),
        "labs, age, sex: gradient boosting": baselines.boosted(train, label, test),
        "labs, age, sex + 30 global image statistics: gradient boosting": baselines.boosted(
            with_image, label, test_image
        ),
    }
    return {k: (metrics.auc(y, s), metrics.auc_difference(y, p, s)) for k, s in scores.items()}


def _study_size(y: NDArray[np.int64], p: Floats, seed: int) -> tuple[float, float, float]:
    """Median, 5 % and 95 % quantile of the AUC over test sets of the registered size."""
    rng = np.random.default_rng(seed)
    n = min(STUDY_N, len(y) // 2)
    found = []
    for _ in range(400):
        rows = rng.choice(len(y), n, replace=False)
        found.append(metrics.auc(y[rows], p[rows]).value)
    low, middle, high = np.quantile(found, [0.05, 0.5, 0.95])
    return float(middle), float(low), float(high)
