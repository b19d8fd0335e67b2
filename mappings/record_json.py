"""Entries and values as JSON: what the ledger keeps of them, and reads back.

Names of classes stand under `type`; what a key column of the ledger has is not repeated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from mappings.record import (
    Attachment,
    Code,
    Coded,
    Entry,
    Identifier,
    Interval,
    Quantity,
    Ratio,
    Series,
    Text,
    Value,
    When,
)

_VALUES: Mapping[str, type] = {
    t.__name__: t
    for t in (Quantity, Coded, Text, Interval, Ratio, Series, Attachment, When, Identifier)
}


def to_json(entry: Entry) -> dict[str, Any]:
    """The parts of an entry that the ledger keeps as JSON: no key columns, of Source the visit."""
    body: dict[str, Any] = {}
    if entry.alternates:
        body["alternates"] = [[c.system, c.code, c.display] for c in entry.alternates]
    if entry.code and entry.code.display:
        body["display"] = entry.code.display
    if entry.value is not None:
        body["value"] = value_to_json(entry.value)
    if entry.effective:
        body["effective"] = when_to_json(entry.effective)
    if entry.source_time:
        body["source_time"] = when_to_json(entry.source_time)
    if entry.details:
        body["details"] = dict(entry.details)
    if entry.source.visit:
        body["visit"] = entry.source.visit
    if entry.source.account:
        body["account"] = entry.source.account
    return body


def when_to_json(when: When) -> list[Any]:
    """`[iso, precision, offset, assumed]`."""
    return [when.value.isoformat(), when.precision, when.offset_minutes, when.assumed_zone]


def when_from_json(data: Sequence[Any]) -> When:
    """Inverse of `when_to_json`."""
    return When(datetime.fromisoformat(data[0]), data[1], data[2], data[3])


def value_to_json(value: Value) -> dict[str, Any]:  # noqa: PLR0911  one per type
    """A value with its type's name under `type`."""
    match value:
        case Quantity():
            return {
                "type": "Quantity",
                "value": str(value.value),
                "unit": value.unit,
                "text": value.text,
                "raw_unit": value.raw_unit,
                "comparator": value.comparator,
            }
        case Coded():
            return {
                "type": "Coded",
                "codes": [[c.system, c.code, c.display] for c in value.codes],
                "text": value.text,
            }
        case Ratio():
            return {
                "type": "Ratio",
                "numerator": str(value.numerator),
                "denominator": str(value.denominator),
                "text": value.text,
                "separator": value.separator,
            }
        case When():
            return {"type": "When", "when": when_to_json(value)}
        case Identifier():
            # Its own `type` (table 0203) must not hide the name of the class.
            return {
                "type": "Identifier",
                "value": value.value,
                "authority": value.authority,
                "type_code": value.type,
            }
        case Series():
            return {"type": "Series", "rows": [list(r) for r in value.rows], "unit": value.unit}
        case _:
            fields = {name: getattr(value, name) for name in value.__slots__}
            return {"type": type(value).__name__, **fields}


def value_from_json(data: Mapping[str, Any]) -> Value:  # noqa: PLR0911  one per type
    """Inverse of `value_to_json`."""
    rest = {k: v for k, v in data.items() if k != "type"}
    match data["type"]:
        case "Quantity":
            return Quantity(**{**rest, "value": Decimal(rest["value"])})
        case "Coded":
            return Coded(tuple(Code(*c) for c in rest["codes"]), rest["text"])
        case "Ratio":
            numbers = {k: Decimal(rest[k]) for k in ("numerator", "denominator")}
            return Ratio(**{**rest, **numbers})
        case "When":
            return when_from_json(rest["when"])
        case "Identifier":
            return Identifier(rest["value"], rest["authority"], rest["type_code"])
        case "Series":
            return Series(tuple(tuple(r) for r in rest["rows"]), rest["unit"])
        case name:
            made: Value = _VALUES[name](**rest)
            return made
