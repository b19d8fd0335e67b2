"""images: a level in memory reads as any other."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mappings.images import ArrayLevel


@given(st.integers(-9, 9), st.integers(-9, 9), st.integers(0, 9), st.integers(0, 9))
def test_a_level_in_memory_is_white_around(row: int, column: int, rows: int, columns: int) -> None:
    """Whichever window is read, it shows the pixels where they are, and white elsewhere."""
    pixels = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
    wide = np.pad(pixels, ((20, 20), (20, 20), (0, 0)), constant_values=255)
    expected = wide[20 + row : 20 + row + rows, 20 + column : 20 + column + columns]
    level = ArrayLevel(pixels=pixels, mpp=(0.5, 0.5))
    assert np.array_equal(expected, level.read(row, column, rows, columns))
    assert (5, 4) == level.shape
