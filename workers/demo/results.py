"""Results of an order as the wires carry them: OBX below an OBR, and values of FHIR.

An answer is a code, a value of the record's types, and a sub-id where an order says one thing of
several subjects; whatever a generator emits in these terms can be sent.
Source: HL7 v2.5.1 chapter 7.4; FHIR R4 Observation; table 0396.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from mappings.codes import ICD10, LOINC, QUESTION, SNOMED, UCUM, system_name
from mappings.outbound.er7 import escape
from mappings.record import Code, Coded, Quantity

HGNC, HGVS = "http://www.genenames.org", "http://varnomen.hgvs.org"
ICDO3 = "http://terminology.hl7.org/CodeSystem/icd-o-3"
_NAMES = {
    LOINC: "LN", SNOMED: "SCT", ICD10: "I10", ICDO3: "ICDO3", HGNC: "HGNC", HGVS: "HGVS",
    QUESTION: "ONCORD",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One result.

    Attributes:
        code: What was asked.
        value: A number with its UCUM unit, or an answer by code or in words.
        sub_id: OBX-4.
        alternates: Further codes of the question, one more at most goes by HL7.
    """

    code: Code
    value: Quantity | Coded
    sub_id: str = ""
    alternates: tuple[Code, ...] = ()


def number(value: Decimal | int, unit: str, *, written: str = "") -> Quantity:
    """A quantity in a UCUM unit, its text as it is written, the unit as the sender spells it."""
    return Quantity(Decimal(value), unit, str(value), written or unit)


def coded(system: str, code: str, display: str) -> Coded:
    """An answer by one code."""
    return Coded((Code(system, code, display),), display)


def obr(
    place: int,
    filler: str,
    code: Code,
    *,
    done: str,
    issued: str,
    section: str = "",
    accession: str = "",
    status: str = "F",
) -> str:
    """An OBR.

    Args:
        place: OBR-1.
        filler: OBR-3, with its application.
        code: OBR-4.
        done: OBR-7.
        issued: OBR-22.
        section: OBR-24, table 0074.
        accession: OBR-20.
        status: OBR-25.
    """
    fields = [""] * 26
    fields[1:5] = str(place), "", filler, _cwe((code,), code.display)
    fields[7], fields[20] = done, accession
    fields[22], fields[24], fields[25] = issued, section, status
    return "|".join(("OBR", *fields[1:]))


def obx(answers: Iterable[Answer], status: str = "F") -> list[str]:
    """An NM or CWE for each answer, numbered from 1, units as the sender writes them."""
    made = []
    for place, answer in enumerate(answers, 1):
        question = _cwe((answer.code, *answer.alternates), answer.code.display)
        if isinstance(answer.value, Quantity):
            kind, value, unit = "NM", answer.value.text, escape(answer.value.raw_unit)
        else:
            kind, value, unit = "CWE", _cwe(answer.value.codes, answer.value.text), ""
        made.append(_line(place, kind, question, answer.sub_id, value, unit, status))
    return made


def prose(lines: Iterable[tuple[Code, str]]) -> list[str]:
    """A TX for each line under its section or title."""
    return [
        _line(place, "TX", _cwe((code,), code.display), "", escape(line), "", "F")
        for place, (code, line) in enumerate(lines, 1)
    ]


def _line(
    place: int, kind: str, question: str, sub_id: str, value: str, unit: str, status: str
) -> str:
    return f"OBX|{place}|{kind}|{question}|{sub_id}|{value}|{unit}|||||{status}"


def _cwe(codes: Sequence[Code], text: str) -> str:
    """Up to two codings (CWE.1 to CWE.6); words alone stand in CWE.2."""
    if not codes:
        return f"^{escape(text)}"
    return "^".join(
        f"{escape(c.code)}^{escape(c.display)}^{_NAMES.get(c.system) or system_name(c.system)}"
        for c in codes[:2]
    )


def fhir_code(codes: Sequence[Code], text: str = "") -> dict[str, Any]:
    """A CodeableConcept."""
    coding = [{"system": c.system, "code": c.code, "display": c.display} for c in codes]
    made: dict[str, Any] = {"coding": coding} if coding else {}
    return {**made, "text": text} if text else made


def fhir_value(value: Quantity | Coded) -> dict[str, Any]:
    """value[x] of an Observation or a component."""
    if isinstance(value, Coded):
        return {"valueCodeableConcept": fhir_code(value.codes, value.text)}
    unit = {"unit": value.unit, "system": UCUM, "code": value.unit}
    return {"valueQuantity": {"value": float(value.value), **unit}}
