"""DICOM SEG: what somebody outlined in a study, as masks in patient space.

BINARY, FRACTIONAL (a half and more counts) and LABELMAP; the code of a segment stays as it was
sent. Which segment is asked for is the pack's business. By pydicom, frame by frame: highdicom
builds whole volumes, several times slower and in up to a gigabyte more.
Source: PS3.3 A.51, C.8.20 (segmentation), C.7.6.16 (functional groups).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from mappings.dicom.attributes import items, number, text
from mappings.dicom.pixels import frame_count, frames
from mappings.dicom.plane import (
    orientation,
    pixel_spacing,
    positions,
    superior_normal,
)
from mappings.errors import NotDicom, UnevenSpacing
from mappings.images import ROUNDING_MM, InstanceRef, Segment

STORAGES = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})
_KINDS = ("BINARY", "FRACTIONAL", "LABELMAP")
_TOLERANCE = 0.01
_MOST_SEGMENTS = 1024
_LARGEST = 1 << 30
_PLANE_AXES, _WIDEST = 2, 2

_Code = tuple[str, str]


def is_segmentation(dataset: Dataset) -> bool:
    """Segmentation Storage or Label Map Segmentation Storage."""
    return text(dataset, "SOPClassUID") in STORAGES


def segments(
    datasets: Iterable[Dataset],
    refs: Mapping[str, InstanceRef],
    frame_of_reference: str,
    codes: Collection[str] | None = None,
) -> tuple[tuple[Segment, ...], dict[str, str]]:
    """What SEG objects of one study outline: of each property type what the newest object says.

    A corrected outline is a new object, since a UID never comes to mean other pixels.

    Args:
        datasets: SEG objects with their pixels.
        refs: How the store knows them, by SOP Instance UID.
        frame_of_reference: The patient space of the volumes; empty where they have no single one.
        codes: `SCHEME|CODE` of the segments to read; every one by default.

    Returns:
        Segments by object, the newest first, and number, cropped to what they outline; and series
        UID to the reasons why objects or segments of it were not used.
    """
    made: list[Segment] = []
    reasons: dict[str, list[str]] = defaultdict(list)
    said: set[_Code] = set()
    for dataset in sorted(datasets, key=_created, reverse=True):
        unused = reasons[text(dataset, "SeriesInstanceUID")]
        try:
            _same_space(dataset, frame_of_reference)
            described = _described(dataset, codes, unused)
            instance = refs.get(text(dataset, "SOPInstanceUID"))
            if instance is None:
                raise NotDicom("not an instance of the store")
            unused += [
                f"segment {n} is told anew by a newer object"
                for n, code in described.items()
                if code in said
            ]
            newest = {n: code for n, code in described.items() if code not in said}
            made += _segments(dataset, instance, newest, unused)
            # One without a voxel counts, too: there is no such thing any more.
            said |= set(newest.values())
        except (NotDicom, UnevenSpacing) as error:
            unused.append(error.reason)
    return tuple(made), {uid: "; ".join(why) for uid, why in reasons.items() if why}


def _created(dataset: Dataset) -> tuple[str, str]:
    """(0008,0023) and (0008,0033), of type 1 in a multi-frame object; equal ones by their UID."""
    moment = text(dataset, "ContentDate") + text(dataset, "ContentTime")
    return moment, text(dataset, "SOPInstanceUID")


def _same_space(dataset: Dataset, frame_of_reference: str) -> None:
    if not frame_of_reference:
        raise NotDicom("the phases have no frame of reference in common")
    if text(dataset, "FrameOfReferenceUID") != frame_of_reference:
        raise NotDicom("another frame of reference than the phases")


def _described(
    dataset: Dataset, codes: Collection[str] | None, unused: list[str]
) -> dict[int, _Code]:
    """Code by segment number, of the segments that are asked for."""
    listed = items(dataset, "SegmentSequence")
    if not listed:
        raise NotDicom("no SegmentSequence")
    if len(listed) > _MOST_SEGMENTS:
        raise NotDicom(f"more than {_MOST_SEGMENTS} segments")
    background = number(dataset, "PixelPaddingValue") if _kind(dataset) == "LABELMAP" else None
    numbered: dict[int, Dataset] = {}
    for item in listed:
        given = number(item, "SegmentNumber")
        if given is None or int(given) in numbered:
            raise NotDicom("segments are not numbered one by one")
        if given != background:
            numbered[int(given)] = item
    found: dict[int, _Code] = {}
    for name, item in numbered.items():
        code = _property_type(item)
        if code is None:
            unused.append(f"segment {name} has no property type code")
        elif codes is None or "|".join(code) in codes:
            found[name] = code
    return found


def _property_type(segment: Dataset) -> _Code | None:
    """(0062,000F) as it was sent: SRT and SNM3 codes are not made SCT's."""
    for item in items(segment, "SegmentedPropertyTypeCodeSequence"):
        scheme = text(item, "CodingSchemeDesignator")
        code = text(item, "CodeValue") or text(item, "LongCodeValue")
        if scheme and code:
            return scheme, code
    return None


def _kind(dataset: Dataset) -> str:
    found = text(dataset, "SegmentationType").upper()
    if found not in _KINDS:
        raise NotDicom("neither BINARY, FRACTIONAL nor LABELMAP")
    return found


def _segments(
    dataset: Dataset, instance: InstanceRef, described: Mapping[int, _Code], unused: list[str]
) -> list[Segment]:
    if not described:
        return []
    grid = _grid(dataset)
    outlines = _outlines(dataset, grid, described)
    made = []
    for name, (scheme, code) in sorted(described.items()):
        if name not in outlines:
            unused.append(f"segment {name} is empty")
            continue
        outline = outlines[name]
        affine = grid.affine.copy()
        affine[:, 3] = grid.affine @ [*outline.low, 1.0]
        mask = outline.mask()
        made.append(Segment(scheme=scheme, code=code, mask=mask, affine=affine, instance=instance))
    return made


@dataclass(frozen=True, slots=True)
class _Grid:
    """Where the frames of one object lie.

    Attributes:
        affine: 4x4, voxel index (z, y, x, 1) to LPS millimetres, patient-superior last.
        planes: The z of each frame, in the order of the frames.
        groups: Functional groups of each frame, by the name of their sequence.
    """

    affine: NDArray[np.float64]
    planes: NDArray[np.intp]
    groups: tuple[_Groups, ...]


class _Groups:
    """Functional groups of one frame; what is said of all frames is said of it."""

    __slots__ = ("_own", "_shared")

    def __init__(self, own: Dataset, shared: Dataset) -> None:
        self._own, self._shared = own, shared

    def __getitem__(self, keyword: str) -> Dataset:
        found = items(self._own, keyword) or items(self._shared, keyword)
        return found[0] if found else Dataset()


@np.errstate(all="ignore")  # positions outside of any room overflow, and fit no plane
def _grid(dataset: Dataset) -> _Grid:
    shared = next(iter(items(dataset, "SharedFunctionalGroupsSequence")), Dataset())
    own = items(dataset, "PerFrameFunctionalGroupsSequence")
    if len(own) != frame_count(dataset):
        raise NotDicom("not as many functional groups as frames")
    groups = tuple(_Groups(frame, shared) for frame in own)
    directions = orientation([g["PlaneOrientationSequence"] for g in groups])
    places = positions([g["PlanePositionSequence"] for g in groups])
    measures = [g["PixelMeasuresSequence"] for g in groups]
    spacings = np.array([pixel_spacing(item) for item in measures])
    if float(np.ptp(spacings, axis=0).max()) > ROUNDING_MM:
        raise NotDicom("frames differ in pixel spacing")
    normal = superior_normal(directions)
    if abs(float(np.linalg.norm(normal)) - 1) > _TOLERANCE:
        raise NotDicom("no image orientation")
    order = np.argsort(places @ normal, kind="stable")
    across, ranks = _stack(places[order], normal, measures[0], text(dataset, "SeriesInstanceUID"))
    planes = np.empty(len(order), dtype=np.intp)
    planes[order] = ranks
    affine = np.eye(4)
    affine[:3, 0] = across
    affine[:3, 1] = directions[3:] * spacings[0][0]
    affine[:3, 2] = directions[:3] * spacings[0][1]
    affine[:3, 3] = places[order[0]]
    return _Grid(affine, planes, groups)


def _stack(
    places: NDArray[np.float64], normal: NDArray[np.float64], measures: Dataset, series: str
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """The way from plane to plane, and the plane of each frame; places are in order.

    Frames may be missing, since writers leave out empty ones. The gap is the one declared where it
    fits, else the smallest one found.
    """
    heights = places @ normal
    gaps = np.diff(heights)
    apart = gaps[gaps > ROUNDING_MM]
    declared = number(measures, "SpacingBetweenSlices")
    if not len(apart):
        declared = declared or number(measures, "SliceThickness")
    steps = [
        s for s in (declared, *apart[apart.argsort()[:1]]) if s is not None and s > ROUNDING_MM
    ]
    if not steps:
        raise NotDicom("a single plane, and no slice spacing or thickness")
    for step in steps:
        tolerance = max(_TOLERANCE * step, ROUNDING_MM)
        ranks = np.concatenate([[0], np.rint(gaps / step).cumsum()]).astype(np.intp)
        across = (places[-1] - places[0]) / ranks[-1] if ranks[-1] else normal * step
        wrong = np.linalg.norm(places - places[0] - np.outer(ranks, across), axis=1).max()
        if wrong <= tolerance and abs(float(across @ normal) - step) <= tolerance:
            return across, ranks
    raise UnevenSpacing(series, "frames do not lie on evenly spaced planes")


class _Outline:
    """What one segment covers, gathered plane by plane.

    Attributes:
        low, high: Of its box in voxels of the grid (z, y, x); high is one beyond.
    """

    def __init__(self) -> None:
        self._patches: dict[int, tuple[int, int, NDArray[np.bool_]]] = {}
        self.low: tuple[int, ...] = (1 << 62,) * 3
        self.high: tuple[int, ...] = (0,) * 3

    def add(self, plane: int, frame: NDArray[np.bool_]) -> None:
        """Take what a frame outlines.

        Raises:
            NotDicom: There is one of this plane.
        """
        rows, columns = (np.flatnonzero(frame.any(axis=axis)) for axis in (1, 0))
        if plane in self._patches:
            raise NotDicom("two frames of a segment share a position")
        low = (plane, int(rows[0]), int(columns[0]))
        high = (plane + 1, int(rows[-1]) + 1, int(columns[-1]) + 1)
        self._patches[plane] = low[1], low[2], frame[low[1] : high[1], low[2] : high[2]].copy()
        self.low = tuple(map(min, self.low, low))
        self.high = tuple(map(max, self.high, high))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of its box."""
        return tuple(max(b - a, 0) for a, b in zip(self.low, self.high, strict=True))

    def mask(self) -> NDArray[np.bool_]:
        """Its box, filled in."""
        made = np.zeros(self.shape, dtype=np.bool_)
        for plane, (row, column, patch) in self._patches.items():
            y, x = row - self.low[1], column - self.low[2]
            made[plane - self.low[0], y : y + patch.shape[0], x : x + patch.shape[1]] = patch
        return made


def _outlines(dataset: Dataset, grid: _Grid, wanted: Collection[int]) -> dict[int, _Outline]:
    """Outlines by segment number, of those that are not empty."""
    found: dict[int, _Outline] = defaultdict(_Outline)
    sizes: dict[int, int] = {}
    read = _READERS[_kind(dataset)]
    for plane, groups, frame in zip(grid.planes, grid.groups, frames(dataset), strict=True):
        if frame.ndim != _PLANE_AXES or frame.dtype.kind != "u" or frame.itemsize > _WIDEST:
            raise NotDicom("frames are no unsigned grey images of 16 bits and fewer")
        for name, mask in read(dataset, groups, frame):
            if name not in wanted or not mask.any():
                continue
            found[name].add(int(plane), mask)
            sizes[name] = int(np.prod(found[name].shape))
            if sum(sizes.values()) > _LARGEST:
                raise NotDicom("segments larger than 1 GiB")
    return found


def _binary(
    _: Dataset, groups: _Groups, frame: NDArray[Any]
) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    yield _number(groups), frame != 0


def _fractional(
    dataset: Dataset, groups: _Groups, frame: NDArray[Any]
) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    most = number(dataset, "MaximumFractionalValue")
    if most is None or most <= 0:
        raise NotDicom("no MaximumFractionalValue")
    yield _number(groups), frame >= most / 2


def _labelled(
    _: Dataset, __: _Groups, frame: NDArray[Any]
) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    for name in np.flatnonzero(np.bincount(frame.ravel())):
        yield int(name), frame == name


_READERS = {"BINARY": _binary, "FRACTIONAL": _fractional, "LABELMAP": _labelled}


def _number(groups: _Groups) -> int:
    found = number(groups["SegmentIdentificationSequence"], "ReferencedSegmentNumber")
    if found is None:
        raise NotDicom("a frame that names no segment")
    return int(found)
