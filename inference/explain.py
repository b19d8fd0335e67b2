"""Exact contributions: what each modality adds to the calibrated logit.

The fusion graph is additive, so nothing is estimated: baseline and contributions sum to the logit.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from inference.manifest import Calibration, Manifest

Float = NDArray[np.float64]
TOLERANCE = 1e-5


def contributions(
    manifest: Manifest, by_member: Float, bias: Float
) -> list[tuple[float, Mapping[str, float]]]:
    """Baseline and contribution of each modality, per case, in calibrated logit.

    Args:
        manifest: The pack's, for its calibration and the order of its modalities.
        by_member: (B, members, modalities) of the fusion graph.
        bias: (B, members), what no modality's content decides.
    """
    platt: Calibration = manifest.calibration
    mean = platt.slope * by_member.mean(1)
    base = platt.slope * bias.mean(1) + platt.intercept
    return [
        (float(b), {m: float(row[i]) for i, m in enumerate(manifest.modalities)})
        for b, row in zip(base, mean, strict=True)
    ]
