"""Where images and frames lie in patient space. Source: PS3.3 C.7.6.2.1.1, C.7.6.16.2.3-4."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from mappings.dicom.attributes import numbers
from mappings.errors import NotDicom

_SAME_DIRECTION = 1e-3


def orientation(items: Sequence[Dataset]) -> NDArray[np.float64]:
    """The one (0020,0037) of all: direction of a row, then of a column.

    Raises:
        NotDicom: Absent, or not the same.
    """
    first = numbers(items[0], "ImageOrientationPatient", 6)
    if first is None:
        raise NotDicom("no image orientation")
    for item in items[1:]:
        other = numbers(item, "ImageOrientationPatient", 6)
        if other is None or float(np.abs(other - first).max()) > _SAME_DIRECTION:
            raise NotDicom("slices differ in orientation")
    return first


def superior_normal(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Across the plane, never towards the feet."""
    normal: NDArray[np.float64] = np.cross(directions[:3], directions[3:])
    return -normal if normal[2] < 0 else normal


def positions(items: Sequence[Dataset]) -> NDArray[np.float64]:
    """(n, 3) LPS millimetres of each first pixel, (0020,0032).

    Raises:
        NotDicom: Absent.
    """
    found = [numbers(item, "ImagePositionPatient", 3) for item in items]
    if any(place is None for place in found):
        raise NotDicom("no image position")
    return np.array(found, dtype=np.float64)


def pixel_spacing(item: Dataset) -> NDArray[np.float64]:
    """Millimetres from row to row and from column to column, (0028,0030).

    Raises:
        NotDicom: Absent, or not above 0.
    """
    found = numbers(item, "PixelSpacing", 2)
    if found is None or bool((found <= 0).any()):
        raise NotDicom("no pixel spacing")
    return found
