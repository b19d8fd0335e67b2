"""What happens to a patient, given the latents: a logit, or hazards of competing causes.

Both give a risk in closed form (the bound averages it) and a draw of events (the cohort records
them). Label noise is a declared coin of the registrar, tossed after the biology: an event of the
headline cause is overlooked, or one is recorded where none happened.

Source: model-rules 7, 8 (f, i) and 11; models.md 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Rate = Literal["development", "natural-low", "natural-mid", "natural-high"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """A predictor of latents: linear, products less their mean, squares less their mean."""

    weights: tuple[tuple[str, float], ...]
    interactions: tuple[tuple[str, str, float], ...] = ()
    squares: tuple[tuple[str, float], ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """Latents that it reads."""
        single = {name for name, _ in (*self.weights, *self.squares)}
        return frozenset(single | {n for a, b, _ in self.interactions for n in (a, b)})

    def value(self, latents: Sequence[str], correlation: float, z: Doubles) -> Doubles:
        """(...) of latents z (..., d); its mean over the cohort is 0."""
        column = {name: z[..., i] for i, name in enumerate(latents)}
        made = np.zeros(z.shape[:-1])
        for name, weight in self.weights:
            made = made + weight * column[name]
        for a, b, weight in self.interactions:
            made = made + weight * (column[a] * column[b] - correlation)
        for name, weight in self.squares:
            made = made + weight * (column[name] ** 2 - 1)
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """What happened to n patients, and what the registry holds of it.

    Causes are numbered from 1, the headline first; 0 is none. Times are months from the index.

    Attributes:
        months, cause: (n,) the first event as it happened; infinite and 0 where none does.
        recorded_months, recorded_cause: (n,) as the registrar would have it with endless follow-up.
        followed_months: (n,) end of follow-up; beyond it nothing is in the registry.
    """

    months: Doubles
    cause: NDArray[np.int64]
    recorded_months: Doubles
    recorded_cause: NDArray[np.int64]
    followed_months: Doubles

    @property
    def observed_months(self) -> Doubles:
        """(n,) time of the recorded event, or of censoring."""
        return np.minimum(self.recorded_months, self.followed_months)

    @property
    def observed_cause(self) -> NDArray[np.int64]:
        """(n,) recorded cause, 0 when censored."""
        made = self.recorded_cause.copy()
        made[self.recorded_months > self.followed_months] = 0
        return made

    def label(self, horizon_months: float, kinds: int = 1) -> NDArray[np.int64]:
        """(n,) 1 where the headline is recorded by the horizon, follow-up taken as endless.

        The headline is any of the first `kinds` causes.
        """
        told = (self.recorded_cause >= 1) & (self.recorded_cause <= kinds)
        return np.asarray(told & (self.recorded_months <= horizon_months), np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Logit:
    """A diagnosis within the horizon, or none.

    Attributes:
        rate: Share of patients with the diagnosis in the development cohort.
        natural: The same in natural-prevalence sets: low, middle, high.
        overlooked: Probability that the registrar misses a diagnosis.
        invented: Probability that one is recorded where none was.
    """

    headline: str
    terms: Terms
    rate: float
    natural: tuple[float, float, float]
    overlooked: float = 0.03
    invented: float = 0.002
    horizon_months: float = 12.0

    @property
    def causes(self) -> tuple[str, ...]:
        """Names, the headline first."""
        return (self.headline,)

    @property
    def predictors(self) -> tuple[Terms, ...]:
        """One per cause."""
        return (self.terms,)

    def targets(self, rate: Rate) -> tuple[float, ...]:
        """Share of patients with each cause by the horizon, before label noise."""
        return (at_rate(self.rate, self.natural, rate),)

    def incidence(self, eta: Doubles) -> Doubles:
        """(1, ...) probability of each cause by the horizon; eta is (1, ...) with intercept."""
        return 1 / (1 + np.exp(-eta))

    def risk(self, eta: Doubles) -> Doubles:
        """(...) probability that the headline is recorded by the horizon."""
        p = self.incidence(eta)[0]
        made: Doubles = (1 - self.overlooked) * p + self.invented * (1 - p)
        return made

    def draw(self, eta: Doubles, u: Doubles) -> Events:
        """Events from eta (1, n) and uniform numbers u (n, 5)."""
        ill = u[:, 0] < self.incidence(eta)[0]
        when = self.horizon_months * u[:, 2]
        told = np.where(ill, u[:, 1] >= self.overlooked, u[:, 1] < self.invented)
        never = np.inf
        return Events(
            months=np.where(ill, when, never),
            cause=ill.astype(np.int64),
            recorded_months=np.where(told, when, never),
            recorded_cause=told.astype(np.int64),
            followed_months=np.full(len(u), self.horizon_months),
        )


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause of an event, and the share of patients it reaches by the horizon."""

    name: str
    share: float
    terms: Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Competition:
    """Causes of which only the first to come is seen.

    Attributes:
        competing: The headline first.
    """

    competing: tuple[Cause, ...]

    @property
    def causes(self) -> tuple[str, ...]:
        """Names, the headline first."""
        return tuple(c.name for c in self.competing)

    @property
    def predictors(self) -> tuple[Terms, ...]:
        """One per cause."""
        return tuple(c.terms for c in self.competing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hazards(Competition):
    """Cause-specific Weibull hazards of one shape, so that incidences are in closed form.

    Attributes:
        natural: Share of the headline in natural-prevalence sets: low, middle, high.
        shape: Weibull shape of all causes.
        horizon_months: Where the risk is asked for.
        dropout: Share lost to follow-up by the horizon, independent of everything.
        follow_up_months: Least and greatest time from index to data cut, uniform.
        overlooked: Probability that the registrar misses a headline event.
        invented: Probability that one is recorded of a patient without any event by the horizon.
    """

    natural: tuple[float, float, float]
    shape: float
    horizon_months: float
    dropout: float
    follow_up_months: tuple[float, float]
    overlooked: float = 0.03
    invented: float = 0.002

    def targets(self, rate: Rate) -> tuple[float, ...]:
        """Share of patients with each cause by the horizon, before label noise."""
        first, *others = (c.share for c in self.competing)
        return (at_rate(first, self.natural, rate), *others)

    def incidence(self, eta: Doubles) -> Doubles:
        """(C, ...) cumulative incidence at the horizon; eta (C, ...) are log cumulative hazards."""
        hazard = np.exp(eta)
        total = hazard.sum(0)
        made: Doubles = hazard / total * -np.expm1(-total)
        return made

    def risk(self, eta: Doubles) -> Doubles:
        """(...) probability that the headline is recorded by the horizon."""
        incidence = self.incidence(eta)
        free = 1 - incidence.sum(0)
        made: Doubles = (1 - self.overlooked) * incidence[0] + self.invented * free
        return made

    def draw(self, eta: Doubles, u: Doubles) -> Events:
        """Events from eta (C, n) and uniform numbers u (n, 6)."""
        hazard = np.exp(eta)
        total = hazard.sum(0)
        months = self.horizon_months * (-np.log(u[:, 0]) / total) ** (1 / self.shape)
        below = np.cumsum(hazard, 0) / total < u[None, :, 1]
        cause = 1 + below.sum(0).clip(max=len(hazard) - 1)
        invented = (u[:, 2] < self.invented) & (months > self.horizon_months)
        overlooked = (u[:, 2] < self.overlooked) & (cause == 1) & ~invented
        told = np.where(overlooked, np.inf, months)
        lost = self.horizon_months * np.log(u[:, 4]) / np.log1p(-self.dropout)
        low, high = self.follow_up_months
        return Events(
            months=months,
            cause=cause,
            recorded_months=np.where(invented, self.horizon_months * u[:, 3], told),
            recorded_cause=np.where(invented, 1, np.where(overlooked, 0, cause)),
            followed_months=np.minimum(lost, low + (high - low) * u[:, 5]),
        )


class Outcome(Protocol):
    """What a study asks for: a risk in closed form, and a draw of events."""

    @property
    def horizon_months(self) -> float:
        """Where the risk is asked for."""

    @property
    def natural(self) -> tuple[float, float, float]:
        """Share of the headline in natural-prevalence sets: low, middle, high."""

    @property
    def causes(self) -> tuple[str, ...]:
        """Names, those of the headline first."""

    @property
    def predictors(self) -> tuple[Terms, ...]:
        """One per cause, the headline's first."""

    def targets(self, rate: Rate) -> tuple[float, ...]:
        """Share of patients with each cause by the horizon, before label noise."""

    def incidence(self, eta: Doubles) -> Doubles:
        """(C, ...) probability of each cause by the horizon."""

    def risk(self, eta: Doubles) -> Doubles:
        """(...) probability that the headline is recorded by the horizon."""

    def draw(self, eta: Doubles, u: Doubles) -> Events:
        """Events from eta (C, n) and uniform numbers u (n, 6)."""


def at_rate(development: float, natural: tuple[float, float, float], rate: Rate) -> float:
    """The share that a base rate stands for."""
    if rate == "development":
        return development
    return dict(zip(("natural-low", "natural-mid", "natural-high"), natural, strict=True))[rate]


def intercepts(
    outcome: Outcome, eta: Doubles, rate: Rate, weight: Doubles | None = None
) -> Doubles:
    """(C,) constants that give each cause its declared share; eta (C, n) is a large sample.

    Weights (n,) say how likely each of it is in the cohort; without them, all are.
    Causes compete, so each step mends all of them; the shares settle in a few dozen.
    """
    wanted = np.array(outcome.targets(rate))
    found: Doubles = np.log(wanted)
    for _ in range(200):
        each = outcome.incidence(eta + found[:, None])
        incidence = each.mean(1) if weight is None else each @ weight / weight.sum()
        step = np.log(wanted / incidence)
        found = found + step
        if np.abs(step).max() < 1e-10:
            break
    return found
