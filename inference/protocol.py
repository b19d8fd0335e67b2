"""What people decided of a model: for whom, when, from which facts. No figure stands here.

A protocol is the human part of a pack (`manifest`), and stands alone in `protocols/` for models
that are not trained yet: readiness needs nothing more. Source: models.md 1; model-rules 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeAlias

from inference.scores import SCORES
from inference.staging import READERS
from inference.toml_table import Table, document
from mappings.codes import is_loinc
from mappings.record import Kind
from mappings.units import normalise

Scope = Literal["predict", "analyse", "both"]
IndexEvent = Literal["study", "procedure", "assessment"]
Silence = Literal["met", "unknown"]
Otherwise = Literal["unknown", "not_met"]
InputKind = Literal[
    "quantity", "age", "sex", "report", "score", "answer", "history", "gene_burden", "variant"
]
Transform = Literal["identity", "log"]
Window = tuple[int, int]
_NO_TOKENS: Mapping[str, float] = MappingProxyType({})
FOLDER = Path(__file__).parent / "protocols"


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
    Age | Sex | Contrast | Imaging | AllInputs | Has | Lacks | Before | Consent | NotPregnant
    | FollowUp
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
        codes: Bare LOINC codes, any of which serves.
        unit: UCUM unit that values are brought to.
        plausible: Values outside are not features.
        window_days: First and last day relative to the index time.
        section: Part of a report that is read; the others never are.
        score: Name in `scores.SCORES`.
        of: Ids of earlier inputs that the score takes, named as it names them.
        reads: Name in `staging.READERS` by which an answer becomes one of the tokens.
        of_relatives: The history is of the patient's relatives.
        tokens: Word of an answer or of a score's category -> number.
        silence: What it means that nobody told of a history.
        genes: HGNC symbols.
        variant: Coding or protein change of the one gene ("c.747G>T", "p.Arg249Ser").
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
    section: str = ""
    score: str = ""
    of: tuple[str, ...] = ()
    tokens: Mapping[str, float] = field(default_factory=lambda: _NO_TOKENS)
    reads: str = ""
    of_relatives: bool = False
    silence: Literal["absent", "unknown"] = "unknown"
    genes: tuple[str, ...] = ()
    variant: str = ""


_TEXTS = ("id", "version", "title", "study", "question", "intended_use", "not_for", "licence")


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


def read(doc: Table) -> Protocol:
    """The human part of a document whose other tables the caller reads.

    Raises:
        ManifestRefused: Names file, line and key of what is missing, unknown, of another type or
            contradictory.
    """
    pack = doc.table("pack")
    made = Protocol(
        **{key: pack.text(key) for key in _TEXTS},
        modalities=pack.texts("modalities"),
        index=_index(doc.table("index")),
        lock=_lock(doc.table("lock")),
        rules=tuple(_rule(t) for t in doc.tables("rules")),
        triggers=tuple(_trigger(t) for t in doc.tables("triggers")),
        inputs=tuple(_input(t) for t in doc.tables("inputs")),
    )
    pack.end()
    _agree(made, doc)
    return made


def load(path: Path) -> Protocol:
    """A protocol that stands alone.

    Raises:
        ManifestRefused: As `read`.
    """
    doc = document(path.read_bytes(), path.name)
    made = read(doc)
    doc.end()
    return made


@cache
def shipped() -> Mapping[str, Protocol]:
    """Every protocol of this house, by its id."""
    found = (load(path) for path in sorted(FOLDER.glob("*.toml")))
    return {protocol.id: protocol for protocol in found}


def _index(t: Table) -> Index:
    on: IndexEvent = t.one_of("on", IndexEvent)
    made = Index(
        on=on,
        text=t.text("text"),
        modalities=t.texts("modalities") if on == "study" else (),
        body_parts=t.texts("body_parts") if on == "study" else (),
        codes=t.texts("codes") if on == "procedure" else (),
    )
    t.end()
    return made


def _lock(t: Table) -> Lock:
    made = Lock(
        days=t.whole("days"),
        before=_selector(t.table("before")) if t.has("before") else None,
        after=_selector(t.table("after")) if t.has("after") else None,
    )
    t.end()
    return made


def _selector(t: Table) -> Selector:
    made = _select(t)
    t.end()
    return made


def _select(t: Table) -> Selector:
    return Selector(
        kind=t.one_of("kind", Kind),
        codes=t.texts("codes"),
        window_days=_days(t) if t.has("window_days") else None,
        values=t.texts("values") if t.has("values") else (),
        reads=_reader(t) if t.has("reads") else "",
    )


def _reader(t: Table) -> str:
    name = t.text("reads")
    if name not in READERS:
        raise t.refuse("reads", f"one of {', '.join(READERS)}")
    return name


def _days(t: Table) -> Window:
    low, high = t.span("window_days")
    if low != int(low) or high != int(high):
        raise t.refuse("window_days", "two whole days")
    return int(low), int(high)


def _pregnancy(t: Table) -> NotPregnant:
    low, high = t.span("ages")
    return NotPregnant(
        t.texts("conditions"), t.text("status_code"), t.texts("not_pregnant"), (int(low), int(high))
    )


_TESTS: Mapping[str, Callable[[Table], Test]] = {
    "age": lambda t: Age(*t.span("years")),
    "sex": lambda t: Sex(t.text("value")),
    "contrast_study": lambda t: Contrast(t.texts("phases")),
    "imaging": lambda t: Imaging(t.texts("modalities"), _days(t)),
    "inputs": lambda t: AllInputs(t.texts("inputs")),
    "has": lambda t: Has(
        _select(t),
        t.whole("at_least") if t.has("at_least") else 1,
        t.one_of("otherwise", Otherwise),
    ),
    "lacks": lambda t: Lacks(_select(t), t.one_of("silence", Silence)),
    "before": lambda t: Before(_selector(t.table("first")), _selector(t.table("then"))),
    "consent": lambda t: Consent(t.whole("majority")),
    "not_pregnant": _pregnancy,
    "follow_up": lambda t: FollowUp(t.whole("months"), _selector(t.table("event"))),
}


def _rule(t: Table) -> Rule:
    name = t.text("test")
    if name not in _TESTS:
        raise t.refuse("test", f"one of {', '.join(_TESTS)}")
    made = Rule(
        id=t.text("id"),
        scope=t.one_of("scope", Scope),
        test=_TESTS[name](t),
        text=t.text("text"),
        source=t.text("source"),
    )
    t.end()
    return made


def _trigger(t: Table) -> Trigger:
    made = Trigger(
        on=t.one_of("on", Kind),
        text=t.text("text"),
        modality=t.text("modality") if t.has("modality") else "",
        codes=t.texts("codes") if t.has("codes") else (),
    )
    t.end()
    return made


def _input(t: Table) -> Input:
    kind: InputKind = t.one_of("kind", InputKind)
    of_codes = kind in ("quantity", "report", "answer", "history")
    quantity = kind == "quantity"
    score = kind == "score"
    made = Input(
        id=t.text("id"),
        kind=kind,
        modality=t.text("modality"),
        display=t.text("display"),
        required=t.truth("required"),
        codes=t.texts("codes") if of_codes else (),
        unit=t.text("unit") if quantity else "",
        plausible=t.span("plausible") if quantity else None,
        window_days=_days(t) if of_codes else None,
        transform=t.one_of("transform", Transform) if quantity or score else "identity",
        section=t.text("section") if kind == "report" else "",
        score=t.text("score") if score else "",
        of=t.texts("of") if score else (),
        tokens=_tokens(t.table("tokens")) if kind == "answer" or t.has("tokens") else _NO_TOKENS,
        reads=_reader(t) if t.has("reads") else "",
        of_relatives=t.truth("of_relatives") if t.has("of_relatives") else False,
        silence=t.one_of("silence", Literal["absent", "unknown"])
        if kind == "history"
        else "unknown",
        genes=t.texts("genes") if kind in ("gene_burden", "variant") else (),
        variant=t.text("variant") if kind == "variant" else "",
    )
    t.end()
    return made


def _tokens(t: Table) -> dict[str, float]:
    return {word: t.number(word) for word in t.rest()}


def _agree(p: Protocol, doc: Table) -> None:
    """What the keys must say of each other; above all that nothing reads beyond the lock."""
    ids = [i.id for i in p.inputs]
    for n, i in enumerate(p.inputs):
        here = f"inputs[{n}]"
        if i.id in ids[:n]:
            raise doc.refuse(f"{here}.id", "an id that occurs once")
        if i.modality not in p.modalities:
            raise doc.refuse(f"{here}.modality", "a name of pack.modalities")
        if p.lock.before is not None and _POSTOPERATIVE.intersection(i.codes):
            raise doc.refuse(f"{here}.codes", "nothing that a resection tells")
        _ends_at_the_lock(p, doc, here, i.window_days)
        _known_terms(doc, here, i)
        if i.kind == "score":
            _known_score(doc, here, i, ids[:n])
    for n, rule in enumerate(p.rules):
        _agree_on_rule(p, doc, f"rules[{n}]", rule, set(ids))


# What is known only from the resected specimen: pathology reports, pT, pN, margins, MVI and LVI.
_POSTOPERATIVE = frozenset(
    {"11526-1", "60568-3", "21899-0", "21900-6", "21901-4", "21902-2", "84892-9", "33739-4"}
    | {"59544-7", "92837-4", "21893-3", "21894-1"}
)


def _agree_on_rule(p: Protocol, doc: Table, here: str, rule: Rule, ids: set[str]) -> None:
    test = rule.test
    if isinstance(test, AllInputs) and not set(test.inputs) <= ids:
        raise doc.refuse(f"{here}.inputs", "ids of [[inputs]]")
    if isinstance(test, Contrast) and p.index.on != "study":
        raise doc.refuse(f"{here}.test", "an index that is a study")
    for selector in selectors(test):
        if selector.kind == "observation" and not all(map(is_loinc, selector.codes)):
            raise doc.refuse(f"{here}.codes", "whole LOINC codes for observations")
    if rule.scope == "analyse":
        return
    if isinstance(test, FollowUp):
        raise doc.refuse(f"{here}.scope", "analyse: follow-up comes after the lock")
    if isinstance(test, Imaging):
        _ends_at_the_lock(p, doc, here, test.window_days)
    for selector in selectors(test):
        _ends_at_the_lock(p, doc, here, selector.window_days)
        if p.lock.after is None and _REPORTS.intersection(selector.codes):
            raise doc.refuse(f"{here}.scope", "analyse: pathology is the label here")


_REPORTS = frozenset({"11526-1", "60568-3"})


def _ends_at_the_lock(p: Protocol, doc: Table, here: str, window: Window | None) -> None:
    if window is not None and window[1] > p.lock.days:
        expected = f"a window that ends by the lock, day {p.lock.days}"
        raise doc.refuse(f"{here}.window_days", expected)


def _known_score(doc: Table, here: str, i: Input, before: Sequence[str]) -> None:
    """A score of another name, or of inputs that come later, would be missing for ever."""
    score = SCORES.get(i.score)
    if score is None:
        raise doc.refuse(f"{here}.score", f"one of {', '.join(SCORES)}")
    for name in i.of:
        if name not in before:
            raise doc.refuse(f"{here}.of", f"ids of inputs above; {name} is none")


def _known_terms(doc: Table, here: str, i: Input) -> None:
    """A unit that nobody defined converts to nothing; a mistyped code would wait for ever."""
    if i.kind == "quantity" and normalise(i.unit, {}) != i.unit:
        raise doc.refuse(f"{here}.unit", "a UCUM unit")
    for code in i.codes if i.kind != "history" else ():
        if not is_loinc(code):
            raise doc.refuse(f"{here}.codes", f"LOINC codes; {code} is none")
