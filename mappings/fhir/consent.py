"""Consent: what a patient, or who may for them, agreed to or refused, and until when.

Whether it suffices for a study is a pack's rule; who gave it is said as far as it is known.
Source: FHIR R4 Consent.
"""

from __future__ import annotations

from typing import Any

from mappings import identity
from mappings.fhir.reading import Element, Reading
from mappings.record import Entry
from mappings.statuses import Status
from mappings.tables import table

PATIENT = "patient"
_STATUSES: dict[str, Status] = table("fhir_events")  # type: ignore[assignment]  # checked by test
_MAPPED = frozenset(
    {"identifier", "status", "scope", "category", "patient", "dateTime", "performer"}
    | {"policy", "policyRule", "provision", "contained", "organization"}
    | {"sourceAttachment", "sourceReference"}
)


def entries(reading: Reading) -> list[Entry]:
    """One consent; one that was rejected or is no longer active counts as cancelled."""
    categories = [reading.coded(item) for item in reading.all("category")]
    concept = next((c for c in categories if c.codes), None)
    scope = reading.coded(reading.one("scope"))
    provision = reading.one("provision")
    period = reading.one("period", provision)
    effective = reading.when("start", period) or reading.when("dateTime")
    sent = reading.text("status")
    if sent not in _STATUSES:
        reading.note("status", "not a status of consents")
    reading.leftovers(_MAPPED)
    code = concept.codes[0].code if concept else scope.codes[0].code if scope.codes else ""
    return [
        reading.entry(
            "consent",
            reading.dated("consent", code, effective),
            "provision",
            _STATUSES.get(sent, "unknown"),
            scope,
            concept=concept,
            effective=effective,
            details={
                "status": sent,
                "scope": reading.words("scope"),
                "category": reading.words("category"),
                "performers": [_performer(reading, one) for one in reading.all("performer")],
                "policy": _policies(reading),
                # R4: a base policy without a rule of its own permits or denies as it says itself.
                "provision": reading.text("type", provision),
                "signed": reading.text("dateTime"),
                "ended": reading.text("end", period),
            },
        )
    ]


def _policies(reading: Reading) -> list[str]:
    named = [
        reading.text("uri", policy) or reading.text("authority", policy)
        for policy in reading.all("policy")
    ]
    return [n for n in named if n] + reading.words("policyRule")


def _performer(reading: Reading, one: Element) -> dict[str, Any]:
    """Who agreed: by logical identifier or literal reference, and whether that is the patient.

    `patient` is None where neither can be told: another number may be the same person's.
    """
    literal = reading.text("reference", one)
    target = _target(reading, literal) or reading.text("type", one)
    made = {"who": reading.named(one), "type": target, "relationship": _relation(reading, literal)}
    kept: dict[str, Any] = {name: found for name, found in made.items() if found}
    return {**kept, "patient": _is_patient(reading, one, target)}


def _is_patient(reading: Reading, one: Element, target: str) -> bool | None:
    if target and target != "Patient":
        return False
    literal = reading.text("reference", one).partition("/_history/")[0]
    subject = reading.text("reference", reading.one("patient")).partition("/_history/")[0]
    if literal and literal == subject:
        return True
    logical = identity.of_fhir(reading.one("identifier", one), reading.site)
    if logical is not None and logical == reading.patient:
        return True
    # Two records of one server are two persons as far as it knows.
    both = literal.startswith("Patient/") and subject.startswith("Patient/")
    return False if both else None


def _target(reading: Reading, literal: str) -> str:
    """Resource type of a reference, also of a contained resource; empty where it does not say."""
    if literal.startswith("#"):
        return reading.text("resourceType", _contained(reading, literal))
    path = literal.partition("/_history/")[0].split("/")
    return path[-2] if len(path) > 1 and path[-2][:1].isupper() else ""


def _relation(reading: Reading, literal: str) -> list[str]:
    return reading.words("relationship", _contained(reading, literal))


def _contained(reading: Reading, literal: str) -> Element:
    if not literal.startswith("#"):
        return {}
    found = (r for r in reading.all("contained") if r.get("id") == literal[1:])
    return next(found, {})
