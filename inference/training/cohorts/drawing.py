"""Patients of a declared study, many at once: what is emitted of them, and what becomes of them.

One patient is a pure function of (study, seed, index, set). Everything emitted is drawn by
`emissions`, everything that happens by `events`; the two share the latents and the hospital and
nothing else, so that no code path leads from an outcome to what a hospital would hold.

Source: model-rules 8 (e, g, h); models.md 4.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from inference.training.cohorts import counter, narrative, outcome
from inference.training.cohorts.outcome import Events, Rate
from inference.training.cohorts.study import Assay, Measurement, Picture, Set, Study, rate_of

Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]
_SOLVING = 0x0C0F  # seed of the sample on which base rates are solved
_SAMPLE = 131_072


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A picture of n patients as sufficient statistics.

    Attributes:
        present: (n,) whether it was made.
        w: (n, K) components as the tissue has them.
        measured: (n, K) as the best reader of the picture would measure them.
        cov: (n, K, K) of that measurement, without biology.
    """

    present: NDArray[np.bool_]
    w: Doubles
    measured: Doubles
    cov: Doubles


@dataclass(frozen=True, slots=True, kw_only=True)
class Emitted:
    """What hospitals hold of n patients.

    Attributes:
        site: (n,) index into the study's sites.
        done: Panel to (n,) bool.
        numbers: Assay to (n,) values in the site's unit, rounded as sent; NaN where missing.
        scaled: Assay to (n,) the same on the assay's scale.
        graded: Graded finding to (n,) answer, -1 where missing.
        narratives: Report to (n, F) state of each finding, all -1 where missing.
        pictures: Picture to what it shows.
    """

    site: Indices
    done: Mapping[str, NDArray[np.bool_]]
    numbers: Mapping[str, Doubles]
    scaled: Mapping[str, Doubles]
    graded: Mapping[str, NDArray[np.int8]]
    narratives: Mapping[str, NDArray[np.int8]]
    pictures: Mapping[str, Shown]

    def digest(self) -> str:
        """SHA-256 over everything that leaves, in order of declaration; no latent is in it."""
        found = hashlib.sha256(self.site.tobytes())
        for part in (self.done, self.numbers, self.graded, self.narratives):
            for name, values in part.items():
                found.update(name.encode() + np.ascontiguousarray(values).tobytes())
        for name, shown in self.pictures.items():
            found.update(name.encode() + shown.present.tobytes())
            found.update(shown.measured.tobytes() + shown.cov.tobytes())
        return found.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """N patients of a study.

    Attributes:
        z: (n, d) latents: for auxiliary targets and the bound, never an input.
        eta: (C, n) predictor of each cause.
    """

    study: Study
    seed: int
    index: Indices
    which: Set
    z: Doubles
    eta: Doubles
    emitted: Emitted
    events: Events

    def __len__(self) -> int:
        return len(self.index)

    @property
    def label(self) -> NDArray[np.int64]:
        """(n,) whether the headline is recorded by the horizon, follow-up taken as endless."""
        return self.events.label(self.study.outcome.horizon_months)

    @property
    def risk(self) -> Doubles:
        """(n,) probability of `label` given latents and hospital."""
        return self.study.outcome.risk(self.eta)

    def rows(self, chosen: Indices | slice | NDArray[np.bool_]) -> Batch:
        """Some of the patients."""
        return replace(
            self,
            index=self.index[chosen],
            z=self.z[chosen],
            eta=self.eta[:, chosen],
            emitted=_rows(self.emitted, chosen),
            events=Events(**{f.name: getattr(self.events, f.name)[chosen] for f in fields(Events)}),
        )


def _rows(emitted: Emitted, chosen: Indices | slice | NDArray[np.bool_]) -> Emitted:
    def each(part: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        return {name: values[chosen] for name, values in part.items()}

    pictures = {
        name: Shown(**{f.name: getattr(shown, f.name)[chosen] for f in fields(Shown)})
        for name, shown in emitted.pictures.items()
    }
    kept = ("done", "numbers", "scaled", "graded", "narratives")
    parts: dict[str, dict[str, NDArray[np.generic]]] = {
        name: each(getattr(emitted, name)) for name in kept
    }
    # Each part keeps the type of its elements; choosing them by name hides that.
    return Emitted(site=emitted.site[chosen], pictures=pictures, **parts)  # type: ignore[arg-type]


def draw(
    study: Study,
    seed: int,
    index: Indices,
    which: Set = "internal",
    *,
    outcome_seed: int | None = None,
) -> Batch:
    """Patients of a study.

    Args:
        study: The declaration.
        seed: Of the cohort.
        index: (n,) numbers of the patients in it.
        which: The set, whose prevalences and habits they have.
        outcome_seed: Draw what becomes of the same patients anew; for tests of leakage.
    """
    z = latents(study, seed, index)
    site = (counter.uniforms(seed, index, "site", 1)[:, 0] * len(study.sites)).astype(np.int64)
    eta = predictor(study, which, z, shifts(study, which)[site])
    again = seed if outcome_seed is None else outcome_seed
    return Batch(
        study=study,
        seed=seed,
        index=index,
        which=which,
        z=z,
        eta=eta,
        emitted=emissions(study, seed, index, which, z, site),
        events=study.outcome.draw(eta, counter.uniforms(again, index, "outcome", 6)),
    )


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
    eta = _bare(study, latents(study, _SOLVING, index))
    eta[0] += shifts(study, "internal")[index % len(study.sites)]
    return outcome.intercepts(study.outcome, eta, rate)


def emissions(
    study: Study, seed: int, index: Indices, which: Set, z: Doubles, site: Indices
) -> Emitted:
    """What hospitals hold of patients with latents z (n, d)."""
    scaled, numbers = {}, {}
    for assay in study.assays:
        noise = counter.normals(seed, index, f"assay/{assay.name}", 1)[:, 0]
        clean = assay.mean + assay.slope * z[:, study.column(assay.latent)] + assay.noise * noise
        numbers[assay.name], scaled[assay.name] = _as_sent(study, assay, clean, site)
    graded = {}
    for question in study.graded:
        noise = counter.normals(seed, index, f"graded/{question.name}", 1)[:, 0]
        x = question.slope * z[:, study.column(question.latent)] + noise
        graded[question.name] = np.searchsorted(question.cuts, x).astype(np.int8)
    said = {}
    for report in study.narratives:
        count = len(report.grammar.findings)
        u = counter.uniforms(seed, index, f"narrative/{report.name}", 3 * count)
        latent = z[:, study.column(report.latent)]
        three = u.reshape(len(index), count, 3)
        said[report.name] = narrative.states(report.grammar.findings, latent, three)
    shown = {p.name: _shown(study, p, seed, index, z, site) for p in study.pictures}
    done = _done(study, seed, index, which, (z, site, scaled["age"]))
    made = Emitted(
        site=site,
        done=done,
        numbers=numbers,
        scaled=scaled,
        graded=graded,
        narratives=said,
        pictures=shown,
    )
    return _without_missing(study, made)


def _as_sent(study: Study, assay: Assay, clean: Doubles, site: Indices) -> tuple[Doubles, Doubles]:
    """Values rounded in each site's unit, and what they are worth on the assay's scale."""
    value = assay.value(clean)
    sent = np.empty_like(value)
    back = np.empty_like(value)
    for number, hospital in enumerate(study.sites):
        rows, unit = site == number, assay.unit(hospital.language)
        step = 10.0**-unit.decimals
        least = step if assay.scale == "log" else -np.inf
        rounded = np.maximum(np.round(value[rows] * unit.factor, unit.decimals), least)
        if assay.scale == "logit":
            # Whole years: somebody of 60 is 60.5 on the average.
            rounded = np.floor(value[rows] * unit.factor)
            back[rows] = assay.scaled((rounded + 0.5) / unit.factor)
        else:
            back[rows] = assay.scaled(rounded / unit.factor)
        sent[rows] = rounded
    return sent, back


def _shown(
    study: Study, picture: Picture, seed: int, index: Indices, z: Doubles, site: Indices
) -> Shown:
    """A picture's components, measured with the noise that is declared for it."""
    count, name = len(picture.components), picture.name
    of = [study.column(c.latent) for c in picture.components]
    biology = np.array([c.noise for c in picture.components])
    w = z[:, of] + biology * counter.normals(seed, index, f"biology/{name}", count)
    strength = np.array([s.scanner.noise_hu / 10 for s in study.sites])[site]
    sd = np.array([c.pixel_sd for c in picture.components]) * strength[:, None]
    measured = w + sd * counter.normals(seed, index, f"pixels/{name}", count)
    return Shown(
        present=np.ones(len(index), bool),
        w=w,
        measured=measured,
        cov=sd[:, :, None] ** 2 * np.eye(count),
    )


def _done(
    study: Study,
    seed: int,
    index: Indices,
    which: Set,
    known: tuple[Doubles, Indices, Doubles],
) -> dict[str, NDArray[np.bool_]]:
    """Which panels were done: at random given hospital and age, but for the stress set."""
    z, site, age = known
    habit = np.array([s.habit for s in study.sites])[site]
    old = np.tanh(age / 2) / 2  # where the logit of age stands between youngest and oldest
    made = {}
    for panel in study.panels:
        u = counter.uniforms(seed, index, f"panel/{panel.name}", 1)[:, 0]
        if panel.missing == 0:
            made[panel.name] = np.ones(len(index), bool)
            continue
        chance = panel.missing + habit + panel.by_age * old
        if which == "stress" and panel.mnar is not None:
            latent, slope = panel.mnar
            chance = chance + slope * z[:, study.column(latent)]
        made[panel.name] = u >= np.clip(chance, 0.02, 0.95)
    return made


def _without_missing(study: Study, made: Emitted) -> Emitted:
    """What was not done is not known."""

    def done(part: Measurement) -> NDArray[np.bool_]:
        return made.done[part.panel]

    return replace(
        made,
        numbers={a.name: np.where(done(a), made.numbers[a.name], np.nan) for a in study.assays},
        scaled={a.name: np.where(done(a), made.scaled[a.name], np.nan) for a in study.assays},
        graded={g.name: np.where(done(g), made.graded[g.name], np.int8(-1)) for g in study.graded},
        narratives={
            r.name: np.where(done(r)[:, None], made.narratives[r.name], np.int8(-1))
            for r in study.narratives
        },
        pictures={p.name: replace(made.pictures[p.name], present=done(p)) for p in study.pictures},
    )
