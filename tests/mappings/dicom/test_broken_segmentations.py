"""SEG objects that cannot serve: each says why, and nothing else of the study is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import part10
from pydicom import Dataset
from segmentations import (
    FRAME,
    LIVER,
    MASS,
    ORIGIN,
    SHAPE,
    STUDY,
    at,
    described,
    item,
    packed,
    seg,
    two_frames,
)
from segmented import ct, read_all, refs, study_of

from mappings.dicom.attributes import text
from mappings.dicom.part10 import read
from mappings.dicom.segmentation import segments
from mappings.errors import NotDicom

UID = f"{STUDY}.90"


def changed(change: Callable[[Dataset], Any]) -> Dataset:
    """A good SEG after a change."""
    made = two_frames()
    change(made)
    return made


def group(name: str) -> Callable[[Dataset], Any]:
    """Takes a functional group away from where it stands."""

    def take(made: Dataset) -> None:
        shared, own = made.SharedFunctionalGroupsSequence, made.PerFrameFunctionalGroupsSequence
        for groups in (*shared, *own):
            if name in groups:
                delattr(groups, name)

    return take


def moved(*place: float) -> Callable[[Dataset], Any]:
    """Puts a third frame somewhere."""

    def add(made: Dataset) -> None:
        groups = item(
            PlanePositionSequence=[item(ImagePositionPatient=list(place))],
            SegmentIdentificationSequence=[item(ReferencedSegmentNumber=1)],
        )
        made.PerFrameFunctionalGroupsSequence.append(groups)
        made.NumberOfFrames, made.PixelData = 3, packed([np.ones(SHAPE)] * 3)

    return add


def set_(**fields: Any) -> Callable[[Dataset], Any]:
    return lambda made: [setattr(made, name, value) for name, value in fields.items()]


def in_group(name: str, **fields: Any) -> Callable[[Dataset], Any]:
    """Changes a group that is said of all frames."""

    def change(made: Dataset) -> None:
        for keyword, value in fields.items():
            setattr(made.SharedFunctionalGroupsSequence[0][name][0], keyword, value)

    return change


UNEVEN = "frames do not lie on evenly spaced planes"
NOT_GREY = "frames are no unsigned grey images of 16 bits and fewer"
WIDE = {"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31, "SegmentationType": "LABELMAP"}
SIGNED = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 1}
BROKEN: dict[str, tuple[Callable[[Dataset], Any], str]] = {
    "nothing outlined": (lambda made: delattr(made, "SegmentSequence"), "no SegmentSequence"),
    "two of a number": (
        lambda made: made.SegmentSequence.append(described(1, MASS)),
        "segments are not numbered one by one",
    ),
    "endless segments": (
        set_(SegmentSequence=[described(n, LIVER) for n in range(1025)]),
        "more than 1024 segments",
    ),
    "another kind": (set_(SegmentationType="X"), "neither BINARY, FRACTIONAL nor LABELMAP"),
    "no largest": (set_(SegmentationType="FRACTIONAL"), "no MaximumFractionalValue"),
    "no groups": (
        lambda made: delattr(made, "PerFrameFunctionalGroupsSequence"),
        "not as many functional groups as frames",
    ),
    "no place": (group("PlanePositionSequence"), "no image position"),
    "no direction": (group("PlaneOrientationSequence"), "no image orientation"),
    "no plane": (
        in_group("PlaneOrientationSequence", ImageOrientationPatient=[1, 0, 0, 1, 0, 0]),
        "no image orientation",
    ),
    "no size": (group("PixelMeasuresSequence"), "no pixel spacing"),
    "no name": (group("SegmentIdentificationSequence"), "a frame that names no segment"),
    "uneven": (moved(*ORIGIN, 6), UNEVEN),
    "shifted": (moved(ORIGIN[0], ORIGIN[1] + 1, 5), UNEVEN),
    "far away": (moved(1e300, -1e300, 1e300), UNEVEN),
    "twice": (moved(*ORIGIN, 2.5), "two frames of a segment share a position"),
    "torn": (set_(PixelData=b"\xff\xff"), "pixels cannot be decoded (ValueError)"),
    "no pixels": (lambda made: delattr(made, "PixelData"), "no pixel data"),
    "bomb": (set_(Rows=60000, Columns=60000), "pixel data claims more than it can hold"),
    "signed": (set_(**SIGNED, PixelData=bytes(70)), NOT_GREY),
    "wide": (set_(**WIDE, PixelData=b"\xff" * 280), NOT_GREY),
    "elsewhere": (
        set_(FrameOfReferenceUID="1.2.3"),
        "another frame of reference than the phases",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_object_says_why_and_costs_nothing_else(name: str) -> None:
    """The CT and an older SEG of the study stand."""
    change, reason = BROKEN[name]
    good = two_frames(number=89)
    study = study_of(*ct(), changed(change), good)
    assert {UID: reason} == dict(study.rejected)
    assert [good.SOPInstanceUID] == [s.instance.sop_instance_uid for s in study.segments]
    assert ["NC"] == list(study.phases)


def test_an_object_that_the_store_does_not_know_is_not_used() -> None:
    """A result names what it was made of."""
    made = read(part10(two_frames()))
    assert ((), {UID: "not an instance of the store"}) == segments([made], {}, FRAME)


def test_frames_of_two_spacings_are_no_volume() -> None:
    """Each frame's own measures count before those of all."""
    made = two_frames()
    own = made.PerFrameFunctionalGroupsSequence[1]
    own.PixelMeasuresSequence = [item(PixelSpacing=[1.4, 1.6])]
    assert {UID: "frames differ in pixel spacing"} == read_all(made)[1]


def test_a_single_plane_needs_a_thickness() -> None:
    """Its extent is not guessed."""
    _, reasons = read_all(seg([(1, at(0), np.ones(SHAPE))], {1: LIVER}))
    assert {UID: "a single plane, and no slice spacing or thickness"} == reasons


def test_two_voxels_far_apart_make_no_huge_mask() -> None:
    """Specks at opposite corners would span the whole grid, segment by segment."""
    corner = np.zeros((2048, 2048))
    corner[0, 0] = 1
    frames = [(n, at(z), corner[::s, ::s]) for n in (1, 2, 3) for z, s in ((0, 1), (99, -1))]
    measures = {"SpacingBetweenSlices": 1}
    pixels = np.packbits([f[2].astype(bool) for f in frames], bitorder="little").tobytes()
    made = seg([(n, p, np.ones((1, 1))) for n, p, _ in frames], dict.fromkeys((1, 2, 3), LIVER),
               measures=measures, Rows=2048, Columns=2048, PixelData=pixels)  # fmt: skip
    assert ((), {UID: "segments larger than 1 GiB"}) == read_all(made)


GOOD = part10(two_frames())


@settings(max_examples=300)
@pytest.mark.filterwarnings("ignore")  # pydicom warns of values that we then refuse
@given(st.lists(st.tuples(st.integers(132, len(GOOD) - 1), st.integers(0, 255)), max_size=4))
def test_no_byte_of_an_object_brings_down_the_rest(changes: list[tuple[int, int]]) -> None:
    """Segments or a reason, never anything else."""
    torn = bytearray(GOOD)
    for place, value in changes:
        torn[place] = value
    try:
        dataset = read(bytes(torn))
    except NotDicom:
        return
    known = next(iter(refs([two_frames()]).values()))
    name = text(dataset, "SOPInstanceUID")
    found, reasons = segments([dataset], {name: known}, FRAME)
    assert len(found) <= 1
    assert found or reasons
