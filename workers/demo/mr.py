"""The synthetic liver MR as DICOM objects: one classic MR series per sequence of the protocol.

The six are those that models.md 1.4 asks of `hcc_ar`: T1 before contrast, late arterial, portal
venous, DL (with gadoxetate the transitional phase, not a delayed one), T2 with fat saturation,
DWI. The hepatobiliary phase stands there in brackets: the writer knows it, the six do without. An
ADC map is not written, since one image at b = 800 gives none.
Source: PS3.3 A.4, C.8.3.1 (MR image), C.7.6.4 (contrast/bolus), C.11.1 (rescale).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage

from workers.demo.subject import CannotSend, Subject, code_item, identify, study

_GADOXETATE = ("440223009", "SCT", "Gadoxetate disodium")
_INTRAVENOUS = ("47625008", "SCT", "Intravenous route")
_INJECTED_AFTER_S = 900  # what needs no contrast is scanned first
_STORED_MOST = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class Technique:
    """How one sequence is acquired, in DICOM's words.

    Attributes:
        number: (0020,0011).
        description: (0008,103E).
        scanning: (0018,0020).
        variant: (0018,0021).
        options: (0018,0022).
        dimensions: (0018,0023).
        tr_ms: (0018,0080).
        te_ms: (0018,0081).
        train: (0018,0091).
        flip_deg: (0018,1314).
        after_s: Seconds from the start of the injection; negative before it.
        b_value: (0018,9087) in s/mm², or None.
    """

    number: int
    description: str
    scanning: str
    variant: str
    options: str
    dimensions: str
    tr_ms: float
    te_ms: float
    train: int
    flip_deg: float
    after_s: int
    b_value: float | None = None


def _gradient(number: int, description: str, after_s: int, flip_deg: float = 10) -> Technique:
    """Fat-saturated three-dimensional spoiled gradient echo: every T1 of the protocol."""
    return Technique(
        number=number, description=description, scanning="GR", variant="SP\\OSP",
        options="PFP\\FS", dimensions="3D", tr_ms=4.1, te_ms=1.9, train=1, flip_deg=flip_deg,
        after_s=after_s,
    )  # fmt: skip


TECHNIQUES: Mapping[str, Technique] = {
    "T1": _gradient(4, "肝脏 T1WI 抑脂 平扫", -60),
    "AP": _gradient(5, "肝脏 T1WI 抑脂 动脉晚期", 25),
    "PV": _gradient(6, "肝脏 T1WI 抑脂 门静脉期", 70),
    "DL": _gradient(7, "肝脏 T1WI 抑脂 移行期", 180),
    "HBP": _gradient(8, "肝脏 T1WI 抑脂 肝胆期", 1200, flip_deg=25),
    "T2": Technique(
        number=2, description="肝脏 T2WI 抑脂", scanning="SE", variant="SK", options="RG\\FS",
        dimensions="2D", tr_ms=3200, te_ms=84, train=18, flip_deg=120, after_s=-800,
    ),
    "DWI": Technique(
        number=3, description="肝脏 DWI b=800", scanning="EP", variant="SK\\SP",
        options="RG\\FS", dimensions="2D", tr_ms=5600, te_ms=61, train=1, flip_deg=90,
        after_s=-400, b_value=800,
    ),
}  # fmt: skip
SEQUENCES = ("T1", "AP", "PV", "DL", "T2", "DWI")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MrStudy:
    """One liver MR of somebody.

    Attributes:
        who: The patient; `t0` is when the examination started.
        voxels: (n, D, H, W), any real type, D from feet to head; one volume per sequence.
        spacing_mm: (z, y, x).
        sequences: What the n volumes are, of `TECHNIQUES`.

    Raises:
        CannotSend: Shapes, sequences or values do not fit.
    """

    who: Subject
    voxels: NDArray[Any]
    spacing_mm: tuple[float, float, float]
    sequences: tuple[str, ...] = SEQUENCES

    def __post_init__(self) -> None:
        if unknown := [name for name in self.sequences if name not in TECHNIQUES]:
            raise CannotSend(f"sequence {unknown[0]}", f"one of {', '.join(TECHNIQUES)}")
        if self.voxels.ndim != 4 or len(self.voxels) != len(set(self.sequences)):  # noqa: PLR2004
            raise CannotSend(f"voxels {self.voxels.shape}", "(n, D, H, W), a volume per sequence")
        if not np.isfinite(self.voxels).all():
            raise CannotSend("voxels", "finite numbers")
        if min(self.spacing_mm) <= 0:
            raise CannotSend("spacing_mm", "millimetres above 0")

    @property
    def uid(self) -> str:
        """Study Instance UID."""
        return self.who.uid("mr")


def series_uid(examination: MrStudy, sequence: str) -> str:
    """Series Instance UID of a sequence."""
    return examination.who.uid("mr", sequence)


def counts(examination: MrStudy) -> dict[str, int]:
    """Instances by series, as a RIS would announce them."""
    depth = examination.voxels.shape[1]
    return {series_uid(examination, name): depth for name in examination.sequences}


def instances(examination: MrStudy) -> Iterator[Dataset]:
    """Every instance of the study, series by series, feet first.

    Integers come back as they are by (0028,1053) and (0028,1052); other numbers to half a step,
    which is a power of two, so that what once went through comes back bit by bit.
    """
    for name, volume in zip(examination.sequences, examination.voxels, strict=True):
        stored, slope, intercept = _stored(volume)
        for number, plane in enumerate(stored):
            made = _instance(examination, name, number)
            _pixels(made, plane, slope, intercept)
            yield made


def _stored(volume: NDArray[Any]) -> tuple[NDArray[np.uint16], float, float]:
    """A volume as unsigned 16 bit, with the slope and intercept that lead back."""
    exact = volume.astype(np.float64)
    low, high = min(float(exact.min()), 0.0), float(exact.max())
    span = max(high - math.floor(low), 1.0)
    step = 1.0
    if not np.issubdtype(volume.dtype, np.integer) or span > _STORED_MOST:
        step = 2.0 ** math.ceil(math.log2(span / (_STORED_MOST - 1)))
    whole = max(step, 1.0)
    intercept = whole * math.floor(low / whole)
    return np.rint((exact - intercept) / step).astype(np.uint16), step, intercept


def _instance(examination: MrStudy, name: str, number: int) -> Dataset:
    who, how = examination.who, TECHNIQUES[name]
    injected = who.t0 + timedelta(seconds=_INJECTED_AFTER_S)
    scanned = injected + timedelta(seconds=how.after_s)
    made = study(who, examination.uid, "上腹部MRI平扫+增强(钆塞酸二钠)", who.numbered("M"), who.t0)
    made.SeriesInstanceUID = series_uid(examination, name)
    made.FrameOfReferenceUID = who.uid("mr", "frame")
    made.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    made.Modality, made.Manufacturer = "MR", "Oncord demo"
    made.ManufacturerModelName = "synthetic 3 T"
    made.SeriesDescription, made.SeriesNumber = how.description, str(how.number)
    made.InstanceNumber, made.AcquisitionNumber = str(number + 1), str(how.number)
    made.BodyPartExamined, made.PatientPosition = "LIVER", "HFS"
    made.PositionReferenceIndicator = ""
    for kind in ("Series", "Acquisition", "Content"):
        setattr(made, f"{kind}Date", scanned.strftime("%Y%m%d"))
        setattr(made, f"{kind}Time", scanned.strftime("%H%M%S"))
    _acquisition(made, how)
    if how.after_s >= 0:
        _contrast(made, injected)
    _geometry(made, examination, number)
    return identify(made, MRImageStorage, who.uid("mr", name, number))


def _acquisition(made: Dataset, how: Technique) -> None:
    made.ScanningSequence = how.scanning.split("\\")
    made.SequenceVariant = how.variant.split("\\")
    made.ScanOptions = how.options.split("\\")
    made.MRAcquisitionType = how.dimensions
    made.RepetitionTime, made.EchoTime = f"{how.tr_ms:g}", f"{how.te_ms:g}"
    made.EchoTrainLength, made.FlipAngle = str(how.train), f"{how.flip_deg:g}"
    # (0018,0082) only where a sequence inverts, and none does.
    made.MagneticFieldStrength, made.ImagedNucleus = "3", "1H"
    made.ImagingFrequency, made.NumberOfAverages = "123.2", "1"
    if how.b_value is not None:
        made.DiffusionBValue = how.b_value
        made.DiffusionDirectionality = "ISOTROPIC"


def _contrast(made: Dataset, injected: datetime) -> None:
    made.ContrastBolusAgent = "Gadoxetate disodium"
    made.ContrastBolusAgentSequence = [code_item(_GADOXETATE)]
    made.ContrastBolusRoute = "IV"
    made.ContrastBolusAdministrationRouteSequence = [code_item(_INTRAVENOUS)]
    made.ContrastBolusVolume, made.ContrastBolusTotalDose = "7", "7"
    made.ContrastFlowRate, made.ContrastFlowDuration = "1", "7"
    made.ContrastBolusStartTime = injected.strftime("%H%M%S")
    made.ContrastBolusStopTime = (injected + timedelta(seconds=7)).strftime("%H%M%S")
    made.ContrastBolusIngredient = "GADOLINIUM"
    made.ContrastBolusIngredientConcentration = "181.43"


def _geometry(made: Dataset, examination: MrStudy, number: int) -> None:
    z, y, x = examination.spacing_mm
    rows, columns = examination.voxels.shape[2:]
    made.PixelSpacing = [f"{y:g}", f"{x:g}"]
    made.SliceThickness = made.SpacingBetweenSlices = f"{z:g}"
    made.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    first = (-(columns - 1) / 2 * x, -(rows - 1) / 2 * y)
    made.ImagePositionPatient = [*(f"{at:g}" for at in first), f"{number * z:g}"]
    made.SliceLocation = f"{number * z:g}"


def _pixels(made: Dataset, plane: NDArray[np.uint16], slope: float, intercept: float) -> None:
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows, made.Columns = plane.shape
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, 16, 15
    made.PixelRepresentation = 0
    made.RescaleSlope, made.RescaleIntercept = f"{slope:.12g}", f"{intercept:.12g}"
    made.RescaleType = "US"
    made.PixelData = plane.astype("<u2").tobytes()
