"""Random numbers by counter: the published ones, and the same alone or among others."""

from __future__ import annotations

import numpy as np
import pytest

from inference.training.cohorts import counter


def words(*values: int) -> tuple[np.ndarray, ...]:
    return tuple(np.array([v], np.uint64) for v in values)


@pytest.mark.parametrize(
    ("count", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        (
            (0xFFFFFFFF,) * 4,
            (0xFFFFFFFF,) * 2,
            (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
        ),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_published_words(count, key, expected):
    """Known answers of Random123 (kat_vectors, philox4x32-10)."""
    assert expected == tuple(int(w[0]) for w in counter.philox(words(*count), key))


def test_a_patient_gets_the_same_numbers_alone_or_among_others():
    """Order and company do not matter; seed, index and stream do."""
    many = counter.normals(3, np.array([7, 5, 9]), "a", 5)
    assert np.array_equal(many[1], counter.normals(3, np.array([5]), "a", 5)[0])
    others = [
        counter.normals(4, np.array([5]), "a", 5)[0],
        counter.normals(3, np.array([5]), "b", 5)[0],
        counter.normals(3, np.array([5 + 2**32]), "a", 5)[0],
    ]
    assert not any(np.isclose(many[1], other).any() for other in others)


def test_the_numbers_are_uniform_and_normal():
    """Moments, and no neighbour knows the next."""
    u = counter.uniforms(1, np.arange(20_000), "u", 4)
    z = counter.normals(1, np.arange(20_000), "z", 3)
    assert 0 < u.min() < 1e-4
    assert 1 - 1e-4 < u.max() < 1
    assert pytest.approx(0.5, abs=0.006) == u.mean()
    assert pytest.approx(1 / 12, abs=0.002) == u.var()
    assert pytest.approx(0, abs=0.015) == z.mean()
    assert pytest.approx(3, abs=0.1) == (z**4).mean()
    assert np.abs(np.corrcoef(np.concatenate([u, z], 1).T) - np.eye(7)).max() < 0.03
    assert np.abs(np.corrcoef(z[:-1, 0], z[1:, 0])[0, 1]) < 0.03
