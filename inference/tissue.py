"""Which pixels of a slide's overview are tissue, not glass: by Otsu's threshold of saturation.

Ink is not told from tissue: marker is as saturated, and in black pen or other nearly black pixels
saturation is noise. On a slide without tissue, tinted glass is taken for it. Folds, bubbles and
blur are not found; a pack whose model minds them says so in its contraindications.

Source: Otsu, A threshold selection method from gray-level histograms, IEEE Transactions on Systems,
Man and Cybernetics 9(1), 1979, p. 62.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
# Of 255. White-balanced glass has up to 5 % of saturation, from JPEG and dust: on a slide without
# tissue Otsu would part that noise in two. CLAM's fixed thresholds, for comparison, are 8 and 15.
LEAST_SATURATION = 13
# Rows that are floats at once: an overview may have a hundred million pixels.
_STRIP = 256


def mask(pixels: Pixels) -> NDArray[np.bool_]:
    """(rows, columns): more saturated than Otsu's threshold, and than glass ever is."""
    found = saturation(pixels)
    threshold = otsu(np.bincount(found.ravel(), minlength=256))
    return found > max(threshold, LEAST_SATURATION)


def saturation(pixels: Pixels) -> Pixels:
    """(rows, columns) of the hexcone model (HSV), 0 to 255, rounded; black has none."""
    out = np.empty(pixels.shape[:-1], np.uint8)
    for first in range(0, len(pixels), _STRIP):
        strip = pixels[first : first + _STRIP]
        most, least = strip.max(-1), strip.min(-1)
        share = (most - least) / np.maximum(most, 1).astype(np.float32)
        out[first : first + _STRIP] = np.rint(255 * share)
    return out


def otsu(histogram: NDArray[np.int64]) -> int:
    """The bin up to which the lower class goes: most variance between the classes, the first such.

    Where all is in one bin there is nothing to part: the last bin, above which there is none.
    """
    below = np.cumsum(histogram)
    moments = np.cumsum(histogram * np.arange(len(histogram)))
    above = below[-1] - below
    apart = (below > 0) & (above > 0)
    if not apart.any():
        return len(histogram) - 1
    # Differences of means from whole numbers: bins between the modes tie exactly, everywhere.
    low = moments / np.maximum(below, 1)
    high = (moments[-1] - moments) / np.maximum(above, 1)
    between = np.where(apart, below.astype(np.float64) * above * (low - high) ** 2, -1)
    return int(np.argmax(between))
