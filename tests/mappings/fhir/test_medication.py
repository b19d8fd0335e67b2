"""Drugs given, taken and prescribed: which act, when, and what never counts as exposure."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from resources import MRN, SUBJECT, Read, concept, one

from mappings.fhir.door import validate
from mappings.record import Coded, Entry

ATC = "http://www.whocc.no/atc"
GIVEN = {
    "resourceType": "MedicationAdministration",
    "status": "completed",
    "medicationCodeableConcept": concept("J05AF10", ATC, "恩替卡韦"),
    "subject": SUBJECT,
    "effectivePeriod": {"start": "2025-03-02T08:00:00+08:00", "end": "2025-03-02T09:00:00+08:00"},
    "dosage": {
        "dose": {"value": Decimal("0.5"), "unit": "mg", "code": "mg"},
        "route": concept("26643006"),
    },
    "request": {"reference": "MedicationRequest/9"},
}
TAKEN = {
    "resourceType": "MedicationStatement",
    "status": "active",
    "medicationCodeableConcept": concept("L02BA01", ATC),
    "subject": SUBJECT,
    "effectiveDateTime": "2025",
    "dosage": [{"text": "20 mg 每日一次"}],
}
ORDERED = {
    "resourceType": "MedicationRequest",
    "status": "active",
    "intent": "order",
    "medicationCodeableConcept": concept("L01XX19", ATC),
    "subject": SUBJECT,
    "authoredOn": "2025-06-01",
    "dosageInstruction": [
        {"doseAndRate": [{"doseQuantity": {"value": 180, "unit": "mg/m2"}}]},
    ],
}


def told(entry: Entry) -> tuple[str, str, str, str]:
    """What was done, with which drug, from when, and as what it counts."""
    return (
        entry.details["act"],
        entry.code.code if entry.code else "",
        entry.effective.isoformat() if entry.effective else "",
        entry.status,
    )


@pytest.mark.parametrize(
    ("resource", "expected", "dose"),
    [
        (
            GIVEN,
            ("administration", "J05AF10", "2025-03-02T08:00:00+08:00", "final"),
            ["0.5 mg"],
        ),
        (TAKEN, ("statement", "L02BA01", "2025", "final"), ["20 mg 每日一次"]),
        (ORDERED, ("request", "L01XX19", "2025-06-01", "final"), ["180 mg/m2"]),
    ],
)
def test_each_type_is_an_act_at_its_time(
    read: Read, resource: dict[str, Any], expected: tuple[str, ...], dose: list[str]
) -> None:
    """Given, taken or prescribed; valid at the door, read without a finding."""
    validate(resource)
    found = read(resource)
    assert (expected, dose) == (told(one(found)), one(found).details["dose"])
    assert () == found.findings
    assert "medication" == one(found).kind


def test_an_administration_tells_when_it_ended_and_who_ordered_it(read: Read) -> None:
    """An infusion has two ends; the words of the drug stay as they were sent."""
    entry = one(read(GIVEN))
    assert ("2025-03-02T09:00:00+08:00", "MedicationRequest/9", ["26643006"]) == (
        entry.details["ended"],
        entry.details["request"],
        entry.details["route"],
    )
    assert isinstance(entry.value, Coded)
    assert "恩替卡韦" == entry.value.text


@pytest.mark.parametrize(
    ("resource", "sent", "status"),
    [
        (GIVEN, "not-done", "cancelled"),
        (GIVEN, "in-progress", "preliminary"),
        (GIVEN, "stopped", "final"),
        (GIVEN, "entered-in-error", "entered-in-error"),
        (TAKEN, "not-taken", "cancelled"),
        (TAKEN, "intended", "registered"),
        (TAKEN, "completed", "final"),
        (ORDERED, "draft", "registered"),
        (ORDERED, "cancelled", "cancelled"),
        (ORDERED, "on-hold", "registered"),
    ],
)
def test_what_was_not_given_is_no_exposure(
    read: Read, resource: dict[str, Any], sent: str, status: str
) -> None:
    """Statuses of the three value sets; FHIR's own word stays in the details."""
    entry = one(read({**resource, "status": sent}))
    assert (status, sent) == (entry.status, entry.details["status"])


def test_an_order_not_to_give_is_cancelled(read: Read) -> None:
    """The element doNotPerform turns the meaning of the whole resource."""
    assert "cancelled" == one(read({**ORDERED, "doNotPerform": True})).status


def test_a_drug_is_found_in_the_contained_medication(read: Read) -> None:
    """`#m` is read; another server's Medication is known by its display only."""
    contained = {
        "contained": [
            {"resourceType": "Medication", "id": "m", "code": concept("L01XC07", ATC, "贝伐珠单抗")}
        ],
        "medicationReference": {"reference": "#m"},
        "medicationCodeableConcept": None,
    }
    assert "L01XC07" == told(one(read({**TAKEN, **contained})))[1]
    elsewhere = {"reference": "Medication/7", "display": "Bevacizumab"}
    found = read({**TAKEN, "medicationCodeableConcept": None, "medicationReference": elsewhere})
    assert Coded((), "Bevacizumab") == one(found).value
    assert ["MedicationStatement.medicationReference"] == [f.path for f in found.findings]


@pytest.mark.parametrize(
    ("damage", "path"),
    [
        ({"medicationCodeableConcept": None}, "MedicationAdministration.medication[x]"),
        ({"status": "wat"}, "MedicationAdministration.status"),
        ({"effectivePeriod": {"start": "soon"}}, "MedicationAdministration.start"),
        ({"dosage": "1 mg"}, "MedicationAdministration.dosage"),
        ({"device": [{"reference": "Device/1"}]}, "MedicationAdministration.device"),
    ],
)
def test_a_bad_element_is_reported(read: Read, damage: dict[str, Any], path: str) -> None:
    """What can be read is kept; an unknown status is never taken for final."""
    found = read({**GIVEN, **damage})
    assert path in [f.path for f in found.findings]
    assert ("unknown" if "status" in damage else "final") == one(found).status


def test_keys_go_by_number_then_server_then_time(read: Read) -> None:
    """Without either, the same drug at the same minute is the same act, whatever else was sent."""
    numbered = {**GIVEN, "id": "1", "identifier": [{"system": MRN, "value": "A1"}]}
    assert f"medication/{MRN}|A1" == one(read(numbered)).key
    assert "medication/@lab/MedicationAdministration/1" == one(read({**GIVEN, "id": "1"})).key
    first, again = one(read(GIVEN)).key, one(read({**GIVEN, "dosage": {"text": "1"}})).key
    assert "medication/administration/J05AF10/@2025-03-02T00:00Z" == first == again
    other = {**GIVEN, "effectivePeriod": {"start": "2025-03-03T08:00:00+08:00"}}
    assert first != one(read(other)).key
    assert first != one(read({**GIVEN, "effectivePeriod": None})).key
