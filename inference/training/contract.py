"""The difficulty contract of `liver-cohort/1`, each clause with its figure on the test set.

It is printed in the card of liver_dx 0.1.0, which was trained on that generator; every declared
study is measured by `cohorts.contract`.

Source: model-rules 8.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.evaluation import metrics
from inference.training import baselines, bound, liver
from inference.training.cohort import Split
from inference.training.fusion import FULL

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause: what was measured, what was asked, whether it holds."""

    clause: str
    figure: str
    asked: str
    holds: bool


def clauses(
    train: Split, test: Split, external: Split, best: dict[int, Floats], erased_auc: float
) -> list[Clause]:
    """Every clause that a program can check."""
    y = test.label
    auc = {p: metrics.auc(y, b).value for p, b in best.items()}
    full = auc[FULL]
    ct, text = full - auc[FULL - 1], full - auc[FULL - 4]
    tabular = full - auc[2]
    share = _statistics_share(train, test)
    sizes = np.asarray(test.mask, np.float64).sum((1, 2, 3)) / (24 * 48 * 48)
    site, reversed_site = _site(train, test), _site(train, external)
    missing = _missing(test)
    return [
        Clause("a", f"full Bayes AUC {full:.3f}", "0.72 to 0.95", 0.72 <= full <= 0.95),
        Clause(
            "b", f"image adds {ct:.3f}, text adds {text:.3f}", "0.03 each", min(ct, text) >= 0.03
        ),
        Clause("b", f"tabular is {tabular:.3f} below the bound", "0.05", tabular >= 0.05),
        Clause(
            "c",
            f"boosting on 30 global statistics recovers {share:.2f} of the image's AUC - 0.5, "
            "within site",
            "at most 0.33",
            share <= 1 / 3,
        ),
        Clause(
            "d",
            f"lesion {sizes.mean():.3f} of the volume, at most {sizes.max():.3f}; AUC of the "
            f"image score with lesions erased {erased_auc:.3f}",
            "at most 0.05",
            bool(sizes.max() <= 0.05),
        ),
        Clause(
            "e",
            f"site alone {site:.3f}, external {reversed_site:.3f}",
            "0.55 to 0.65, reversed outside",
            0.55 <= site <= 0.65 and reversed_site < 0.5,
        ),
        *_by_design(missing),
    ]


def _by_design(missing: dict[str, float]) -> list[Clause]:
    """Clauses that the generator's text decides, and missingness."""
    in_range = all(0.15 <= v <= 0.4 for v in missing.values())
    return [
        Clause(
            "f",
            f"interactions {liver.INTERACTION_IMAGE} and {liver.INTERACTION_LAB}, square "
            f"{liver.SQUARE_MARKER}, correlation {liver.CORRELATION}",
            "one each, 0.2 to 0.5",
            True,
        ),
        Clause(
            "g",
            ", ".join(f"{k} {v:.2f}" for k, v in missing.items()) + " missing at random",
            "0.15 to 0.40; a not-at-random set is not made yet",
            in_range,
        ),
        Clause(
            "h",
            "report and labs are drawn from latents through noise; no code path reads the label",
            "by construction",
            True,
        ),
        Clause(
            "i",
            f"label noise {liver.FLIPS}, motion 0.4 voxel; wrong phase tags are not made yet",
            "all of them",
            False,
        ),
    ]


def _missing(test: Split) -> dict[str, float]:
    """Share of patients without each optional input."""
    assays, phases = test.arrays["m_assays"], test.arrays["phases"]
    return {
        "DCP": float(np.isnan(assays[:, 1]).mean()),
        "CA19-9": float(np.isnan(assays[:, 2]).mean()),
        "NC": float(1 - phases[:, 0].mean()),
        "DL": float(1 - phases[:, 3].mean()),
    }


def _statistics_share(train: Split, test: Split) -> float:
    score = baselines.boosted(train.arrays["statistics"], train.label, test.arrays["statistics"])
    image = bound.probability(test.measurements(), frozenset({"ct"}), draws=256, demographics=False)
    found, possible = [], []
    for site in range(len(liver.SITES)):
        rows = test.arrays["site"] == site
        found.append(metrics.auc(test.label[rows], score[rows]).value)
        possible.append(metrics.auc(test.label[rows], image[rows]).value)
    return float((np.mean(found) - 0.5) / (np.mean(possible) - 0.5))


def _site(train: Split, test: Split) -> float:
    """AUC of the training sites' prevalence as the only score."""
    rate = np.array(
        [train.label[train.arrays["site"] == s].mean() for s in range(len(liver.SITES))]
    )
    return metrics.auc(test.label, rate[test.arrays["site"]]).value
