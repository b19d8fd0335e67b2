"""How a protocol is read from TOML: one function a table, every key known, every key asked for.

What the keys must say of each other stands in `protocol_checks`; their meaning is documented in
`packs/README.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from inference import protocol_checks
from inference.protocol import (
    NO_TOKENS,
    TRENDS,
    Age,
    AllInputs,
    Before,
    Consent,
    Contrast,
    FollowUp,
    Has,
    Imaging,
    Index,
    IndexEvent,
    Input,
    InputKind,
    Lacks,
    Lock,
    NotPregnant,
    Otherwise,
    Protocol,
    Rule,
    Scope,
    ScoreIs,
    Selector,
    Sex,
    Silence,
    Statistic,
    Test,
    Transform,
    Trigger,
    Window,
)
from inference.staging import READERS
from inference.toml_table import Table, document
from mappings.record import Kind

FOLDER = Path(__file__).parent / "protocols"
_TEXTS = ("id", "version", "title", "study", "question", "intended_use", "not_for", "licence")


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
        # A model of images alone reads nothing else of the record.
        inputs=tuple(_input(t) for t in doc.tables("inputs"))
        if doc.has("inputs") or not (doc.has("ct") or doc.has("slides"))
        else (),
    )
    pack.end()
    protocol_checks.agree(made, doc)
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
    "score": lambda t: ScoreIs(t.text("input"), t.texts("values")),
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
    of_genes = kind in ("gene_burden", "variant")
    quantity = kind == "quantity"
    score = kind == "score"
    statistic: Statistic = t.one_of("statistic", Statistic) if t.has("statistic") else "last"
    made = Input(
        id=t.text("id"),
        kind=kind,
        modality=t.text("modality"),
        display=t.text("display"),
        required=t.truth("required"),
        codes=t.texts("codes") if of_codes else (),
        unit=t.text("unit") if quantity else "",
        plausible=t.span("plausible") if quantity else None,
        window_days=_days(t) if of_codes or (of_genes and t.has("window_days")) else None,
        transform=t.one_of("transform", Transform) if quantity or score else "identity",
        statistic=statistic,
        distinct_days=t.whole("distinct_days") if statistic in TRENDS else 0,
        section=t.text("section") if kind == "report" else "",
        score=t.text("score") if score else "",
        of=t.texts("of") if score else (),
        tokens=_tokens(t.table("tokens")) if kind == "answer" or t.has("tokens") else NO_TOKENS,
        reads=_reader(t) if t.has("reads") else "",
        of_relatives=t.truth("of_relatives") if t.has("of_relatives") else False,
        silence=t.one_of("silence", Literal["absent", "unknown"])
        if kind == "history"
        else "unknown",
        genes=t.texts("genes") if of_genes else (),
        variant=t.text("variant") if kind == "variant" else "",
        fill=t.number("fill") if kind != "report" and t.has("fill") else None,
    )
    t.end()
    return made


def _tokens(t: Table) -> dict[str, float]:
    return {word: t.number(word) for word in t.rest()}
