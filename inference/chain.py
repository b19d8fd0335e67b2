"""A pack's graphs, run one after the other on a batch of cases. Source: model-rules 14."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference import fitting, session, sources
from inference.errors import SessionRefused
from inference.manifest import CT, Graph, Precision
from inference.packs import Pack
from inference.session import Provider, Session
from inference.sources import Source
from inference.tensors import CtTensor
from inference.tokens import Tokens

Float = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the graphs read of one case.

    Attributes:
        numbers: Id of an input → number on the graphs' scale.
        findings: Finding → 1, -1 or 0; None without a report.
        tokens: Of the report; None without one, or where the pack reads none.
        ct: On the pack's grid; None without a study.
    """

    numbers: Mapping[str, float]
    findings: Mapping[str, int] | None
    tokens: Tokens | None
    ct: CtTensor | None


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


def run(
    pack: Pack, graphs: Mapping[str, Session], given: Sequence[Given]
) -> dict[str, NDArray[np.float64]]:
    """Every output of every graph as `ROLE.OUTPUT`, a row for each case.

    An encoder that reads voxels runs for those who have a study; the others' rows are 0, which the
    next graph does not read.

    Raises:
        SessionRefused: a feed does not fit, or a graph gives what is no number.
    """
    made: dict[str, NDArray[np.float64]] = {}
    head = pack.manifest.head.graph
    for n, graph in enumerate(pack.manifest.graphs):
        parsed = _parsed(pack, graph, n)
        images = any(s.kind == "volume" for one in parsed.values() for s in one)
        rows = list(range(len(given)))
        if images and graph.role != head:
            # Without any, one blank row tells how wide the outputs are.
            rows = [i for i in rows if given[i].ct is not None] or rows[:1]
        feeds = {
            name: _joined(pack, of, given, rows, made, graphs[graph.role], name)
            for name, of in parsed.items()
        }
        for name, found in graphs[graph.role].run(**feeds).items():
            if not graphs[graph.role].outputs[name].real or not found.ndim:
                continue  # a label beside probabilities, or a constant of the whole batch
            if len(found) != len(rows):
                raise SessionRefused(graph.role, f"gave {name} without a row for each case")
            whole = np.zeros((len(given), *found.shape[1:]))
            kept = [k for k, i in enumerate(rows) if not images or _reads(given[i], graph, head)]
            whole[[rows[k] for k in kept]] = found[kept]
            made[f"{graph.role}.{name}"] = whole
    return made


def _reads(one: Given, graph: Graph, head: str) -> bool:
    return one.ct is not None or graph.role == head


def _parsed(pack: Pack, graph: Graph, number: int) -> dict[str, list[Source]]:
    above = pack.manifest.graphs[:number]
    found = {
        name: [sources.parse(word, pack.manifest, above) for word in words]
        for name, words in graph.feeds.items()
    }
    return {name: [s for s in of if s is not None] for name, of in found.items()}


def _joined(
    pack: Pack,
    of: Sequence[Source],
    given: Sequence[Given],
    rows: Sequence[int],
    made: Mapping[str, NDArray[np.float64]],
    graph: Session,
    name: str,
) -> NDArray[Any]:
    """Sources side by side, as the graph's input wants them."""
    parts = [
        made[f"{s.of}.{s.output}"][list(rows)]
        if s.kind == "graph"
        else _of_cases(pack, s, [given[i] for i in rows])
        for s in of
    ]
    # A graph above may give one number a case without an axis of its own.
    parts = [part if part.ndim > 1 else part[:, None] for part in parts]
    whole = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
    port = graph.inputs[name]
    if len(port.shape) == 1:
        whole = whole[:, 0]
    assert port.dtype is not None  # the pack was checked
    return np.ascontiguousarray(whole, dtype=port.dtype)


def _of_cases(pack: Pack, source: Source, cases: Sequence[Given]) -> Float | NDArray[np.int64]:
    """(B, ...) of one source."""
    match source.kind:
        case "volume" | "phases":
            return _images(pack, source, cases)
        case "tokens" | "token_mask":
            return _tokens(pack, source, cases)
        case "findings":
            return np.stack([finding_vector(pack, c.findings) for c in cases])
        case "present":
            return np.array([[present(pack, source.of, c)] for c in cases], np.float32)
    ids = [source.of]
    if source.kind in ("values", "mask"):
        ids = [i.id for i in pack.manifest.numeric(source.of)]
    values = _numbers(ids, cases)
    return (~np.isnan(values)).astype(np.float32) if source.kind == "mask" else values


def _images(pack: Pack, source: Source, cases: Sequence[Given]) -> Float:
    declared = pack.manifest.ct
    assert declared is not None  # the manifest was checked
    if source.kind == "phases":
        blank = np.zeros(len(declared.phases), np.float32)
        return np.stack([blank if c.ct is None else c.ct.phases for c in cases])
    blank = np.zeros((len(declared.phases), *declared.grid), np.float32)
    return np.stack([blank if c.ct is None else c.ct.voxels for c in cases])


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
    if pack.manifest.ct is not None and modality == CT:
        return one.ct is not None
    if any(i.id in one.numbers for i in pack.manifest.numeric(modality)):
        return True
    reports = any(i.modality == modality for i in pack.manifest.of_kind("report"))
    return reports and (one.findings is not None or one.tokens is not None)
