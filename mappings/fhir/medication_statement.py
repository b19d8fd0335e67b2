"""MedicationStatement: a drug that somebody says is or was taken.

Source: FHIR R4 MedicationStatement.
"""

from __future__ import annotations

from mappings.fhir import medication
from mappings.fhir.reading import Reading
from mappings.record import Entry

PATIENT = "subject"
_MAPPED = medication.MAPPED | {
    "effectiveDateTime",
    "effectivePeriod",
    "dateAsserted",
    "basedOn",
    "dosage",
}


def entries(reading: Reading) -> list[Entry]:
    """One statement; one of a drug that was not taken counts as cancelled."""
    reading.leftovers(_MAPPED)
    return [
        medication.entry(
            reading,
            "statement",
            reading.start("effective") or reading.when("dateAsserted"),
            list(reading.all("dosage")),
            {
                "ended": reading.text("end", reading.one("effectivePeriod")),
                "asserted": reading.text("dateAsserted"),
            },
        )
    ]
