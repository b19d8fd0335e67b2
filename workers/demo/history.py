"""What the hospital's EHR knows from before: a FHIR transaction of somebody's history.

Visits, problems, operations, drugs, specimens, family, consent, smoking and body measures, and
the studies that a RIS or a pathology system announces. Source: FHIR R4; ICD-10; ATC; models.md 1.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mappings.codes import DICOM, ICD10, LOINC, SNOMED, UCUM
from workers.demo.subject import (
    MRN_SYSTEM,
    CannotSend,
    Subject,
    concept,
    reference,
    transaction,
)

_ATC = "http://www.whocc.no/atc"
_V3 = "http://terminology.hl7.org/CodeSystem/v3-"
_FHIR = "http://terminology.hl7.org/CodeSystem/"
_HOSPITAL = MRN_SYSTEM.rsplit("/", 1)[0]
VISIT_SYSTEM, SPECIMEN_SYSTEM = f"{_HOSPITAL}/visit", f"{_HOSPITAL}/specimen"
Smoking = Literal["never", "former", "current"]
_SMOKING: Mapping[Smoking, tuple[str, str]] = {
    "never": ("LA18978-9", "Never smoker"),
    "former": ("LA15920-4", "Former smoker"),
    "current": ("LA18976-3", "Current every day smoker"),
}
_RELATIVES = {
    "father": ("FTH", "father"),
    "mother": ("MTH", "mother"),
    "brother": ("BRO", "brother"),
    "sister": ("SIS", "sister"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A diagnosis: ICD-10 code, its words, dates as FHIR writes them (`2019`, `2024-05-01`)."""

    icd10: str
    text: str
    onset: str
    recorded: str = ""
    abated: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A visit: its number, ambulatory or inpatient, first and last day."""

    number: str
    kind: Literal["AMB", "IMP"]
    start: str
    end: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A procedure: SNOMED CT code, its words, when it was done, the body site's code if known."""

    snomed: str
    text: str
    done: str
    site: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drug:
    """A drug that was given: ATC code, its words, when, how many milligrams."""

    atc: str
    text: str
    given: str
    dose_mg: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A specimen: its number, SNOMED CT type and words, when it was taken, body site's code."""

    number: str
    snomed: str
    text: str
    taken: str
    site: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Relative:
    """A relative with a disease: who, ICD-10 code, its words, age when it began."""

    relation: Literal["father", "mother", "brother", "sister"]
    icd10: str
    text: str
    age_years: int


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All that came before.

    Attributes:
        problems, visits, operations, drugs, samples, relatives: In any order.
        smoking: Status, or None where nobody asked.
        bmi: kg/m2, or None.
        ecog: Performance status 0 to 5, or None.
        observed: When smoking, BMI and ECOG were recorded.
        consented: Day of an active consent to the study, or empty.

    Raises:
        CannotSend: Something was observed, but not when.
    """

    problems: Sequence[Problem] = ()
    visits: Sequence[Visit] = ()
    operations: Sequence[Operation] = ()
    drugs: Sequence[Drug] = ()
    samples: Sequence[Sample] = ()
    relatives: Sequence[Relative] = ()
    smoking: Smoking | None = None
    bmi: float | None = None
    ecog: int | None = None
    observed: str = ""
    consented: str = ""

    def __post_init__(self) -> None:
        if not self.observed and (self.smoking, self.bmi, self.ecog) != (None, None, None):
            raise CannotSend("smoking, BMI or ECOG", "the day it was observed")


def smoking_of(answer: str | None) -> Smoking | None:
    """The status that a LOINC answer tells, or None where nobody asked."""
    return next((status for status, (code, _) in _SMOKING.items() if code == answer), None)


def fhir_history(
    who: Subject, history: History, announced: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """A transaction of the Patient, their history, and announced studies.

    Args:
        who: The patient.
        history: What came before.
        announced: Resources of `imaging_study`.
    """
    made = [_encounter(who, visit) for visit in history.visits]
    made += [_condition(who, problem) for problem in history.problems]
    made += [_procedure(who, operation) for operation in history.operations]
    made += [_administration(who, drug) for drug in history.drugs]
    made += [_specimen(who, sample) for sample in history.samples]
    made += [_family(who, relative) for relative in history.relatives]
    made += _measures(who, history)
    if history.consented:
        made.append(_consent(who, history.consented))
    return transaction(who, [*made, *announced])


def imaging_study(
    who: Subject, uid: str, modality: str, description: str, counts: Mapping[str, int]
) -> dict[str, Any]:
    """An ImagingStudy as a RIS or a pathology system announces it.

    Args:
        who: The patient; the study starts at their `t0`.
        uid: Study Instance UID.
        modality: (0008,0060): MR, SM, CT.
        description: (0008,1030).
        counts: Series Instance UID to number of instances.
    """
    coding = {"system": DICOM, "code": modality}
    return {
        "resourceType": "ImagingStudy",
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}],
        "status": "available",
        "subject": reference(who),
        "started": who.t0.isoformat(),
        "modality": [coding],
        "numberOfSeries": len(counts),
        "numberOfInstances": sum(counts.values()),
        "description": description,
        "series": [
            {"uid": series, "modality": coding, "numberOfInstances": count}
            for series, count in counts.items()
        ],
    }


def _encounter(who: Subject, visit: Visit) -> dict[str, Any]:
    names = {"AMB": "ambulatory", "IMP": "inpatient encounter"}
    kind = {"system": f"{_V3}ActCode", "code": visit.kind, "display": names[visit.kind]}
    return {
        "resourceType": "Encounter",
        "identifier": [
            {
                "type": concept(f"{_FHIR}v2-0203", "VN", "Visit number"),
                "system": VISIT_SYSTEM,
                "value": visit.number,
            }
        ],
        "status": "finished",
        "class": kind,
        "subject": reference(who),
        "period": {"start": visit.start, "end": visit.end},
    }


def _condition(who: Subject, problem: Problem) -> dict[str, Any]:
    clinical = "resolved" if problem.abated else "active"
    made = {
        "resourceType": "Condition",
        "clinicalStatus": concept(f"{_FHIR}condition-clinical", clinical, clinical.title()),
        "verificationStatus": concept(f"{_FHIR}condition-ver-status", "confirmed", "Confirmed"),
        "category": [
            concept(f"{_FHIR}condition-category", "problem-list-item", "Problem List Item")
        ],
        "code": concept(ICD10, problem.icd10, problem.text, problem.text),
        "subject": reference(who),
        "onsetDateTime": problem.onset,
        "abatementDateTime": problem.abated,
        "recordedDate": problem.recorded,
    }
    return {name: found for name, found in made.items() if found}


def _procedure(who: Subject, operation: Operation) -> dict[str, Any]:
    made: dict[str, Any] = {
        "resourceType": "Procedure",
        "status": "completed",
        "code": concept(SNOMED, operation.snomed, operation.text, operation.text),
        "subject": reference(who),
        "performedDateTime": operation.done,
    }
    if operation.site:
        made["bodySite"] = [{"coding": [{"system": SNOMED, "code": operation.site}]}]
    return made


def _administration(who: Subject, drug: Drug) -> dict[str, Any]:
    dose = {"value": drug.dose_mg, "unit": "mg", "system": UCUM, "code": "mg"}
    return {
        "resourceType": "MedicationAdministration",
        "status": "completed",
        "medicationCodeableConcept": concept(_ATC, drug.atc, drug.text, drug.text),
        "subject": reference(who),
        "effectiveDateTime": drug.given,
        "dosage": {"dose": dose},
    }


def _specimen(who: Subject, sample: Sample) -> dict[str, Any]:
    return {
        "resourceType": "Specimen",
        "identifier": [{"system": SPECIMEN_SYSTEM, "value": sample.number}],
        "status": "available",
        "type": concept(SNOMED, sample.snomed, sample.text, sample.text),
        "subject": reference(who),
        "collection": {
            "collectedDateTime": sample.taken,
            "bodySite": {"coding": [{"system": SNOMED, "code": sample.site}]},
        },
    }


def _family(who: Subject, relative: Relative) -> dict[str, Any]:
    code, words = _RELATIVES[relative.relation]
    began = {"value": relative.age_years, "unit": "a", "system": UCUM, "code": "a"}
    disease = concept(ICD10, relative.icd10, relative.text, relative.text)
    return {
        "resourceType": "FamilyMemberHistory",
        "status": "completed",
        "patient": reference(who),
        "relationship": concept(f"{_V3}RoleCode", code, words),
        "condition": [{"code": disease, "onsetAge": began}],
    }


def _measures(who: Subject, history: History) -> list[dict[str, Any]]:
    found: list[tuple[str, str, str, dict[str, Any]]] = []
    if history.smoking is not None:
        answer = concept(LOINC, *_SMOKING[history.smoking])
        value = {"valueCodeableConcept": answer}
        found.append(("72166-2", "Tobacco smoking status", "social-history", value))
    if history.bmi is not None:
        unit = {"unit": "kg/m2", "system": UCUM, "code": "kg/m2"}
        value = {"valueQuantity": {"value": history.bmi, **unit}}
        found.append(("39156-5", "Body mass index", "vital-signs", value))
    if history.ecog is not None:
        unit = {"unit": "{score}", "system": UCUM, "code": "{score}"}
        value = {"valueQuantity": {"value": history.ecog, **unit}}
        found.append(("89247-1", "ECOG performance status", "survey", value))
    return [
        {
            "resourceType": "Observation",
            "status": "final",
            "category": [concept(f"{_FHIR}observation-category", category, category)],
            "code": concept(LOINC, code, words),
            "subject": reference(who),
            "effectiveDateTime": history.observed,
            **value,
        }
        for code, words, category, value in found
    ]


def _consent(who: Subject, day: str) -> dict[str, Any]:
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": concept(f"{_FHIR}consentscope", "research", "Research"),
        "category": [concept(LOINC, "59284-0", "Consent Document")],
        "patient": reference(who),
        "dateTime": day,
        "performer": [reference(who)],
        "policyRule": concept(f"{_V3}ActCode", "OPTIN", "opt-in"),
    }
