"""What people decided of a model: for whom, when, from which facts. No figure stands here.

A protocol is the human part of a pack (`manifest`), and stands alone in `protocols/` for models
that are not trained yet: readiness needs nothing more. How one is read from a file stands in
`protocol_reading`. Source: models.md 1; model-rules 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeAlias

from mappings.record import Kind

Scope = Literal["predict", "analyse", "both"]
IndexEvent = Literal["study", "procedure", "assessment"]
Silence = Literal["met", "unknown"]
Otherwise = Literal["unknown", "not_met"]
InputKind = Literal[
    "quantity", "age", "sex", "report", "score", "answer", "history", "gene_burden", "variant"
]
Transform = Literal["identity", "log", "zscore_by_age"]
Statistic = Literal["last", "minimum", "maximum", "slope_per_year", "change"]
# Statistics of several days; they are of the transformed values, and in no unit.
TRENDS: frozenset[Statistic] = frozenset({"slope_per_year", "change"})
Window = tuple[int, int]
NO_TOKENS: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Facts of a record.

    Attributes:
        codes: Codes as sent ("1834-1"), all below one ("C22*"), or ICD-10 categories ("C00-C97").
        window_days: First and last day relative to the index time; None is any time up to the
            lock.
        values: Codes or texts of a coded answer, any of which counts; empty for any value.
        reads: Name in `staging.READERS` by which an answer becomes one of the values.
    """

    kind: Kind
    codes: tuple[str, ...]
    window_days: Window | None = None
    values: tuple[str, ...] = ()
    reads: str = ""


@dataclass(frozen=True, slots=True)
class Age:
    """Whole years at the index; `high` means until the next birthday."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Sex:
    """Administrative sex, as FHIR spells it."""

    value: str


@dataclass(frozen=True, slots=True)
class Contrast:
    """The index study has these contrast phases."""

    phases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Imaging:
    """A complete study of any of these modalities near the index."""

    modalities: tuple[str, ...]
    window_days: Window


@dataclass(frozen=True, slots=True)
class AllInputs:
    """All these inputs are there."""

    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ScoreIs:
    """The derived score of an input is one of these words."""

    input: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Has:
    """At least so many facts; `otherwise` says what it means that there are none."""

    selector: Selector
    at_least: int
    otherwise: Otherwise


@dataclass(frozen=True, slots=True)
class Lacks:
    """No such fact; `silence` says what it means that nobody spoke of it."""

    selector: Selector
    silence: Silence


@dataclass(frozen=True, slots=True)
class Before:
    """The first fact of one kind is earlier than the first of another, if there is any."""

    first: Selector
    then: Selector


@dataclass(frozen=True, slots=True)
class Consent:
    """An active consent; under the age of majority one that somebody else gave."""

    majority: int


@dataclass(frozen=True, slots=True)
class NotPregnant:
    """No pregnancy at the index: by diagnoses, by a stated status, by age or sex."""

    conditions: tuple[str, ...]
    status_code: str
    not_pregnant: tuple[str, ...]
    ages: Window


@dataclass(frozen=True, slots=True)
class FollowUp:
    """An event, or so many months under observation after the index."""

    months: int
    event: Selector


Test: TypeAlias = (
    Age | Sex | Contrast | Imaging | AllInputs | ScoreIs | Has | Lacks | Before | Consent
    | NotPregnant | FollowUp
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One eligibility rule.

    Attributes:
        scope: `predict` and `both` gate an assessment; `analyse` only defines cohorts and labels.
        test: How it is decided.
        source: Where the protocol says so; discrepancies of a registry entry are written here.
    """

    id: str
    scope: Scope
    test: Test
    text: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """An event that starts an assessment; only of live origin.

    Attributes:
        on: Kind of entry, or a study that is complete.
        modality: Of the study, or of what a report is about; empty for any.
        codes: As in `Selector`; empty for any.
    """

    on: Kind
    text: str
    modality: str = ""
    codes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """What gives the index time t0.

    Attributes:
        on: Start of the newest fitting imaging study, time of the newest fitting procedure, or
            the moment of assessment.
        modalities: Of the study.
        body_parts: DICOM BodyPartExamined values that fit; an empty value always does.
        codes: Of the procedure, as in `Selector`.
    """

    on: IndexEvent
    text: str
    modalities: tuple[str, ...] = ()
    body_parts: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """Until when the record is read.

    Attributes:
        days: Last day after t0 that anything may be from.
        before: What is of the time of the first such fact, or later, is never read (PRE).
        after: A prediction waits for such a fact (POST).
    """

    days: int
    before: Selector | None = None
    after: Selector | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One thing the model reads of the record.

    Attributes:
        modality: The score it belongs to (`labs`, `demographics`, `text`).
        codes: Bare codes of LOINC, SNOMED CT or `tables/questions.csv`, any of which serves.
        unit: UCUM unit that values are brought to.
        plausible: Values outside are not features.
        window_days: First and last day relative to the index time; None of genes is any time.
        transform: What the graphs take: the number, its logarithm, or its `by_age.z`.
        statistic: What of the values of the window is read.
        distinct_days: Days of which a trend needs a value.
        section: Part of a report that is read; the others never are.
        score: Name in `scores.SCORES`.
        of: Ids of earlier inputs that the score takes, named as it names them.
        reads: Name in `staging.READERS` by which an answer becomes one of the tokens.
        of_relatives: The history is of the patient's relatives.
        tokens: Word of an answer or of a score's category -> number.
        silence: What it means that nobody told of a history.
        genes: HGNC symbols.
        variant: Coding or protein change of the one gene ("c.747G>T", "p.Arg249Ser").
        fill: What a graph that takes no gaps is fed where the input is missing, before its
            transform; results say so. None: the gap itself.
    """

    id: str
    kind: InputKind
    modality: str
    display: str
    required: bool
    codes: tuple[str, ...] = ()
    unit: str = ""
    plausible: tuple[float, float] | None = None
    window_days: Window | None = None
    transform: Transform = "identity"
    statistic: Statistic = "last"
    distinct_days: int = 0
    section: str = ""
    score: str = ""
    of: tuple[str, ...] = ()
    tokens: Mapping[str, float] = field(default_factory=lambda: NO_TOKENS)
    reads: str = ""
    of_relatives: bool = False
    silence: Literal["absent", "unknown"] = "unknown"
    genes: tuple[str, ...] = ()
    variant: str = ""
    fill: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """The human part of a pack."""

    id: str
    version: str
    title: str
    study: str
    question: str
    intended_use: str
    not_for: str
    licence: str
    modalities: tuple[str, ...]
    index: Index
    lock: Lock
    rules: tuple[Rule, ...]
    triggers: tuple[Trigger, ...]
    inputs: tuple[Input, ...]

    @property
    def codes(self) -> frozenset[str]:
        """Bare codes of observations and reports whose arrival can change an answer."""
        found = {code for i in self.inputs for code in i.codes}
        for rule in self.rules:
            for selector in selectors(rule.test):
                found.update(selector.codes)
            if isinstance(rule.test, NotPregnant):
                found.add(rule.test.status_code)
        return frozenset(found)


def selectors(test: Test) -> tuple[Selector, ...]:
    """The facts that a test looks for."""
    match test:
        case Has(selector=selector) | Lacks(selector=selector):
            return (selector,)
        case Before(first=first, then=then):
            return (first, then)
        case FollowUp(event=event):
            return (event,)
        case NotPregnant():
            return (Selector(kind="condition", codes=test.conditions),)
        case Consent():
            return (Selector(kind="consent", codes=("*",)),)
        case _:
            return ()
