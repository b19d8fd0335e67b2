"""Consent: who agreed to what, until when, and whether it was the patient."""

from __future__ import annotations

from typing import Any

import pytest
from resources import MRN, SUBJECT, WHO, Read, concept, one

from mappings.errors import NoPatientIdentifier
from mappings.fhir.door import validate

CONSENT: dict[str, Any] = {
    "resourceType": "Consent",
    "status": "active",
    "scope": concept("research", "http://terminology.hl7.org/CodeSystem/consentscope"),
    "category": [concept("59284-0", "http://loinc.org")],
    "patient": SUBJECT,
    "dateTime": "2026-02-20",
    "performer": [SUBJECT],
    "policyRule": concept("OPTIN"),
    "provision": {"type": "permit", "period": {"start": "2026-03-01", "end": "2031-03-01"}},
}


def test_a_consent_says_what_was_agreed_and_until_when(read: Read) -> None:
    """It counts from the start of its period; the day of signing stays beside it."""
    validate(CONSENT)
    found = read(CONSENT)
    entry = one(found)
    assert () == found.findings
    assert ("consent", "final", "59284-0", "2026-03-01") == (
        entry.kind,
        entry.status,
        entry.code.code if entry.code else "",
        entry.effective.isoformat() if entry.effective else "",
    )
    assert {
        "scope": ["research"],
        "category": ["59284-0"],
        "policy": ["OPTIN"],
        "provision": "permit",
        "signed": "2026-02-20",
        "ended": "2031-03-01",
        "performers": [{"who": "Patient/p", "type": "Patient", "patient": True}],
    }.items() <= entry.details.items()


def test_without_a_period_it_counts_from_its_signing(read: Read) -> None:
    """Consent.dateTime; a policy is known by its uri or authority."""
    entry = one(
        read({**CONSENT, "provision": {"type": "deny"}, "policy": [{"uri": "urn:irb:7"}, {}]})
    )
    assert ("2026-02-20", "deny", ["urn:irb:7", "OPTIN"]) == (
        entry.effective.isoformat() if entry.effective else "",
        entry.details["provision"],
        entry.details["policy"],
    )


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("active", "final"),
        ("draft", "registered"),
        ("proposed", "registered"),
        ("rejected", "cancelled"),
        ("inactive", "cancelled"),
        ("entered-in-error", "entered-in-error"),
        ("wat", "unknown"),
    ],
)
def test_only_an_active_consent_is_final(read: Read, sent: str, status: str) -> None:
    """What was rejected or withdrawn leaves the record; FHIR's word stays in the details."""
    entry = one(read({**CONSENT, "status": sent}))
    assert (status, sent) == (entry.status, entry.details["status"])


@pytest.mark.parametrize(
    ("performer", "who", "is_patient"),
    [
        ({"reference": "Patient/p"}, "Patient/p", True),
        ({"reference": "Patient/p/_history/2"}, "Patient/p/_history/2", True),
        ({"identifier": {"system": MRN, "value": "SYN-1"}}, f"{MRN}|SYN-1", True),
        ({"reference": "RelatedPerson/7"}, "RelatedPerson/7", False),
        ({"reference": "Patient/q"}, "Patient/q", False),
        ({"identifier": {"system": MRN, "value": "SYN-2"}}, f"{MRN}|SYN-2", None),
        ({"reference": "urn:uuid:7"}, "urn:uuid:7", None),
        (
            {"type": "RelatedPerson", "identifier": {"system": "urn:x", "value": "M"}},
            "urn:x|M",
            False,
        ),
    ],
)
def test_whether_the_patient_agreed_is_never_guessed(
    read: Read, performer: dict[str, Any], who: str, is_patient: bool | None
) -> None:
    """A guardian is somebody else; another number may be the same person's."""
    (told,) = one(read({**CONSENT, "performer": [performer]}, WHO)).details["performers"]
    assert (who, is_patient) == (told["who"], told["patient"])


def test_a_guardian_inside_the_resource_has_a_relationship(read: Read) -> None:
    """Contained RelatedPerson: mother."""
    guardian = {
        "resourceType": "RelatedPerson",
        "id": "g",
        "patient": SUBJECT,
        "relationship": [concept("MTH")],
    }
    resource = {**CONSENT, "contained": [guardian], "performer": [{"reference": "#g"}]}
    assert [
        {"who": "#g", "type": "RelatedPerson", "relationship": ["MTH"], "patient": False}
    ] == one(read(resource)).details["performers"]


@pytest.mark.parametrize(
    ("damage", "path"),
    [
        ({"status": 7}, "Consent.status"),
        ({"provision": "yes"}, "Consent.provision"),
        ({"dateTime": "20 Feb"}, "Consent.dateTime"),
        ({"performer": "Patient/p"}, "Consent.performer"),
        ({"verification": [{"verified": True}]}, "Consent.verification"),
    ],
)
def test_a_bad_element_is_reported(read: Read, damage: dict[str, Any], path: str) -> None:
    """And the consent stays."""
    found = read({**CONSENT, "provision": {}, **damage})
    assert path in [f.path for f in found.findings]
    assert "consent" == one(found).kind


def test_a_consent_of_nobody_is_refused(read: Read) -> None:
    """Consent.patient is optional in R4; filing needs it."""
    with pytest.raises(NoPatientIdentifier):
        read({**CONSENT, "patient": None}, None)


def test_a_consent_without_number_and_id_is_known_by_its_day(read: Read) -> None:
    """A version that tells more replaces it."""
    assert "consent/59284-0/@2026-03-01" == one(read(CONSENT)).key
    assert one(read(CONSENT)).key == one(read({**CONSENT, "status": "inactive"})).key
