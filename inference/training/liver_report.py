"""The radiology report of the synthetic liver cohort: a noisy reader, in Chinese or English.

A reader looks at latent morphology and never sees the label; how sentences are made is in
`cohorts.narrative`. The patterns that a pack uses to read such reports are data of the pack
(`features.toml`), not imported from here.

Source: model-rules 8 (h); models.md 1.2 and 4.1.
"""

from __future__ import annotations

import numpy as np

from inference.training.cohorts import narrative
from inference.training.cohorts.narrative import Language, State
from inference.training.cohorts.studies.liver import REPORT

FINDINGS = REPORT.findings
_IMPRESSION = {"en": REPORT.verdicts_en, "zh": REPORT.verdicts_zh}


def states(report_latent: float, rng: np.random.Generator) -> tuple[State, ...]:
    """What the reader writes of each finding, in the order of `FINDINGS`."""
    u = rng.random((len(FINDINGS), 3))
    return tuple(
        narrative.state(finding, report_latent, *three)
        for finding, three in zip(FINDINGS, u, strict=True)
    )


def findings_text(said: tuple[State, ...], language: Language, rng: np.random.Generator) -> str:
    """The findings section: an opening, the mentioned findings in any order, ordinary organs."""
    return narrative.text(REPORT, said, language, rng)


def impression_text(suspicion: float, language: Language) -> str:
    """The reader's verdict, from latents only; a pack must strip it (it names the answer)."""
    index = 0 if suspicion < -0.5 else 2 if suspicion > 0.5 else 1
    return _IMPRESSION[language][index]


def log_likelihood(said_codes: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Give log p(states | report latent), (n, k), of codes (n, findings) at latents (n, k)."""
    return narrative.log_likelihood(FINDINGS, said_codes, grid)
