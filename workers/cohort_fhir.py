"""A synthetic patient of a cohort as FHIR: the facts that `workers.cohort.hl7` sends as HL7.

One transaction: the Patient, a Condition for each diagnosis, an Observation for each value, one for
each gene with its rows as components, a DiagnosticReport for each narrative.
Source: FHIR R4; HL7 Genomics Reporting IG; models.md 4.4.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

from mappings.codes import UCUM
from mappings.record import Code, Coded, Quantity, Text

if TYPE_CHECKING:
    from inference.training.cohorts.patients import Fact, Patient

_TERMS = "http://terminology.hl7.org/CodeSystem/"
_FILLER = {"coding": [{"system": f"{_TERMS}v2-0203", "code": "FILL"}]}
_CONFIRMED = {"coding": [{"system": f"{_TERMS}condition-ver-status", "code": "confirmed"}]}
_ACTIVE = {"coding": [{"system": f"{_TERMS}condition-clinical", "code": "active"}]}
_HTEST = {"system": f"{_TERMS}v3-ActReason", "code": "HTEST"}
Resource = dict[str, Any]


def bundle(one: Patient, *, index_at: datetime) -> Resource:
    """All facts of a patient.

    Args:
        one: A patient of a declared study.
        index_at: Aware moment of day 0.
    """
    from inference.training.cohorts import patients  # noqa: PLC0415  numpy, at start-up

    who = _patient(one, patients.birth_date(one, index_at), patients.AUTHORITY)
    subject = {
        "reference": f"Patient/{who['id']}",
        "identifier": who["identifier"][0],
    }
    parts = [(f"Patient/{who['id']}", "PUT", who)]
    parts += [
        (made["resourceType"], "POST", {**made, "subject": subject})
        for made in _resources(patients.facts(one), index_at)
    ]
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "fullUrl": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{one.number}/{place}')}",
                "resource": resource,
                "request": {"method": method, "url": url},
            }
            for place, (url, method, resource) in enumerate(parts)
        ],
    }


def _patient(one: Patient, born: datetime, authority: str) -> Resource:
    return {
        "resourceType": "Patient",
        "id": one.number.lower(),
        "meta": {"security": [_HTEST]},
        "identifier": [{"system": authority, "value": one.number}],
        "name": [{"text": "SYNTHETIC PATIENT"}],
        "gender": one.sex,
        "birthDate": born.date().isoformat(),
    }


def _resources(facts: tuple[Fact, ...], index_at: datetime) -> Iterator[Resource]:
    for (_, sub_id), group in groupby(facts, key=lambda f: (f.order, f.sub_id)):
        told = list(group)
        if sub_id:
            yield _gene(told, index_at)
            continue
        for fact in told:
            yield _single(fact, index_at)


def _single(fact: Fact, index_at: datetime) -> Resource:
    when = (index_at + timedelta(days=fact.days)).isoformat()
    issued = (index_at + timedelta(days=fact.issued_days)).isoformat()
    if fact.kind == "condition":
        return {
            "resourceType": "Condition",
            "clinicalStatus": _ACTIVE,
            "verificationStatus": _CONFIRMED,
            "code": _concept(fact.code),
            "onsetDateTime": when,
        }
    told = {
        "identifier": [_filler(fact.order)],
        "status": "final",
        "code": _concept(fact.code),
        "effectiveDateTime": when,
        "issued": issued,
    }
    if isinstance(fact.value, Text) and fact.kind == "report":
        words = base64.b64encode(fact.value.text.encode()).decode()
        form = {"contentType": "text/plain; charset=utf-8", "data": words}
        return {"resourceType": "DiagnosticReport", **told, "presentedForm": [form]}
    return {"resourceType": "Observation", **told, **_value(fact.value)}


def _gene(rows: list[Fact], index_at: datetime) -> Resource:
    """What is said of one gene: whether there is a variant, which gene, which change."""
    first, *others = rows
    made = _single(first, index_at)
    made["identifier"] = [_filler(f"{first.order}/{first.sub_id}")]
    made["component"] = [{"code": _concept(o.code), **_value(o.value)} for o in others]
    return made


def _filler(number: str) -> Resource:
    """As in OBR-3, whose number names no authority either: both doors give one key."""
    return {"type": _FILLER, "value": number}


def _concept(code: Code, text: str = "") -> Resource:
    coding = {"system": code.system, "code": code.code, "display": code.display}
    made: Resource = {"coding": [{name: said for name, said in coding.items() if said}]}
    return {**made, "text": text} if text else made


def _value(value: Quantity | Coded | Text | None) -> Resource:
    """value[x]."""
    match value:
        case Quantity(value=number, unit=unit):
            code = {"unit": unit, "system": UCUM, "code": unit}
            return {"valueQuantity": {"value": float(number), **code}}
        case Coded(codes=(code, *_), text=text):
            return {"valueCodeableConcept": _concept(code, text)}
        case Coded(text=text) | Text(text=text):
            return {"valueString": text}
    return {}
