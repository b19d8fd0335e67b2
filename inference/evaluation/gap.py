"""How far a model stands below a known optimum, by a paired bootstrap.

Source: model-rules 16 (gap, leak alarm).
"""

from __future__ import annotations

import numpy as np

from inference.evaluation.metrics import Estimate, Floats, Labels, midranks


def _auc(label: Labels, score: Floats) -> float:
    m = int(label.sum())
    ranks = midranks(score)
    return float((ranks[label == 1].sum() - m * (m + 1) / 2) / (m * (len(label) - m)))


def bound_gap(
    label: Labels,
    bound: Floats,
    model: Floats,
    *,
    draws: int = 1000,
    seed: int = 11,
    level: float = 0.95,
) -> Estimate:
    """AUC(bound) - AUC(model), resampling patients, both scores on the same ones.

    A lower limit of the negative difference above 0 would mean that the model knows more than
    can be known: a leak.
    """
    rng = np.random.default_rng(seed)
    n = len(label)
    made = np.empty(draws)
    for i in range(draws):
        rows = rng.integers(0, n, n)
        made[i] = _auc(label[rows], bound[rows]) - _auc(label[rows], model[rows])
    tail = (1 - level) / 2
    low, high = np.quantile(made, [tail, 1 - tail])
    return Estimate(
        _auc(label, bound) - _auc(label, model), float(low), float(high), float(made.std(ddof=1))
    )


def leaks(gap: Estimate) -> bool:
    """Whether the model is better than the optimum beyond chance."""
    return gap.high < 0
