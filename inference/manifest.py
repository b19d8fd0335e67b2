"""pack.toml and features.toml as values: the protocol, and what training measured of it.

Every key is known here or in `protocol`, and every key that must be there is asked for, so a
misspelt one is refused instead of ignored. Their meaning is documented in `packs/README.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Literal, get_args

from inference import protocol
from inference.protocol import Contrast, Input, InputKind, Protocol
from inference.toml_table import Table, document

FORMAT = 1
MANIFEST, LEXICON = "pack.toml", "features.toml"
TrainingKind = Literal["synthetic", "clinical"]
GraphRole = Literal["volume_encoder", "text_encoder", "fusion"]
ROI = Literal["centre of volume"]
Resampling = Literal["area"]
MOST_GRAPHS = 4
CLASSES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """Where the model's knowledge comes from."""

    kind: TrainingKind
    generator: str
    seed: int
    words: str


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

    phases: tuple[str, ...]
    required: tuple[str, ...]
    min_confidence: float
    grid: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    hu_clip: tuple[float, float]
    roi: ROI
    resampling: Resampling


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
class Release:
    """What the maker says of this release; each may be missing.

    Attributes:
        expires: Last day on which it may be used.
        supersedes: Version of the same pack that this one replaces.
        udi: Unique device identification; pccp: where the predetermined change plan stands.
        gpu_memory_mb: MiB that the graphs need on a GPU.

    Source: model-rules 26.
    """

    expires: date | None = None
    supersedes: str | None = None
    contraindications: tuple[str, ...] = ()
    udi: str | None = None
    pccp: str | None = None
    gpu_memory_mb: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest(Protocol):
    """pack.toml."""

    training_data: TrainingData
    ct: CtInput
    graphs: tuple[Graph, ...]
    outputs: tuple[Output, ...]
    tiers: Tiers
    calibration: Calibration
    reference: Reference
    files: tuple[File, ...]
    release: Release

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


def parse(raw: bytes) -> Manifest:
    """Read pack.toml.

    Raises:
        ManifestRefused: names the key that is missing, unknown, of another type or contradictory.
    """
    doc = document(raw, MANIFEST)
    if doc.whole("format") != FORMAT:
        raise doc.refuse("format", str(FORMAT))
    human = protocol.read(doc)
    manifest = Manifest(
        **{field.name: getattr(human, field.name) for field in fields(human)},
        training_data=_training_data(doc.table("training_data")),
        ct=_ct(doc.table("ct")),
        graphs=tuple(_graph(t) for t in doc.tables("graphs")),
        outputs=tuple(_output(t) for t in doc.tables("outputs")),
        tiers=_tiers(doc.table("tiers")),
        calibration=_calibration(doc.table("calibration")),
        reference=_reference(doc.table("reference")),
        files=tuple(_file(t) for t in doc.tables("files")),
        release=_release(doc.table("release")) if doc.has("release") else Release(),
    )
    doc.end()
    _agree(manifest, doc)
    return manifest


def _training_data(t: Table) -> TrainingData:
    made = TrainingData(
        kind=t.one_of("kind", TrainingKind),
        generator=t.text("generator"),
        seed=t.whole("seed"),
        words=t.text("words"),
    )
    t.end()
    return made


def _ct(t: Table) -> CtInput:
    grid, spacing = t.numbers("grid", 3), t.numbers("spacing_mm", 3)
    made = CtInput(
        phases=t.texts("phases"),
        required=t.texts("required"),
        min_confidence=t.number("min_confidence"),
        grid=(int(grid[0]), int(grid[1]), int(grid[2])),
        spacing_mm=(spacing[0], spacing[1], spacing[2]),
        hu_clip=t.span("hu_clip"),
        roi=t.one_of("roi", ROI),
        resampling=t.one_of("resampling", Resampling),
    )
    t.end()
    return made


def _graph(t: Table) -> Graph:
    made = Graph(role=t.one_of("role", GraphRole), file=t.text("file"))
    t.end()
    return made


def _output(t: Table) -> Output:
    made = Output(
        code=t.text("code"),
        system=t.text("system"),
        display=t.text("display"),
        positive=t.truth("positive"),
    )
    t.end()
    return made


def _tiers(t: Table) -> Tiers:
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


def _calibration(t: Table) -> Calibration:
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


def _reference(t: Table) -> Reference:
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


def _file(t: Table) -> File:
    made = File(path=t.text("path"), sha256=t.text("sha256"), size=t.whole("size"))
    t.end()
    return made


def _release(t: Table) -> Release:
    made = Release(
        expires=_day(t) if t.has("expires") else None,
        supersedes=t.text("supersedes") if t.has("supersedes") else None,
        contraindications=t.texts("contraindications") if t.has("contraindications") else (),
        udi=t.text("udi") if t.has("udi") else None,
        pccp=t.text("pccp") if t.has("pccp") else None,
        gpu_memory_mb=t.whole("gpu_memory_mb") if t.has("gpu_memory_mb") else None,
    )
    if made.gpu_memory_mb is not None and made.gpu_memory_mb <= 0:
        raise t.refuse("gpu_memory_mb", "a number above 0")
    t.end()
    return made


def _day(t: Table) -> date:
    value = t.raw("expires", "a date")
    # A TOML date with a time is a date, too, for Python.
    if not isinstance(value, date) or isinstance(value, datetime):
        raise t.refuse("expires", "a date")
    return value


def _agree(m: Manifest, doc: Table) -> None:
    """What the keys must say of each other."""
    if not set(m.ct.required) <= set(m.ct.phases):
        raise doc.refuse("ct.required", "some of ct.phases")
    for n, rule in enumerate(m.rules):
        if isinstance(rule.test, Contrast) and set(rule.test.phases) != set(m.ct.required):
            raise doc.refuse(f"rules[{n}].phases", "the same as ct.required")
    # A wrong word here would let a figure of made-up patients pass as evidence (model-rules 14).
    told = f"{m.training_data.generator} {m.training_data.words}".casefold()
    if not m.synthetic and "synthetic" in told:
        raise doc.refuse("training_data.kind", "synthetic, as its generator or words say")
    if m.release.supersedes == m.version:
        raise doc.refuse("release.supersedes", "another version than pack.version")
    if len(m.graphs) > MOST_GRAPHS or {g.role for g in m.graphs} != set(get_args(GraphRole)):
        raise doc.refuse("graphs", f"at most {MOST_GRAPHS}, one of each role")
    if sum(o.positive for o in m.outputs) != 1 or len(m.outputs) != CLASSES:
        raise doc.refuse("outputs", "two classes, one of them positive")
    for n, graph in enumerate(m.graphs):
        if graph.file not in {f.path for f in m.files}:
            raise doc.refuse(f"graphs[{n}].file", "a file of [[files]]")


def parse_lexicon(raw: bytes) -> Lexicon:
    """Read features.toml.

    Raises:
        ManifestRefused: as `parse`.
    """
    doc = document(raw, LEXICON)
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


def _by_language(t: Table) -> dict[str, tuple[str, ...]]:
    return {language: t.texts(language) for language in t.rest()}


def _cues(t: Table) -> Cues:
    made = Cues(before=_by_language(t.table("before")), after=_by_language(t.table("after")))
    t.end()
    return made
