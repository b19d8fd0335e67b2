"""Liver lesions before and after surgery (NCT07658586): malignant or not, which, and for how long.

Index: contrast CT or MR of a liver lesion; everybody has one of the two. Headline: malignant by
pathology, of three kinds (HCC, ICC, and the combined tumour apart); then progression and death
after radical resection. Source: models.md 1.2 and 4.1; model-rules 4; feasibility.md, set 2.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from inference.training.cohorts.classes import Classes, Kind
from inference.training.cohorts.narrative import Finding, Grammar
from inference.training.cohorts.outcome import Cause, Terms
from inference.training.cohorts.prognosis import Prognosis
from inference.training.cohorts.studies.hcc import LIVER_MR
from inference.training.cohorts.studies.items import (
    age,
    always,
    assay,
    diagnosis,
    hospitals,
    sex,
    yes_no,
)
from inference.training.cohorts.study import (
    Baseline,
    Component,
    EventTable,
    Narrative,
    Panel,
    Picture,
    Profile,
    Study,
)
from inference.training.cohorts.volume import Anatomy
from mappings.codes import SNOMED
from mappings.record import Code

_CORE = np.array([-10, 20, -4, -14], np.float32)
FOUR_PHASES = Anatomy(
    channels=("NC", "AP", "PV", "DL"),
    grid=(24, 48, 48),
    spacing_mm=(4.0, 4.0, 4.0),
    level=np.array([55, 70, 110, 92], np.float32),
    level_sd=(5, 6, 8, 7),
    vessel=np.array([-8, 15, 45, 30], np.float32),
    core=_CORE,
    core_effects=np.array([[0, 9, -3, -9], [0, 0, 0, 0]], np.float32),
    rim=np.array([0, 0.2, 1, 1], np.float32),
    rim_base=26.0,
    rim_slopes=(0.0, 7.0),
    nuisance=8.0,
    distractors=(
        np.array([-42, -50, -75, -62], np.float32),  # cyst
        np.array([-8, 12, 22, 24], np.float32),  # hemangioma: fills in and stays
        np.array([0, 30, 2, 0], np.float32),  # arterial enhancement without wash-out
        _CORE,  # wash-out mimic: no rim, its own random wash-out
    ),
)
# Diffusion stands in DWI against T2: bright in one and less so in the other is no shine-through.
SIX_SEQUENCES = replace(
    LIVER_MR,
    core_effects=np.array(
        [[0, 9, -3, -9, 0, 0], [0, 0, 0, 0, 0, 0], [0, 0, 0, 0, -8, 8]], np.float32
    ),
    rim_slopes=(0.0, 7.0, 0.0),
)
REPORT = Grammar(
    findings=(
        Finding(
            "ill_defined_margin",
            -0.2,
            1.7,
            ("ill-defined margin", "irregular margin"),
            ("边界不清", "边缘不规则"),
        ),
        Finding("satellite_nodule", -1.2, 1.6, ("satellite nodules",), ("卫星灶", "卫星结节")),
        Finding(
            "portal_filling_defect",
            -1.6,
            1.7,
            ("filling defect in the portal vein", "portal vein filling defect"),
            ("门静脉充盈缺损", "门静脉内充盈缺损"),
        ),
        Finding(
            "nodular_surface",
            -0.4,
            1.2,
            ("nodular liver surface",),
            ("肝表面结节状", "肝表面凹凸不平"),
        ),
        Finding(
            "splenomegaly", -0.5, 1.0, ("splenomegaly", "enlarged spleen"), ("脾大", "脾脏增大")
        ),
        Finding("ascites", -1.4, 1.1, ("ascites",), ("腹水", "腹腔积液")),
        Finding(
            "lymphadenopathy",
            -1.3,
            1.4,
            ("enlarged hilar lymph nodes", "lymphadenopathy"),
            ("肝门区淋巴结肿大", "淋巴结肿大"),
        ),
        Finding(
            "duct_dilatation",
            -1.3,
            1.1,
            ("bile duct dilatation", "dilated intrahepatic bile ducts"),
            ("肝内胆管扩张", "胆管扩张"),
        ),
        Finding("central_scar", -0.9, -1.5, ("central scar",), ("中央瘢痕", "中心瘢痕")),
        Finding(
            "smooth_lobulation", 0.0, -1.4, ("smooth lobulated contour",), ("轮廓光整", "边缘光滑")
        ),
    ),
    opening_en=(
        "A focal lesion is seen in the liver.",
        "Focal liver lesion with contrast enhancement.",
    ),
    opening_zh=("肝内见占位性病变。", "肝脏可见局灶性病变，增强扫描可见强化。"),
    padding_en=(
        "The gallbladder is unremarkable.",
        "The pancreas shows no abnormality.",
        "Both kidneys are normal.",
    ),
    padding_zh=("胆囊未见异常。", "胰腺形态正常。", "双肾未见异常。"),
    verdicts_en=(
        "Findings favour a benign lesion.",
        "Indeterminate liver lesion.",
        "Suspicious for hepatocellular carcinoma.",
    ),
    verdicts_zh=("考虑良性病变。", "肝占位，性质待定。", "考虑肝细胞癌可能。"),
)
STUDY = Study(
    name="liver",
    registry="NCT07658586",
    version="liver-cohort/2",
    index="contrast CT or MR",
    latents=("wash_out", "rim", "diffusion", "hepatocyte", "biliary", "function", "morphology"),
    correlation=0.21,
    sites=hospitals(1.0),
    panels=(
        always(),
        Panel(name="labs", modality="labs"),
        Panel(name="DCP", modality="labs", missing=0.25, by_age=0.1, mnar=("hepatocyte", -0.15)),
        Panel(name="CA19-9", modality="labs", missing=0.22, by_age=0.1, mnar=("biliary", -0.15)),
        Panel(name="report", modality="report"),
        Panel(name="ct", modality="ct", missing=0.25, by_age=-0.1, mnar=("wash_out", -0.15)),
        Panel(
            name="mr",
            modality="mr",
            missing=0.46,
            by_age=0.1,
            mnar=("diffusion", -0.2),
            unless="ct",
        ),
    ),
    assays=(
        age("function", 18, 80, 55, 0.30),
        assay("AFP", "labs", "hepatocyte", 2.9, 1.2, 1.15),
        assay("DCP", "DCP", "hepatocyte", 1.6, 0.9, 1.0),
        assay("CEA", "labs", "biliary", 1.1, 0.45, 0.7),
        assay("CA199", "CA19-9", "biliary", 3.2, 0.8, 0.9),
        assay("ALP", "labs", "biliary", 4.5, 0.15, 0.3),
        assay("GGT", "labs", "biliary", 3.9, 0.25, 0.6),
        assay("ALT", "labs", "function", 3.55, 0.20, 0.50),
        assay("AST", "labs", "function", 3.55, 0.28, 0.45),
        assay("ALB", "labs", "function", 1.40, -0.06, 0.09),
        assay("TBIL", "labs", "function", -0.15, 0.25, 0.38),
        assay("PLT", "labs", "function", 5.2, -0.24, 0.28),
        assay("INR", "labs", "function", 0.06, 0.05, 0.06),
    ),
    graded=(
        sex("function", 0.2, -0.4),
        yes_no("HBsAg", "labs", "hepatocyte", 0.4, -0.2, "5195-3", days=-3),
        yes_no("HCV-Ab", "labs", "function", 0.3, 1.5, "16128-1", days=-3),
        diagnosis(
            "cirrhosis", "labs", "function", 0.9, 0.3, "K74.6", ("Cirrhosis of liver", "肝硬化")
        ),
    ),
    narratives=(
        Narrative(
            name="report", panel="report", latent="morphology", grammar=REPORT, loinc="18748-4"
        ),
    ),
    pictures=(
        Picture(
            name="ct",
            panel="ct",
            components=(
                Component(name="wash_out", latent="wash_out", noise=0.40, pixel_sd=0.21),
                Component(name="rim", latent="rim", noise=0.40, pixel_sd=0.185),
            ),
            shows=FOUR_PHASES,
            days=-5,
            lacking=(("NC", 0.15), ("DL", 0.22)),
        ),
        Picture(
            name="mr",
            panel="mr",
            components=(
                Component(name="wash_out", latent="wash_out", noise=0.70, pixel_sd=0.25),
                Component(name="rim", latent="rim", noise=0.70, pixel_sd=0.20),
                Component(name="diffusion", latent="diffusion", noise=0.42, pixel_sd=0.28),
            ),
            shows=SIX_SEQUENCES,
            days=-4,
        ),
    ),
    outcome=Classes(
        headline="malignant",
        terms=Terms(
            weights=(
                ("wash_out", 1.9),
                ("rim", 1.4),
                ("diffusion", 1.55),
                ("hepatocyte", 0.3),
                ("biliary", 0.1),
                ("function", 0.1),
                ("morphology", 1.9),
            ),
            interactions=(("wash_out", "rim", 0.3), ("hepatocyte", "function", 0.2)),
            squares=(("hepatocyte", 0.2),),
        ),
        kinds=(
            Kind("HCC", 0.42, Terms(weights=())),
            Kind(
                "ICC",
                0.18,
                Terms(
                    weights=(
                        ("wash_out", -0.8),
                        ("rim", 1.0),
                        ("hepatocyte", -1.2),
                        ("biliary", 1.3),
                        ("function", -0.6),
                    ),
                    interactions=(("rim", "biliary", 0.2),),
                ),
            ),
            Kind("combined", 0.05, Terms(weights=(("rim", 0.4), ("biliary", 0.4)))),
        ),
        natural=(0.20, 0.40, 0.60),
    ),
    registry_events=EventTable(codes=("C22.0", "C22.1", "C22.7"), none=("D13.4", "D18.0", "K76.8")),
    profiles=(
        Profile("CT only", frozenset({"labs", "report", "ct"}), 0),
        Profile("MR only", frozenset({"labs", "report", "mr"}), 0),
        Profile("both", frozenset({"labs", "report", "ct", "mr"}), 0),
    ),
    baselines=(
        Baseline("AFP", ("AFP",)),
        Baseline("AFP and DCP", ("AFP", "DCP")),
        Baseline("CA 19-9 and CEA", ("CA199", "CEA")),
    ),
    judged=("ct", "mr", "report"),
    bar=(0.72, 0.95),
    prognosis=Prognosis(
        operation=Code(SNOMED, "107963000", "liver excision"),
        operated=0.75,
        progression=Cause(
            "progression",
            0.33,
            Terms(
                weights=(
                    ("rim", 0.35),
                    ("diffusion", 0.3),
                    ("hepatocyte", 0.35),
                    ("morphology", 0.5),
                ),
                interactions=(("rim", "morphology", 0.1),),
                squares=(("hepatocyte", 0.1),),
            ),
        ),
        death=Cause(
            "death",
            0.12,
            Terms(
                weights=(("biliary", 0.35), ("function", 0.6), ("morphology", 0.4)),
                interactions=(("function", "morphology", 0.1),),
            ),
        ),
        codes=("C22.9", "R99"),
        shape=1.1,
        horizon_months=24,
        dropout=0.06,
        follow_up_months=(24, 84),
        bar=(0.60, 0.80),
    ),
)
