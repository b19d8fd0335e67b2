"""MedicationAdministration: a drug that was given, or was not.

Source: FHIR R4 MedicationAdministration.
"""

from __future__ import annotations

from mappings.fhir import medication
from mappings.fhir.reading import Reading
from mappings.record import Entry

PATIENT = "subject"
_MAPPED = medication.MAPPED | {"effectiveDateTime", "effectivePeriod", "request", "dosage"}


def entries(reading: Reading) -> list[Entry]:
    """One administration; one that was not done counts as cancelled."""
    reading.leftovers(_MAPPED)
    return [
        medication.entry(
            reading,
            "administration",
            reading.start("effective"),
            list(reading.all("dosage")),
            {
                "ended": reading.text("end", reading.one("effectivePeriod")),
                "request": reading.named(reading.one("request")),
            },
        )
    ]
