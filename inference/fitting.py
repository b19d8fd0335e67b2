"""Whether graphs take and give what their pack says, asked before the first patient comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from inference import heads, session, sources
from inference.errors import NoKernel, SessionRefused
from inference.manifest import Lexicon, Manifest, Precision
from inference.session import Onnx, Port, Session

Shape = tuple[int | None, ...]
GraphOf = Callable[[str, Precision | None], Onnx]


def check(manifest: Manifest, lexicon: Lexicon | None, graph_of: GraphOf) -> Iterator[str]:
    """Load each graph and each variant, and compare its ports; a sentence for each that fits.

    A variant that only a GPU can compute is passed by where there is none, and says so.

    Raises:
        SessionRefused: the first that does not load, with the operator or port that is wrong.
    """
    graphs: dict[str, Session] = {}
    for n, graph in enumerate(manifest.graphs):
        loaded = graphs[graph.role] = session.warm(graph.role, graph_of(graph.role, None))
        _takes(manifest, lexicon, n, graphs)
        yield f"{graph.role} loads and fits"
        for variant in manifest.variants:
            if variant.role == graph.role:
                name = f"{variant.role} in {variant.precision}"
                try:
                    other = session.warm(name, graph_of(variant.role, variant.precision))
                except NoKernel as error:
                    yield f"{name} is not compared here: {error.reason}"
                    continue
                if (other.inputs, other.outputs) != (loaded.inputs, loaded.outputs):
                    raise SessionRefused(name, "takes or gives something else than the original")
                yield f"{name} loads and fits"
    _gives(manifest, graphs)


def fit(manifest: Manifest, lexicon: Lexicon | None, graphs: Mapping[str, Session]) -> None:
    """Compare the ports of graphs that are loaded, by role.

    Raises:
        SessionRefused: the first port that is wrong.
    """
    for n in range(len(manifest.graphs)):
        _takes(manifest, lexicon, n, graphs)
    _gives(manifest, graphs)


def _takes(
    manifest: Manifest, lexicon: Lexicon | None, n: int, graphs: Mapping[str, Session]
) -> None:
    """Every input of the n-th graph is fed, by something of its width, for any batch."""
    graph, above = manifest.graphs[n], manifest.graphs[:n]
    loaded = graphs[graph.role]
    outputs = {one.role: graphs[one.role].outputs for one in above}
    for name in sorted(set(loaded.inputs) ^ set(graph.feeds)):
        asked = "is not fed" if name in loaded.inputs else "is fed, but the graph has none such"
        raise SessionRefused(graph.role, f"input {name} {asked}")
    for name, words in graph.feeds.items():
        port = loaded.inputs[name]
        parsed = [sources.parse(word, manifest, above) for word in words]
        whole = all(source is not None and source.kind in sources.TOKENS for source in parsed)
        if not (port.dtype is np.int64 if whole else port.real):
            wanted = "int64, as tokens are" if whole else "float or double"
            raise SessionRefused(graph.role, f"input {name} is no tensor of {wanted}")
        if port.shape and port.shape[0] is not None:
            reason = f"takes batches of {port.shape[0]} only: export it with a free first dimension"
            raise SessionRefused(graph.role, f"input {name} {reason}")
        shapes = [_shape(word, manifest, lexicon, n, outputs) for word in words]
        if not _fed(_joined(shapes), port.shape[1:]):
            given = " and ".join(str(shape) for shape in shapes)
            raise SessionRefused(
                graph.role, f"input {name} has shape {port.shape[1:]}, its feeds {given}"
            )


def _shape(
    word: str,
    manifest: Manifest,
    lexicon: Lexicon | None,
    n: int,
    outputs: Mapping[str, Mapping[str, Port]],
) -> Shape:
    source = sources.parse(word, manifest, manifest.graphs[:n])
    assert source is not None  # the manifest was checked
    if source.kind != "graph":
        return sources.shape(source, manifest, lexicon)
    port = outputs[source.of].get(source.output)
    if port is None or not port.real:
        raise SessionRefused(source.of, f"gives no tensor {source.output}")
    tiled = next(g for g in manifest.graphs if g.role == source.of)
    return ((None,) if sources.tiles_of(tiled, manifest) else ()) + port.shape[1:]


def _joined(shapes: list[Shape]) -> Shape | None:
    """The shape of sources joined along their last axis; None where they cannot stand so."""
    if any(not fits(shape[:-1], shapes[0][:-1]) for shape in shapes):
        return None
    last = [shape[-1] if shape else 1 for shape in shapes]
    width = None if None in last else sum(w for w in last if w is not None)
    return (*(shapes[0][:-1]), width)


def _fed(given: Shape | None, declared: Shape) -> bool:
    if given is None:
        return False
    # One number a case may have no axis of its own.
    return fits(given, declared) or (not declared and given in ((1,), (None,)))


def fits(given: Shape, declared: Shape) -> bool:
    """Whether shapes agree wherever both are fixed."""
    return len(given) == len(declared) and all(
        a is None or b is None or a == b for a, b in zip(given, declared, strict=True)
    )


def _gives(manifest: Manifest, graphs: Mapping[str, Session]) -> None:
    """What is read of graphs is there and of a shape that it can be read of."""
    finder = manifest.ct.segmenter if manifest.ct else None
    if finder is not None:
        port, grid = graphs[finder.role].outputs.get(finder.output), finder.grid.size
        shapes: list[Shape] = [grid, (1, *grid)]
        if port is None or not port.real or not any(fits(port.shape[1:], s) for s in shapes):
            reason = f"gives no tensor {finder.output} of the segmenter's grid {grid}"
            raise SessionRefused(finder.role, reason)
    head, outputs = manifest.head, graphs[manifest.head.graph].outputs
    for name, allowed in heads.shapes(manifest).items():
        if name not in outputs or not outputs[name].real:
            known = ", ".join(outputs)
            raise SessionRefused(
                head.graph, f"gives no tensor {name}, but {known} (classifiers: export no ZipMap)"
            )
        found = outputs[name].shape
        if not found or not any(fits(found[1:], shape) for shape in allowed):
            wanted = " or ".join(str(shape) for shape in allowed)
            reason = f"which is not {head.kind} of this pack: a case has {wanted}"
            raise SessionRefused(head.graph, f"{name} has shape {found}, {reason}")
