"""pack.toml and features.toml as values: what a model needs, asks and gives.

Every key is known here and every key that must be there is asked for, so a misspelt one is
refused instead of ignored. The meaning of each key is documented in `packs/README.md`.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

from inference.errors import ManifestRefused

FORMAT = 1
MANIFEST, LEXICON = "pack.toml", "features.toml"
Scope = Literal["predict", "analyse", "both"]
RuleTest = Literal["age", "contrast_study", "inputs", "report_exists"]
InputKind = Literal["quantity", "age", "sex", "report"]
Transform = Literal["identity", "log"]
TrainingKind = Literal["synthetic", "clinical"]
GraphRole = Literal["volume_encoder", "text_encoder", "fusion"]
ROI = Literal["centre of volume"]
Resampling = Literal["area"]
MOST_GRAPHS = 4
CLASSES = 2

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """Where the model's knowledge comes from."""

    kind: TrainingKind
    generator: str
    seed: int
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One eligibility rule.

    Attributes:
        scope: `predict` and `both` gate an assessment; `analyse` only defines cohorts and labels.
        test: How it is decided; `low`, `high`, `inputs`, `codes` are its operands.
        source: Where the protocol says so.
    """

    id: str
    scope: Scope
    test: RuleTest
    text: str
    source: str
    low: float | None = None
    high: float | None = None
    inputs: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """An event that starts an assessment; only of live origin."""

    on: str
    modality: str
    text: str


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
    """

    id: str
    kind: InputKind
    modality: str
    display: str
    required: bool
    codes: tuple[str, ...] = ()
    unit: str = ""
    plausible: tuple[float, float] | None = None
    window_days: tuple[int, int] | None = None
    transform: Transform = "identity"
    section: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CtInput:
    """The contrast CT a pack reads, preprocessing declared as data.

    Attributes:
        phases: Channel order; `required` must be there, others are masked when absent.
        min_confidence: Phase choices below are masked.
        grid: (D, H, W) voxels of spacing_mm (z, y, x) around `roi`.
        hu_clip: Lower and upper HU; outside of the scanned field counts as the lower.
        body_parts: DICOM BodyPartExamined values that fit; an empty value always does.
    """

    modality: str
    phases: tuple[str, ...]
    required: tuple[str, ...]
    min_confidence: float
    grid: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    hu_clip: tuple[float, float]
    roi: ROI
    resampling: Resampling
    body_parts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """One ONNX graph of the pack's declared chain."""

    role: GraphRole
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One class of the exclusive set; `positive` is the one whose probability is modelled."""

    code: str
    system: str
    display: str
    positive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiers:
    """Risk tiers by a threshold that was locked before the test set was opened."""

    threshold: float
    below: str
    above: str
    locked: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Platt: calibrated logit = slope x fused logit + intercept; members feed the interval."""

    slope: float
    intercept: float
    members: int
    interval: float
    t_quantile: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What the training cohort looked like, for the out-of-distribution flag.

    Attributes:
        centre: Median per feature; spread: interquartile range / 1.35; limit: in spreads.
        phase_hu: Phase -> lowest and highest mean HU seen, with margin.
        min_findings: Fewer recognised findings make the report count as unread.
    """

    names: tuple[str, ...]
    centre: tuple[float, ...]
    spread: tuple[float, ...]
    limit: float
    phase_hu: Mapping[str, tuple[float, float]]
    min_findings: int


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file of the folder."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """pack.toml."""

    id: str
    version: str
    title: str
    study: str
    question: str
    intended_use: str
    not_for: str
    licence: str
    training_data: TrainingData
    rules: tuple[Rule, ...]
    triggers: tuple[Trigger, ...]
    inputs: tuple[Input, ...]
    ct: CtInput
    modalities: tuple[str, ...]
    graphs: tuple[Graph, ...]
    outputs: tuple[Output, ...]
    tiers: Tiers
    calibration: Calibration
    reference: Reference
    files: tuple[File, ...]

    @property
    def synthetic(self) -> bool:
        """Whether everything that comes of this model must say so, and never be final."""
        return self.training_data.kind == "synthetic"

    @property
    def positive(self) -> Output:
        """The class whose probability is modelled."""
        return next(o for o in self.outputs if o.positive)

    def of_kind(self, kind: InputKind) -> tuple[Input, ...]:
        """Inputs of one kind, in the order the graphs take them."""
        return tuple(i for i in self.inputs if i.kind == kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingWords:
    """One finding and the words for it, by language."""

    id: str
    display: str
    words: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cues:
    """Words that deny or doubt what stands before or after them, by language."""

    before: Mapping[str, tuple[str, ...]]
    after: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lexicon:
    """features.toml: how the findings section of a report is read.

    Attributes:
        breaks: Where the reach of a cue ends: sentence ends, contrasting words.
    """

    findings: tuple[FindingWords, ...]
    negation: Cues
    hedge: Cues
    breaks: tuple[str, ...]


class _Table:
    """A TOML table that is read key by key and refuses what nobody asked for."""

    def __init__(self, data: Any, file: str, at: str) -> None:
        if not isinstance(data, dict):
            raise ManifestRefused(file, at or "document", "a table")
        self._left, self._file, self._at = dict(data), file, at

    def _key(self, key: str) -> str:
        return f"{self._at}.{key}" if self._at else key

    def refuse(self, key: str, expected: str) -> ManifestRefused:
        """The error for one key of this table."""
        return ManifestRefused(self._file, self._key(key), expected)

    def has(self, key: str) -> bool:
        """Whether the key is there and not read yet."""
        return key in self._left

    def raw(self, key: str, expected: str) -> Any:
        """Any value that must be there."""
        if key not in self._left:
            raise self.refuse(key, expected)
        return self._left.pop(key)

    def text(self, key: str) -> str:
        """A text that is not empty."""
        value = self.raw(key, "a text")
        if not isinstance(value, str) or not value.strip():
            raise self.refuse(key, "a text that is not empty")
        return value

    def number(self, key: str) -> float:
        """A finite number."""
        value = self.raw(key, "a number")
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            raise self.refuse(key, "a number")
        return float(value)

    def whole(self, key: str) -> int:
        """A whole number."""
        value = self.raw(key, "a whole number")
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.refuse(key, "a whole number")
        return value

    def truth(self, key: str) -> bool:
        """A truth value."""
        value = self.raw(key, "true or false")
        if not isinstance(value, bool):
            raise self.refuse(key, "true or false")
        return value

    def one_of(self, key: str, allowed: Any) -> Any:
        """One of the words of a Literal."""
        words = get_args(allowed)
        value = self.raw(key, f"one of {', '.join(words)}")
        if value not in words:
            raise self.refuse(key, f"one of {', '.join(words)}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self.raw(key, "a list of texts")
        if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
            raise self.refuse(key, "a list of texts")
        return tuple(value)

    def numbers(self, key: str, count: int | None = None) -> tuple[float, ...]:
        """A list of numbers."""
        what = "a list of numbers" if count is None else f"a list of {count} numbers"
        value = self.raw(key, what)
        good = isinstance(value, list) and all(
            isinstance(v, int | float) and not isinstance(v, bool) for v in value
        )
        if not good or (count is not None and len(value) != count):
            raise self.refuse(key, what)
        return tuple(float(v) for v in value)

    def span(self, key: str) -> tuple[float, float]:
        """Two numbers, the lower first."""
        low, high = self.numbers(key, 2)
        if low > high:
            raise self.refuse(key, "two numbers, the lower first")
        return low, high

    def table(self, key: str) -> _Table:
        """A sub-table."""
        return _Table(self.raw(key, "a table"), self._file, self._key(key))

    def tables(self, key: str) -> list[_Table]:
        """A list of tables, at least one."""
        value = self.raw(key, "at least one table")
        if not isinstance(value, list) or not value:
            raise self.refuse(key, "at least one table")
        return [_Table(v, self._file, f"{self._key(key)}[{i}]") for i, v in enumerate(value)]

    def rest(self) -> list[str]:
        """Keys not read yet."""
        return list(self._left)

    def end(self) -> None:
        """Refuse what is left."""
        for key in self._left:
            raise self.refuse(key, "no such key")


def _document(raw: bytes, file: str) -> _Table:
    try:
        return _Table(tomllib.loads(raw.decode("utf-8")), file, "")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ManifestRefused(file, "document", "TOML in UTF-8") from error


def parse(raw: bytes) -> Manifest:
    """Read pack.toml.

    Raises:
        ManifestRefused: names the key that is missing, unknown, of another type or contradictory.
    """
    doc = _document(raw, MANIFEST)
    if doc.whole("format") != FORMAT:
        raise doc.refuse("format", str(FORMAT))
    pack = doc.table("pack")
    manifest = Manifest(
        **{
            k: pack.text(k)
            for k in (
                "id",
                "version",
                "title",
                "study",
                "question",
                "intended_use",
                "not_for",
                "licence",
            )
        },
        training_data=_training_data(doc.table("training_data")),
        rules=tuple(_rule(t) for t in doc.tables("rules")),
        triggers=tuple(_trigger(t) for t in doc.tables("triggers")),
        inputs=tuple(_input(t) for t in doc.tables("inputs")),
        ct=_ct(doc.table("ct")),
        modalities=pack.texts("modalities"),
        graphs=tuple(_graph(t) for t in doc.tables("graphs")),
        outputs=tuple(_output(t) for t in doc.tables("outputs")),
        tiers=_tiers(doc.table("tiers")),
        calibration=_calibration(doc.table("calibration")),
        reference=_reference(doc.table("reference")),
        files=tuple(_file(t) for t in doc.tables("files")),
    )
    pack.end()
    doc.end()
    _agree(manifest)
    return manifest


def _training_data(t: _Table) -> TrainingData:
    made = TrainingData(
        kind=t.one_of("kind", TrainingKind),
        generator=t.text("generator"),
        seed=t.whole("seed"),
        words=t.text("words"),
    )
    t.end()
    return made


def _rule(t: _Table) -> Rule:
    test = t.one_of("test", RuleTest)
    made = Rule(
        id=t.text("id"),
        scope=t.one_of("scope", Scope),
        test=test,
        text=t.text("text"),
        source=t.text("source"),
        low=t.number("low") if test == "age" else None,
        high=t.number("high") if test == "age" else None,
        inputs=t.texts("inputs") if test == "inputs" else (),
        codes=t.texts("codes") if test == "report_exists" else (),
    )
    t.end()
    return made


def _trigger(t: _Table) -> Trigger:
    made = Trigger(on=t.text("on"), modality=t.text("modality"), text=t.text("text"))
    t.end()
    return made


def _input(t: _Table) -> Input:
    kind = t.one_of("kind", InputKind)
    window = None
    if kind in ("quantity", "report"):
        low, high = t.span("window_days")
        window = (int(low), int(high))
    quantity = kind == "quantity"
    made = Input(
        id=t.text("id"),
        kind=kind,
        modality=t.text("modality"),
        display=t.text("display"),
        required=t.truth("required"),
        codes=t.texts("codes") if kind in ("quantity", "report") else (),
        unit=t.text("unit") if quantity else "",
        plausible=t.span("plausible") if quantity else None,
        window_days=window,
        transform=t.one_of("transform", Transform) if quantity else "identity",
        section=t.text("section") if kind == "report" else "",
    )
    t.end()
    return made


def _ct(t: _Table) -> CtInput:
    grid, spacing = t.numbers("grid", 3), t.numbers("spacing_mm", 3)
    made = CtInput(
        modality=t.text("modality"),
        phases=t.texts("phases"),
        required=t.texts("required"),
        min_confidence=t.number("min_confidence"),
        grid=(int(grid[0]), int(grid[1]), int(grid[2])),
        spacing_mm=(spacing[0], spacing[1], spacing[2]),
        hu_clip=t.span("hu_clip"),
        roi=t.one_of("roi", ROI),
        resampling=t.one_of("resampling", Resampling),
        body_parts=t.texts("body_parts"),
    )
    t.end()
    return made


def _graph(t: _Table) -> Graph:
    made = Graph(role=t.one_of("role", GraphRole), file=t.text("file"))
    t.end()
    return made


def _output(t: _Table) -> Output:
    made = Output(
        code=t.text("code"),
        system=t.text("system"),
        display=t.text("display"),
        positive=t.truth("positive"),
    )
    t.end()
    return made


def _tiers(t: _Table) -> Tiers:
    made = Tiers(
        threshold=t.number("threshold"),
        below=t.text("below"),
        above=t.text("above"),
        locked=t.text("locked"),
    )
    if not 0 < made.threshold < 1:
        raise t.refuse("threshold", "a probability between 0 and 1")
    t.end()
    return made


def _calibration(t: _Table) -> Calibration:
    made = Calibration(
        slope=t.number("slope"),
        intercept=t.number("intercept"),
        members=t.whole("members"),
        interval=t.number("interval"),
        t_quantile=t.number("t_quantile"),
    )
    if made.slope <= 0:
        raise t.refuse("slope", "a number above 0")
    t.end()
    return made


def _reference(t: _Table) -> Reference:
    names = t.texts("names")
    hu = t.table("phase_hu")
    made = Reference(
        names=names,
        centre=t.numbers("centre", len(names)),
        spread=t.numbers("spread", len(names)),
        limit=t.number("limit"),
        phase_hu={k: hu.span(k) for k in hu.rest()},
        min_findings=t.whole("min_findings"),
    )
    t.end()
    return made


def _file(t: _Table) -> File:
    made = File(path=t.text("path"), sha256=t.text("sha256"), size=t.whole("size"))
    t.end()
    return made


def _agree(m: Manifest) -> None:
    """What the keys must say of each other."""

    def refuse(key: str, expected: str) -> ManifestRefused:
        return ManifestRefused(MANIFEST, key, expected)

    ids = identifiers(m.inputs)
    if len(set(ids)) != len(ids):
        raise refuse("inputs", "ids that occur once")
    for rule in m.rules:
        if not set(rule.inputs) <= set(ids):
            raise refuse(f"rules.{rule.id}.inputs", "ids of [[inputs]]")
        if rule.test == "report_exists" and rule.scope != "analyse":
            raise refuse(f"rules.{rule.id}.scope", "analyse: pathology never gates an assessment")
    if not {i.modality for i in m.inputs} <= set(m.modalities):
        raise refuse("inputs.modality", "names of pack.modalities")
    if not set(m.ct.required) <= set(m.ct.phases):
        raise refuse("ct.required", "some of ct.phases")
    _agree_on_graphs(m)


def _agree_on_graphs(m: Manifest) -> None:
    if len(m.graphs) > MOST_GRAPHS or {g.role for g in m.graphs} != set(get_args(GraphRole)):
        expected = f"at most {MOST_GRAPHS}, one of each role"
        raise ManifestRefused(MANIFEST, "graphs", expected)
    if sum(o.positive for o in m.outputs) != 1 or len(m.outputs) != CLASSES:
        raise ManifestRefused(MANIFEST, "outputs", "two classes, one of them positive")
    if not {g.file for g in m.graphs} <= {f.path for f in m.files}:
        raise ManifestRefused(MANIFEST, "graphs.file", "files of [[files]]")


def parse_lexicon(raw: bytes) -> Lexicon:
    """Read features.toml.

    Raises:
        ManifestRefused: as `parse`.
    """
    doc = _document(raw, LEXICON)
    findings = []
    for t in doc.tables("findings"):
        identity, display = t.text("id"), t.text("display")
        findings.append(FindingWords(id=identity, display=display, words=_by_language(t)))
    made = Lexicon(
        findings=tuple(findings),
        negation=_cues(doc.table("negation")),
        hedge=_cues(doc.table("hedge")),
        breaks=doc.texts("breaks"),
    )
    doc.end()
    return made


def _by_language(t: _Table) -> dict[str, tuple[str, ...]]:
    return {language: t.texts(language) for language in t.rest()}


def _cues(t: _Table) -> Cues:
    made = Cues(before=_by_language(t.table("before")), after=_by_language(t.table("after")))
    t.end()
    return made


def identifiers(things: Sequence[Input]) -> tuple[str, ...]:
    """Ids of inputs, in order."""
    return tuple(i.id for i in things)
