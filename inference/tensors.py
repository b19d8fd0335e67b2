"""Volumes to tensors: the grid, spacing, clip, scale and phase order that a pack declares.

Which series is which phase was decided in `mappings.dicom`. Resampling is by area: an output
voxel is the mean of what lies inside it, so that thin slices average and thick ones repeat.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.errors import UnusableVolume
from inference.manifest import CtInput
from mappings.images import CtPhase, CtStudy, Volume

Float = NDArray[np.float32]
# Cosine of 10 degrees, models.md 6.1: steeper stacks would need true rotation.
_AXIAL = 0.985
_SLIVER = 1e-6
_FLAT = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class CtTensor:
    """A study on a pack's grid.

    Attributes:
        voxels: (P, D, H, W) float32, clipped HU or their z-score; absent phases are 0.
        phases: (P,) float32, 1 where the phase is there.
        mean_hu: Phase -> mean HU on the grid.
        masked: Phase -> why its channel is masked.
    """

    voxels: Float
    phases: Float
    mean_hu: dict[str, float]
    masked: dict[str, str]


def ct(declared: CtInput, study: CtStudy) -> CtTensor:
    """Bring a study to the declared grid, all phases around one centre.

    Raises:
        UnusableVolume: a stack is not axial, or a required phase is absent or doubtful.
    """
    choices = {c.phase: c for c in study.choices}
    usable: dict[CtPhase, Volume] = {}
    masked = {}
    for phase in declared.phases:
        name: CtPhase = phase  # type: ignore[assignment]
        choice = choices.get(name)
        if name not in study.phases:
            masked[phase] = "not in the study"
        elif choice is not None and choice.confidence < declared.min_confidence:
            masked[phase] = "phase is doubtful"
        else:
            usable[name] = study.phases[name]
    for phase in declared.required:
        if phase in masked:
            raise UnusableVolume(phase, masked[phase])
    middle = _centre(usable[declared.required[-1]])  # type: ignore[index]
    voxels = np.zeros((len(declared.phases), *declared.grid), np.float32)
    mean_hu = {}
    for channel, phase in enumerate(declared.phases):
        volume = usable.get(phase)  # type: ignore[call-overload]
        if volume is not None:
            hu = np.clip(resample(declared, phase, volume, middle), *declared.hu_clip)
            voxels[channel], mean_hu[phase] = _scaled(declared, hu), float(hu.mean())
    present = np.array([float(p in usable) for p in declared.phases], np.float32)
    return CtTensor(voxels=voxels, phases=present, mean_hu=mean_hu, masked=masked)


def _scaled(declared: CtInput, hu: Float) -> Float:
    """Voxels on the declared scale; a phase without any contrast has z-scores of 0."""
    if declared.intensity == "hu":
        return hu
    made: Float = (hu - hu.mean()) / max(float(hu.std()), _FLAT)
    return made


def _centre(volume: Volume) -> NDArray[np.float64]:
    """Centre of a stack in LPS millimetres."""
    index = [(n - 1) / 2 for n in volume.voxels.shape]
    middle: NDArray[np.float64] = (volume.affine @ np.array([*index, 1.0]))[:3]
    return middle


def resample(declared: CtInput, phase: str, volume: Volume, centre: NDArray[np.float64]) -> Float:
    """One phase on the declared grid around a centre in LPS millimetres, (D, H, W) HU.

    Raises:
        UnusableVolume: the stack is more than 10 degrees off the axial plane.
    """
    lower = np.float32(declared.hu_clip[0])
    by_axis, covered = [], []
    for axis in range(3):
        lps = 2 - axis  # z, y, x of the array are S, P, L of the patient
        step = float(volume.affine[lps, axis])
        length = float(np.sqrt((volume.affine[:3, axis] ** 2).sum()))
        if length <= 0 or abs(step) / length < _AXIAL:
            raise UnusableVolume(phase, "stack is more than 10 degrees off the axial plane")
        origin = float(volume.affine[lps, 3]) + _tilt(volume, axis, lps)
        weights, inside = _overlap(
            volume.voxels.shape[axis],
            origin,
            np.sign(step) * length,
            float(centre[lps]),
            declared.grid[axis],
            declared.spacing_mm[axis],
        )
        by_axis.append(weights)
        covered.append(inside)
    out = _apply(by_axis, volume.voxels)
    if all(float(c.min()) == 1 for c in covered):
        return out
    share = covered[0][:, None, None] * covered[1][None, :, None] * covered[2][None, None, :]
    made: Float = (out + lower * (1 - share)).astype(np.float32)
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


def _overlap(
    count: int, origin: float, step: float, centre: float, size: int, spacing: float
) -> tuple[Float, Float]:
    """Weights (size, count) of source voxels in each output voxel, and the share covered."""
    # Both edges of each voxel, in millimetres along the patient axis.
    edges = origin + step * (np.arange(count)[:, None] + np.array([-0.5, 0.5]))
    source_low, source_high = edges.min(1), edges.max(1)
    target_low = centre + spacing * (np.arange(size) - size / 2)
    common = np.minimum(target_low[:, None] + spacing, source_high) - np.maximum(
        target_low[:, None], source_low
    )
    weights = np.clip(common, 0, None) / spacing
    # Rounding of millimetres leaves slivers of the neighbours; they are no voxels.
    weights[weights < _SLIVER] = 0
    return weights.astype(np.float32), np.minimum(weights.sum(1), 1).astype(np.float32)
