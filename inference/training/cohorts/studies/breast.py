"""Distant metastasis of primary breast cancer (NCT07244094): where immune cells stand on slides.

Index: surgery. Headline: distant metastasis within 5 years, with other death competing. H&E with
Pan-CK, CD3 and CD20 of consecutive sections. Source: models.md 1.3 and 4.1; model-rules 5;
feasibility.md, "Slide".
"""

from __future__ import annotations

from inference.training.cohorts.outcome import Cause, Hazards, Terms
from inference.training.cohorts.slide import STAINS, Stains
from inference.training.cohorts.studies.items import (
    age,
    always,
    assay,
    hospitals,
    percentage,
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

_PATHOLOGY = 10
STUDY = Study(
    name="breast",
    registry="NCT07244094",
    version="breast-cohort/1",
    index="curative surgery",
    latents=("exclusion", "b_exclusion", "desert", "burden", "density", "proliferation"),
    correlation=0.2,
    sites=hospitals(0.5),
    panels=(
        always(),
        Panel(name="pathology", modality="tabular"),
        Panel(
            name="Ki-67",
            modality="tabular",
            missing=0.22,
            by_age=0.1,
            mnar=("proliferation", -0.15),
        ),
        Panel(name="slide", modality="slide", missing=0.17, by_age=0.08, mnar=("exclusion", -0.15)),
    ),
    assays=(
        age("burden", 18, 95, 54, -0.1, 0.6),
        assay("size", "pathology", "burden", 3.0, 0.35, 0.4, days=_PATHOLOGY),
        percentage("Ki67", "Ki-67", "proliferation", -1.3, 0.7, 0.7, days=_PATHOLOGY),
    ),
    graded=(
        staged(
            "pT",
            "pathology",
            "burden",
            0.9,
            (0.0, 1.5, 2.4),
            ("pT1", "pT2", "pT3", "pT4"),
            "21899-0",
            days=_PATHOLOGY,
        ),
        staged(
            "pN",
            "pathology",
            "burden",
            0.8,
            (0.4, 1.3, 2.0),
            ("pN0", "pN1", "pN2", "pN3"),
            "21900-6",
            days=_PATHOLOGY,
        ),
        staged(
            "grade",
            "pathology",
            "proliferation",
            0.9,
            (-1.1, 0.6),
            ("G1", "G2", "G3"),
            "44648-4",
            days=_PATHOLOGY,
        ),
        yes_no("ER", "pathology", "proliferation", -0.6, -0.8, "85337-4", days=_PATHOLOGY),
        yes_no("PR", "pathology", "proliferation", -0.5, -0.4, "85339-0", days=_PATHOLOGY),
        yes_no("HER2", "pathology", "proliferation", 0.3, 1.1, "85319-2", days=_PATHOLOGY),
        yes_no("LVI", "pathology", "burden", 0.6, 0.7, "59544-7", days=_PATHOLOGY),
    ),
    pictures=(
        Picture(
            name="slide",
            panel="slide",
            components=(
                Component(
                    name="contact", latent="exclusion", noise=0.4, pixel_sd=0.26, spatial=True
                ),
                Component(
                    name="b_contact", latent="b_exclusion", noise=0.4, pixel_sd=0.30, spatial=True
                ),
                Component(name="inside", latent="desert", noise=1.2, pixel_sd=0.77),
                Component(name="fraction", latent="burden", noise=2.5, pixel_sd=0.32),
                Component(name="density", latent="density", noise=2.0, pixel_sd=0.88),
            ),
            shows=Stains(
                channels=STAINS,
                contact=(0.3, -0.9),
                b_contact=(0.2, -0.9),
                inside=(-1.4, -0.55),
                fraction=(-1.65, 0.16),
                density=(-1.0, -0.17),
            ),
            days=_PATHOLOGY,
        ),
    ),
    outcome=Hazards(
        competing=(
            Cause(
                "distant metastasis",
                0.15,
                Terms(
                    weights=(
                        ("exclusion", 0.5),
                        ("b_exclusion", 0.42),
                        ("desert", 0.08),
                        ("burden", 0.22),
                        ("density", 0.04),
                        ("proliferation", 0.15),
                    ),
                    interactions=(("exclusion", "burden", 0.15),),
                    squares=(("desert", 0.08),),
                ),
            ),
            Cause("other death", 0.06, Terms(weights=(("burden", 0.15),))),
        ),
        natural=(0.08, 0.15, 0.22),
        shape=1.2,
        horizon_months=60,
        dropout=0.10,
        follow_up_months=(24, 132),
    ),
    registry_events=EventTable(codes=("C79.9", "R99")),
    profiles=(Profile("full", frozenset({"tabular", "slide"}), 60),),
    baselines=(
        Baseline("TNM", ("pT", "pN")),
        Baseline("grade and receptors", ("grade", "ER", "PR", "HER2")),
    ),
    judged=("slide",),
    bar=(0.65, 0.75),
    concordance=True,
    places=0.03,
    only_sex="female",
)
