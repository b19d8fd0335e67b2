"""One patient of a declared study: plain facts, the record of them, and the registry's events.

A fact is what a hospital would say, without any wire: record entries are made of it here, and
messages of it in `workers.demo`; both carry the same code, value, unit and time. What the index
date hides from a model stands in `registry` alone.

Source: models.md 1.0, 4.1; style: subject, time, code, value.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

import numpy as np

from inference.training.cohorts import narrative, pictures
from inference.training.cohorts.drawing import Batch, draw
from inference.training.cohorts.errors import NotRendered
from inference.training.cohorts.narrative import Language
from inference.training.cohorts.persons import prognosis_of
from inference.training.cohorts.pictures import Rendered
from inference.training.cohorts.prognosis import Course
from inference.training.cohorts.study import (
    Answer,
    Assay,
    Derived,
    Graded,
    Narrative,
    Set,
    Site,
    Study,
)
from mappings import keys
from mappings.codes import ICD10, LOINC
from mappings.record import Code, Coded, Entry, Identifier, Kind, Quantity, Source, Text, When
from mappings.sections import sections

AUTHORITY = "https://hospital.example/mrn"
_GENE, _VARIANT = "48018-6", "48004-6"
_HEADINGS = {"zh": ("检查所见：", "诊断意见："), "en": ("FINDINGS:", "IMPRESSION:")}
_DAYS_A_YEAR = 365.2425


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something a hospital says of a patient.

    Attributes:
        kind: What sort of entry it becomes.
        name: The declaration's name of it.
        modality: Which a model must have to read it; blank for demographics.
        order: Filler number of the order it belongs to.
        sub_id: OBX-4, where an order says one thing of several subjects.
        code: What was asked or diagnosed.
        value: Its value as the record holds one.
        days: When, from the index.
        issued_days: When it was told.
    """

    kind: Literal["demographic", "observation", "condition", "report"]
    name: str
    modality: str
    order: str
    sub_id: str = ""
    code: Code
    value: Quantity | Coded | Text | None
    days: int
    issued_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A line of the registry: something that happened, months from the index."""

    months: float
    code: Code | None
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """One patient; `batch` holds this one alone."""

    batch: Batch

    @property
    def study(self) -> Study:
        """Its declaration."""
        return self.batch.study

    @property
    def number(self) -> str:
        """Medical record number; SYN marks what is not a person."""
        cohort = f"{self.study.version}/{self.batch.seed}/{self.batch.which}"
        return f"SYN-{zlib.crc32(cohort.encode()):010d}-{self.batch.index[0]}"

    @property
    def site(self) -> Site:
        """The hospital."""
        return self.study.sites[int(self.batch.emitted.site[0])]

    @property
    def age_years(self) -> int:
        """Whole years at the index."""
        return int(self.batch.emitted.numbers["age"][0])

    @property
    def sex(self) -> str:
        """`female` or `male`."""
        if self.study.only_sex is not None:
            return self.study.only_sex
        return ("female", "male")[int(self.batch.emitted.graded["sex"][0])]

    @property
    def earlier_days(self) -> int:
        """How much earlier everything was told than is declared for a visit at the index."""
        return int(self.batch.emitted.earlier[0])

    def index_at(self, opened: datetime) -> datetime:
        """The index of this patient, where accrual opened at a moment; any outcome has the same."""
        return opened + timedelta(days=int(self.batch.emitted.index_day[0]))

    def stream(self, name: str) -> np.random.Generator:
        """Random numbers for words, never for values."""
        number = int(self.batch.index[0])
        return np.random.default_rng([self.batch.seed, number, zlib.crc32(name.encode())])

    def has(self, picture: str) -> bool:
        """Whether this patient has a picture."""
        shown = self.batch.emitted.pictures.get(picture)
        return shown is not None and bool(shown.present[0])

    def picture(self, name: str, *, measure: bool = False, erased: bool = False) -> Rendered:
        """A picture, rendered.

        Raises:
            NotRendered: This patient has no such picture.
        """
        found = next((p for p in self.study.pictures if p.name == name), None)
        if found is None:
            raise NotRendered(self.study.name, name)
        return pictures.render(self.batch, 0, found, measure=measure, erased=erased)


def patient(study: Study, seed: int, index: int, which: Set = "internal") -> Patient:
    """One patient; the same arguments give the same bytes."""
    return Patient(batch=draw(study, seed, np.array([index]), which))


def facts(one: Patient) -> tuple[Fact, ...]:
    """Everything that is told of a patient up to the lock, nothing that happened later."""
    study, emitted = one.study, one.batch.emitted
    measured = [(a, float(emitted.numbers[a.name][0])) for a in study.assays]
    made = [
        _number(one, assay, value)
        for assay, value in measured
        if assay.kind != "demographic" and not np.isnan(value)
    ]
    for place, question in enumerate(study.graded):
        answer = int(emitted.graded[question.name][0])
        if question.kind != "demographic" and answer >= 0:
            made += _answered(one, question, answer, place)
    for derived in study.derived:
        made += _derived(one, derived)
    for report in study.narratives:
        said = emitted.narratives[report.name][0]
        if said[0] >= 0:
            made.append(_told(one, report, [narrative.STATES[s] for s in said]))
    return tuple(made)


def _number(one: Patient, assay: Assay, value: float) -> Fact:
    unit = assay.unit(one.site.language)
    text = f"{value:.{unit.decimals}f}"
    quantity = Quantity(Decimal(text), unit.unit, text, unit.unit)
    return _fact(one, assay, Code(LOINC, unit.loinc), quantity)


def _fact(
    one: Patient, part: Assay | Graded | Narrative, code: Code, value: Quantity | Coded | Text
) -> Fact:
    days = part.days - one.earlier_days
    return Fact(
        kind="report" if isinstance(part, Narrative) else "observation",
        name=part.name,
        modality=one.study.modality(part),
        order=_order(one, part.panel),
        code=code,
        value=value,
        days=days,
        issued_days=days + 1,
    )


def _order(one: Patient, panel: str) -> str:
    place = [p.name for p in one.study.panels].index(panel)
    return f"{one.number[4:]}-{place}"


def _coded(answer: Answer, language: Language) -> Coded:
    text = answer.zh if language == "zh" else answer.en
    codes = () if answer.code is None else (Code(answer.code.system, answer.code.code, text),)
    return Coded(codes, text)


def _answered(one: Patient, question: Graded, answer: int, place: int) -> list[Fact]:
    chosen = question.answers[answer]
    value = _coded(chosen, one.site.language)
    if question.kind == "condition":
        if chosen.code is None:
            return []
        diagnosed = _fact(one, question, value.codes[0], value)
        return [_as(diagnosed, kind="condition")]
    made = _fact(one, question, Code(LOINC, question.loinc), value)
    if question.kind != "gene":
        return [made]
    of_gene = [_as(made, sub_id=str(place + 1))]
    of_gene.append(_as(of_gene[0], code=Code(LOINC, _GENE), value=Text(question.name)))
    if answer and question.variants:
        pick = int(one.stream(question.name).integers(len(question.variants)))
        named = Text(question.variants[pick])
        of_gene.append(_as(of_gene[0], code=Code(LOINC, _VARIANT), value=named))
    return of_gene


def _as(fact: Fact, **changes: Any) -> Fact:
    return Fact(**{**{n: getattr(fact, n) for n in Fact.__slots__}, **changes})


def _derived(one: Patient, derived: Derived) -> list[Fact]:
    inputs = [int(one.batch.emitted.graded[i][0]) for i in derived.inputs]
    if min(inputs) < 0:
        return []
    source = next(g for g in one.study.graded if g.name == derived.inputs[0])
    value = _coded(derived.answers[derived.rule(*inputs)], one.site.language)
    return [_as(_fact(one, source, Code(LOINC, derived.loinc), value), name=derived.name)]


def _told(one: Patient, report: Narrative, said: Sequence[narrative.State]) -> Fact:
    words = narrative.text(report.grammar, said, one.site.language, one.stream(report.name))
    found, concluded = _HEADINGS[one.site.language]
    text = f"{found}\n{words}"
    mood = one.stream(f"{report.name}/verdict")
    verdict = narrative.verdict(report.grammar, said, one.site.language, mood)
    if verdict is not None:
        text += f"\n{concluded}\n{verdict}"
    return _fact(one, report, Code(LOINC, report.loinc), Text(text))


def registry(one: Patient) -> tuple[Event, ...]:
    """What the registry holds: the first event within follow-up, what came later, last contact."""
    table, events = one.study.registry_events, one.batch.events
    cause, months = int(events.observed_cause[0]), float(events.observed_months[0])
    made, last = [], float(events.followed_months[0])
    if cause:
        notes: Mapping[str, Any] = {}
        if table.describe is not None:
            notes = table.describe(cause, one.age_years, one.stream("registry"))
        code = Code(ICD10, str(notes.get("icd10", table.codes[cause - 1])))
        made.append(Event(months=months, code=code, details=notes))
    elif table.none:
        benign = table.none[int(one.stream("registry").integers(len(table.none)))]
        made.append(Event(months=months, code=Code(ICD10, benign), details={}))
    course = one.batch.course
    if course is not None and course.operated[0]:
        made += _later(one, course, months)
        last = max(last, months + float(course.followed_months[0]))
    return (*made, Event(months=last, code=None, details={"contact": "last"}))


def outcome_of(study: Study, events: Sequence[Event]) -> tuple[float, int]:
    """Time and cause of the first event of a registry, as production derives its label.

    Returns:
        Months from the index, and the cause from 1, or 0 where follow-up ended first.
    """
    table = study.registry_events
    for event in sorted(events, key=lambda e: e.months):
        if event.code is None:
            return event.months, 0
        if table.cause_of is not None:
            return event.months, table.cause_of(event.code.code, event.details)
        if event.code.code in table.none:
            return event.months, 0
        known = table.codes.index(event.code.code) if event.code.code in table.codes else 0
        return event.months, known + 1
    return 0.0, 0


def _later(one: Patient, course: Course, operated_months: float) -> list[Event]:
    """The operation, and what was seen after it."""
    asked = prognosis_of(one.study)
    made = [Event(months=operated_months, code=asked.operation, details={})]
    after = zip((course.progressed_months, course.died_months), asked.codes, strict=True)
    for months, code in after:
        if months[0] <= course.followed_months[0]:
            when = operated_months + float(months[0])
            made.append(Event(months=when, code=Code(ICD10, code), details={}))
    return made


def course_of(study: Study, events: Sequence[Event]) -> Course | None:
    """What followed the operation, read back from a registry; None without an operation.

    Raises:
        BadDeclaration: The study asks for no prognosis.
    """
    asked = prognosis_of(study)
    operated = next((e.months for e in events if e.code == asked.operation), None)
    if operated is None:
        return None

    def after(code: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        found = [e.months for e in events if e.code == Code(ICD10, code)]
        return np.array([min(found) - operated if found else np.inf])

    last = max(e.months for e in events if e.code is None)
    return Course(
        operated=np.array([True]),
        progressed_months=after(asked.codes[0]),
        died_months=after(asked.codes[1]),
        followed_months=np.array([last - operated]),
    )


def birth_date(one: Patient, index_at: datetime) -> datetime:
    """Naive midnight; half a year past the birthday, the middle of what whole years may mean."""
    birth = index_at - timedelta(days=round((one.age_years + 0.5) * _DAYS_A_YEAR))
    return birth.replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)


def entries(
    one: Patient, *, index_at: datetime, received_at: datetime | None = None
) -> list[Entry]:
    """The record of a patient as entries, all received live.

    Args:
        one: The patient.
        index_at: Aware moment of day 0.
        received_at: When everything reached us; by default 60 days after the index.
    """
    got = received_at or index_at + timedelta(days=60)
    source = Source("cohort", 1, got.astimezone(UTC))
    who = Identifier(one.number, AUTHORITY, "MR")
    born = When(birth_date(one, index_at), "day")
    made = [
        Entry("patient", "patient/birth_date", who, source, "PID-7", value=born),
        Entry("patient", "patient/sex", who, source, "PID-8", value=Text(one.sex)),
    ]
    made += [_entry(fact, who, source, index_at) for fact in facts(one)]
    return made


def _entry(fact: Fact, who: Identifier, source: Source, index_at: datetime) -> Entry:
    when = When.instant(index_at + timedelta(days=fact.days))
    issued = When.instant(index_at + timedelta(days=fact.issued_days))
    kind: Kind = "observation"
    details: dict[str, Any] = {"order": {"filler": fact.order}}
    code, twin = fact.code.code, None
    if fact.kind == "report":
        assert isinstance(fact.value, Text)
        kind, key = "report", keys.report(code, fact.order, when, issued)
        twin = keys.report_twin(code, when)
        details |= {"text": fact.value.text, "sections": sections(fact.value.text)}
    elif fact.kind == "condition":
        kind, key = "condition", keys.condition(code)
    else:
        key = keys.observation(code, fact.order, fact.sub_id, when, issued)
        twin = keys.twin(code, fact.sub_id, when)
    return Entry(
        kind,
        key,
        who,
        source,
        f"{fact.kind}/{fact.name}",
        code=fact.code,
        value=fact.value,
        effective=when,
        source_time=issued,
        twin=twin,
        details=details,
    )
