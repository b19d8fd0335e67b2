"""A pack's graphs, run one after the other on a batch of cases. Source: model-rules 14."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference import embeddings, fitting, session, sources, tiles
from inference.manifest import CT, Graph, Precision
from inference.packs import Pack
from inference.session import Provider, Session
from inference.slides import Bag
from inference.sources import Source
from inference.tensors import CtTensor
from inference.tokens import Tokens

Float = NDArray[np.float32]
Outputs = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the graphs read of one case.

    Attributes:
        numbers: Id of an input → number on the graphs' scale.
        findings: Finding → 1, -1 or 0; None without a report.
        tokens: Of the report; None without one, or where the pack reads none.
        ct: On the pack's grid; None without a study.
        bags: Id of slides → their tiles; those that are not there are not in it.
        images: Modality of images → digest of what was read of them and how (`embeddings`).
    """

    numbers: Mapping[str, float]
    findings: Mapping[str, int] | None
    tokens: Tokens | None
    ct: CtTensor | None
    bags: Mapping[str, Bag]
    images: Mapping[str, str]

    def has(self, images: str) -> bool:
        """Whether images of this modality are there."""
        return self.ct is not None if images == CT else images in self.bags


def sessions(
    pack: Pack, provider: Provider = "cpu", precision: Precision | None = None
) -> dict[str, Session]:
    """The pack's graphs, warm, by role.

    Raises:
        SessionRefused: a graph does not load, does not fit the manifest, or runs elsewhere.
    """
    made = {
        g.role: session.warm(
            f"{pack.manifest.id}/{g.role}", pack.graph(g.role, precision), provider
        )
        for g in pack.manifest.graphs
    }
    if any(g.external for g in pack.manifest.graphs):
        # Its graphs were not looked at when the folder was loaded (`packs.load`).
        fitting.fit(pack.manifest, pack.lexicon, made)
    return made


def run(pack: Pack, graphs: Mapping[str, Session], given: Sequence[Given]) -> Outputs:
    """Every output of every graph as `ROLE.OUTPUT`, a row for each case.

    An encoder that reads pixels runs for those who have the images; the others' rows are 0, which
    the next graph does not read. What finds the region of interest ran before (`roi`).

    Raises:
        SessionRefused: a feed does not fit, or a graph gives what is no number.
    """
    made: Outputs = {}
    finds = pack.manifest.ct.segmenter if pack.manifest.ct else None
    for n, graph in enumerate(pack.manifest.graphs):
        if finds is not None and graph.role == finds.role:
            continue
        session, tiled = graphs[graph.role], sources.tiles_of(graph, pack.manifest)
        if tiled is not None:
            found = _of_tiles(pack, graph, tiled, given, session)
        else:
            found = _of_cases(pack, graph, _parsed(pack, graph, n), given, made, session)
        made |= {f"{graph.role}.{name}": figures for name, figures in found.items()}
    return made


def _of_tiles(
    pack: Pack, graph: Graph, slides: str, given: Sequence[Given], session: Session
) -> Outputs:
    """A graph that runs on tiles: outputs (B, tiles, ...)."""
    found: list[embeddings.Outputs] = []
    for one in given:
        bag = one.bags.get(slides)
        if bag is None:
            found.append(tiles.blank(session, pack.manifest.slides_of(slides).tile_px))
        else:
            found.append(_embedded(graph, one.images[slides], bag, session))
    return tiles.laid(found, tiles.longest([one.bags.get(slides) for one in given]))


def _embedded(graph: Graph, digest: str, bag: Bag, session: Session) -> embeddings.Outputs:
    key = embeddings.key(session, graph.feeds, digest)
    found = embeddings.kept.get(key)
    if found is None:
        found = tiles.embed(session, bag)
        embeddings.kept.put(key, found)
    return found


def _of_cases(
    pack: Pack,
    graph: Graph,
    fed: Mapping[str, Sequence[Source]],
    given: Sequence[Given],
    made: Outputs,
    session: Session,
) -> Outputs:
    """A graph that runs on patients: outputs with a row for each, 0 where it did not run."""
    rows = list(range(len(given)))
    used = [s for of in fed.values() for s in of]
    encodes = graph.role != pack.manifest.head.graph
    if encodes and any(s.kind in sources.PIXELS for s in used):
        rows = [i for i in rows if given[i].ct is not None]
    keys = {}
    if encodes and all(s.of == CT for s in used):
        seen = [i for i in rows if given[i].has(CT)]
        keys = {i: embeddings.key(session, graph.feeds, given[i].images[CT]) for i in seen}
    found = {i: kept for i, key in keys.items() if (kept := embeddings.kept.get(key)) is not None}
    asked = [i for i in rows if i not in found]
    if not asked and not found:
        asked = [0]  # a blank row tells how wide the outputs are
    if asked:
        feeds = {
            name: session.inputs[name].joined([_given(pack, s, given, asked, made) for s in of])
            for name, of in fed.items()
        }
        outputs = session.figures(len(asked), **feeds)
        found |= {i: {name: of[n] for name, of in outputs.items()} for n, i in enumerate(asked)}
        for i in asked:
            if i in keys:
                embeddings.kept.put(keys[i], found[i])
    whole: Outputs = {}
    for name, one in next(iter(found.values())).items():
        whole[name] = np.zeros((len(given), *one.shape))
        for i in rows:
            whole[name][i] = found[i][name]
    return whole


def _parsed(pack: Pack, graph: Graph, number: int) -> dict[str, list[Source]]:
    above = pack.manifest.graphs[:number]
    found = {
        name: [sources.parse(word, pack.manifest, above) for word in words]
        for name, words in graph.feeds.items()
    }
    return {name: [s for s in of if s is not None] for name, of in found.items()}


def _given(
    pack: Pack, source: Source, given: Sequence[Given], rows: Sequence[int], made: Outputs
) -> NDArray[Any]:
    """A source of these cases, (B, ...)."""
    if source.kind == "graph":
        return made[f"{source.of}.{source.output}"][list(rows)]
    return _of(pack, source, [given[i] for i in rows])


def _of(pack: Pack, source: Source, cases: Sequence[Given]) -> Float | NDArray[np.int64]:
    """(B, ...) of one source."""
    if source.kind == "present":
        return np.array([[present(pack, source.of, c)] for c in cases], np.float32)
    if source.kind in sources.TILED:
        laid = tiles.mask if source.kind == "tile_mask" else tiles.position
        return laid([case.bags.get(source.of) for case in cases])
    if source.of in pack.manifest.images:
        return _images(pack, source, cases)
    if source.kind in sources.TOKENS:
        return _tokens(pack, source, cases)
    if source.kind == "findings":
        return np.stack([finding_vector(pack, c.findings) for c in cases])
    ids = [source.of]
    if source.kind in ("values", "mask"):
        ids = [i.id for i in pack.manifest.numeric(source.of)]
    values = _numbers(ids, cases)
    return (~np.isnan(values)).astype(np.float32) if source.kind == "mask" else values


def image(pack: Pack, source: Source, one: Given) -> NDArray[Any]:
    """What a source of images gives of one case, as it is fed; tiles (tiles, 3, px, px)."""
    if source.kind == "tiles":
        bag = one.bags.get(source.of)
        edge = pack.manifest.slides_of(source.of).tile_px
        return np.zeros((0, 3, edge, edge), np.float32) if bag is None else bag.pixels(0, bag.count)
    found: NDArray[Any] = _of(pack, source, [one])[0]
    return found


def _images(pack: Pack, source: Source, cases: Sequence[Given]) -> Float:
    blank = np.zeros([n or 1 for n in sources.shape(source, pack.manifest, None)], np.float32)
    return np.stack([blank if c.ct is None else _part(source, c.ct) for c in cases])


def _part(source: Source, read: CtTensor) -> Float:
    match source.kind:
        case "volume":
            return read.voxels
        case "region":
            return read.region
    return read.phases


def _tokens(pack: Pack, source: Source, cases: Sequence[Given]) -> NDArray[np.int64]:
    """Nothing but padding without a report."""
    declared = pack.manifest.tokens
    assert declared is not None  # the manifest was checked
    if source.kind == "token_mask":
        none = np.zeros(declared.length, np.int64)
        return np.stack([none if c.tokens is None else c.tokens.mask for c in cases])
    blank = np.full(declared.length, declared.pad, np.int64)
    return np.stack([blank if c.tokens is None else c.tokens.ids for c in cases])


def _numbers(ids: Sequence[str], cases: Sequence[Given]) -> Float:
    rows = [[c.numbers.get(i, np.nan) for i in ids] for c in cases]
    return np.array(rows, np.float32).reshape(len(cases), len(ids))


def finding_vector(pack: Pack, findings: Mapping[str, int] | None) -> Float:
    """(F,) states in the lexicon's order; zeros without a report."""
    known = pack.lexicon.findings if pack.lexicon else ()
    return np.array([(findings or {}).get(f.id, 0) for f in known], np.float32)


def present(pack: Pack, modality: str, one: Given) -> bool:
    """Whether anything of a modality is there."""
    if modality in pack.manifest.images:
        return one.has(modality)
    if any(i.id in one.numbers for i in pack.manifest.numeric(modality)):
        return True
    reports = any(i.modality == modality for i in pack.manifest.of_kind("report"))
    return reports and (one.findings is not None or one.tokens is not None)
