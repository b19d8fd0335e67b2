"""The demo hospital's laboratory: one order's results as ORU^R01, by its names and unit spellings.

Source: HL7 v2.5.1 chapter 7.4; models.md 1.0 (LOINC and UCUM of each analyte).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from mappings.codes import LOINC
from mappings.record import Code
from workers.demo.feed_messages import stamp
from workers.demo.results import Answer, number, obr, obx
from workers.demo.subject import Subject, oru

NAMES = {
    "1834-1": "甲胎蛋白",
    "34444-0": "异常凝血酶原",
    "24108-3": "糖类抗原19-9",
    "2039-6": "癌胚抗原",
    "1751-7": "白蛋白",
    "1975-2": "总胆红素",
    "14631-6": "总胆红素",
    "1742-6": "丙氨酸氨基转移酶",
    "1920-8": "天门冬氨酸氨基转移酶",
    "777-3": "血小板计数",
    "6301-6": "国际标准化比值",
    "718-7": "血红蛋白",
    "6690-2": "白细胞计数",
    "751-8": "中性粒细胞计数",
    "731-0": "淋巴细胞计数",
    "1988-5": "C反应蛋白",
    "2532-0": "乳酸脱氢酶",
    "6768-6": "碱性磷酸酶",
    "2160-0": "肌酐",
    "5195-3": "乙型肝炎表面抗原",
}
# As laboratory systems write them.
_SPELLINGS = {"umol/L": "μmol/L", "10*9/L": "10^9/L", "10*3/uL": "K/uL"}
_PANEL = Code(LOINC, "24323-8", "肝功能及肿瘤标志物")


def measured(loinc: str, value: Decimal, unit: str) -> Answer:
    """A number of an analyte that this laboratory measures, in a UCUM unit."""
    written = _SPELLINGS.get(unit, unit)
    return Answer(code=asked(loinc), value=number(value, unit, written=written))


def asked(loinc: str) -> Code:
    """An analyte by its name here."""
    return Code(LOINC, loinc, NAMES[loinc])


def oru_labs(
    who: Subject,
    answers: Sequence[Answer],
    control_id: str,
    now: datetime,
    *,
    filler: str,
    drawn: datetime,
    status: str = "F",
) -> bytes:
    """Results of one order.

    Args:
        who: The patient.
        answers: Of `measured`, or coded ones.
        control_id: MSH-10.
        now: MSH-7 and OBR-22, aware.
        filler: Filler order number.
        drawn: When the sample was taken.
        status: OBR-25 and OBX-11.
    """
    number_here = f"{filler}^LIS"
    segments = [
        "PV1|1|O",
        f"ORC|RE||{number_here}",
        obr(1, number_here, _PANEL, done=stamp(drawn), issued=stamp(now), status=status),
        *obx(answers, status),
    ]
    return oru(who, "HIS", control_id, now, segments)
