"""Images as values: which instances there are, and volumes made of them.

Reading DICOM lives in `mappings.dicom`; turning volumes into tensors in `inference.tensors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

# In the channel order of every CT pack: non-contrast, late arterial, portal venous, delayed.
CtPhase = Literal["NC", "AP", "PV", "DL"]
CT_PHASES: tuple[CtPhase, ...] = ("NC", "AP", "PV", "DL")


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
class CtStudy:
    """The contrast CT of one study as a pack reads it.

    Attributes:
        phases: Volumes by phase; an absent phase is not in the mapping.
        choices: One per phase present.
        instances: Every instance that the volumes were made of.
        rejected: Series UID to the reason it was not used.
    """

    study_instance_uid: str
    phases: Mapping[CtPhase, Volume]
    choices: tuple[PhaseChoice, ...]
    instances: tuple[InstanceRef, ...]
    rejected: Mapping[str, str]
