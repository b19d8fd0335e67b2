"""OBX: one observation, its value by OBX-2 and its status by OBX-11.

Which OBX belong together, and which lines make a report, is decided in `results`.
Source: HL7 v2.5.1 chapter 7.4.2 and 2.A; HL7/v2-to-fhir segment map "OBX[Observation]", with the
rules of docs/conformance where the map is silent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mappings import keys
from mappings.answers import answered, default_unit, is_local
from mappings.codes import LOCAL, mapped, ranked
from mappings.hl7v2.attachments import encapsulated, pointer
from mappings.hl7v2.er7 import DELETE, Segment
from mappings.hl7v2.numbers import COMPARATORS, GLYPHS, compared, decimal, limits
from mappings.hl7v2.reading import Reading
from mappings.hl7v2.times import clock
from mappings.record import (
    Attachment,
    Code,
    Coded,
    Entry,
    Interval,
    Quantity,
    Ratio,
    Series,
    Text,
    Value,
    When,
)
from mappings.record_json import value_to_json
from mappings.statuses import RETRACTED, Status
from mappings.tables import table

_STATUSES: dict[str, Status] = table("hl70085")  # type: ignore[assignment]  # rows checked by test
_FLAGS = table("hl70078")
_UNREAD = (9, 10, 12, 13, 15, 16, 18)
_TYPE = 29
# Values that have no place for the unit in OBX-6.
_WITHOUT_UNIT = frozenset({Text, Coded, When, Ratio, Attachment, type(None)})
# Why there is no value: N was not asked for, X could not be obtained.
_ABSENT = {"N": "not-asked", "X": "not-performed"}
# SN.3 in values that are no single number.
_SEPARATORS = frozenset({"-", "+", "/", ".", ":"})
# OBX-29: answers to questions that the order asked, and scientific side information.
_SUPPORTING = frozenset({"QST", "SCI"})
# OBX-1 to OBX-19 are looked at by number: a shorter segment is filled up with empty fields.
FIELDS = 20
_LONGEST_FLAGS = 20
_LONGEST_RANGE = 100
_MOST_TERMS = 1000


@dataclass(frozen=True, slots=True)
class Order:
    """What the OBX below one OBR share.

    Attributes:
        filler: Filler number for keys, with authority; empty when none was sent.
        effective: OBR-7, else SPM-17.
        issued: OBR-22, or None.
        status: OBR-25 as an entry's status, or None.
        shared: What every OBX says of it: numbers, service, specimens, comments.
        groups: OBX-4 → the OBX group it names (one variant, one lesion, one organism).
        role: `supporting` for what was told with an order; empty for results.
    """

    filler: str = ""
    effective: When | None = None
    issued: When | None = None
    status: Status | None = None
    shared: Mapping[str, Any] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    role: str = ""


def observation(  # noqa: C901, PLR0912  field by field, on the way of every result
    reading: Reading, order: Order, obx: Segment, notes: list[str] | None, role: str = ""
) -> Entry | None:
    """One OBX as an entry, or None when OBX-3 names nothing.

    Args:
        reading: The message.
        order: Its OBR.
        obx: The segment.
        notes: NTE-3 lines that follow it.
        role: What it is where it is no result (`supporting`, `specimen`): such an entry answers
            nobody's question of a measured value.
    """
    fields, known = obx.fields, reading.terms
    # What was read before is taken from where it lies: a call each costs more than all the rest.
    concept = known.concepts.get(fields[3]) or reading.concept(fields[3])
    code = concept.code or _uncoded(reading, obx, concept.text)
    if code is None:
        if notes:
            reading.note("NTE-3", "comment on an OBX without OBX-3")
        return None
    effective = order.effective
    if fields[14]:
        effective = reading.times.get(fields[14]) or reading.when(obx, 14) or effective
    issued = order.issued or (fields[19] and reading.when(obx, 19)) or reading.sent
    details: dict[str, Any] = {"type": fields[2], "status": fields[11]}
    if order.shared:
        details["order"] = order.shared
    status = _status(reading, order, obx, fields[11])
    text = fields[5]
    value: Value | None = None
    if not text:
        if status not in RETRACTED:
            # Empty is "no change": U and addenda come without the result they speak of.
            details["value_as_before"] = True
    elif text[0] == '"' and _deletes(reading, text):
        status = "deleted"
    else:
        value = _value(reading, obx, fields[2], text, details)
    if fields[6] and value.__class__ in _WITHOUT_UNIT:
        reading.skipped["OBX"][6] += 1
    if fields[7]:
        details["range"] = known.ranges.get(fields[7]) or _range(reading, fields[7])
    if fields[8]:
        details["flags"] = known.flags.get(fields[8]) or _flags(reading, obx, fields[8])
    if notes:
        details["notes"] = notes
    sent = fields[4]
    if sent and sent in order.groups:
        details["group"] = order.groups[sent]
    role = _more(reading, order, obx, details) or role or order.role
    if role:
        details["role"] = role
    sub_id = "" if reading.site.sub_id_is_sequence else keys.sub_id(sent)
    return Entry(
        "observation",
        keys.observation(code.code, order.filler, sub_id, effective, issued),
        reading.patient,
        reading.source,
        f"OBX[{obx.number}]-5",
        status,
        code,
        concept.alternates,
        value,
        effective,
        issued,
        None if role else keys.twin(code.code, sub_id, effective),
        details,
    )


def _deletes(reading: Reading, text: str) -> bool:
    """Whether `""` stands in the field, and in every repetition of it that holds anything."""
    return not any(part for part in reading.message.repetitions(text) if part != DELETE)


def _more(reading: Reading, order: Order, obx: Segment, details: dict[str, Any]) -> str:
    """Details that few OBX carry, and the fields we do not read; its role by OBX-29."""
    fields = obx.fields
    status = fields[11]
    if status in _ABSENT:
        details["absent"] = _ABSENT[status]
    if fields[17]:
        details["method"] = reading.terms.stated.get(fields[17]) or reading.stated(fields[17])
    if fields[19] and order.issued is not None:
        analysed = reading.when(obx, 19)
        details["analysed"] = analysed.isoformat() if analysed else ""
    skipped = reading.skipped["OBX"]
    for number in _UNREAD:
        if fields[number]:
            skipped[number] += 1
    if len(fields) <= FIELDS:
        return ""
    for number in range(FIELDS + 1, len(fields)):
        if fields[number] and number != _TYPE:
            skipped[number] += 1
    if fields[20]:
        details["site"] = reading.stated(fields[20])
    return "supporting" if reading.part(obx, _TYPE).upper() in _SUPPORTING else ""


def _flags(reading: Reading, obx: Segment, text: str) -> list[str]:
    """OBX-8 by table 0078; a code that is not in it stays as it was sent, and is reported."""
    parts = [part for part in reading.message.repetitions(text) if part != DELETE]
    sent = [reading.message.components(part)[0].strip() for part in parts]
    known = [_FLAGS.get(flag) or _FLAGS.get(flag.upper()) for flag in sent]
    found = [flag or raw for flag, raw in zip(known, sent, strict=True) if flag or raw]
    if None in known:
        reading.note(obx.path(8), "abnormal flag is not in table 0078", "information")
    elif len(text) <= _LONGEST_FLAGS and len(reading.terms.flags) < _MOST_TERMS:
        reading.terms.flags[text] = found
    return found


def _uncoded(reading: Reading, obx: Segment, text: str) -> Code | None:
    """OBX-3 with words and no code: the words are the local code."""
    if not text:
        reading.note(obx.path(3), "OBX-3 is empty: nothing says what was observed", "error")
        reading.unmapped(obx)
        return None
    reading.note(obx.path(3), "no code, only text")
    local = Code(f"{LOCAL}text", keys.bounded(text), text)
    return mapped(local, reading.site) or local


def _status(reading: Reading, order: Order, obx: Segment, sent: str) -> Status:
    found = _STATUSES.get(sent) or (_STATUSES.get(sent.strip().upper()) if sent else None)
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
    read = _READERS.get(kind) or _READERS.get(kind.strip().upper())
    if read is None:
        reading.note(obx.path(2), "type is not mapped, kept as text" if kind else "no type given")
        read = _whole if kind else _string
    mark = reading.message.delimiters.repetition
    if not mark or mark not in text or read in (_samples, _text):
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
    first = _before_remark(reading, text)
    if first:
        reading.note(obx.path(5), "a remark behind the number is left out")
        return _number(reading, obx, first)
    reading.note(obx.path(5), "not a number, kept as text")
    return Text(reading.message.unescape(text))


def _before_remark(reading: Reading, text: str) -> str:
    """The number of `85^^hexokinase`; empty where a further component may be part of the value."""
    first, *more = (part.strip() for part in reading.message.components(text))
    remark = any(more) and not any(p in _SEPARATORS or decimal(p) is not None for p in more)
    return first if remark and decimal(compared(first)[1] or first) is not None else ""


def _compared(reading: Reading, obx: Segment, text: str) -> Quantity | None:
    comparator, digits = compared(text)
    number = decimal(digits) if comparator else None
    if number is None:
        return None
    unit, raw = _unit(reading, obx)
    return Quantity(number, unit, digits, raw, comparator)


def _unit(reading: Reading, obx: Segment) -> tuple[str | None, str]:
    """(UCUM, text as sent); blank and unknown units are reported (site rule 12)."""
    text = obx.fields[6]
    unit, raw = reading.terms.units.get(text) or reading.unit(text)
    if unit is not None:
        return unit, raw
    if raw:
        reading.note(obx.path(6), "unit is not known, value never converted")
        return None, raw
    if reading.site.default_units:
        unit = default_unit(_question(reading, obx), reading.site)
    if unit is None:
        reading.note(obx.path(6), "no unit given")
    else:
        reading.note(obx.path(6), "no unit given, the site's for this code is taken", "information")
    return unit, raw


def _question(reading: Reading, obx: Segment) -> tuple[Code, ...]:
    """What OBX-3 asks, in every code that it has; words without a code are one."""
    concept = reading.concept(obx.fields[3])
    if concept.codings or not concept.text:
        return concept.codings
    return (Code(f"{LOCAL}text", keys.bounded(concept.text)),)


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


def _text(reading: Reading, _obx: Segment, text: str) -> Value | None:
    """TX and FT: repetitions are lines of one text."""
    return Text(reading.lines(text))


def _structured(reading: Reading, obx: Segment, text: str) -> Value | None:
    """SN: quantity with comparator, ratio, range or text by SN.1 and SN.3."""
    parts = [p.strip() for p in reading.message.components(text)] + ["", "", "", ""]
    if not any(parts[1:4]):
        # The number stands where the comparator should: read as NM is.
        return _number(reading, obx, text)
    comparator, first, separator, second = parts[:4]
    comparator = GLYPHS.get(comparator, comparator)
    low, high = decimal(first), decimal(second)
    whole = "".join(parts)
    if comparator == "<>" or separator == "+" or (low is None and high is None):
        return Text(whole)
    if separator in (":", "/") and low is not None and high is not None:
        return Ratio(low, high, whole, separator)
    unit, raw = _unit(reading, obx)
    if separator == "-":
        return Interval(first or None, second or None, unit)
    if low is None or (comparator and comparator not in (*COMPARATORS, "=")):
        return Text(whole)
    return Quantity(low, unit, first, raw, comparator if comparator in COMPARATORS else None)


def _coded(reading: Reading, obx: Segment, text: str) -> Value | None:
    """CE, CWE, CNE; a bare number with a unit beside it is one that a system sends so."""
    number = decimal(text.strip()) if obx.field(6) else None
    unit, raw = reading.unit(obx.field(6)) if number is not None else (None, "")
    if number is not None and unit is not None:
        reading.note(obx.path(5), "a number with a unit, sent as a code", "information")
        return Quantity(number, unit, text.strip(), raw)
    concept = reading.fresh_concept(text)
    if not concept.codings:
        return Coded((), concept.text) if concept.text else None
    return Coded(_answered(reading, obx, concept.codings), concept.text)


def _answered(reading: Reading, obx: Segment, codings: tuple[Code, ...]) -> tuple[Code, ...]:
    if reading.site.answer_maps:
        codings = answered(codings, _question(reading, obx), reading.site)
    if is_local(codings):
        reading.note(obx.path(5), "answer in a local code that no map knows", "information")
    return codings


def _bare_code(reading: Reading, obx: Segment, text: str) -> Value | None:
    """IS and ID: a code of a table that the message does not name, unless it is sent as a CE."""
    if (reading.message.delimiters.component or "^") in text:
        return _coded(reading, obx, text)
    code = reading.message.unescape(text)
    codings = ranked((Code(f"{LOCAL}L", code),), reading.site)
    return Coded(_answered(reading, obx, codings), code)


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


def _range(reading: Reading, sent: str) -> dict[str, str]:
    """OBX-7: its text always, low and high where they can be read."""
    text = reading.message.unescape(sent)
    mark = reading.message.delimiters.component
    # Some send the range, then its ends, as components.
    found = {"text": text, **limits(text.partition(mark)[0] if mark else text)}
    if len(sent) <= _LONGEST_RANGE and len(reading.terms.ranges) < _MOST_TERMS:
        reading.terms.ranges[sent] = found
    return found
