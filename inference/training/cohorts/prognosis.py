"""What follows an operation: progression and death, each with a hazard of its own.

Given the latents the two are independent, so that S_PFS(t) = S_OS(t) G(t) with G, the survival
without progression, never rising; the latents they share make them go together in a cohort.

Source: model-rules 2 and 4; models.md 1.2 (NCT07658586).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.training.cohorts.outcome import Cause, Terms
from mappings.record import Code

Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]
# 3-monthly to three years, then 6-monthly to five.
GRID_MONTHS = (*range(3, 37, 3), *range(42, 61, 6))


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What became of n patients; months from the operation, infinite where nothing happened.

    Attributes:
        operated: (n,) whether there was an operation; nothing else means anything without.
        progressed_months, died_months: (n,) as they would happen with endless follow-up.
        followed_months: (n,) end of follow-up.
    """

    operated: Bools
    progressed_months: Doubles
    died_months: Doubles
    followed_months: Doubles

    @property
    def pfs(self) -> tuple[Doubles, Bools]:
        """(n,) time of progression or death, or of censoring, and whether it is an event."""
        return self._observed(np.minimum(self.progressed_months, self.died_months))

    @property
    def os(self) -> tuple[Doubles, Bools]:
        """(n,) time of death, or of censoring, and whether it is an event."""
        return self._observed(self.died_months)

    def _observed(self, months: Doubles) -> tuple[Doubles, Bools]:
        hit = self.operated & (months <= self.followed_months)
        return np.minimum(months, self.followed_months), hit


@dataclass(frozen=True, slots=True, kw_only=True)
class Prognosis:
    """Weibull hazards of progression and of death after an operation for the diagnosis.

    Attributes:
        operation: What the registry calls it.
        operated: Share of those with the diagnosis, told as such, who are operated on.
        progression, death: Each with the share it would reach by the horizon were the other away.
        codes: ICD-10 of progression and of death in the registry.
        shape: Weibull shape of both.
        dropout: Share lost to follow-up by the horizon, independent of everything.
        follow_up_months: Least and greatest time from operation to data cut, uniform.
        bar: Least and greatest C-index of the full bound.
    """

    operation: Code
    operated: float
    progression: Cause
    death: Cause
    codes: tuple[str, str]
    shape: float
    horizon_months: float
    dropout: float
    follow_up_months: tuple[float, float]
    bar: tuple[float, float]

    @property
    def predictors(self) -> tuple[Terms, Terms]:
        """Of progression and of death."""
        return self.progression.terms, self.death.terms

    def intercepts(self, eta: Doubles, weight: Doubles) -> Doubles:
        """(2,) constants that give the declared shares; eta (2, n), weight (n,) of each patient."""
        wanted = np.array([self.progression.share, self.death.share])
        found: Doubles = np.log(-np.log1p(-wanted))
        for _ in range(200):
            gone = -np.expm1(-np.exp(eta + found[:, None]))
            step = np.log(wanted / (gone @ weight / weight.sum()))
            found = found + step
            if np.abs(step).max() < 1e-10:
                break
        return found

    def survival(self, eta: Doubles, months: float) -> Doubles:
        """(2, ...) S_PFS and S_OS at a time; eta (2, ...) with intercepts."""
        free = np.exp(-np.exp(eta) * (months / self.horizon_months) ** self.shape)
        return np.stack([free[0] * free[1], free[1]])

    def draw(self, eta: Doubles, diagnosed: Bools, u: Doubles) -> Course:
        """What becomes of those diagnosed (n,), from eta (2, n) and uniform numbers u (n, 5)."""
        wait = -np.log(u[:, :2].T) / np.exp(eta)
        operated = diagnosed & (u[:, 2] < self.operated)
        progressed, died = np.where(
            operated, self.horizon_months * wait ** (1 / self.shape), np.inf
        )
        lost = self.horizon_months * np.log(u[:, 3]) / np.log1p(-self.dropout)
        low, high = self.follow_up_months
        return Course(
            operated=operated,
            # The dead do not progress.
            progressed_months=np.where(progressed < died, progressed, np.inf),
            died_months=died,
            followed_months=np.minimum(lost, low + (high - low) * u[:, 4]),
        )
