"""SIU^S12 to S22 and S26: appointments, booked, changed, cancelled or missed.

An appointment is no visit yet. Services, rooms and people of the resource groups stand in its
details; S23 and S24 tell of time slots without a patient and are not mapped.
Source: HL7 v2.5.1 chapters 10.4, 10.6.7 (SCH), 10.6.4 to 10.6.6 (AIS, AIL, AIP); table 0278;
HL7/v2-to-fhir map "SIU_S12".
"""

from __future__ import annotations

from typing import Any

from mappings import keys
from mappings.hl7v2 import dg1, patients, results
from mappings.hl7v2.er7 import Segment
from mappings.hl7v2.groups import Grouping
from mappings.hl7v2.reading import Concept, Reading
from mappings.record import Coded, Entry, When
from mappings.statuses import Status
from mappings.tables import table

# What the event says; SCH-25 is finer and comes first.
_EVENTS = {
    **{f"S{number}": "booked" for number in (*range(12, 15), *range(18, 23))},
    "S15": "cancelled",
    "S16": "cancelled",
    "S17": "entered-in-error",
    "S26": "noshow",
}
_ENDS = frozenset({"S15", "S16", "S17", "S26"})
_STATUSES: dict[str, Status] = {
    "cancelled": "cancelled",
    "entered-in-error": "entered-in-error",
    "proposed": "preliminary",
    "pending": "preliminary",
}
_READ = {
    "SCH": frozenset({1, 2, 6, 7, 8, 9, 10, 11, 25, 26, 27}),
    "RGS": frozenset({1}),
    "TQ1": frozenset({1, 7, 8}),
    **dict.fromkeys(("AIS", "AIG", "AIL", "AIP"), frozenset({1, 3})),
    "DG1": frozenset({1, 2, 3, 4}),
    "NTE": frozenset({1, 3}),
}
_RESOURCES = {"AIS": "services", "AIG": "resources", "AIL": "locations", "AIP": "personnel"}
_GROUP = 4  # AIG-4, the type of a resource that has no name
_STARTS = {"AIS": 4, "AIG": 8, "AIL": 6, "AIP": 6}


def entries(reading: Reading) -> list[Entry]:
    """The entries of one scheduling message.

    Raises:
        NoPatientIdentifier: No PID with an identifier of a known authority.
    """
    return patients.read(reading, _body)


def _body(reading: Reading, segments: list[Segment], _issued: When | None) -> list[Entry]:
    sch = next((segment for segment in segments if segment.name == "SCH"), None)
    if sch is None:
        reading.note("SCH", "no SCH: nothing says which appointment", "error")
    grouping = Grouping(beside=frozenset())
    beside: list[Segment] = []
    for segment in segments:
        if grouping.take(reading, segment) or segment is sch:
            continue
        if sch is not None and segment.name in _READ and segment.name != "SCH":
            beside.append(segment)
        else:
            reading.unmapped(segment)
    made = results.read(reading, grouping.groups)
    return [_appointment(reading, sch, beside), *made] if sch is not None else made


def _appointment(reading: Reading, sch: Segment, beside: list[Segment]) -> Entry:
    placer = reading.order_number(sch.field(1), filler=False)
    filler = reading.order_number(sch.field(2))
    start, end = _times(reading, sch, beside)
    concept = _concept(reading, sch, beside)
    state = _state(reading, sch)
    details: dict[str, Any] = {
        "status": state,
        "placer": placer,
        "filler": filler,
        "end": end.isoformat() if end else "",
        "duration": " ".join(p for p in (reading.part(sch, 9), reading.part(sch, 10)) if p),
        "reason": reading.coded(sch, 7),
        "event_reason": reading.coded(sch, 6),
        "type": reading.coded(sch, 8),
        "orders": [n for n in (reading.order_number(sch.field(k)) for k in (26, 27)) if n],
        "diagnoses": [dg1.reason(reading, s) for s in beside if s.name == "DG1"],
        "notes": [reading.lines(s.field(3)) for s in beside if s.name == "NTE"],
    }
    for segment in beside:
        name = _RESOURCES.get(segment.name)
        if name and (named := _named(reading, segment)):
            details.setdefault(name, []).append(named)
        reading.leftovers(segment, _read_of(reading, segment, start, end))
    unread = {number for number in (9, 10) if not reading.part(sch, number)}
    reading.leftovers(sch, _READ["SCH"] - unread)
    return Entry(
        "appointment",
        keys.appointment(placer, filler, start),
        reading.patient,
        reading.source,
        f"SCH[{sch.number}]",
        _STATUSES.get(state, "final"),
        concept.code,
        concept.alternates,
        Coded(concept.codings, concept.text) if concept.codings or concept.text else None,
        start,
        reading.sent,
        f"appointment {placer}" if placer else None,
        {name: value for name, value in details.items() if value},
    )


def _named(reading: Reading, segment: Segment) -> str | dict[str, str]:
    """A service by its code; a room and a person as they were sent; else the kind of resource."""
    if segment.name not in ("AIS", "AIG"):
        return reading.text(segment, 3)
    return reading.coded(segment, 3 if segment.name == "AIS" or segment.field(3) else _GROUP)


def _read_of(
    reading: Reading, segment: Segment, start: When | None, end: When | None
) -> frozenset[int]:
    """Fields that count: times that another segment overrules do not."""
    mapped = _READ[segment.name]
    if segment.name == "TQ1":
        told = {7: start, 8: end}
        return mapped - {n for n, t in told.items() if reading.time(reading.part(segment, n)) != t}
    at = _STARTS.get(segment.name, 0)
    if start is not None and at and reading.time(reading.part(segment, at)) == start:
        mapped |= {at}
    return mapped | {_GROUP} if segment.name == "AIG" and not segment.field(3) else mapped


def _state(reading: Reading, sch: Segment) -> str:
    """FHIR appointment status: an event that ends it, else SCH-25 (table 0278), else the event."""
    event = reading.event
    sent = reading.part(sch, 25)
    found = table("hl70278").get(sent.upper())
    if event in _ENDS:
        if sent and found != _EVENTS[event]:
            reading.note(sch.path(25), "the event says otherwise, and counts", "information")
        return _EVENTS[event]
    if sent and found is None:
        reading.note(sch.path(25), "filler status is not in table 0278", "information")
    return found or _EVENTS[event]


def _times(
    reading: Reading, sch: Segment, beside: list[Segment]
) -> tuple[When | None, When | None]:
    """Start and end: SCH-11.4 and .5 (TQ), else TQ1-7 and -8, else the first resource's start."""
    start, end = (_time(reading, sch, 11, component) for component in (4, 5))
    for segment in beside:
        if segment.name == "TQ1":
            start = start or _time(reading, segment, 7)
            end = end or _time(reading, segment, 8)
    for segment in beside:
        if start is None and segment.name in _STARTS:
            start = _time(reading, segment, _STARTS[segment.name])
    return start, end


def _time(reading: Reading, segment: Segment, number: int, component: int = 1) -> When | None:
    text = reading.part(segment, number, component)
    found = reading.time(text) if text else None
    if text and found is None:
        reading.note(segment.path(number), "not a date or time", "error")
    return found


def _concept(reading: Reading, sch: Segment, beside: list[Segment]) -> Concept:
    """What it is for: the first service (AIS-3), else SCH-7 or SCH-8."""
    fields = [s.field(3) for s in beside if s.name == "AIS"] + [sch.field(7), sch.field(8)]
    found = next((text for text in fields if text), "")
    return reading.concept(found) if found else Concept(None, (), "")
