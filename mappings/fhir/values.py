"""Observation value[x] and component values as record values; decimals keep their text.

Source: FHIR R4 Observation.value[x], 2.24 data types; site rule 12.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation

from mappings import keys, units
from mappings.answers import answered, default_unit, is_local
from mappings.codes import LOCAL, UCUM
from mappings.fhir.reading import Element, Reading
from mappings.record import Code, Coded, Interval, Quantity, Ratio, Series, Text, Value

_LARGEST_EXPONENT = 400


def value(reading: Reading, of: Element, path: str) -> Value | None:
    """value[x] of an Observation or component, or None where there is none.

    Args:
        reading: The resource.
        of: The element that holds value[x].
        path: Where it stands, for findings.
    """
    for name, read in _READERS.items():
        if name in of:
            return read(reading, of, name, f"{path}{name}")
    for name in of:
        if name.startswith("value"):
            reading.note(path + "value[x]", "type is not mapped", "error")
    return None


def quantity(
    reading: Reading, element: Element, path: str, of: Element | None = None
) -> Quantity | None:
    """A Quantity; a blank or unknown unit is reported and never converted.

    `of` is the element whose `code` says what was measured.
    """
    number = decimal(element.get("value"))
    if number is None:
        reading.note(path, "no number", "error")
        return None
    raw = reading.text("unit", element)
    code = reading.text("code", element)
    if code and element.get("system") in (UCUM, None):
        raw = code
    unit = units.normalise(raw, reading.site.unit_aliases)
    if unit is None and raw:
        reading.note(path, "unit is not known, value never converted")
    elif unit is None:
        unit = default_unit(_question(reading, of), reading.site) if of is not None else None
        if unit is None:
            reading.note(path, "no unit given")
        else:
            reading.note(path, "no unit given, the site's for this code is taken", "information")
    comparator = reading.text("comparator", element) or None
    return Quantity(number, unit, str(number), raw, comparator)


def decimal(sent: object) -> Decimal | None:
    """A JSON number as an exact decimal, or None."""
    if isinstance(sent, bool) or not isinstance(sent, (int, float, Decimal)):
        return None
    try:
        number = sent if isinstance(sent, Decimal) else Decimal(str(sent))
    except InvalidOperation:
        return None
    fits = number.is_finite() and abs(number.adjusted()) < _LARGEST_EXPONENT
    return number if fits else None


def _quantity(reading: Reading, of: Element, name: str, path: str) -> Value | None:
    return quantity(reading, reading.one(name, of), path, of)


def _question(reading: Reading, of: Element) -> tuple[Code, ...]:
    """What `code` asks, in every code that it has; words without a code are one."""
    concept = reading.coded(reading.one("code", of))
    if concept.codes or not concept.text:
        return concept.codes
    return (Code(f"{LOCAL}text", keys.bounded(concept.text)),)


def _concept(reading: Reading, of: Element, name: str, path: str) -> Value | None:
    found = reading.coded(reading.one(name, of))
    if reading.site.answer_maps:
        codings = answered(found.codes, _question(reading, of), reading.site)
        found = Coded(codings, found.text)
    if is_local(found.codes):
        reading.note(path, "answer in a local code that no map knows", "information")
    return found


def _string(reading: Reading, of: Element, name: str, _path: str) -> Value | None:
    text = reading.text(name, of)
    return Text(text) if text else None


def _literal(reading: Reading, of: Element, name: str, path: str) -> Value | None:
    found = of[name]
    if isinstance(found, bool):
        return Text("true" if found else "false")
    number = decimal(found)
    if number is None:
        reading.note(path, "not a number", "error")
        return None
    return Quantity(number, "1", str(number))


def _moment(reading: Reading, of: Element, name: str, _path: str) -> Value | None:
    return reading.when(name, of)


def _period(reading: Reading, of: Element, name: str, _path: str) -> Value | None:
    period = reading.one(name, of)
    return Interval(reading.text("start", period) or None, reading.text("end", period) or None)


def _range(reading: Reading, of: Element, name: str, path: str) -> Value | None:
    found = reading.one(name, of)
    ends = [
        quantity(reading, found[end], f"{path}.{end}") if isinstance(found.get(end), dict) else None
        for end in ("low", "high")
    ]
    unit = next((q.unit for q in ends if q is not None), None)
    low, high = (q.text if q else None for q in ends)
    return Interval(low, high, unit)


def _ratio(reading: Reading, of: Element, name: str, path: str) -> Value | None:
    found = reading.one(name, of)
    above, below = (
        decimal(reading.one(part, found).get("value")) for part in ("numerator", "denominator")
    )
    if above is None or below is None:
        reading.note(path, "ratio without two numbers", "error")
        return None
    return Ratio(above, below, f"{above}:{below}")


def _samples(reading: Reading, of: Element, name: str, _path: str) -> Value | None:
    found = reading.one(name, of)
    origin = reading.one("origin", found)
    unit = reading.text("code", origin) or reading.text("unit", origin)
    row = tuple(reading.text("data", found).split())
    return Series((row,), units.normalise(unit, reading.site.unit_aliases))


_READERS: dict[str, Callable[[Reading, Element, str, str], Value | None]] = {
    "valueQuantity": _quantity,
    "valueCodeableConcept": _concept,
    "valueString": _string,
    "valueBoolean": _literal,
    "valueInteger": _literal,
    "valueRange": _range,
    "valueRatio": _ratio,
    "valueSampledData": _samples,
    "valueTime": _string,
    "valueDateTime": _moment,
    "valuePeriod": _period,
}
