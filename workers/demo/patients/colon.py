"""Colorectal cancer: liver metastasis within two years of surgery."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from workers.demo import history
from workers.demo.acts import Course, Expected, Transaction
from workers.demo.drawn import Drawn, beside
from workers.demo.history import History, Problem
from workers.demo.molecular import GenomicReport, Variant
from workers.demo.pathology import Synoptic
from workers.demo.patients import sending
from workers.demo.subject import Subject


def crlm(seed: int, now: datetime) -> Course:
    """Liver metastasis of colorectal cancer: CT, markers, surgery, slide, pathology, genomics."""
    drawn = Drawn.of("crlm", seed, lambda _: True)
    who = drawn.who(sending.morning(now, 20))
    scanned, taken = who.at(who.t0 - timedelta(days=10)), who.at(who.t0 + timedelta(hours=1))
    scan = sending.ct_study(scanned, drawn.volume("ct"))
    known = History(
        problems=(Problem(icd10="C18.7", text="乙状结肠腺癌", onset=sending.day(who.t0, -9)),),
        visits=(sending.visit(who, -12),),
        consented=sending.day(who.t0, -8),
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
            sending.registered(who, "胃肠外科门诊"),
            Transaction(
                what="FHIR transaction of history: problems, consent, announced CT",
                bundle=history.fhir_history(who, known, [sending.ct_known(scan)]),
            ),
            sending.measured(
                who,
                [*drawn.labs(), *beside(drawn, ("777-3", "751-8", "731-0"))],
                who.t0 - timedelta(days=5),
            ),
            sending.ct_sent(scan),
            sending.operated(who, "23968004", "结肠切除术", who.t0),
            Expected(
                protocol="crlm_2y",
                state="waiting",
                open_rules=frozenset({"stage", "r0", "slides", "pt_known", "pn_known", "lock"}),
            ),
            *sending.slides_sent(drawn, taken, "colon"),
            sending.examined(who, form, taken.t0),
            sending.sequenced(_tumour_panel(drawn, taken)),
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
