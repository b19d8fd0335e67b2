"""Synthetic CT instances for tests."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

STUDY = "1.2.826.0.1.3680043.8.498.1"
CT = UID("1.2.840.10008.5.1.4.1.1.2")


def slice_(series: int, number: int, *, z: float | None = None, **fields: Any) -> Dataset:
    """One 8 by 6 slice whose pixels all hold 1024 + its number."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = CT
    uid = UID(f"{STUDY}.{series}.{number}")
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = uid
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.PatientID, made.PatientName = "SYN-1", "SYNTHETIC^PATIENT"
    made.StudyInstanceUID, made.SeriesInstanceUID = STUDY, f"{STUDY}.{series}"
    made.StudyDate, made.StudyTime, made.AccessionNumber = "20261120", "093000", "ACC1"
    made.Modality, made.InstanceNumber, made.SeriesNumber = "CT", number, series
    made.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    made.ImagePositionPatient = [-10, -20, number * 2.5 if z is None else z]
    made.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    made.PixelSpacing, made.SliceThickness = [0.7, 0.8], 2.5
    made.Rows, made.Columns, made.SamplesPerPixel = 8, 6, 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 12, 11, 0
    made.RescaleSlope, made.RescaleIntercept = 1, -1024
    made.PixelData = np.full((8, 6), 1024 + number, dtype="<u2").tobytes()
    for keyword, value in fields.items():
        setattr(made, keyword, value)
    return made


def series(number: int, count: int = 6, **fields: Any) -> list[Dataset]:
    """A series in scrambled order."""
    made = [slice_(number, n, **fields) for n in range(count)]
    return made[1::2] + made[::2]


def part10(dataset: Dataset, *, implicit: bool = False) -> bytes:
    """The bytes of an instance with preamble and file meta information."""
    if implicit:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
