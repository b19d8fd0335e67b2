"""How each eligibility rule is decided on a record: met, not met or unknown, with the reason.

Unknown never counts as met. A time that is too coarse to tell whether it lies in a window, an
unconfirmed diagnosis, an age across the edge: unknown. Source: models.md 1; model-rules 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from inference import matching, staging
from inference.features import Found
from inference.protocol import (
    Age,
    AllInputs,
    Before,
    Consent,
    Contrast,
    FollowUp,
    Has,
    Imaging,
    Lacks,
    NotPregnant,
    Protocol,
    ScoreIs,
    Selector,
    Sex,
    Test,
    Window,
)
from mappings.record import Entry, Origin, PatientRecord, When
from mappings.statuses import SETTLED

Verdict = Literal["met", "not_met", "unknown"]
_MONTH = timedelta(days=365.2425 / 12)
_NINE_MONTHS: Window = (-280, 0)


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


@dataclass(frozen=True, slots=True)
class Answer:
    """One verdict, why, and the keys of the entries or studies it rests on."""

    verdict: Verdict
    reason: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a rule may look at.

    Attributes:
        t0: Index time, or None while there is none.
        study: The index study, where the index is one.
        lock: Last moment that is read, aware UTC.
        served: What serves each input.
    """

    protocol: Protocol
    record: PatientRecord
    studies: Sequence[StudySummary]
    study: StudySummary | None
    t0: datetime | None
    lock: datetime
    served: Mapping[str, Found]


def decide(test: Test, case: Case) -> Answer:  # noqa: PLR0911, C901  one line a test
    """The answer of one rule."""
    match test:
        case Age():
            return _age(test.low, test.high, case)
        case Sex():
            return _sex(test, case)
        case Contrast():
            return _contrast(test, case)
        case Imaging():
            return _imaging(test, case)
        case AllInputs():
            return _all_there(test, case)
        case ScoreIs():
            return _score(test, case)
        case Has():
            return _has(test, case)
        case Lacks():
            return _lacks(test, case)
        case Before():
            return _before(test, case)
        case Consent():
            return _consent(test, case)
        case NotPregnant():
            return _not_pregnant(test, case)
        case FollowUp():
            return _follow_up(test, case)


def _no_index(case: Case, what: str) -> Answer:
    return Answer("unknown", f"{what} counts at the {case.protocol.index.text}, not known yet")


def _age(low: float, high: float, case: Case) -> Answer:
    entry = case.record.demographic("birth_date")
    if entry is None or not isinstance(entry.value, When):
        return Answer("unknown", "no birth date yet")
    evidence = (entry.key,)
    if case.t0 is None:
        return Answer(
            "unknown", f"age counts at the {case.protocol.index.text}, not known yet", evidence
        )
    least, greatest = matching.age_years(entry.value, case.t0)
    end = high + 1  # 80 means until the 81st birthday
    if low <= least and greatest < end:
        return Answer("met", "age is inside the range", evidence)
    if greatest < low or least >= end:
        return Answer("not_met", "age is outside the range", evidence)
    return Answer("unknown", "the birth date is too coarse to tell whether the age fits", evidence)


def _sex(test: Sex, case: Case) -> Answer:
    entry = case.record.demographic("sex")
    told = matching.sex(entry) if entry is not None else None
    if entry is None or told is None:
        return Answer("unknown", "sex is not known")
    verdict: Verdict = "met" if told == test.value else "not_met"
    return Answer(verdict, f"sex is {told}", (entry.key,))


def _contrast(test: Contrast, case: Case) -> Answer:
    study = case.study
    if study is None:
        names = " or ".join(case.protocol.index.modalities)
        return Answer("unknown", f"no {names} study yet")
    return contrast(test, study)


def contrast(test: Contrast, study: StudySummary) -> Answer:
    """Whether a study has the phases that are asked for."""
    evidence = (study.study_instance_uid,)
    if not study.complete:
        return Answer("unknown", f"the {study.modality} study is still arriving", evidence)
    if study.phases is None:
        return Answer(
            "unknown",
            f"the contrast phases of the {study.modality} study have not been read yet",
            evidence,
        )
    lacking = [phase for phase in test.phases if phase not in study.phases]
    if lacking:
        reason = f"the newest {study.modality} study has no phase {', '.join(lacking)}"
        return Answer("not_met", reason, evidence)
    return Answer(
        "met", f"complete {study.modality} study with phases {', '.join(study.phases)}", evidence
    )


def _imaging(test: Imaging, case: Case) -> Answer:
    names = " or ".join(test.modalities)
    if case.t0 is None:
        return _no_index(case, f"a {names} study")
    fitting = [
        s
        for s in case.studies
        if set(test.modalities) & set(matching.split(s.modality))
        and s.started is not None
        and _place(s.started, test.window_days, case) == "inside"
    ]
    complete = [s for s in fitting if s.complete]
    if complete:
        return Answer("met", f"complete {names} study", (complete[-1].study_instance_uid,))
    if fitting:
        return Answer("unknown", f"the {names} study is still arriving")
    return Answer("unknown", f"no {names} study in its window yet")


def _all_there(test: AllInputs, case: Case) -> Answer:
    asked = [(i.display, case.served[i.id]) for i in case.protocol.inputs if i.id in test.inputs]
    evidence = tuple(key for _, found in asked for key in _keys(found.entries))
    gone = [f"{display} ({found.reason})" for display, found in asked if not found.there]
    if gone:
        return Answer("unknown", "waiting for " + ", ".join(gone), evidence)
    return Answer("met", "all there", evidence)


def _score(test: ScoreIs, case: Case) -> Answer:
    display = next(i.display for i in case.protocol.inputs if i.id == test.input)
    found = case.served[test.input]
    if not found.there:
        return Answer("unknown", f"{display} cannot be told: {found.reason}")
    verdict: Verdict = "met" if found.value in test.values else "not_met"
    return Answer(verdict, f"{display} is {found.value}", _keys(found.entries))


@dataclass(frozen=True, slots=True)
class _Found:
    """Facts that a selector names: certainly, and perhaps."""

    certain: tuple[Entry, ...]
    possible: tuple[Entry, ...]


def _find(selector: Selector, case: Case) -> _Found:
    certain: list[Entry] = []
    possible: list[Entry] = []
    for entry in matching.of_codes(case.record, (selector.kind,), selector.codes):
        if entry.source.origin == "own":
            continue
        place = _place(entry.effective, selector.window_days, case)
        if place == "outside":
            continue
        sure = place == "inside" and entry.status in SETTLED
        (certain if sure else possible).append(entry)
    return _Found(tuple(certain), tuple(possible))


def _place(
    when: When | None, window: Window | None, case: Case
) -> Literal["inside", "outside", "unclear"]:
    """Where a clinical time lies; nothing after the lock is inside anything."""
    if when is None:
        return "inside" if window is None else "unclear"
    if not matching.not_after(when, case.lock):
        return "outside"
    if window is None:
        return "inside"
    if case.t0 is None:
        return "unclear"
    low, high = (case.t0 + timedelta(days=day) for day in window)
    if when.latest < low or not matching.not_after(when, high):
        return "outside"
    return "inside" if low <= when.earliest and when.latest <= high else "unclear"


def _says(entry: Entry, values: Sequence[str], reads: str = "") -> bool | None:
    """Whether an answer is one of the values; None where it is not understood."""
    if reads:
        told = staging.read(reads, entry.value).value
        return None if told is None else told in values
    words = matching.words(entry)
    return None if not words else any(value.casefold() in words for value in values)


def _keys(entries: Sequence[Entry]) -> tuple[str, ...]:
    return tuple(entry.key for entry in entries)


def _has(test: Has, case: Case) -> Answer:
    found = _find(test.selector, case)
    if test.selector.values:
        return _answered(test, found)
    if len(found.certain) >= test.at_least:
        return Answer("met", "it is in the record", _keys(found.certain))
    if test.selector.window_days is not None and case.t0 is None:
        return _no_index(case, "its time")
    if len(found.certain) + len(found.possible) >= test.at_least:
        return Answer(
            "unknown",
            "its time is too coarse, or it is not confirmed",
            _keys((*found.certain, *found.possible)),
        )
    return Answer(test.otherwise, "nothing received")


def _answered(test: Has, found: _Found) -> Answer:
    """Of a question with answers the newest counts."""
    if not found.certain:
        kept = _keys(found.possible)
        return Answer(test.otherwise if not kept else "unknown", "no answer received", kept)
    newest = found.certain[-1]
    says = _says(newest, test.selector.values, test.selector.reads)
    if says is None:
        return Answer("unknown", "received, but the answer is not understood", (newest.key,))
    if says:
        return Answer("met", "the answer fits", (newest.key,))
    return Answer("not_met", "the answer is another", (newest.key,))


def _lacks(test: Lacks, case: Case) -> Answer:
    found = _find(test.selector, case)
    if test.selector.values:
        newest = found.certain[-1:]
        says = [_says(e, test.selector.values, test.selector.reads) for e in newest]
        if says == [False]:
            return Answer("met", "the answer is another", _keys(newest))
        found = _Found(newest, found.possible) if says == [True] else _Found((), newest)
    if found.certain:
        return Answer("not_met", "it is in the record", _keys(found.certain))
    if test.selector.window_days is not None and case.t0 is None:
        return _no_index(case, "its absence")
    if found.possible:
        return Answer(
            "unknown", "its time is too coarse, or it is not confirmed", _keys(found.possible)
        )
    if test.silence == "met":
        return Answer("met", "nobody told of it, which counts as no for this rule")
    return Answer("unknown", "nobody told of it, and silence is no answer for this rule")


def _before(test: Before, case: Case) -> Answer:
    first, then = _first(test.first, case), _first(test.then, case)
    if first is None or first.effective is None:
        return Answer("unknown", "nothing received")
    if then is None or then.effective is None:
        return Answer("met", "nothing of the other kind is in the record", (first.key,))
    evidence = (first.key, then.key)
    if first.effective.latest < then.effective.earliest:
        return Answer("met", "it came first", evidence)
    if first.effective.earliest >= then.effective.latest:
        return Answer("not_met", "it came later", evidence)
    return Answer("unknown", "the times are too coarse to tell which came first", evidence)


def _first(selector: Selector, case: Case) -> Entry | None:
    timed = [(e.effective.earliest, e.seq, e) for e in _find(selector, case).certain if e.effective]
    return min(timed, key=lambda found: found[:2])[2] if timed else None


def _consent(test: Consent, case: Case) -> Answer:
    given = [
        e
        for e in _find(Selector(kind="consent", codes=("*",)), case).certain
        if e.details.get("provision") != "deny" and not _ended(e, case.lock)
    ]
    if not given:
        return Answer("unknown", "no active consent received")
    child = _age(0, test.majority - 1, case)
    if child.verdict == "not_met":
        return Answer("met", "active consent", (given[-1].key,))
    if child.verdict == "unknown":
        return Answer("unknown", f"who must consent is open: {child.reason}", (given[-1].key,))
    guarded = [e for e in given if _by_somebody_else(e)]
    if guarded:
        return Answer("met", "active consent of a guardian", (guarded[-1].key,))
    return Answer("unknown", "a minor's consent needs a guardian's", (given[-1].key,))


def _ended(entry: Entry, moment: datetime) -> bool:
    end = entry.details.get("ended")
    return bool(end) and str(end)[:10] < moment.date().isoformat()


def _by_somebody_else(entry: Entry) -> bool:
    performers: Sequence[Any] = entry.details.get("performers") or ()
    return any(performer.get("patient") is False for performer in performers)


def _not_pregnant(test: NotPregnant, case: Case) -> Answer:
    entry = case.record.demographic("sex")
    if entry is not None and matching.sex(entry) == "male":
        return Answer("met", "sex is male", (entry.key,))
    age = _age(test.ages[0], test.ages[1], case)
    if age.verdict == "not_met":
        return Answer("met", "outside the ages of pregnancy", age.evidence)
    status = Selector(kind="observation", codes=(test.status_code,), window_days=_NINE_MONTHS)
    told = _find(status, case).certain
    if told and _says(told[-1], test.not_pregnant):
        return Answer("met", "stated as not pregnant", (told[-1].key,))
    if told:
        return Answer("not_met", "stated otherwise than not pregnant", (told[-1].key,))
    diagnoses = Selector(kind="condition", codes=test.conditions, window_days=_NINE_MONTHS)
    found = _find(diagnoses, case)
    if found.certain:
        return Answer("not_met", "a diagnosis of pregnancy", _keys(found.certain))
    return Answer("unknown", "pregnancy is neither stated nor excluded", _keys(found.possible))


def _follow_up(test: FollowUp, case: Case) -> Answer:
    if case.t0 is None:
        return _no_index(case, "follow-up")
    events = _find(test.event, case).certain
    if events:
        return Answer("met", "the event came", _keys(events))
    visits = [(e.effective.earliest, e) for e in case.record.of_kind("encounter") if e.effective]
    if not visits or visits[-1][0] < case.t0:
        return Answer("unknown", "no visit after the index yet")
    moment, last = visits[-1]
    if moment - case.t0 >= test.months * _MONTH:
        return Answer("met", f"seen {test.months} months after the index or later", (last.key,))
    return Answer("unknown", "not followed long enough yet: censored, not excluded", (last.key,))
