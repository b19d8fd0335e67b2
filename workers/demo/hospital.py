"""One synthetic liver patient in the hospital's own formats: ADT and ORU, FHIR history, CT objects.

The values are the cohort generator's; here they get names, numbers, charsets and wire formats, by
the writers that every study's patients share.
Source: HL7 v2.5.1 chapters 3 and 7; FHIR R4; PS3.3 A.3 (CT image); models.md 4.4.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from inference.training.liver import SyntheticPatient
from mappings.codes import LOINC
from mappings.record import Code
from workers.demo import history, laboratory, subject
from workers.demo.feed_messages import CHINA, Sender, msh, stamp
from workers.demo.history import History, Problem
from workers.demo.results import Answer, fhir_code, fhir_value, obr, prose
from workers.demo.subject import MRN_SYSTEM, Subject

__all__ = [
    "AFP",
    "CHINA",
    "MRN_SYSTEM",
    "Chart",
    "adt_a04",
    "chart",
    "fhir_history",
    "fhir_labs",
    "fhir_patient",
    "oru_labs",
    "oru_report",
]
AFP = "1834-1"
_CT_ABDOMEN = Code(LOINC, "18748-4", "CT上腹部增强")
_HEADINGS = {"zh": ("检查所见：", "诊断意见："), "en": ("FINDINGS:", "IMPRESSION:")}


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
    def subject(self) -> Subject:
        """The person whom every wire names; in Chinese, whatever language the report is in."""
        made = self.synthetic
        return subject.subject(
            self.number, sex=made.sex, age_years=made.age_years, language="zh", t0=self.t0
        )

    @property
    def birth_date(self) -> str:
        """YYYY-MM-DD, so that the age at the CT is the generator's."""
        return self.subject.birth_date

    @property
    def name(self) -> tuple[str, str, str]:
        """Family, given, and the romanised name."""
        return self.subject.name


def chart(synthetic: SyntheticPatient, *, t0: datetime) -> Chart:
    """Open a chart; the same patient and moment give the same numbers."""
    key = f"oncord-demo/{synthetic.seed}/{synthetic.index}/{t0.isoformat()}"
    number = uuid.uuid5(uuid.NAMESPACE_URL, key).int
    return Chart(
        synthetic=synthetic,
        number=subject.record_number(number),
        t0=t0.astimezone(CHINA).replace(microsecond=0),
        study_uid=f"2.25.{number}",
    )


def _msh(kind: str, control_id: str, now: datetime, charset: str) -> str:
    return msh(Sender("his", "HIS", charset, "utf-8", "2.5.1", "\r"), kind, control_id, now)


def adt_a04(who: Chart, control_id: str, now: datetime) -> bytes:
    """Registration, in GB18030 as many Chinese systems send it."""
    made = who.subject
    segments = (subject.pv1(made, "O", "肝胆外科门诊"), "ZDE|1|synthetic")
    return subject.adt(made, "ADT^A04^ADT_A01", control_id, now, segments)


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
    found = {loinc: who.synthetic.labs[loinc] for loinc in loincs}
    answers = [
        laboratory.measured(loinc, (values or {}).get(loinc, value), unit)
        for loinc, (value, unit) in found.items()
    ]
    return laboratory.oru_labs(
        who.subject, answers, control_id, now, filler=filler, drawn=_drawn(who), status=status
    )


def _drawn(who: Chart) -> datetime:
    return who.t0 - timedelta(days=2)


def oru_report(who: Chart, control_id: str, now: datetime) -> bytes:
    """The radiology report, one line an OBX."""
    synthetic, made = who.synthetic, who.subject
    found, meant = _HEADINGS[synthetic.language]
    lines = (
        *(found, *synthetic.findings.splitlines()),
        *(meant, *synthetic.impression.splitlines()),
    )
    filler = f"{made.numbered('R')}^RIS"
    segments = [
        f"ORC|RE||{filler}",
        obr(
            1, filler, _CT_ABDOMEN, done=stamp(who.t0), issued=stamp(now), section="CT",
            accession=made.numbered("A"),
        ),
        *prose((_CT_ABDOMEN, line) for line in lines if line),
    ]  # fmt: skip
    return subject.oru(made, "HIS", control_id, now, segments)


def fhir_patient(who: Chart) -> dict[str, Any]:
    """The Patient as the EHR has it."""
    return subject.fhir_patient(who.subject)


def fhir_history(who: Chart, counts: Mapping[str, int]) -> dict[str, Any]:
    """A transaction of history: problems, and the imaging study as the RIS knows it.

    Args:
        who: The chart.
        counts: Series Instance UID to number of instances.
    """
    hepatitis = Problem(icd10="B18.1", text="慢性乙型病毒性肝炎", onset=str(who.t0.year - 9))
    study = history.imaging_study(who.subject, who.study_uid, "CT", "上腹部增强CT", counts)
    return history.fhir_history(who.subject, History(problems=(hepatitis,)), [study])


def fhir_labs(who: Chart) -> dict[str, Any]:
    """A transaction of the laboratory values, as the EHR's own copy of the LIS feed."""
    labs = who.synthetic.labs.items()
    answers = [laboratory.measured(loinc, value, unit) for loinc, (value, unit) in labs]
    return subject.transaction(who.subject, [_observation(who, answer) for answer in answers])


def _observation(who: Chart, answer: Answer) -> dict[str, Any]:
    category = "http://terminology.hl7.org/CodeSystem/observation-category"
    return {
        "resourceType": "Observation",
        "status": "final",
        "category": [subject.concept(category, "laboratory", "Laboratory")],
        "code": fhir_code((answer.code,), answer.code.display),
        "subject": subject.reference(who.subject),
        "effectiveDateTime": _drawn(who).isoformat(),
        **fhir_value(answer.value),
    }
