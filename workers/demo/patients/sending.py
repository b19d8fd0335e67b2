"""How what is known of a patient is sent: one function a wire, its words as the hospital's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from inference.training.cohorts.pictures import Volume
from workers.demo import ct, history, laboratory, molecular, pathology, slide
from workers.demo.acts import Images, Message, Transaction
from workers.demo.ct import CtStudy
from workers.demo.drawn import Drawn
from workers.demo.feed_messages import CHINA, stamp
from workers.demo.history import History, Visit
from workers.demo.molecular import GenomicReport
from workers.demo.pathology import Synoptic
from workers.demo.results import Answer
from workers.demo.subject import Subject, adt, pv1


def morning(now: datetime, days_ago: int) -> datetime:
    """Half past nine of a day, in China."""
    then = now.astimezone(CHINA) - timedelta(days=days_ago)
    return then.replace(hour=9, minute=30, second=0, microsecond=0)


def registered(who: Subject, place: str) -> Message:
    """Registration at a clinic."""
    segments = (pv1(who, "O", place), "ZDE|1|synthetic")
    return Message(
        what="ADT^A04 in GB18030",
        build=lambda i, now: adt(who, "ADT^A04^ADT_A01", i, now, segments),
    )


def measured(who: Subject, answers: list[Answer], drawn: datetime) -> Message:
    """Laboratory values of one sample."""
    return Message(
        what=f"ORU^R01 with {len(answers)} laboratory values",
        build=lambda i, now: laboratory.oru_labs(
            who, answers, i, now, filler=who.numbered("L"), drawn=drawn
        ),
    )


def operated(who: Subject, code: str, text: str, done: datetime) -> Message:
    """Surgery as the hospital's information system tells it: PR1 of an update."""
    segments = (pv1(who, "I", "手术室"), f"PR1|1||{code}^{text}^SCT||{stamp(done)}")
    return Message(
        what=f"surgery: {text}, ADT^A08 with PR1",
        build=lambda i, now: adt(who, "ADT^A08^ADT_A01", i, now, segments),
    )


def examined(who: Subject, form: Synoptic, taken: datetime) -> Message:
    """Pathology, released a week after the specimen was taken."""
    issued = taken + timedelta(days=7)
    return Message(
        what="pathology, ORU^R01: synoptic form and narrative",
        build=lambda i, now: pathology.oru_pathology(
            who, form, i, now, collected=taken, issued=issued
        ),
    )


def sequenced(report: GenomicReport) -> Message:
    """A gene panel."""
    return Message(
        what=f"genomics, ORU^R01 with {len(report.variants) + len(report.unchanged)} OBX-4 groups",
        build=lambda i, now: molecular.oru_genomics(report, i, now),
    )


def announced(study: Mapping[str, Any], who: Subject, what: str) -> Transaction:
    """An imaging study, told before its instances come."""
    return Transaction(what=what, bundle=history.fhir_history(who, History(), [dict(study)]))


def day(moment: datetime, days: int = 0) -> str:
    """A date so many days later."""
    return (moment + timedelta(days=days)).date().isoformat()


def visit(who: Subject, days: int) -> Visit:
    """An ambulatory visit so many days after t0."""
    on = day(who.t0, days)
    return Visit(number=who.numbered("V"), kind="AMB", start=on, end=on)


def ct_study(who: Subject, volume: Volume, body_part: str = "LIVER") -> CtStudy:
    """A volume as CT series."""
    return CtStudy(
        who=who, uid=who.uid("ct"), voxels=volume.voxels, spacing_mm=volume.spacing_mm,
        phases=volume.tags, body_part=body_part,
    )  # fmt: skip


def ct_known(scan: CtStudy) -> dict[str, Any]:
    """The ImagingStudy of a CT."""
    return history.imaging_study(scan.who, scan.uid, "CT", ct.DESCRIPTION, ct.counts(scan))


def ct_sent(scan: CtStudy) -> Images:
    """Its instances."""
    phases = len(scan.phases)
    what = f"CT, {phases} phase{'s' if phases > 1 else ''}"
    return Images(what=what, instances=lambda: ct.instances(scan))


def slides_sent(drawn: Drawn, who: Subject, organ: str) -> tuple[Transaction, Images]:
    """Announced by the pathology system, then pushed; `who.t0` is when the specimen was taken."""
    made = list(drawn.slides(who, organ))
    stains = ", ".join(one.stain for one in made)
    known = history.imaging_study(
        who, slide.study_uid(who), "SM", "病理切片数字化", slide.counts(*made)
    )
    return (
        announced(known, who, f"FHIR ImagingStudy: {stains} announced"),
        Images(
            what=f"slides, {stains}",
            instances=lambda: (i for one in made for i in slide.instances(one)),
        ),
    )
