"""A diagnosis that has kinds: whether there is one, and which, flat over all of them.

P(kind) = P(diagnosis) P(kind | diagnosis): a logit of the diagnosis, and a softmax over its kinds.
Everybody's pathology comes: who has no diagnosis is told to have none. Label noise is the
pathologist's, tossed after the biology: one overlooked, one invented, one kind taken for another.

Source: model-rules 8 (f, i); models.md 1.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.training.cohorts.outcome import Events, Rate, Terms, at_rate

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of a diagnosis and its share of all patients in the development cohort.

    Attributes:
        terms: Log odds against the first kind, less an intercept; the first kind has none.
    """

    name: str
    share: float
    terms: Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """A diagnosis with kinds; causes are the kinds, numbered from 1, and 0 is no diagnosis.

    Attributes:
        terms: Logit of the diagnosis, whichever kind.
        kinds: The first is what the others are compared with.
        natural: Share with the diagnosis in natural-prevalence sets: low, middle, high.
        overlooked: Probability that a diagnosis is missed.
        invented: Probability that one is told where none is, of the kinds by their shares.
        confused: Probability that a kind is told as another one.
        horizon_months: By when pathology has come, from the index.
    """

    headline: str
    terms: Terms
    kinds: tuple[Kind, ...]
    natural: tuple[float, float, float]
    overlooked: float = 0.02
    invented: float = 0.01
    confused: float = 0.02
    horizon_months: float = 3.0

    @property
    def causes(self) -> tuple[str, ...]:
        """Names of the kinds."""
        return tuple(k.name for k in self.kinds)

    @property
    def predictors(self) -> tuple[Terms, ...]:
        """Of the diagnosis, then of each kind but the first."""
        return (self.terms, *(k.terms for k in self.kinds[1:]))

    @property
    def _mix(self) -> Doubles:
        """(C,) shares of the kinds among those with the diagnosis."""
        share = np.array([k.share for k in self.kinds])
        made: Doubles = share / share.sum()
        return made

    def targets(self, rate: Rate) -> tuple[float, ...]:
        """Share of patients with each kind, before label noise; their mix is the same anywhere."""
        total = at_rate(sum(k.share for k in self.kinds), self.natural, rate)
        return tuple(float(total * part) for part in self._mix)

    def incidence(self, eta: Doubles) -> Doubles:
        """(C, ...) probability of each kind; eta (C, ...): of the diagnosis, then of the kinds."""
        odds = np.exp(eta[1:])
        among = np.concatenate([np.ones_like(eta[:1]), odds]) / (1 + odds.sum(0))
        made: Doubles = among / (1 + np.exp(-eta[0]))
        return made

    def risk(self, eta: Doubles) -> Doubles:
        """(...) probability that the diagnosis is told, of whichever kind."""
        p = 1 / (1 + np.exp(-eta[0]))
        made: Doubles = (1 - self.overlooked) * p + self.invented * (1 - p)
        return made

    def told(self, eta: Doubles) -> Doubles:
        """(C, ...) probability that each kind is told; they sum to `risk`."""
        p = self.incidence(eta)
        some = p.sum(0)
        kept = (1 - self.confused) * p + self.confused / (len(self.kinds) - 1) * (some - p)
        mix = self._mix.reshape(-1, *[1] * (p.ndim - 1))
        made: Doubles = (1 - self.overlooked) * kept + self.invented * mix * (1 - some)
        return made

    def draw(self, eta: Doubles, u: Doubles) -> Events:
        """Events from eta (C, n) and uniform numbers u (n, 6): pathology of everybody."""
        count, p = len(self.kinds), self.incidence(eta)
        ill = u[:, 0] < p.sum(0)
        kind = 1 + (np.cumsum(p, 0) / p.sum(0) < u[None, :, 3]).sum(0).clip(max=count - 1)
        told = np.where(ill, u[:, 1] >= self.overlooked, u[:, 1] < self.invented)
        other = 1 + (kind - 1 + 1 + (u[:, 5] * (count - 1)).astype(np.int64)) % count
        seen = np.where(u[:, 4] < self.confused, other, kind)
        invented = 1 + np.searchsorted(np.cumsum(self._mix)[:-1], u[:, 4])
        when = self.horizon_months * u[:, 2]
        return Events(
            months=when,
            cause=np.where(ill, kind, 0),
            recorded_months=when,
            recorded_cause=np.where(told, np.where(ill, seen, invented), 0),
            followed_months=np.full(len(u), self.horizon_months),
        )
