"""Volumes to tensors: the grid, spacing, clip, scale and phase order that a pack declares.

Which series is which phase was decided in `mappings.dicom`. Resampling by area makes an output
voxel the mean of what lies inside it, so that thin slices average and thick ones repeat; the linear
one is what most training pipelines do. Both are exact axis by axis: stacks are axial.
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
_AXIS = {"S": 0, "I": 0, "P": 1, "A": 1, "L": 2, "R": 2}
_WAY = {"S": 1, "I": -1, "P": 1, "A": -1, "L": 1, "R": -1}


@dataclass(frozen=True, slots=True, kw_only=True)
class CtTensor:
    """A study on a pack's grid.

    Attributes:
        voxels: (P, D, H, W) float32, clipped HU or their z-score; absent phases are 0.
        phases: (P,) float32, 1 where the phase is there.
        mask: (D, H, W) float32, share of each voxel that is of the region of interest.
        mean_hu: Phase -> mean HU on the grid.
        masked: Phase -> why its channel is masked.
    """

    voxels: Float
    phases: Float
    mask: Float
    mean_hu: dict[str, float]
    masked: dict[str, str]


@dataclass(frozen=True, slots=True)
class Region:
    """What a grid is put around: masks, in the patient's space, of what was outlined or found.

    Attributes:
        masks: Volumes of 0 and 1.
    """

    masks: tuple[Volume, ...]

    @property
    def centre(self) -> Millimetres:
        """Centre of mass of all of them, LPS millimetres."""
        mass, moment = 0.0, np.zeros(3)
        for one in self.masks:
            index = np.argwhere(one.voxels > 0)
            size = abs(float(np.linalg.det(one.affine[:3, :3])))
            middle = one.affine[:3, :3] @ index.mean(0) + one.affine[:3, 3]
            mass, moment = mass + size * len(index), moment + size * len(index) * middle
        return moment / mass


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """A study on a coarse grid.

    Attributes:
        voxels: (P, D, H, W); phases: (P,) 1 where the phase is there.
        affine: 4x4, voxel index to LPS millimetres.
    """

    voxels: Float
    phases: Float
    affine: NDArray[np.float64]


def ct(declared: CtInput, study: CtStudy, region: Region | None = None) -> CtTensor:
    """Bring a study to the declared grid, all phases around one centre.

    The grid is put around the region, or without one around the last required phase's centre.

    Raises:
        UnusableVolume: a stack is not axial, or a required phase is absent or doubtful.
    """
    usable, masked = _usable(declared, study)
    middle = _centre(usable[declared.required[-1]]) if region is None else region.centre
    grid = declared.grid
    voxels, mean_hu = _phases(declared, grid, usable, middle)
    mask = np.zeros(grid.size, np.float32)
    for volume in region.masks if region else ():
        mask = np.maximum(mask, resample(grid, "region", volume, middle, outside=0))
    present = np.array([float(p in usable) for p in declared.phases], np.float32)
    return CtTensor(voxels=voxels, phases=present, mask=mask, mean_hu=mean_hu, masked=masked)


def overview(declared: CtInput, grid: Grid, study: CtStudy) -> Overview:
    """A whole study on a coarse grid, (P, D, H, W) and where its voxels lie.

    Raises:
        UnusableVolume: as `ct`.
    """
    usable, _ = _usable(declared, study)
    middle = _centre(usable[declared.required[-1]])
    voxels, _ = _phases(declared, grid, usable, middle)
    present = np.array([float(p in usable) for p in declared.phases], np.float32)
    return Overview(voxels=voxels, phases=present, affine=_affine(grid, middle))


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
            raise UnusableVolume(phase, masked[phase])
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
            hu = resample(grid, phase, volume, middle, outside=declared.hu_clip[0])
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


def resample(
    grid: Grid, what: str, volume: Volume, centre: Millimetres, *, outside: float
) -> Float:
    """One volume on a grid around a centre in LPS millimetres, (D, H, W).

    `outside` counts where nothing was scanned; `what` names the volume in errors.

    Raises:
        UnusableVolume: the stack is more than 10 degrees off the axial plane.
    """
    by_axis, covered = [], []
    weights_of = overlap if grid.resampling == "area" else between
    # Axes that lead to S, P and L are worked on; turned as declared at the end.
    own = sorted(range(3), key=lambda n: _AXIS[grid.orientation[n]])
    for axis in range(3):
        lps = 2 - axis  # z, y, x of the array are S, P, L of the patient
        step = float(volume.affine[lps, axis])
        length = float(np.sqrt((volume.affine[:3, axis] ** 2).sum()))
        if length <= 0 or abs(step) / length < _AXIAL:
            raise UnusableVolume(what, "stack is more than 10 degrees off the axial plane")
        origin = float(volume.affine[lps, 3]) + _tilt(volume, axis, lps)
        weights, inside = weights_of(
            volume.voxels.shape[axis],
            origin,
            float(np.sign(step)) * length,
            float(centre[lps]),
            grid.size[own[axis]],
            grid.spacing_mm[own[axis]],
        )
        by_axis.append(weights)
        covered.append(inside)
    out = _apply(by_axis, volume.voxels)
    if any(float(c.min()) < 1 for c in covered):
        share = covered[0][:, None, None] * covered[1][None, :, None] * covered[2][None, None, :]
        out = (out + np.float32(outside) * (1 - share)).astype(np.float32)
    return _turned(out, grid.orientation)


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


def _apply(weights: list[Float], voxels: Float) -> Float:
    """Matrix products along z, y and x: slices first, where real stacks are longest."""
    d, h, w = voxels.shape
    out = (weights[0] @ voxels.reshape(d, h * w)).reshape(-1, h, w)
    made: Float = (weights[1] @ out) @ weights[2].T
    return made


def _tilt(volume: Volume, axis: int, lps: int) -> float:
    """What the other two axes add at mid-stack: small, and 0 for a straight stack."""
    shift: float = sum(
        float(volume.affine[lps, other]) * (volume.voxels.shape[other] - 1) / 2
        for other in range(3)
        if other != axis
    )
    return shift
