"""SEG objects of a CT study: masks lie where they were drawn, and what cannot serve says why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from instances import series
from numpy.typing import NDArray
from segmentations import (
    LABEL_MAP,
    LIVER,
    MASS,
    ORIGIN,
    SHAPE,
    SPACING,
    STUDY,
    at,
    by_highdicom,
    described,
    item,
    seg,
    two_frames,
)
from segmented import ct, read_all, study_of

from mappings.dicom.series_choice import choose
from mappings.images import Segment

RNG = np.random.default_rng(5)
UID = f"{STUDY}.90"


def drawn(*, share: float = 0.4) -> NDArray[np.bool_]:
    """A frame's pixels, some of them set."""
    return RNG.random(SHAPE) < share


Points = set[tuple[float, float, float]]


def points(found: Segment) -> Points:
    """LPS millimetres of every voxel outlined."""
    homogeneous = np.c_[np.argwhere(found.mask), np.ones(found.mask.sum())]
    return rounded((homogeneous @ found.affine.T)[:, :3])


def rounded(places: Iterable[NDArray[np.float64]]) -> Points:
    return {(round(x, 3), round(y, 3), round(z, 3)) for x, y, z in (p.tolist() for p in places)}


def axial(frames: Iterable[tuple[float, NDArray[Any]]]) -> Points:
    """Where pixels of axial frames lie: (column, row) from the origin, by their height."""
    return rounded(
        np.array([ORIGIN[0] + SPACING[1] * column, ORIGIN[1] + SPACING[0] * row, z])
        for z, mask in frames
        for row, column in np.argwhere(mask)
    )


def test_bits_by_hand_in_any_order_lie_where_they_were_drawn() -> None:
    """Two segments, frames shuffled, unaligned bits: to the voxel."""
    masks = {(s, z): drawn() for s in (1, 2) for z in (0.0, 2.5, 5.0, 7.5)}
    order = RNG.permutation(list(masks))
    frames = [(int(s), at(z), masks[int(s), z]) for s, z in order.tolist()]
    found, reasons = read_all(seg(frames, {1: LIVER, 2: MASS}))
    assert {} == reasons
    assert [LIVER, MASS] == [(f.scheme, f.code) for f in found]
    for number, segment in enumerate(found, 1):
        assert axial((z, m) for (s, z), m in masks.items() if s == number) == points(segment)
        assert segment.affine[2, 0] > 0
        assert f"{UID}.1" == segment.instance.sop_instance_uid


def test_a_mask_is_cropped_to_what_it_outlines() -> None:
    """One voxel is one voxel, with an affine of its own."""
    mask = np.zeros(SHAPE)
    mask[3, 4] = 1
    empty = np.zeros(SHAPE)
    frames = [(1, at(0), empty), (1, at(3), mask), (1, at(6), empty)]
    [found], _ = read_all(seg(frames, {1: LIVER}))
    assert (1, 1, 1) == found.mask.shape
    assert [ORIGIN[0] + 3.2, ORIGIN[1] + 2.1, 3, 1] == pytest.approx(found.affine @ [0, 0, 0, 1])
    assert [3, 0.7, 0.8] == pytest.approx(np.linalg.norm(found.affine[:3, :3], axis=0))


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
def test_what_highdicom_writes_lies_where_it_was_drawn(
    kind: str, turned: bool, sparse: bool
) -> None:
    """Of a CT with its head first or last, every frame or only those with pixels."""
    slices = ct(ImageOrientationPatient=[1, 0, 0, 0, -1, 0]) if turned else ct()
    mask = np.zeros((6, 8, 6, 2), dtype=np.uint8)
    mask[[0, 2], 1:4, 2, 0] = mask[[4, 5], 5:, 3:, 1] = 1
    made = by_highdicom(slices, mask, kind, [LIVER, MASS], omit_empty_frames=sparse)
    found, reasons = read_all(made)
    assert {} == reasons
    assert [LIVER, MASS] == [(f.scheme, f.code) for f in found]
    down = -0.7 if turned else 0.7
    for number, segment in enumerate(found):
        assert points(segment) == rounded(
            np.array([-10 + 0.8 * x, -20 + down * y, slices[index].ImagePositionPatient[2]])
            for index, y, x in np.argwhere(mask[..., number])
        )


def test_oblique_frames_keep_their_own_affine() -> None:
    """Along the object's own axes, whichever way the CT lies."""
    turn = np.deg2rad(20)
    row = np.array([np.cos(turn), 0, np.sin(turn)])
    column = np.array([0, 1.0, 0])
    normal = np.cross(row, column)
    masks = [drawn() for _ in range(4)]
    starts = [np.array([5.0, 6, 7]) + 3 * n * normal for n in range(4)]
    frames = [(1, start.tolist(), mask) for start, mask in zip(starts, masks, strict=True)]
    [found], _ = read_all(seg(frames[::-1], {1: LIVER}, orientation=[*row, *column]))
    assert points(found) == rounded(
        start + SPACING[1] * x * row + SPACING[0] * y * column
        for start, mask in zip(starts, masks, strict=True)
        for y, x in np.argwhere(mask)
    )


@pytest.mark.parametrize(
    ("heights", "measures", "depth"),
    [
        ([0, 2.5, 10], {}, 5),
        ([0, 5, 10], {"SpacingBetweenSlices": 2.5}, 5),
        ([0, 5, 10], {}, 3),
        ([0, 2.5, 5], {"SpacingBetweenSlices": 5}, 3),
        ([0, 2.5, 5], {"SpacingBetweenSlices": 1}, 3),
        ([7], {"SpacingBetweenSlices": 2}, 1),
        ([7], {"SliceThickness": 2}, 1),
        ([round(n * 0.6251, 3) for n in range(0, 90, 3)], {"SpacingBetweenSlices": 0.6251}, 88),
    ],
)
def test_frames_left_out_are_empty_planes(
    heights: list[float], measures: dict[str, float], depth: int
) -> None:
    """The declared gap holds where it fits, else the smallest found."""
    masks = [(z, drawn(share=1)) for z in heights]
    frames = [(1, at(z), mask) for z, mask in masks]
    [found], _ = read_all(seg(frames, {1: LIVER}, measures=measures))
    assert depth == len(found.mask)
    assert len(heights) == found.mask.any(axis=(1, 2)).sum()
    low, high = (found.affine @ [z, 0, 0, 1] for z in (0, depth - 1))
    assert [heights[0], heights[-1]] == pytest.approx([low[2], high[2]])
    step = measures.get("SliceThickness", measures.get("SpacingBetweenSlices"))
    if len(heights) == 1:
        assert step == pytest.approx(found.affine[2, 0])


def test_a_fraction_counts_from_a_half() -> None:
    """Of the largest value declared."""
    values = np.array([[0, 99, 100, 200]], dtype=np.uint8)
    made = seg(
        [(1, at(0), values)],
        {1: LIVER},
        measures={"SliceThickness": 1},
        SegmentationType="FRACTIONAL",
        MaximumFractionalValue=200,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        PixelData=values.tobytes(),
    )
    [found], _ = read_all(made)
    assert axial([(0, values >= 100)]) == points(found)


def test_labels_are_segments_but_for_the_background() -> None:
    """16 bits, no segment identification, an undescribed label."""
    values = np.array([[[0, 300, 300], [2, 9, 0]], [[0, 0, 300], [2, 2, 0]]], dtype="<u2")
    made = seg(
        [(0, at(0), values[0]), (0, at(1), values[1])],
        {0: ("DCM", "125040"), 2: MASS, 300: LIVER},
        SOPClassUID=LABEL_MAP,
        SegmentationType="LABELMAP",
        PixelPaddingValue=0,
        BitsAllocated=16,
        BitsStored=16,
        HighBit=15,
        PixelData=values.tobytes(),
    )
    for frame in made.PerFrameFunctionalGroupsSequence:
        del frame.SegmentIdentificationSequence
    found, reasons = read_all(made)
    assert [MASS, LIVER] == [(f.scheme, f.code) for f in found]
    assert [axial(enumerate(values == n)) for n in (2, 300)] == [points(f) for f in found]
    assert {} == reasons


def test_a_segment_without_a_code_and_an_empty_one_are_none() -> None:
    """With a reason each; the others stand, under the code that was sent."""
    full = np.ones(SHAPE)
    old = ("SRT", "T-62000")
    frames = [(n, at(z), full * (n != 3)) for n in (1, 2, 3) for z in (0, 2)]
    made = seg(frames, {1: None, 2: old, 3: MASS, 4: ("", "10200004"), 5: LIVER})
    [found], reasons = read_all(made)
    assert old == (found.scheme, found.code)
    told = "segment 1 has no property type code; segment 4 has no property type code; "
    assert {UID: f"{told}segment 3 is empty; segment 5 is empty"} == reasons


def test_a_long_code_is_a_code() -> None:
    """More than 16 characters stand in an attribute of their own (PS3.3 8.1)."""
    made, long = two_frames(), "450861000124104-liver"
    kind = item(CodingSchemeDesignator="SCT", LongCodeValue=long, CodeMeaning="x")
    made.SegmentSequence[0].SegmentedPropertyTypeCodeSequence = [kind]
    assert [("SCT", long)] == [(f.scheme, f.code) for f in read_all(made)[0]]


def test_only_the_codes_asked_for_are_read() -> None:
    """Nobody pays for pixels that no pack reads, nor hears of them."""
    torn = two_frames(PixelData=b"\0\0")
    assert ((), {}) == read_all(torn, codes=["SCT|4147007"])
    assert ((), {}) == read_all(torn, codes=())
    assert 1 == len(read_all(two_frames(), codes=["SCT|10200004"])[0])


def test_phases_in_several_spaces_take_no_segments() -> None:
    """Nor do phases that name none."""
    reason = {UID: "the phases have no frame of reference in common"}
    both = [*ct(1), *ct(2, SeriesDescription="ARTERIAL", FrameOfReferenceUID="1.2.3")]
    assert reason == dict(study_of(*both, two_frames()).rejected)
    assert reason == dict(study_of(*series(1, SeriesDescription="平扫"), two_frames()).rejected)


def test_a_study_has_the_segments_of_all_its_objects() -> None:
    """Its instances are those of the volumes; a segment names its own."""
    scan = ct()
    mass = two_frames(number=92, SegmentSequence=[described(1, MASS)])
    study = study_of(mass, *scan, two_frames())
    assert [f"{STUDY}.92.1", f"{UID}.1"] == [s.instance.sop_instance_uid for s in study.segments]
    assert {d.SOPInstanceUID for d in scan} == {i.sop_instance_uid for i in study.instances}
    assert {} == study.rejected


def test_what_was_outlined_anew_takes_the_place_of_the_old() -> None:
    """By content date and time, property type by property type; the old one says why not."""
    both = {1: LIVER, 2: MASS}
    full = np.ones(SHAPE)
    frames = [(n, at(z), full) for n in both for z in (0, 2.5)]
    old = seg(frames, both, number=93, ContentDate="20260301", ContentTime="235959")
    new = seg(frames[:2], {1: LIVER}, number=92, ContentDate="20260302", ContentTime="080000")
    for order in ((old, new), (new, old)):
        found, reasons = read_all(*order)
        assert [(f"{STUDY}.92.1", LIVER[1]), (f"{STUDY}.93.1", MASS[1])] == [
            (s.instance.sop_instance_uid, s.code) for s in found
        ]
        assert {f"{STUDY}.93": "segment 1 is told anew by a newer object"} == reasons


def test_a_newer_object_without_a_voxel_ends_what_was_outlined() -> None:
    """Whoever lists a mass and outlines none says that there is none."""
    full = np.ones(SHAPE)
    old = seg([(1, at(z), full) for z in (0, 2.5)], {1: MASS}, ContentDate="20260301")
    frames = [(1, at(z), full) for z in (0, 2.5)]
    new = seg(frames, {1: LIVER, 2: MASS}, number=92, ContentDate="20260302")
    found, reasons = read_all(old, new)
    assert [LIVER[1]] == [s.code for s in found]
    assert {UID, f"{STUDY}.92"} == set(reasons)


def test_a_segmentation_is_no_series_to_choose() -> None:
    """The audit list is about images."""
    chosen, rejected = choose([*ct(), two_frames()])
    assert (1, {}) == (len(chosen), rejected)
