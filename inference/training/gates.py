"""Gates: each modality carries what it should, and nothing that it should not.

Source: model-rules 9, 12, 16 and 23.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.evaluation import gap, metrics
from inference.evaluation.metrics import Estimate
from inference.training import bound, fusion
from inference.training.fusion import FULL, OPTIONAL, Inputs

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pattern:
    """One presence pattern on the test set."""

    given: tuple[str, ...]
    bound: Estimate
    model: Estimate
    gap: Estimate
    slope: Estimate


@dataclass(frozen=True, slots=True)
class Removal:
    """What losing one modality costs the bound, and the model without it or with another's."""

    modality: str
    bound_loss: float
    removed_loss: Estimate
    shuffled_loss: Estimate

    @property
    def passed(self) -> bool:
        """At least half of what the bound loses, both ways."""
        return min(self.removed_loss.value, self.shuffled_loss.value) >= self.bound_loss / 2


def given(number: int) -> tuple[str, ...]:
    """Modalities of a presence pattern."""
    return tuple(n for i, n in enumerate(OPTIONAL) if number & 2**i)


def bounds(m: bound.Measurements, draws: int) -> dict[int, Floats]:
    """The Bayes probability under every presence pattern."""
    return {p: bound.probability(m, frozenset(given(p)), draws=draws) for p in range(FULL + 1)}


def probability(
    net: fusion.Fusion, inputs: Inputs, platt: tuple[float, float], number: int = FULL
) -> Floats:
    """Calibrated probability of the ensemble."""
    logits = platt[0] * fusion.predict(net, inputs, number)[0].mean(1) + platt[1]
    made: Floats = 1 / (1 + np.exp(-logits))
    return made


def patterns(
    net: fusion.Fusion,
    inputs: Inputs,
    label: Labels,
    platt: tuple[float, float],
    best: dict[int, Floats],
) -> list[Pattern]:
    """Model and bound side by side under every pattern."""
    made = []
    for number in range(FULL, -1, -1):
        p = probability(net, inputs, platt, number)
        made.append(
            Pattern(
                given(number),
                metrics.auc(label, best[number]),
                metrics.auc(label, p),
                gap.bound_gap(label, best[number], p, draws=400),
                metrics.calibration(label, p)[0],
            )
        )
    return made


def removals(
    net: fusion.Fusion,
    inputs: Inputs,
    label: Labels,
    platt: tuple[float, float],
    best: dict[int, Floats],
    seed: int,
) -> list[Removal]:
    """Remove each modality, and hand each patient another's."""
    rng = np.random.default_rng(seed)
    full = probability(net, inputs, platt)
    made = []
    for i, name in enumerate(OPTIONAL):
        without = FULL - 2**i
        loss = metrics.auc_difference(label, best[FULL], best[without]).value
        fields = {k: getattr(inputs, k) for k in Inputs.__slots__}
        fields[name] = fields[name][rng.permutation(len(label))]
        other = probability(net, Inputs(**fields), platt)
        made.append(
            Removal(
                name,
                loss,
                metrics.auc_difference(label, full, probability(net, inputs, platt, without)),
                metrics.auc_difference(label, full, other),
            )
        )
    return made


def shuffled_labels(
    inputs: Inputs,
    label: Labels,
    test: Inputs,
    test_label: Labels,
    *,
    seed: int,
    times: int,
    steps: int,
) -> tuple[float, float]:
    """Mean AUC and its standard error of models fitted to shuffled labels."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(times):
        net = fusion.fit(inputs, rng.permutation(label), seed=seed + i, steps=steps, members=1)
        logits = fusion.predict(net, test)[0][:, 0]
        found.append(metrics.auc(test_label, logits).value)
    return float(np.mean(found)), float(np.std(found, ddof=1) / np.sqrt(times))
