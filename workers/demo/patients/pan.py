"""Cancer now, or within a year: everybody who comes to the clinic."""

from __future__ import annotations

from datetime import datetime, timedelta

from inference.training.cohorts.patients import Fact
from mappings.codes import LOINC
from mappings.record import Code, Quantity, Text
from workers.demo import history, molecular
from workers.demo.acts import Course, Expected, Message, Transaction
from workers.demo.drawn import Drawn, beside
from workers.demo.feed_messages import stamp
from workers.demo.history import History, Problem
from workers.demo.molecular import GenomicReport, Variant
from workers.demo.patients import sending
from workers.demo.results import obr, prose
from workers.demo.subject import Subject, oru

_LABS_DAYS, _SCAN_DAYS = -45, -5
_PREGNANT_UNTIL, _ADULT = 55, 18
# What the generator does not emit.
_CHEMISTRY = ("6690-2", "14631-6", "1920-8")
# Genes of the panel in which the generator knows no variants.
_ALSO_READ = ("BRCA1", "MSH2", "MSH6")
# RefSeq transcripts of the coding changes that the generator names.
_TRANSCRIPTS = {
    "BRCA2": "NM_000059.4",
    "TP53": "NM_000546.6",
    "MLH1": "NM_000249.4",
    "APC": "NM_000038.6",
}


def pan(seed: int, now: datetime) -> Course:
    """Cancer now, or within a year: history, laboratory, note, CT, and genes by FHIR."""
    drawn = Drawn.of("pan", seed, _fits_pan)
    who = drawn.who(now)
    measured = who.t0 + timedelta(days=_LABS_DAYS)
    examined = who.at(who.t0 + timedelta(days=_SCAN_DAYS))
    scan = sending.ct_study(examined, drawn.volume("ct"), "ABDOMEN")
    problems = tuple(
        Problem(icd10=fact.code.code, text=fact.code.display, onset=sending.day(who.t0, fact.days))
        for fact in drawn.facts
        if fact.kind == "condition"
    )
    known = History(
        problems=problems,
        visits=(sending.visit(who, _LABS_DAYS),),
        smoking=history.smoking_of(drawn.code("72166-2")),
        bmi=_bmi(drawn),
        observed=sending.day(measured),
        consented=sending.day(measured),
    )
    return Course(
        registry="NCT06791473",
        title="cancer present, and cancer within a year",
        who=who,
        acts=(
            sending.registered(who, "健康管理中心"),
            Transaction(
                what="FHIR transaction of history: problems, smoking, BMI, consent, announced CT",
                bundle=history.fhir_history(who, known, [sending.ct_known(scan)]),
            ),
            Expected(
                protocol="pan_cancer_now", state="waiting", open_rules=frozenset({"core_labs"})
            ),
            sending.measured(who, [*drawn.labs(), *beside(drawn, _CHEMISTRY)], measured),
            sending.ct_sent(scan),
            _noted(drawn, who),
            Transaction(
                what="genomics by FHIR: an Observation per variant, DiagnosticReport",
                bundle=molecular.fhir_genomics(_inherited(drawn, who, measured)),
            ),
            Expected(protocol="pan_cancer_now", state="ready"),
            Expected(protocol="pan_cancer_1y", state="ready"),
        ),
    )


def _fits_pan(drawn: Drawn) -> bool:
    """An adult who cannot be pregnant, with a diagnosis, a note and a variant to tell of."""
    one = drawn.one
    sure = one.sex == "male" or one.age_years > _PREGNANT_UNTIL
    kinds = {f.kind for f in drawn.facts}
    variant = drawn.told("48004-6") is not None
    return sure and one.age_years >= _ADULT and {"condition", "report"} <= kinds and variant


def _bmi(drawn: Drawn) -> float | None:
    fact = drawn.told("39156-5")
    return float(fact.value.value) if fact and isinstance(fact.value, Quantity) else None


def _noted(drawn: Drawn, who: Subject) -> Message:
    """The note of the visit, a line an OBX."""
    fact = next(f for f in drawn.facts if f.kind == "report")
    assert isinstance(fact.value, Text)
    code, filler = Code(LOINC, fact.code.code, "门诊病历"), f"{who.numbered('N')}^HIS"
    lines = [(code, line) for line in fact.value.text.splitlines() if line]
    done = stamp(who.t0 - timedelta(days=1))
    head = [f"ORC|RE||{filler}", obr(1, filler, code, done=done, issued=done)]
    return Message(
        what="note of the clinic, ORU^R01",
        build=lambda i, now: oru(who, "HIS", i, now, [*head, *prose(lines)]),
    )


def _inherited(drawn: Drawn, who: Subject, collected: datetime) -> GenomicReport:
    """What the generator says of each gene: its OBX-4 groups, as one germline panel."""
    groups: dict[str, dict[str, Fact]] = {}
    for fact in drawn.facts:
        if fact.sub_id:
            groups.setdefault(fact.sub_id, {})[fact.code.code] = fact
    variants, unchanged = [], list(_ALSO_READ)
    for said in groups.values():
        gene, named = _text(said["48018-6"]), said.get("48004-6")
        if named is None:
            unchanged.append(gene)
        else:
            change = f"{_TRANSCRIPTS[gene]}:{_text(named)}"
            variants.append(Variant(gene=gene, c_hgvs=change, significance="pathogenic"))
    return GenomicReport(
        who=who, source="germline", collected=collected, issued=collected + timedelta(days=20),
        variants=tuple(variants), unchanged=tuple(unchanged),
    )  # fmt: skip


def _text(fact: Fact) -> str:
    assert isinstance(fact.value, Text)
    return fact.value.text
