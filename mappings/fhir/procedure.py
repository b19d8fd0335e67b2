"""Procedure: operations, biopsies and treatments.

Source: FHIR R4 Procedure.
"""

from __future__ import annotations

from mappings.fhir.reading import Reading
from mappings.record import Entry
from mappings.statuses import Status
from mappings.tables import table

PATIENT = "subject"
_STATUSES: dict[str, Status] = table("fhir_events")  # type: ignore[assignment]  # checked by test
_MAPPED = frozenset(
    {"identifier", "status", "code", "subject", "performedDateTime", "performedPeriod", "category"}
    | {"bodySite", "outcome", "reasonCode", "note", "contained", "encounter", "basedOn"}
    | {"performedString", "performedAge", "complication"}
)


def entries(reading: Reading) -> list[Entry]:
    """One procedure."""
    concept = reading.coded(reading.one("code"))
    reading.leftovers(_MAPPED)
    return [
        reading.entry(
            "procedure",
            reading.key("procedure"),
            "code",
            _STATUSES.get(reading.text("status"), "unknown"),
            concept,
            concept=concept,
            effective=reading.start("performed"),
            details={
                "status": reading.text("status"),
                "category": reading.words("category"),
                "body_site": reading.words("bodySite"),
                "outcome": reading.words("outcome"),
                "complication": reading.words("complication"),
                "reason": reading.words("reasonCode"),
                "ended": reading.text("end", reading.one("performedPeriod")),
                "performed": reading.text("performedString") or reading.measured("performedAge"),
            },
        )
    ]
