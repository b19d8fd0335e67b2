"""The grammar of a reader's report: findings with negation and hedging, in Chinese or English.

A reader looks at latent morphology, decides for each finding whether it is there, mentions it or
not, and writes sentences. Which findings there are is a `Grammar`, declared by its study.

Source: model-rules 8 (h); models.md 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Language: TypeAlias = Literal["zh", "en"]
State: TypeAlias = Literal["present", "absent", "hedged", "unmentioned"]
STATES: tuple[State, ...] = ("absent", "present", "hedged", "unmentioned")
# What a state says of the latent: 1 present, 0 absent, -1 nothing.
SAID = np.array([0, 1, -1, -1], np.int8)

MENTIONED = 0.86
HEDGED = 0.10

_FRAMES = {
    "en": {
        "present": ("There is {}.", "{} is seen.", "Note is made of {}."),
        "absent": ("No {}.", "There is no evidence of {}.", "Without {}."),
        "hedged": ("Possible {}.", "{} cannot be excluded."),
    },
    "zh": {
        "present": ("可见{}。", "示{}。", "{}。"),
        "absent": ("未见{}。", "无{}。", "未见明显{}。"),
        "hedged": ("可疑{}。", "{}不除外。"),
    },
}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """What reports of one kind are made of: two openings and some padding in each language.

    Attributes:
        verdicts_en, verdicts_zh: What is concluded, from the least suspicious to the most; without
            them such reports conclude nothing.
    """

    findings: tuple[Finding, ...]
    opening_en: tuple[str, str]
    opening_zh: tuple[str, str]
    padding_en: tuple[str, ...]
    padding_zh: tuple[str, ...]
    verdicts_en: tuple[str, ...] = ()
    verdicts_zh: tuple[str, ...] = ()


def state(finding: Finding, latent: float, seen: float, mention: float, hedge: float) -> State:
    """What the reader writes of a finding, from three uniform numbers."""
    p = 1.0 / (1.0 + np.exp(-(finding.offset + finding.slope * latent)))
    if mention > MENTIONED:
        return "unmentioned"
    if hedge < HEDGED:
        return "hedged"
    return "present" if seen < p else "absent"


def states(
    findings: Sequence[Finding], latent: NDArray[np.float64], u: NDArray[np.float64]
) -> NDArray[np.int8]:
    """(n, F) indices into `STATES` from latents (n,) and uniform numbers (n, F, 3)."""
    offset = np.array([f.offset for f in findings])
    slope = np.array([f.slope for f in findings])
    p = 1.0 / (1.0 + np.exp(-(offset + slope * latent[:, None])))
    made = (u[..., 0] < p).astype(np.int8)
    made = np.where(u[..., 2] < HEDGED, np.int8(2), made)
    return np.where(u[..., 1] > MENTIONED, np.int8(3), made)


def text(
    grammar: Grammar, said: Sequence[State], language: Language, rng: np.random.Generator
) -> str:
    """An opening, the mentioned findings in any order, and ordinary organs."""
    frames = _FRAMES[language]
    sentences = []
    for finding, told in zip(grammar.findings, said, strict=True):
        words = finding.en if language == "en" else finding.zh
        word, pick = words[rng.integers(len(words))], rng.random()
        if told != "unmentioned":
            options = frames[told]
            sentence = options[int(pick * len(options))].format(word)
            sentences.append(sentence[0].upper() + sentence[1:])
    padding = grammar.padding_en if language == "en" else grammar.padding_zh
    sentences.extend(s for s in padding if rng.random() < 0.7)
    order = rng.permutation(len(sentences))
    openings = grammar.opening_en if language == "en" else grammar.opening_zh
    opening = openings[rng.integers(2)]
    glue = " " if language == "en" else ""
    return glue.join([opening, *(sentences[i] for i in order)])


def verdict(
    grammar: Grammar, said: Sequence[State], language: Language, rng: np.random.Generator
) -> str | None:
    """What the reader concludes of their own findings and a mood: it tells nothing beyond them."""
    verdicts = grammar.verdicts_en if language == "en" else grammar.verdicts_zh
    if not verdicts:
        return None
    worth = {"present": 1.0, "absent": -1.0, "hedged": 0.0, "unmentioned": 0.0}
    weighed = [f.slope * (worth[told] - np.tanh(f.offset / 2))
               for f, told in zip(grammar.findings, said, strict=True) if worth[told]]  # fmt: skip
    suspicion = float(np.mean(weighed)) if weighed else 0.0
    place = 1 / (1 + np.exp(-2 * (suspicion + 0.5 * rng.standard_normal())))
    return verdicts[min(int(place * len(verdicts)), len(verdicts) - 1)]


def log_likelihood(
    findings: Sequence[Finding], said: NDArray[np.int8], grid: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Give log p(states | report latent).

    Args:
        findings: Of the grammar.
        said: (n, findings) 1 present, 0 absent, -1 hedged or unmentioned.
        grid: (n, k) latent values.

    Returns:
        (n, k); hedged and unmentioned carry no information by construction.
    """
    total = np.zeros(grid.shape)
    for j, finding in enumerate(findings):
        eta = finding.offset + finding.slope * grid
        code = said[:, j, None]
        total += np.where(code == 1, -np.logaddexp(0, -eta), 0) + np.where(
            code == 0, -np.logaddexp(0, eta), 0
        )
    return total
