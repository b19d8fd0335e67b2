"""The radiology report of the synthetic liver cohort: a noisy reader, in Chinese or English.

A reader looks at latent morphology, decides for each finding whether it is there, mentions it or
not, and writes sentences with negation and hedging. It never sees the label. The patterns that a
pack uses to read such reports are data of the pack (`features.toml`), not imported from here.

Source: model-rules 8 (h); models.md 1.2 and 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

Language: TypeAlias = Literal["zh", "en"]
State: TypeAlias = Literal["present", "absent", "hedged", "unmentioned"]

MENTIONED = 0.86
HEDGED = 0.10


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding the reader may mention.

    Attributes:
        offset: Logit of P(present) at latent 0.
        slope: Change of that logit per unit of the report latent.
    """

    name: str
    offset: float
    slope: float
    en: tuple[str, ...]
    zh: tuple[str, ...]


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

_EN = {
    "present": ("There is {}.", "{} is seen.", "Note is made of {}."),
    "absent": ("No {}.", "There is no evidence of {}.", "Without {}."),
    "hedged": ("Possible {}.", "{} cannot be excluded."),
}
_ZH = {
    "present": ("可见{}。", "示{}。", "{}。"),
    "absent": ("未见{}。", "无{}。", "未见明显{}。"),
    "hedged": ("可疑{}。", "{}不除外。"),
}
_OPENING = {
    "en": ("A focal lesion is seen in the liver.", "Focal liver lesion with contrast enhancement."),
    "zh": ("肝内见占位性病变。", "肝脏可见局灶性病变，增强扫描可见强化。"),
}
_PADDING = {
    "en": (
        "The gallbladder is unremarkable.",
        "The pancreas shows no abnormality.",
        "Both kidneys are normal.",
    ),
    "zh": ("胆囊未见异常。", "胰腺形态正常。", "双肾未见异常。"),
}
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
    made: list[State] = []
    for finding, (seen, mention, hedge) in zip(FINDINGS, u, strict=True):
        p = 1.0 / (1.0 + np.exp(-(finding.offset + finding.slope * report_latent)))
        if mention > MENTIONED:
            made.append("unmentioned")
        elif hedge < HEDGED:
            made.append("hedged")
        else:
            made.append("present" if seen < p else "absent")
    return tuple(made)


def findings_text(said: tuple[State, ...], language: Language, rng: np.random.Generator) -> str:
    """The findings section: an opening, the mentioned findings in any order, ordinary organs."""
    frames = _EN if language == "en" else _ZH
    sentences = []
    for finding, state in zip(FINDINGS, said, strict=True):
        words = finding.en if language == "en" else finding.zh
        word, pick = words[rng.integers(len(words))], rng.random()
        if state != "unmentioned":
            options = frames[state]
            text = options[int(pick * len(options))].format(word)
            sentences.append(text[0].upper() + text[1:])
    sentences.extend(s for s in _PADDING[language] if rng.random() < 0.7)
    order = rng.permutation(len(sentences))
    opening = _OPENING[language][rng.integers(2)]
    glue = " " if language == "en" else ""
    return glue.join([opening, *(sentences[i] for i in order)])


def impression_text(suspicion: float, language: Language) -> str:
    """The reader's verdict, from latents only; a pack must strip it (it names the answer)."""
    index = 0 if suspicion < -0.5 else 2 if suspicion > 0.5 else 1
    return _IMPRESSION[language][index]


def log_likelihood(said_codes: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Give log p(states | report latent).

    Args:
        said_codes: (n, findings) int8: 1 present, 0 absent, -1 hedged or unmentioned.
        grid: (n, k) latent values.

    Returns:
        (n, k); hedged and unmentioned carry no information by construction.
    """
    total = np.zeros(grid.shape)
    for j, finding in enumerate(FINDINGS):
        eta = finding.offset + finding.slope * grid
        code = said_codes[:, j, None]
        total += np.where(code == 1, -np.logaddexp(0, -eta), 0) + np.where(
            code == 0, -np.logaddexp(0, eta), 0
        )
    return total
