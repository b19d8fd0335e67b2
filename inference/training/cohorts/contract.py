"""The difficulty contract of a declared study, clause by clause, each with its figure.

Figures are expected over the label's own coin where the generator allows it (`expected`). What
needs voxels or tiles is judged on as many patients as are rendered for it; everything else on
sufficient statistics with the noise declared for them.

Source: model-rules 5 and 7 to 9, 18.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from inference.training import baselines
from inference.training.cohorts import drawing, expected, further, naive, persons, picture_clauses
from inference.training.cohorts.bound import bound, brute_force, disagreement
from inference.training.cohorts.drawing import Batch, draw
from inference.training.cohorts.picture_clauses import Made
from inference.training.cohorts.study import SETS, Study, rate_of
from inference.training.contract import Clause

Doubles = NDArray[np.float64]
# Sets of one check share no patient.
_APART = 100_000_000
_SUBSETS_OF = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much a check spends.

    Attributes:
        n: Patients of each set.
        rendered: Of these, how many get pictures.
        draws: Of each scramble of the bound.
        brute: Patients whose bound is done again by brute force.
    """

    n: int
    rendered: int
    draws: int = 128
    brute: int = 40


def cohort(study: Study, seed: int, number: int, n: int) -> Batch:
    """The set of this number (in `SETS`), patients that no other set has."""
    return draw(study, seed, _APART * (number + 1) + np.arange(n), SETS[number])


def clauses(study: Study, seed: int, effort: Effort) -> Iterator[Clause]:
    """Every clause, in order."""
    batch = cohort(study, seed, 0, effort.n)
    full = _full(study)
    best = bound(batch, full, draws=effort.draws, scrambles=8)
    at_best = expected.figure(batch, best.risk)
    yield _first(batch, at_best, [expected.figure(batch, s) for s in best.scrambles])
    yield from _added(batch, at_best, effort.draws)
    some, made = picture_clauses.rendered(cohort(study, seed, 0, effort.rendered))
    for picture in study.pictures:
        yield picture_clauses.share_recovered(some, picture, made[picture.name])
    yield from picture_clauses.lesions(study, made)
    yield _site(batch, cohort(study, seed, 1, effort.n))
    yield _shape(batch)
    yield from _missing(batch, cohort(study, seed, 2, effort.n))
    yield from _unread(batch)
    yield picture_clauses.disturbed(batch, made)
    yield from _rates(study, seed, effort)
    yield _brute(batch.rows(slice(0, effort.brute)))
    yield _as_declared(some, effort.draws)
    yield from further.clauses(batch, effort.draws, effort.brute)
    yield _subsets(batch.rows(slice(0, _SUBSETS_OF)))
    yield _naive(batch, best.risk, (some, made))


def _full(study: Study) -> frozenset[str]:
    return frozenset(study.modalities)


def _first(batch: Batch, at_best: float, scrambles: list[float]) -> Clause:
    study, (low, high) = batch.study, batch.study.bar
    what = "C-index" if study.concordance else f"AUC at {study.outcome.horizon_months:g} months"
    own = float(np.std(scrambles, ddof=1) / np.sqrt(len(scrambles)))
    oracle = expected.figure(batch, batch.risk)
    return Clause(
        "a",
        f"full Bayes {what} {at_best:.3f}, its own error {own:.5f} (latent oracle {oracle:.3f}, "
        f"event rate {batch.label.mean():.3f})",
        f"{low:.2f} to {high:.2f}",
        low <= at_best <= high,
    )


def _added(batch: Batch, at_best: float, draws: int) -> Iterator[Clause]:
    study, full = batch.study, _full(batch.study)

    def without(*names: str) -> float:
        return expected.figure(batch, bound(batch, full - set(names), draws=draws).risk)

    for name in study.judged:
        gain = at_best - without(name)
        yield Clause("b", f"{name} adds {gain:.3f}", "at least 0.03", gain >= 0.03)
    below = at_best - without(*(full - study.tabular))
    yield Clause("b", f"tabular alone is {below:.3f} below", "at least 0.05", below >= 0.05)
    places = frozenset(c.name for p in study.pictures for c in p.components if c.spatial)
    if places:
        blind = bound(batch, full, draws=draws, blind=places).risk
        gain = at_best - expected.figure(batch, blind)
        yield Clause(
            "b",
            f"places on the slide add {gain:.3f}",
            f"at least {study.places:.2f}",
            gain >= study.places,
        )


def _site(batch: Batch, outside: Batch) -> Clause:
    rate = np.array([batch.label[batch.emitted.site == s].mean() for s in _sites(batch)])
    here = expected.auc(batch.risk, rate[batch.emitted.site])
    there = expected.auc(outside.risk, rate[outside.emitted.site])
    return Clause(
        "e",
        f"site alone {here:.3f}, external {there:.3f}",
        "0.55 to 0.65, reversed outside",
        0.55 <= here <= 0.65 and there < 0.5,
    )


def _sites(batch: Batch) -> range:
    return range(len(batch.study.sites))


def _shape(batch: Batch) -> Clause:
    terms = batch.study.outcome.predictors[0]
    # Of everybody: in a cohort that leaves some out, the latents of the others are less alike.
    z = persons.latents(batch.study, batch.seed, batch.index)
    away = np.asarray(np.corrcoef(z.T))[np.triu_indices(z.shape[1], 1)]
    # Of the declaration; the sample is printed and may stray by its own error.
    declared = 0.2 <= batch.study.correlation <= 0.5
    stray = 4 / np.sqrt(len(batch))
    return Clause(
        "f",
        f"{len(terms.interactions)} interactions, {len(terms.squares)} squares, correlation of "
        f"latents {away.min():.2f} to {away.max():.2f}",
        "one each, 0.2 to 0.5",
        bool(terms.interactions)
        and bool(terms.squares)
        and declared
        and bool(np.abs(away - batch.study.correlation).max() <= stray),
    )


def _missing(batch: Batch, stress: Batch) -> Iterator[Clause]:
    optional = [p for p in batch.study.panels if p.missing > 0]
    share = {p.name: float(1 - batch.emitted.done[p.name].mean()) for p in optional}
    yield Clause(
        "g",
        "missing at random: " + ", ".join(f"{k} {v:.2f}" for k, v in share.items()),
        "0.15 to 0.40 each",
        bool(share) and all(0.15 <= v <= 0.40 for v in share.values()),
    )
    here = {p.name: _selected(batch, *p.mnar, p.name) for p in optional if p.mnar}
    there = {p.name: _selected(stress, *p.mnar, p.name) for p in optional if p.mnar}
    told = ", ".join(f"{k} {here[k]:+.2f} / {there[k]:+.2f}" for k in here)
    # Age is known and moves both: what it explains may stay, and the sample's own error.
    stray = 0.12 + 3 / np.sqrt(len(batch) * 0.2)
    yield Clause(
        "g",
        f"latent of patients without the panel, internal / stress: {told}",
        "near 0 inside, beyond 0.25 in the stress set",
        bool(here)
        and all(abs(v) <= stray for v in here.values())
        and all(abs(v) >= 0.25 for v in there.values()),
    )


def _selected(batch: Batch, latent: str, slope: float, panel: str) -> float:
    """Difference of a latent between those without a panel and those with it."""
    del slope
    value, done = batch.z[:, batch.study.column(latent)], batch.emitted.done[panel]
    return float(value[~done].mean() - value[done].mean())


def _unread(batch: Batch) -> Iterator[Clause]:
    few = batch.rows(slice(0, 500))
    again = draw(few.study, few.seed, few.index, few.which, outcome_seed=few.seed + 1)
    same = again.emitted.digest() == few.emitted.digest()
    moved = float((again.events.months != few.events.months).mean())
    yield Clause(
        "h",
        f"other outcomes for {moved:.2f} of the same patients, everything emitted "
        + ("the same, byte for byte" if same else "differs"),
        "the same",
        same and moved > 0.1,
    )
    strongest = _leak(batch)
    yield Clause(
        "h",
        f"noise of assays and pictures against the label's residual: |z| at most {strongest:.1f}",
        "at most 4",
        strongest <= 4,
    )


def _leak(batch: Batch) -> float:
    """Greatest |correlation| of a measurement's own noise with label - risk, in its own error."""
    study, emitted = batch.study, batch.emitted
    residual = batch.label - batch.risk
    noises = [
        emitted.scaled[a.name] - a.mean - a.slope * batch.z[:, study.column(a.latent)]
        for a in study.assays
    ]
    for picture in study.pictures:
        shown = emitted.pictures[picture.name]
        for k, component in enumerate(picture.components):
            away = shown.measured[:, k] - batch.z[:, study.column(component.latent)]
            noises.append(np.where(shown.present, away, np.nan))
    found = []
    for noise in noises:
        seen = ~np.isnan(noise)
        r = np.corrcoef(noise[seen], residual[seen])[0, 1]
        found.append(abs(r) * np.sqrt(seen.sum()))
    return float(max(found))


def _rates(study: Study, seed: int, effort: Effort) -> Iterator[Clause]:
    """Base rates are parameters: the natural-prevalence sets have the declared ones."""
    told, holds = [], True
    for number, which in enumerate(SETS):
        if not which.startswith("natural"):
            continue
        batch = cohort(study, seed, number, effort.n)
        wanted = sum(study.outcome.targets(rate_of(which))[: study.headline_causes])
        each = study.outcome.incidence(batch.eta)[: study.headline_causes].sum(0)
        found, stray = float(each.mean()), float(each.std() / np.sqrt(len(each)))
        risk = bound(batch, _full(study), draws=64).risk
        told.append(f"{found:.4f} (AUC {expected.auc(batch.risk, risk):.3f})")
        # The intercepts are solved on a sample of their own, to some per cent.
        holds = holds and abs(found - wanted) <= 4 * stray + 0.04 * wanted
    low, mid, high = study.outcome.natural
    yield Clause(
        "rates", "natural prevalence " + ", ".join(told), f"{low:g}, {mid:g}, {high:g}", holds
    )


def _brute(few: Batch) -> Clause:
    full = _full(few.study)
    away = disagreement(bound(few, full, draws=512), brute_force(few, full))
    rms = float(np.sqrt((away**2).mean()))
    return Clause(
        "bound",
        f"against brute force on 100,000 draws, {len(few)} patients: rms {rms:.2f}, at most "
        f"{np.abs(away).max():.1f} standard errors",
        "rms at most 1.4, none beyond 5",
        rms <= 1.4 and bool(np.abs(away).max() <= 5),
    )


def _as_declared(some: Batch, draws: int) -> Clause:
    """Bound of rendered pictures against that of the noise declared for them."""
    full = _full(some.study)
    plain = drawing.draw(some.study, some.seed, some.index, some.which)
    seen = expected.figure(some, bound(some, full, draws=draws).risk)
    said = expected.figure(plain, bound(plain, full, draws=draws).risk)
    return Clause(
        "bound",
        f"with the pictures as rendered {seen:.3f}, with the noise declared for them {said:.3f}, "
        f"n {len(some)}",
        "within 0.02",
        abs(seen - said) <= 0.02,
    )


def subsets(batch: Batch, draws: int = 32) -> dict[tuple[str, ...], tuple[float, float]]:
    """Every set of modalities, the empty one first, to (figure of its bound, its own error)."""
    made = {}
    names = batch.study.modalities
    for count in range(len(names) + 1):
        for given in combinations(names, count):
            one = bound(batch, frozenset(given), draws=draws)
            each = [expected.figure(batch, s) for s in one.scrambles]
            own = float(np.std(each, ddof=1) / np.sqrt(len(each)))
            made[given] = (expected.figure(batch, one.risk), own)
    return made


def _subsets(few: Batch) -> Clause:
    """The bound of every subset; a profile, such as PRE or POST, by its own name."""
    found = subsets(few)
    profiles = {p.modalities: p.name for p in few.study.profiles}

    def named(given: tuple[str, ...]) -> str:
        words = " + ".join(given) or "age, sex and site"
        profile = profiles.get(frozenset(given))
        return f"{profile} ({words})" if profile else words

    told = ", ".join(f"{named(g)} {value:.3f}" for g, (value, _own) in found.items())
    worst = max(own for _value, own in found.values())
    full = found[few.study.modalities][0]
    return Clause(
        "bound",
        f"by what is there, n {len(few)}: {told}; own error at most {worst:.4f}",
        "no subset above all of it, own error at most 0.005",
        worst <= 0.005 and max(value for value, _own in found.values()) <= full + 2 * worst,
    )


def _naive(batch: Batch, best: Doubles, pictured: tuple[Batch, Made]) -> Clause:
    half = len(batch) // 2
    train, test = batch.rows(slice(0, half)), batch.rows(slice(half, None))
    at_best = expected.figure(test, best[half:])
    found = {k: expected.figure(test, v) for k, v in naive.scores(train, test).items()}
    some, made = pictured
    seen = [
        np.stack([picture_clauses.kept(p, m) for m in made[p.name]]) for p in some.study.pictures
    ]
    table, part = np.concatenate([naive.columns(some), *seen], 1), len(some) // 2
    score = baselines.boosted(table[:part], some.label[:part], table[part:])
    with_pictures = expected.figure(some.rows(slice(part, None)), score)
    told = ", ".join(f"{k} {v:.3f}" for k, v in found.items())
    told += f", tabular + 30 global picture statistics, boosting {with_pictures:.3f} (n {part})"
    return Clause(
        "naive",
        told,
        f"all below the bound, {at_best:.3f}",
        max(*found.values(), with_pictures) < at_best,
    )
