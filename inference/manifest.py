"""pack.toml and features.toml as values: the protocol, and what training measured of it.

How they are read from TOML is in `manifest_reading`; what every key means in `packs/README.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal

from inference.protocol import Input, InputKind, Protocol

FORMAT = 1
MANIFEST, LEXICON, SIGNATURE = "pack.toml", "features.toml", "pack.sig"
CT = "ct"
MOST_GRAPHS = 4
TrainingKind = Literal["synthetic", "clinical"]
HeadKind = Literal["additive_logit", "logit", "probabilities", "hazards"]
CalibrationMethod = Literal["platt", "author"]
Precision = Literal["fp16", "bf16"]
ROI = Literal["centre of volume", "segmentation", "segmenter"]
Without = Literal["left out", "no result"]
Resampling = Literal["area", "linear"]
Intensity = Literal["hu", "zscore"]
Tissue = Literal["otsu of saturation"]
Normalisation = Literal["none", "macenko"]
Sources = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """Where the model's knowledge comes from; generator and seed are a synthetic model's."""

    kind: TrainingKind
    words: str
    generator: str = ""
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the voxels of a tensor lie.

    Attributes:
        size: Voxels along each axis; spacing_mm: between their centres.
        orientation: Where each axis leads, a letter of S or I, P or A, L or R each.
        resampling: `area`: mean of what lies inside of a voxel; `linear`: between the nearest.
    """

    size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    orientation: str
    resampling: Resampling


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmenter:
    """The graph that finds the region of interest on a coarse grid around the volume's centre.

    Attributes:
        role: Of the graph; output: its (B, D, H, W) or (B, 1, D, H, W) figures on the grid.
        threshold: From which figure on a voxel is of the region.
    """

    role: str
    output: str
    grid: Grid
    threshold: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CtInput:
    """The contrast CT a pack reads, preprocessing declared as data.

    Attributes:
        phases: Channel order; `required` must be there, others are masked when absent.
        min_confidence: Phase choices below are masked.
        grid: (D, H, W) voxels around `roi`.
        hu_clip: Lower and upper HU; outside of the scanned field counts as the lower.
        without: What a case without a usable study comes to: the graphs are told so, or no result.
        intensity: `hu` as clipped, or `zscore` of each phase over its grid.
        segments: `SCHEME|CODE` of the property types that are the region (`segmentation`).
        segmenter: What finds it (`segmenter`).
    """

    phases: tuple[str, ...]
    required: tuple[str, ...]
    min_confidence: float
    grid: Grid
    hu_clip: tuple[float, float]
    intensity: Intensity
    roi: ROI
    without: Without
    segments: tuple[str, ...] = ()
    segmenter: Segmenter | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideInput:
    """Whole-slide images of one stain, cut into tiles; preprocessing declared as data.

    Attributes:
        id: The modality, one of the pack's.
        stain: As `Slide.stain`.
        mpp: Micrometres per pixel of a tile; a finer level is averaged down to it.
        tile_px: Edge of a tile; overlap_px: what neighbours share.
        tissue: How tissue is told from glass.
        tissue_mpp: At which resolution.
        least_tissue: Share of a tile that must be tissue.
        most_tiles: Of all slides together; of more, evenly spread ones are read.
        normalisation: Of the stain, slide by slide.
        reference_stains: (2, 3) optical density of the reference's two stains in R, G, B, unit
            length (`macenko`).
        reference_maxima: Their 99th percentiles of concentration.
        without: What a case without such a slide comes to.
    """

    id: str
    stain: str
    mpp: float
    tile_px: int
    overlap_px: int
    tissue: Tissue
    tissue_mpp: float
    least_tissue: float
    most_tiles: int
    normalisation: Normalisation
    reference_stains: tuple[tuple[float, float, float], ...]
    reference_maxima: tuple[float, ...]
    without: Without


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenInput:
    """How the report becomes tokens.

    Attributes:
        file: Of the tokenizer; length: tokens of every report; pad: id behind its end.
    """

    file: str
    length: int
    pad: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """One ONNX graph of the pack's declared chain.

    Attributes:
        external: Files of `[[files]]` that hold its weights, as the graph names them.
        feeds: Input of the graph → sources (`sources.Source`), joined along the last axis.
    """

    role: str
    file: str
    external: tuple[str, ...]
    feeds: Mapping[str, Sources]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """The same graph in another precision; it takes and gives float32 like the original.

    Attributes:
        tolerance: How far its probabilities may lie from the examples'.

    Source: model-rules 15, 26.
    """

    role: str
    precision: Precision
    file: str
    tolerance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """How an output of the last graph becomes a result; its shapes are in `heads`.

    Attributes:
        graph: Role of the graph.
        output: Name of its output: contributions, a logit, probabilities or hazards by `kind`.
        bias: Name of its other output (`additive_logit`).
        interval_ends_days: End of each interval of `hazards`, ascending, after the index.
        horizons_days: Those of the ends at which a risk is told.
    """

    graph: str
    kind: HeadKind
    output: str
    bias: str = ""
    interval_ends_days: tuple[int, ...] = ()
    horizons_days: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One class of the exclusive set; the tier is of the `positive` one."""

    code: str
    system: str
    display: str
    positive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiers:
    """Risk tiers by a threshold that was locked before the test set was opened.

    Attributes:
        horizon_days: At which horizon the threshold was locked; None for a diagnosis.
    """

    threshold: float
    below: str
    above: str
    locked: str
    horizon_days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How figures became probabilities; members feed the interval.

    Attributes:
        method: `platt`: calibrated logit = slope x logit + intercept, one pair for each horizon;
            `author`: the graph's figures are calibrated, `words` say how and on whom.
        members: Size of the ensemble; 1 has no interval.
        interval: Level of the interval; t_quantile: its factor on the members' SD.
    """

    method: CalibrationMethod
    slope: tuple[float, ...] = (1.0,)
    intercept: tuple[float, ...] = (0.0,)
    words: str = ""
    members: int = 1
    interval: float | None = None
    t_quantile: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What the training cohort looked like, for the out-of-distribution flag.

    Attributes:
        names: Ids of inputs, and `ROLE.OUTPUT/N` for the N-th number that a graph gives.
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

    def expired(self, day: date) -> bool:
        """Whether a day lies after the last one of use."""
        return self.expires is not None and day > self.expires


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportAs:
    """How the report of a result is coded in the EHR.

    Attributes:
        code: LOINC of the DiagnosticReport; category: of HL7 table 0074.

    Source: writeback.md 1.7.
    """

    code: str = "75492-9"
    display: str = "Risk assessment and screening note"
    category: str = "OTH"
    category_display: str = "Other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest(Protocol):
    """pack.toml."""

    training_data: TrainingData
    ct: CtInput | None
    slides: tuple[SlideInput, ...]
    tokens: TokenInput | None
    graphs: tuple[Graph, ...]
    variants: tuple[Variant, ...]
    head: Head
    outputs: tuple[Output, ...]
    tiers: Tiers
    calibration: Calibration
    reference: Reference | None
    files: tuple[File, ...]
    release: Release
    report: ReportAs

    @property
    def synthetic(self) -> bool:
        """Whether everything that comes of this model must say so, and never be final."""
        return self.training_data.kind == "synthetic"

    @property
    def positive(self) -> Output:
        """The class whose probability the tier is of."""
        return next(o for o in self.outputs if o.positive)

    @property
    def reads_findings(self) -> bool:
        """Whether there are words by which the report is read."""
        return LEXICON in {f.path for f in self.files}

    @property
    def images(self) -> tuple[str, ...]:
        """Modalities whose pixels are read."""
        return (*((CT,) if self.ct is not None else ()), *(slides.id for slides in self.slides))

    def slides_of(self, modality: str) -> SlideInput:
        """The table of slides of a modality."""
        return next(slides for slides in self.slides if slides.id == modality)

    def of_kind(self, kind: InputKind) -> tuple[Input, ...]:
        """Inputs of one kind, in the order the graphs take them."""
        return tuple(i for i in self.inputs if i.kind == kind)

    def numeric(self, modality: str) -> tuple[Input, ...]:
        """Inputs of a modality that are numbers, in the order the graphs take them."""
        return tuple(i for i in self.inputs if i.modality == modality and i.kind != "report")


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
