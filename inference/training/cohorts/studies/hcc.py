"""Recurrence pattern after resection of early hepatocellular carcinoma (NCT07030842): MR and slide.

Index: resection. Causes: first recurrence beyond the Milan criteria (headline, 24 months), first
recurrence within them, death without recurrence. PRE reads MR and laboratory values only; POST
adds the slide and the pathology report. Source: models.md 1.4 and 4.1; Mazzaferro 1996 (Milan).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from inference.training.cohorts.outcome import Cause, Hazards, Terms
from inference.training.cohorts.slide import Stains
from inference.training.cohorts.studies.items import (
    EDMONDSON,
    age,
    always,
    assay,
    hospitals,
    sex,
    staged,
    yes_no,
)
from inference.training.cohorts.study import (
    Baseline,
    Component,
    EventTable,
    Panel,
    Picture,
    Profile,
    Study,
)
from inference.training.cohorts.volume import Anatomy

_CORE = np.array([-25, 30, -4, -16, 30, 35], np.float32)
LIVER_MR = Anatomy(
    channels=("T1", "AP", "PV", "DL", "T2", "DWI"),
    grid=(20, 40, 40),
    spacing_mm=(5.0, 4.0, 4.0),
    level=np.array([90, 110, 150, 135, 60, 50], np.float32),
    level_sd=(8, 8, 9, 8, 6, 6),
    vessel=np.array([-25, 30, 45, 30, -20, -25], np.float32),
    core=_CORE,
    core_effects=np.array([[0, 9, -3, -9, 0, 0], [0, 0, 0, 0, 0, 0]], np.float32),
    rim=np.array([0, 0.2, 1, 1, 0, 0], np.float32),
    rim_base=26.0,
    rim_slopes=(0.0, 7.0),
    nuisance=8.0,
    distractors=(
        np.array([-40, -60, -80, -70, 90, 10], np.float32),  # cyst
        np.array([-20, 15, 28, 30, 60, 15], np.float32),  # hemangioma
        np.array([0, 30, 2, 0, 0, 0], np.float32),  # arterial enhancement alone
        _CORE,  # wash-out mimic without rim
    ),
    radii=(4.0, 6.0),
)
_PATHOLOGY = 7
_WITHIN, _BEYOND = 2, 1


def _nodules(cause: int, _age: int, rng: np.random.Generator) -> Mapping[str, Any]:
    """What the radiologist finds at the first recurrence; nothing of a death."""
    if cause not in (_BEYOND, _WITHIN):
        return {}
    many = int(rng.integers(2, 4))
    if cause == _WITHIN:
        alone = rng.random() < 0.6
        sizes = rng.integers(10, 51, 1) if alone else rng.integers(8, 31, many)
        beyond = -1
    else:
        # One way of being beyond: too large, too many, in a vessel, or outside the liver.
        beyond = int(rng.integers(4))
        many = 4 + many if beyond == 1 else 1
        sizes = rng.integers(10, 31, many) + (45 if beyond == 0 else 0)
    return {
        "nodules_mm": [int(s) for s in sizes],
        "macrovascular_invasion": beyond == 2,
        "extrahepatic": beyond == 3,
    }


def milan(nodules_mm: list[int], *, macrovascular_invasion: bool, extrahepatic: bool) -> bool:
    """One nodule up to 5 cm, or up to three of up to 3 cm, in the liver and in no vessel."""
    if macrovascular_invasion or extrahepatic:
        return False
    if len(nodules_mm) == 1:
        return nodules_mm[0] <= 50
    return len(nodules_mm) <= 3 and max(nodules_mm) <= 30


def _cause_of(code: str, details: Mapping[str, Any]) -> int:
    """Beyond Milan 1, within 2, death 3."""
    if code != "C22.0":
        return 3
    within = milan(
        details["nodules_mm"],
        macrovascular_invasion=details["macrovascular_invasion"],
        extrahepatic=details["extrahepatic"],
    )
    return _WITHIN if within else _BEYOND


STUDY = Study(
    name="hcc",
    registry="NCT07030842",
    version="hcc-cohort/1",
    index="resection",
    latents=("wash_out", "rim", "exclusion", "desert", "marker", "function"),
    correlation=0.25,
    sites=(hospitals(0.45)[0], hospitals(0.45)[3]),
    panels=(
        always(),
        Panel(name="labs", modality="labs"),
        Panel(name="DCP", modality="labs", missing=0.25, by_age=0.1, mnar=("marker", -0.15)),
        Panel(name="mr", modality="mr", missing=0.18, by_age=-0.1, mnar=("wash_out", -0.15)),
        Panel(name="pathology", modality="pathology"),
        Panel(name="slide", modality="slide", missing=0.22, mnar=("exclusion", -0.15)),
    ),
    assays=(
        age("function", 18, 80, 56, 0.12),
        assay("AFP", "labs", "marker", 3.0, 1.2, 1.3),
        assay("DCP", "DCP", "marker", 1.7, 0.8, 1.0),
        assay("ALT", "labs", "function", 3.5, 0.18, 0.5),
        assay("AST", "labs", "function", 3.5, 0.25, 0.45),
        assay("ALB", "labs", "function", 1.40, -0.05, 0.09),
        assay("TBIL", "labs", "function", -0.2, 0.22, 0.38),
        assay("PLT", "labs", "function", 5.15, -0.22, 0.3),
        assay("INR", "labs", "function", 0.06, 0.05, 0.06),
    ),
    graded=(
        sex("function", 0.2, -0.8),
        yes_no("HBsAg", "labs", "function", 0.3, -0.9, "5195-3", days=-3),
        yes_no("MVI", "pathology", "desert", 0.8, 0.7, "33739-4", days=_PATHOLOGY),
        staged(
            "Edmondson",
            "pathology",
            "marker",
            0.5,
            (-1.0, 0.6, 1.7),
            ("I", "II", "III", "IV"),
            "33732-9",
            days=_PATHOLOGY,
            system=EDMONDSON,
        ),
    ),
    pictures=(
        Picture(
            name="mr",
            panel="mr",
            components=(
                Component(name="wash_out", latent="wash_out", noise=0.5, pixel_sd=0.25),
                Component(name="rim", latent="rim", noise=0.5, pixel_sd=0.20),
            ),
            shows=LIVER_MR,
            days=-12,
        ),
        Picture(
            name="slide",
            panel="slide",
            components=(
                Component(
                    name="contact", latent="exclusion", noise=0.45, pixel_sd=0.23, spatial=True
                ),
                Component(name="inside", latent="desert", noise=0.9, pixel_sd=0.51),
            ),
            shows=Stains(channels=("HE",), contact=(0.3, -0.9), inside=(-1.4, -0.8)),
            days=_PATHOLOGY,
        ),
    ),
    outcome=Hazards(
        competing=(
            Cause(
                "aggressive recurrence",
                0.20,
                Terms(
                    weights=(
                        ("wash_out", 0.55),
                        ("rim", 0.5),
                        ("exclusion", 0.9),
                        ("desert", 0.25),
                        ("marker", 0.4),
                        ("function", 0.1),
                    ),
                    interactions=(("wash_out", "rim", 0.15), ("marker", "exclusion", 0.1)),
                    squares=(("marker", 0.1),),
                ),
            ),
            Cause("recurrence within Milan", 0.15, Terms(weights=(("function", 0.4),))),
            Cause("death", 0.04, Terms(weights=(("function", 0.35), ("marker", 0.1)))),
        ),
        natural=(0.12, 0.20, 0.28),
        shape=1.1,
        horizon_months=24,
        dropout=0.08,
        follow_up_months=(18, 72),
    ),
    registry_events=EventTable(
        codes=("C22.0", "C22.0", "R99"), describe=_nodules, cause_of=_cause_of
    ),
    profiles=(
        Profile("PRE", frozenset({"labs", "mr"}), 0),
        Profile("POST", frozenset({"labs", "mr", "pathology", "slide"}), 30),
    ),
    baselines=(
        Baseline("AFP", ("AFP",)),
        Baseline("MVI and grade", ("MVI", "Edmondson")),
    ),
    judged=("mr", "slide"),
    bar=(0.72, 0.90),
)
