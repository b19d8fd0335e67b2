"""What a graph may be fed: the words of `feeds`, and how wide each is.

| source | shape | what |
| --- | --- | --- |
| `ct.volume` | (B, phases, D, H, W) | voxels on the declared grid; absent phases are 0 |
| `ct.phases` | (B, phases) | 1 where the phase is there |
| `MODALITY.values` | (B, n) | its numbers in the order of `[[inputs]]`, NaN where missing |
| `MODALITY.mask` | (B, n) | 1 where there is a number |
| `MODALITY.findings` | (B, findings) | states of its report by features.toml: 1, -1, 0 |
| `MODALITY.tokens` | (B, length) int64 | its report by the tokenizer of `[tokens]` |
| `MODALITY.token_mask` | (B, length) int64 | 1 where a token is |
| `MODALITY.present` | (B, 1) | 1 where anything of the modality is there |
| `inputs.ID` | (B, 1) | one number, NaN where missing |
| `ROLE.OUTPUT` | as the graph gives it | an output of a graph above |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from inference.manifest import CT, Graph, Lexicon, Manifest

SourceKind = Literal[
    "volume", "phases", "values", "mask", "findings", "tokens", "token_mask", "present", "input",
    "graph",
]  # fmt: skip
TOKENS: tuple[SourceKind, ...] = ("tokens", "token_mask")
INPUTS = "inputs"
VOLUME = f"{CT}.volume"
EXPECTED = (
    "ct.volume, ct.phases, MODALITY.values, .mask, .findings, .tokens, .token_mask or .present, "
    "inputs.ID, or ROLE.OUTPUT of a graph above"
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
        return ("volume", "phases", "present") if manifest.ct is not None else ()
    if modality not in manifest.modalities:
        return ()
    made: tuple[SourceKind, ...] = ("present",)
    if manifest.numeric(modality):
        made += ("values", "mask")
    if any(i.modality == modality for i in manifest.of_kind("report")):
        made += ("findings",) if manifest.reads_findings else ()
        made += TOKENS if manifest.tokens is not None else ()
    return made


def blank_without_study(manifest: Manifest) -> frozenset[str]:
    """Roles of graphs whose outputs say nothing of a patient without a CT.

    Those that read voxels do not run then, but for the last; one that is fed by such a graph
    reads its zeros, unless it is told that there is no study.
    """
    found: set[str] = set()
    for graph in manifest.graphs:
        words = {word for feed in graph.feeds.values() for word in feed}
        voxels, told = VOLUME in words, bool({f"{CT}.phases", f"{CT}.present"} & words)
        above = bool({word.partition(".")[0] for word in words} & found)
        if (voxels and graph is not manifest.graphs[-1]) or ((voxels or above) and not told):
            found.add(graph.role)
    return frozenset(found)


def shape(source: Source, manifest: Manifest, lexicon: Lexicon | None) -> tuple[int, ...]:
    """Dimensions after the batch, of any source but a graph's output."""
    match source.kind:
        case "volume" if manifest.ct is not None:
            return (len(manifest.ct.phases), *manifest.ct.grid)
        case "phases" if manifest.ct is not None:
            return (len(manifest.ct.phases),)
        case "values" | "mask":
            return (len(manifest.numeric(source.of)),)
        case "findings":
            return (len(lexicon.findings) if lexicon else 0,)
        case "tokens" | "token_mask" if manifest.tokens is not None:
            return (manifest.tokens.length,)
    return (1,)
