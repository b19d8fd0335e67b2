"""The liver tumour board's form as ORU^R01: what BCLC asks besides the laboratory.

Source: HL7 v2.5.1 chapter 7.4; BCLC 2022; the inputs of `inference/protocols/hcc_ar_pre.toml`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from mappings.codes import LOINC, QUESTION, SNOMED
from mappings.record import Code, Coded
from workers.demo.feed_messages import stamp
from workers.demo.results import Answer, coded, number, obr, obx
from workers.demo.subject import Subject, oru

_APPLICATION = "MDT"
_FORM = Code("", "HCC-MDT", "肝癌多学科会诊单")
_PRESENT = coded(LOINC, "LA9633-4", "有")
_ABSENT = coded(LOINC, "LA9634-2", "无")
_ASCITES = {"absent": "无腹水", "slight": "少量腹水", "moderate": "大量腹水"}
_BRAIN = {"absent": "无肝性脑病", "grade 1-2": "肝性脑病2级", "grade 3-4": "肝性脑病3级"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """What the board wrote down; lengths in millimetres, performance status 0 to 5."""

    nodules: int
    largest_mm: int
    ecog: int
    macrovascular: bool = False
    extrahepatic: bool = False
    ascites: Literal["absent", "slight", "moderate"] = "absent"
    encephalopathy: Literal["absent", "grade 1-2", "grade 3-4"] = "absent"


def answers(form: Board) -> list[Answer]:
    """Its lines, as codes that any site maps its own to."""
    return [
        Answer(code=Code(SNOMED, "405930005", "肿瘤数目"), value=number(form.nodules, "{#}")),
        Answer(code=Code(LOINC, "21889-1", "肿瘤最大径"), value=number(form.largest_mm, "mm")),
        Answer(code=Code(LOINC, "89247-1", "ECOG评分"), value=number(form.ecog, "{score}")),
        Answer(
            code=Code(QUESTION, "macrovascular-invasion", "大血管侵犯"),
            value=_PRESENT if form.macrovascular else _ABSENT,
        ),
        Answer(
            code=Code(QUESTION, "extrahepatic-spread", "肝外转移"),
            value=_PRESENT if form.extrahepatic else _ABSENT,
        ),
        Answer(code=Code(SNOMED, "389026000", "腹水"), value=Coded((), _ASCITES[form.ascites])),
        Answer(
            code=Code(SNOMED, "13920009", "肝性脑病"), value=Coded((), _BRAIN[form.encephalopathy])
        ),
    ]


def oru_board(who: Subject, form: Board, control_id: str, now: datetime, *, met: datetime) -> bytes:
    """The form.

    Args:
        who: The patient.
        form: What was written down.
        control_id: MSH-10.
        now: MSH-7 and OBR-22, aware.
        met: When the board met, aware.
    """
    filler = f"{who.numbered('B')}^{_APPLICATION}"
    segments = [
        f"ORC|RE||{filler}",
        obr(1, filler, _FORM, done=stamp(met), issued=stamp(now)),
        *obx(answers(form)),
    ]
    return oru(who, _APPLICATION, control_id, now, segments)
