"""A person of the synthetic cohorts, and how each wire of the demo hospital names them.

What happened to them is in `mr`, `slide`, `molecular`, `pathology` and `history`.
Source: HL7 v2.5.1 3.4.2 (PID); FHIR R4 Patient; PS3.3 C.7.1.1, C.7.2.1; models.md 4.4.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from workers.demo.feed_messages import CHINA, Sender, message, stamp

Sex = Literal["male", "female"]
Language = Literal["zh", "en"]

AUTHORITY = "DEMOHOSP"
MRN_SYSTEM = "https://hospital.example/mrn"
_MRN_DIGITS = 8
# One name per language; whoever reads it sees that nobody is meant.
_NAMES = {
    "zh": (("合成", "患者", "HE CHENG^HUAN ZHE"), ("样本", "病例", "YANG BEN^BING LI")),
    "en": (("SYNTHETIC", "PATIENT", ""), ("SPECIMEN", "CASE", "")),
}
_BORN = (12, 28)


class CannotSend(ValueError):
    """What was handed over does not fit the wire it should go on."""

    def __init__(self, what: str, expected: str) -> None:
        super().__init__(f"{what}: expected {expected}")
        self.what, self.expected = what, expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A synthetic person as this hospital knows them.

    Attributes:
        number: Medical record number, `SYN-` and digits.
        name: Family, given, and the romanised name or an empty string.
        birth_date: YYYY-MM-DD.
        sex: Administrative sex.
        language: Of their reports.
        t0: Index time of the study they are in, China time.
    """

    number: str
    name: tuple[str, str, str]
    birth_date: str
    sex: Sex
    language: Language
    t0: datetime

    def numbered(self, kind: str) -> str:
        """A number of one of the hospital's systems: accession `A…`, pathology case `P…`."""
        return f"{kind}{self.number.removeprefix('SYN-')}"

    def at(self, moment: datetime) -> Subject:
        """The same person on another day: for what has its own day among an index's."""
        return replace(self, t0=moment.astimezone(CHINA).replace(microsecond=0))

    def uid(self, *parts: object) -> str:
        """A DICOM UID of something of theirs, the same for the same parts (PS3.5 B.2)."""
        key = "/".join(("oncord-demo", self.number, self.t0.isoformat(), *map(str, parts)))
        return f"2.25.{uuid.uuid5(uuid.NAMESPACE_URL, key).int}"


def record_number(key: int) -> str:
    """The medical record number of whoever has this key, `SYN-` and eight digits."""
    return f"SYN-{key % 10**_MRN_DIGITS:0{_MRN_DIGITS}d}"


def subject(number: str, *, sex: Sex, age_years: int, language: Language, t0: datetime) -> Subject:
    """Somebody of a cohort; the same arguments give the same person.

    Args:
        number: Medical record number that the generator gave, `SYN-` and digits.
        sex: Administrative sex.
        age_years: At `t0`.
        language: Of their reports.
        t0: Index time, aware.

    Raises:
        CannotSend: The number does not say that nobody is meant.
    """
    digits = number.removeprefix("SYN-")
    if digits == number or not (digits.isascii() and digits.isdecimal()):
        raise CannotSend("medical record number", "SYN- and digits")
    moment = t0.astimezone(CHINA).replace(microsecond=0)
    born = moment.year - age_years - ((moment.month, moment.day) < _BORN)
    return Subject(
        number=number,
        name=_NAMES[language][int(digits) % 2],
        birth_date=f"{born}-{_BORN[0]}-{_BORN[1]}",
        sex=sex,
        language=language,
        t0=moment,
    )


def adt(who: Subject, event: str, control_id: str, now: datetime, segments: Sequence[str]) -> bytes:
    """An ADT about somebody, in GB18030 as many Chinese systems send it.

    Args:
        who: The patient.
        event: MSH-9, its three components.
        control_id: MSH-10.
        now: MSH-7 and EVN-2, aware.
        segments: What stands below PID.
    """
    sender = Sender("his", "HIS", "GB 18030-2000", "gb18030", "2.5.1", "\r")
    trigger = event.split("^")[1]
    evn = f"EVN|{trigger}|{stamp(now)}"
    return message(sender, event, control_id, now, (evn, _pid(who), *segments))


def oru(
    who: Subject, application: str, control_id: str, now: datetime, segments: Sequence[str]
) -> bytes:
    """An ORU^R01 about somebody, in UTF-8.

    Args:
        who: The patient.
        application: MSH-3.
        control_id: MSH-10.
        now: MSH-7, aware.
        segments: What stands below PID.
    """
    sender = Sender(application.lower(), application, "UNICODE UTF-8", "utf-8", "2.5.1", "\r")
    return message(sender, "ORU^R01^ORU_R01", control_id, now, (_pid(who), *segments))


def pv1(who: Subject, kind: Literal["I", "O"], place: str) -> str:
    """A PV1 of somebody's outpatient or inpatient visit, by its number."""
    number = who.numbered("V" if kind == "O" else "I")
    return f"PV1|1|{kind}|{place}^^^{AUTHORITY}{'|' * 16}{number}^^^{AUTHORITY}^VN"


def _pid(who: Subject) -> str:
    family, given, roman = who.name
    names = f"{family}^{given}" + (f"~{roman}^^^^^A" if roman else "")
    born = who.birth_date.replace("-", "")
    return f"PID|1||{who.number}^^^{AUTHORITY}^MR||{names}||{born}|{_letter(who)}"


def _letter(who: Subject) -> str:
    return "M" if who.sex == "male" else "F"


def fhir_patient(who: Subject) -> dict[str, Any]:
    """The Patient as the EHR has it."""
    family, given, _roman = who.name
    return {
        "resourceType": "Patient",
        "id": who.number.lower(),
        "meta": {
            "security": [
                {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HTEST"}
            ]
        },
        "identifier": [{"system": MRN_SYSTEM, "value": who.number}],
        "active": True,
        "name": [{"text": _in_full(who), "family": family, "given": [given]}],
        "gender": who.sex,
        "birthDate": who.birth_date,
    }


def _in_full(who: Subject) -> str:
    """The name as it is written in its own language: in Chinese the family first, unspaced."""
    family, given, _roman = who.name
    return f"{family}{given}" if who.language == "zh" else f"{given} {family}"


def reference(who: Subject) -> dict[str, Any]:
    """A reference to the Patient that says who it is outside of its Bundle too."""
    return {
        "reference": f"Patient/{who.number.lower()}",
        "identifier": {"system": MRN_SYSTEM, "value": who.number},
    }


def concept(system: str, code: str, display: str, text: str = "") -> dict[str, Any]:
    """A CodeableConcept of one coding."""
    coding = {"system": system, "code": code, "display": display}
    return {"coding": [coding], **({"text": text} if text else {})}


def transaction(who: Subject, resources: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A transaction of the Patient (PUT) and of resources that the server gives ids (POST).

    A resource with an `id` is told by `urn:uuid:` of it, so that others may refer to it by `urn`.
    """
    patient = fhir_patient(who)
    parts = [(f"Patient/{patient['id']}", "PUT", patient)]
    parts += [(resource["resourceType"], "POST", resource) for resource in resources]
    entries = []
    for number, (url, method, resource) in enumerate(parts):
        name = resource.get("id") or f"{number}"
        kept = resource if method == "PUT" else {k: v for k, v in resource.items() if k != "id"}
        entries.append(
            {
                "fullUrl": urn(who, str(name)),
                "resource": kept,
                "request": {"method": method, "url": url},
            }
        )
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def urn(who: Subject, name: str) -> str:
    """The fullUrl of a resource inside the patient's transactions."""
    return f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{who.number}/{name}')}"


def study(who: Subject, uid: str, description: str, accession: str, done: datetime) -> Dataset:
    """A data set with the patient and study modules filled in.

    Args:
        who: The patient.
        uid: Study Instance UID.
        description: (0008,1030).
        accession: (0008,0050).
        done: When the study was done.
    """
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    family, given, _roman = who.name
    made.PatientName = f"SYNTHETIC^PATIENT={family}^{given}"
    made.PatientID, made.IssuerOfPatientID = who.number, AUTHORITY
    made.PatientBirthDate = who.birth_date.replace("-", "")
    made.PatientSex = _letter(who)
    made.PatientComments = "Synthetic data produced by a program; not a person"
    made.TimezoneOffsetFromUTC = "+0800"
    made.StudyInstanceUID, made.StudyID = uid, "1"
    made.StudyDescription, made.AccessionNumber = description, accession
    made.StudyDate, made.StudyTime = done.strftime("%Y%m%d"), done.strftime("%H%M%S")
    made.ReferringPhysicianName = ""
    return made


def identify(
    made: Dataset, sop_class: UID, uid: str, syntax: UID = ExplicitVRLittleEndian
) -> Dataset:
    """The data set as an instance, with preamble and file meta (PS3.10 7.1)."""
    made.SOPClassUID, made.SOPInstanceUID = sop_class, UID(uid)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.file_meta.MediaStorageSOPClassUID = sop_class
    made.file_meta.MediaStorageSOPInstanceUID = UID(uid)
    made.preamble = bytes(128)
    return made


def code_item(code: tuple[str, str, str]) -> Dataset:
    """A code sequence item: value, scheme, meaning (PS3.3 table 8.8-1)."""
    made = Dataset()
    made.CodeValue, made.CodingSchemeDesignator, made.CodeMeaning = code
    return made
