"""Heads: what the last graph gave, as calibrated risks with their parts.

| kind | output | classes |
| --- | --- | --- |
| `additive_logit` | contributions (B, members, modalities), bias (B, members) | two |
| `logit` | logit of the positive class (B,) or (B, members) | two |
| `probabilities` | (B, classes), in the order of `[[outputs]]` | two or more |
| `hazards` | (B, intervals, classes) or (B, members, intervals, classes): of those still free of \
any event at the begin of an interval, the share that meets each class in it; the last class of \
`[[outputs]]` is to stay free | two or more |

Source: model-rules 11, 13.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from inference import calibrate
from inference.errors import SessionRefused
from inference.manifest import Manifest, Output
from inference.prediction import Outcome

Float = NDArray[np.float64]
_SLACK = 1e-3
_EDGE = 1e-9
_YEAR = 365
_Span = tuple[float, float] | tuple[None, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a head says of one case.

    Attributes:
        outcomes: The exclusive classes, for each horizon; that of the tier is first.
        logit: Calibrated, of the first outcome; None where there is no single one.
        baseline_logit: With `contributions_logit` it sums to the logit (`additive_logit` only).
    """

    outcomes: tuple[Outcome, ...]
    logit: float | None = None
    baseline_logit: float | None = None
    contributions_logit: Mapping[str, float] = field(default_factory=dict)


def shapes(manifest: Manifest) -> dict[str, tuple[tuple[int, ...], ...]]:
    """What the head's outputs may be of one case: name → shapes without the batch."""
    head, members = manifest.head, manifest.calibration.members
    alone = members == 1
    match head.kind:
        case "additive_logit":
            parts = (members, len(manifest.modalities))
            return {head.output: (parts,), head.bias: ((members,),)}
        case "logit":
            return {head.output: ((members,), ()) if alone else ((members,),)}
        case "probabilities":
            return {head.output: ((len(manifest.outputs),),)}
    table = (len(head.interval_ends_days), len(manifest.outputs))
    return {head.output: ((members, *table), table) if alone else ((members, *table),)}


def words(manifest: Manifest, outcome: Outcome) -> str:
    """An outcome for people: "Recurrence within 2 years", "Event-free at 2 years"."""
    days = outcome.horizon_days
    if not days:
        return outcome.display
    years, rest = divmod(days, _YEAR)
    span = f"{days} days" if rest else f"{years} year{'s' if years > 1 else ''}"
    # Free of any event is a state of that day; an event is one of the time until then.
    free = manifest.head.kind == "hazards" and outcome.code == manifest.outputs[-1].code
    return f"{outcome.display} {'at' if free else 'within'} {span}"


def tell(manifest: Manifest, made: Mapping[str, Float]) -> list[Told]:
    """What the head says of each case of a batch.

    Args:
        manifest: The pack's.
        made: Outputs of its graphs, by `ROLE.OUTPUT`.

    Raises:
        SessionRefused: what the graph gave is not finite, no probability, or of another shape.
    """
    head = manifest.head
    for name, allowed in shapes(manifest).items():
        given = made[f"{head.graph}.{name}"]
        if given.shape[1:] not in allowed:
            raise SessionRefused(head.graph, f"gave {name} of shape {given.shape[1:]} for a case")
        if not np.isfinite(given).all():
            raise SessionRefused(head.graph, "gave a figure that is not finite")
    found = made[f"{head.graph}.{head.output}"]
    match head.kind:
        case "additive_logit":
            return _additive(manifest, found, made[f"{head.graph}.{head.bias}"])
        case "logit":
            return _by_logit(manifest, found.reshape(len(found), -1))
        case "probabilities":
            return _probabilities(manifest, found)
    return _hazards(manifest, found)


def _additive(m: Manifest, by_member: Float, bias: Float) -> list[Told]:
    """Exact contributions: the fusion is additive, so nothing is estimated."""
    made = _by_logit(m, bias + by_member.sum(2))
    slope, intercept = m.calibration.slope[0], m.calibration.intercept[0]
    parts = slope * by_member.mean(1)
    base = slope * bias.mean(1) + intercept
    return [
        Told(
            outcomes=one.outcomes,
            logit=one.logit,
            baseline_logit=float(base[i]),
            contributions_logit={name: float(parts[i, k]) for k, name in enumerate(m.modalities)},
        )
        for i, one in enumerate(made)
    ]


def _by_logit(m: Manifest, members: Float) -> list[Told]:
    """Two classes of the members' logits (B, M), which average before calibration."""
    middle, low, high = calibrate.logits(m.calibration, members)
    positive = m.positive
    other = next(o for o in m.outputs if not o.positive)
    made = []
    for i, logit in enumerate(middle):
        p = float(calibrate.probability(logit))
        span: _Span = (None, None)
        turned: _Span = (None, None)
        if low is not None and high is not None:
            ends = (
                float(calibrate.probability(low[i])),
                float(calibrate.probability(high[i])),
            )
            span, turned = ends, (1 - ends[1], 1 - ends[0])
        made.append(
            Told(
                outcomes=(_outcome(positive, p, span), _outcome(other, 1 - p, turned)),
                logit=float(logit),
            )
        )
    return made


def _outcome(output: Output, p: float, span: _Span, horizon: int | None = None) -> Outcome:
    return Outcome(
        code=output.code,
        system=output.system,
        display=output.display,
        probability=p,
        low=span[0],
        high=span[1],
        horizon_days=horizon,
    )


def _probabilities(m: Manifest, given: Float) -> list[Told]:
    """The classes of the graph; two of them by Platt where the pack says so."""
    given = _exclusive(m, given)
    column = next(k for k, o in enumerate(m.outputs) if o.positive)
    if m.calibration.method == "platt":
        return _by_logit(m, _logit(given[:, column])[:, None])
    order = sorted(m.outputs, key=lambda o: not o.positive)
    return [
        Told(outcomes=tuple(_outcome(o, _of(m, row, o), (None, None)) for o in order))
        for row in given
    ]


def _of(m: Manifest, row: Float, output: Output) -> float:
    return float(row[m.outputs.index(output)])


def _exclusive(m: Manifest, given: Float) -> Float:
    """Classes between 0 and 1: an exporter's rounding may lie a hair outside."""
    inside = (given >= -_SLACK).all() and (given <= 1 + _SLACK).all()
    if not inside or np.abs(given.sum(-1) - 1).max() > _SLACK:
        raise SessionRefused(m.head.graph, "gave classes that are no probabilities or sum to no 1")
    return np.clip(given, 0, 1)


def _hazards(m: Manifest, given: Float) -> list[Told]:
    """Cumulative incidence of each class at each horizon; with those still free it sums to 1."""
    given = _exclusive(m, given)
    members = given if given.ndim == _WITH_MEMBERS else given[:, None]
    at = [m.head.interval_ends_days.index(day) for day in m.head.horizons_days]
    incidence = cumulative_incidence(members)[:, :, at]  # (B, M, H, classes)
    column = next(k for k, o in enumerate(m.outputs) if o.positive)
    return [_told(m, _calibrated(m, one, column)) for one in incidence]


_WITH_MEMBERS = 4


def cumulative_incidence(hazards: Float) -> Float:
    """(..., intervals, classes) shares that met each class by the end of each interval.

    Args:
        hazards: (..., intervals, classes); the last class is to stay free of any event.

    Returns:
        The same shape; the last class is the share still free, and each row sums to 1.
    """
    free = np.cumprod(hazards[..., -1], axis=-1)
    before = np.concatenate([np.ones_like(free[..., :1]), free[..., :-1]], axis=-1)
    causes = np.cumsum(before[..., None] * hazards[..., :-1], axis=-2)
    made: Float = np.concatenate([causes, free[..., None]], axis=-1)
    return made


def _calibrated(m: Manifest, incidence: Float, column: int) -> list[tuple[Float, _Span]]:
    """For each horizon the classes, and the interval of the positive one.

    Platt moves the positive class, never below what an earlier horizon told: pairs that were
    fitted apart may cross. The others share what is left as they did before.
    """
    made: list[tuple[Float, _Span]] = []
    least = np.full(3, -np.inf)  # logit, and the ends of its interval
    for h in range(incidence.shape[1]):
        risks = incidence[:, h]  # (M, classes)
        middle = risks.mean(0)
        members = _logit(risks[:, column])
        # Incidences average, not their logits: members lie about the risk that is told.
        members += _logit(middle[column]) - members.mean()
        logit, low, high = calibrate.logits(m.calibration, members[None], h)
        span: _Span = (None, None)
        if low is not None and high is not None:
            least[1:] = np.maximum(least[1:], (low[0], high[0]))
            ends = calibrate.probability(least[1:])
            span = (float(ends[0]), float(ends[1]))
        if m.calibration.method == "platt":
            least[0] = max(least[0], logit[0])
            risk = float(calibrate.probability(least[0]))
            rest = middle.sum() - middle[column]
            middle = middle * ((1 - risk) / max(rest, _EDGE))
            middle[column] = risk
        made.append((middle, span))
    return made


def _told(m: Manifest, at_horizons: Sequence[tuple[Float, _Span]]) -> Told:
    """Outcomes horizon by horizon; the tier's, and in each the positive class, stand first."""
    made = [
        _outcome(output, float(risks[k]), span if output.positive else (None, None), day)
        for day, (risks, span) in zip(m.head.horizons_days, at_horizons, strict=True)
        for k, output in enumerate(m.outputs)
    ]
    first, day = m.positive.code, m.tiers.horizon_days
    made.sort(key=lambda o: (o.horizon_days != day, o.horizon_days, o.code != first))
    return Told(outcomes=tuple(made), logit=float(_logit(made[0].probability)))


def _logit(probability: Float | float) -> Float:
    """Logit, of 0 and 1 a large one."""
    p = np.clip(probability, _EDGE, 1 - _EDGE)
    made: Float = np.log(p / (1 - p))
    return made
