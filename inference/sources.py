"""What a graph may be fed: the words of `feeds`, and how wide each is.

| source | shape | what |
| --- | --- | --- |
| `ct.volume` | (B, phases, D, H, W) | voxels on the declared grid; absent phases are 0 |
| `ct.phases` | (B, phases) | 1 where the phase is there |
| `ct.region` | (B, D, H, W) | share of each voxel that is of the region of interest |
| `ct.overview` | (B, phases, D, H, W) | voxels on the segmenter's grid; for its graph only |
| `SLIDES.tiles` | (tiles, 3, px, px) | sRGB 0 to 1; the graph runs on tiles, not on patients |
| `SLIDES.tile_mask` | (B, tiles) | 1 where a tile is; of a patient without a slide a single 0 |
| `SLIDES.tile_position` | (B, tiles, 3) | number of the slide, y and x of the centre in mm |
| `MODALITY.values` | (B, n) | its numbers in the order of `[[inputs]]`, NaN where missing |
| `MODALITY.mask` | (B, n) | 1 where there is a number |
| `MODALITY.findings` | (B, findings) | states of its report by features.toml: 1, -1, 0 |
| `MODALITY.tokens` | (B, length) int64 | its report by the tokenizer of `[tokens]` |
| `MODALITY.token_mask` | (B, length) int64 | 1 where a token is |
| `MODALITY.present` | (B, 1) | 1 where anything of the modality is there |
| `inputs.ID` | (B, 1) | one number, NaN where missing |
| `ROLE.OUTPUT` | as the graph gives it | an output of a graph above; of tiles (B, tiles, ...) |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from inference.manifest import CT, CtInput, Graph, Lexicon, Manifest

SourceKind = Literal[
    "volume", "phases", "region", "overview", "tiles", "tile_mask", "tile_position", "values",
    "mask", "findings", "tokens", "token_mask", "present", "input", "graph",
]  # fmt: skip
TOKENS: tuple[SourceKind, ...] = ("tokens", "token_mask")
TILED: tuple[SourceKind, ...] = ("tile_mask", "tile_position")
# What a graph cannot read of an image that is not there, and what tells it that it is not.
PIXELS: tuple[SourceKind, ...] = ("volume", "region", "tiles")
_TOLD: tuple[SourceKind, ...] = ("phases", "tile_mask", "present")
INPUTS = "inputs"
PHASES, OVERVIEW = f"{CT}.phases", f"{CT}.overview"
EXPECTED = (
    "ct.volume, .phases or .region, SLIDES.tiles, .tile_mask or .tile_position, MODALITY.values, "
    ".mask, .findings, .tokens, .token_mask or .present, inputs.ID, or ROLE.OUTPUT of a graph above"
)


@dataclass(frozen=True, slots=True)
class Source:
    """One source: what it is, and of which modality, input or graph.

    Attributes:
        of: Modality, id of the input, or role of the graph.
        output: Of the graph.
    """

    kind: SourceKind
    of: str
    output: str = ""


def parse(word: str, manifest: Manifest, above: tuple[Graph, ...]) -> Source | None:
    """A word of `feeds` as a source, or None where the pack has no such thing.

    Args:
        word: Of pack.toml.
        manifest: The pack's.
        above: Graphs that run before.
    """
    of, _, what = word.partition(".")
    if of in {graph.role for graph in above}:
        return Source("graph", of, what) if what else None
    if of == INPUTS:
        numbers = {i.id for i in manifest.inputs if i.kind != "report"}
        return Source("input", what) if what in numbers else None
    kind = next((k for k in _told_of(of, manifest) if k == what), None)
    return Source(kind, of) if kind else None


def _told_of(modality: str, manifest: Manifest) -> tuple[SourceKind, ...]:
    """What there is of a modality."""
    if modality == CT:
        return _of_ct(manifest.ct) if manifest.ct is not None else ()
    if modality in {slides.id for slides in manifest.slides}:
        return ("tiles", *TILED, "present")
    if modality not in manifest.modalities:
        return ()
    made: tuple[SourceKind, ...] = ("present",)
    if manifest.numeric(modality):
        made += ("values", "mask")
    if any(i.modality == modality for i in manifest.of_kind("report")):
        made += ("findings",) if manifest.reads_findings else ()
        made += TOKENS if manifest.tokens is not None else ()
    return made


def _of_ct(ct: CtInput) -> tuple[SourceKind, ...]:
    told: tuple[SourceKind, ...] = ("volume", "phases", "present")
    told += ("region",) if ct.roi != "centre of volume" else ()
    return (*told, "overview") if ct.segmenter is not None else told


def blank_without(manifest: Manifest, images: str) -> frozenset[str]:
    """Roles of graphs whose outputs say nothing of a patient without these images.

    Those that read pixels do not run then, but for the last; one that is fed by such a graph
    reads its zeros, unless it is told that there are none.
    """
    found: set[str] = set()
    for graph in manifest.graphs:
        words = {word for feed in graph.feeds.values() for word in feed}
        pixels, told = bool(words & _words(images, PIXELS)), bool(words & _words(images, _TOLD))
        above = bool({word.partition(".")[0] for word in words} & found)
        if (pixels and graph is not manifest.graphs[-1]) or ((pixels or above) and not told):
            found.add(graph.role)
    return frozenset(found)


def _words(images: str, kinds: tuple[SourceKind, ...]) -> set[str]:
    return {f"{images}.{kind}" for kind in kinds}


def tiles_of(graph: Graph, manifest: Manifest) -> str | None:
    """The slides on whose tiles a graph runs, or None where it runs on patients."""
    words = {word for feed in graph.feeds.values() for word in feed}
    return next((one.id for one in manifest.slides if f"{one.id}.tiles" in words), None)


def shape(source: Source, manifest: Manifest, lexicon: Lexicon | None) -> tuple[int | None, ...]:
    """Dimensions after the batch, of any source but a graph's output; None where a batch tells."""
    if source.of in manifest.images:
        return _of_image(source, manifest)
    match source.kind:
        case "values" | "mask":
            return (len(manifest.numeric(source.of)),)
        case "findings":
            return (len(lexicon.findings) if lexicon else 0,)
        case "tokens" | "token_mask" if manifest.tokens is not None:
            return (manifest.tokens.length,)
    return (1,)


def _of_image(source: Source, manifest: Manifest) -> tuple[int | None, ...]:
    ct = manifest.ct if source.of == CT else None
    made: tuple[int | None, ...] = (1,)
    match source.kind:
        case "volume" if ct is not None:
            made = (len(ct.phases), *ct.grid.size)
        case "overview" if ct is not None and ct.segmenter is not None:
            made = (len(ct.phases), *ct.segmenter.grid.size)
        case "region" if ct is not None:
            made = ct.grid.size
        case "phases" if ct is not None:
            made = (len(ct.phases),)
        case "tiles":
            edge = manifest.slides_of(source.of).tile_px
            made = (3, edge, edge)
        case "tile_mask":
            made = (None,)
        case "tile_position":
            made = (None, 3)
    return made
