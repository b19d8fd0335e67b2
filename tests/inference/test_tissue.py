"""tissue: saturation and threshold as others' programs find them, and glass that is none."""

from __future__ import annotations

import colorsys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from inference import tissue

GOLDEN = np.load(Path(__file__).parent / "golden" / "slide_steps.npz")


@pytest.mark.parametrize("name", ["reference", "other"])
def test_saturation_is_that_of_opencv(name: str) -> None:
    """To the pixel, but for halves: its table of reciprocals is good to 0.04."""
    pixels = GOLDEN[name].astype(int)
    most, least = pixels.max(-1), pixels.min(-1)
    halves = np.abs(255 * (most - least) / most % 1 - 0.5) < 0.04
    apart = tissue.saturation(GOLDEN[name]).astype(int) - GOLDEN[f"{name}_saturation"]
    assert not apart[~halves].any()
    assert np.abs(apart).max() <= 1


@given(arrays.arrays(np.uint8, st.sampled_from([(4, 3), (700, 3)])))
@example(np.zeros((1, 3), np.uint8))
def test_saturation_is_that_of_colorsys(pixels: np.ndarray) -> None:
    """Any colour, rounded to the nearest of 256."""
    expected = [colorsys.rgb_to_hsv(*(int(v) for v in one))[1] * 255 for one in pixels]
    assert np.abs(tissue.saturation(pixels) - np.array(expected)).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("name", ["reference", "other"])
def test_the_threshold_is_that_of_scikit_image(name: str) -> None:
    """And the mask what is above it."""
    expected = int(GOLDEN[f"{name}_otsu"])
    histogram = np.bincount(GOLDEN[f"{name}_saturation"].ravel(), minlength=256)
    assert expected == tissue.otsu(histogram)
    assert np.array_equal(tissue.saturation(GOLDEN[name]) > expected, tissue.mask(GOLDEN[name]))


@given(st.lists(st.integers(0, 15), min_size=1, max_size=40))
def test_the_threshold_parts_best_of_all(values: list[int]) -> None:
    """Least variance within the classes, each threshold tried; the first of equals."""
    histogram = np.bincount(values, minlength=16)
    made = tissue.otsu(histogram)
    if len(set(values)) == 1:
        assert 15 == made
        return
    data = np.array(values, float)
    within = {
        t: float(sum(c.var() * len(c) for c in (data[data <= t], data[data > t])))
        for t in range(min(values), max(values))
    }
    assert np.isclose(min(within.values()), within[made], atol=1e-9)
    assert made in values


def test_noise_of_glass_is_no_tissue() -> None:
    """Otsu's threshold parts it in two, as anything; glass is less saturated than that counts."""
    noise = np.random.default_rng(5).normal(0, 2, (64, 64, 3))
    glass = np.rint(np.array([243, 242, 244]) + noise).astype(np.uint8)
    found = tissue.saturation(glass)
    assert (found > tissue.otsu(np.bincount(found.ravel(), minlength=256))).mean() > 0.1
    assert not tissue.mask(glass).any()
