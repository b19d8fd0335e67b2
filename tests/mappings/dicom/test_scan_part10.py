"""The element scan of the STOW door, and what it refuses before pydicom runs."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import STUDY, part10, slice_
from pydicom import Dataset
from pydicom.sequence import Sequence

from mappings.dicom.part10 import read
from mappings.dicom.scan import scan
from mappings.errors import NotDicom


@pytest.mark.parametrize("implicit", [False, True])
def test_the_identity_of_an_instance_is_read(implicit: bool) -> None:
    """Explicit and implicit VR alike, past sequences before the UIDs."""
    dataset = slice_(1, 2, IssuerOfPatientID="HOSP")
    inner = Dataset()
    inner.StudyInstanceUID = "9.9.9"
    dataset.ReferencedStudySequence = Sequence([inner])
    found = scan(part10(dataset, implicit=implicit))
    assert (STUDY, f"{STUDY}.1", f"{STUDY}.1.2", "SYN-1", "HOSP", "CT", "ACC1") == (
        found.study_instance_uid,
        found.series_instance_uid,
        found.sop_instance_uid,
        found.patient_id,
        found.issuer_of_patient_id,
        found.modality,
        found.accession_number,
    )


def test_sequences_of_undefined_length_are_passed() -> None:
    """Delimited items before the patient do not end the scan."""
    dataset = slice_(1, 2)
    inner = Dataset()
    inner.CodeValue = "x"
    dataset.ProcedureCodeSequence = Sequence([inner, inner])
    dataset["ProcedureCodeSequence"].is_undefined_length = True
    assert "SYN-1" == scan(part10(dataset)).patient_id


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"MZ" + bytes(200),
        bytes(128) + b"DICM",
        bytes(132),
        b"<html>",
        bytes(128) + b"DICM" + bytes(64),
    ],
)
def test_bytes_that_are_no_part_10_are_refused(raw: bytes) -> None:
    """A wrong preamble, or nothing after it."""
    with pytest.raises(NotDicom):
        scan(raw)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"])
def test_big_endian_and_deflated_are_refused(syntax: str) -> None:
    """Politely, by name, before anything is inflated."""
    raw = part10(slice_(1, 2))
    old = b"1.2.840.10008.1.2.1\0"
    at = raw.index(old)
    new = syntax.encode() + b"\0" * (len(syntax) % 2)
    raw = raw[: at - 2] + struct.pack("<H", len(new)) + new + raw[at + len(old) :]
    with pytest.raises(NotDicom):
        scan(raw)


def test_an_instance_without_its_uids_is_refused() -> None:
    """The door needs all four."""
    dataset = slice_(1, 2)
    del dataset.SeriesInstanceUID
    with pytest.raises(NotDicom):
        scan(part10(dataset))


def nested(depth: int) -> bytes:
    """Sequences of undefined length inside each other, at the end of an instance's header."""
    opening = struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    closing = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    dataset = slice_(1, 2)
    del dataset.PixelData
    return part10(dataset) + opening * depth + closing * depth


def test_deep_nesting_is_refused_before_pydicom_recurses() -> None:
    """300 nested sequences end pydicom in a RecursionError."""
    assert 1 == len(read(nested(5)).ContentSequence)
    with pytest.raises(NotDicom):
        read(nested(300))


def test_an_instance_is_parsed_with_and_without_pixels() -> None:
    """Headers alone are enough for a study."""
    raw = part10(slice_(1, 2))
    assert ("PixelData" in read(raw), "PixelData" in read(raw, pixels=False)) == (True, False)


@given(st.binary(max_size=200), st.integers(0, 400))
@settings(max_examples=150, deadline=None)
def test_arbitrary_bytes_are_read_or_not_dicom(noise: bytes, at: int) -> None:
    """Bit rot anywhere in the header raises nothing else."""
    raw = part10(slice_(1, 2))
    damaged = raw[: 132 + at] + noise + raw[132 + at + len(noise) :]
    for bytes_ in (damaged, raw[: 132 + at], bytes(128) + b"DICM" + noise):
        for reader in (scan, read):
            try:
                reader(bytes_)
            except NotDicom:
                continue
