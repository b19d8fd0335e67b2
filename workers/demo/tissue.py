"""Synthetic tissue under the microscope: a grid of tile classes drawn in any of the stains.

Colour is that of light through dye (Beer-Lambert): haematoxylin, eosin and DAB in amounts that
follow nuclei, fibres, epithelium and markers. All stains of one call show one tissue, as
consecutive sections do. Cohort generators may draw their own; DICOM is written in `slide`.
Source: Ruifrok and Johnston 2001 (optical density of the dyes); models.md 4.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from workers.demo.subject import CannotSend

Float = NDArray[np.float32]

HAEMATOXYLIN = np.array([0.644, 0.717, 0.267], np.float32)
EOSIN = np.array([0.093, 0.954, 0.283], np.float32)
DAB = np.array([0.268, 0.570, 0.776], np.float32)
GLASS = 244.0
TILE_PX = 256
# Where DAB sits, and in which share of the cells that carry it in a positive tile.
_WHERE = {
    "Pan-CK": ("cytoplasm", 1.0),
    "HER2": ("membrane", 0.85),
    "ER": ("nucleus", 0.8),
    "PR": ("nucleus", 0.7),
    "Ki-67": ("nucleus", 0.45),
    "CD3": ("lymphocyte", 1.0),
    "CD20": ("lymphocyte", 1.0),
}
MARKERS = tuple(_WHERE)
_CELL_PX, _LYMPHOCYTE_PX = 26, 19
_LUMEN_PX, _EPITHELIUM_PX = 58, 100


class Tissue(IntEnum):
    """What one tile of the grid holds."""

    BACKGROUND = 0
    STROMA = 1
    NEST = 2  # a solid nest of tumour
    GLAND = 3  # epithelium around a lumen, in stroma


_EPITHELIUM, _LUMEN = 2, 4


@dataclass(frozen=True, slots=True)
class _Cells:
    """Cells of one kind: places, half axes in px, angles, and the tile each lies in."""

    y: NDArray[np.int64]
    x: NDArray[np.int64]
    long: Float
    short: Float
    angle: Float
    tile: tuple[NDArray[np.int64], NDArray[np.int64]]

    def where(self, kept: NDArray[np.bool_]) -> _Cells:
        tile = (self.tile[0][kept], self.tile[1][kept])
        return _Cells(
            self.y[kept], self.x[kept], self.long[kept], self.short[kept], self.angle[kept], tile
        )

    def stamped(self, shape: tuple[int, int], *, grown: float = 0, hollow: float = 0) -> Float:
        """Soft ellipses, larger by `grown` px; with `hollow`, only their outer `hollow` px."""
        field = np.zeros(shape, np.float32)
        for y, x, a, b, angle in zip(
            self.y, self.x, self.long, self.short, self.angle, strict=True
        ):
            patch, reach = _ellipse(float(a) + grown, float(b) + grown, float(angle), hollow)
            top, left = max(y - reach, 0), max(x - reach, 0)
            bottom, right = min(y + reach + 1, shape[0]), min(x + reach + 1, shape[1])
            seen = patch[top - y + reach : bottom - y + reach, left - x + reach : right - x + reach]
            place = field[top:bottom, left:right]
            np.maximum(place, seen, out=place)
        return field


def draw(
    classes: NDArray[np.uint8],
    positive: Mapping[str, NDArray[np.bool_]],
    stains: Sequence[str],
    *,
    seed: int,
    tile_px: int = TILE_PX,
) -> dict[str, NDArray[np.uint8]]:
    """Draw consecutive sections of one tissue.

    Args:
        classes: (rows, columns) of `Tissue`.
        positive: Marker to (rows, columns): which tiles carry it. CD3 and CD20 put lymphocytes
            into those tiles, which every stain then shows; a marker not named is negative.
        stains: Which sections: `H&E` and `MARKERS`.
        seed: The same seed gives the same bytes.
        tile_px: Pixels a tile is wide and high; a cell is about 26 px.

    Returns:
        Stain to (rows * tile_px, columns * tile_px, 3) uint8, sRGB.

    Raises:
        CannotSend: A stain or class is unknown, or the grids differ.
    """
    for stain in (*stains, *positive):
        if stain != "H&E" and stain not in _WHERE:
            raise CannotSend(f"stain {stain}", f"H&E or one of {', '.join(MARKERS)}")
    if classes.ndim != 2 or not np.isin(classes, list(Tissue)).all():  # noqa: PLR2004
        raise CannotSend("classes", "a grid of tissue classes 0 to 3")
    if any(flags.shape != classes.shape for flags in positive.values()):
        raise CannotSend("positive", "a grid of the shape of classes for each marker")
    section = _Section.of(classes, positive, seed, tile_px)
    return {stain: section.seen(stain) for stain in stains}


@dataclass(frozen=True, slots=True)
class _Section:
    """The tissue in all its pixels, whatever it is stained with.

    Attributes:
        kind: (H, W) background 0, stroma 1, epithelium 2, lumen 4.
        fibres: (H, W) 0 to 1, how dense the stroma is.
        grain: (H, W) about 1, how evenly the dye took.
        epithelial, stromal: Nuclei.
        lymphocytes: By the marker they carry.
        positive: Which tiles carry a marker.
        luck: (epithelial nuclei) uniform, which cells of a positive tile are stained.
    """

    kind: NDArray[np.uint8]
    fibres: Float
    grain: Float
    epithelial: _Cells
    stromal: _Cells
    lymphocytes: Mapping[str, _Cells]
    positive: Mapping[str, NDArray[np.bool_]]
    luck: NDArray[np.float64]
    tile_px: int

    @classmethod
    def of(
        cls,
        classes: NDArray[np.uint8],
        positive: Mapping[str, NDArray[np.bool_]],
        seed: int,
        tile_px: int,
    ) -> _Section:
        rng = np.random.default_rng([seed, 17])
        rows, columns = classes.shape
        shape = (rows * tile_px, columns * tile_px)
        kind = _kinds(rng, classes, shape, tile_px)
        fibres = _fibres(rng, shape)
        grain = 1 + 0.08 * _clouds(rng, shape, 24)
        nuclei = _cells(rng, shape, _CELL_PX, tile_px, size=(6.4, 8.2))
        below = kind[nuclei.y, nuclei.x]
        chance = rng.random(len(nuclei.y))
        epithelial = nuclei.where((below == _EPITHELIUM) & (chance < 0.95))  # noqa: PLR2004
        stromal = nuclei.where((below == Tissue.STROMA) & (chance < 0.2))  # noqa: PLR2004
        lymphocytes = {}
        for marker in ("CD3", "CD20"):
            small = _cells(rng, shape, _LYMPHOCYTE_PX, tile_px, size=(4.6, 5.4))
            chance, below = rng.random(len(small.y)), kind[small.y, small.x]
            share = np.select([below == Tissue.STROMA, below == _EPITHELIUM], [0.45, 0.2], 0.0)
            flags = positive.get(marker, np.zeros(classes.shape, np.bool_))
            lymphocytes[marker] = small.where(flags[small.tile] & (chance < share))
        spindle = _Cells(
            stromal.y, stromal.x, stromal.long * 1.5, stromal.short * 0.5, stromal.angle,
            stromal.tile,
        )  # fmt: skip
        luck = rng.random(len(epithelial.y))
        return cls(kind, fibres, grain, epithelial, spindle, lymphocytes, positive, luck, tile_px)

    def seen(self, stain: str) -> NDArray[np.uint8]:
        """The section in one stain, as RGB."""
        shape = (self.kind.shape[0], self.kind.shape[1])
        tissue = (self.kind == Tissue.STROMA) | (self.kind == _EPITHELIUM)
        epithelium = (self.kind == _EPITHELIUM).astype(np.float32)
        stroma = (self.kind == Tissue.STROMA) * self.fibres
        nuclei = np.maximum(self.epithelial.stamped(shape), 0.9 * self.stromal.stamped(shape))
        for cells in self.lymphocytes.values():
            nuclei = np.maximum(nuclei, 1.15 * cells.stamped(shape))
        nuclei *= tissue
        if stain == "H&E":
            dyes = [
                (HAEMATOXYLIN, 1.15 * nuclei + 0.22 * epithelium),
                (EOSIN, (0.55 * stroma + 0.42 * epithelium) * (1 - 0.5 * nuclei)),
            ]
        else:
            brown = self._brown(stain, nuclei, epithelium, shape) * tissue
            counter = 0.55 * nuclei * (1 - np.minimum(brown, 0.8)) + 0.05 * epithelium
            dyes = [(HAEMATOXYLIN, counter + 0.04 * stroma), (DAB, 1.5 * brown)]
        light = np.full((*shape, 3), 1.0, np.float32)
        for vector, amount in dyes:
            light *= np.exp(-(amount * self.grain)[..., None] * vector)
        found: NDArray[np.uint8] = np.clip(np.rint(GLASS * light), 0, 255).astype(np.uint8)
        return found

    def _brown(self, stain: str, nuclei: Float, epithelium: Float, shape: tuple[int, int]) -> Float:
        """Where DAB lies, 0 to 1; a breath of it everywhere, as no antibody is clean."""
        place, share = _WHERE[stain]
        flags = self.positive.get(stain, np.zeros((1, 1), np.bool_))
        dyed: Float = np.float32(0.03) * epithelium
        more: NDArray[Any]
        if not flags.any():
            return dyed
        if place == "lymphocyte":
            more = self.lymphocytes[stain].stamped(shape, grown=2.5, hollow=3.5)
        elif place == "cytoplasm":
            tiles = np.kron(flags, np.ones((self.tile_px, self.tile_px), np.bool_))
            more = epithelium * tiles * (1 - 0.85 * np.minimum(nuclei, 1))
        else:
            rim = {"grown": 4.5, "hollow": 2.5} if place == "membrane" else {}
            cells = self.epithelial.where(flags[self.epithelial.tile] & (self.luck < share))
            more = cells.stamped(shape, **rim)
        np.maximum(dyed, more, out=dyed)
        return dyed


def _kinds(
    rng: np.random.Generator, classes: NDArray[np.uint8], shape: tuple[int, int], tile_px: int
) -> NDArray[np.uint8]:
    """Tile classes with edges that wander by a few pixels, glands opened up."""
    wander = tile_px / 24
    y, x = np.indices(shape, dtype=np.float32)
    y += wander * _clouds(rng, shape, 40)
    x += wander * _clouds(rng, shape, 40)
    row = np.clip(y // tile_px, 0, classes.shape[0] - 1).astype(np.int64)
    column = np.clip(x // tile_px, 0, classes.shape[1] - 1).astype(np.int64)
    kind = classes[row, column].copy()
    scale = TILE_PX / tile_px
    away = scale * np.hypot(y - (row + 0.5) * tile_px, x - (column + 0.5) * tile_px)
    gland = kind == Tissue.GLAND
    kind[gland] = Tissue.STROMA
    kind[gland & (away < _EPITHELIUM_PX)] = _EPITHELIUM
    kind[gland & (away < _LUMEN_PX)] = _LUMEN
    return kind


def _fibres(rng: np.random.Generator, shape: tuple[int, int]) -> Float:
    y, x = np.indices(shape, dtype=np.float32)
    wave = np.sin((0.8 * x + 0.5 * y) / 9 + 5 * _clouds(rng, shape, 110))
    found: Float = (0.62 + 0.22 * wave + 0.16 * _clouds(rng, shape, 14)).clip(0.15, 1)
    return found.astype(np.float32)


def _clouds(rng: np.random.Generator, shape: tuple[int, int], cell_px: int) -> Float:
    """Smooth noise of about unit variance, with features of `cell_px`."""
    coarse = rng.standard_normal([n // cell_px + 2 for n in shape]).astype(np.float32)
    image = Image.fromarray(coarse).resize((shape[1], shape[0]), Image.Resampling.BICUBIC)
    return np.asarray(image, np.float32)


def _cells(
    rng: np.random.Generator,
    shape: tuple[int, int],
    pitch: int,
    tile_px: int,
    *,
    size: tuple[float, float],
) -> _Cells:
    """Cells on a lattice that is shaken by a third of its pitch."""
    half = pitch // 2
    y, x = (g.ravel() for g in np.mgrid[half : shape[0] : pitch, half : shape[1] : pitch])
    y = np.clip(y + rng.integers(-pitch // 3, pitch // 3 + 1, y.size), 0, shape[0] - 1)
    x = np.clip(x + rng.integers(-pitch // 3, pitch // 3 + 1, x.size), 0, shape[1] - 1)
    long = rng.uniform(*size, y.size).astype(np.float32)
    short = long * rng.uniform(0.75, 1, y.size).astype(np.float32)
    angle = rng.uniform(0, np.pi, y.size).astype(np.float32)
    return _Cells(y, x, long, short, angle, (y // tile_px, x // tile_px))


def _ellipse(a: float, b: float, angle: float, hollow: float) -> tuple[Float, int]:
    """A soft ellipse of half axes `a` and `b`, or its rim, and how far it reaches."""
    reach = int(max(a, b)) + 2
    v, u = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    along = (u * np.cos(angle) + v * np.sin(angle)) / a
    across = (v * np.cos(angle) - u * np.sin(angle)) / b
    inside = (1 - np.hypot(along, across)) * min(a, b)
    found = np.clip(inside + 0.5, 0, 1)
    if hollow:
        found = found * np.clip(hollow + 0.5 - inside, 0, 1)
    return found.astype(np.float32), reach
