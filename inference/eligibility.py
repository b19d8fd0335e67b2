"""Readiness: whether a pack may run for a patient now, and if not, what it is waiting for.

Every rule is met, not met or unknown, and unknown never counts as met (model-rules 1). Which
event starts an assessment is decided by `fired`; when it then runs is the workers' affair.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import orjson

from inference import features, matching
from inference.features import Found
from inference.genetics.calls import CODES as GENETIC_CODES
from inference.protocol import (
    Contrast,
    FollowUp,
    Has,
    Input,
    NotPregnant,
    Protocol,
    Rule,
    Scope,
    Selector,
    Trigger,
    selectors,
)
from inference.rules import (
    Answer,
    Case,
    StudySummary,
    Verdict,
    contrast,
    decide,
)
from mappings.record import Entry, Kind, PatientRecord
from mappings.statuses import RETRACTED, SETTLED
from mappings.wanted import Span, Wanted

State = Literal["not_eligible", "waiting", "ready"]


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
        t0: Index time; `study_instance_uid` names the index study where there is one.
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


def fired(protocol: Protocol, event: Entry | StudySummary | Sequence[Entry]) -> Trigger | None:
    """The trigger that an event pulls, if any; only what arrives live pulls one.

    History, replay and our own results never do (site rules 1 and 3).
    """
    if isinstance(event, StudySummary):
        return next((t for t in protocol.triggers if _pulled_by_study(t, event)), None)
    if isinstance(event, Entry):
        return next((t for t in protocol.triggers if _pulled_by_entry(t, event)), None)
    return next((t for t in (fired(protocol, e) for e in event) if t is not None), None)


def _pulled_by_study(trigger: Trigger, study: StudySummary) -> bool:
    fits = not trigger.modality or trigger.modality in matching.split(study.modality)
    return study.origin == "live" and trigger.on == "imaging_study" and fits


def _pulled_by_entry(trigger: Trigger, entry: Entry) -> bool:
    if entry.source.origin != "live" or entry.status in RETRACTED or trigger.on != entry.kind:
        return False
    fits = not trigger.modality or trigger.modality in _modalities(entry)
    return fits and (not trigger.codes or matching.coded_as(entry, trigger.codes))


def _modalities(entry: Entry) -> tuple[str, ...]:
    found = entry.details.get("modalities", entry.details.get("modality", ()))
    return matching.split(found) if isinstance(found, str) else tuple(found)


def readiness(
    protocol: Protocol,
    record: PatientRecord,
    studies: Sequence[StudySummary],
    as_of: datetime,
    at: datetime | None = None,
) -> Readiness:
    """Judge every rule and input of a protocol on what is known at `as_of`.

    Args:
        protocol: A pack's manifest, or a protocol that has no pack yet.
        record: Folded as of `as_of`.
        studies: The patient's imaging studies, any modality and order.
        as_of: Aware UTC; what is later is not read.
        at: Index time of the assessment that is made anew (`index_time`).
    """
    study = index_study(protocol, studies, as_of)
    t0 = index_time(protocol, record, study, as_of, at)
    lock = locked(protocol, record, as_of)
    served = features.find_all(protocol.inputs, record, t0, lock)
    inputs = tuple(_input(i, served[i.id], t0) for i in protocol.inputs)
    case = Case(
        protocol=protocol, record=record, studies=studies, study=study, t0=t0, lock=lock,
        served=served,
    )  # fmt: skip
    rules = (*(_rule(r, case) for r in protocol.rules), *_lock_rules(case, as_of))
    gating = [r for r in rules if r.scope != "analyse"]
    if any(r.verdict == "not_met" for r in gating):
        state: State = "not_eligible"
    else:
        state = "waiting" if any(r.verdict == "unknown" for r in gating) else "ready"
    waiting = (
        tuple(r.reason for r in gating if r.verdict == "unknown") if state == "waiting" else ()
    )
    return Readiness(
        pack=protocol.id,
        version=protocol.version,
        state=state,
        as_of=as_of,
        t0=t0,
        study_instance_uid=study.study_instance_uid if study else None,
        rules=rules,
        inputs=inputs,
        waiting_for=waiting,
        triggers=tuple(t.text for t in protocol.triggers),
    )


def asked(
    protocol: Protocol,
    t0: datetime | None,
    as_of: datetime,
    *,
    whole: Collection[str] | None = None,
) -> Wanted:
    """What of a record `readiness` and `features.find_all` have to read.

    Args:
        protocol: The pack's.
        t0: Index time, or None while there is none: then nothing measured is read.
        as_of: Aware UTC.
        whole: Inputs whose whole window is read; of all others the last days are, since the newest
            usable value serves (`unserved` tells whom that was too little). None: all of them.
    """
    return Wanted(
        as_of=as_of,
        spans=_spans(protocol, t0, as_of, whole) if t0 is not None else (),
        kinds=_kinds(protocol),
        demographics=frozenset({"birth_date", "sex"}),
    )


def unserved(
    protocol: Protocol, record: PatientRecord, t0: datetime, as_of: datetime
) -> frozenset[str]:
    """Inputs that nothing of their last days serves, and something of their window may."""
    cut = [i for i in protocol.inputs if i.kind in _OF_WINDOWS and _cut(i, t0, as_of) is not None]
    if not cut:
        return frozenset()
    served = features.find_all(cut, record, t0, locked(protocol, record, as_of))
    there = record.elsewhere | {e.code.code for e in record.of_kind("observation") if e.code}
    return frozenset(i.id for i in cut if not served[i.id].there and not there.isdisjoint(i.codes))


_OF_WINDOWS = ("quantity", "answer")
_LAST_DAYS = timedelta(days=14)


def _cut(wanted: Input, t0: datetime, as_of: datetime) -> datetime | None:
    """Where the last days of an input's window begin; None where all of it is read."""
    if wanted.statistic != "last":
        return None
    low, high = features.window(wanted, t0, as_of)
    return high - _LAST_DAYS if high - low > 4 * _LAST_DAYS else None


def _spans(
    protocol: Protocol, t0: datetime, as_of: datetime, whole: Collection[str] | None
) -> tuple[Span, ...]:
    """Observations by the times in which anything asks for them."""
    spans: dict[tuple[datetime, datetime], set[str]] = defaultdict(set)
    for wanted in protocol.inputs:
        if wanted.kind in ("gene_burden", "variant"):
            spans[t0 - _LIFE, as_of].update(GENETIC_CODES)
        elif wanted.kind in _OF_WINDOWS:
            low, high = features.window(wanted, t0, as_of)
            if whole is not None and wanted.id not in whole:
                low = _cut(wanted, t0, as_of) or low
            spans[low, high].update(wanted.codes)
    for selector in looked_for(protocol):
        if selector.kind == "observation":
            since, until = t0 - _LIFE, as_of
            if selector.window_days is not None:
                since, until = (t0 + timedelta(days=day) for day in selector.window_days)
            spans[since, until].update(selector.codes)
    for rule in protocol.rules:
        if isinstance(rule.test, NotPregnant):
            spans[t0 - timedelta(days=280), t0].add(rule.test.status_code)
    return tuple(
        Span(frozenset(codes), low, high + matching.FASTEST_ZONE)
        for (low, high), codes in spans.items()
    )


def _kinds(protocol: Protocol) -> frozenset[Kind]:
    """Kinds besides observations that anything asks for."""
    kinds: set[Kind] = {s.kind for s in looked_for(protocol) if s.kind != "observation"}
    if protocol.index.on == "procedure":
        kinds.add("procedure")
    if any(i.kind == "report" for i in protocol.inputs):
        kinds.add("report")
    if any(i.kind == "history" for i in protocol.inputs):
        kinds |= {*features.HISTORY, "family_history"}
    if any(isinstance(rule.test, FollowUp) for rule in protocol.rules):
        kinds.add("encounter")
    return frozenset(kinds)


def looked_for(protocol: Protocol) -> list[Selector]:
    """What rules and the lock look for."""
    locks = (protocol.lock.before, protocol.lock.after)
    return [
        *(selector for selector in locks if selector is not None),
        *(selector for rule in protocol.rules for selector in selectors(rule.test)),
    ]


_LIFE = timedelta(days=150 * 366)
_PROCEDURES: tuple[Kind, ...] = ("procedure",)


def index_time(
    protocol: Protocol,
    record: PatientRecord,
    study: StudySummary | None,
    as_of: datetime,
    at: datetime | None = None,
) -> datetime | None:
    """The index time: of the study, of the newest fitting procedure, or the assessment itself.

    An assessment that is made anew (`at`) is still of its own moment.
    """
    match protocol.index.on:
        case "study":
            return study.started.earliest if study and study.started else None
        case "procedure":
            done = [
                e.effective.earliest
                for e in matching.of_codes(record, _PROCEDURES, protocol.index.codes)
                if e.status in SETTLED
                and e.effective is not None
                and matching.not_after(e.effective, as_of)
            ]
            return max(done, default=None)
        case "assessment":
            return at or as_of


def locked(protocol: Protocol, record: PatientRecord, as_of: datetime) -> datetime:
    """The last moment that is read: never the operation itself where the lock lies before it."""
    before = protocol.lock.before
    if before is None:
        return as_of
    done = [
        e.effective.earliest
        for e in matching.of_codes(record, (before.kind,), before.codes)
        if e.effective is not None
    ]
    return min([as_of, *(moment - timedelta(microseconds=1) for moment in done)])


def _lock_rules(case: Case, as_of: datetime) -> list[RuleVerdict]:
    """What the lock itself asks for."""
    lock, found = case.protocol.lock, []
    if lock.before is not None:
        late = case.lock < as_of
        found.append(
            Answer("not_met", "it has begun: a prediction would come after its lock")
            if late
            else Answer("met", "it has not begun")
        )
    if lock.after is not None:
        found.append(decide(Has(lock.after, 1, "unknown"), case))
    text = "The prediction can still be locked"
    return [_verdict("lock", "predict", text, "pack: lock", answer) for answer in found]


def index_study(
    protocol: Protocol, studies: Sequence[StudySummary], as_of: datetime
) -> StudySummary | None:
    """The study an assessment would be about: the newest that may still fit, else the newest."""
    index = protocol.index
    fitting = [
        s
        for s in studies
        if index.on == "study"
        and set(index.modalities) & set(matching.split(s.modality))
        and s.started is not None
        and matching.not_after(s.started, as_of)
        and (not s.body_part or s.body_part.upper() in index.body_parts)
    ]
    fitting.sort(key=lambda s: (s.started.earliest if s.started else as_of, s.study_instance_uid))
    tests = [rule.test for rule in protocol.rules if isinstance(rule.test, Contrast)]
    hopeful = [s for s in fitting if all(contrast(test, s).verdict != "not_met" for test in tests)]
    chosen = hopeful or fitting
    return chosen[-1] if chosen else None


def _input(wanted: Input, found: Found, t0: datetime | None) -> InputState:
    span = None
    if t0 is not None and wanted.window_days is not None:
        low, high = (t0 + timedelta(days=d) for d in wanted.window_days)
        span = (low.isoformat(), high.isoformat())
    return InputState(
        input=wanted.id,
        display=wanted.display,
        required=wanted.required,
        present=found.there,
        reason=found.reason,
        window=span,
        evidence=tuple(entry.key for entry in found.entries),
    )


def _rule(rule: Rule, case: Case) -> RuleVerdict:
    return _verdict(rule.id, rule.scope, rule.text, rule.source, decide(rule.test, case))


def _verdict(rule: str, scope: Scope, text: str, source: str, answer: Answer) -> RuleVerdict:
    return RuleVerdict(
        rule=rule,
        scope=scope,
        verdict=answer.verdict,
        text=text,
        reason=answer.reason,
        source=source,
        evidence=answer.evidence,
    )
