"""The digest of pixels, frame by frame."""

from __future__ import annotations

import numpy as np
import pytest
from instances import part10
from segmentations import SHAPE, item, two_frames

from mappings.dicom.part10 import read
from mappings.dicom.pixels import pixel_digest
from mappings.errors import NotDicom


def test_the_pixel_digest_of_frames_is_that_of_all_pixels() -> None:
    """Bits, whatever frame starts inside a byte; other bits are another digest."""
    made = two_frames()
    plain = pixel_digest(read(part10(made)))
    whole = np.ones((2, *SHAPE), dtype=np.uint8)
    same = item(Rows=2 * SHAPE[0], Columns=SHAPE[1], BitsAllocated=8, BitsStored=8, HighBit=7)
    for keyword in ("SamplesPerPixel", "PhotometricInterpretation", "PixelRepresentation"):
        setattr(same, keyword, getattr(made, keyword))
    same.file_meta, same.PixelData = made.file_meta, whole.tobytes()
    same.Rows, same.NumberOfFrames = SHAPE[0], 2
    assert pixel_digest(same) == plain
    made.PixelData = bytes(len(made.PixelData))
    assert plain != pixel_digest(made)


def test_bits_that_would_unpack_to_gigabytes_are_refused() -> None:
    """A frame of bits is eight times its size in memory."""
    made = two_frames(Rows=40000, Columns=40000, NumberOfFrames=1, PixelData=bytes(2 * 10**8))
    with pytest.raises(NotDicom, match="more than it can hold"):
        pixel_digest(made)


def test_fewer_frames_than_one_have_no_digest() -> None:
    """All of them would have the same."""
    with pytest.raises(NotDicom, match="no frames"):
        pixel_digest(two_frames(NumberOfFrames=-2))
