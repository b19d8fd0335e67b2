"""The four-phase CT of the synthetic liver cohort: what liver and lesion look like in each phase.

One real lesion with wash-out in its core and a rim; distractors without information (cyst,
hemangioma, arterial enhancement, wash-out mimic). How a volume is rendered is in `cohorts.volume`.

Source: model-rules 8 (d); feasibility.md, "CT volume", set 2.
"""

from __future__ import annotations

import numpy as np

from inference.training.cohorts import volume
from inference.training.cohorts.volume import Render, Scanner

GRID = (24, 48, 48)
SPACING_MM = (4.0, 4.0, 4.0)
_CORE_HU = np.array([-10, 20, -4, -14], np.float32)
ANATOMY = volume.Anatomy(
    channels=("NC", "AP", "PV", "DL"),
    grid=GRID,
    spacing_mm=SPACING_MM,
    level=np.array([55, 70, 110, 92], np.float32),
    level_sd=(5, 6, 8, 7),
    vessel=np.array([-8, 15, 45, 30], np.float32),
    core=_CORE_HU,
    core_effects=np.array([[0, 9, -3, -9], [0, 0, 0, 0]], np.float32),
    rim=np.array([0, 0.2, 1, 1], np.float32),
    rim_base=26.0,
    rim_slopes=(0.0, 7.0),
    nuisance=8.0,
    distractors=(
        np.array([-42, -50, -75, -62], np.float32),  # cyst
        np.array([-8, 12, 22, 24], np.float32),  # hemangioma: fills in and stays
        np.array([0, 30, 2, 0], np.float32),  # arterial enhancement without wash-out
        _CORE_HU,  # wash-out mimic: no rim, its own random wash-out
    ),
)


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
        rng, ANATOMY, (w1, w2), scanner, measure=measure, channels=phases, erased=erased
    )
