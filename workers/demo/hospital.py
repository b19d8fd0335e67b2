"""One synthetic liver patient in the hospital's own formats: ADT and ORU, FHIR history, CT objects.

The values are the cohort generator's; here they get names, numbers, charsets and wire formats.
Source: HL7 v2.5.1 chapters 3 and 7; FHIR R4; PS3.3 A.3 (CT image); models.md 4.4.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from inference.training.liver import SyntheticPatient

CHINA = timezone(timedelta(hours=8))
MRN_SYSTEM = "https://hospital.example/mrn"
_NAMES = (("合成", "患者", "HE CHENG^HUAN ZHE"), ("样本", "病例", "YANG BEN^BING LI"))
_LAB_NAMES = {
    "1834-1": "甲胎蛋白",
    "34444-0": "异常凝血酶原",
    "24108-3": "糖类抗原19-9",
    "1751-7": "白蛋白",
    "1975-2": "总胆红素",
    "14631-6": "总胆红素",
    "1742-6": "丙氨酸氨基转移酶",
    "1920-8": "天门冬氨酸氨基转移酶",
    "777-3": "血小板计数",
    "6301-6": "国际标准化比值",
}
_UNITS = {"umol/L": "μmol/L", "10*9/L": "10^9/L", "10*3/uL": "K/uL", "1": "1"}
AFP = "1834-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A synthetic patient as this hospital knows them.

    Attributes:
        synthetic: What the generator emitted.
        number: Medical record number, `SYN-…`.
        t0: When the CT was done, China time.
        study_uid: Its Study Instance UID.
    """

    synthetic: SyntheticPatient
    number: str
    t0: datetime
    study_uid: str

    @property
    def birth_date(self) -> str:
        """YYYY-MM-DD, so that the age at the CT is the generator's."""
        return f"{self.t0.year - self.synthetic.age_years - 1}-12-28"

    @property
    def name(self) -> tuple[str, str, str]:
        """Family, given, and the romanised name."""
        return _NAMES[self.synthetic.index % len(_NAMES)]


def chart(synthetic: SyntheticPatient, *, t0: datetime) -> Chart:
    """Open a chart; the same patient and moment give the same numbers."""
    key = f"oncord-demo/{synthetic.seed}/{synthetic.index}/{t0.isoformat()}"
    number = uuid.uuid5(uuid.NAMESPACE_URL, key).int
    return Chart(
        synthetic=synthetic,
        number=f"SYN-{number % 10**8:08d}",
        t0=t0.astimezone(CHINA).replace(microsecond=0),
        study_uid=f"2.25.{number}",
    )


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y%m%d%H%M%S%z")


def _msh(kind: str, control_id: str, now: datetime, charset: str) -> str:
    return (
        f"MSH|^~\\&|HIS|DEMOHOSP|ONCORD|DEMOHOSP|{_stamp(now)}||{kind}|{control_id}|P|2.5.1"
        f"||||||{charset}"
    )


def _pid(who: Chart) -> str:
    family, given, roman = who.name
    born = who.birth_date.replace("-", "")
    sex = "M" if who.synthetic.sex == "male" else "F"
    return f"PID|1||{who.number}^^^DEMOHOSP^MR||{family}^{given}~{roman}^^^^^A||{born}|{sex}"


def adt_a04(who: Chart, control_id: str, now: datetime) -> bytes:
    """Registration, in GB18030 as many Chinese systems send it."""
    segments = (
        _msh("ADT^A04^ADT_A01", control_id, now, "GB 18030-2000"),
        f"EVN|A04|{_stamp(now)}",
        _pid(who),
        f"PV1|1|O|肝胆外科门诊^^^DEMOHOSP||||||||||||||||V{who.number[4:]}^^^DEMOHOSP^VN",
        "ZDE|1|synthetic",
    )
    return _encode(segments, "gb18030")


def oru_labs(
    who: Chart,
    control_id: str,
    now: datetime,
    *,
    loincs: Sequence[str],
    filler: str,
    status: str = "F",
    values: Mapping[str, Decimal] | None = None,
) -> bytes:
    """Laboratory results of one order; `values` overrides the generator's for a correction."""
    drawn = _stamp(who.t0 - timedelta(days=2))
    segments = [
        _msh("ORU^R01^ORU_R01", control_id, now, "UNICODE UTF-8"),
        _pid(who),
        "PV1|1|O",
        f"ORC|RE||{filler}^LIS",
        _lab_obr(filler, drawn, _stamp(now), status),
    ]
    for number, loinc in enumerate(loincs, 1):
        value, unit = who.synthetic.labs[loinc]
        if values and loinc in values:
            value = values[loinc]
        shown = _UNITS.get(unit, unit)
        segments.append(
            f"OBX|{number}|NM|{loinc}^{_LAB_NAMES[loinc]}^LN||{value}|{_escape(shown)}|||||{status}|||{drawn}"
        )
    return _encode(segments, "utf-8")


def oru_report(who: Chart, control_id: str, now: datetime) -> bytes:
    """The radiology report, one line an OBX."""
    done = _stamp(who.t0)
    headings = (
        ("检查所见：", "诊断意见：")
        if who.synthetic.language == "zh"
        else ("FINDINGS:", "IMPRESSION:")
    )
    lines = [
        headings[0],
        *who.synthetic.findings.splitlines(),
        headings[1],
        *who.synthetic.impression.splitlines(),
    ]
    segments = [
        _msh("ORU^R01^ORU_R01", control_id, now, "UNICODE UTF-8"),
        _pid(who),
        f"ORC|RE||R{who.number[4:]}^RIS",
        _report_obr(who, done, _stamp(now)),
    ]
    segments += [
        f"OBX|{n}|TX|18748-4^CT上腹部增强^LN||{_escape(line)}||||||F"
        for n, line in enumerate(lines, 1)
        if line
    ]
    return _encode(segments, "utf-8")


def _lab_obr(filler: str, drawn: str, issued: str, status: str) -> str:
    code = "24323-8^肝功能及肿瘤标志物^LN"
    return f"OBR|1||{filler}^LIS|{code}|||{drawn}{'|' * 15}{issued}|||{status}"


def _report_obr(who: Chart, done: str, issued: str) -> str:
    number = who.number[4:]
    code = "18748-4^CT上腹部增强^LN"
    return f"OBR|1||R{number}^RIS|{code}|||{done}{'|' * 11}A{number}||||{issued}||CT|F"


def _escape(text: str) -> str:
    for mark, code in (("\\", "E"), ("|", "F"), ("^", "S"), ("&", "T"), ("~", "R")):
        text = text.replace(mark, f"\\{code}\\")
    return text


def _encode(segments: Sequence[str], codec: str) -> bytes:
    return ("\r".join(segments) + "\r").encode(codec)


def fhir_patient(who: Chart) -> dict[str, Any]:
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
        "name": [{"text": f"{family}{given}", "family": family, "given": [given]}],
        "gender": who.synthetic.sex,
        "birthDate": who.birth_date,
    }


def fhir_history(who: Chart, counts: Mapping[str, int]) -> dict[str, Any]:
    """A transaction of history: problems, and the imaging study as the RIS knows it.

    Args:
        who: The chart.
        counts: Series Instance UID to number of instances.
    """
    patient = {"reference": f"Patient/{who.number.lower()}"}
    hepatitis = {
        "resourceType": "Condition",
        "clinicalStatus": _status("condition-clinical", "active"),
        "verificationStatus": _status("condition-ver-status", "confirmed"),
        "code": {
            "coding": [
                {
                    "system": "http://hl7.org/fhir/sid/icd-10",
                    "code": "B18.1",
                    "display": "Chronic viral hepatitis B without delta-agent",
                }
            ],
            "text": "慢性乙型病毒性肝炎",
        },
        "subject": patient,
        "onsetDateTime": str(who.t0.year - 9),
    }
    study = {
        "resourceType": "ImagingStudy",
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{who.study_uid}"}],
        "status": "available",
        "subject": patient,
        "started": who.t0.isoformat(),
        "modality": [_coding_modality()],
        "numberOfSeries": len(counts),
        "numberOfInstances": sum(counts.values()),
        "description": "上腹部增强CT",
        "series": [
            {"uid": uid, "modality": _coding_modality(), "numberOfInstances": count}
            for uid, count in counts.items()
        ],
    }
    resources: list[tuple[str, dict[str, Any]]] = [
        (f"Patient/{who.number.lower()}", fhir_patient(who)),
        ("Condition", hepatitis),
        ("ImagingStudy", study),
    ]
    entries = [
        {
            "fullUrl": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, who.number + url)}",
            "resource": resource,
            "request": {"method": "PUT" if "/" in url else "POST", "url": url},
        }
        for url, resource in resources
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def fhir_labs(who: Chart) -> dict[str, Any]:
    """A transaction of the laboratory values, as the EHR's own copy of the LIS feed."""
    entries = []
    for loinc, (value, unit) in who.synthetic.labs.items():
        resource = {
            "resourceType": "Observation",
            "status": "final",
            "category": [_status("observation-category", "laboratory")],
            "code": {
                "coding": [{"system": "http://loinc.org", "code": loinc}],
                "text": _LAB_NAMES[loinc],
            },
            "subject": {"reference": f"Patient/{who.number.lower()}"},
            "effectiveDateTime": (who.t0 - timedelta(days=2)).isoformat(),
            "valueQuantity": {
                "value": float(value),
                "unit": unit,
                "system": "http://unitsofmeasure.org",
                "code": unit,
            },
        }
        request = {"method": "POST", "url": "Observation"}
        full_url = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, who.number + loinc)}"
        entries.append({"fullUrl": full_url, "resource": resource, "request": request})
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def _status(system: str, code: str) -> dict[str, Any]:
    uri = f"http://terminology.hl7.org/CodeSystem/{system}"
    return {"coding": [{"system": uri, "code": code}]}


def _coding_modality() -> dict[str, str]:
    return {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "CT"}
