"""Resampling along one axis: the mean of what lies under an output sample, or between its nearest.

The weights only. Volumes (`inference.tensors`) and slides (`inference.slides`) apply them axis by
axis, which is exact because both grids are rectangular. Lengths are in one unit of the caller's
choice: millimetres of the patient for volumes, micrometres of the glass for slides.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
# Shares of a sample below this are rounding, not image: no neighbour is read for them.
SLIVER = 1e-6


@dataclass(frozen=True, slots=True)
class Span:
    """The samples of a source that lie under a run of output samples.

    Attributes:
        first: Number of the first source sample; last: one behind the last one.
        weights: (outputs, last - first), each row summing to 1.
    """

    first: int
    last: int
    weights: Float


def span(start: float, size: int, spacing: float, step: float) -> Span:
    """`size` outputs of length `spacing` from `start` on, over sources of length `step` from 0 on.

    The source is taken as endless in both directions: what lies beyond its ends is the reader's
    to say (white glass, no tissue).
    """
    first = floor(start / step + SLIVER)
    last = max(ceil((start + size * spacing) / step - SLIVER), first + 1)
    weights, _ = overlap(
        last - first, (first + 0.5) * step, step, start + size * spacing / 2, size, spacing
    )
    return Span(first, last, weights)


def overlap(
    count: int, origin: float, step: float, centre: float, size: int, spacing: float
) -> tuple[Float, Float]:
    """Weights of source samples in each output sample, and the share of it that they cover.

    Args:
        count: Source samples.
        origin: Centre of source sample 0.
        step: From one source sample to the next; negative where the axis runs backwards.
        centre: Of the output's whole extent.
        size: Output samples.
        spacing: From one output sample to the next.

    Returns:
        (size, count) weights; (size,) shares, 1 where the source covers the output sample.
    """
    # Both edges of each source sample.
    edges = origin + step * (np.arange(count)[:, None] + np.array([-0.5, 0.5]))
    source_low, source_high = edges.min(1), edges.max(1)
    target_low = centre + spacing * (np.arange(size) - size / 2)
    common = np.minimum(target_low[:, None] + spacing, source_high) - np.maximum(
        target_low[:, None], source_low
    )
    weights = np.clip(common, 0, None) / spacing
    # Rounding of lengths leaves slivers of the neighbours; they are no samples.
    weights[weights < SLIVER] = 0
    return weights.astype(np.float32), np.minimum(weights.sum(1), 1).astype(np.float32)


def between(
    count: int, origin: float, step: float, centre: float, size: int, spacing: float
) -> tuple[Float, Float]:
    """As `overlap`, by linear interpolation between the two nearest source samples.

    In the outer half of the first and last source sample their own figure stands, and beyond it
    nothing, as in ITK's linear interpolator.
    """
    targets = centre + spacing * (np.arange(size) - (size - 1) / 2)
    at = (targets - origin) / step
    inside = (at >= -0.5 - SLIVER) & (at <= count - 0.5 + SLIVER)
    at = np.clip(at, 0, count - 1)
    low = np.minimum(np.floor(at).astype(int), max(count - 2, 0))
    share = at - low
    weights = np.zeros((size, count), np.float32)
    rows = np.arange(size)
    weights[rows, low] = 1 - share
    weights[rows, np.minimum(low + 1, count - 1)] += share
    weights[~inside] = 0
    return weights, inside.astype(np.float32)
