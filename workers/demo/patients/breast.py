"""Breast cancer: distant metastasis."""

from __future__ import annotations

from datetime import datetime, timedelta

from mappings.record import Quantity
from workers.demo import history
from workers.demo.acts import Course, Expected, Transaction
from workers.demo.drawn import Drawn
from workers.demo.history import Drug, History, Operation, Problem, Sample
from workers.demo.molecular import GenomicReport
from workers.demo.pathology import Synoptic
from workers.demo.patients import sending
from workers.demo.subject import Subject

_BREAST = "76752008"


def breast(seed: int, now: datetime) -> Course:
    """Distant metastasis of breast cancer: specimen, four stains, receptors, germline genes."""
    drawn = Drawn.of("breast", seed, lambda _: True)
    who = drawn.who(sending.morning(now, 30))
    taken = who.at(who.t0 + timedelta(hours=1))
    known = History(
        problems=(
            Problem(icd10="C50.4", text="乳腺外上象限恶性肿瘤", onset=sending.day(who.t0, -14)),
        ),
        visits=(sending.visit(who, -15),),
        consented=sending.day(who.t0, -7),
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
    drugs = (Drug(atc="L01DB03", text="表柔比星", given=sending.day(who.t0, 24), dose_mg=150),)
    return Course(
        registry="NCT07244094",
        title="distant metastasis of breast cancer",
        who=who,
        acts=(
            sending.registered(who, "乳腺外科门诊"),
            Transaction(
                what="FHIR transaction of history: problems, consent",
                bundle=history.fhir_history(who, known),
            ),
            sending.sequenced(_germline_panel(who)),
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
            *sending.slides_sent(drawn, taken, "breast"),
            sending.examined(who, _receptors(drawn), taken.t0),
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
