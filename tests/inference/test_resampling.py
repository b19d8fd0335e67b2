"""resampling: weights that are shares of lengths, against counting sub-samples."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from inference import resampling

lengths = st.integers(1, 12)


@given(st.integers(-20, 40), st.integers(1, 9), lengths, lengths)
def test_weights_are_what_counting_sub_samples_gives(start, size, spacing, step):
    """Lengths in whole tenths: each tenth is repeated, and averaged over the output."""
    found = resampling.span(start / 10, size, spacing / 10, step / 10)
    source = np.random.default_rng(size).normal(size=found.last - found.first)
    tenths = source.repeat(step)[start - found.first * step :][: size * spacing]
    expected = tenths.reshape(size, spacing).mean(1)
    assert np.allclose(expected, found.weights @ source, atol=1e-5)


@given(st.integers(0, 10**6), st.integers(1, 60), st.floats(0.05, 8), st.floats(0.1, 20))
def test_every_output_is_wholly_made_of_the_samples_under_it(number, size, spacing, step):
    """Also a decimetre from the corner: rows sum to 1, and no sample is read for a sliver."""
    found = resampling.span(number * spacing, size, spacing, step)
    assert np.allclose(1, found.weights.sum(1), atol=1e-4)
    assert found.last - found.first <= np.ceil(size * spacing / step + 1e-3) + 1


def test_the_same_resolution_reads_each_pixel_once():
    """Rounding of 0.2 does not bring in a neighbour."""
    for start in range(2000):
        found = resampling.span(start * 0.2, 16, 0.2, 0.2)
        assert (start, start + 16) == (found.first, found.last)
        assert np.array_equal(np.eye(16), np.rint(found.weights))


def test_rounding_makes_no_sample() -> None:
    """A billionth of a neighbour is none."""
    weights, _ = resampling.overlap(5, 0.5, 1, 2.5 + 1e-9, 1, 1)
    assert [0, 0, 1, 0, 0] == weights[0].round(6).tolist()
    assert 1 == (weights > 0).sum()


def test_an_axis_may_run_backwards():
    """As the slices of a stack from the head down: the weights are mirrored."""
    forward, _ = resampling.overlap(6, 0.5, 1, 3, 3, 2)
    backward, covered = resampling.overlap(6, 5.5, -1, 3, 3, 2)
    assert np.array_equal(forward, backward[:, ::-1])
    assert [1, 1, 1] == covered.tolist()


def test_an_output_beyond_the_source_is_covered_in_part():
    """Half of the last one, nothing behind it."""
    _, covered = resampling.overlap(3, 0.5, 1, 3, 3, 2)
    assert [1, 0.5, 0] == covered.tolist()
