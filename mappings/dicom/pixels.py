"""Decoded pixels of an instance, after the size they claim was found bearable, and their digest.

Source: PS3.3 C.7.6.3; PS3.5 chapter 8; reliability.md A3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.utils import iter_pixels, pixel_array

from mappings.dicom.attributes import number, raw, text
from mappings.dicom.scan import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from mappings.errors import NotDicom

_LARGEST_INSTANCE = 1 << 30
_HIGHEST_RATIO = 100


def is_image(dataset: Dataset) -> bool:
    """Whether an instance says that it has pixels; reports, key objects and plans do not."""
    return any(keyword in dataset for keyword in ("Rows", "Columns", "PixelData"))


def size(dataset: Dataset, keyword: str) -> int:
    """Rows or Columns.

    Raises:
        NotDicom: Absent, or not above 0.
    """
    found = raw(dataset, keyword)
    if not isinstance(found, int) or found <= 0:
        raise NotDicom(f"no {keyword}")
    return found


def frame_count(dataset: Dataset) -> int:
    """(0028,0008); 1 where it is absent.

    Raises:
        NotDicom: Below 1.
    """
    found = int(number(dataset, "NumberOfFrames") or 1)
    if found < 1:
        raise NotDicom("no frames")
    return found


def image(dataset: Dataset) -> NDArray[Any]:
    """The one frame of an instance; of a multi-frame instance all of them, frame first.

    Raises:
        NotDicom: No pixels, too many, or no decoder for them.
    """
    _bearable(dataset)
    with _decoding():
        # Not `dataset.pixel_array`: that keeps a second copy of every slice alive.
        found: NDArray[Any] = pixel_array(dataset)
    return found


def frames(dataset: Dataset) -> Iterator[NDArray[Any]]:
    """Frame after frame of a multi-frame instance; bits are unpacked, eight times their size.

    Raises:
        NotDicom: As `image`; also after some frames were given.
    """
    _bearable(dataset)
    if _is_packed(dataset):
        found = _bits(dataset)
    else:
        found = iter_pixels(dataset, allow_excess_frames=False)
    for _ in range(frame_count(dataset)):
        with _decoding():
            frame = next(found)
        yield frame


@contextmanager
def _decoding() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # third-party parser of untrusted bytes
        raise NotDicom(f"pixels cannot be decoded ({type(error).__name__})") from error


def _is_packed(dataset: Dataset) -> bool:
    syntax = text(dataset.file_meta, "TransferSyntaxUID")
    return number(dataset, "BitsAllocated") == 1 and syntax in (IMPLICIT_LITTLE, EXPLICIT_LITTLE)


def _bits(dataset: Dataset) -> Iterator[NDArray[Any]]:
    """Frames of bits that begin where the last one ended, inside a byte too.

    pydicom 3.0 reads a byte too few of frames that lie so.
    """
    shape = size(dataset, "Rows"), size(dataset, "Columns")
    length = shape[0] * shape[1]
    packed = np.frombuffer(raw(dataset, "PixelData"), dtype=np.uint8)
    for start in range(0, length * frame_count(dataset), length):
        first, skipped = divmod(start, 8)
        held = packed[first : (start + length + 7) // 8]
        bits = np.unpackbits(held, bitorder="little")[skipped : skipped + length]
        yield bits.reshape(shape)


def pixel_digest(dataset: Dataset) -> str:
    """SHA-256 in hex of shape, type and decoded pixels: equal when only tags were edited.

    Lossless recompression keeps it.

    Raises:
        NotDicom: No pixels, too many, or no decoder for them.
    """
    count = frame_count(dataset)
    parts = iter([image(dataset)]) if count == 1 else frames(dataset)
    digest = hashlib.sha256()
    for index, part in enumerate(parts):
        little = part.astype(part.dtype.newbyteorder("<"), copy=False)
        if index == 0:
            shape = little.shape if count == 1 else (count, *little.shape)
            digest.update(f"{'x'.join(str(n) for n in shape)}:{little.dtype.str}:".encode())
        digest.update(np.ascontiguousarray(little).data)
    return digest.hexdigest()


def _bearable(dataset: Dataset) -> None:
    packed = raw(dataset, "PixelData")
    if not isinstance(packed, bytes) or not packed:
        raise NotDicom("no pixel data")
    samples = int(number(dataset, "SamplesPerPixel") or 1)
    bits = int(number(dataset, "BitsAllocated") or 16)
    frame = size(dataset, "Rows") * size(dataset, "Columns") * samples
    claimed = frame * frame_count(dataset) * bits // 8
    # A bit becomes a byte when it is unpacked.
    largest = max(claimed, frame * max(bits, 8) // 8)
    if largest > _LARGEST_INSTANCE or claimed > len(packed) * _HIGHEST_RATIO:
        raise NotDicom("pixel data claims more than it can hold")
