"""tensors: any spacing, direction and field becomes the declared grid."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from inference import example_images, tensors
from inference.errors import UnusableVolume
from inference.manifest import Grid
from inference.packs import Pack
from inference.tensors import Outline, Region
from inference.training import examples, liver
from mappings.images import CtStudy, Volume


def volume(voxels: np.ndarray, spacing: tuple[float, float, float], affine: np.ndarray) -> Volume:
    """A stack."""
    return Volume(voxels=voxels.astype(np.float32), spacing_mm=spacing, affine=affine)


def only(study: CtStudy, **volumes: Volume) -> CtStudy:
    """The study with other volumes."""
    return CtStudy(
        study_instance_uid=study.study_instance_uid,
        phases=volumes,  # type: ignore[arg-type]
        choices=tuple(c for c in study.choices if c.phase in volumes),
        instances=study.instances,
        rejected={},
    )


@pytest.fixture
def study(patient: liver.SyntheticPatient) -> CtStudy:
    """The patient's CT on the pack's own grid."""
    made = examples.study(patient)
    assert made is not None
    return made


def test_a_study_on_the_grid_stays_as_it_is(
    pack: Pack, study: CtStudy, patient: liver.SyntheticPatient
) -> None:
    """Clipped, and otherwise bit for bit."""
    assert patient.ct is not None
    made = tensors.ct(pack.manifest.ct, study)
    assert np.array_equal(np.clip(patient.ct, -200, 300), made.voxels)
    assert [1, 1, 1, 1] == made.phases.tolist()


@pytest.mark.parametrize("flip", [(1, 1, 1), (-1, 1, 1), (1, -1, -1)])
def test_thin_slices_and_flipped_axes_give_the_same_tensor(
    pack: Pack, study: CtStudy, flip: tuple[int, int, int]
) -> None:
    """96 slices of 1 mm with 2 mm pixels, stored in any direction, average back."""
    fine = {}
    for name, one in study.phases.items():
        v = one.voxels.repeat(4, 0).repeat(2, 1).repeat(2, 2)[:: flip[0], :: flip[1], :: flip[2]]
        z, y, x = (s * f for s, f in zip((1.0, 2.0, 2.0), flip, strict=True))
        start = [
            7.0 - (n - 1) * s * (f < 0)
            for n, s, f in zip(v.shape, (1.0, 2.0, 2.0), flip, strict=True)
        ]
        origin = [
            o + (n - 1) * abs(s) * (f < 0) * 2
            for o, n, s, f in zip(start, v.shape, (1.0, 2.0, 2.0), flip, strict=True)
        ]
        affine = np.array(
            [[0, 0, x, origin[2]], [0, y, 0, origin[1]], [z, 0, 0, origin[0]], [0, 0, 0, 1.0]]
        )
        fine[name] = volume(v, (1.0, 2.0, 2.0), affine)
    expected = tensors.ct(pack.manifest.ct, study).voxels
    got = tensors.ct(pack.manifest.ct, only(study, **fine)).voxels
    assert np.allclose(expected, got, atol=1e-3)


def test_a_bigger_field_is_cut_around_its_centre(pack: Pack, study: CtStudy) -> None:
    """Air around the block changes nothing but the field."""
    wide = {
        n: volume(
            np.pad(v.voxels, ((2, 2), (10, 10), (6, 6)), constant_values=-1000),
            v.spacing_mm,
            v.affine,
        )
        for n, v in study.phases.items()
    }
    expected = tensors.ct(pack.manifest.ct, study).voxels
    assert np.array_equal(expected, tensors.ct(pack.manifest.ct, only(study, **wide)).voxels)


def test_outside_of_the_field_is_the_lower_clip(pack: Pack, study: CtStudy) -> None:
    """A short stack leaves slices at -200 HU."""
    short = {n: volume(v.voxels[4:-4], v.spacing_mm, v.affine) for n, v in study.phases.items()}
    made = tensors.ct(pack.manifest.ct, only(study, **short)).voxels
    assert np.all(made[:, :4] == -200)
    assert np.all(made[:, -4:] == -200)


def test_an_absent_or_doubtful_phase_is_masked(pack: Pack, study: CtStudy) -> None:
    """Its channel is 0 and the mask says so."""
    phases = {n: v for n, v in study.phases.items() if n != "NC"}
    made = tensors.ct(pack.manifest.ct, only(study, **phases))
    assert ([0, 1, 1, 1], "not in the study") == (made.phases.tolist(), made.masked["NC"])
    assert not made.voxels[0].any()


def test_a_required_phase_must_be_there(pack: Pack, study: CtStudy) -> None:
    """Without the portal venous phase there is no tensor."""
    phases = {n: v for n, v in study.phases.items() if n != "PV"}
    with pytest.raises(UnusableVolume, match="phase PV"):
        tensors.ct(pack.manifest.ct, only(study, **phases))


def test_a_steep_stack_is_refused(pack: Pack, study: CtStudy) -> None:
    """More than 10 degrees off the axial plane."""
    c, s = np.cos(0.3), np.sin(0.3)
    tilt = np.array([[1, 0, 0, 0], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1]])
    phases = {n: volume(v.voxels, v.spacing_mm, tilt @ v.affine) for n, v in study.phases.items()}
    with pytest.raises(UnusableVolume, match="phase NC: more than 10 degrees off"):
        tensors.ct(pack.manifest.ct, only(study, **phases))


def test_an_example_keeps_every_voxel(study: CtStudy) -> None:
    """The example format is lossless for whole HU."""
    back = example_images.ct_of_json(example_images.ct_to_json(study))
    for name, one in study.phases.items():
        assert np.array_equal(one.voxels, back.phases[name].voxels)


def test_a_zscore_is_of_each_phase_over_its_own_grid(pack: Pack, study: CtStudy) -> None:
    """After the clip; mean HU is still told in HU; a flat phase has nothing to say."""
    assert pack.manifest.ct is not None
    declared = replace(pack.manifest.ct, intensity="zscore")
    flat = np.full(study.phases["DL"].voxels.shape, 40.0)
    one = study.phases["DL"]
    study = only(study, **{**study.phases, "DL": volume(flat, one.spacing_mm, one.affine)})
    hu, made = tensors.ct(pack.manifest.ct, study), tensors.ct(declared, study)
    for channel in range(3):
        golden = (hu.voxels[channel] - hu.voxels[channel].mean()) / hu.voxels[channel].std()
        assert np.allclose(golden, made.voxels[channel], atol=1e-5)
    assert not made.voxels[3].any()
    assert hu.mean_hu == made.mean_hu


def lps(orientation: str, index: np.ndarray, grid: Grid, centre: np.ndarray) -> np.ndarray:
    """(n, 3) LPS millimetres of voxels, by what the letters mean: x leads to L, y to P, z to S."""
    to = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}
    out = np.tile(centre, (len(index), 1))
    for axis, letter in enumerate(orientation):
        along, way = to[letter]
        out[:, along] += way * grid.spacing_mm[axis] * (index[:, axis] - (grid.size[axis] - 1) / 2)
    return out


@pytest.mark.parametrize("orientation", ["SPL", "RAS", "LPS", "IAR", "ASL"])
def test_linear_voxels_are_those_of_scipy_wherever_the_axes_lead(orientation: str) -> None:
    """A stack with turned axes, and odd spacing: each voxel by its place."""
    random = np.random.default_rng(3)
    stack = random.normal(0, 50, (9, 11, 13)).astype(np.float32)
    affine = np.array([[0, 0, -0.9, 12.0], [0, 1.1, 0, -7.5], [2.5, 0, 0, 100.0], [0, 0, 0, 1]])
    grid = Grid((5, 4, 6), (1.3, 1.7, 0.8), orientation, "linear")
    centre = np.array([10.9, -6.0, 101.2])
    one = volume(stack, (2.5, 1.1, 0.9), affine)
    made = tensors.resample(grid, "AP", one.voxels, one.affine, centre, outside=-1000)
    index = np.argwhere(np.ones(grid.size))
    at = np.c_[lps(orientation, index, grid, centre), np.ones(len(index))] @ np.linalg.inv(affine).T
    golden = map_coordinates(stack, at[:, :3].T, order=1, mode="nearest")
    # scipy takes voxels as points; a voxel is scanned up to half its edge beyond its centre.
    outside = ((at[:, :3] < -0.5) | (at[:, :3] > np.array(stack.shape) - 0.5)).any(1)
    golden[outside] = -1000
    assert 0 < outside.sum() < len(index)
    assert np.allclose(golden.reshape(grid.size), made, atol=1e-3)


@pytest.mark.parametrize("orientation", ["SPL", "RAS", "IPR"])
def test_area_voxels_are_means_of_what_lies_inside(orientation: str) -> None:
    """Against the mean of many points of each voxel."""
    random = np.random.default_rng(5)
    stack = random.normal(0, 50, (8, 8, 8)).astype(np.float32)
    affine = np.array([[0, 0, 1.0, 0], [0, -1.0, 0, 0], [1.0, 0, 0, 0], [0, 0, 0, 1]])
    grid = Grid((2, 3, 2), (2.0, 1.5, 2.5), orientation, "area")
    centre = np.array([3.5, -3.5, 3.5])
    made = tensors.resample(grid, "AP", stack, affine, centre, outside=0)
    points = 30  # along each edge: no voxel of the stack ends within a step
    fine = Grid(
        tuple(n * points for n in grid.size),
        tuple(s / points for s in grid.spacing_mm),
        orientation,
        "area",
    )
    index = np.argwhere(np.ones(fine.size))
    at = np.c_[lps(orientation, index, fine, centre), np.ones(len(index))] @ np.linalg.inv(affine).T
    nearest = np.rint(at[:, :3]).astype(int)
    sampled = stack[tuple(nearest.T)].reshape(fine.size)
    d, h, w = grid.size
    golden = sampled.reshape(d, points, h, points, w, points).mean((1, 3, 5))
    assert np.allclose(golden, made, atol=1e-3)


def test_one_slice_is_its_own_neighbour() -> None:
    """Linear needs two slices nowhere."""
    affine = np.diag([1.0, 1.0, 1.0, 1.0])[[2, 1, 0, 3]]
    grid = Grid((1, 2, 2), (1.0, 1.0, 1.0), "SPL", "linear")
    one = volume(np.full((1, 4, 4), 30.0), (1, 1, 1), affine)
    made = tensors.resample(
        grid, "AP", one.voxels, one.affine, np.array([1.5, 1.5, 0]), outside=-1000
    )
    assert np.all(made == 30)


def test_a_mask_is_no_list_of_its_voxels() -> None:
    """16 million voxels, of which half are set, take no more than a few of their slices."""
    mask = np.zeros((64, 512, 512), bool)
    mask[10:60, 40:480, 100:500] = True
    affine = np.array([[0, 0, 0.5, 0], [0, 0.5, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    tracemalloc.start()
    try:
        region = Region((Outline(mask, affine),))
        centre = region.centre
        grid = Grid((16, 16, 16), (1.0, 1.0, 1.0), "SPL", "linear")
        share = tensors.resample(grid, "region", mask, affine, centre, outside=0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < mask.nbytes / 4
    index = np.linalg.solve(affine, [*centre, 1])[:3]
    assert pytest.approx([34.5, 259.5, 299.5]) == index
    assert 1 == share.min()
