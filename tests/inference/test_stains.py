"""stains: Macenko's method against torchstain's arrays, and slides it must not guess on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inference import stains
from inference.errors import UnusableSlide
from inference.stains import Stains

GOLDEN = np.load(Path(__file__).parent / "golden" / "slide_steps.npz")
HEMATOXYLIN, EOSIN = GOLDEN["reference_vectors"]


def golden(name: str) -> Stains:
    """What torchstain fits."""
    return Stains(GOLDEN[f"{name}_vectors"], GOLDEN[f"{name}_maxima"])


def fitted(name: str) -> Stains:
    """What we fit."""
    return stains.fit("he", GOLDEN[name].reshape(-1, 3))


def stained(*amounts: np.ndarray) -> np.ndarray:
    """(n, 3) pixels of hematoxylin and eosin, without any noise but rounding."""
    density = sum(a[:, None] * v for a, v in zip(amounts, (HEMATOXYLIN, EOSIN), strict=False))
    return np.clip(np.rint(240 * np.exp(-density) - 1), 0, 255).astype(np.uint8)


# 600 pixels of two stains in 70,000 that are merely pink.
PALE = np.concatenate(
    [
        stained(np.linspace(0.3, 1.5, 600), np.tile([0.1, 0.9, 0.5], 200)),
        np.full((70_000, 3), (255, 235, 235), np.uint8),
    ]
)


@pytest.mark.parametrize("name", ["reference", "other"])
def test_stains_are_those_of_torchstain(name: str) -> None:
    """Vectors, their order, and the 99th percentiles."""
    made, expected = fitted(name), golden(name)
    assert np.allclose(expected.vectors, made.vectors, rtol=0, atol=1e-9)
    assert np.allclose(expected.maxima, made.maxima, rtol=1e-9)


def test_a_normalised_image_is_that_of_torchstain() -> None:
    """Which rounds down to 8 bits; ours stays as it is."""
    mixed = stains.mixing(fitted("other"), fitted("reference"))
    planes = GOLDEN["other"].transpose(2, 0, 1).astype(np.float32)
    made = stains.normalise(mixed, planes).transpose(1, 2, 0)
    beyond = made - GOLDEN["normalised"]
    assert beyond.min() > -1e-3
    assert beyond.max() < 1 + 1e-3


def test_a_slide_as_its_own_reference_stays_as_it_is() -> None:
    """But for the 1 that the method adds on the way in only, and what is no mix of two stains."""
    own = fitted("reference")
    planes = GOLDEN["reference"].transpose(2, 0, 1).astype(np.float32)
    made = stains.normalise(stains.mixing(own, own), planes)
    assert np.abs(made - planes).mean() < 2


def test_hematoxylin_comes_first_and_mixing_undoes_what_was_mixed() -> None:
    """Vectors that were put in come out; the pure ends are 1 % of the pixels each."""
    rng = np.random.default_rng(3)
    share = np.concatenate([np.zeros(800), np.ones(800), rng.uniform(0, 1, 20_000)])
    amount = rng.uniform(0.6, 1.5, len(share))
    amounts = amount * share, amount * (1 - share)
    found = stains.fit("he", stained(*amounts))
    assert found.vectors[0, 0] > found.vectors[1, 0]
    angles = np.degrees(np.arccos(np.clip((found.vectors * [HEMATOXYLIN, EOSIN]).sum(1), -1, 1)))
    assert angles.max() < 1
    assert np.allclose(np.percentile(amounts, 99, axis=1), found.maxima, rtol=0.02)


def test_the_order_of_the_pixels_does_not_matter() -> None:
    """Nothing is drawn by chance, and eigenvectors of either sign give the same stains."""
    pixels = GOLDEN["other"].reshape(-1, 3)
    shuffled = np.random.default_rng(0).permutation(pixels)
    one, other = stains.fit("he", pixels), stains.fit("he", shuffled)
    assert np.allclose(one.vectors, other.vectors, atol=1e-9)
    assert np.allclose(one.maxima, other.maxima, atol=1e-9)


@pytest.mark.parametrize("signs", [(1, 1, 1), (1, -1, 1), (1, 1, -1), (1, -1, -1)])
def test_the_sign_of_an_eigenvector_does_not_matter(
    monkeypatch: pytest.MonkeyPatch, signs: tuple[int, ...]
) -> None:
    """Builds of LAPACK differ; here most of the variance is from one stain to the other."""
    rng = np.random.default_rng(7)
    share, amount = rng.uniform(0, 1, 20_000), rng.uniform(0.95, 1.05, 20_000)
    pixels = stained(amount * share, amount * (1 - share))
    solve = np.linalg.eigh
    monkeypatch.setattr(np.linalg, "eigh", lambda a: (solve(a)[0], solve(a)[1] * signs))
    found = stains.fit("he", pixels).vectors
    assert np.all((found * [HEMATOXYLIN, EOSIN]).sum(1) > np.cos(np.deg2rad(2)))


def test_light_stays_within_what_can_be_shown() -> None:
    """White and black pixels, too."""
    mixed = stains.mixing(golden("other"), golden("reference"))
    ends = np.array([[0, 255], [0, 255], [0, 255]], np.float32)
    made = stains.normalise(mixed, ends)
    assert made.min() >= 0
    assert made.max() <= 255
    assert made[:, 1].min() > 240


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.full((5000, 3), 244, np.uint8), "0 stained pixels of tissue, 500 needed"),
        (stained(np.full(499, 1.0), np.linspace(0.2, 1, 499)), "499 stained pixels"),
        (np.full((5000, 3), (150, 80, 160), np.uint8), "vary along one direction only"),
        (stained(np.linspace(0.4, 2, 5000)), "no two stains to be told apart"),
        (PALE, "no concentration above 0"),
    ],
    ids=["glass", "a speck", "one colour", "one stain", "next to nothing stained"],
)
def test_what_cannot_be_fitted_is_refused(pixels: np.ndarray, reason: str) -> None:
    """Rather than normalised by noise."""
    with pytest.raises(UnusableSlide, match=reason) as refused:
        stains.fit("he", pixels)
    assert "he" == refused.value.part
