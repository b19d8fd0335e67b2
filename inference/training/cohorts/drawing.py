"""Patients of a declared study, many at once: what is emitted of them, and what becomes of them.

One patient is a pure function of (study, seed, index, set). Everything emitted is drawn by
`emissions`, everything that happens by `events`; the two share the latents and the hospital and
nothing else, so that no code path leads from an outcome to what a hospital would hold.

Source: model-rules 3 and 8 (e, g, h); models.md 4.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from inference.training.cohorts import ages, counter, narrative
from inference.training.cohorts.outcome import Events
from inference.training.cohorts.persons import (
    hazards,
    latents,
    members,
    predictor,
    shifts,
    sites,
    stream,
)
from inference.training.cohorts.prognosis import Course
from inference.training.cohorts.study import Assay, Measurement, Picture, Set, Study

Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]
_Part = TypeVar("_Part", bound="Shown | Events | Course")


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
        scaled: Assay to (n,) the same on the assay's scale, less what age and sex explain.
        graded: Graded finding to (n,) answer, -1 where missing.
        narratives: Report to (n, F) state of each finding, all -1 where missing.
        pictures: Picture to what it shows.
        index_day: (n,) day of the accrual period that is the index.
        earlier: (n,) days by which all of it lies before what is declared for the index.
    """

    site: Indices
    index_day: Indices
    earlier: Indices
    done: Mapping[str, NDArray[np.bool_]]
    numbers: Mapping[str, Doubles]
    scaled: Mapping[str, Doubles]
    graded: Mapping[str, NDArray[np.int8]]
    narratives: Mapping[str, NDArray[np.int8]]
    pictures: Mapping[str, Shown]

    def digest(self) -> str:
        """SHA-256 over everything that leaves, in order of declaration; no latent is in it."""
        found = hashlib.sha256(self.site.tobytes())
        found.update(self.index_day.tobytes() + self.earlier.tobytes())
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
        course: What followed the operation, where the study asks for it.
    """

    study: Study
    seed: int
    index: Indices
    which: Set
    z: Doubles
    eta: Doubles
    emitted: Emitted
    events: Events
    course: Course | None = None

    def __len__(self) -> int:
        return len(self.index)

    @property
    def label(self) -> NDArray[np.int64]:
        """(n,) whether the headline is recorded by the horizon, follow-up taken as endless."""
        return self.events.label(self.study.outcome.horizon_months, self.study.headline_causes)

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
            events=_each(self.events, chosen),
            course=_each(self.course, chosen) if self.course else None,
        )


def _each(part: _Part, chosen: Indices | slice | NDArray[np.bool_]) -> _Part:
    """Some of the patients of a dataclass of arrays."""
    return type(part)(**{f.name: getattr(part, f.name)[chosen] for f in fields(part)})


def _rows(emitted: Emitted, chosen: Indices | slice | NDArray[np.bool_]) -> Emitted:
    def each(part: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        return {name: values[chosen] for name, values in part.items()}

    pictures = {name: _each(shown, chosen) for name, shown in emitted.pictures.items()}
    kept = ("done", "numbers", "scaled", "graded", "narratives")
    parts: dict[str, dict[str, NDArray[np.generic]]] = {
        name: each(getattr(emitted, name)) for name in kept
    }
    # Each part keeps the type of its elements; choosing them by name hides that.
    days = {name: getattr(emitted, name)[chosen] for name in ("site", "index_day", "earlier")}
    return Emitted(pictures=pictures, **days, **parts)  # type: ignore[arg-type]


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
    person = members(study, seed, index, which)
    z, site = latents(study, seed, person), sites(study, seed, person)
    eta = predictor(study, which, z, shifts(study, which)[site])
    again = seed if outcome_seed is None else outcome_seed
    events = study.outcome.draw(eta, counter.uniforms(again, person, stream(study), 6))
    return Batch(
        study=study,
        seed=seed,
        index=index,
        which=which,
        z=z,
        eta=eta,
        emitted=emissions(study, seed, person, which, z, site),
        events=events,
        course=_course(study, again, person, z, events),
    )


def _course(study: Study, seed: int, index: Indices, z: Doubles, events: Events) -> Course | None:
    """Those are operated on who have the diagnosis and are told so."""
    if study.prognosis is None:
        return None
    diagnosed = (events.cause > 0) & (events.recorded_cause > 0)
    u = counter.uniforms(seed, index, "prognosis", 5)
    return study.prognosis.draw(hazards(study, z), diagnosed, u)


def emissions(
    study: Study, seed: int, index: Indices, which: Set, z: Doubles, site: Indices
) -> Emitted:
    """What hospitals hold of patients with latents z (n, d)."""
    graded = {}
    for question in study.graded:
        noise = counter.normals(seed, index, f"graded/{question.name}", 1)[:, 0]
        x = question.slope * z[:, study.column(question.latent)] + noise
        graded[question.name] = np.searchsorted(question.cuts, x).astype(np.int8)
    scaled: dict[str, Doubles] = {}
    numbers: dict[str, Doubles] = {}
    for assay in study.assays:
        noise = counter.normals(seed, index, f"assay/{assay.name}", 1)[:, 0]
        clean = assay.mean + assay.slope * z[:, study.column(assay.latent)] + assay.noise * noise
        usual = _usual(assay, numbers, graded)
        sent, back = _as_sent(study, assay, clean + usual, site)
        numbers[assay.name], scaled[assay.name] = sent, back - usual
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
        index_day=ages.index_day(seed, index),
        earlier=ages.earlier(seed, index, study.gap_days, study.wait_days),
    )
    return _without_missing(study, made)


def _usual(
    assay: Assay, numbers: Mapping[str, Doubles], graded: Mapping[str, NDArray[np.int8]]
) -> Doubles | float:
    """What age and sex add to an assay's mean."""
    if not assay.by_age:
        return 0.0
    years = numbers["age"].astype(np.int64)
    made: Doubles = ages.medians(assay.en.loinc)[years, graded["sex"]]
    return made


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
        if panel.unless is not None:
            made[panel.name] |= ~made[panel.unless]
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
