"""Platt calibration of the fused logit, and the interval that the ensemble's spread gives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inference.manifest import Calibration

Float = NDArray[np.float64]


def probability(logit: Float | float) -> Float:
    """Logistic function, without overflow."""
    x = np.asarray(logit, float)
    small = np.exp(-np.abs(x))
    made: Float = np.where(x >= 0, 1 / (1 + small), small / (1 + small))
    return made


def logit(calibration: Calibration, members: Float) -> Float:
    """Calibrated logit (B,) of fused member logits (B, M): members average before calibration."""
    made: Float = calibration.slope * members.mean(1) + calibration.intercept
    return made


def interval(calibration: Calibration, members: Float) -> tuple[Float, Float]:
    """Lower and upper probability, (B,) each.

    Members were fitted on bootstrap resamples, so their spread is the model's own uncertainty;
    it says nothing about patients unlike those it was trained on.
    """
    middle = logit(calibration, members)
    half = calibration.t_quantile * calibration.slope * members.std(1, ddof=1)
    return probability(middle - half), probability(middle + half)
