"""A genomics report as the molecular laboratory sends it: ORU^R01 with OBX-4 groups, and FHIR.

One variant is one OBX-4 group (`2a`, `2b`, …) or one Observation with components. Genes that were
sequenced and found unchanged are said to be so: not reported is not the same as absent.
Source: HL7 v2 LRI clinical genomics (LOINC 81247-9); HL7 Genomics Reporting IG; models.md 1.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Any, Literal

from mappings.codes import LOINC
from mappings.record import Code, Coded, Quantity
from workers.demo.feed_messages import stamp
from workers.demo.results import (
    HGNC,
    HGVS,
    Answer,
    coded,
    fhir_code,
    fhir_value,
    number,
    obr,
    obx,
    prose,
)
from workers.demo.subject import (
    CannotSend,
    Language,
    Subject,
    concept,
    oru,
    reference,
    transaction,
    urn,
)

LAB_SYSTEM = "https://hospital.example/molecular"
_APPLICATION = "GENLAB"
_MEGABASE = "1/1000000{Base}"
_FHIR = "http://terminology.hl7.org/CodeSystem/"

# HGNC numbers of the genes that the panels of this hospital sequence.
GENES = {
    "APC": 583, "BRAF": 1097, "BRCA1": 1100, "BRCA2": 1101, "CTNNB1": 2514, "EGFR": 3236,
    "KRAS": 6407, "MLH1": 7127, "MSH2": 7325, "MSH6": 7329, "NRAS": 7989, "PIK3CA": 8975,
    "PMS2": 9122, "TERT": 11730, "TP53": 11998,
}  # fmt: skip
Significance = Literal[
    "pathogenic", "likely pathogenic", "uncertain significance", "likely benign", "benign"
]
# LOINC answers: code, English, Chinese.
_Words = tuple[str, str, str]
_SIGNIFICANCE: dict[str, _Words] = {
    "pathogenic": ("LA6668-3", "Pathogenic", "致病"),
    "likely pathogenic": ("LA26332-9", "Likely pathogenic", "可能致病"),
    "uncertain significance": ("LA26333-7", "Uncertain significance", "意义未明"),
    "likely benign": ("LA26334-5", "Likely benign", "可能良性"),
    "benign": ("LA6675-8", "Benign", "良性"),
}
_SOURCES = {
    "germline": ("LA6683-2", "Germline", "胚系"),
    "somatic": ("LA6684-0", "Somatic", "体细胞"),
}
_SAMPLES = {"germline": ("BLD", "Blood", "血液"), "somatic": ("TISS", "Tumour", "肿瘤组织")}
_MSI = {
    "MSS": ("LA14122-8", "Stable", "微卫星稳定"),
    "MSI-L": ("LA26202-4", "MSI-L", "微卫星低度不稳定"),
    "MSI-H": ("LA26203-2", "MSI-H", "微卫星高度不稳定"),
}
_PRESENT, _ABSENT = ("LA9633-4", "Present", "检出"), ("LA9634-2", "Absent", "未检出")
_POSITIVE, _NEGATIVE = ("LA6576-8", "Positive", "阳性"), ("LA6577-6", "Negative", "阴性")
# LOINC questions: English, Chinese.
QUESTIONS = {
    "81247-9": ("Master HL7 genetic variant reporting panel", "基因变异检测"),
    "51969-4": ("Genetic analysis report", "基因检测报告"),
    "51968-6": ("Genetic analysis overall interpretation", "总体结论"),
    "69548-6": ("Genetic variant assessment", "变异检出"),
    "48018-6": ("Gene studied [ID]", "基因"),
    "48004-6": ("DNA change (c.HGVS)", "核苷酸改变"),
    "48005-3": ("Amino acid change (pHGVS)", "氨基酸改变"),
    "48002-0": ("Genomic source class [Type]", "变异来源"),
    "53037-8": ("Genetic variation clinical significance [Imp]", "临床意义"),
    "81258-6": ("Sample variant allelic frequency [NFr]", "变异丰度"),
    "81695-9": ("Microsatellite instability [Interpretation]", "微卫星不稳定性"),
    "94076-7": ("Mutations/Megabase [# Ratio] in Tumor", "肿瘤突变负荷"),
}
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One variant as the laboratory calls it.

    Attributes:
        gene: HGNC symbol, of `GENES`.
        c_hgvs: With its transcript, `NM_000546.6:c.747G>T`.
        p_hgvs: `p.Arg249Ser`, or empty.
        significance: ACMG class.
        allele_fraction: Of reads, 0 to 1, or None.
    """

    gene: str
    c_hgvs: str
    significance: Significance
    p_hgvs: str = ""
    allele_fraction: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GenomicReport:
    """What one panel found.

    Attributes:
        who: The patient; names of codes and the narrative are in their language.
        source: Blood for inherited variants, tumour for acquired ones.
        variants: In the order of the report.
        unchanged: Genes sequenced without a variant.
        msi: Microsatellite state, of a tumour.
        tmb: Mutations a megabase, of a tumour.
        collected: When the sample was taken, aware.
        issued: When the report was released, aware.

    Raises:
        CannotSend: A gene has no HGNC number here, or a germline report has a tumour's figures.
    """

    who: Subject
    source: Literal["germline", "somatic"]
    collected: datetime
    issued: datetime
    variants: Sequence[Variant] = ()
    unchanged: Sequence[str] = ()
    msi: Literal["MSS", "MSI-L", "MSI-H"] | None = None
    tmb: Decimal | None = None

    def __post_init__(self) -> None:
        for gene in (*(v.gene for v in self.variants), *self.unchanged):
            if gene not in GENES:
                raise CannotSend(f"gene {gene}", f"one of {', '.join(GENES)}")
        if self.source == "germline" and (self.msi is not None or self.tmb is not None):
            raise CannotSend("msi or tmb", "a somatic report")
        if len(self.variants) + len(self.unchanged) > len(_LETTERS):
            raise CannotSend("variants and unchanged genes", f"at most {len(_LETTERS)}")

    @property
    def filler(self) -> str:
        """Filler order number of the panel; the narrative's ends with `R`."""
        return self.who.numbered("G" if self.source == "germline" else "S")


def answers(report: GenomicReport) -> Iterator[Answer]:
    """What is said of the sample as a whole, then each variant and unchanged gene as a group."""
    language = report.who.language

    def said(question: str, value: _Words | Coded | Quantity, group: str = "") -> Answer:
        told = _loinc(value, language) if isinstance(value, tuple) else value
        return Answer(code=_question(question, language), value=told, sub_id=group)

    yield said("51968-6", _POSITIVE if report.variants else _NEGATIVE)
    if report.msi is not None:
        yield said("81695-9", _MSI[report.msi])
    if report.tmb is not None:
        yield said("94076-7", number(report.tmb, _MEGABASE))
    groups = (f"2{letter}" for letter in _LETTERS)
    for variant, group in zip(report.variants, groups, strict=False):
        yield said("69548-6", _PRESENT, group)
        yield said("48018-6", _gene(variant.gene), group)
        for question, change in (("48004-6", variant.c_hgvs), ("48005-3", variant.p_hgvs)):
            if change:
                yield said(question, coded(HGVS, change, change), group)
        yield said("48002-0", _SOURCES[report.source], group)
        yield said("53037-8", _SIGNIFICANCE[variant.significance], group)
        if variant.allele_fraction is not None:
            yield said("81258-6", number(variant.allele_fraction, "1"), group)
    for place, gene in enumerate(report.unchanged, len(report.variants)):
        group = f"2{_LETTERS[place]}"
        yield said("69548-6", _ABSENT, group)
        yield said("48018-6", _gene(gene), group)
        yield said("48002-0", _SOURCES[report.source], group)


def _question(loinc: str, language: Language) -> Code:
    return Code(LOINC, loinc, QUESTIONS[loinc][language == "zh"])


def _loinc(words: _Words, language: Language) -> Coded:
    return coded(LOINC, words[0], words[2 if language == "zh" else 1])


def _gene(symbol: str) -> Coded:
    return coded(HGNC, f"HGNC:{GENES[symbol]}", symbol)


def narrative(report: GenomicReport) -> tuple[str, ...]:
    """The report in words, a line a finding, in the language of the patient's hospital."""
    chinese = report.who.language == "zh"
    pick = 2 if chinese else 1
    lines = ["检测结果：" if chinese else "RESULTS:"]
    for variant in report.variants:
        parts = (variant.gene, variant.c_hgvs, variant.p_hgvs)
        meaning = _SIGNIFICANCE[variant.significance][pick]
        lines.append(" ".join(part for part in (*parts, meaning) if part))
    if not report.variants:
        lines.append("未检出变异。" if chinese else "No variant detected.")
    if report.unchanged:
        lines.append(("未见变异：" if chinese else "Unchanged: ") + ", ".join(report.unchanged))
    if report.msi is not None:
        lines.append(_MSI[report.msi][pick])
    if report.tmb is not None:
        lines.append(f"TMB {report.tmb} mut/Mb")
    return tuple(lines)


def oru_genomics(report: GenomicReport, control_id: str, now: datetime) -> bytes:
    """The report as ORU^R01: the panel with its groups, then its narrative.

    Args:
        report: What was found.
        control_id: MSH-10.
        now: MSH-7, aware.
    """
    language, done = report.who.language, stamp(report.collected)
    times = {"done": done, "issued": stamp(report.issued), "section": "GE"}
    panel, words = f"{report.filler}^{_APPLICATION}", f"{report.filler}R^{_APPLICATION}"
    title = _question("51969-4", language)
    code, *names = _SAMPLES[report.source]
    sample = f"{code}^{names[language == 'zh']}^HL70487"
    segments = [
        f"ORC|RE||{panel}",
        obr(1, panel, _question("81247-9", language), **times),
        *obx(answers(report)),
        f"SPM|1|{report.filler}-1&{_APPLICATION}||{sample}{'|' * 13}{done}",
        f"ORC|RE||{words}",
        obr(2, words, title, **times),
        *prose((title, line) for line in narrative(report)),
    ]
    return oru(report.who, _APPLICATION, control_id, now, segments)


def fhir_genomics(report: GenomicReport) -> dict[str, Any]:
    """The report as a transaction: an Observation per variant and figure, a DiagnosticReport."""
    made = []
    for group, rows in groupby(answers(report), key=lambda answer: answer.sub_id):
        if not group:
            made += [_observation(report, answer, report.filler) for answer in rows]
            continue
        first, *others = rows
        observation = _observation(report, first, f"{report.filler}/{group}")
        observation["component"] = [
            {"code": fhir_code((other.code,)), **fhir_value(other.value)} for other in others
        ]
        made.append(observation)
    diagnostic = {
        "resourceType": "DiagnosticReport",
        "identifier": [_filler(f"{report.filler}R")],
        "status": "final",
        "category": [concept(f"{_FHIR}v2-0074", "GE", "Genetics")],
        "code": fhir_code((_question("51969-4", report.who.language),)),
        "subject": reference(report.who),
        "effectiveDateTime": report.collected.isoformat(),
        "issued": report.issued.isoformat(),
        "result": [{"reference": urn(report.who, one["id"])} for one in made],
        "conclusion": "\n".join(narrative(report)),
    }
    return transaction(report.who, [*made, diagnostic])


def _observation(report: GenomicReport, answer: Answer, filler: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": f"{filler}/{answer.code.code}",
        "identifier": [_filler(filler)],
        "status": "final",
        "category": [concept(f"{_FHIR}observation-category", "laboratory", "Laboratory")],
        "code": fhir_code((answer.code,)),
        "subject": reference(report.who),
        "effectiveDateTime": report.collected.isoformat(),
        "issued": report.issued.isoformat(),
        **fhir_value(answer.value),
    }


def _filler(value: str) -> dict[str, Any]:
    kind = concept(f"{_FHIR}v2-0203", "FILL", "Filler Identifier")
    return {"type": kind, "system": LAB_SYSTEM, "value": value}
