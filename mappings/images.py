"""Images as values: which instances there are, and volumes made of them.

Reading DICOM lives in `mappings.dicom`; turning volumes into tensors in `inference.tensors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

# In the channel order of every CT pack: non-contrast, late arterial, portal venous, delayed.
CtPhase = Literal["NC", "AP", "PV", "DL"]
CT_PHASES: tuple[CtPhase, ...] = ("NC", "AP", "PV", "DL")
# Positions are decimal text in DICOM: what differs by no more is one place.
ROUNDING_MM = 2e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRef:
    """One stored SOP instance, by identity and content; nothing of the patient.

    Attributes:
        sha256: Digest of the stored Part 10 bytes: the name of its blob.
        pixel_sha256: Digest of the decoded pixels; equal when only tags were edited.
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    sha256: str
    pixel_sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A stack of slices in patient space.

    Attributes:
        voxels: (D, H, W) float32; CT in HU, patient-superior last.
        spacing_mm: (z, y, x).
        affine: 4x4, voxel index (z, y, x, 1) to DICOM LPS millimetres.
    """

    voxels: NDArray[np.float32]
    spacing_mm: tuple[float, float, float]
    affine: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseChoice:
    """Which series serves as a phase, and how that was decided.

    Attributes:
        confidence: 0 to 1; below the pack's threshold the channel is masked.
        method: `contrast-time`, `description` or `image`.
        reasons: Sentences for the audit list, chosen and rejected alike.
    """

    phase: CtPhase
    series_instance_uid: str
    confidence: float
    method: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One segment of a DICOM SEG of the study, in the same patient space as its volumes.

    Attributes:
        scheme: Coding scheme designator of the property type (`SCT`, `DCM` ...).
        code: Its code value: what was outlined.
        mask: (D, H, W) bool, no larger than what it outlines.
        affine: 4x4, voxel index of the mask (z, y, x, 1) to DICOM LPS millimetres.
        instance: The SEG object.
    """

    scheme: str
    code: str
    mask: NDArray[np.bool_]
    affine: NDArray[np.float64]
    instance: InstanceRef


@dataclass(frozen=True, slots=True, kw_only=True)
class CtStudy:
    """The contrast CT of one study as a pack reads it.

    Attributes:
        phases: Volumes by phase; an absent phase is not in the mapping.
        choices: One per phase present.
        instances: Every instance that the volumes were made of.
        rejected: Series UID to the reason it was not used.
        segments: What was outlined in it, by whomever made a SEG of the study.
    """

    study_instance_uid: str
    phases: Mapping[CtPhase, Volume]
    choices: tuple[PhaseChoice, ...]
    instances: tuple[InstanceRef, ...]
    rejected: Mapping[str, str]
    segments: tuple[Segment, ...] = ()


class SlideLevel(Protocol):
    """One level of a whole-slide pyramid.

    Attributes:
        shape: (rows, columns) in pixels.
        mpp: Micrometres per pixel (y, x).
    """

    @property
    def shape(self) -> tuple[int, int]: ...  # noqa: D102  said above

    @property
    def mpp(self) -> tuple[float, float]: ...  # noqa: D102  said above

    def read(self, row: int, column: int, rows: int, columns: int) -> NDArray[np.uint8]:
        """(rows, columns, 3) sRGB from a pixel on; outside of the level is white."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayLevel:
    """A `SlideLevel` in memory: of examples and tests, never of a scanner's gigapixels.

    Attributes:
        pixels: (rows, columns, 3) sRGB.
        mpp: Micrometres per pixel (y, x).
    """

    pixels: NDArray[np.uint8]
    mpp: tuple[float, float]

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def read(self, row: int, column: int, rows: int, columns: int) -> NDArray[np.uint8]:
        """(rows, columns, 3) sRGB from a pixel on; outside of the level is white."""
        out = np.full((rows, columns, 3), 255, np.uint8)
        top, left = max(row, 0), max(column, 0)
        inside = self.pixels[top : max(row + rows, 0), left : max(column + columns, 0)]
        y, x = top - row, left - column
        out[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Slide:
    """A whole-slide image.

    Attributes:
        stain: `H&E`, or the marker of an immunohistochemistry (`CD3`); never guessed.
        levels: Finest first.
        instances: Every instance that the levels are made of.
    """

    stain: str
    levels: tuple[SlideLevel, ...]
    instances: tuple[InstanceRef, ...]
