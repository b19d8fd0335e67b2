"""The synthetic CT as DICOM objects: one series per contrast phase, as a scanner would write it.

Voxels are replicated 4x in plane, so that averaging over the model's grid gives the generator's
values back. Source: PS3.3 A.3; C.7.6.4 (contrast/bolus); models.md 4.3 and 4.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from workers.demo.hospital import Chart
from workers.demo.subject import CannotSend, Subject, identify, study

REPLICATION = 4
DESCRIPTION = "上腹部增强CT"
_RESCALE_INTERCEPT = -1024
_PHASES: Mapping[str, tuple[int, str, int]] = {
    # phase: (series number, description, seconds after the contrast started)
    "NC": (2, "上腹部 平扫", 0),
    "AP": (3, "上腹部 动脉期", 32),
    "PV": (4, "上腹部 门静脉期", 70),
    "DL": (5, "上腹部 延迟期", 180),
}
PHASES = ("NC", "AP", "PV", "DL")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CtStudy:
    """One CT of somebody.

    Attributes:
        who: The patient; `t0` is when the examination started.
        uid: Study Instance UID.
        voxels: (n, D, H, W) HU, D from feet to head; one volume per phase.
        spacing_mm: (z, y, x).
        phases: What the n volumes are, of `PHASES`.
        body_part: (0018,0015), a defined term of PS3.16 annex L.

    Raises:
        CannotSend: Shapes or phases do not fit.
    """

    who: Subject
    uid: str
    voxels: NDArray[np.int16]
    spacing_mm: tuple[float, float, float]
    phases: tuple[str, ...]
    body_part: str = "LIVER"

    def __post_init__(self) -> None:
        if unknown := [name for name in self.phases if name not in _PHASES]:
            raise CannotSend(f"phase {unknown[0]}", f"one of {', '.join(PHASES)}")
        if self.voxels.ndim != 4 or len(self.voxels) != len(set(self.phases)):  # noqa: PLR2004
            raise CannotSend(f"voxels {self.voxels.shape}", "(n, D, H, W), a volume per phase")


def _study(of: Chart | CtStudy) -> CtStudy:
    if isinstance(of, CtStudy):
        return of
    synthetic = of.synthetic
    if synthetic.ct is None:
        raise CannotSend("a patient", "one that was made with a CT")
    channels = [PHASES.index(phase) for phase in synthetic.phases]
    return CtStudy(
        who=of.subject,
        uid=of.study_uid,
        voxels=synthetic.ct[channels],
        spacing_mm=synthetic.spacing_mm,
        phases=synthetic.phases,
    )


def series_uid(of: Chart | CtStudy, phase: str) -> str:
    """Series Instance UID of a phase."""
    return _study(of).who.uid("ct", phase)


def counts(of: Chart | CtStudy) -> dict[str, int]:
    """Instances by series, as a RIS would announce them."""
    made = _study(of)
    return {series_uid(made, phase): made.voxels.shape[1] for phase in made.phases}


def instances(of: Chart | CtStudy) -> Iterator[Dataset]:
    """Every instance of the study, with preamble and file meta."""
    made = _study(of)
    for phase, volume in zip(made.phases, made.voxels, strict=True):
        for number, plane in enumerate(volume):
            yield _instance(made, phase, number, plane)


def part10(dataset: Dataset) -> bytes:
    """An instance as file bytes."""
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _instance(of: CtStudy, phase: str, number: int, plane: NDArray[np.int16]) -> Dataset:
    who = of.who
    series_number, description, seconds = _PHASES[phase]
    injected = who.t0 + timedelta(seconds=60)
    scanned = injected + timedelta(seconds=seconds)
    made = study(who, of.uid, DESCRIPTION, who.numbered("A"), who.t0)
    made.SeriesInstanceUID = series_uid(of, phase)
    made.FrameOfReferenceUID = who.uid("ct", "frame")
    made.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    made.Modality, made.Manufacturer = "CT", "Oncord demo"
    made.SeriesDescription, made.SeriesNumber = description, str(series_number)
    made.InstanceNumber, made.AcquisitionNumber = str(number + 1), str(series_number)
    made.BodyPartExamined, made.PatientPosition = of.body_part, "HFS"
    made.PositionReferenceIndicator, made.KVP, made.ConvolutionKernel = "", "120", "B30f"
    for kind in ("Series", "Acquisition", "Content"):
        setattr(made, f"{kind}Date", scanned.strftime("%Y%m%d"))
        setattr(made, f"{kind}Time", scanned.strftime("%H%M%S"))
    if phase != "NC":
        made.ContrastBolusAgent = "Iohexol 350"
        made.ContrastBolusStartTime = injected.strftime("%H%M%S")
    _geometry(made, of.spacing_mm, number)
    _pixels(made, plane)
    return identify(made, CTImageStorage, who.uid("ct", phase, number))


def _geometry(made: Dataset, spacing_mm: tuple[float, float, float], number: int) -> None:
    z, y, x = spacing_mm
    made.PixelSpacing = [_millimetres(y / REPLICATION), _millimetres(x / REPLICATION)]
    made.SliceThickness = _millimetres(z)
    made.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    made.ImagePositionPatient = ["-120", "-120", _millimetres(number * z)]
    made.SliceLocation = _millimetres(number * z)


def _millimetres(length: float) -> str:
    """A decimal string (PS3.5 6.2): ten digits, so that no edge of a voxel moves by 1e-6 mm."""
    return f"{length:.10g}"


def _pixels(made: Dataset, plane: NDArray[np.int16]) -> None:
    fine = np.repeat(np.repeat(plane, REPLICATION, axis=0), REPLICATION, axis=1)
    stored = (fine.astype(np.int32) - _RESCALE_INTERCEPT).clip(0, 4095).astype("<u2")
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows, made.Columns = stored.shape
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, 12, 11
    made.PixelRepresentation = 0
    made.RescaleIntercept, made.RescaleSlope, made.RescaleType = str(_RESCALE_INTERCEPT), "1", "HU"
    made.PixelData = stored.tobytes()
