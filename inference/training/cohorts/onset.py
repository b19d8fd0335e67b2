"""A first event in intervals after the index: in each a hazard for every cause, which compete.

Within an interval one softmax over nothing and each cause (model-rules 11), so that hazards are
never above 1 and the incidences and the share that stays free sum to 1. Where in its interval an
event lies is drawn evenly.

Source: model-rules 3, 8 (f, i) and 11; models.md 1.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.training.cohorts.outcome import Competition, Events, Rate, at_rate

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Onset(Competition):
    """Discrete-time hazards of competing causes, in intervals of one length.

    Shares are of those who are free at the index.

    Attributes:
        natural: Share of the headline in natural-prevalence sets: low, middle, high.
        course: What each interval adds to a cause's log odds, a row of K for each cause.
        horizon_months: End of the last interval.
        dropout: Share lost to follow-up by the horizon, independent of everything.
        follow_up_months: Least and greatest time from index to data cut, uniform.
        overlooked: Probability that the registrar misses a headline event.
        invented: Probability that one is recorded of a patient without any event.
    """

    natural: tuple[float, float, float]
    course: tuple[tuple[float, ...], ...]
    horizon_months: float
    dropout: float
    follow_up_months: tuple[float, float]
    overlooked: float = 0.03
    invented: float = 0.002

    @property
    def intervals(self) -> int:
        """How many there are up to the horizon."""
        return len(self.course[0])

    def targets(self, rate: Rate) -> tuple[float, ...]:
        """Share of patients with each cause by the horizon, before label noise."""
        first, *others = (c.share for c in self.competing)
        return (at_rate(first, self.natural, rate), *others)

    def cells(self, eta: Doubles) -> Doubles:
        """(K, C, ...) probability that the first event falls in an interval and is of a cause.

        eta (C, ...) are log odds against nothing, less the course.
        """
        free, made = np.ones(eta.shape[1:]), []
        for interval in range(self.intervals):
            own = np.array([row[interval] for row in self.course])
            odds = np.exp(eta + own.reshape(-1, *[1] * (eta.ndim - 1)))
            none = 1 / (1 + odds.sum(0))
            made.append(odds * none * free)
            free = free * none
        return np.stack(made)

    def incidence(self, eta: Doubles) -> Doubles:
        """(C, ...) cumulative incidence at the horizon."""
        made: Doubles = self.cells(eta).sum(0)
        return made

    def risk(self, eta: Doubles) -> Doubles:
        """(...) probability that the headline is recorded by the horizon."""
        incidence = self.incidence(eta)
        free = 1 - incidence.sum(0)
        made: Doubles = (1 - self.overlooked) * incidence[0] + self.invented * free
        return made

    def draw(self, eta: Doubles, u: Doubles) -> Events:
        """Events from eta (C, n) and uniform numbers u (n, 6)."""
        cells = self.cells(eta)
        kinds = len(self.competing)
        until = np.cumsum(cells.reshape(-1, cells.shape[-1]), 0)
        place = (until <= u[None, :, 0]).sum(0)
        happened = place < len(until)
        width = self.horizon_months / self.intervals
        months = np.where(happened, width * (place // kinds + u[:, 1]), np.inf)
        cause = np.where(happened, 1 + place % kinds, 0)
        invented = ~happened & (u[:, 2] < self.invented)
        overlooked = (cause == 1) & (u[:, 2] < self.overlooked)
        lost = self.horizon_months * np.log(u[:, 4]) / np.log1p(-self.dropout)
        low, high = self.follow_up_months
        followed = np.minimum(lost, low + (high - low) * u[:, 5])
        return Events(
            months=months,
            cause=cause,
            recorded_months=np.where(
                invented, self.horizon_months * u[:, 3], np.where(overlooked, np.inf, months)
            ),
            recorded_cause=np.where(invented, 1, np.where(overlooked, 0, cause)),
            followed_months=np.minimum(followed, self.horizon_months),
        )
