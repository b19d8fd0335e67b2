"""What the three medication resources share: the drug, the dose, and one entry of it.

Which resource is which act: `medication_administration`, `medication_statement`,
`medication_request`. A Medication by itself is no fact of a patient and is not mapped.
Source: FHIR R4 MedicationAdministration, MedicationStatement, MedicationRequest, Medication.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from mappings.fhir.reading import Element, Reading
from mappings.record import Coded, Entry, When
from mappings.statuses import Status
from mappings.tables import table

Act = Literal["administration", "statement", "request"]
MAPPED = frozenset(
    {"identifier", "status", "statusReason", "category", "medicationCodeableConcept"}
    | {"medicationReference", "subject", "context", "encounter", "reasonCode", "note", "contained"}
)
_STATUSES: dict[str, Status] = table("fhir_events")  # type: ignore[assignment]  # checked by test


def entry(
    reading: Reading,
    act: Act,
    effective: When | None,
    dosages: list[Element],
    details: Mapping[str, Any],
) -> Entry:
    """One drug that was given, taken or prescribed.

    Args:
        reading: The resource.
        act: Which of the three.
        effective: When; of a request, when it was written.
        dosages: Its dosage elements.
        details: What only this type says, added to the drug's own.
    """
    drug = _drug(reading)
    sent = reading.text("status")
    status = _STATUSES.get(sent, "unknown")
    if sent not in _STATUSES:
        reading.note("status", "not a status of medications")
    if reading.data.get("doNotPerform") is True:
        # An order that it must not be given would else count as exposure.
        status = "cancelled"
    name = drug.codes[0].code if drug.codes else drug.text
    doses = [_dose(reading, dosage) for dosage in dosages]
    return reading.entry(
        "medication",
        reading.dated("medication", f"{act}/{name}" if name else "", effective),
        "medication[x]",
        status,
        drug,
        concept=drug,
        effective=effective,
        details={
            "act": act,
            "status": sent,
            "category": reading.words("category"),
            "reason": reading.words("reasonCode"),
            "status_reason": reading.words("statusReason"),
            "dose": [d for d in doses if d],
            "route": [code for dosage in dosages for code in reading.words("route", dosage)],
            **details,
        },
    )


def _drug(reading: Reading) -> Coded:
    """The drug by code, of the resource or of the Medication contained in it."""
    said = reading.coded(reading.one("medicationCodeableConcept"))
    if said.codes or said.text:
        return said
    reference = reading.one("medicationReference")
    literal = reading.text("reference", reference)
    for resource in reading.all("contained") if literal.startswith("#") else ():
        if resource.get("id") == literal[1:]:
            found = reading.coded(reading.one("code", resource))
            if found.codes or found.text:
                return found
    shown = reading.text("display", reference)
    if shown:
        reading.note("medicationReference", "known by its display only")
    else:
        reading.note("medication[x]", "nothing says which drug", "error")
    return Coded((), shown)


def _dose(reading: Reading, dosage: Element) -> str:
    """Dose as number and unit, or the words of the dosage."""
    rates = list(reading.all("doseAndRate", dosage)) or [dosage]
    measured = [
        found
        for rate in rates
        if (found := reading.measured("dose", rate) or reading.measured("doseQuantity", rate))
    ]
    return measured[0] if measured else reading.text("text", dosage)
