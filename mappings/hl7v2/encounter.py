"""PV1: the visit, its class, its status by trigger event, and where the patient lies.

A snapshot event (A08, A31) says nothing of the status and must not overwrite a known one, so it
files its fields under a key of their own. So does every event with the location: it has a story
of its own, told by A02 and taken back by A12.
Source: HL7 v2.5.1 chapter 3.4.3; table 0004; HL7/v2-to-fhir "PV1[Encounter]" and its event map.
"""

from __future__ import annotations

from typing import Any

from mappings.hl7v2.er7 import DELETE, Segment
from mappings.hl7v2.pid import visit_number
from mappings.hl7v2.reading import Reading
from mappings.keys import stamp
from mappings.record import Entry, Text, When
from mappings.statuses import Status
from mappings.tables import table

_STATUSES = {
    "A01": "in-progress",
    "A02": "in-progress",
    "A03": "finished",
    "A04": "planned",
    "A05": "planned",
    "A06": "in-progress",
    "A07": "in-progress",
    "A11": "cancelled",
    "A12": "in-progress",
    "A13": "in-progress",
    "A14": "planned",
    "A21": "onleave",
    "A22": "in-progress",
    "A23": "cancelled",
    "A27": "cancelled",
    "A38": "cancelled",
}
# These take the whole visit back, whatever else PV1 says.
_CANCELS = frozenset({"A11", "A23", "A27", "A38"})
_CANCELS_TRANSFER = "A12"
_CANCELS_DISCHARGE = "A13"
_CLASS_SAYS = {"P": "planned"}
_MAPPED = frozenset({1, 2, 3, 10, 19, 44, 45})


def read(reading: Reading, pv1: Segment, event: str, issued: When | None) -> list[Entry]:
    """The encounter of PV1, or nothing where no number and no time tell which visit it is."""
    key = visit(reading, pv1)
    reading.leftovers(pv1, _mapped(pv1, event))
    if not key:
        reading.note(f"PV1[{pv1.number}]", "no visit number and no admission time: not kept")
        return []
    sent = reading.part(pv1, 2)
    discharged = reading.when(pv1, 45)
    state = _status(event, sent, discharged)
    details: dict[str, Any] = {
        "class": table("hl70004").get(sent.upper(), sent),
        "service": reading.coded(pv1, 10),
    }
    if discharged is not None and event != _CANCELS_DISCHARGE:
        details["discharged"] = discharged.isoformat()
    details = {name: value for name, value in details.items() if value}
    status: Status = "cancelled" if state == "cancelled" else "final"
    told = {**details, "status": state} if state else details
    made = [_entry(reading, pv1, key if state else f"{key}/snapshot", status, issued, told)]
    if status == "cancelled":
        # What a snapshot told of the visit goes with it.
        made.append(_entry(reading, pv1, f"{key}/snapshot", status, issued, {}))
    return made + _location(reading, pv1, key, event, issued, status)


def _mapped(pv1: Segment, event: str) -> frozenset[int]:
    """Fields that count; the end of a cancelled discharge does not."""
    if event in _CANCELS:
        return _MAPPED - {3}
    if event == _CANCELS_DISCHARGE:
        return _MAPPED - {45}
    if event == _CANCELS_TRANSFER and not pv1.field(3):
        return _MAPPED | {6}
    return _MAPPED


def visit(reading: Reading, pv1: Segment) -> str:
    """Key of the visit: PV1-19 with its authority, else the admission time; empty for neither.

    Unlike a patient's, a visit number may go without an authority.
    """
    number = visit_number(reading, pv1.field(19))
    admitted = reading.when(pv1, 44)
    if number:
        return f"encounter/{number}"
    return f"encounter/@{stamp(admitted)}" if admitted else ""


def _entry(
    reading: Reading,
    pv1: Segment,
    key: str,
    status: Status,
    issued: When | None,
    details: dict[str, Any],
) -> Entry:
    return Entry(
        "encounter",
        key,
        reading.patient,
        reading.source,
        f"PV1[{pv1.number}]",
        status,
        effective=reading.when(pv1, 44),
        source_time=issued,
        details=details,
    )


def _location(
    reading: Reading, pv1: Segment, key: str, event: str, issued: When | None, status: Status
) -> list[Entry]:
    """Where the patient lies now (PV1-3); a cancelled transfer names where they lay before."""
    number = 6 if event == _CANCELS_TRANSFER and not pv1.field(3) else 3
    sent = pv1.field(number)
    if status != "cancelled":
        if event == _CANCELS_TRANSFER and not sent:
            reading.note(pv1.path(3), "transfer cancelled, and no location that counts again")
            status = "deleted"
        elif not sent:
            return []
        elif sent == DELETE:
            status = "deleted"
    value = None if status in ("cancelled", "deleted") else Text(reading.message.unescape(sent))
    return [
        Entry(
            "encounter",
            f"{key}/location",
            reading.patient,
            reading.source,
            pv1.path(number),
            status,
            value=value,
            source_time=issued,
        )
    ]


def _status(event: str, patient_class: str, discharged: When | None) -> str | None:
    """FHIR encounter status, or None where the event does not convey one."""
    if event in _CANCELS:
        return "cancelled"
    if discharged is not None and event != _CANCELS_DISCHARGE:
        return "finished"
    if event in ("A01", "A04") and patient_class in _CLASS_SAYS:
        return _CLASS_SAYS[patient_class]
    return _STATUSES.get(event)
