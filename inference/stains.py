"""Stain normalisation after Macenko: a slide's two stains, and tiles as a reference shows them.

Which pixels are tissue, and at which resolution, is decided in `inference.slides`.

Source: Macenko et al., A method for normalizing histology slides for quantitative analysis,
ISBI 2009, p. 1107, with the conventions of the implementations in common use (mitkovetta's
staining-normalization, torchstain, HEnorm_python), because published reference stains and models
were made with them: optical density is the natural -ln((I + 1) / 240) of 8-bit sRGB, pixels
below 0.15 in any channel are glass, the stains are the 1st and 99th percentiles of the angle,
concentrations are compared by their 99th percentile, and 240 exp(-OD) leads back (without the 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.errors import UnusableSlide

Float = NDArray[np.float32]
# The light that passes where nothing is stained, of 255 (Io).
_LIGHT = 240.0
# Least optical density of a stained pixel, in each channel (beta).
_STAINED = 0.15
# Percentile of the angle that stands for a pure stain (alpha), and of the strongest staining.
_PURE = 1.0
_STRONG = 99.0
# 1 % of them must be a handful of pixels, or a speck of dust becomes the stain.
_LEAST_PIXELS = 500
# On drawn slides, averaged to 8 micrometres, noise and JPEG spread a single stain over 3 degrees,
# hematoxylin and eosin over 17. At 5, unmixing multiplies the noise by 11.
_LEAST_ANGLE = float(np.sin(np.deg2rad(5)))
# Of the first eigenvalue: below, the second direction is rounding.
_LEAST_SECOND = 1e-6


@dataclass(frozen=True, slots=True)
class Stains:
    """The two stains of a slide.

    Attributes:
        vectors: (2, 3) optical density in R, G, B, unit length; the one with more red first, which
            is hematoxylin beside eosin or DAB.
        maxima: (2,) 99th percentile of each one's concentration.
    """

    vectors: NDArray[np.float64]
    maxima: NDArray[np.float64]


def fit(part: str, pixels: NDArray[np.uint8]) -> Stains:
    """The stains of a slide's tissue; the same for the same pixels, nothing is drawn by chance.

    A reference is fitted in the same way, at the same resolution: averaging over several
    micrometres thins the strongest staining, so maxima of another resolution do not compare.

    Args:
        part: Of the pack's images, for the error.
        pixels: (n, 3) sRGB of tissue.

    Raises:
        UnusableSlide: too few stained pixels, or no two stains to be told apart.
    """
    density = _density(pixels.astype(np.float64))
    stained = density[(density >= _STAINED).all(1)]
    if len(stained) < _LEAST_PIXELS:
        raise UnusableSlide(
            part, f"{len(stained)} stained pixels of tissue, {_LEAST_PIXELS} needed to fit stains"
        )
    vectors = _vectors(part, stained)
    maxima = np.percentile(density @ np.linalg.pinv(vectors), _STRONG, axis=0)
    if not (maxima > 0).all():
        raise UnusableSlide(part, "a stain has no concentration above 0")
    return Stains(vectors, maxima)


def _density(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    return -np.log((pixels + 1) / _LIGHT)


def _vectors(part: str, stained: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, 3): the extreme directions in the plane of most variance."""
    values, directions = np.linalg.eigh(np.cov(stained.T))
    if values[1] <= _LEAST_SECOND * values[2]:
        raise UnusableSlide(part, "stained pixels vary along one direction only")
    plane = directions[:, 1:]
    # The sign of an eigenvector is arbitrary. Towards the mean, angles stay clear of the jump at
    # 180 degrees, and are the same on every machine.
    plane = plane * np.where(stained.mean(0) @ plane < 0, -1, 1)
    across, along = (stained @ plane).T
    angles = np.percentile(np.arctan2(along, across), [_PURE, 100 - _PURE])
    found: NDArray[np.float64] = np.column_stack([np.cos(angles), np.sin(angles)]) @ plane.T
    if np.linalg.norm(np.cross(*found)) < _LEAST_ANGLE:
        raise UnusableSlide(part, "stained pixels have one colour: no two stains to be told apart")
    return found[np.argsort(-found[:, 0], kind="stable")]


def mixing(fitted: Stains, reference: Stains) -> Float:
    """(3, 3) optical density of a slide to that of the reference.

    Unmixing, scaling of both concentrations to the reference's maxima and mixing are linear, so
    that one product does the three.
    """
    unmix = np.linalg.pinv(fitted.vectors)
    scaled = unmix * (reference.maxima / fitted.maxima)
    return (scaled @ reference.vectors).astype(np.float32)


def normalise(mixed: Float, pixels: Float) -> Float:
    """Pixels as the reference would show them.

    Args:
        mixed: (3, 3) of `mixing`.
        pixels: (3, ...) sRGB, 0 to 255.

    Returns:
        The same shape and range.
    """
    flat = pixels.reshape(3, -1)
    density = -np.log((flat + 1) / np.float32(_LIGHT))
    made: Float = np.clip(np.float32(_LIGHT) * np.exp(-(mixed.T @ density)), 0, 255)
    return made.reshape(pixels.shape)
