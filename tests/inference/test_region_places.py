"""Where a region of interest may lie: on any plane of the patient, on a grid of any orientation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_packs import onnx_graph
from onnx import helper
from test_region_packs import FINDER, SEGMENTS, logit, mean_of, pack, scanned

from inference import packs, roi
from inference.assess import assess
from inference.errors import UnusableVolume
from inference.manifest import Grid
from inference.tensors import Outline, Region, resample


def test_an_outline_outside_of_what_was_scanned_is_no_region(tmp_path: Path):
    """Around it there is nothing but air, which a model would read as somebody's."""
    own = packs.load(pack(tmp_path / "p", SEGMENTS, without="no result"))
    one = scanned((slice(5, 7), slice(7, 9), slice(3, 5)))
    assert one.ct is not None
    (liver,) = one.ct.segments
    far = liver.affine.copy()
    far[2, 3] += 100
    with pytest.raises(UnusableVolume, match="region of interest: lies outside of phase AP"):
        assess(own, [replace(one, ct=replace(one.ct, segments=(replace(liver, affine=far),)))])


@pytest.mark.parametrize("axes", [(2, 0, 1), (1, 0, 2), (2, 1, 0)])
def test_an_outline_may_be_drawn_on_any_plane_of_the_patient(
    tmp_path: Path, axes: tuple[int, int, int]
):
    """Sagittal and coronal ones of an axial CT are where they were drawn, with the same share."""
    nodes = [
        *mean_of("volume", "hu", [1, 2, 3, 4]), *mean_of("region", "share", [1, 2, 3]),
        helper.make_node("Sum", ["hu", "share", "present"], ["logit"]),
    ]  # fmt: skip
    takes = {"volume": ["n", 1, 2, 2, 2], "region": ["n", 2, 2, 2], "present": ["n", 1]}
    graph = onnx_graph(nodes, takes, {"logit": ["n", 1]}, {"axis": np.array([1])})
    feeds = 'volume = "ct.volume"\nregion = "ct.region"\npresent = "ct.present"'
    own = packs.load(pack(tmp_path / "p", SEGMENTS, feeds, graph=graph))
    one = scanned((slice(5, 6), slice(6, 9), slice(3, 5)))
    assert one.ct is not None
    (liver,) = one.ct.segments
    turned = replace(liver, mask=liver.mask.transpose(axes), affine=liver.affine[:, [*axes, 3]])
    other = replace(one, ct=replace(one.ct, segments=(turned,)))
    assert pytest.approx(logit(own, one), abs=1e-5) == logit(own, other)


def test_an_oblique_outline_is_named(tmp_path: Path):
    """That it is the outline that cannot be read, not the CT."""
    own = packs.load(pack(tmp_path / "p", SEGMENTS))
    one = scanned((slice(5, 7), slice(7, 9), slice(3, 5)))
    assert one.ct is not None
    (liver,) = one.ct.segments
    cosine, sine = np.cos(np.deg2rad(20)), np.sin(np.deg2rad(20))
    turn = np.array([[1, 0, 0, 0], [0, cosine, -sine, 0], [0, sine, cosine, 0], [0, 0, 0, 1]])
    away = np.eye(4)
    away[:3, 3] = 3.5, 7.5, 5.5
    oblique = replace(liver, affine=away @ turn @ np.linalg.inv(away) @ liver.affine)
    (found,) = assess(own, [replace(one, ct=replace(one.ct, segments=(oblique,)))])
    reason = "region of interest: more than 10 degrees off the patient's axes"
    assert [reason] == [m.reason for m in found.missing if m.input == "ct"]


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "AIR"])
def test_a_graph_finds_the_same_region_on_a_grid_of_any_orientation(
    tmp_path: Path, orientation: str
):
    """MONAI's arrays are RAS, of the coarse grid too."""
    found = []
    for name, letters in (("p", "SPL"), ("q", orientation)):
        more = f'orientation = "{letters}"\n{FINDER}'.replace("[4, 5, 6]", "[6, 6, 6]")
        own = packs.load(pack(tmp_path / name, more, way="segmenter",
                              files={"segmenter.onnx": cube_finder()}))  # fmt: skip
        found.append(logit(own, scanned()))
    assert pytest.approx(found[0], abs=1e-4) == found[1]
    assert abs(found[0]) > 1


def cube_finder() -> bytes:
    """As `finder`, of six voxels each way."""
    nodes = [
        helper.make_node("Mul", ["volume", "share"], ["scaled"]),
        helper.make_node("Reshape", ["scaled", "to"], ["likely"]),
    ]
    weights = {"share": 0.01, "to": np.array([-1, 6, 6, 6])}
    return onnx_graph(nodes, {"volume": ["n", 1, 6, 6, 6]}, {"likely": ["n", 6, 6, 6]}, weights)


def test_parts_that_meet_inside_a_voxel_are_the_whole_of_it():
    """The seam of two liver segments is liver; what overlaps does not weigh twice."""
    one = scanned((slice(2, 5), slice(2, 6), slice(2, 6)), (slice(4, 8), slice(2, 6), slice(2, 6)))
    assert one.ct is not None
    parts = [Outline(s.mask[2:8, 2:6, 2:6], _moved(s.affine, (2, 2, 2))) for s in one.ct.segments]
    parts[1] = Outline(parts[1].mask[2:], _moved(parts[1].affine, (2, 0, 0)))
    (whole,) = roi.united(parts)
    assert (6, 4, 4) == whole.mask.shape
    assert whole.mask.all()
    assert pytest.approx([3.5, 3.5, 4.5]) == Region((whole,)).centre
    grid = Grid((2, 2, 2), (2.0, 2.0, 2.0), "SPL", "area")
    share = resample(grid, "x", whole.mask, whole.affine, Region((whole,)).centre, outside=0)
    assert 1 == share.min()


def test_outlines_of_two_grids_stay_two():
    """Of another spacing, half a voxel apart, or too far apart to be held in one box."""
    mask, affine = np.ones((2, 2, 2), bool), np.eye(4)[[2, 1, 0, 3]]
    for other in (
        affine @ np.diag([2.0, 1, 1, 1]),
        _moved(affine, (0, 0.5, 0)),
        _moved(affine, (0, 1e9, 1e9)),
    ):
        assert 2 == len(roi.united([Outline(mask, affine), Outline(mask, other)]))


def _moved(affine: np.ndarray, voxels: tuple[float, float, float]) -> np.ndarray:
    """An affine whose origin lies at another voxel."""
    made = affine.copy()
    made[:, 3] = affine @ [*voxels, 1.0]
    return made
