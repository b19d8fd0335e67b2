"""Small valid resources for tests."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from mappings.conversion import Conversion
from mappings.record import Entry, Identifier

MRN = "https://hospital.example/ns/mrn"
LAB = "https://hospital.example/ns/lab"
WHO = Identifier("SYN-1", MRN, "MR")
SUBJECT = {"reference": "Patient/p"}
Read = Callable[..., Conversion]


def one(conversion: Conversion) -> Entry:
    """The first entry."""
    return conversion.entries[0]


def concept(code: str, system: str = "http://snomed.info/sct", text: str = "") -> dict[str, Any]:
    """A CodeableConcept of one coding."""
    made: dict[str, Any] = {"coding": [{"system": system, "code": code}]}
    return {**made, "text": text} if text else made


def patient(**fields: Any) -> dict[str, Any]:
    """A patient with one record number."""
    return {
        "resourceType": "Patient",
        "identifier": [{"system": MRN, "value": "SYN-1", "type": {"coding": [{"code": "MR"}]}}],
        **fields,
    }


def observation(**fields: Any) -> dict[str, Any]:
    """An AFP of 412.50 ng/mL; a field given as None is left out."""
    made = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "1834-1"}]},
        "subject": {"reference": "Patient/p"},
        "effectiveDateTime": "2026-11-20T09:30:00+08:00",
        "issued": "2026-11-20T10:00:00+08:00",
        "valueQuantity": {
            "value": Decimal("412.50"),
            "unit": "ng/ml",
            "system": "http://unitsofmeasure.org",
            "code": "ng/mL",
        },
        **fields,
    }
    return {name: value for name, value in made.items() if value is not None}


FILLER = [{"type": {"coding": [{"code": "FILL"}]}, "system": LAB, "value": "F1"}]


def bundle(*resources: dict[str, Any]) -> dict[str, Any]:
    """A transaction; the first resource is urn:uuid:0."""
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "fullUrl": f"urn:uuid:{number}",
                "resource": resource,
                "request": {"method": "POST", "url": "X"},
            }
            for number, resource in enumerate(resources)
        ],
    }
