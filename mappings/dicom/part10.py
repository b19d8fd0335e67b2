"""Part 10 bytes as a pydicom data set, refused before they can hurt.

Runs in a worker's child process with limits of its own; the checks here come first.
Source: PS3.10; reliability.md A3, A4.
"""

from __future__ import annotations

from io import BytesIO

from pydicom import Dataset, dcmread

from mappings.dicom.scan import IMPLICIT_LITTLE, file_meta, walk
from mappings.errors import NotDicom

_LARGEST = 2 << 30


def read(raw: bytes, *, pixels: bool = True) -> Dataset:
    """Parse one instance.

    Args:
        raw: The whole file, or its head when `pixels` is False.
        pixels: Read pixel data too.

    Raises:
        NotDicom: Not Part 10, too deep, too many elements, or unreadable.
    """
    if len(raw) > _LARGEST:
        raise NotDicom("larger than 2 GiB")
    start, syntax = file_meta(raw)
    for _ in walk(raw, start, implicit=syntax == IMPLICIT_LITTLE):
        pass
    try:
        return dcmread(BytesIO(raw), stop_before_pixels=not pixels)
    except Exception as error:  # third-party parser of untrusted bytes
        raise NotDicom(f"unreadable ({type(error).__name__})") from error
