"""Who the patients are before anything is emitted of them: persons, hospitals, latents, predictors.

Source: model-rules 3, 7 and 8 (e, f); models.md 4.1.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from inference.training.cohorts import counter, outcome
from inference.training.cohorts.errors import BadDeclaration
from inference.training.cohorts.outcome import Rate
from inference.training.cohorts.prognosis import Prognosis
from inference.training.cohorts.study import Set, Study, rate_of

Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]
_SOLVING = 0x0C0F  # seed of the sample on which base rates are solved
_SAMPLE = 131_072
_NEXT_IN_LINE = 1 << 40  # beyond every number that a cohort gives its patients


def stream(study: Study) -> str:
    """Of what happens; who is left out of a cohort was decided by the first."""
    return "outcome" if study.free_of is None else "outcome/later"


def members(study: Study, seed: int, index: Indices, which: Set) -> Indices:
    """(n,) which persons the patients of a cohort are: of each one's line, the first who is in it.

    Person `index` of the study that decides is person `index` here, unless left out.
    """
    found, other = np.array(index), study.free_of
    if other is None:
        return found
    left = np.arange(len(found))
    while len(left):
        person = found[left]
        shift = shifts(other, which)[sites(other, seed, person)]
        eta = predictor(other, which, latents(other, seed, person), shift)
        now = other.outcome.draw(eta, counter.uniforms(seed, person, stream(other), 6))
        left = left[now.label(other.outcome.horizon_months) == 1]
        found[left] += _NEXT_IN_LINE
    return found


def kept(study: Study, which: Set, z: Doubles, site: Indices) -> Doubles | None:
    """(...) probability of not being left out of the cohort; None where nobody is.

    Args:
        study: Whose cohort it is.
        which: The set.
        z: (..., d) latents.
        site: Hospitals, of a shape that broadcasts to (...).
    """
    other = study.free_of
    if other is None:
        return None
    return 1 - other.outcome.risk(predictor(other, which, z, shifts(other, which)[site]))


def sites(study: Study, seed: int, index: Indices) -> Indices:
    """(n,) index into the study's sites."""
    return (counter.uniforms(seed, index, "site", 1)[:, 0] * len(study.sites)).astype(np.int64)


def latents(study: Study, seed: int, index: Indices) -> Doubles:
    """(n, d) correlated standard normal numbers."""
    d = len(study.latents)
    free = counter.normals(seed, index, "latents", d)
    root = np.linalg.cholesky(correlations(study))
    # Sums by hand: a matrix product may round otherwise for one patient than for many.
    columns = [sum(root[k, j] * free[:, j] for j in range(k + 1)) for k in range(d)]
    return np.stack([np.asarray(c) for c in columns], 1)


def correlations(study: Study) -> Doubles:
    """(d, d)."""
    d = len(study.latents)
    made: Doubles = np.full((d, d), study.correlation) + (1 - study.correlation) * np.eye(d)
    return made


def shifts(study: Study, which: Set) -> Doubles:
    """(sites,) what a hospital adds to the headline's predictor; turned round outside."""
    sign = -1.0 if which == "external" else 1.0
    return sign * np.array([s.shift for s in study.sites])


def predictor(study: Study, which: Set, z: Doubles, shift: Doubles) -> Doubles:
    """(C, ...) of latents (..., d) and shifts that broadcast to (...)."""
    made = _bare(study, z)
    made[0] += shift
    constant = base(study, rate_of(which))
    return made + constant.reshape(-1, *[1] * (made.ndim - 1))


def _bare(study: Study, z: Doubles) -> Doubles:
    parts = [t.value(study.latents, study.correlation, z) for t in study.outcome.predictors]
    return np.stack(parts)


@lru_cache(maxsize=64)
def base(study: Study, rate: Rate) -> Doubles:
    """(C,) intercepts that give the declared shares over all hospitals."""
    index = np.arange(_SAMPLE)
    z = latents(study, _SOLVING, index)
    site = index % len(study.sites)
    eta = _bare(study, z)
    eta[0] += shifts(study, "internal")[site]
    there = kept(study, "internal" if rate == "development" else rate, z, site)
    return outcome.intercepts(study.outcome, eta, rate, there)


def hazards(study: Study, z: Doubles) -> Doubles:
    """(2, ...) predictors of progression and of death after the operation, of latents (..., d)."""
    made = _later(study, z)
    return made + _of_hazards(study).reshape(-1, *[1] * (z.ndim - 1))


def _later(study: Study, z: Doubles) -> Doubles:
    terms = prognosis_of(study).predictors
    return np.stack([t.value(study.latents, study.correlation, z) for t in terms])


def prognosis_of(study: Study) -> Prognosis:
    """What the study says of the time after the operation.

    Raises:
        BadDeclaration: It asks for nothing of it.
    """
    if study.prognosis is None:
        raise BadDeclaration(study.name, "prognosis", "one that is declared")
    return study.prognosis


@lru_cache(maxsize=8)
def _of_hazards(study: Study) -> Doubles:
    """(2,) intercepts that give the declared shares among those with the diagnosis."""
    index = np.arange(_SAMPLE)
    z = latents(study, _SOLVING, index)
    shift = shifts(study, "internal")[index % len(study.sites)]
    ill = study.outcome.incidence(predictor(study, "internal", z, shift))
    return prognosis_of(study).intercepts(_later(study, z), ill[: study.headline_causes].sum(0))
