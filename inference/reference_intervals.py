"""What is ordinary at an age: published reference intervals, and how far a value stands from them.

The intervals are data in `reference_intervals.toml`, each with its source. An alkaline phosphatase
of 300 U/L is ordinary in a growing child and not in an adult; `z` says both in one number.
Source: model-rules 3; CLSI EP28-A3c (an interval is the central 95 % of the healthy).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path

from inference.toml_table import Table, document
from mappings.errors import UnknownUnit
from mappings.units import convert

# Standard normal quantile of 97.5 %.
_EDGE = 1.959963984540054
_FILE = Path(__file__).with_suffix(".toml")
_SEXES = ("male", "female")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """The central 95 % of the healthy of one sex and age band.

    Attributes:
        low, high: 2.5th and 97.5th percentile in `unit`, which is UCUM.
        source: The standard that names it.
    """

    low: float
    high: float
    unit: str
    source: str

    @property
    def centre(self) -> float:
        """Logarithm of the median, taking the healthy as log-normal."""
        return (math.log(self.low) + math.log(self.high)) / 2

    @property
    def spread(self) -> float:
        """SD of the logarithm."""
        return (math.log(self.high) - math.log(self.low)) / (2 * _EDGE)


@dataclass(frozen=True, slots=True, order=True)
class _Band:
    first: float
    end: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Analyte:
    unit: str
    source: str
    bands: dict[str, tuple[_Band, ...]]


def codes() -> frozenset[str]:
    """LOINC codes that have intervals."""
    return frozenset(_analytes())


def interval(code: str, age_years: float, sex: str | None) -> Interval | None:
    """What is ordinary, or None where no source says it.

    Args:
        code: LOINC.
        age_years: Exact age: bands of infants are months.
        sex: `male` or `female`; anything else has an interval only where both sexes share one.
    """
    analyte = _analytes().get(code)
    if analyte is None:
        return None
    bands = analyte.bands[sex if sex in _SEXES else ""]
    band = next((b for b in bands if b.first <= age_years < b.end), None)
    if band is None:
        return None
    return Interval(low=band.low, high=band.high, unit=analyte.unit, source=analyte.source)


def z(code: str, value: float, unit: str, age_years: float, sex: str | None) -> float | None:
    """How many SD of the healthy of this age and sex a value stands above their median.

    On the logarithm: -1.96 at the lower limit, 1.96 at the upper one.

    Args:
        code: LOINC.
        value: In `unit`.
        unit: UCUM.
        age_years: When it was measured.
        sex: `male`, `female`, or None where it is not known.

    Returns:
        None where no source names an interval, the unit is none of this analyte, or the value is
        not above 0.
    """
    found = interval(code, age_years, sex)
    if found is None or not (math.isfinite(value) and value > 0):
        return None
    try:
        here = float(convert(Decimal(repr(float(value))), unit, found.unit, code=code))
    except UnknownUnit:
        return None
    return (math.log(here) - found.centre) / found.spread


@cache
def _analytes() -> dict[str, _Analyte]:
    whole = document(_FILE.read_bytes(), _FILE.name)
    return {code: _analyte(whole.table(code)) for code in whole.rest()}


def _analyte(t: Table) -> _Analyte:
    t.text("name")
    shared, *own = (_bands(t, key) for key in ("all", *_SEXES))
    made = _Analyte(
        unit=t.text("unit"),
        source=t.text("source"),
        bands={sex: tuple(sorted((*shared, *more))) for sex, more in zip(_SEXES, own, strict=True)}
        | {"": shared},
    )
    t.end()
    return made


def _bands(t: Table, key: str) -> tuple[_Band, ...]:
    if not t.has(key):
        return ()
    what = "bands of [from years, to years, low, high], each rising"
    made = []
    for band in t.raw(key, what):
        if len(band) != 4 or not (band[0] < band[1] and 0 < band[2] < band[3]):  # noqa: PLR2004  as `what` says
            raise t.refuse(key, what)
        made.append(_Band(*map(float, band)))
    return tuple(made)
