"""Specimen: what was taken, from where and when, its parents and containers; no results.

Slides name it as their block or its parent, so every number it has is kept.
Source: FHIR R4 Specimen; DICOM PS3.3 C.7.6.22 for the chain of specimens.
"""

from __future__ import annotations

from mappings.fhir.reading import Reading
from mappings.record import Entry
from mappings.statuses import Status
from mappings.tables import table

PATIENT = "subject"
_STATUSES: dict[str, Status] = table("fhir_events")  # type: ignore[assignment]  # checked by test
_MAPPED = frozenset(
    {"identifier", "accessionIdentifier", "status", "type", "subject", "receivedTime", "parent"}
    | {"request", "collection", "container", "condition", "note", "contained"}
)


def entries(reading: Reading) -> list[Entry]:
    """One specimen, at the time it was collected."""
    concept = reading.coded(reading.one("type"))
    collection = reading.one("collection")
    period = reading.one("collectedPeriod", collection)
    collected = reading.when("collectedDateTime", collection) or reading.when("start", period)
    sent = reading.text("status")
    if sent and sent not in _STATUSES:
        reading.note("status", "not a status of specimens")
    reading.leftovers(_MAPPED)
    numbers = [reading.number(i) for i in reading.all("identifier")]
    containers = [
        reading.number(i) for c in reading.all("container") for i in reading.all("identifier", c)
    ]
    name = concept.codes[0].code if concept.codes else concept.text
    return [
        reading.entry(
            "specimen",
            reading.dated("specimen", name, collected),
            "type",
            # Status is 0..1 here: what is told of without one was there.
            _STATUSES.get(sent, "unknown") if sent else "final",
            concept,
            concept=concept,
            effective=collected,
            details={
                "status": sent,
                "ids": [n for n in numbers if n],
                "accession": reading.text("value", reading.one("accessionIdentifier")),
                "parents": [n for one in reading.all("parent") if (n := reading.named(one))],
                "containers": [n for n in containers if n],
                "received": reading.text("receivedTime"),
                "ended": reading.text("end", period),
                "site": reading.words("bodySite", collection),
                "method": reading.words("method", collection),
                "condition": reading.words("condition"),
            },
        )
    ]
