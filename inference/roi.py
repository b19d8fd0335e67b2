"""The region of interest of a CT: outlined in a DICOM SEG of the study, or found by a graph.

Source: model-rules 26.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from inference import sources, tensors
from inference.errors import SessionRefused, UnusableVolume
from inference.manifest import CtInput, Graph, Segmenter
from inference.session import Session
from inference.tensors import Region
from mappings.images import CtStudy, Segment, Volume

_NAME = "region of interest"
_VOXEL_AXES = 3


def outlined(declared: CtInput, study: CtStudy) -> tuple[Segment, ...]:
    """The segments of a study whose property type is one of the declared."""
    return tuple(s for s in study.segments if f"{s.scheme}|{s.code}" in declared.segments)


def region(
    declared: CtInput, study: CtStudy, chain: tuple[Graph, ...], sessions: Mapping[str, Session]
) -> Region | None:
    """What the grid is put around, or None where that is the centre of the volume.

    Raises:
        UnusableVolume: nobody outlined it, or the graph finds nothing.
        SessionRefused: the graph does not give figures of its grid.
    """
    if declared.roi == "segmentation":
        found = outlined(declared, study)
        if not found:
            raise UnusableVolume(_NAME, f"no segment of {' or '.join(declared.segments)}")
        return Region(tuple(_volume(s.mask, s.affine) for s in found))
    if declared.segmenter is None:
        return None
    graph = next(g for g in chain if g.role == declared.segmenter.role)
    return _found(declared, declared.segmenter, study, graph, sessions[graph.role])


def _found(
    declared: CtInput, segmenter: Segmenter, study: CtStudy, graph: Graph, session: Session
) -> Region:
    whole = tensors.overview(declared, segmenter.grid, study)
    given = {sources.OVERVIEW: whole.voxels, sources.PHASES: whole.phases}
    feeds = {
        name: given[word][None].astype(session.inputs[name].dtype)
        for name, (word,) in graph.feeds.items()
    }
    figures = session.run(**feeds)[segmenter.output][0]
    if figures.ndim > _VOXEL_AXES:
        figures = figures[0]
    if not np.isfinite(figures).all():
        raise SessionRefused(graph.role, "gave what is no number")
    mask = figures >= segmenter.threshold
    if not mask.any():
        raise UnusableVolume(_NAME, f"{graph.role} finds none")
    return Region((_volume(mask, whole.affine),))


def _volume(mask: np.typing.NDArray[np.bool_], affine: np.typing.NDArray[np.float64]) -> Volume:
    z, y, x = (float(np.sqrt((affine[:3, axis] ** 2).sum())) for axis in range(3))
    return Volume(voxels=mask.astype(np.float32), spacing_mm=(z, y, x), affine=affine)
