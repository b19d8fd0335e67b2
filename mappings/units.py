"""Units of measure: what senders write, as UCUM, and conversion between units.

UCUM grammar and arithmetic are ucumvert's (on pint); the alias table and the substance-specific
factors are ours, as data in `tables`. Reading units out of messages is the mappings' work.
Source: The Unified Code for Units of Measure 2.2; LOINC example units.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from functools import cache, lru_cache
from typing import Any

from mappings.errors import UnknownUnit
from mappings.tables import rows, table

# A unit of this length is prose in the wrong field; the parser is not asked.
_LONGEST = 40


def normalise(raw: str, aliases: Mapping[str, str]) -> str | None:
    """The UCUM code of a unit as sent, or None when it is blank or unknown.

    Args:
        raw: OBX-6, Quantity.code or Quantity.unit.
        aliases: The site's own spellings, read first.
    """
    found = aliases.get(raw)
    return _normalise(raw) if found is None else found


@lru_cache(maxsize=4096)
def _normalise(raw: str) -> str | None:
    text = "".join(raw.split()).replace("\u00b9\u00b2", "^12").translate(_GLYPHS)
    if not text:
        return None
    exact = table("units").get(text)
    if exact is not None:
        return exact
    # Analysers that shout: PG/ML is never petagauss per megalitre. K/uL likewise stands in the
    # table before UCUM reads it as kelvin.
    folded = _folded_aliases()
    if text == text.upper() and text.casefold() in folded:
        return folded[text.casefold()]
    if is_ucum(text):
        return text
    return folded.get(text.casefold())


# MICRO SIGN and GREEK MU are one letter to a laboratory; full-width signs come from Chinese forms.
_GLYPHS = str.maketrans(
    {"\u00b5": "u", "\u03bc": "u", "\uff0f": "/", "\uff05": "%", "\u00d7": "x", "\u2103": "Cel"}
    | {"\u2079": "^9", "\u2076": "^6", "\u00b3": "^3", "\u00b2": "^2", "\uff3e": "^"}
)


@cache
def _folded_aliases() -> dict[str, str]:
    folded: dict[str, str] = {}
    for alias, unit in table("units").items():
        folded.setdefault(alias.casefold(), unit)
        folded.setdefault(unit.casefold(), unit)
    return folded


@lru_cache(maxsize=4096)
def is_ucum(text: str) -> bool:
    """Whether a text is a valid case-sensitive UCUM code."""
    return _quantity(text) is not None


@cache
def _registry() -> Any:
    # Imported here: the registry takes 0.4 s to build, and most messages use units of the table.
    from ucumvert import PintUcumRegistry  # noqa: PLC0415

    return PintUcumRegistry()


@lru_cache(maxsize=4096)
def _quantity(unit: str) -> Any:
    """The unit as a pint quantity, or None; text that is only an annotation counts as 1."""
    if not unit or len(unit) > _LONGEST or not unit.isascii():
        return None
    try:
        found = _registry().from_ucum(unit)
    except Exception:  # noqa: BLE001  third-party parser of untrusted text
        return None
    if not hasattr(found, "to"):
        found = _registry().Quantity(1, "dimensionless")
    return found


@cache
def _substances() -> dict[str, tuple[str, str, Fraction]]:
    return {
        row["code"]: (row["from"], row["to"], Fraction(row["factor"])) for row in rows("substances")
    }


def convert(value: Decimal, from_unit: str, to_unit: str, *, code: str | None = None) -> Decimal:
    """A value in another unit.

    Args:
        value: Exact number in `from_unit`.
        from_unit: UCUM code.
        to_unit: UCUM code.
        code: LOINC code of the measurement; needed between mass, moles and international units,
            where the factor belongs to the substance.

    Raises:
        UnknownUnit: A unit is not UCUM, or the two are not commensurable for this code.
    """
    if from_unit == to_unit:
        return value
    scale, offset = _line(from_unit, to_unit, code)
    return value * scale.numerator / scale.denominator + offset


@lru_cache(maxsize=4096)
def _line(from_unit: str, to_unit: str, code: str | None) -> tuple[Fraction, Decimal]:
    """Scale and offset that lead from one unit to the other."""
    direct = _commensurable(from_unit, to_unit)
    if direct is not None:
        return direct
    if code is not None and code in _substances():
        near, far, factor = _substances()[code]
        for start, end, ratio in ((near, far, factor), (far, near, 1 / factor)):
            there, back = _commensurable(from_unit, start), _commensurable(end, to_unit)
            if there is not None and back is not None:
                return there[0] * ratio * back[0], Decimal(0)
    raise UnknownUnit(to_unit if is_ucum(from_unit) else from_unit, code or "unit")


def _commensurable(from_unit: str, to_unit: str) -> tuple[Fraction, Decimal] | None:
    if from_unit == to_unit:
        return Fraction(1), Decimal(0)
    source, target = _quantity(from_unit), _quantity(to_unit)
    if source is None or target is None or source.dimensionality != target.dimensionality:
        return None
    make = _registry().Quantity
    # Temperatures have an offset, so two points of the line are asked for.
    if source.magnitude == 1 and target.magnitude == 1:
        zero = make(0, source.units).to(target.units).magnitude
        one = make(1, source.units).to(target.units).magnitude
        return _short(one - zero), Decimal(f"{zero:.12g}")
    return _short(source.to(target.units).magnitude / target.magnitude), Decimal(0)


def _short(number: float) -> Fraction:
    """A float factor as the short number it stands for: 1/10 and not 0.1000000000000000055."""
    return Fraction(number).limit_denominator(10**12)
