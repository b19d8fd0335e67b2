"""The Bayes bound of the synthetic liver cohort: E[label | what the renderer emitted].

Gaussian measurements (lesion, labs, age) give a Gaussian posterior of the five latents in closed
form; report, sex and the label's non-linear terms are then integrated by quasi-Monte Carlo. The
pixel likelihood is replaced by the generator's sufficient statistics in known noise (place,
distractors, motion, gain and the hospital taken as known), so this is an upper bound.

Source: model-rules 9.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, qmc

from inference.training import liver, liver_report

Floats = NDArray[np.float64]
MODALITIES = ("ct", "labs", "text")  # age and sex are always there
_STATE = {"present": 1, "absent": 0, "hedged": -1, "unmentioned": -1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """What was emitted of n patients, as sufficient statistics.

    Attributes:
        lesion: (n, 2) and lesion_cov (n, 2, 2): wash-out and rim with pixel noise.
        assays: (n, 9) on each assay's scale, NaN where missing.
        age: (n,) years; male: (n,) bool; said: (n, findings) 1, 0 or -1; shift: (n,) of the site.
    """

    lesion: Floats
    lesion_cov: Floats
    assays: Floats
    age: Floats
    male: NDArray[np.bool_]
    said: NDArray[np.int8]
    shift: Floats

    def __len__(self) -> int:
        return len(self.age)

    def part(self, rows: slice) -> Measurements:
        """Some of the patients."""
        return Measurements(**{name: getattr(self, name)[rows] for name in self.__slots__})


def measurements(
    patients: Sequence[liver.SyntheticPatient], *, external: bool = False
) -> Measurements:
    """Collect the statistics of patients that were made with `measure=True`."""
    nan2, nan22 = np.full(2, np.nan), np.full((2, 2), np.nan)
    sign = -1.0 if external else 1.0
    truths = [p.truth for p in patients]
    return Measurements(
        lesion=np.array([nan2 if t.measured is None else t.measured for t in truths]),
        lesion_cov=np.array([nan22 if t.measured_cov is None else t.measured_cov for t in truths]),
        assays=np.array([t.assay_scale for t in truths]),
        age=np.array([p.age_years for p in patients], float),
        male=np.array([p.sex == "male" for p in patients]),
        said=np.array([[_STATE[s] for s in t.states] for t in truths], np.int8),
        shift=np.array([sign * liver.SITES[p.site].shift for p in patients]),
    )


def _gaussian(
    m: Measurements, given: frozenset[str], *, demographics: bool
) -> tuple[Floats, Floats]:
    """Posterior mean (n, 5) and covariance (n, 5, 5) from the Gaussian measurements."""
    n = len(m)
    prior = np.linalg.inv(np.full((5, 5), liver.CORRELATION) + (1 - liver.CORRELATION) * np.eye(5))
    precision = np.broadcast_to(prior, (n, 5, 5)).copy()
    pull = np.zeros((n, 5))
    if "ct" in given:
        weight = np.linalg.inv(m.lesion_cov + liver.IMAGE_NOISE**2 * np.eye(2))
        precision[:, :2, :2] += weight
        pull[:, :2] += np.einsum("nij,nj->ni", weight, m.lesion)
    if "labs" in given:
        for i, assay in enumerate(liver.ASSAYS):
            seen = ~np.isnan(m.assays[:, i])
            gain = np.where(seen, assay.slope / assay.noise**2, 0)
            precision[:, assay.latent, assay.latent] += gain * assay.slope
            pull[:, assay.latent] += gain * np.where(seen, m.assays[:, i] - assay.mean, 0)
    of_age = liver.AGE_SLOPE / liver.AGE_NOISE**2 * demographics
    precision[:, 3, 3] += of_age * liver.AGE_SLOPE
    pull[:, 3] += of_age * (m.age - liver.AGE_MEAN)
    cov = np.linalg.inv(precision)
    return np.einsum("nij,nj->ni", cov, pull), cov


def _weighted(m: Measurements, given: frozenset[str], z: Floats, *, demographics: bool) -> Floats:
    """P(label = 1) from draws z (n, k, 5) of the Gaussian posterior."""
    eta = (liver.MALE_OFFSET + liver.MALE_SLOPE * z[..., 3]) * demographics
    log_weight = -np.logaddexp(0, np.where(m.male[:, None], -eta, eta))
    if "text" in given:
        log_weight += liver_report.log_likelihood(m.said, z[..., 4])
    weight = np.exp(log_weight - log_weight.max(1, keepdims=True))
    p = 1 / (1 + np.exp(-liver.logit(z, m.shift[:, None])))
    p = liver.FLIPS + (1 - 2 * liver.FLIPS) * p
    made: Floats = (weight * p).sum(1) / weight.sum(1)
    return made


def probability(
    m: Measurements,
    given: frozenset[str],
    *,
    draws: int = 1024,
    chunk: int = 500,
    demographics: bool = True,
    seed: int = 7,
) -> Floats:
    """E[label | site, the given modalities, and age and sex unless left out], (n,)."""
    unit = norm.ppf(qmc.Sobol(5, seed=seed).random(draws))
    out = np.empty(len(m))
    for start in range(0, len(m), chunk):
        rows = slice(start, min(start + chunk, len(m)))
        part = m.part(rows)
        mean, cov = _gaussian(part, given, demographics=demographics)
        z = mean[:, None, :] + unit @ np.swapaxes(np.linalg.cholesky(cov), 1, 2)
        out[rows] = _weighted(part, given, z, demographics=demographics)
    return out


def brute_force(
    m: Measurements, given: frozenset[str], *, draws: int = 100_000, seed: int = 5
) -> Floats:
    """The same by weighting draws of the prior with every likelihood: slow, no algebra shared."""
    rng = np.random.default_rng(seed)
    z = (
        rng.standard_normal((draws, 5))
        @ np.linalg.cholesky(
            np.full((5, 5), liver.CORRELATION) + (1 - liver.CORRELATION) * np.eye(5)
        ).T
    )
    out = np.empty(len(m))
    for row in range(len(m)):
        one = m.part(slice(row, row + 1))
        log_weight = (
            -0.5
            * ((one.age[0] - liver.AGE_MEAN - liver.AGE_SLOPE * z[:, 3]) / liver.AGE_NOISE) ** 2
        )
        if "ct" in given:
            cov = one.lesion_cov[0] + liver.IMAGE_NOISE**2 * np.eye(2)
            away = one.lesion[0] - z[:, :2]
            log_weight += -0.5 * np.einsum("ki,ij,kj->k", away, np.linalg.inv(cov), away)
        if "labs" in given:
            for i, assay in enumerate(liver.ASSAYS):
                if not np.isnan(one.assays[0, i]):
                    away = one.assays[0, i] - assay.mean - assay.slope * z[:, assay.latent]
                    log_weight += -0.5 * (away / assay.noise) ** 2
        eta = liver.MALE_OFFSET + liver.MALE_SLOPE * z[:, 3]
        log_weight += -np.logaddexp(0, -eta if one.male[0] else eta)
        if "text" in given:
            log_weight += liver_report.log_likelihood(one.said, z[None, :, 4])[0]
        weight = np.exp(log_weight - log_weight.max())
        p = 1 / (1 + np.exp(-liver.logit(z, float(one.shift[0]))))
        out[row] = (weight * (liver.FLIPS + (1 - 2 * liver.FLIPS) * p)).sum() / weight.sum()
    return out
