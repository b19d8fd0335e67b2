"""One synthetic patient of each study that has no trained pack: what is sent of them, in order.

The values are the cohorts' (`drawn`); how things travel is in the writers; `course` plays it and
reads it back. Source: models.md 1 and 4; the protocols in `inference/protocols`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from inference.training.cohorts.patients import Fact
from inference.training.cohorts.pictures import Volume
from mappings.codes import LOINC
from mappings.record import Code, Quantity, Text
from workers.demo import ct, history, hospital, laboratory, molecular, mr, pathology, slide
from workers.demo.acts import Course, Expected, Images, Message, Transaction
from workers.demo.ct import CtStudy
from workers.demo.drawn import Drawn, beside, liver_patient
from workers.demo.feed_messages import CHINA, stamp
from workers.demo.history import Drug, History, Operation, Problem, Sample, Visit
from workers.demo.molecular import GenomicReport, Variant
from workers.demo.mr import MrStudy
from workers.demo.pathology import Synoptic
from workers.demo.results import Answer, obr, prose
from workers.demo.subject import Subject, adt, oru, pv1

_LIVER, _BREAST = "10200004", "76752008"


def _morning(now: datetime, days_ago: int) -> datetime:
    """Half past nine of a day, in China."""
    day = now.astimezone(CHINA) - timedelta(days=days_ago)
    return day.replace(hour=9, minute=30, second=0, microsecond=0)


def _registered(who: Subject, place: str) -> Message:
    segments = (pv1(who, "O", place), "ZDE|1|synthetic")
    return Message(
        what="ADT^A04 in GB18030",
        build=lambda i, now: adt(who, "ADT^A04^ADT_A01", i, now, segments),
    )


def _measured(who: Subject, answers: list[Answer], drawn: datetime) -> Message:
    return Message(
        what=f"ORU^R01 with {len(answers)} laboratory values",
        build=lambda i, now: laboratory.oru_labs(
            who, answers, i, now, filler=who.numbered("L"), drawn=drawn
        ),
    )


def _operated(who: Subject, code: str, text: str, done: datetime) -> Message:
    """Surgery as the hospital's information system tells it: PR1 of an update."""
    segments = (pv1(who, "I", "手术室"), f"PR1|1||{code}^{text}^SCT||{stamp(done)}")
    return Message(
        what=f"surgery: {text}, ADT^A08 with PR1",
        build=lambda i, now: adt(who, "ADT^A08^ADT_A01", i, now, segments),
    )


def _examined(who: Subject, form: Synoptic, taken: datetime) -> Message:
    issued = taken + timedelta(days=7)
    return Message(
        what="pathology, ORU^R01: synoptic form and narrative",
        build=lambda i, now: pathology.oru_pathology(
            who, form, i, now, collected=taken, issued=issued
        ),
    )


def _sequenced(report: GenomicReport) -> Message:
    return Message(
        what=f"genomics, ORU^R01 with {len(report.variants) + len(report.unchanged)} OBX-4 groups",
        build=lambda i, now: molecular.oru_genomics(report, i, now),
    )


def _announced(study: Mapping[str, Any], who: Subject, what: str) -> Transaction:
    return Transaction(what=what, bundle=history.fhir_history(who, History(), [dict(study)]))


def _day(moment: datetime, days: int = 0) -> str:
    return (moment + timedelta(days=days)).date().isoformat()


def _visit(who: Subject, days: int) -> Visit:
    day = _day(who.t0, days)
    return Visit(number=who.numbered("V"), kind="AMB", start=day, end=day)


def _ct(who: Subject, volume: Volume) -> CtStudy:
    return CtStudy(
        who=who, uid=who.uid("ct"), voxels=volume.voxels, spacing_mm=volume.spacing_mm,
        phases=volume.tags,
    )  # fmt: skip


def _ct_known(scan: CtStudy) -> dict[str, Any]:
    return history.imaging_study(scan.who, scan.uid, "CT", ct.DESCRIPTION, ct.counts(scan))


def _ct_sent(scan: CtStudy) -> Images:
    phases = len(scan.phases)
    what = f"CT, {phases} phase{'s' if phases > 1 else ''}"
    return Images(what=what, instances=lambda: ct.instances(scan))


def _slides_sent(drawn: Drawn, who: Subject, organ: str) -> tuple[Transaction, Images]:
    """Announced by the pathology system, then pushed; `who.t0` is when the specimen was taken."""
    made = list(drawn.slides(who, organ))
    stains = ", ".join(one.stain for one in made)
    known = history.imaging_study(
        who, slide.study_uid(who), "SM", "病理切片数字化", slide.counts(*made)
    )
    return (
        _announced(known, who, f"FHIR ImagingStudy: {stains} announced"),
        Images(
            what=f"slides, {stains}",
            instances=lambda: (i for one in made for i in slide.instances(one)),
        ),
    )


# The liver cohort ends at the CT and knows no resection.
_RESECTED = Synoptic(
    organ="liver", histology="8170/3", pt="pT1b", grade="Edmondson II", sizes_mm=(34,),
    lymphovascular=False, mvi="M0", margin="R0",
)  # fmt: skip


def liver_px(seed: int, now: datetime) -> Course:
    """Survival after hepatectomy: CT, laboratory, radiology report, surgery, pathology."""
    chart = hospital.chart(liver_patient(seed), t0=_morning(now, 40))
    who = chart.subject
    surgery = _morning(now, 20)
    labs = [
        laboratory.measured(n, value, unit) for n, (value, unit) in chart.synthetic.labs.items()
    ]
    known = History(
        problems=(
            Problem(icd10="B18.1", text="慢性乙型病毒性肝炎", onset=str(who.t0.year - 9)),
            Problem(icd10="C22.0", text="肝细胞癌", onset=_day(who.t0, 5)),
        ),
        visits=(_visit(who, -1),),
        consented=_day(who.t0, 1),
    )
    announced = history.imaging_study(who, chart.study_uid, "CT", ct.DESCRIPTION, ct.counts(chart))
    resection = Operation(
        snomed="107963000", text="肝切除术", done=surgery.isoformat(), site=_LIVER
    )
    return Course(
        registry="NCT07658586",
        title="survival after hepatectomy",
        who=who,
        acts=(
            _registered(who, "肝胆外科门诊"),
            Transaction(
                what="FHIR transaction of history: problems, consent, announced CT",
                bundle=history.fhir_history(who, known, [announced]),
            ),
            _measured(who, labs, who.t0 - timedelta(days=2)),
            Images(
                what=f"CT, {len(chart.synthetic.phases)} phases",
                instances=lambda: ct.instances(chart),
            ),
            Message(
                what="radiology report, ORU^R01",
                build=lambda i, at: hospital.oru_report(chart, i, at),
            ),
            Expected(
                protocol="liver_px",
                state="waiting",
                open_rules=frozenset(
                    {"age", "imaging", "core_labs", "liver_cancer", "radical", "lock"}
                ),
            ),
            Transaction(
                what="surgery: FHIR Procedure, 肝切除术",
                bundle=history.fhir_history(who, History(operations=(resection,))),
            ),
            Expected(
                protocol="liver_px", state="waiting", open_rules=frozenset({"radical", "lock"})
            ),
            _examined(who, _RESECTED, surgery + timedelta(hours=1)),
            Expected(protocol="liver_px", state="ready"),
        ),
    )


def hcc(seed: int, now: datetime) -> Course:
    """Aggressive recurrence: ready before surgery by MR, locked by it, ready again after it."""
    drawn = Drawn.of("hcc", seed, lambda _: True)
    who = drawn.who(_morning(now, 20))
    scanned, taken = who.at(who.t0 - timedelta(days=12)), who.at(who.t0 + timedelta(hours=1))
    volume = drawn.volume("mr")
    scan = MrStudy(
        who=scanned, voxels=volume.voxels, spacing_mm=volume.spacing_mm, sequences=volume.tags
    )
    known = History(
        problems=(Problem(icd10="B18.1", text="慢性乙型病毒性肝炎", onset=str(who.t0.year - 11)),),
        visits=(_visit(who, -14),),
        consented=_day(who.t0, -13),
    )
    announced = history.imaging_study(scanned, scan.uid, "MR", "上腹部MRI", mr.counts(scan))
    found = History(problems=(Problem(icd10="C22.0", text="肝细胞癌", onset=_day(who.t0, 7)),))
    form = Synoptic(
        organ="liver", histology="8170/3", grade=f"Edmondson {drawn.code('33732-9')}",
        pt="pT1b", sizes_mm=(28,), mvi="M1" if drawn.there("33739-4") else "M0", margin="R0",
    )  # fmt: skip
    return Course(
        registry="NCT07030842",
        title="aggressive recurrence of hepatocellular carcinoma, before and after surgery",
        who=who,
        acts=(
            _registered(who, "肝胆外科门诊"),
            Transaction(
                what="FHIR transaction of history: problems, consent, announced MR",
                bundle=history.fhir_history(who, known, [announced]),
            ),
            _measured(who, drawn.labs(), who.t0 - timedelta(days=3)),
            Images(
                what=f"MR, {len(scan.sequences)} sequences",
                instances=lambda: mr.instances(scan),
            ),
            Expected(protocol="hcc_ar_pre", state="ready"),
            _operated(who, "107963000", "肝切除术", who.t0),
            Expected(protocol="hcc_ar_pre", state="not_eligible", open_rules=frozenset({"lock"})),
            Expected(
                protocol="hcc_ar_post",
                state="waiting",
                open_rules=frozenset({"hcc", "slides", "margin", "lock"}),
            ),
            *_slides_sent(drawn, taken, "liver"),
            _examined(who, form, taken.t0),
            Transaction(
                what="diagnosis after pathology: FHIR Condition C22.0",
                bundle=history.fhir_history(who, found),
            ),
            Expected(protocol="hcc_ar_post", state="ready"),
        ),
    )


def crlm(seed: int, now: datetime) -> Course:
    """Liver metastasis of colorectal cancer: CT, markers, surgery, slide, pathology, genomics."""
    drawn = Drawn.of("crlm", seed, lambda _: True)
    who = drawn.who(_morning(now, 20))
    scanned, taken = who.at(who.t0 - timedelta(days=10)), who.at(who.t0 + timedelta(hours=1))
    scan = _ct(scanned, drawn.volume("ct"))
    known = History(
        problems=(Problem(icd10="C18.7", text="乙状结肠腺癌", onset=_day(who.t0, -9)),),
        visits=(_visit(who, -12),),
        consented=_day(who.t0, -8),
    )
    form = Synoptic(
        organ="colon", histology="8140/3", pt=drawn.code("21899-0"), pn=drawn.code("21900-6"),
        stage=drawn.code("21902-2"), grade=drawn.code("33732-9"), sizes_mm=(36,),
        lymphovascular=drawn.there("59544-7"), perineural=drawn.there("92837-4"), margin="R0",
    )  # fmt: skip
    return Course(
        registry="NCT07392567",
        title="liver metastasis within two years of colorectal cancer surgery",
        who=who,
        acts=(
            _registered(who, "胃肠外科门诊"),
            Transaction(
                what="FHIR transaction of history: problems, consent, announced CT",
                bundle=history.fhir_history(who, known, [_ct_known(scan)]),
            ),
            _measured(
                who,
                [*drawn.labs(), *beside(drawn, ("777-3", "751-8", "731-0"))],
                who.t0 - timedelta(days=5),
            ),
            _ct_sent(scan),
            _operated(who, "23968004", "结肠切除术", who.t0),
            Expected(
                protocol="crlm_2y",
                state="waiting",
                open_rules=frozenset({"stage", "r0", "slides", "pt_known", "pn_known", "lock"}),
            ),
            *_slides_sent(drawn, taken, "colon"),
            _examined(who, form, taken.t0),
            _sequenced(_tumour_panel(drawn, taken)),
            Expected(protocol="crlm_2y", state="ready"),
        ),
    )


_KRAS = (
    ("NM_004985.5:c.35G>A", "p.Gly12Asp"),
    ("NM_004985.5:c.35G>T", "p.Gly12Val"),
    ("NM_004985.5:c.38G>A", "p.Gly13Asp"),
)


def _tumour_panel(drawn: Drawn, who: Subject) -> GenomicReport:
    """KRAS changed, which is so in two of five colorectal cancers; the generator has no genes."""
    random = drawn.stream("panel")
    changed, protein = _KRAS[int(random.integers(len(_KRAS)))]
    share = Decimal(f"{random.uniform(0.15, 0.45):.2f}")
    found = Variant(
        gene="KRAS", c_hgvs=changed, p_hgvs=protein, significance="pathogenic",
        allele_fraction=share,
    )  # fmt: skip
    return GenomicReport(
        who=who, source="somatic", collected=who.t0, issued=who.t0 + timedelta(days=10),
        variants=(found,), unchanged=("NRAS", "BRAF"), msi="MSS",
        tmb=Decimal(f"{random.uniform(2, 8):.1f}"),
    )  # fmt: skip


def breast(seed: int, now: datetime) -> Course:
    """Distant metastasis of breast cancer: specimen, four stains, receptors, germline genes."""
    drawn = Drawn.of("breast", seed, lambda _: True)
    who = drawn.who(_morning(now, 30))
    taken = who.at(who.t0 + timedelta(hours=1))
    known = History(
        problems=(Problem(icd10="C50.4", text="乳腺外上象限恶性肿瘤", onset=_day(who.t0, -14)),),
        visits=(_visit(who, -15),),
        consented=_day(who.t0, -7),
    )
    operated = History(
        operations=(
            Operation(
                snomed="392021009", text="乳腺肿块切除术", done=who.t0.isoformat(), site=_BREAST
            ),
        ),
        samples=(
            Sample(
                number=who.numbered("P"), snomed="430861001", text="切除标本",
                taken=taken.t0.isoformat(), site=_BREAST,
            ),
        ),
    )  # fmt: skip
    drugs = (Drug(atc="L01DB03", text="表柔比星", given=_day(who.t0, 24), dose_mg=150),)
    return Course(
        registry="NCT07244094",
        title="distant metastasis of breast cancer",
        who=who,
        acts=(
            _registered(who, "乳腺外科门诊"),
            Transaction(
                what="FHIR transaction of history: problems, consent",
                bundle=history.fhir_history(who, known),
            ),
            _sequenced(_germline_panel(who)),
            Transaction(
                what="surgery: FHIR Procedure, 乳腺肿块切除术, and Specimen",
                bundle=history.fhir_history(who, operated),
            ),
            Expected(
                protocol="breast_dm",
                state="waiting",
                open_rules=frozenset(
                    {"slides", "pt_known", "pn_known", "er_known", "her2_known", "lock"}
                ),
            ),
            *_slides_sent(drawn, taken, "breast"),
            _examined(who, _receptors(drawn), taken.t0),
            Transaction(
                what="chemotherapy after surgery: FHIR MedicationAdministration, 表柔比星",
                bundle=history.fhir_history(who, History(drugs=drugs)),
            ),
            Expected(protocol="breast_dm", state="ready"),
        ),
    )


def _receptors(drawn: Drawn) -> Synoptic:
    """The form; the generator says positive or not, which stands here as a usual share or score."""
    shares = {True: 90, False: 0, None: None}
    size = drawn.whole("21889-1")
    proliferating = next((f.value for f in drawn.facts if f.name == "Ki67"), None)
    return Synoptic(
        organ="breast", histology="8500/3", pt=drawn.code("21899-0"), pn=drawn.code("21900-6"),
        grade=drawn.code("44648-4"), sizes_mm=() if size is None else (size,),
        lymphovascular=drawn.there("59544-7"), margin="R0",
        er_percent=shares[drawn.there("85337-4")], pr_percent=shares[drawn.there("85339-0")],
        her2="3+" if drawn.there("85319-2") else "1+",
        ki67_percent=(
            round(proliferating.value) if isinstance(proliferating, Quantity) else None
        ),
    )  # fmt: skip


def _germline_panel(who: Subject) -> GenomicReport:
    """Blood before surgery, no variant in the genes of the panel."""
    collected = who.t0 - timedelta(days=12)
    return GenomicReport(
        who=who, source="germline", collected=collected, issued=collected + timedelta(days=9),
        unchanged=("BRCA1", "BRCA2", "TP53"),
    )  # fmt: skip


_LABS_DAYS, _SCAN_DAYS = -45, -5
_PREGNANT_UNTIL, _ADULT = 55, 18
_CHEMISTRY = ("6690-2", "777-3", "14631-6", "1742-6", "1920-8", "6768-6", "2160-0")
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
    scan = _ct(who.at(who.t0 + timedelta(days=_SCAN_DAYS)), drawn.volume("ct"))
    problems = tuple(
        Problem(icd10=fact.code.code, text=fact.code.display, onset=_day(who.t0, fact.days))
        for fact in drawn.facts
        if fact.kind == "condition"
    )
    known = History(
        problems=problems,
        visits=(_visit(who, _LABS_DAYS),),
        smoking=history.smoking_of(drawn.code("72166-2")),
        bmi=_bmi(drawn),
        observed=_day(measured),
        consented=_day(measured),
    )
    return Course(
        registry="NCT06791473",
        title="cancer present, and cancer within a year",
        who=who,
        acts=(
            _registered(who, "健康管理中心"),
            Transaction(
                what="FHIR transaction of history: problems, smoking, BMI, consent, announced CT",
                bundle=history.fhir_history(who, known, [_ct_known(scan)]),
            ),
            Expected(
                protocol="pan_cancer_now", state="waiting", open_rules=frozenset({"core_labs"})
            ),
            _measured(who, [*drawn.labs(), *beside(drawn, _CHEMISTRY)], measured),
            _ct_sent(scan),
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


COURSES: Mapping[str, Callable[[int, datetime], Course]] = {
    "liver_px": liver_px,
    "hcc": hcc,
    "crlm": crlm,
    "breast": breast,
    "pan": pan,
}
