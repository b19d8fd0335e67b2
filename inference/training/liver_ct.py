"""The four-phase CT of the synthetic liver cohort: what liver and lesion look like in each phase.

One real lesion with wash-out in its core and a rim; distractors without information (cyst,
hemangioma, arterial enhancement, wash-out mimic). How a volume is rendered is in `cohorts.volume`.

Source: model-rules 8 (d); feasibility.md, "CT volume", set 2.
"""

from __future__ import annotations

import numpy as np

from inference.training.cohorts import volume
from inference.training.cohorts.studies.liver import FOUR_PHASES
from inference.training.cohorts.volume import Render, Scanner

GRID, SPACING_MM = FOUR_PHASES.grid, FOUR_PHASES.spacing_mm


def render(
    rng: np.random.Generator,
    w1: float,
    w2: float,
    scanner: Scanner,
    *,
    measure: bool = False,
    phases: tuple[int, ...] = (0, 1, 2, 3),
    erased: bool = False,
) -> Render:
    """Render one study: w1 is the wash-out of the real lesion, w2 the strength of its rim."""
    return volume.render(
        rng, FOUR_PHASES, (w1, w2), scanner, measure=measure, channels=phases, erased=erased
    )
