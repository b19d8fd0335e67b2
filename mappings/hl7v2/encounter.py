"""PV1: the visit, its class and its status by trigger event.

A snapshot event (A08, A31) says nothing of the status and must not overwrite a known one, so it
files its fields under a key of their own.
Source: HL7 v2.5.1 chapter 3.4.3; table 0004; HL7/v2-to-fhir "PV1[Encounter]" and its event map.
"""

from __future__ import annotations

from mappings.hl7v2.er7 import Segment
from mappings.hl7v2.pid import cx
from mappings.hl7v2.reading import Reading
from mappings.keys import stamp
from mappings.record import Entry, Status, When
from mappings.tables import table

_STATUSES = {
    "A01": "in-progress",
    "A02": "in-progress",
    "A03": "finished",
    "A04": "planned",
    "A05": "planned",
    "A11": "cancelled",
    "A12": "in-progress",
    "A13": "in-progress",
    "A14": "planned",
    "A38": "cancelled",
}
_CLASS_SAYS = {"P": "planned"}
_MAPPED = frozenset({1, 2, 3, 10, 19, 44, 45})


def read(reading: Reading, pv1: Segment, event: str, issued: When | None) -> list[Entry]:
    """The encounter of PV1, or nothing where no number and no time tell which visit it is."""
    visit = _visit(reading, pv1)
    admitted = reading.when(pv1, 44)
    reading.leftovers(pv1, _MAPPED)
    if not visit and admitted is None:
        reading.note(pv1.path(19), "no visit number and no admission time: visit is not kept")
        return []
    key = f"encounter/{visit}" if visit else f"encounter/@{stamp(admitted)}" if admitted else ""
    sent = reading.part(pv1, 2)
    discharged = reading.when(pv1, 45)
    encounter_status = _status(event, sent, discharged)
    details = {
        "class": table("hl70004").get(sent, sent),
        "location": reading.message.unescape(pv1.field(3)),
        "service": reading.part(pv1, 10),
        "discharged": discharged.isoformat() if discharged else "",
    }
    details = {name: value for name, value in details.items() if value}
    status: Status = "final"
    if encounter_status is None:
        key += "/snapshot"
    else:
        details["status"] = encounter_status
        status = "cancelled" if encounter_status == "cancelled" else "final"
    path = f"PV1[{pv1.number}]"
    return [
        Entry(
            "encounter",
            key,
            reading.patient,
            reading.source,
            path,
            status,
            effective=admitted,
            source_time=issued,
            details=details,
        )
    ]


def _visit(reading: Reading, pv1: Segment) -> str:
    """PV1-19 with its authority; unlike a patient's, a visit number may go without."""
    text = pv1.field(19)
    found = cx(reading, text) if text else None
    return str(found) if found else reading.order_number(text)


def _status(event: str, patient_class: str, discharged: When | None) -> str | None:
    """FHIR encounter status, or None where the event does not convey one."""
    if event in ("A11", "A38"):
        return "cancelled"
    if discharged is not None and event != "A13":
        return "finished"
    if event in ("A01", "A04") and patient_class in _CLASS_SAYS:
        return _CLASS_SAYS[patient_class]
    return _STATUSES.get(event)
