"""Volumes to tensors: the grid, spacing, clip, scale and phase order that a pack declares.

Which series is which phase was decided in `mappings.dicom`. Resampling by area makes an output
voxel the mean of what lies inside it, so that thin slices average and thick ones repeat; the linear
one is what most training pipelines do. Both are exact axis by axis: stacks lie along the patient's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.errors import UnusableVolume
from inference.manifest import CtInput, Grid
from inference.resampling import between, overlap
from mappings.images import CtPhase, CtStudy, Volume

Float = NDArray[np.float32]
Millimetres = NDArray[np.float64]
# Cosine of 10 degrees, models.md 6.1: steeper stacks would need true rotation.
_AXIAL = 0.985
_FLAT = 1e-3
REGION = "region of interest"
_AXIS = {"S": 0, "I": 0, "P": 1, "A": 1, "L": 2, "R": 2}
_WAY = {"S": 1, "I": -1, "P": 1, "A": -1, "L": 1, "R": -1}


@dataclass(frozen=True, slots=True, kw_only=True)
class CtTensor:
    """A study on a pack's grid.

    Attributes:
        voxels: (P, D, H, W) float32, clipped HU or their z-score; absent phases are 0.
        phases: (P,) float32, 1 where the phase is there.
        region: (D, H, W) float32, share of each voxel that is of the region of interest.
        mean_hu: Phase -> mean HU on the grid.
        masked: Phase -> why its channel is masked.
    """

    voxels: Float
    phases: Float
    region: Float
    mean_hu: dict[str, float]
    masked: dict[str, str]


@dataclass(frozen=True, slots=True)
class Outline:
    """A mask and where its voxels lie.

    Attributes:
        mask: (D, H, W) bool.
        affine: 4x4, voxel index (z, y, x, 1) to LPS millimetres.
    """

    mask: NDArray[np.bool_]
    affine: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Region:
    """What a grid is put around: what was outlined or found, in the patient's space.

    Attributes:
        outlines: At least one, of which none is empty.
    """

    outlines: tuple[Outline, ...]

    @property
    def centre(self) -> Millimetres:
        """Centre of mass of all of them, LPS millimetres."""
        mass, moment = 0.0, np.zeros(3)
        for one in self.outlines:
            voxel = abs(float(np.linalg.det(one.affine[:3, :3])))
            middle = (one.affine @ [*_middle(one.mask), 1.0])[:3]
            own = voxel * np.count_nonzero(one.mask)
            mass, moment = mass + own, moment + own * middle
        return moment / mass


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """A study on a coarse grid.

    Attributes:
        voxels: (P, D, H, W); phases: (P,) 1 where the phase is there.
    """

    voxels: Float
    phases: Float


def ct(declared: CtInput, study: CtStudy, region: Region | None = None) -> CtTensor:
    """Bring a study to the declared grid, all phases around one centre.

    The grid is put around the region, or without one around the last required phase's centre.

    Raises:
        UnusableVolume: a stack or an outline is oblique, a required phase is absent or doubtful,
            or the region lies outside of one.
    """
    usable, masked = _usable(declared, study)
    if region is None:
        middle = _centre(usable[declared.required[-1]])
    else:
        middle = region.centre
        for phase in declared.required:
            _within(phase, usable[phase], middle)
    grid = declared.grid
    voxels, mean_hu = _phases(declared, grid, usable, middle)
    inside = np.zeros(grid.size, np.float32)
    for one in region.outlines if region else ():
        share = resample(grid, REGION, one.mask, one.affine, middle, outside=0)
        inside = np.maximum(inside, share)
    present = np.array([float(p in usable) for p in declared.phases], np.float32)
    return CtTensor(voxels=voxels, phases=present, region=inside, mean_hu=mean_hu, masked=masked)


def overview(declared: CtInput, grid: Grid, study: CtStudy) -> Overview:
    """A whole study on a coarse grid around the middle of its volume.

    Raises:
        UnusableVolume: as `ct`.
    """
    usable, _ = _usable(declared, study)
    voxels, _ = _phases(declared, grid, usable, _centre(usable[declared.required[-1]]))
    present = np.array([float(p in usable) for p in declared.phases], np.float32)
    return Overview(voxels=voxels, phases=present)


def overview_affine(declared: CtInput, grid: Grid, study: CtStudy) -> NDArray[np.float64]:
    """Where the voxels of `overview` lie: 4x4, voxel index to LPS millimetres.

    Raises:
        UnusableVolume: as `ct`.
    """
    usable, _ = _usable(declared, study)
    return _affine(grid, _centre(usable[declared.required[-1]]))


def _usable(declared: CtInput, study: CtStudy) -> tuple[dict[str, Volume], dict[str, str]]:
    """Volumes of the phases that serve, and why others do not."""
    choices = {c.phase: c for c in study.choices}
    usable: dict[str, Volume] = {}
    masked = {}
    for phase in declared.phases:
        name: CtPhase = phase  # type: ignore[assignment]
        choice = choices.get(name)
        if name not in study.phases:
            masked[phase] = "not in the study"
        elif choice is not None and choice.confidence < declared.min_confidence:
            masked[phase] = "phase is doubtful"
        else:
            usable[phase] = study.phases[name]
    for phase in declared.required:
        if phase in masked:
            raise UnusableVolume(_named(phase), masked[phase])
    return usable, masked


def _phases(
    declared: CtInput, grid: Grid, usable: Mapping[str, Volume], middle: Millimetres
) -> tuple[Float, dict[str, float]]:
    """(P, D, H, W) on the declared scale, and the mean HU of each phase."""
    voxels = np.zeros((len(declared.phases), *grid.size), np.float32)
    mean_hu = {}
    for channel, phase in enumerate(declared.phases):
        volume = usable.get(phase)
        if volume is not None:
            air = declared.hu_clip[0]
            hu = resample(grid, _named(phase), volume.voxels, volume.affine, middle, outside=air)
            hu = np.clip(hu, *declared.hu_clip)
            voxels[channel], mean_hu[phase] = _scaled(declared, hu), float(hu.mean())
    return voxels, mean_hu


def _scaled(declared: CtInput, hu: Float) -> Float:
    """Voxels on the declared scale; a phase without any contrast has z-scores of 0."""
    if declared.intensity == "hu":
        return hu
    made: Float = (hu - hu.mean()) / max(float(hu.std()), _FLAT)
    return made


def _centre(volume: Volume) -> Millimetres:
    """Centre of a stack in LPS millimetres."""
    index = [(n - 1) / 2 for n in volume.voxels.shape]
    middle: Millimetres = (volume.affine @ np.array([*index, 1.0]))[:3]
    return middle


def _middle(mask: NDArray[np.bool_]) -> list[float]:
    """Mean index of the voxels of a mask, (z, y, x).

    Axis by axis: a list of all their indices would take 24 bytes a voxel.
    """
    made = []
    for axis in range(mask.ndim):
        counts = np.count_nonzero(mask, axis=tuple(n for n in range(mask.ndim) if n != axis))
        made.append(float(counts @ np.arange(len(counts)) / counts.sum()))
    return made


def _within(phase: str, volume: Volume, place: Millimetres) -> None:
    """Around a place that was not scanned a grid shows air, which a model would read."""
    index = np.linalg.solve(volume.affine, [*place, 1.0])[:3]
    size = np.array(volume.voxels.shape)
    if (np.abs(index - (size - 1) / 2) > size / 2).any():
        raise UnusableVolume(REGION, f"lies outside of phase {phase}")


def _named(phase: str) -> str:
    return f"phase {phase}"


def resample(
    grid: Grid,
    what: str,
    voxels: Float | NDArray[np.bool_],
    affine: NDArray[np.float64],
    centre: Millimetres,
    *,
    outside: float,
) -> Float:
    """A volume or a mask on a grid around a centre in LPS millimetres, (D, H, W).

    `outside` counts where nothing was scanned; `what` names the volume in errors.

    Raises:
        UnusableVolume: it is more than 10 degrees off the patient's axes.
    """
    voxels, affine = _upright(voxels, affine)
    by_axis, covered = [], []
    weights_of = overlap if grid.resampling == "area" else between
    # Axes that lead to S, P and L are worked on; turned as declared at the end.
    own = sorted(range(3), key=lambda n: _AXIS[grid.orientation[n]])
    for axis in range(3):
        lps = 2 - axis  # z, y, x of the array are S, P, L of the patient
        step = float(affine[lps, axis])
        length = float(np.sqrt((affine[:3, axis] ** 2).sum()))
        if length <= 0 or abs(step) / length < _AXIAL:
            raise UnusableVolume(what, "more than 10 degrees off the patient's axes")
        origin = float(affine[lps, 3]) + _tilt(voxels.shape, affine, axis, lps)
        weights, inside = weights_of(
            voxels.shape[axis],
            origin,
            float(np.sign(step)) * length,
            float(centre[lps]),
            grid.size[own[axis]],
            grid.spacing_mm[own[axis]],
        )
        by_axis.append(weights)
        covered.append(inside)
    out = _apply(by_axis, voxels)
    if any(float(c.min()) < 1 for c in covered):
        share = covered[0][:, None, None] * covered[1][None, :, None] * covered[2][None, None, :]
        out = (out + np.float32(outside) * (1 - share)).astype(np.float32)
    return _turned(out, grid.orientation)


def _upright(
    voxels: Float | NDArray[np.bool_], affine: NDArray[np.float64]
) -> tuple[Float | NDArray[np.bool_], NDArray[np.float64]]:
    """The same voxels with the axis first that leads most to S or I, then P or A, then L or R.

    Outlines are drawn on coronal and sagittal planes, too, and a segmenter's grid may be RAS.
    """
    order = [int(np.abs(affine[lps, :3]).argmax()) for lps in (2, 1, 0)]
    if sorted(order) != [0, 1, 2]:
        return voxels, affine
    return voxels.transpose(order), affine[:, [*order, 3]]


def _turned(out: Float, orientation: str) -> Float:
    """An array whose axes lead to S, P and L, with axes that lead as declared."""
    turned = out.transpose([_AXIS[letter] for letter in orientation])
    made: Float = turned[tuple(slice(None, None, _WAY[letter]) for letter in orientation)]
    return made


def _affine(grid: Grid, centre: Millimetres) -> NDArray[np.float64]:
    """4x4, voxel index of a grid to LPS millimetres."""
    made = np.eye(4)
    made[:3, :3] = 0
    for axis, letter in enumerate(grid.orientation):
        made[2 - _AXIS[letter], axis] = _WAY[letter] * grid.spacing_mm[axis]
    made[:3, 3] = centre - made[:3, :3] @ ((np.array(grid.size) - 1) / 2)
    return made


def _apply(weights: list[Float], voxels: Float | NDArray[np.bool_]) -> Float:
    """Matrix products along z, y and x: slices first, where real stacks are longest.

    Of the voxels only those that lie under the grid: a mask is floats no sooner than it is cut.
    """
    used = tuple(_used(one) for one in weights)
    part = np.ascontiguousarray(voxels[used], dtype=np.float32)
    along = [one[:, span] for one, span in zip(weights, used, strict=True)]
    d, h, w = part.shape
    out = (along[0] @ part.reshape(d, h * w)).reshape(len(along[0]), h, w)
    made: Float = (along[1] @ out) @ along[2].T
    return made


def _used(weights: Float) -> slice:
    """From the first to the last sample that any output reads."""
    read = np.flatnonzero(weights.any(axis=0))
    return slice(int(read[0]), int(read[-1]) + 1) if len(read) else slice(0, 0)


def _tilt(shape: tuple[int, ...], affine: NDArray[np.float64], axis: int, lps: int) -> float:
    """What the other two axes add at mid-stack: small, and 0 for a straight stack."""
    shift: float = sum(
        float(affine[lps, other]) * (shape[other] - 1) / 2 for other in range(3) if other != axis
    )
    return shift
