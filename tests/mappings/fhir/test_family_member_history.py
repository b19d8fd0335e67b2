"""Family history: one entry a disease, under the relative and never as the patient's own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from resources import SUBJECT, Read, concept, one

from mappings.fhir.door import validate
from mappings.record import Coded, PatientRecord

ICD10 = "http://hl7.org/fhir/sid/icd-10"
MOTHER: dict[str, Any] = {
    "resourceType": "FamilyMemberHistory",
    "id": "m",
    "status": "completed",
    "patient": SUBJECT,
    "date": "2026-02-20",
    "relationship": concept("MTH", "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "母亲"),
    "deceasedAge": {"value": 70, "unit": "a", "code": "a"},
    "condition": [
        {
            "code": concept("C50.9", ICD10, "乳腺癌"),
            "onsetAge": {"value": 44, "unit": "a", "code": "a"},
            "contributedToDeath": True,
        },
        {"code": {"text": "卵巢癌"}, "onsetString": "五十多岁"},
        {"code": concept("C50.9", ICD10)},
    ],
}


def disease(value: object) -> str:
    """The first code of an answer, else its words."""
    assert isinstance(value, Coded)
    return value.codes[0].code if value.codes else value.text


def test_each_disease_is_an_entry_of_its_relative(read: Read) -> None:
    """Two breasts are two entries; ages and words of onset are kept."""
    validate(MOTHER)
    found = read(MOTHER)
    base = "family_history/@lab/FamilyMemberHistory/m"
    assert () == found.findings
    assert [
        (f"{base}/C50.9", "MTH", "C50.9", "44 a"),
        (f"{base}/卵巢癌", "MTH", "卵巢癌", "五十多岁"),
        (f"{base}/C50.9/2", "MTH", "C50.9", ""),
    ] == [
        (
            e.key,
            e.code.code if e.code else "",
            disease(e.value),
            e.details.get("onset", ""),
        )
        for e in found.entries
    ]
    assert {base} == {e.details["set"] for e in found.entries}
    assert ("true", "70 a") == (
        one(found).details["fatal"],
        one(found).details["deceased"],
    )


def test_a_mothers_cancer_is_not_the_patients(read: Read) -> None:
    """What asks a record by code is never answered by a relative."""
    record = PatientRecord.of(read(MOTHER).entries, as_of=datetime(2027, 1, 1, tzinfo=UTC))
    assert () == record.coded("C50.9")
    assert 3 == len(record.of_kind("family_history"))


@pytest.mark.parametrize(
    ("damage", "status"),
    [
        ({}, "final"),
        ({"status": "partial"}, "final"),
        ({"status": "health-unknown"}, "unknown"),
        ({"dataAbsentReason": concept("subject-unknown")}, "unknown"),
        ({"status": "entered-in-error"}, "entered-in-error"),
    ],
)
def test_a_relative_without_disease_is_one_entry(
    read: Read, damage: dict[str, Any], status: str
) -> None:
    """Healthy is said with status final; where nobody knows, it is not healthy."""
    (entry,) = read({**MOTHER, "condition": None, **damage}).entries
    assert (status, None, "MTH") == (
        entry.status,
        entry.value,
        entry.code.code if entry.code else "",
    )


@pytest.mark.parametrize(
    ("damage", "path"),
    [
        ({"condition": [{"onsetString": "x"}]}, "FamilyMemberHistory.condition[0].code"),
        ({"condition": "cancer"}, "FamilyMemberHistory.condition"),
        ({"status": "wat"}, "FamilyMemberHistory.status"),
        ({"date": "x"}, "FamilyMemberHistory.date"),
        ({"reasonCode": [{}]}, "FamilyMemberHistory.reasonCode"),
    ],
)
def test_a_bad_element_is_reported(read: Read, damage: dict[str, Any], path: str) -> None:
    """A condition that cannot be read does not make the relative healthy."""
    found = read({**MOTHER, **damage})
    assert path in [f.path for f in found.findings]
    if "condition" in damage:
        assert () == found.entries
