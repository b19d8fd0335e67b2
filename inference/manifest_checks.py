"""What the keys of a manifest must say of each other; each by itself was read before."""

from __future__ import annotations

import re

from inference import sources
from inference.manifest import CT, LEXICON, MOST_GRAPHS, Manifest
from inference.protocol import Contrast
from inference.toml_table import Table

_CLASSES = 2
_OF_FINDER = (sources.OVERVIEW, sources.PHASES)
_BINARY = ("additive_logit", "logit")
# "no synthetic data" is an honest sentence of a clinical pack.
_SYNTHETIC = re.compile(r"(?<!no )(?<!not )(?<!without )(?<!non-)synthetic")


def agree(m: Manifest, doc: Table) -> None:
    """Refuse a manifest that contradicts itself.

    Raises:
        ManifestRefused: names the first key that does.
    """
    # A wrong word here would let a figure of made-up patients pass as evidence (model-rules 14).
    if not m.synthetic and _SYNTHETIC.search(m.training_data.words.casefold()):
        raise doc.refuse("training_data.kind", "synthetic, as its words say")
    if m.release.supersedes == m.version:
        raise doc.refuse("release.supersedes", "another version than pack.version")
    _reading(m, doc)
    _graphs(m, doc)
    _variants(m, doc)
    _results(m, doc)
    _reference(m, doc)


def _reading(m: Manifest, doc: Table) -> None:
    """CT and report: what the graphs can be fed."""
    if (m.ct is None) == (CT in m.modalities):
        raise doc.refuse("pack.modalities", f"{CT} exactly where there is a table [ct]")
    _slides(m, doc)
    for n, rule in enumerate(m.rules):
        asked = set(rule.test.phases) if isinstance(rule.test, Contrast) else None
        if asked is not None and (m.ct is None or asked != set(m.ct.required)):
            raise doc.refuse(f"rules[{n}].phases", "the same as ct.required")
    reports = [n for n, i in enumerate(m.inputs) if i.kind == "report"]
    if len(reports) > 1:
        raise doc.refuse(f"inputs[{reports[1]}].kind", "one report at most")
    if reports and m.tokens is None and not m.reads_findings:
        raise doc.refuse("files", f"{LEXICON}, by which the report is read, or a table [tokens]")
    if m.tokens is not None and not reports:
        raise doc.refuse("tokens", "an input of kind report")
    if m.tokens is not None and m.tokens.file not in {f.path for f in m.files}:
        raise doc.refuse("tokens.file", "a file of [[files]]")


def _slides(m: Manifest, doc: Table) -> None:
    """Slides are modalities of their own."""
    ids = [slides.id for slides in m.slides]
    for n, one in enumerate(ids):
        if (
            one in ids[:n]
            or one == CT
            or one not in m.modalities
            or any(i.modality == one for i in m.inputs)
        ):
            raise doc.refuse(f"slides[{n}].id", "one of pack.modalities that nothing else is of")


def _graphs(m: Manifest, doc: Table) -> None:
    """A chain: each graph is fed by the record, the images, or graphs above it."""
    files = {f.path for f in m.files}
    roles = [g.role for g in m.graphs]
    if len(m.graphs) > MOST_GRAPHS:
        raise doc.refuse("graphs", f"at most {MOST_GRAPHS}")
    if m.ct is not None and m.ct.segmenter is not None and m.ct.segmenter.role not in roles[:-1]:
        raise doc.refuse("ct.segmenter.role", "the role of a graph, but not of the last")
    for n, graph in enumerate(m.graphs):
        here = f"graphs[{n}]"
        if graph.role in roles[:n] or graph.role in {*m.modalities, sources.INPUTS, CT}:
            raise doc.refuse(f"{here}.role", "a name that nothing else has")
        if not {graph.file, *graph.external} <= files:
            raise doc.refuse(f"{here}.file", "a file of [[files]]")
        _feeds(m, n, doc)
    if m.head.graph != roles[-1]:
        raise doc.refuse("head.graph", "the role of the last graph")
    for images in m.images:
        if roles[-1] in sources.blank_without(m, images):
            # Without them pixels and embeddings are zeros; a graph not told so would read them.
            told = f"{CT}.phases" if images == CT else f"{images}.tile_mask"
            raise doc.refuse(f"graphs[{len(roles) - 1}].feeds", f"{told} or {images}.present, too")


def _feeds(m: Manifest, n: int, doc: Table) -> None:
    """What one graph is fed; those that find the region, or run on tiles, are fed nothing else."""
    graph, finder = m.graphs[n], m.ct.segmenter.role if m.ct and m.ct.segmenter else ""
    above = tuple(g for g in m.graphs[:n] if g.role != finder)
    fed = [(name, word) for name, words in graph.feeds.items() for word in words]
    for name, word in fed:
        here = f"graphs[{n}].feeds.{name}"
        if graph.role == finder and word not in _OF_FINDER:
            raise doc.refuse(here, f"{' or '.join(_OF_FINDER)}; {word} is neither")
        if sources.parse(word, m, above) is None or (word == sources.OVERVIEW) > (
            graph.role == finder
        ):
            raise doc.refuse(here, f"{sources.EXPECTED}; {word} is none")
    tiled = sources.tiles_of(graph, m)
    if tiled is not None and (len(fed) > 1 or n == len(m.graphs) - 1):
        alone = f"{tiled}.tiles alone, and a graph below that reads on"
        raise doc.refuse(f"graphs[{n}].feeds", alone)


def _variants(m: Manifest, doc: Table) -> None:
    files, roles = {f.path for f in m.files}, {g.role for g in m.graphs}
    for n, variant in enumerate(m.variants):
        if variant.role not in roles:
            raise doc.refuse(f"variants[{n}].role", "the role of a graph")
        if variant.file not in files:
            raise doc.refuse(f"variants[{n}].file", "a file of [[files]]")


def _results(m: Manifest, doc: Table) -> None:
    """Classes, horizons, thresholds and calibration."""
    head, calibration = m.head, m.calibration
    if sum(o.positive for o in m.outputs) != 1 or len(m.outputs) < _CLASSES:
        raise doc.refuse("outputs", "at least two classes, one of them positive")
    if len({o.code for o in m.outputs}) != len(m.outputs):
        raise doc.refuse("outputs", "classes with codes of their own")
    if head.kind == "hazards" and m.outputs[-1].positive:
        raise doc.refuse("outputs", "last the class that stays free of any event")
    if head.kind in _BINARY and len(m.outputs) != _CLASSES:
        raise doc.refuse("outputs", f"two classes, as the head gives {head.kind}")
    if m.tiers.horizon_days not in (head.horizons_days or (None,)):
        raise doc.refuse("tiers.horizon_days", "one of head.horizons_days, where it has some")
    if head.kind == "probabilities" and calibration.members != 1:
        raise doc.refuse("calibration.members", "1: a table of probabilities has no members")
    if calibration.method == "platt":
        figures = max(1, len(head.horizons_days))
        if len(calibration.slope) != figures or len(calibration.intercept) != figures:
            raise doc.refuse("calibration.slope", f"{figures}, one for each horizon")
        if head.kind == "probabilities" and len(m.outputs) != _CLASSES:
            raise doc.refuse("calibration.method", "author: Platt is of two classes")


def _reference(m: Manifest, doc: Table) -> None:
    """A name that nothing has would make the flag silent for ever."""
    reference = m.reference
    if reference is None:
        return
    known = {i.id for i in m.inputs if i.kind != "report"}
    finder = m.ct.segmenter.role if m.ct and m.ct.segmenter else ""
    told = [g for g in m.graphs if g.role != finder and sources.tiles_of(g, m) is None]
    roles = "|".join(g.role for g in told)
    place = re.compile(rf"({roles})\..+/\d+")
    for name in reference.names:
        if name not in known and not place.fullmatch(name):
            reason = f"ids of inputs, or ROLE.OUTPUT/N of a graph of patients; {name} is none"
            raise doc.refuse("reference.names", reason)
    if reference.limit <= 0 or any(spread <= 0 for spread in reference.spread):
        raise doc.refuse("reference.spread", "numbers above 0, as limit")
    if reference.phase_hu and (m.ct is None or not set(reference.phase_hu) <= set(m.ct.phases)):
        raise doc.refuse("reference.phase_hu", "some of ct.phases")
