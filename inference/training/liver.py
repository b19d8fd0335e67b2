"""The synthetic liver cohort: one patient as a pure function of (seed, index).

One causal graph: site -> scanner, language, missingness, prevalence; five correlated latents
(wash-out, rim, tumour marker, liver function, report morphology) -> label and, each through noise
of its own, what the hospital would emit: labs, age, sex, a report, a CT. Nothing emitted is made
from the label. Wire formats are made of this in `workers.demo`.

This is `liver-cohort/1`, kept byte for byte because the shipped pack liver_dx 0.1.0 was trained on
it (`inference.training.train`). It knows malignant or benign from one CT; the generator of
the study is `liver-cohort/2`, the declaration `cohorts.studies.liver`.

Source: model-rules 8 (difficulty contract); models.md 4; feasibility.md, set 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from inference.training import liver_ct, liver_report
from inference.training.cohorts.narrative import Language, State
from inference.training.cohorts.volume import Render, Scanner

GENERATOR = "liver-cohort/1"
LATENTS = ("wash_out", "rim", "marker", "function", "report")
CORRELATION = 0.3
IMAGE_NOISE = 0.6  # biology between latent and what the lesion shows; well above pixel noise
INTERCEPT = 1.0
WEIGHTS = np.array([1.55, 0.8, 1.0, 0.35, 1.5])
INTERACTION_IMAGE = 0.35  # wash-out x rim
INTERACTION_LAB = 0.25  # marker x function
SQUARE_MARKER = 0.25
FLIPS = 0.02
PHASES = ("NC", "AP", "PV", "DL")


@dataclass(frozen=True, slots=True)
class Site:
    """What differs between hospitals."""

    name: str
    language: Language
    shift: float  # logit of prevalence
    scanner: Scanner
    missing_nc: float
    missing_dl: float
    missing_marker: float


SITES: tuple[Site, ...] = (
    Site("site-1", "zh", 0.75, Scanner(9.5, 0, 0.02, 3.0), 0.10, 0.20, 0.20),
    Site("site-2", "zh", 0.25, Scanner(11.0, 1, 0.02, 4.0), 0.20, 0.25, 0.30),
    Site("site-3", "en", -0.25, Scanner(10.0, 0, 0.03, 3.0), 0.15, 0.30, 0.25),
    Site("site-4", "en", -0.75, Scanner(12.5, 1, 0.03, 5.0), 0.25, 0.15, 0.35),
)


@dataclass(frozen=True, slots=True)
class Assay:
    """One lab: latent mean and noise on its own scale, and how each language's sites report it.

    Attributes:
        log: Whether the scale is the natural logarithm of the canonical value.
        latent: Index into `LATENTS`.
        units: Language -> (LOINC, UCUM unit, factor from canonical, decimals).
    """

    name: str
    mean: float
    slope: float
    noise: float
    log: bool
    latent: int
    optional: bool
    units: Mapping[Language, tuple[str, str, float, int]]


def _same(loinc: str, unit: str, decimals: int) -> dict[Language, tuple[str, str, float, int]]:
    return {"zh": (loinc, unit, 1.0, decimals), "en": (loinc, unit, 1.0, decimals)}


ASSAYS: tuple[Assay, ...] = (
    Assay("AFP", 2.9, 1.2, 1.15, True, 2, False, _same("1834-1", "ng/mL", 1)),
    Assay("DCP", 1.6, 0.9, 1.0, True, 2, True, _same("34444-0", "ng/mL", 2)),
    Assay("CA199", 3.2, 0.6, 0.9, True, 2, True, _same("24108-3", "U/mL", 1)),
    Assay(
        "ALB",
        4.05,
        -0.28,
        0.36,
        False,
        3,
        False,
        {"zh": ("1751-7", "g/L", 10.0, 1), "en": ("1751-7", "g/dL", 1.0, 2)},
    ),
    Assay(
        "TBIL",
        -0.15,
        0.25,
        0.38,
        True,
        3,
        False,
        {"zh": ("14631-6", "umol/L", 17.104, 1), "en": ("1975-2", "mg/dL", 1.0, 2)},
    ),
    Assay("ALT", 3.55, 0.20, 0.50, True, 3, False, _same("1742-6", "U/L", 0)),
    Assay("AST", 3.55, 0.28, 0.45, True, 3, False, _same("1920-8", "U/L", 0)),
    Assay(
        "PLT",
        5.2,
        -0.24,
        0.28,
        True,
        3,
        False,
        {"zh": ("777-3", "10*9/L", 1.0, 0), "en": ("777-3", "10*3/uL", 1.0, 0)},
    ),
    Assay("INR", 0.06, 0.05, 0.06, True, 3, False, _same("6301-6", "1", 2)),
)
AGE_MEAN, AGE_SLOPE, AGE_NOISE = 55.0, 4.5, 10.0
MALE_OFFSET, MALE_SLOPE = 0.6, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What only the generator knows; for auxiliary targets and the bound, never an input.

    Attributes:
        z: (5,) latents in the order of `LATENTS`.
        w: (2,) wash-out and rim as the lesion shows them.
        risk: P(malignant | z, site) before label noise.
        states: What the reader wrote of each finding.
        assay_scale: (9,) value of each assay on its own scale; NaN where missing.
    """

    z: NDArray[np.float64]
    w: NDArray[np.float64]
    risk: float
    states: tuple[State, ...]
    assay_scale: NDArray[np.float64]
    lesion: NDArray[np.bool_] | None = None
    measured: NDArray[np.float64] | None = None
    measured_cov: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticPatient:
    """One patient as values a wire can carry.

    Attributes:
        label: 1 malignant, 0 benign.
        labs: LOINC -> (value, UCUM unit).
        phases: Phases the study has, in channel order.
        ct: (4, 24, 48, 48) int16 HU; channels of absent phases are 0. None when not rendered.
    """

    seed: int
    index: int
    site: int
    language: Language
    age_years: int
    sex: Literal["male", "female"]
    labs: Mapping[str, tuple[Decimal, str]]
    findings: str
    impression: str
    phases: tuple[str, ...]
    ct: NDArray[np.int16] | None
    spacing_mm: tuple[float, float, float]
    label: int
    truth: Truth


_CHOLESKY = np.linalg.cholesky(np.full((5, 5), CORRELATION) + (1 - CORRELATION) * np.eye(5))


def logit(z: NDArray[np.float64], shift: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Logit of malignancy given latents (..., 5) and the site's shift."""
    made: NDArray[np.float64] = (
        INTERCEPT
        + shift
        + z @ WEIGHTS
        + INTERACTION_IMAGE * (z[..., 0] * z[..., 1] - CORRELATION)
        + INTERACTION_LAB * (z[..., 2] * z[..., 3] - CORRELATION)
        + SQUARE_MARKER * (z[..., 2] ** 2 - 1)
    )
    return made


def _labs(
    rng: np.random.Generator, z: NDArray[np.float64], site: Site, age: int
) -> tuple[dict[str, tuple[Decimal, str]], NDArray[np.float64]]:
    noise, gone = rng.standard_normal(len(ASSAYS)), rng.random(len(ASSAYS))
    labs: dict[str, tuple[Decimal, str]] = {}
    scale = np.full(len(ASSAYS), np.nan)
    # Missing at random: the site's habit and age decide who has the optional markers.
    missing = site.missing_marker + 0.004 * (age - 55)
    for i, assay in enumerate(ASSAYS):
        if assay.optional and gone[i] < missing:
            continue
        scale[i] = assay.mean + assay.slope * z[assay.latent] + assay.noise * noise[i]
        value = np.exp(scale[i]) if assay.log else max(scale[i], 1.0)
        loinc, unit, factor, decimals = assay.units[site.language]
        labs[loinc] = (Decimal(f"{value * factor:.{decimals}f}"), unit)
    return labs, scale


def _age_and_sex(rng: np.random.Generator, z: NDArray[np.float64]) -> tuple[int, bool]:
    """Age in whole years, 19 to 79, and whether male."""
    age = AGE_MEAN + AGE_SLOPE * z[3] + AGE_NOISE * rng.standard_normal()
    male = rng.random() < 1 / (1 + np.exp(-(MALE_OFFSET + MALE_SLOPE * z[3])))
    return int(np.clip(round(age), 19, 79)), bool(male)


def _phases(rng: np.random.Generator, site: Site) -> tuple[str, ...]:
    """Arterial and portal venous always; the others by the site's habit."""
    first, last = rng.random(2)
    away = {"NC": first < site.missing_nc, "DL": last < site.missing_dl}
    return tuple(p for p in PHASES if not away.get(p, False))


def _study(
    seed: int,
    index: int,
    w: NDArray[np.float64],
    site: Site,
    kept: tuple[str, ...],
    measure: bool,
    erased: bool,
) -> Render:
    """The rendered CT, channels of absent phases at 0."""
    channels = tuple(PHASES.index(p) for p in kept)
    made = liver_ct.render(
        np.random.default_rng([seed, index, 1]),
        float(w[0]),
        float(w[1]),
        site.scanner,
        measure=measure,
        phases=channels,
        erased=erased,
    )
    for c in set(range(len(PHASES))) - set(channels):
        made.ct[c] = 0
    return made


def patient(
    seed: int,
    index: int,
    *,
    render: bool = True,
    measure: bool = False,
    erased: bool = False,
    external: bool = False,
) -> SyntheticPatient:
    """One synthetic patient; the same arguments give the same bytes.

    Args:
        seed: Seed of the cohort.
        index: Number of the patient in it.
        render: Make the CT (about 12 ms); else `ct` is None.
        measure: Also fill `truth.measured` (another 12 ms), which the bound needs.
        erased: Render without the real lesion.
        external: The association of site and prevalence is reversed.
    """
    rng = np.random.default_rng([seed, index, 0])
    number = int(rng.integers(len(SITES)))
    site = SITES[number]
    z = _CHOLESKY @ rng.standard_normal(5)
    w = z[:2] + IMAGE_NOISE * rng.standard_normal(2)
    shift = -site.shift if external else site.shift
    risk = float(1 / (1 + np.exp(-logit(z, shift))))
    label = int(rng.random() < risk) ^ int(rng.random() < FLIPS)
    age, male = _age_and_sex(rng, z)
    labs, scale = _labs(rng, z, site, age)
    said = liver_report.states(z[4], rng)
    kept = _phases(rng, site)
    findings = liver_report.findings_text(said, site.language, rng)
    suspicion = float(z[0] + z[4] + rng.standard_normal())
    made = _study(seed, index, w, site, kept, measure, erased) if render else None
    return SyntheticPatient(
        seed=seed,
        index=index,
        site=number,
        language=site.language,
        age_years=age,
        sex="male" if male else "female",
        labs=labs,
        findings=findings,
        impression=liver_report.impression_text(suspicion, site.language),
        phases=kept,
        ct=made.ct if made else None,
        spacing_mm=liver_ct.SPACING_MM,
        label=label,
        truth=Truth(
            z=z,
            w=w,
            risk=risk,
            states=said,
            assay_scale=scale,
            lesion=made.lesion if made else None,
            measured=made.measured if made else None,
            measured_cov=made.measured_cov if made else None,
        ),
    )
