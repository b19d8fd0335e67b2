"""Liver cancer: survival after hepatectomy, and aggressive recurrence before and after it."""

from __future__ import annotations

from datetime import datetime, timedelta

from workers.demo import ct, history, hospital, laboratory, mr
from workers.demo.acts import Course, Expected, Images, Message, Transaction
from workers.demo.drawn import Drawn, liver_patient
from workers.demo.history import History, Operation, Problem
from workers.demo.liver_board import Board, oru_board
from workers.demo.mr import MrStudy
from workers.demo.pathology import Synoptic
from workers.demo.patients import sending

_LIVER = "10200004"
# The liver cohort ends at the CT and knows no resection.
_RESECTED = Synoptic(
    organ="liver", histology="8170/3", pt="pT1b", grade="Edmondson II", sizes_mm=(34,),
    lymphovascular=False, mvi="M0", margin="R0",
)  # fmt: skip


def liver_px(seed: int, now: datetime) -> Course:
    """Survival after hepatectomy: CT, laboratory, radiology report, surgery, pathology."""
    chart = hospital.chart(liver_patient(seed), t0=sending.morning(now, 40))
    who = chart.subject
    surgery = sending.morning(now, 20)
    labs = [
        laboratory.measured(n, value, unit) for n, (value, unit) in chart.synthetic.labs.items()
    ]
    known = History(
        problems=(
            Problem(icd10="B18.1", text="慢性乙型病毒性肝炎", onset=str(who.t0.year - 9)),
            Problem(icd10="C22.0", text="肝细胞癌", onset=sending.day(who.t0, 5)),
        ),
        visits=(sending.visit(who, -1),),
        consented=sending.day(who.t0, 1),
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
            sending.registered(who, "肝胆外科门诊"),
            Transaction(
                what="FHIR transaction of history: problems, consent, announced CT",
                bundle=history.fhir_history(who, known, [announced]),
            ),
            sending.measured(who, labs, who.t0 - timedelta(days=2)),
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
            sending.examined(who, _RESECTED, surgery + timedelta(hours=1)),
            Expected(protocol="liver_px", state="ready"),
        ),
    )


def hcc(seed: int, now: datetime) -> Course:
    """Aggressive recurrence: ready before surgery by MR and stage, locked by it, ready after it."""
    drawn = Drawn.of("hcc", seed, lambda _: True)
    who = drawn.who(sending.morning(now, 20))
    scanned, taken = who.at(who.t0 - timedelta(days=12)), who.at(who.t0 + timedelta(hours=1))
    volume = drawn.volume("mr")
    scan = MrStudy(
        who=scanned, voxels=volume.voxels, spacing_mm=volume.spacing_mm, sequences=volume.tags
    )
    known = History(
        problems=(Problem(icd10="B18.1", text="慢性乙型病毒性肝炎", onset=str(who.t0.year - 11)),),
        visits=(sending.visit(who, -14),),
        consented=sending.day(who.t0, -13),
    )
    announced = history.imaging_study(scanned, scan.uid, "MR", "上腹部MRI", mr.counts(scan))
    found = History(
        problems=(Problem(icd10="C22.0", text="肝细胞癌", onset=sending.day(who.t0, 7)),)
    )
    board = Board(nodules=1, largest_mm=30, ecog=0)
    form = Synoptic(
        organ="liver", histology="8170/3", grade=f"Edmondson {drawn.code('33732-9')}",
        pt="pT1b", sizes_mm=(28,), mvi="M1" if drawn.there("33739-4") else "M0", margin="R0",
    )  # fmt: skip
    return Course(
        registry="NCT07030842",
        title="aggressive recurrence of hepatocellular carcinoma, before and after surgery",
        who=who,
        acts=(
            sending.registered(who, "肝胆外科门诊"),
            Transaction(
                what="FHIR transaction of history: problems, consent, announced MR",
                bundle=history.fhir_history(who, known, [announced]),
            ),
            sending.measured(who, drawn.labs(), who.t0 - timedelta(days=3)),
            Images(
                what=f"MR, {len(scan.sequences)} sequences",
                instances=lambda: mr.instances(scan),
            ),
            Expected(protocol="hcc_ar_pre", state="waiting", open_rules=frozenset({"early_stage"})),
            Message(
                what="tumour board, ORU^R01: what BCLC asks",
                build=lambda i, at: oru_board(who, board, i, at, met=scanned.t0),
            ),
            Expected(protocol="hcc_ar_pre", state="ready"),
            sending.operated(who, "107963000", "肝切除术", who.t0),
            Expected(protocol="hcc_ar_pre", state="not_eligible", open_rules=frozenset({"lock"})),
            Expected(
                protocol="hcc_ar_post",
                state="waiting",
                open_rules=frozenset({"hcc", "slides", "margin", "lock"}),
            ),
            *sending.slides_sent(drawn, taken, "liver"),
            sending.examined(who, form, taken.t0),
            Transaction(
                what="diagnosis after pathology: FHIR Condition C22.0",
                bundle=history.fhir_history(who, found),
            ),
            Expected(protocol="hcc_ar_post", state="ready"),
        ),
    )
