"""Numbers of entries: in an input's unit, and what several of them say of its window.

Source: models.md 1.0 (units, plausible ranges, trajectories).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

from inference.protocol import TRENDS, Input
from mappings.errors import UnknownUnit
from mappings.record import Entry, Quantity
from mappings.units import convert

_SECONDS_A_YEAR = 365.2425 * 86400
_COARSE = ("year", "month")


def of_entry(wanted: Input, entry: Entry) -> float | None:
    """An entry's number in the input's unit, or None where it has none that may be used."""
    if not isinstance(entry.value, Quantity):
        return None
    return number(wanted, entry.value, _code(wanted, entry))


def number(wanted: Input, value: Quantity, code: str | None) -> float | None:
    """A quantity in the input's unit; None for an unknown unit or an implausible value.

    What is below or above an assay's limit counts as the limit; `features` tells of which inputs.
    """
    if value.unit is None or wanted.plausible is None:
        return None
    try:
        same = value.unit == wanted.unit
        found = float(
            value.value if same else convert(value.value, value.unit, wanted.unit, code=code)
        )
    except UnknownUnit:
        return None
    low, high = wanted.plausible
    return found if math.isfinite(found) and low <= found <= high else None


def why_none(wanted: Input, entry: Entry) -> str:
    """Why an entry that `of_entry` refuses has no number."""
    value = entry.value
    if not isinstance(value, Quantity):
        return "received, but not as a number"
    if value.unit is None:
        return "received with a blank or unknown unit"
    try:
        convert(value.value, value.unit, wanted.unit, code=_code(wanted, entry))
    except UnknownUnit:
        return f"received in a unit that is not convertible to {wanted.unit}"
    return "received, but outside the plausible range"


def _code(wanted: Input, entry: Entry) -> str | None:
    first, *others = wanted.codes
    if not others and entry.code is not None and entry.code.code == first:
        return first
    return next((code for code in wanted.codes if entry.has_code(code)), None)


def scaled(wanted: Input, value: float) -> float:
    """A number in the input's unit on the scale the graphs take."""
    # The floor keeps an assay's 0 apart from minus infinity; it lies below every detection limit.
    return math.log(max(value, 1e-3)) if wanted.transform == "log" else value


def undated(wanted: Input, entry: Entry) -> bool:
    """Whether a trend cannot place an entry in time: its day was not told."""
    coarse = entry.effective is None or entry.effective.precision in _COARSE
    return wanted.statistic in TRENDS and coarse


def over_window(wanted: Input, entries: Sequence[Entry], t0: datetime) -> tuple[float | None, str]:
    """The input's statistic of several usable entries, or None and why there is none.

    The least and the greatest are in the input's unit; a slope (per year) and a change are of the
    transformed values. The order of the entries does not matter.

    Args:
        wanted: An input whose statistic is not `last`.
        entries: At least one; each has a number, and for a trend its day.
        t0: Where time begins, aware UTC.
    """
    values = {entry.key: of_entry(wanted, entry) for entry in entries}
    numbers = [value for value in values.values() if value is not None]
    if wanted.statistic == "minimum":
        return min(numbers), ""
    if wanted.statistic == "maximum":
        return max(numbers), ""
    days = {entry.effective.value.date() for entry in entries if entry.effective}
    if len(days) < wanted.distinct_days:
        return None, f"received on {len(days)} of the {wanted.distinct_days} days that it takes"
    points = sorted(
        ((entry.effective.earliest - t0).total_seconds() / _SECONDS_A_YEAR, scaled(wanted, value))
        for entry in entries
        if entry.effective is not None and (value := values[entry.key]) is not None
    )
    if points[0][0] == points[-1][0]:
        return None, "received, but all of one moment"
    if wanted.statistic == "change":
        return _at(points, points[-1][0]) - _at(points, points[0][0]), ""
    return _slope(points), ""


def _at(points: Sequence[tuple[float, float]], moment: float) -> float:
    """The mean of the values of one moment, since nothing says which of them came last."""
    found = [value for when, value in points if when == moment]
    return math.fsum(found) / len(found)


def _slope(points: Sequence[tuple[float, float]]) -> float:
    """Least squares of value over time."""
    middle = math.fsum(when for when, _ in points) / len(points)
    mean = math.fsum(value for _, value in points) / len(points)
    shared = math.fsum((when - middle) * (value - mean) for when, value in points)
    return shared / math.fsum((when - middle) ** 2 for when, _ in points)
