"""Platt calibration of logits, and the interval that the ensemble's spread gives."""

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


def logits(
    calibration: Calibration, members: Float, horizon: int = 0
) -> tuple[Float, Float | None, Float | None]:
    """Calibrated logit (B,) of member logits (B, M), and the ends of its interval.

    Members average before calibration. They were fitted on bootstrap resamples, so their spread is
    the model's own uncertainty; it says nothing about patients unlike those it was trained on. One
    member has no interval.

    Args:
        calibration: The pack's.
        members: (B, M).
        horizon: Which pair of slope and intercept.
    """
    # What the author calibrated has one pair, 1 and 0, for all horizons.
    pair = horizon if len(calibration.slope) > 1 else 0
    slope, intercept = calibration.slope[pair], calibration.intercept[pair]
    middle: Float = slope * members.mean(1) + intercept
    if calibration.t_quantile is None or members.shape[1] == 1:
        return middle, None, None
    half = calibration.t_quantile * slope * members.std(1, ddof=1)
    return middle, middle - half, middle + half
