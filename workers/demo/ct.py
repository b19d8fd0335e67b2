"""The synthetic CT as DICOM objects: one series per contrast phase, as a scanner would write it.

Voxels are replicated 4x in plane, so that averaging over the model's grid gives the generator's
values back. Source: PS3.3 A.3; C.7.6.4 (contrast/bolus); models.md 4.3 and 4.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from workers.demo.hospital import Chart

REPLICATION = 4
_RESCALE_INTERCEPT = -1024
_PHASES: Mapping[str, tuple[int, str, int]] = {
    # phase: (series number, description, seconds after the contrast started)
    "NC": (2, "上腹部 平扫", 0),
    "AP": (3, "上腹部 动脉期", 32),
    "PV": (4, "上腹部 门静脉期", 70),
    "DL": (5, "上腹部 延迟期", 180),
}
PHASES = ("NC", "AP", "PV", "DL")


def series_uid(who: Chart, phase: str) -> str:
    """Series Instance UID of a phase."""
    return f"{who.study_uid}.{_PHASES[phase][0]}"


def counts(who: Chart) -> dict[str, int]:
    """Instances by series, as a RIS would announce them."""
    voxels = _voxels(who)
    return {series_uid(who, phase): voxels.shape[1] for phase in who.synthetic.phases}


def instances(who: Chart) -> Iterator[Dataset]:
    """Every instance of the study, with preamble and file meta."""
    voxels = _voxels(who)
    for phase in who.synthetic.phases:
        channel = voxels[PHASES.index(phase)]
        for number in range(channel.shape[0]):
            yield _instance(who, phase, number, channel[number])


def part10(dataset: Dataset) -> bytes:
    """An instance as file bytes."""
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _voxels(who: Chart) -> NDArray[np.int16]:
    ct = who.synthetic.ct
    if ct is None:
        raise ValueError("the patient was made without a CT")
    return ct


def _instance(who: Chart, phase: str, number: int, plane: NDArray[np.int16]) -> Dataset:
    series_number, description, seconds = _PHASES[phase]
    scanned = who.t0 + timedelta(seconds=60 + seconds)
    uid = UID(f"{series_uid(who, phase)}.{number + 1}")
    made = _patient(who)
    made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, uid
    made.StudyInstanceUID, made.SeriesInstanceUID = who.study_uid, series_uid(who, phase)
    made.FrameOfReferenceUID = f"{who.study_uid}.1"
    made.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    made.Modality, made.Manufacturer = "CT", "Oncord demo"
    made.StudyDescription, made.SeriesDescription = "上腹部增强CT", description
    made.AccessionNumber, made.StudyID = f"A{who.number[4:]}", "1"
    made.SeriesNumber, made.InstanceNumber = str(series_number), str(number + 1)
    made.AcquisitionNumber = str(series_number)
    made.BodyPartExamined, made.PatientPosition = "LIVER", "HFS"
    made.PositionReferenceIndicator, made.KVP, made.ConvolutionKernel = "", "120", "B30f"
    made.ReferringPhysicianName = ""
    _times(made, who.t0, scanned)
    if phase != "NC":
        made.ContrastBolusAgent = "Iohexol 350"
        made.ContrastBolusStartTime = (who.t0 + timedelta(seconds=60)).strftime("%H%M%S")
    _geometry(made, who, number)
    _pixels(made, plane)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = CTImageStorage
    made.file_meta.MediaStorageSOPInstanceUID = uid
    made.preamble = bytes(128)
    return made


def _patient(who: Chart) -> Dataset:
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    family, given, _roman = who.name
    made.PatientName = f"SYNTHETIC^PATIENT={family}^{given}"
    made.PatientID, made.IssuerOfPatientID = who.number, "DEMOHOSP"
    made.PatientBirthDate = who.birth_date.replace("-", "")
    made.PatientSex = "M" if who.synthetic.sex == "male" else "F"
    made.PatientComments = "Synthetic data produced by a program; not a person"
    made.TimezoneOffsetFromUTC = "+0800"
    return made


def _times(made: Dataset, study: datetime, scanned: datetime) -> None:
    made.StudyDate, made.StudyTime = study.strftime("%Y%m%d"), study.strftime("%H%M%S")
    for kind in ("Series", "Acquisition", "Content"):
        setattr(made, f"{kind}Date", scanned.strftime("%Y%m%d"))
        setattr(made, f"{kind}Time", scanned.strftime("%H%M%S"))


def _geometry(made: Dataset, who: Chart, number: int) -> None:
    z, y, x = who.synthetic.spacing_mm
    made.PixelSpacing = [f"{y / REPLICATION:g}", f"{x / REPLICATION:g}"]
    made.SliceThickness = f"{z:g}"
    made.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    made.ImagePositionPatient = ["-120", "-120", f"{number * z:g}"]
    made.SliceLocation = f"{number * z:g}"


def _pixels(made: Dataset, plane: NDArray[np.int16]) -> None:
    fine = np.repeat(np.repeat(plane, REPLICATION, axis=0), REPLICATION, axis=1)
    stored = (fine.astype(np.int32) - _RESCALE_INTERCEPT).clip(0, 4095).astype("<u2")
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows, made.Columns = stored.shape
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, 12, 11
    made.PixelRepresentation = 0
    made.RescaleIntercept, made.RescaleSlope, made.RescaleType = str(_RESCALE_INTERCEPT), "1", "HU"
    made.PixelData = stored.tobytes()
