"""CT instances as a volume in Hounsfield units, and the digest of an instance's pixels.

Which instances belong together is `series_choice`'s; resampling is `inference.tensors`'.
Source: PS3.3 C.7.6.2.1.1 (plane), C.7.6.3 (pixels), C.11.1 (modality LUT); reliability.md A3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.utils import pixel_array

from mappings.dicom.attributes import number, numbers, raw, text
from mappings.errors import NotDicom, UnevenSpacing
from mappings.images import Volume

AIR_HU = -1000.0
_TOLERANCE = 0.01
_ROUNDING_MM = 2e-3
_LARGEST_INSTANCE = 1 << 30
_LARGEST_VOLUME = 4 << 30
_HIGHEST_RATIO = 100


def volume(instances: Sequence[Dataset]) -> Volume:
    """Stack one CT series into a volume, patient-superior last.

    Args:
        instances: Image instances of one series, any order.

    Returns:
        voxels (D, H, W) float32 in HU, padding as air; spacing_mm (z, y, x); affine to LPS.

    Raises:
        UnevenSpacing: Slice gaps differ by more than 1 % of the median.
        NotDicom: Geometry or pixels are missing, differ between slices or cannot be decoded.

    Source: DICOM PS3.3 C.7.6.2.1.1, C.11.1.
    """
    if not instances:
        raise NotDicom("no instances for a volume")
    first = instances[0]
    orientation = _one_orientation(instances)
    spacing = numbers(first, "PixelSpacing", 2)
    if spacing is None or bool((spacing <= 0).any()):
        raise NotDicom("no pixel spacing")
    normal = np.cross(orientation[:3], orientation[3:])
    if normal[2] < 0:
        normal = -normal
    positions = np.array([_position(d) for d in instances])
    order = np.argsort(positions @ normal, kind="stable")
    ordered = [instances[i] for i in order]
    positions = positions[order]
    step = _step(positions @ normal, text(first, "SeriesInstanceUID"))
    affine = np.eye(4)
    affine[:3, 0] = (positions[-1] - positions[0]) / max(len(ordered) - 1, 1)
    if len(ordered) == 1:
        affine[:3, 0] = normal * step
    affine[:3, 1] = orientation[3:] * spacing[0]
    affine[:3, 2] = orientation[:3] * spacing[1]
    affine[:3, 3] = positions[0]
    return Volume(
        voxels=_voxels(ordered),
        spacing_mm=(step, float(spacing[0]), float(spacing[1])),
        affine=affine,
    )


def pixel_digest(dataset: Dataset) -> str:
    """SHA-256 in hex of shape, type and decoded pixels: equal when only tags were edited.

    Lossless recompression keeps it.

    Raises:
        NotDicom: No pixels, too many, or no decoder for them.
    """
    found = _pixels(dataset)
    little = found.astype(found.dtype.newbyteorder("<"), copy=False)
    shape = "x".join(str(size) for size in little.shape)
    digest = hashlib.sha256(f"{shape}:{little.dtype.str}:".encode())
    digest.update(np.ascontiguousarray(little).data)
    return digest.hexdigest()


def _one_orientation(instances: Sequence[Dataset]) -> NDArray[np.float64]:
    first = numbers(instances[0], "ImageOrientationPatient", 6)
    if first is None:
        raise NotDicom("no image orientation")
    for dataset in instances[1:]:
        other = numbers(dataset, "ImageOrientationPatient", 6)
        if other is None or float(np.abs(other - first).max()) > 1e-3:  # noqa: PLR2004
            raise NotDicom("slices differ in orientation")
    return first


def _position(dataset: Dataset) -> NDArray[np.float64]:
    found = numbers(dataset, "ImagePositionPatient", 3)
    if found is None:
        raise NotDicom("no image position")
    return found


def _step(heights: NDArray[np.float64], series: str) -> float:
    """The gap between slices in mm; 1 mm for a single slice."""
    if len(heights) < 2:  # noqa: PLR2004  one slice has no gap
        return 1.0
    gaps = np.diff(heights)
    median = float(np.median(gaps))
    if float(gaps.min()) <= _ROUNDING_MM:
        raise UnevenSpacing(series, "two slices share a position")
    if float(np.abs(gaps - median).max()) > max(_TOLERANCE * median, _ROUNDING_MM):
        raise UnevenSpacing(series, "slice gaps differ by more than 1 % of the median")
    return median


def _voxels(ordered: Sequence[Dataset]) -> NDArray[np.float32]:
    height, width = (_size(ordered[0], name) for name in ("Rows", "Columns"))
    if height * width * len(ordered) * 4 > _LARGEST_VOLUME:
        raise NotDicom("volume larger than 4 GiB")
    voxels = np.empty((len(ordered), height, width), dtype=np.float32)
    for index, dataset in enumerate(ordered):
        pixels = _pixels(dataset)
        if pixels.shape != (height, width):
            raise NotDicom("slices differ in size, or are not single grey frames")
        slope, intercept = number(dataset, "RescaleSlope"), number(dataset, "RescaleIntercept")
        plane = voxels[index]
        plane[...] = pixels
        if slope not in (None, 1.0):
            plane *= np.float32(slope)
        if intercept:
            plane += np.float32(intercept)
        padding = _padding(dataset, pixels)
        if padding is not None:
            plane[padding] = AIR_HU
    return voxels


def _padding(dataset: Dataset, pixels: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Where pixels are padding, (0028,0120) up to (0028,0121), or None."""
    low = number(dataset, "PixelPaddingValue")
    if low is None:
        return None
    limit = number(dataset, "PixelPaddingRangeLimit")
    if limit is None:
        return np.asarray(pixels == low)
    low, high = min(low, limit), max(low, limit)
    return np.asarray((pixels >= low) & (pixels <= high))


def _size(dataset: Dataset, keyword: str) -> int:
    found = raw(dataset, keyword)
    if not isinstance(found, int) or found <= 0:
        raise NotDicom(f"no {keyword}")
    return found


def _pixels(dataset: Dataset) -> NDArray[Any]:
    """Decoded pixels, after the size they claim was found bearable."""
    packed = raw(dataset, "PixelData")
    if not isinstance(packed, bytes) or not packed:
        raise NotDicom("no pixel data")
    frames = int(number(dataset, "NumberOfFrames") or 1)
    samples = int(number(dataset, "SamplesPerPixel") or 1)
    bits = int(number(dataset, "BitsAllocated") or 16)
    claimed = _size(dataset, "Rows") * _size(dataset, "Columns") * frames * samples * bits // 8
    if claimed > _LARGEST_INSTANCE or claimed > len(packed) * _HIGHEST_RATIO:
        raise NotDicom("pixel data claims more than it can hold")
    try:
        # Not `dataset.pixel_array`: that keeps a second copy of every slice alive.
        found: NDArray[Any] = pixel_array(dataset)
    except Exception as error:  # third-party parser of untrusted bytes
        raise NotDicom(f"pixels cannot be decoded ({type(error).__name__})") from error
    return found
