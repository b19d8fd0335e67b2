"""Encounter: visits, under the same key as PV1-19 where the visit number is sent.

Source: FHIR R4 Encounter.
"""

from __future__ import annotations

from mappings.fhir.reading import Reading
from mappings.record import Entry
from mappings.statuses import Status

PATIENT = "subject"
_MAPPED = frozenset({"identifier", "status", "class", "subject", "period", "type", "contained"})


def entries(reading: Reading) -> list[Entry]:
    """One visit; its FHIR status stands in the details."""
    sent = reading.text("status")
    status: Status = "final"
    if sent in ("cancelled", "entered-in-error"):
        status = "cancelled" if sent == "cancelled" else "entered-in-error"
    period = reading.one("period")
    reading.leftovers(_MAPPED)
    return [
        reading.entry(
            "encounter",
            reading.key("encounter"),
            "status",
            status,
            None,
            effective=reading.when("start", period),
            details={
                "status": sent,
                "class": reading.text("code", reading.one("class")),
                "discharged": reading.text("end", period),
            },
        )
    ]
