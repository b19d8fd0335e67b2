"""Liver metastasis after colorectal surgery (NCT07392567): portal venous CT, slide, pathology.

Index: curative resection, stage I to III. Headline: liver metastasis within 24 months, with death
competing. Source: models.md 1.5 and 4.1; seed study NCT07392567.
"""

from __future__ import annotations

import numpy as np

from inference.training.cohorts.outcome import Cause, Hazards, Terms
from inference.training.cohorts.slide import Stains
from inference.training.cohorts.studies.items import (
    AJCC,
    age,
    always,
    assay,
    hospitals,
    sex,
    staged,
    yes_no,
)
from inference.training.cohorts.study import (
    Answer,
    Baseline,
    Component,
    Derived,
    EventTable,
    Panel,
    Picture,
    Profile,
    Study,
)
from inference.training.cohorts.volume import Anatomy
from mappings.record import Code

_CORE = np.array([-30], np.float32)
LIVER_PORTAL = Anatomy(
    channels=("PV",),
    grid=(24, 48, 48),
    spacing_mm=(4.0, 4.0, 4.0),
    level=np.array([110], np.float32),
    level_sd=(8,),
    vessel=np.array([45], np.float32),
    core=_CORE,
    core_effects=np.array([[-9], [0]], np.float32),
    rim=np.array([1], np.float32),
    rim_base=26.0,
    rim_slopes=(0.0, 7.0),
    nuisance=4.0,
    distractors=(
        np.array([-75], np.float32),  # cyst
        np.array([22], np.float32),  # hemangioma
        np.array([-45], np.float32),  # focal fat
        _CORE,  # a nodule like the real one, without rim
    ),
    other_tags=("AP", "DL"),
)
_PATHOLOGY = 7
_STAGES = tuple(Answer(Code(AJCC, s), s, s) for s in ("I", "II", "III"))


def _stage(t: int, n: int) -> int:
    """Stage group from T (0 is pT1) and N (0 is pN0): AJCC 8, colon and rectum."""
    return 2 if n > 0 else 1 if t >= 2 else 0


STUDY = Study(
    name="crlm",
    registry="NCT07392567",
    version="crlm-cohort/1",
    index="curative resection",
    latents=("texture", "rim", "exclusion", "desert", "burden", "marker"),
    correlation=0.25,
    sites=hospitals(0.55),
    panels=(
        always(),
        Panel(name="pathology", modality="tabular"),
        Panel(name="markers", modality="tabular"),
        Panel(name="CA19-9", modality="tabular", missing=0.25, by_age=0.1, mnar=("marker", -0.15)),
        Panel(name="ct", modality="ct", missing=0.2, by_age=-0.1, mnar=("texture", -0.15)),
        Panel(name="slide", modality="slide", missing=0.22, mnar=("exclusion", -0.15)),
    ),
    assays=(
        age("burden", 18, 75, 61, 0.10),
        assay("CEA", "markers", "marker", 1.3, 0.75, 0.75, days=-5),
        assay("CA199", "CA19-9", "marker", 2.6, 0.55, 0.85, days=-5),
        assay("ALB", "markers", "burden", 1.40, -0.03, 0.09, days=-5),
        assay("HGB", "markers", "burden", 2.52, -0.06, 0.14, days=-5),
    ),
    graded=(
        sex("burden", 0.1, -0.2),
        staged(
            "pT",
            "pathology",
            "burden",
            0.8,
            (-1.6, -0.7, 1.2),
            ("pT1", "pT2", "pT3", "pT4"),
            "21899-0",
            days=_PATHOLOGY,
        ),
        staged(
            "pN",
            "pathology",
            "burden",
            1.0,
            (0.4, 1.5),
            ("pN0", "pN1", "pN2"),
            "21900-6",
            days=_PATHOLOGY,
        ),
        staged(
            "grade",
            "pathology",
            "desert",
            0.5,
            (-1.0, 1.1),
            ("G1", "G2", "G3"),
            "33732-9",
            days=_PATHOLOGY,
        ),
        yes_no("LVI", "pathology", "marker", 0.5, 0.9, "59544-7", days=_PATHOLOGY),
        yes_no("PNI", "pathology", "burden", 0.5, 1.1, "92837-4", days=_PATHOLOGY),
    ),
    pictures=(
        Picture(
            name="ct",
            panel="ct",
            components=(
                Component(name="texture", latent="texture", noise=0.5, pixel_sd=0.52),
                Component(name="rim", latent="rim", noise=0.5, pixel_sd=0.25),
            ),
            shows=LIVER_PORTAL,
            days=-10,
        ),
        Picture(
            name="slide",
            panel="slide",
            components=(
                Component(
                    name="contact", latent="exclusion", noise=0.45, pixel_sd=0.24, spatial=True
                ),
                Component(name="inside", latent="desert", noise=0.9, pixel_sd=0.52),
            ),
            shows=Stains(channels=("HE",), contact=(0.3, -0.9), inside=(-1.4, -0.8)),
            days=_PATHOLOGY,
        ),
    ),
    outcome=Hazards(
        competing=(
            Cause(
                "liver metastasis",
                0.09,
                Terms(
                    weights=(
                        ("texture", 0.58),
                        ("rim", 0.48),
                        ("exclusion", 0.9),
                        ("desert", 0.2),
                        ("burden", 0.4),
                        ("marker", 0.35),
                    ),
                    interactions=(("texture", "rim", 0.15), ("burden", "exclusion", 0.1)),
                    squares=(("marker", 0.1),),
                ),
            ),
            Cause("death", 0.04, Terms(weights=(("burden", 0.3),))),
        ),
        natural=(0.05, 0.09, 0.15),
        shape=1.2,
        horizon_months=24,
        dropout=0.08,
        follow_up_months=(12, 48),
    ),
    registry_events=EventTable(codes=("C78.7", "R99")),
    profiles=(
        Profile("full", frozenset({"tabular", "ct", "slide"}), 60),
        Profile("without slide", frozenset({"tabular", "ct"}), 60),
    ),
    baselines=(
        Baseline("stage", ("stage",)),
        Baseline("TNM", ("pT", "pN")),
        Baseline("CEA", ("CEA",)),
    ),
    judged=("ct", "slide"),
    bar=(0.72, 0.90),
    derived=(Derived("stage", ("pT", "pN"), "21902-2", _stage, _STAGES),),
)
