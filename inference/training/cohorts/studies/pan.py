"""Cancer now, from the whole record (NCT06791473): children too.

Index: a visit. History, a note of the complaint, laboratory values, CT and genes; healthy people
have no CT. Headline: cancer at the index; who has none of it and gets one later is `pan_1y`'s.
Development 30 % with cancer, natural prevalence 1 %. Source: models.md 1.1 and 4.1; model-rules 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from inference.training.cohorts.narrative import Finding, Grammar
from inference.training.cohorts.outcome import Logit, Terms
from inference.training.cohorts.studies.items import (
    age,
    always,
    assay,
    diagnosis,
    gene,
    hospitals,
    sex,
)
from inference.training.cohorts.study import (
    Answer,
    Assay,
    Baseline,
    Component,
    EventTable,
    Graded,
    Narrative,
    Panel,
    Picture,
    Profile,
    Study,
)
from inference.training.cohorts.volume import Anatomy
from mappings.codes import LOINC
from mappings.record import Code

_CORE = np.array([22], np.float32)
ABDOMEN = Anatomy(
    channels=("PV",),
    grid=(24, 48, 48),
    spacing_mm=(6.0, 6.0, 6.0),
    level=np.array([80], np.float32),
    level_sd=(8,),
    vessel=np.array([45], np.float32),
    core=_CORE,
    core_effects=np.array([[9], [0]], np.float32),
    rim=np.array([1], np.float32),
    rim_base=24.0,
    rim_slopes=(0.0, 7.0),
    nuisance=4.0,
    distractors=(
        np.array([-70], np.float32),  # cyst
        np.array([50], np.float32),  # vessel cut across
        np.array([-35], np.float32),  # fat
        _CORE,  # a benign nodule
    ),
    radii=(4.0, 6.0),
    other_tags=("NC", "AP"),
)
NOTE = Grammar(
    findings=(
        Finding("weight_loss", -1.2, 1.5, ("weight loss",), ("体重下降", "消瘦")),
        Finding("fatigue", -0.3, 1.0, ("fatigue", "tiredness"), ("乏力", "疲倦")),
        Finding("night_sweats", -1.6, 1.3, ("night sweats",), ("盗汗",)),
        Finding("blood_in_stool", -1.9, 1.4, ("blood in the stool",), ("便血",)),
        Finding("cough", -0.8, 0.9, ("persistent cough",), ("持续咳嗽",)),
        Finding("mass", -1.7, 1.7, ("a palpable mass",), ("可触及包块",)),
        Finding("pain", -0.4, 0.9, ("dull pain",), ("隐痛",)),
        Finding("appetite_loss", -1.0, 1.4, ("loss of appetite",), ("食欲减退", "纳差")),
        Finding("itching", -1.0, -0.9, ("seasonal itching",), ("季节性瘙痒",)),
        Finding("fever", -1.4, 0.8, ("recurrent fever",), ("反复发热",)),
    ),
    opening_en=("Seen in the clinic.", "Presents with complaints for some weeks."),
    opening_zh=("门诊就诊。", "患者诉不适数周。"),
    padding_en=("Sleep is normal.", "No travel abroad.", "Lives with family."),
    padding_zh=("睡眠可。", "无外出史。", "与家人同住。"),
)
_ADULT = ("C34", "C22", "C18", "C50", "C16", "C61", "C73", "C64")
_CHILD = ("C91", "C71", "C74", "C64", "C81")


def _organ(cause: int, age_years: int, rng: np.random.Generator) -> Mapping[str, Any]:
    """Where the cancer is: children have their own; nothing of a death."""
    if cause != 1:
        return {}
    sites = _CHILD if age_years < 18 else _ADULT
    return {"icd10": sites[int(rng.integers(len(sites)))]}


_DAY = -1  # the eve of the visit, so that everything is told when it begins


def _lab(
    name: str,
    latent: str,
    mean: float,
    slope: float,
    noise: float,
    *,
    panel: str = "labs",
    by_age: bool = False,
) -> Assay:
    return assay(name, panel, latent, mean, slope, noise, days=_DAY, by_age=by_age)


_SMOKING = (
    Answer(Code(LOINC, "LA18978-9"), "Never smoker", "从不吸烟"),
    Answer(Code(LOINC, "LA15920-4"), "Former smoker", "既往吸烟"),
    Answer(Code(LOINC, "LA18976-3"), "Current every day smoker", "每日吸烟"),
)
STUDY = Study(
    name="pan",
    registry="NCT06791473",
    version="pan-cohort/2",
    index="visit",
    latents=("history", "complaint", "marker", "inflammation", "lesion", "rim", "germline"),
    correlation=0.22,
    sites=hospitals(0.6),
    panels=(
        always(),
        Panel(name="history", modality="history"),
        Panel(name="labs", modality="labs"),
        Panel(name="markers", modality="labs", missing=0.3, by_age=-0.15, mnar=("marker", -0.15)),
        Panel(name="note", modality="note", missing=0.2, mnar=("complaint", -0.15)),
        Panel(name="ct", modality="ct", missing=0.3, by_age=-0.3, mnar=("lesion", -0.15)),
        Panel(name="genes", modality="genes", missing=0.37, mnar=("germline", -0.15)),
    ),
    assays=(
        age("history", 0, 90, 48, 0.25, 1.1),
        assay("BMI", "history", "history", 3.15, 0.04, 0.16, days=-30),
        _lab("CEA", "marker", 1.0, 0.6, 0.8, panel="markers"),
        _lab("AFP", "marker", 1.3, 0.5, 1.0, panel="markers"),
        _lab("CA199", "marker", 2.5, 0.55, 0.9, panel="markers"),
        _lab("CRP", "inflammation", 1.2, 0.8, 1.0),
        _lab("LDH", "inflammation", 5.25, 0.16, 0.24),
        _lab("NEU", "inflammation", 1.4, 0.18, 0.32, by_age=True),
        _lab("LYM", "inflammation", 0.6, -0.15, 0.32, by_age=True),
        _lab("HGB", "inflammation", 2.58, -0.07, 0.12, by_age=True),
        _lab("PLT", "inflammation", 5.4, 0.06, 0.24, by_age=True),
        _lab("ALB", "marker", 1.45, -0.04, 0.08, by_age=True),
        _lab("ALP", "marker", 4.25, 0.06, 0.28, by_age=True),
        _lab("ALT", "history", 3.05, 0.05, 0.42, by_age=True),
        _lab("CREA", "history", -0.27, 0.03, 0.18, by_age=True),
    ),
    graded=(
        sex("history", 0.1, 0.0),
        Graded(
            name="smoking",
            panel="history",
            latent="history",
            slope=0.5,
            cuts=(0.4, 1.0),
            answers=_SMOKING,
            loinc="72166-2",
            days=-30,
        ),
        diagnosis(
            "family history",
            "history",
            "germline",
            0.5,
            1.0,
            "Z80.9",
            ("Family history of cancer", "肿瘤家族史"),
        ),
        diagnosis("COPD", "history", "history", 0.6, 1.3, "J44.9", ("COPD", "慢性阻塞性肺病")),
        diagnosis("diabetes", "history", "history", 0.5, 1.0, "E11.9", ("Diabetes", "2型糖尿病")),
        diagnosis("hepatitis B", "history", "history", 0.4, 1.5, "B18.1", ("Hepatitis B", "乙肝")),
        gene("BRCA2", "genes", "germline", 0.8, 1.6, ("c.5946del", "c.7617+1G>A", "c.658_659del")),
        gene("TP53", "genes", "germline", 0.8, 1.9, ("c.743G>A", "c.818G>A")),
        gene("MLH1", "genes", "germline", 0.8, 1.8, ("c.350C>T", "c.1852_1854del")),
        gene("APC", "genes", "germline", 0.8, 1.8, ("c.3927_3931del", "c.3183_3187del")),
    ),
    narratives=(
        Narrative(
            name="note", panel="note", latent="complaint", grammar=NOTE, loinc="34117-2", days=_DAY
        ),
    ),
    pictures=(
        Picture(
            name="ct",
            panel="ct",
            components=(
                Component(name="lesion", latent="lesion", noise=0.5, pixel_sd=0.56),
                Component(name="rim", latent="rim", noise=0.5, pixel_sd=0.28),
            ),
            shows=ABDOMEN,
            days=-5,
        ),
    ),
    outcome=Logit(
        headline="cancer",
        terms=Terms(
            weights=(
                ("history", 0.4),
                ("complaint", 1.15),
                ("marker", 0.6),
                ("inflammation", 0.35),
                ("lesion", 0.85),
                ("rim", 0.75),
                ("germline", 0.5),
            ),
            interactions=(("lesion", "rim", 0.25), ("marker", "inflammation", 0.2)),
            squares=(("marker", 0.15),),
        ),
        rate=0.30,
        natural=(0.005, 0.01, 0.02),
        horizon_months=0.0,
    ),
    registry_events=EventTable(codes=("C80.9",), describe=_organ),
    profiles=(
        Profile("full", frozenset({"history", "labs", "note", "ct", "genes"}), 0),
        Profile("without imaging", frozenset({"history", "labs", "note", "genes"}), 0),
    ),
    baselines=(
        Baseline("age", ("age",)),
        Baseline("CEA", ("CEA",)),
        Baseline("markers", ("CEA", "AFP", "CA199")),
    ),
    judged=("note", "ct"),
    bar=(0.72, 0.90),
)
