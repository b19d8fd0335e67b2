"""How well a score ranks patients whose risk is known: figures without the coin's own noise.

The generator knows each patient's risk, so an AUC can be expected over the labels that might have
been drawn instead of counted on those that were: the same figure, less chance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inference.evaluation.metrics import midranks
from inference.training.cohorts.drawing import Batch

Doubles = NDArray[np.float64]


def auc(risk: Doubles, score: Doubles) -> float:
    """P(score of an event > score of a non-event), ties one half, over pairs of patients.

    Args:
        risk: (n,) probability of the event of each.
        score: (n,).
    """
    rank = midranks(score)
    order = np.argsort(rank, kind="stable")
    free = (1 - risk)[order]
    total = np.cumsum(free)
    _, first, count = np.unique(rank[order], return_index=True, return_counts=True)
    group = np.repeat(np.arange(len(first)), count)
    below = np.concatenate([[0.0], total])[first][group]
    tied = total[first + count - 1][group] - below
    wins = (risk[order] * (below + (tied - free) / 2)).sum()
    return float(wins / (risk.sum() * (1 - risk).sum() - (risk * (1 - risk)).sum()))


def concordance(batch: Batch, score: Doubles) -> float:
    """C-index of the headline up to the horizon, with endless follow-up (Wolbers 2009).

    A patient with a recorded headline is compared with all who were free of it at that time; one
    who had a competing event stays free of it for good.
    """
    events = batch.events
    own = np.where(events.recorded_cause == 1, events.recorded_months, np.inf)
    return ranked(own, batch.study.outcome.horizon_months, score)


def ranked(months: Doubles, horizon_months: float, score: Doubles) -> float:
    """Share of pairs whose higher score has its event first, of events up to the horizon.

    Args:
        months: (n,) time of the event, infinite where it never comes.
        horizon_months: Later events count as none.
        score: (n,) higher for earlier.
    """
    hit = months <= horizon_months
    wins = pairs = 0.0
    for start in range(0, int(hit.sum()), 256):
        rows = np.flatnonzero(hit)[start : start + 256]
        later = months[None, :] > months[rows][:, None]
        more = score[rows][:, None] - score[None, :]
        wins += float((later * ((more > 0) + 0.5 * (more == 0))).sum())
        pairs += float(later.sum())
    return wins / pairs


def figure(batch: Batch, score: Doubles) -> float:
    """The study's own figure of merit: C-index, or AUC at the horizon."""
    return concordance(batch, score) if batch.study.concordance else auc(batch.risk, score)
