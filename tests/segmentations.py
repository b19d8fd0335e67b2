"""Synthetic SEG objects for tests: by hand with pydicom alone, and by highdicom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.uid import UID, ExplicitVRLittleEndian

STUDY = "1.2.826.0.1.3680043.8.498.1"
FRAME = f"{STUDY}.0.1"
LIVER, MASS = ("SCT", "10200004"), ("SCT", "4147007")
SEG = UID("1.2.840.10008.5.1.4.1.1.66.4")
LABEL_MAP = UID("1.2.840.10008.5.1.4.1.1.66.7")
ORIGIN, SPACING = (-30.0, -40.0), (0.7, 0.8)
SHAPE = (5, 7)  # 35 bits: no frame but the first starts on a byte

# A frame as it is written: segment number, the position of its first pixel, its pixels.
Frame = tuple[int, Sequence[float], NDArray[Any]]


def item(**fields: Any) -> Dataset:
    """A sequence item."""
    made = Dataset()
    for keyword, value in fields.items():
        setattr(made, keyword, value)
    return made


def at(z: float) -> tuple[float, float, float]:
    """Where an axial frame of that height starts."""
    return (*ORIGIN, z)


def described(number: int, code: tuple[str, str] | None) -> Dataset:
    """An item of the SegmentSequence."""
    made = item(SegmentNumber=number, SegmentLabel=f"segment {number}")
    if code is not None:
        kind = item(CodingSchemeDesignator=code[0], CodeValue=code[1], CodeMeaning="x")
        made.SegmentedPropertyTypeCodeSequence = [kind]
    return made


def seg(
    frames: Sequence[Frame],
    codes: Mapping[int, tuple[str, str] | None],
    *,
    number: int = 90,
    orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
    measures: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Dataset:
    """A SEG object bit by bit: BINARY, or what `fields` make of it."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = SEG
    uid = UID(f"{STUDY}.{number}.1")
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = uid
    made.PatientID, made.StudyInstanceUID, made.Modality = "SYN-1", STUDY, "SEG"
    made.SeriesInstanceUID, made.FrameOfReferenceUID = f"{STUDY}.{number}", FRAME
    made.SegmentationType = "BINARY"
    made.NumberOfFrames = len(frames)
    made.Rows, made.Columns = frames[0][2].shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 1, 1, 0, 0
    made.SegmentSequence = [described(n, code) for n, code in codes.items()]
    spacing = {"PixelSpacing": list(SPACING), **(measures or {})}
    shared = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=list(orientation))],
        PixelMeasuresSequence=[item(**spacing)],
    )
    made.SharedFunctionalGroupsSequence = [shared]
    made.PerFrameFunctionalGroupsSequence = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=list(place))],
            SegmentIdentificationSequence=[item(ReferencedSegmentNumber=segment)],
        )
        for segment, place, _ in frames
    ]
    made.PixelData = packed([pixels for *_, pixels in frames])
    for keyword, value in fields.items():
        setattr(made, keyword, value)
    return made


def two_frames(**fields: Any) -> Dataset:
    """A SEG of one segment on two planes."""
    full = np.ones(SHAPE)
    return seg([(1, at(0), full), (1, at(2.5), full)], {1: LIVER}, **fields)


def packed(masks: Sequence[NDArray[Any]]) -> bytes:
    """Frames bit behind bit, the first bit lowest (PS3.5 8.1.1), no frame on a byte of its own."""
    bits = [int(value != 0) for mask in masks for value in np.asarray(mask).ravel()]
    found = bytearray((len(bits) + 7) // 8)
    for place, bit in enumerate(bits):
        found[place // 8] |= bit << place % 8
    return bytes(found) + b"\0" * (len(found) % 2)


def by_highdicom(
    source: Sequence[Dataset],
    mask: NDArray[Any],
    kind: str,
    codes: Sequence[tuple[str, str]],
    **options: Any,
) -> Dataset:
    """A SEG of CT slices; mask (slice, row, column, segment), in the order of the slices."""
    described = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=f"segment {number}",
            segmented_property_category=Code("85756007", "SCT", "Tissue"),
            segmented_property_type=Code(value, scheme, "x"),
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, (scheme, value) in enumerate(codes, 1)
    ]
    if kind == "LABELMAP":
        mask = (mask * np.arange(1, len(codes) + 1)).max(axis=-1).astype(np.uint8)
    return hd.seg.Segmentation(
        list(source),
        mask.astype(np.float32) if kind == "FRACTIONAL" else mask.astype(np.uint8),
        hd.seg.SegmentationTypeValues[kind],
        described,
        f"{source[0].StudyInstanceUID}.91",
        91,
        f"{source[0].StudyInstanceUID}.91.1",
        1,
        "Oncord tests",
        "highdicom",
        "1",
        "1",
        **options,
    )
