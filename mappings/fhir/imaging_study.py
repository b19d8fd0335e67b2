"""ImagingStudy: that a study exists, what it holds and how much of it; no pixels.

Source: FHIR R4 ImagingStudy; PS3.18 for the identifier `urn:dicom:uid`.
"""

from __future__ import annotations

from typing import Any

from mappings import identity, keys
from mappings.fhir.reading import Element, Reading
from mappings.record import Entry
from mappings.statuses import Status
from mappings.tables import table

PATIENT = "subject"
_STATUSES: dict[str, Status] = table("fhir_events")  # type: ignore[assignment]  # checked by test
_MAPPED = frozenset(
    {"identifier", "status", "modality", "subject", "started", "numberOfSeries", "description"}
    | {"numberOfInstances", "procedureCode", "series", "contained", "basedOn", "encounter"}
)


def entries(reading: Reading) -> list[Entry]:
    """One study, under its Study Instance UID."""
    uid, accession = "", ""
    for identifier in reading.all("identifier"):
        text = reading.text("value", identifier)
        if identifier.get("system") == "urn:dicom:uid":
            uid = text.removeprefix("urn:oid:")
        elif identity.fhir_type(identifier) == "ACSN":
            accession = text
    if not uid:
        reading.note("identifier", "no Study Instance UID: cannot be joined with its images")
    series = [_series(reading, item) for item in reading.all("series")]
    modalities = [reading.text("code", item) for item in reading.all("modality")]
    modalities += [s["modality"] for s in series if "modality" in s]
    concepts = [reading.coded(c) for c in reading.all("procedureCode")]
    count = reading.data.get("numberOfInstances")
    reading.leftovers(_MAPPED)
    return [
        reading.entry(
            "imaging_study",
            keys.imaging_study(uid) if uid else reading.weak("imaging_study"),
            "identifier",
            _STATUSES.get(reading.text("status"), "unknown"),
            None,
            concept=next((c for c in concepts if c.codes), None),
            effective=reading.when("started"),
            details={
                "study_instance_uid": uid,
                "accession": accession,
                "modality": "\\".join(dict.fromkeys(m for m in modalities if m)),
                "description": reading.text("description"),
                "series": series,
                "numberOfInstances": count if isinstance(count, int) else "",
            },
        )
    ]


def _series(reading: Reading, item: Element) -> dict[str, Any]:
    count = item.get("numberOfInstances")
    found: dict[str, Any] = {
        "uid": reading.text("uid", item).removeprefix("urn:oid:"),
        "modality": reading.text("code", reading.one("modality", item)),
        "description": reading.text("description", item),
    }
    if isinstance(count, int) and not isinstance(count, bool):
        found["numberOfInstances"] = count
    return {name: value for name, value in found.items() if value != ""}
