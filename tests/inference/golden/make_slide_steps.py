"""Makes slide_steps.npz: what other people's code says of a drawn H&E image.

Not run by the tests, and none of its packages is needed by them. See README.md beside it.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.filters import threshold_otsu
from torchstain.numpy.normalizers.macenko import NumpyMacenkoNormalizer

EDGE = 96
# (hematoxylin, eosin) optical density of R, G, B: a bluish and a pinkish laboratory.
REFERENCE = np.array([[0.65, 0.70, 0.29], [0.27, 0.90, 0.34]])
OTHER = np.array([[0.55, 0.76, 0.35], [0.12, 0.95, 0.28]])


def concentrations() -> np.ndarray:
    """(EDGE, EDGE, 2) hematoxylin in nuclei, eosin in a disc of tissue; glass around it."""
    rng = np.random.default_rng(20261121)
    fine, coarse = (gaussian_filter(rng.normal(size=(EDGE, EDGE)), s) for s in (1.5, 6))
    y, x = np.mgrid[:EDGE, :EDGE] - EDGE / 2
    disc = np.hypot(y, x) < 0.44 * EDGE
    nuclei = np.clip(fine / fine.std() - 0.3, 0, 2)
    stroma = np.clip(0.55 + 0.2 * coarse / coarse.std(), 0.1, None)
    return np.dstack([0.15 + 0.7 * nuclei, stroma]) * disc[..., None]


def drawn(amounts: np.ndarray, vectors: np.ndarray, seed: int) -> np.ndarray:
    """8-bit sRGB by Beer and Lambert, with a camera's noise."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    light = 242 * np.exp(-amounts @ unit)
    noise = np.random.default_rng(seed).normal(0, 1.5, light.shape)
    return np.clip(np.rint(light + noise), 0, 255).astype(np.uint8)


def main() -> None:
    """Write the file and print what it was made with."""
    amounts = concentrations()
    reference = drawn(amounts, REFERENCE, 1)
    other = drawn(amounts * [0.8, 1.3], OTHER, 2)
    saturation, saturation_of_other = (
        cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[..., 1] for image in (reference, other)
    )
    macenko = NumpyMacenkoNormalizer()
    macenko.fit(other)
    other_vectors, other_maxima = macenko.HERef.T, macenko.maxCRef
    macenko.fit(reference)
    normalised, _, _ = macenko.normalize(other, stains=False)
    np.savez_compressed(
        Path(__file__).with_name("slide_steps.npz"),
        reference=reference,
        other=other,
        reference_saturation=saturation,
        reference_otsu=threshold_otsu(saturation),
        other_saturation=saturation_of_other,
        other_otsu=threshold_otsu(saturation_of_other),
        area=cv2.resize(reference.astype(np.float32), (30, 36), interpolation=cv2.INTER_AREA),
        reference_vectors=macenko.HERef.T,
        reference_maxima=macenko.maxCRef,
        other_vectors=other_vectors,
        other_maxima=other_maxima,
        normalised=normalised,
    )
    for package in ("numpy", "scipy", "opencv-python-headless", "scikit-image", "torchstain"):
        print(package, version(package))


if __name__ == "__main__":
    main()
