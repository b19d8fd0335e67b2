"""The region of interest of a CT: outlined in a DICOM SEG of the study, or found by a graph.

Source: model-rules 26.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from inference import embeddings, sources, tensors
from inference.errors import SessionRefused, UnusableVolume
from inference.manifest import CtInput, Graph, Segmenter
from inference.session import Session
from inference.tensors import REGION, Outline, Region
from mappings.images import ROUNDING_MM, CtStudy, Segment

Float = NDArray[np.float32]
# A hundredth of a voxel is one place, as `ROUNDING_MM` is.
_ROUNDING = 1e-2
_LARGEST = 1 << 30


def outlined(declared: CtInput, study: CtStudy) -> tuple[Segment, ...]:
    """The segments of a study whose property type is one of the declared."""
    return tuple(s for s in study.segments if f"{s.scheme}|{s.code}" in declared.segments)


def digest(segments: Sequence[Segment]) -> str:
    """Of what segments outline, and as what: equal when only other tags of their object differ."""
    whole = hashlib.sha256()
    for one in segments:
        whole.update(repr((one.scheme, one.code, one.mask.shape, one.affine.tolist())).encode())
        whole.update(np.packbits(one.mask).data)
    return whole.hexdigest()


def region(
    declared: CtInput,
    study: CtStudy,
    chain: tuple[Graph, ...],
    sessions: Mapping[str, Session],
    images: str,
) -> Region | None:
    """What the grid is put around, or None where that is the centre of the volume.

    Args:
        declared: How the pack reads a CT.
        study: The patient's.
        chain: The pack's graphs.
        sessions: Theirs, by role.
        images: Digest of the study and of how it is read (`embeddings`).

    Raises:
        UnusableVolume: nobody outlined it, or the graph finds nothing.
        SessionRefused: the graph does not give figures of its grid.
    """
    if declared.roi == "segmentation":
        found = outlined(declared, study)
        if not found:
            raise UnusableVolume(REGION, f"no segment of {' or '.join(declared.segments)}")
        return Region(united([Outline(s.mask, s.affine) for s in found]))
    if declared.segmenter is None:
        return None
    graph = next(g for g in chain if g.role == declared.segmenter.role)
    return _found(declared, declared.segmenter, study, graph, sessions[graph.role], images)


def united(outlines: Sequence[Outline]) -> tuple[Outline, ...]:
    """Outlines of one grid as one: two that share a voxel's halves are the whole of it."""
    groups: list[list[Outline]] = []
    for one in outlines:
        own = next((g for g in groups if _share_a_grid([*g, one])), None)
        if own is None:
            groups.append([one])
        else:
            own.append(one)
    return tuple(_union(group) if len(group) > 1 else group[0] for group in groups)


def _share_a_grid(group: Sequence[Outline]) -> bool:
    first, last = group[0].affine[:3, :3], group[-1].affine[:3, :3]
    if np.abs(first - last).max() > ROUNDING_MM:
        return False
    shift = _shift(group[0], group[-1])
    if np.abs(shift - np.rint(shift)).max() > _ROUNDING:
        return False
    low, high = _box(group)
    return bool(np.prod(high - low) <= _LARGEST)


def _shift(first: Outline, other: Outline) -> NDArray[np.float64]:
    """From the origin of one to the other's, in voxels."""
    apart = other.affine[:3, 3] - first.affine[:3, 3]
    return np.asarray(np.linalg.solve(first.affine[:3, :3], apart), np.float64)


def _box(group: Sequence[Outline]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What holds all of them, in voxels from the first one's origin."""
    starts = np.rint([_shift(group[0], one) for one in group])
    ends = starts + [one.mask.shape for one in group]
    return starts.min(axis=0), ends.max(axis=0)


def _union(group: Sequence[Outline]) -> Outline:
    low, high = _box(group)
    mask = np.zeros((high - low).astype(int), bool)
    for one in group:
        start = (np.rint(_shift(group[0], one)) - low).astype(int)
        there = tuple(slice(n, n + size) for n, size in zip(start, one.mask.shape, strict=True))
        mask[there] |= one.mask
    affine = group[0].affine.copy()
    affine[:, 3] = group[0].affine @ [*low, 1.0]
    return Outline(mask, affine)


def _found(
    declared: CtInput,
    segmenter: Segmenter,
    study: CtStudy,
    graph: Graph,
    session: Session,
    images: str,
) -> Region:
    key = embeddings.key(session, graph.feeds, images)
    kept = embeddings.kept.get(key)
    if kept is None:
        kept = {segmenter.output: figures(declared, segmenter, study, graph, session)}
        embeddings.kept.put(key, kept)
    mask = kept[segmenter.output] >= segmenter.threshold
    if not mask.any():
        raise UnusableVolume(REGION, f"{graph.role} finds none")
    return Region((Outline(mask, tensors.overview_affine(declared, segmenter.grid, study)),))


def figures(
    declared: CtInput, segmenter: Segmenter, study: CtStudy, graph: Graph, session: Session
) -> Float:
    """What the segmenter gives, (D, H, W) of its grid.

    Raises:
        UnusableVolume: as `region`.
        SessionRefused: as `region`.
    """
    whole = tensors.overview(declared, segmenter.grid, study)
    given = {sources.OVERVIEW: whole.voxels[None], sources.PHASES: whole.phases[None]}
    feeds = {
        name: session.inputs[name].joined([given[word] for word in words])
        for name, words in graph.feeds.items()
    }
    found: Float = session.figures(1, **feeds)[segmenter.output][0]
    if found.shape == (1, *segmenter.grid.size):
        found = found[0]
    if found.shape != segmenter.grid.size:
        # A graph with free axes may give any: its voxels would be taken for others' places.
        raise SessionRefused(graph.role, f"gave {found.shape}, not {segmenter.grid.size}")
    if not np.isfinite(found).all():
        raise SessionRefused(graph.role, "gave what is no number")
    return found
