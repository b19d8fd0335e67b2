"""MedicationRequest: a drug that was prescribed; whether it was taken is not known by it.

Source: FHIR R4 MedicationRequest.
"""

from __future__ import annotations

from mappings.fhir import medication
from mappings.fhir.reading import Reading
from mappings.record import Entry

PATIENT = "subject"
_MAPPED = medication.MAPPED | {
    "intent",
    "priority",
    "doNotPerform",
    "authoredOn",
    "basedOn",
    "dosageInstruction",
}


def entries(reading: Reading) -> list[Entry]:
    """One prescription, at the time it was written; a prohibition counts as cancelled."""
    reading.leftovers(_MAPPED)
    return [
        medication.entry(
            reading,
            "request",
            reading.when("authoredOn"),
            list(reading.all("dosageInstruction")),
            {"intent": reading.text("intent")},
        )
    ]
