"""The radiology report of the synthetic liver cohort: a noisy reader, in Chinese or English.

A reader looks at latent morphology and never sees the label; how sentences are made is in
`cohorts.narrative`. The patterns that a pack uses to read such reports are data of the pack
(`features.toml`), not imported from here.

Source: model-rules 8 (h); models.md 1.2 and 4.1.
"""

from __future__ import annotations

import numpy as np

from inference.training.cohorts import narrative
from inference.training.cohorts.narrative import Finding, Grammar, Language, State

FINDINGS: tuple[Finding, ...] = (
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
        "nodular_surface", -0.4, 1.2, ("nodular liver surface",), ("肝表面结节状", "肝表面凹凸不平")
    ),
    Finding("splenomegaly", -0.5, 1.0, ("splenomegaly", "enlarged spleen"), ("脾大", "脾脏增大")),
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
)

GRAMMAR = Grammar(
    findings=FINDINGS,
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
)
_IMPRESSION = {
    "en": (
        "Findings favour a benign lesion.",
        "Indeterminate liver lesion.",
        "Suspicious for hepatocellular carcinoma.",
    ),
    "zh": ("考虑良性病变。", "肝占位，性质待定。", "考虑肝细胞癌可能。"),
}


def states(report_latent: float, rng: np.random.Generator) -> tuple[State, ...]:
    """What the reader writes of each finding, in the order of `FINDINGS`."""
    u = rng.random((len(FINDINGS), 3))
    return tuple(
        narrative.state(finding, report_latent, *three)
        for finding, three in zip(FINDINGS, u, strict=True)
    )


def findings_text(said: tuple[State, ...], language: Language, rng: np.random.Generator) -> str:
    """The findings section: an opening, the mentioned findings in any order, ordinary organs."""
    return narrative.text(GRAMMAR, said, language, rng)


def impression_text(suspicion: float, language: Language) -> str:
    """The reader's verdict, from latents only; a pack must strip it (it names the answer)."""
    index = 0 if suspicion < -0.5 else 2 if suspicion > 0.5 else 1
    return _IMPRESSION[language][index]


def log_likelihood(said_codes: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Give log p(states | report latent), (n, k), of codes (n, findings) at latents (n, k)."""
    return narrative.log_likelihood(FINDINGS, said_codes, grid)
