"""The Bayes bound of a declared study: the risk given everything emitted, with its own error.

Gaussian measurements (assays, age, pictures) give a Gaussian posterior of the latents in closed
form; graded findings and reports weight draws of it, by randomised quasi-Monte Carlo, and the
outcome's closed-form risk is averaged. The spread over scrambles is the bound's own error. The
pixel likelihood is replaced by the generator's sufficient statistics in known noise (place,
distractors, motion, gain, tags and the hospital taken as known), so this is an upper bound. It
takes what is missing as missing at random, which the stress set is not.

Source: model-rules 9.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats
from scipy.stats import qmc

from inference.training.cohorts import narrative, persons
from inference.training.cohorts.drawing import Batch
from inference.training.cohorts.outcome import Events
from inference.training.cohorts.study import DEMOGRAPHICS, Graded, Picture, Study

Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Question:
    """Something that is true or not of those patients whom it is asked of.

    Attributes:
        name: For people.
        true: (...) probability, given latents z (..., d) and predictors eta (C, ...), that it is
            asked of a patient and true; None of `asked` is asked of everybody.
        asked: The probability that it is asked.
        lived: Whether it is true and whether it is asked of those who lived, (n,) each, from what
            happened to them, their latents and random numbers: for brute force, apart from `true`.
    """

    name: str
    true: Callable[[Study, Doubles, Doubles], Doubles]
    asked: Callable[[Study, Doubles, Doubles], Doubles] | None
    lived: Callable[[Study, Events, Doubles, np.random.Generator], tuple[Bools, Bools]]


def _recorded(
    study: Study, events: Events, z: Doubles, _rng: np.random.Generator
) -> tuple[Bools, Bools]:
    label = events.label(study.outcome.horizon_months, study.headline_causes)
    return label == 1, np.ones(len(z), bool)


HEADLINE = Question(
    "headline recorded by the horizon",
    lambda study, _z, eta: study.outcome.risk(eta),
    None,
    _recorded,
)


@dataclass(frozen=True, slots=True)
class Bound:
    """The bound for n patients.

    Attributes:
        risk: (n,) probability that the answer is yes, were the question asked.
        scrambles: (R, n) the same from each scramble alone.
    """

    risk: Doubles
    scrambles: Doubles

    @property
    def se(self) -> Doubles:
        """(n,) Monte-Carlo standard error of `risk`."""
        made: Doubles = self.scrambles.std(0, ddof=1) / np.sqrt(len(self.scrambles))
        return made


def bound(
    batch: Batch,
    given: frozenset[str],
    *,
    question: Question = HEADLINE,
    draws: int = 64,
    scrambles: int = 4,
    blind: frozenset[str] = frozenset(),
    demographics: bool = True,
    seed: int = 7,
    chunk: int = 400,
) -> Bound:
    """E[headline recorded | hospital, age, sex, and everything emitted of the given modalities].

    Args:
        batch: Patients.
        given: Modalities that are read; of these, what is missing is missing.
        question: Another one than the headline, given also that it is asked.
        draws: Of each scramble, a power of 2.
        scrambles: Independent ones.
        blind: Picture components that the reader cannot see, such as the spatial ones.
        demographics: Age and sex are read.
        seed: Of the scrambles.
        chunk: Patients at a time.
    """
    read = given | {DEMOGRAPHICS} if demographics else given
    d = len(batch.study.latents)
    unit = np.concatenate(
        [special.ndtri(_open(qmc.Sobol(d, seed=seed + r).random(draws))) for r in range(scrambles)]
    )
    found = np.empty((scrambles, len(batch)))
    risk = np.empty(len(batch))
    for start in range(0, len(batch), chunk):
        part = batch.rows(slice(start, start + chunk))
        mean, cov = posterior(part, read, blind)
        z = mean[:, None, :] + unit @ np.swapaxes(np.linalg.cholesky(cov), 1, 2)
        shift = persons.shifts(part.study, part.which)[part.emitted.site][:, None]
        eta = persons.predictor(part.study, part.which, z, shift)
        p = question.true(part.study, z, eta)
        log_weight = _graded(part, read, z) + _kept(part, z)
        weight = np.exp(log_weight - log_weight.max(1, keepdims=True))
        asked = question.asked
        whole = weight if asked is None else weight * asked(part.study, z, eta)
        shape = (len(part), scrambles, draws)
        above, below = (weight * p).reshape(shape).sum(2), whole.reshape(shape).sum(2)
        found[:, start : start + chunk] = (above / below).T
        risk[start : start + chunk] = above.sum(1) / below.sum(1)
    return Bound(risk, found)


def _kept(part: Batch, z: Doubles) -> Doubles | float:
    """Log probability (n, k) of being in the cohort at latents z (n, k, d)."""
    made = persons.kept(part.study, part.which, z, part.emitted.site[:, None])
    return 0.0 if made is None else np.log(made)


def _open(u: Doubles) -> Doubles:
    return np.clip(u, 1e-12, 1 - 1e-12)


def posterior(
    batch: Batch, read: frozenset[str], blind: frozenset[str] = frozenset()
) -> tuple[Doubles, Doubles]:
    """Mean (n, d) and covariance (n, d, d) of the latents given the Gaussian measurements."""
    study, emitted, n = batch.study, batch.emitted, len(batch)
    d = len(study.latents)
    precision = np.broadcast_to(np.linalg.inv(persons.correlations(study)), (n, d, d)).copy()
    pull = np.zeros((n, d))
    for assay in study.assays:
        if study.modality(assay) not in read:
            continue
        k, value = study.column(assay.latent), emitted.scaled[assay.name]
        seen = ~np.isnan(value)
        gain = np.where(seen, assay.slope / assay.noise**2, 0)
        precision[:, k, k] += gain * assay.slope
        pull[:, k] += gain * np.where(seen, value - assay.mean, 0)
    for picture in study.pictures:
        if study.modality(picture) in read:
            _look(batch, picture, blind, precision, pull)
    cov = np.linalg.inv(precision)
    return np.einsum("nij,nj->ni", cov, pull), cov


def _look(
    batch: Batch, picture: Picture, blind: frozenset[str], precision: Doubles, pull: Doubles
) -> None:
    """Add what a picture tells."""
    shown = batch.emitted.pictures[picture.name]
    seen = [i for i, c in enumerate(picture.components) if c.name not in blind]
    if not seen:
        return
    biology = np.diag([picture.components[i].noise ** 2 for i in seen])
    load = np.zeros((len(seen), precision.shape[1]))
    for row, i in enumerate(seen):
        load[row, batch.study.column(picture.components[i].latent)] = 1
    cov = shown.cov[np.ix_(range(len(batch)), seen, seen)] + biology
    weight = np.linalg.inv(cov) * shown.present[:, None, None]
    precision += load.T @ weight @ load
    pull += np.einsum("nij,nj->ni", weight, shown.measured[:, seen]) @ load


def _graded(batch: Batch, read: frozenset[str], z: Doubles) -> Doubles:
    """Log likelihood (n, k) of graded findings and reports at latents z (n, k, d)."""
    study, emitted = batch.study, batch.emitted
    total = np.zeros(z.shape[:2])
    for question in study.graded:
        if study.modality(question) in read:
            x = question.slope * z[..., study.column(question.latent)]
            total += _probit(question, emitted.graded[question.name], x)
    for report in study.narratives:
        if study.modality(report) in read:
            said = _said(emitted.narratives[report.name])
            grid = z[..., study.column(report.latent)]
            total += narrative.log_likelihood(report.grammar.findings, said, grid)
    return total


def _said(states: NDArray[np.int8]) -> NDArray[np.int8]:
    return np.where(states < 0, np.int8(-1), narrative.SAID[states])


def _probit(question: Graded, answer: NDArray[np.int8], x: Doubles) -> Doubles:
    """Log probability of each answer (n,) at x (n, k); 0 where missing."""
    cuts = np.array([-np.inf, *question.cuts, np.inf])
    at = np.maximum(answer, 0)
    low, high = cuts[at][:, None], cuts[at + 1][:, None]
    # In the tail that is nearer, so that the difference keeps its digits.
    upper = np.where(low > x, x - low, high - x)
    lower = np.where(low > x, x - high, low - x)
    p = special.ndtr(upper) - special.ndtr(lower)
    made: Doubles = np.where((answer >= 0)[:, None], np.log(np.maximum(p, 1e-300)), 0.0)
    return made


def brute_force(
    batch: Batch,
    given: frozenset[str],
    *,
    question: Question = HEADLINE,
    draws: int = 100_000,
    seed: int = 5,
) -> tuple[Doubles, Doubles]:
    """The same by letting draws of the prior live and die, weighted by every likelihood.

    No algebra is shared with `bound`: latents come from the prior, outcomes from the event
    generator, densities from scipy.

    Returns:
        Risk (n,), and how many equal draws it is worth (n,): its variance is p (1 - p) over that.
    """
    study, rng = batch.study, np.random.default_rng(seed)
    z = rng.multivariate_normal(
        np.zeros(len(study.latents)), persons.correlations(study), draws, method="eigh"
    )
    lived = []
    for site, shift in enumerate(persons.shifts(study, batch.which)):
        eta = persons.predictor(study, batch.which, z, shift)
        events = study.outcome.draw(eta, rng.random((draws, 6)))
        true, asked = question.lived(study, events, z, rng)
        lived.append((true, asked & _member(batch, z, site, rng)))
    found, worth = np.empty(len(batch)), np.empty(len(batch))
    for row in range(len(batch)):
        one = batch.rows(slice(row, row + 1))
        log_weight = _likelihood(one, given | {DEMOGRAPHICS}, z)
        true, asked = lived[int(one.emitted.site[0])]
        weight = np.exp(log_weight - log_weight.max()) * asked
        weight /= weight.sum()
        found[row] = weight @ true
        worth[row] = 1 / (weight @ weight)
    return found, worth


def _member(batch: Batch, z: Doubles, site: int, rng: np.random.Generator) -> Bools:
    """Who of those with latents z (k, d) was not left out of the cohort, by living it."""
    other = batch.study.free_of
    if other is None:
        return np.ones(len(z), bool)
    shift = persons.shifts(other, batch.which)[site]
    eta = persons.predictor(other, batch.which, z, shift)
    now = other.outcome.draw(eta, rng.random((len(z), 6)))
    free: Bools = now.label(other.outcome.horizon_months) == 0
    return free


def disagreement(fast: Bound, slow: tuple[Doubles, Doubles]) -> Doubles:
    """(n,) differences of `bound` and `brute_force` in their own standard errors."""
    risk, worth = slow
    variance = fast.risk * (1 - fast.risk) / worth + fast.se**2
    made: Doubles = (fast.risk - risk) / np.sqrt(variance)
    return made


def _likelihood(one: Batch, read: frozenset[str], z: Doubles) -> Doubles:
    """Log likelihood (k,) of everything read of one patient, at latents (k, d)."""
    study, emitted = one.study, one.emitted
    total = np.zeros(len(z))
    for assay in study.assays:
        value = float(emitted.scaled[assay.name][0])
        if study.modality(assay) in read and not np.isnan(value):
            middle = assay.mean + assay.slope * z[:, study.column(assay.latent)]
            total += stats.norm.logpdf(value, middle, assay.noise)
    for question in study.graded:
        answer = int(emitted.graded[question.name][0])
        if study.modality(question) in read and answer >= 0:
            cuts = [-np.inf, *question.cuts, np.inf]
            x = question.slope * z[:, study.column(question.latent)]
            p = stats.norm.cdf(cuts[answer + 1] - x) - stats.norm.cdf(cuts[answer] - x)
            total += np.log(np.maximum(p, 1e-300))
    total += _report_likelihood(one, read, z)
    for picture in study.pictures:
        shown = emitted.pictures[picture.name]
        if study.modality(picture) in read and shown.present[0]:
            of = [study.column(c.latent) for c in picture.components]
            cov = shown.cov[0] + np.diag([c.noise**2 for c in picture.components])
            total += stats.multivariate_normal(np.zeros(len(of)), cov).logpdf(
                shown.measured[0] - z[:, of]
            )
    return total


def _report_likelihood(one: Batch, read: frozenset[str], z: Doubles) -> Doubles:
    """The same (k,) of reports."""
    total = np.zeros(len(z))
    for report in one.study.narratives:
        if one.study.modality(report) not in read:
            continue
        latent = z[:, one.study.column(report.latent)]
        said = one.emitted.narratives[report.name][0]
        for finding, state in zip(report.grammar.findings, said, strict=True):
            eta = finding.offset + finding.slope * latent
            if state in (0, 1):
                total += np.log(special.expit(eta if state else -eta))
    return total
