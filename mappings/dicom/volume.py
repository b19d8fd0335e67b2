"""CT instances as a volume in Hounsfield units.

Which instances belong together is `series_choice`'s; resampling is `inference.tensors`'.
Source: PS3.3 C.7.6.2.1.1 (plane), C.7.6.3 (pixels), C.11.1 (modality LUT); reliability.md A3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from mappings.dicom.attributes import number, text
from mappings.dicom.pixels import image, size
from mappings.dicom.plane import (
    orientation,
    pixel_spacing,
    positions,
    superior_normal,
)
from mappings.errors import NotDicom, UnevenSpacing
from mappings.images import ROUNDING_MM, Volume

AIR_HU = -1000.0
_TOLERANCE = 0.01
_LARGEST_VOLUME = 4 << 30


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
    directions, spacing = orientation(instances), pixel_spacing(first)
    normal = superior_normal(directions)
    places = positions(instances)
    order = np.argsort(places @ normal, kind="stable")
    ordered = [instances[i] for i in order]
    places = places[order]
    step = _step(places @ normal, text(first, "SeriesInstanceUID"))
    affine = np.eye(4)
    affine[:3, 0] = (places[-1] - places[0]) / max(len(ordered) - 1, 1)
    if len(ordered) == 1:
        affine[:3, 0] = normal * step
    affine[:3, 1] = directions[3:] * spacing[0]
    affine[:3, 2] = directions[:3] * spacing[1]
    affine[:3, 3] = places[0]
    return Volume(
        voxels=_voxels(ordered),
        spacing_mm=(step, float(spacing[0]), float(spacing[1])),
        affine=affine,
    )


def _step(heights: NDArray[np.float64], series: str) -> float:
    """The gap between slices in mm; 1 mm for a single slice."""
    if len(heights) < 2:  # noqa: PLR2004  one slice has no gap
        return 1.0
    gaps = np.diff(heights)
    median = float(np.median(gaps))
    if float(gaps.min()) <= ROUNDING_MM:
        raise UnevenSpacing(series, "two slices share a position")
    if float(np.abs(gaps - median).max()) > max(_TOLERANCE * median, ROUNDING_MM):
        raise UnevenSpacing(series, "slice gaps differ by more than 1 % of the median")
    return median


def _voxels(ordered: Sequence[Dataset]) -> NDArray[np.float32]:
    height, width = (size(ordered[0], name) for name in ("Rows", "Columns"))
    if height * width * len(ordered) * 4 > _LARGEST_VOLUME:
        raise NotDicom("volume larger than 4 GiB")
    voxels = np.empty((len(ordered), height, width), dtype=np.float32)
    for index, dataset in enumerate(ordered):
        pixels = image(dataset)
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
