"""OBX: one observation, its value by OBX-2 and its status by OBX-11.

Which OBX belong together, and which lines make a report, is decided in `results`.
Source: HL7 v2.5.1 chapter 7.4.2 and 2.A; HL7/v2-to-fhir segment map "OBX[Observation]", with the
rules of docs/conformance where the map is silent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from mappings import keys
from mappings.codes import LOCAL
from mappings.hl7v2.attachments import encapsulated, pointer
from mappings.hl7v2.er7 import DELETE, Segment
from mappings.hl7v2.reading import Reading
from mappings.hl7v2.times import clock
from mappings.record import (
    RETRACTED,
    Code,
    Coded,
    Entry,
    Interval,
    Quantity,
    Ratio,
    Series,
    Status,
    Text,
    Value,
    When,
    value_to_json,
)
from mappings.tables import table

_STATUSES: dict[str, Status] = table("hl70085")  # type: ignore[assignment]  # rows checked by test
_MAPPED = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 11, 14, 19})
# OBX-1 to OBX-19 are looked at; a shorter segment is filled up with empty fields.
_FIELDS = 20
_LARGEST_EXPONENT = 400
_COMPARATORS = ("<=", ">=", "<", ">")
_GLYPHS = {"≤": "<=", "≥": ">=", "\uff1c": "<", "\uff1e": ">", "=<": "<=", "=>": ">="}
_DIGITS = frozenset("0123456789.+-eE")


@dataclass(frozen=True, slots=True)
class Order:
    """What the OBX below one OBR share.

    Attributes:
        filler: Filler number for keys, with authority; empty when none was sent.
        effective: OBR-7, else SPM-17.
        issued: OBR-22, or None.
        status: OBR-25 as an entry's status, or None.
    """

    filler: str = ""
    effective: When | None = None
    issued: When | None = None
    status: Status | None = None


def observation(
    reading: Reading, order: Order, obx: Segment, notes: list[str] | None, used: set[str]
) -> Entry | None:
    """One OBX as an entry, or None when OBX-3 names nothing.

    Args:
        reading: The message.
        order: Its OBR.
        obx: The segment.
        notes: NTE-3 lines that follow it.
        used: Keys already given out below this OBR; the new one is added.
    """
    fields = obx.fields
    fields += [""] * (_FIELDS - len(fields))
    concept = reading.concept(fields[3])
    code = concept.code or _uncoded(reading, obx, concept.text)
    if code is None:
        return None
    effective = (fields[14] and reading.when(obx, 14)) or order.effective
    issued = order.issued or (fields[19] and reading.when(obx, 19)) or reading.sent
    details: dict[str, Any] = {"type": fields[2], "status": fields[11]}
    status = _status(reading, order, obx, fields[11])
    text = fields[5]
    value: Value | None = None
    if text == DELETE:
        status = "deleted"
    elif text:
        value = _value(reading, obx, fields[2], text, details)
    elif status not in RETRACTED:
        # Empty is "no change": U and addenda come without the result they speak of.
        details["value_as_before"] = True
    if fields[7]:
        details["range"] = _range(reading.message.unescape(fields[7]))
    if fields[8]:
        details["flags"] = reading.message.repetitions(fields[8])
    if notes:
        details["notes"] = notes
    _leftovers(reading, fields)
    sub_id = "" if reading.site.sub_id_is_sequence else keys.sub_id(fields[4])
    key = keys.observation(code.code, order.filler, sub_id, effective, issued)
    if key in used:
        reading.note(obx.path(4), "same OBX-3 and OBX-4 twice below one OBR: counted in order")
        sub_id = f"{sub_id}#{len(used) + 1}"
        key = keys.observation(code.code, order.filler, sub_id, effective, issued)
    used.add(key)
    return Entry(
        "observation",
        key,
        reading.patient,
        reading.source,
        f"OBX[{obx.number}]-5",
        status,
        code,
        concept.alternates,
        value,
        effective,
        issued,
        keys.twin(code.code, sub_id, effective),
        details,
    )


def _leftovers(reading: Reading, fields: list[str]) -> None:
    for number in range(9, len(fields)):
        if fields[number] and number not in _MAPPED:
            reading.skipped["OBX", number] += 1


def _uncoded(reading: Reading, obx: Segment, text: str) -> Code | None:
    """OBX-3 with words and no code: the words are the local code."""
    if not text:
        reading.note(obx.path(3), "OBX-3 is empty: nothing says what was observed", "error")
        return None
    reading.note(obx.path(3), "no code, only text")
    return Code(f"{LOCAL}text", text, text)


def _status(reading: Reading, order: Order, obx: Segment, sent: str) -> Status:
    found = _STATUSES.get(sent)
    if found is not None:
        return found
    if sent:
        reading.note(obx.path(11), "status is not in table 0085")
    elif order.status is None:
        reading.note(obx.path(11), "no status, and none in OBR-25")
    return order.status or "unknown"


def _value(
    reading: Reading, obx: Segment, kind: str, text: str, details: dict[str, Any]
) -> Value | None:
    read = _READERS.get(kind)
    if read is None:
        reading.note(obx.path(2), "type is not mapped, kept as text" if kind else "no type given")
        read = _whole if kind else _string
    mark = reading.message.delimiters.repetition
    if not mark or mark not in text or kind in ("NA", "MA", "TX", "FT"):
        return read(reading, obx, text)
    values = [read(reading, obx, part) for part in text.split(mark) if part and part != DELETE]
    found = [value for value in values if value is not None]
    if len(found) > 1:
        details["repetitions"] = [value_to_json(value) for value in found]
    return found[0] if found else None


def _number(reading: Reading, obx: Segment, text: str) -> Value | None:
    """NM: a quantity; a comparator is kept, words become text, both reported."""
    sent = text.strip()
    number = decimal(sent)
    if number is not None:
        unit, raw = _unit(reading, obx)
        return Quantity(number, unit, sent, raw)
    compared = _compared(reading, obx, reading.message.unescape(text))
    if compared is not None:
        reading.note(obx.path(5), "comparator in a number", "information")
        return compared
    reading.note(obx.path(5), "not a number, kept as text")
    return Text(reading.message.unescape(text))


def decimal(text: str) -> Decimal | None:
    """Exact decimal of plain ASCII digits, or None (no NaN, no underscores, no other scripts)."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return (
        number if _DIGITS.issuperset(text) and abs(number.adjusted()) < _LARGEST_EXPONENT else None
    )


def _compared(reading: Reading, obx: Segment, text: str) -> Quantity | None:
    sent = text.strip()
    for glyph, plain in _GLYPHS.items():
        sent = sent.replace(glyph, plain)
    for comparator in _COMPARATORS:
        if sent.startswith(comparator):
            digits = sent[len(comparator) :].strip()
            number = decimal(digits)
            if number is None:
                return None
            unit, raw = _unit(reading, obx)
            return Quantity(number, unit, digits, raw, comparator)
    return None


def _unit(reading: Reading, obx: Segment) -> tuple[str | None, str]:
    """(UCUM, text as sent); blank and unknown units are reported (site rule 12)."""
    unit, raw = reading.unit(obx.field(6))
    if unit is None:
        reason = "unit is not known, value never converted" if raw else "no unit given"
        reading.note(obx.path(6), reason)
    return unit, raw


def _string(reading: Reading, obx: Segment, text: str) -> Value | None:
    """ST; a number with a unit beside it is a quantity that some analyser sends as text."""
    words = reading.message.unescape(text)
    if obx.field(6):
        number = decimal(words.strip())
        if number is not None:
            unit, raw = _unit(reading, obx)
            return Quantity(number, unit, words.strip(), raw)
        compared = _compared(reading, obx, words)
        if compared is not None:
            return compared
    return Text(words)


def lines(reading: Reading, text: str) -> str:
    """TX and FT: repetitions are lines of one text, blank ones kept."""
    mark = reading.message.delimiters.repetition
    parts = text.split(mark) if mark else [text]
    return "\n".join(reading.message.unescape("" if p == DELETE else p) for p in parts)


def _text(reading: Reading, _obx: Segment, text: str) -> Value | None:
    return Text(lines(reading, text))


def _structured(reading: Reading, obx: Segment, text: str) -> Value | None:
    """SN: quantity with comparator, ratio, range or text by SN.1 and SN.3."""
    parts = [p.strip() for p in reading.message.components(text)] + ["", "", "", ""]
    comparator, first, separator, second = parts[:4]
    low, high = decimal(first), decimal(second)
    whole = "".join(parts)
    if comparator == "<>" or separator == "+" or (low is None and high is None):
        return Text(whole)
    if separator in (":", "/") and low is not None and high is not None:
        return Ratio(low, high, whole, separator)
    unit, raw = _unit(reading, obx)
    if separator == "-":
        return Interval(first or None, second or None, unit)
    if low is None or (comparator and comparator not in (*_COMPARATORS, "=")):
        return Text(whole)
    return Quantity(low, unit, first, raw, comparator if comparator in _COMPARATORS else None)


def _coded(reading: Reading, _obx: Segment, text: str) -> Value | None:
    concept = reading.fresh_concept(text)
    return Coded(concept.codings, concept.text)


def _bare_code(reading: Reading, _obx: Segment, text: str) -> Value | None:
    """IS and ID: a code of a table that the message does not name."""
    code = reading.message.unescape(text)
    return Coded((Code(f"{LOCAL}L", code),), code)


def _moment(reading: Reading, obx: Segment, text: str) -> Value | None:
    found = reading.time(text)
    if found is not None:
        return found
    reading.note(obx.path(5), "not a date or time, kept as text", "error")
    return Text(reading.message.unescape(text))


def _clock(reading: Reading, obx: Segment, text: str) -> Value | None:
    found = clock(text)
    if found is None:
        reading.note(obx.path(5), "not a time of day, kept as text", "error")
    return Text(found or reading.message.unescape(text))


def _date_range(reading: Reading, obx: Segment, text: str) -> Value | None:
    ends = [reading.time(p) if p else None for p in reading.message.components(text)]
    if not any(ends):
        reading.note(obx.path(5), "not a range of dates, kept as text", "error")
        return Text(reading.message.unescape(text))
    low, high = (*ends, None)[:2]
    return Interval(low.isoformat() if low else None, high.isoformat() if high else None)


def _number_range(reading: Reading, obx: Segment, text: str) -> Value | None:
    low, high = (*(p.strip() for p in reading.message.components(text)), "")[:2]
    return Interval(low or None, high or None, _unit(reading, obx)[0])


def _samples(reading: Reading, obx: Segment, text: str) -> Value | None:
    """NA and MA: rows by repetition, values by component, texts as sent."""
    rows = (reading.message.components(p) for p in reading.message.repetitions(text))
    return Series(tuple(tuple(row) for row in rows), _unit(reading, obx)[0])


def _whole(reading: Reading, _obx: Segment, text: str) -> Value | None:
    """Types without a FHIR value (EI, XTN, CX …): the text as sent, escapes resolved."""
    return Text(reading.message.unescape(text))


_READERS: dict[str, Callable[[Reading, Segment, str], Value | None]] = {
    "NM": _number,
    "SN": _structured,
    "ST": _string,
    "TX": _text,
    "FT": _text,
    **dict.fromkeys(("CE", "CWE", "CNE", "CF"), _coded),
    **dict.fromkeys(("IS", "ID"), _bare_code),
    **dict.fromkeys(("DT", "DTM", "TS"), _moment),
    "TM": _clock,
    "DR": _date_range,
    "NR": _number_range,
    **dict.fromkeys(("NA", "MA"), _samples),
    "ED": encapsulated,
    "RP": pointer,
    **dict.fromkeys(
        ("VR", "EI", "EIP", "HD", "TN", "XTN", "CX", "XAD", "XPN", "XCN", "XON", "SI", "CP", "MO"),
        _whole,
    ),
}


@lru_cache(maxsize=2048)
def _range(text: str) -> dict[str, str]:
    """OBX-7: its text always, low and high where they can be read."""
    found = {"text": text}
    plain = text.strip()
    for glyph, mark in (*_GLYPHS.items(), ("\u2013", "-"), ("\u2014", "-"), ("~", "-")):
        plain = plain.replace(glyph, mark)
    for comparator in _COMPARATORS:
        if plain.startswith(comparator):
            limit = plain[len(comparator) :].strip()
            if decimal(limit) is not None:
                found["high" if comparator[0] == "<" else "low"] = limit
            return found
    low, dash, high = plain.rpartition("-")
    low, high = low.strip(), high.strip()
    if dash and decimal(low) is not None and decimal(high) is not None:
        found |= {"low": low, "high": high}
    return found
