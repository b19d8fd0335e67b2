"""Patients whom the protocols take, fact by fact, for the tests of protocols."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count

from inference import eligibility, protocol_reading
from inference.eligibility import Readiness
from inference.rules import StudySummary
from mappings.record import (
    Code,
    Coded,
    Entry,
    Identifier,
    Kind,
    PatientRecord,
    Quantity,
    Source,
    Text,
    Value,
    When,
)

T0 = datetime(2026, 3, 4, 9, tzinfo=UTC)
NOW = T0 + timedelta(days=20)
WHO = Identifier("SYN-1", "https://hospital.example/ns/mrn")
LABS = {
    "AFP": ("1834-1", "ng/mL"), "DCP": ("34444-0", "ng/mL"), "CEA": ("2039-6", "ng/mL"),
    "CA199": ("24108-3", "U/mL"), "ALB": ("1751-7", "g/dL"), "TBIL": ("1975-2", "mg/dL"),
    "ALT": ("1742-6", "U/L"), "AST": ("1920-8", "U/L"), "PLT": ("777-3", "10*3/uL"),
    "INR": ("6301-6", "1"), "HGB": ("718-7", "g/dL"), "CREA": ("2160-0", "mg/dL"),
}  # fmt: skip
USUAL = {"ALB": "4.1", "TBIL": "0.8", "INR": "1.0", "HGB": "13", "CREA": "0.9"}
_number = count(1)


def entry(
    kind: Kind, code: str, days: float | None = 0, value: Value | None = None, **changes: object
) -> Entry:
    """One fact, so many days from the index."""
    number = next(_number)
    parts: dict[str, object] = {
        "kind": kind, "key": f"{kind}/{code}/{number}", "patient": WHO, "path": "X",
        "source": Source("his", number, T0 - timedelta(days=300)), "seq": number, "value": value,
        "code": Code("urn:x", code) if code else None,
        "effective": When.instant(T0 + timedelta(days=days)) if days is not None else None,
    }  # fmt: skip
    return Entry(**(parts | changes))  # type: ignore[arg-type]


def lab(name: str, days: float = -3) -> Entry:
    """A laboratory value of an unremarkable size."""
    code, unit = LABS[name]
    text = USUAL.get(name, "60")
    return entry("observation", code, days, Quantity(Decimal(text), unit, text))


def coded(code: str, answer: str, days: float = 5) -> Entry:
    """A coded answer."""
    return entry("observation", code, days, Coded((Code("urn:x", answer),), answer))


def born(year: int = 1970, sex: str = "male") -> list[Entry]:
    """Who the patient is."""
    date = When(datetime(year, 6, 1), "day")
    return [
        entry("patient", "", None, date, key="patient/birth_date"),
        entry("patient", "", None, Text(sex), key="patient/sex"),
    ]


def consent(*, patient: bool = True, **details: object) -> Entry:
    """A consent that the patient, or somebody else, gave."""
    return entry(
        "consent", "59284-0", -10, details={"performers": [{"patient": patient}], **details}
    )


def study(modality: str, days: float = -5, **changes: object) -> StudySummary:
    """A complete study."""
    parts: dict[str, object] = {
        "study_instance_uid": f"2.25.{next(_number)}", "modality": modality, "complete": True,
        "started": When.instant(T0 + timedelta(days=days)),
    }  # fmt: skip
    return StudySummary(**(parts | changes))  # type: ignore[arg-type]


HEPATECTOMY = entry("procedure", "107963000")
COLECTOMY = entry("procedure", "23968004")
MASTECTOMY = entry("procedure", "5884001")
PATHOLOGY = entry("report", "60568-3", 6)
LIVER_LABS = ("AFP", "ALB", "TBIL", "ALT", "AST", "PLT", "INR")
Facts = tuple[list[Entry], list[StudySummary]]


def number(code: str, value: str, unit: str, days: float = -4) -> Entry:
    """A measured number."""
    return entry("observation", code, days, Quantity(Decimal(value), unit, value))


def staged(**changes: Entry | None) -> list[Entry]:
    """What BCLC takes besides the laboratory: stage A, one nodule of 34 mm; None leaves out."""
    told = {
        "nodules": number("405930005", "1", "{#}"),
        "largest": number("21889-1", "3.4", "cm"),
        "ecog": number("89247-1", "0", "{score}"),
        "vessels": coded("macrovascular-invasion", "absent", -4),
        "spread": coded("extrahepatic-spread", "未见", -4),
        "ascites": coded("389026000", "无腹水", -4),
        "encephalopathy": coded("13920009", "absent", -4),
    }
    return [entry for entry in (told | changes).values() if entry is not None]


def fitting(name: str) -> Facts:
    """A patient whom a protocol takes."""
    liver = [lab(n) for n in LIVER_LABS]
    tumour = staged()
    crlm = [COLECTOMY, PATHOLOGY, consent(), entry("condition", "C18.700", -9), lab("CEA")]
    crlm += [coded("21902-2", "IIIB"), coded("84892-9", "R0")]
    crlm += [coded("21899-0", "pT3"), coded("21900-6", "pN1")]
    breast = [MASTECTOMY, PATHOLOGY, entry("condition", "C50.901", -20)]
    breast += [entry("specimen", "119376003", 0), coded("21899-0", "pT2"), coded("21900-6", "pN0")]
    breast += [coded("85337-4", "positive"), coded("85319-2", "negative")]
    pan = [consent(), entry("condition", "I10", -400)]
    pan += [lab(n, -60) for n in ("HGB", "PLT", "ALB", "ALT", "CREA")]
    post = [
        HEPATECTOMY,
        PATHOLOGY,
        entry("condition", "C22.0", -20),
        coded("84892-9", "R0"),
        *liver,
    ]
    ct, slides = study("CT"), study("SM", 4)
    return {
        "pan_cancer_now": ([*born(), *pan], []),
        "pan_cancer_1y": ([*born(), *pan], []),
        "liver_px": ([*born(), *post], [ct]),
        "breast_dm": ([*born(1975, "female"), *breast], [slides]),
        "hcc_ar_pre": ([*born(), *liver, *tumour], [study("MR", 0)]),
        "hcc_ar_post": ([*born(), *post, *tumour], [study("MR"), slides]),
        "crlm_2y": ([*born(), *crlm], [ct, slides]),
    }[name]


def judged(name: str, facts: Facts, as_of: datetime = NOW) -> Readiness:
    """Readiness of these facts."""
    moved = as_of if protocol_reading.shipped()[name].index.on != "assessment" else T0
    record = PatientRecord.of(facts[0], as_of=moved)
    return eligibility.readiness(protocol_reading.shipped()[name], record, facts[1], moved)


def verdict(name: str, rule: str, facts: Facts) -> str:
    """One rule's answer."""
    return next(r.verdict for r in judged(name, facts).rules if r.rule == rule)


def without(facts: Facts, code: str) -> Facts:
    """The facts but those of a code."""
    return [e for e in facts[0] if e.code is None or e.code.code != code], facts[1]


def with_(facts: Facts, *more: Entry) -> Facts:
    """The facts and some more."""
    return [*facts[0], *more], facts[1]


def as_if(facts: Facts, *told: Entry) -> Facts:
    """The facts with others under the same keys."""
    keys = {e.key for e in told}
    return [*(e for e in facts[0] if e.key not in keys), *told], facts[1]
