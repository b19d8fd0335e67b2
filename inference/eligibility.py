"""Readiness: whether a pack may run for a patient now, and if not, what it is waiting for.

Every rule is met, not met or unknown, and unknown never counts as met (model-rules 1). Which
event starts an assessment is decided by `fired`; when it then runs is the workers' affair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import orjson

from inference import features
from inference.manifest import Input, Manifest, Rule, Scope, Trigger
from mappings.record import Entry, Origin, PatientRecord, When
from mappings.wanted import Wanted

Verdict = Literal["met", "not_met", "unknown"]
State = Literal["not_eligible", "waiting", "ready"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySummary:
    """What is known of one imaging study before its pixels are read.

    Attributes:
        modality: Modality, or several as DICOM joins them (`CT`, a backslash, `SR`).
        complete: Every instance that its source announced has arrived.
        phases: Contrast phases found in it; None while nobody has looked.
        body_part: DICOM BodyPartExamined, often empty.
    """

    study_instance_uid: str
    modality: str
    started: When | None
    complete: bool
    phases: tuple[str, ...] | None = None
    body_part: str = ""
    description: str = ""
    origin: Origin = "live"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleVerdict:
    """One rule's answer, with the keys of the entries or studies it rests on."""

    rule: str
    scope: Scope
    verdict: Verdict
    text: str
    reason: str
    source: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InputState:
    """Whether an input is there, and the window it must come from (None before t0 is known)."""

    input: str
    display: str
    required: bool
    present: bool
    reason: str
    window: tuple[str, str] | None
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """The stored answer for one patient and one pack.

    Attributes:
        waiting_for: A sentence for each thing that has to come or to become known.
        triggers: A sentence for each event that starts an assessment.
        t0: Index time, start of the chosen study; `study_instance_uid` names it.
    """

    pack: str
    version: str
    state: State
    as_of: datetime
    t0: datetime | None
    study_instance_uid: str | None
    rules: tuple[RuleVerdict, ...]
    inputs: tuple[InputState, ...]
    waiting_for: tuple[str, ...]
    triggers: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON values only; times as ISO 8601."""
        body: dict[str, Any] = orjson.loads(orjson.dumps(self))
        return body


def fired(manifest: Manifest, event: Entry | StudySummary | Sequence[Entry]) -> Trigger | None:
    """The trigger that an event pulls, if any; only what arrives live pulls one.

    History, replay and our own results never do (site rules 1 and 3).
    """
    if isinstance(event, StudySummary):
        if event.origin != "live":
            return None
        return next(
            (
                t
                for t in manifest.triggers
                if t.on == "imaging_study" and t.modality in features.split(event.modality)
            ),
            None,
        )
    if isinstance(event, Entry):
        if event.source.origin != "live" or event.status in (
            "entered-in-error",
            "deleted",
            "cancelled",
        ):
            return None
        return next(
            (
                t
                for t in manifest.triggers
                if t.on == event.kind and t.modality in _modalities(event)
            ),
            None,
        )
    return next((t for t in (fired(manifest, e) for e in event) if t is not None), None)


def _modalities(entry: Entry) -> tuple[str, ...]:
    found = entry.details.get("modalities", entry.details.get("modality", ()))
    return features.split(found) if isinstance(found, str) else tuple(found)


def readiness(
    manifest: Manifest, record: PatientRecord, studies: Sequence[StudySummary], as_of: datetime
) -> Readiness:
    """Judge every rule and input of a pack on what is known at `as_of`.

    Args:
        manifest: The pack's.
        record: Folded as of `as_of`.
        studies: The patient's imaging studies, any modality and order.
        as_of: Aware UTC; what is later is not read.
    """
    study = index_study(manifest, studies, as_of)
    t0 = study.started.earliest if study and study.started else None
    inputs = tuple(_input(i, record, t0, as_of) for i in manifest.inputs)
    rules = tuple(_rule(r, manifest, record, study, inputs, as_of) for r in manifest.rules)
    gating = [r for r in rules if r.scope != "analyse"]
    if any(r.verdict == "not_met" for r in gating):
        state: State = "not_eligible"
    else:
        state = "waiting" if any(r.verdict == "unknown" for r in gating) else "ready"
    waiting = (
        tuple(r.reason for r in gating if r.verdict == "unknown") if state == "waiting" else ()
    )
    return Readiness(
        pack=manifest.id,
        version=manifest.version,
        state=state,
        as_of=as_of,
        t0=t0,
        study_instance_uid=study.study_instance_uid if study else None,
        rules=rules,
        inputs=inputs,
        waiting_for=waiting,
        triggers=tuple(t.text for t in manifest.triggers),
    )


def asked(manifest: Manifest, studies: Sequence[StudySummary], as_of: datetime) -> Wanted:
    """What of a record `readiness` has to read."""
    study = index_study(manifest, studies, as_of)
    return features.asked(
        manifest, study.started.earliest if study and study.started else None, as_of
    )


def index_study(
    manifest: Manifest, studies: Sequence[StudySummary], as_of: datetime
) -> StudySummary | None:
    """The study an assessment would be about: the newest that may still fit, else the newest."""
    fitting = [
        s
        for s in studies
        if manifest.ct.modality in features.split(s.modality)
        and s.started is not None
        and features.not_after(s.started, as_of)
        and (not s.body_part or s.body_part.upper() in manifest.ct.body_parts)
    ]
    fitting.sort(key=lambda s: (s.started.earliest if s.started else as_of, s.study_instance_uid))
    hopeful = [s for s in fitting if _contrast(manifest, s)[0] != "not_met"]
    chosen = hopeful or fitting
    return chosen[-1] if chosen else None


def _contrast(manifest: Manifest, study: StudySummary) -> tuple[Verdict, str]:
    wanted = manifest.ct.required
    if not study.complete:
        return "unknown", f"the {study.modality} study is still arriving"
    if study.phases is None:
        return (
            "unknown",
            f"the contrast phases of the {study.modality} study have not been read yet",
        )
    lacking = [p for p in wanted if p not in study.phases]
    if lacking:
        return "not_met", f"the newest {study.modality} study has no phase {', '.join(lacking)}"
    return "met", f"complete {study.modality} study with phases {', '.join(study.phases)}"


def _input(
    wanted: Input, record: PatientRecord, t0: datetime | None, as_of: datetime
) -> InputState:
    span = None
    if t0 is None and wanted.kind != "sex":
        entry, reason = None, f"no {'index study' if wanted.kind != 'age' else 'index date'} yet"
    else:
        entry, reason = features.choose_any(wanted, record, t0 or as_of, as_of)
    if t0 is not None and wanted.window_days is not None:
        low, high = (t0 + timedelta(days=d) for d in wanted.window_days)
        span = (low.isoformat(), high.isoformat())
    return InputState(
        input=wanted.id,
        display=wanted.display,
        required=wanted.required,
        present=entry is not None,
        reason=reason,
        window=span,
        evidence=(entry.key,) if entry is not None else (),
    )


def _rule(
    rule: Rule,
    manifest: Manifest,
    record: PatientRecord,
    study: StudySummary | None,
    inputs: Sequence[InputState],
    as_of: datetime,
) -> RuleVerdict:
    verdict: Verdict
    evidence: tuple[str, ...] = ()
    if rule.test == "age":
        verdict, reason, evidence = _age(rule, record, study)
    elif rule.test == "contrast_study":
        if study is None:
            verdict, reason = "unknown", f"no {manifest.ct.modality} study of the liver yet"
        else:
            verdict, reason = _contrast(manifest, study)
            evidence = (study.study_instance_uid,)
    elif rule.test == "inputs":
        verdict, reason, evidence = _all_there(rule, {i.input: i for i in inputs})
    else:
        verdict, reason, evidence = _report(rule, record, as_of)
    return RuleVerdict(
        rule=rule.id,
        scope=rule.scope,
        verdict=verdict,
        text=rule.text,
        reason=reason,
        source=rule.source,
        evidence=evidence,
    )


def _age(
    rule: Rule, record: PatientRecord, study: StudySummary | None
) -> tuple[Verdict, str, tuple[str, ...]]:
    entry = record.demographic("birth_date")
    if entry is None or not isinstance(entry.value, When):
        return "unknown", "no birth date yet", ()
    if study is None or study.started is None:
        return "unknown", "age counts at the index study, which has not come yet", (entry.key,)
    low, high = rule.low or 0.0, (rule.high or 150.0) + 1  # 80 means until the 81st birthday
    least, greatest = features.age_years(entry.value, study.started.earliest)
    if low <= least and greatest < high:
        return "met", "age is inside the range", (entry.key,)
    if greatest < low or least >= high:
        return "not_met", "age is outside the range", (entry.key,)
    return "unknown", "the birth date is too coarse to tell whether the age fits", (entry.key,)


def _all_there(
    rule: Rule, inputs: Mapping[str, InputState]
) -> tuple[Verdict, str, tuple[str, ...]]:
    asked = [inputs[i] for i in rule.inputs]
    evidence = tuple(key for i in asked for key in i.evidence)
    gone = [f"{i.display} ({i.reason})" for i in asked if not i.present]
    if gone:
        return "unknown", "waiting for " + ", ".join(gone), evidence
    return "met", "all there", evidence


def _report(
    rule: Rule, record: PatientRecord, as_of: datetime
) -> tuple[Verdict, str, tuple[str, ...]]:
    found = [
        e
        for e in record.of_kind("report")
        if any(e.has_code(c) for c in rule.codes)
        and e.status in features.USABLE
        and (e.effective is None or features.not_after(e.effective, as_of))
    ]
    if found:
        return "met", "there is a report", (found[-1].key,)
    return "unknown", "no such report yet", ()
