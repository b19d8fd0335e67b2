"""Slides to bags of tiles: the stain, resolution, tissue and normalisation that a pack declares.

Tiles form a grid from the upper left corner of each slide on, and are kept where enough of them is
tissue. What sticks out over the slide's lower or right edge is white, and no tissue. Resampling is
by area, in sRGB as scanned, from the coarsest level that is fine enough: a pyramid's levels are
such averages themselves. Lengths are micrometres from the upper left corner unless a name says mm.

Reading slides out of DICOM lives in `mappings.dicom`; what is tissue in `inference.tissue`; stains
in `inference.stains`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, inf

import numpy as np
from numpy.typing import NDArray

from inference import stains, tissue
from inference.errors import UnusableSlide
from inference.manifest import SlideInput
from inference.resampling import SLIVER, Span, span
from inference.stains import Stains
from mappings.images import Slide, SlideLevel

Float = NDArray[np.float32]
Pixels = NDArray[np.uint8]
# Scanners of one nominal magnification differ by a few percent, either way; beyond, detail that the
# model was trained on is not in the picture, and enlarging would only hide that.
MOST_COARSENING = 1.05
# A double-wide glass (52 x 76 mm) at 6 micrometres fits. It takes 0.4 GB, and with its saturation
# and mask 0.7. More is a broken header, or a pack that looks for tissue where it should read tiles.
MOST_OVERVIEW_PX = 2**27
# Edge of what is read of a level at once, in its pixels: 12 MB, and 50 MB as floats.
_BLOCK_PX = 2048
# Stains of a slide are those of 250,000 of its pixels as well as of all: 0.06 GB of densities.
_MOST_FITTED_PX = 250_000
_UM_PER_MM = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """A slide as its tiles are read: from which level, and how its stain becomes the reference's.

    Attributes:
        mixed: (3, 3) of `stains.mixing`; None where the stain stays as it is.
        corners: (n, 2) upper left corners of its tissue tiles (y, x), in pixels of a tile.
        tissue: (n,) share of tissue.
    """

    level: SlideLevel
    mixed: Float | None
    corners: NDArray[np.int64]
    tissue: Float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bag:
    """The tissue tiles of one stain, slide by slide and row by row; pixels are made on demand.

    Attributes:
        position: (T, 3): number of the slide among those of the stain, from 0; y and x of the
            tile's centre in mm from the slide's upper left corner.
        tissue: (T,) share of the tile that is tissue.
        left_out: Tissue tiles beyond `most_tiles`.
    """

    position: Float
    tissue: Float
    left_out: int
    declared: SlideInput
    _views: tuple[_View, ...]
    _tiles: NDArray[np.int64]

    @property
    def count(self) -> int:
        """T."""
        return len(self.tissue)

    def pixels(self, first: int, last: int) -> Float:
        """Tiles first to last, the last one excluded, as of a sequence.

        Returns:
            (n, 3, tile_px, tile_px) sRGB in 0 to 1, normalised as declared. A tile is the same
            however the bag is split.
        """
        tiles = self._tiles[first:last]
        edge = self.declared.tile_px
        out = np.empty((len(tiles), 3, edge, edge), np.float32)
        for tile, (number, top, left) in zip(out, tiles, strict=True):
            view = self._views[number]
            for y, x, seen in _blocks(view.level, self.declared.mpp, (top, left), (edge, edge)):
                tile[:, y, x] = seen if view.mixed is None else stains.normalise(view.mixed, seen)
        out /= 255
        return np.clip(out, 0, 1, out=out)


def bag(declared: SlideInput, slides: Sequence[Slide]) -> Bag:
    """Cut the slides of the declared stain into tiles, in the order given.

    Raises:
        UnusableSlide: no slide of the stain, one that is too coarse or too large or whose stain
            cannot be normalised, or no tile with enough tissue on any.
    """
    read = [slide for slide in slides if slide.stain == declared.stain]
    if not read:
        raise UnusableSlide(declared.id, f"no slide of stain {declared.stain}")
    views = tuple(_view(declared, slide) for slide in read)
    tiles = np.concatenate(
        [np.insert(view.corners, 0, number, axis=1) for number, view in enumerate(views)]
    )
    if not len(tiles):
        raise UnusableSlide(declared.id, "no tile with enough tissue")
    chosen = evenly(len(tiles), declared.most_tiles)
    centres_mm = (tiles[chosen, 1:] + declared.tile_px / 2) * declared.mpp / _UM_PER_MM
    return Bag(
        position=np.column_stack([tiles[chosen, 0], centres_mm]).astype(np.float32),
        tissue=np.concatenate([view.tissue for view in views])[chosen],
        left_out=len(tiles) - len(chosen),
        declared=declared,
        _views=views,
        _tiles=tiles[chosen],
    )


def evenly(count: int, most: int) -> NDArray[np.int64]:
    """Numbers of at most `most` of `count` things, evenly spread and ascending."""
    taken = min(count, most)
    return (2 * np.arange(taken, dtype=np.int64) + 1) * count // (2 * taken or 1)


def _view(declared: SlideInput, slide: Slide) -> _View:
    level = _level(declared, slide, declared.mpp)
    seen = overview(declared, slide)
    mask = tissue.mask(seen)
    corners, shares = _tiles(declared, _extent(slide), mask)
    mixed = None
    if declared.normalisation == "macenko" and len(corners):
        spots = np.flatnonzero(mask)
        spots = spots[evenly(len(spots), _MOST_FITTED_PX)]
        reference = Stains(np.array(declared.reference_stains), np.array(declared.reference_maxima))
        fitted = stains.fit(declared.id, seen.reshape(-1, 3)[spots])
        mixed = stains.mixing(fitted, reference)
    return _View(level=level, mixed=mixed, corners=corners, tissue=shares)


def _level(declared: SlideInput, slide: Slide, mpp: float) -> SlideLevel:
    """The coarsest level that is fine enough for a resolution."""
    if not all(0 < m < inf for level in slide.levels for m in level.mpp):
        raise UnusableSlide(declared.id, "a level without its micrometres per pixel")
    enough = mpp * MOST_COARSENING
    fine = [level for level in slide.levels if max(level.mpp) <= enough]
    if not fine:
        raise UnusableSlide(declared.id, f"no level with {mpp:g} micrometres per pixel or finer")
    return fine[-1]


def _extent(slide: Slide) -> tuple[float, float]:
    """Height and width; of the finest level, because coarser ones round it to their pixels."""
    level = slide.levels[0]
    return level.shape[0] * level.mpp[0], level.shape[1] * level.mpp[1]


def overview(declared: SlideInput, slide: Slide) -> Pixels:
    """(rows, columns, 3) sRGB of the whole slide at the resolution of the tissue mask.

    Read block by block, so that a level is never held whole.

    Raises:
        UnusableSlide: no level is fine enough, or the slide is larger than any glass.
    """
    mpp = declared.tissue_mpp
    level = _level(declared, slide, mpp)
    rows, columns = (ceil(length / mpp - SLIVER) for length in _extent(slide))
    if rows * columns > MOST_OVERVIEW_PX:
        raise UnusableSlide(
            declared.id, f"more than {MOST_OVERVIEW_PX} pixels of {mpp:g} micrometres"
        )
    seen = np.empty((rows, columns, 3), np.uint8)
    for y, x, block in _blocks(level, mpp, (0, 0), (rows, columns)):
        seen[y, x] = np.rint(block).transpose(1, 2, 0)
    return seen


def _blocks(
    level: SlideLevel, mpp: float, corner: tuple[int, int], shape: tuple[int, int]
) -> Iterator[tuple[slice, slice, Float]]:
    """An area of a slide at a resolution, block by block; corner and shape in its pixels.

    Yields:
        Rows and columns within the area; (3, rows, columns) sRGB, 0 to 255.
    """
    height, width = (max(int(_BLOCK_PX * m / mpp), 1) for m in level.mpp)
    for top in range(0, shape[0], height):
        y = slice(top, min(top + height, shape[0]))
        down = span((corner[0] + y.start) * mpp, y.stop - y.start, mpp, level.mpp[0])
        for left in range(0, shape[1], width):
            x = slice(left, min(left + width, shape[1]))
            across = span((corner[1] + x.start) * mpp, x.stop - x.start, mpp, level.mpp[1])
            yield y, x, _averaged(level, down, across)


def _averaged(level: SlideLevel, down: Span, across: Span) -> Float:
    read = level.read(down.first, across.first, down.last - down.first, across.last - across.first)
    planes: Float = np.ascontiguousarray(read.transpose(2, 0, 1), dtype=np.float32)
    by_rows: Float = down.weights @ planes
    made: Float = by_rows @ across.weights.T
    return made


def _tiles(
    declared: SlideInput, extent: tuple[float, float], mask: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], Float]:
    """Corners and shares of tissue of the tiles that are kept, row by row."""
    rows, columns = (_starts(declared, length) for length in extent)
    across = [_under(declared, int(start)) for start in columns]
    corners, shares = [], []
    for top in rows:
        down = _under(declared, int(top))
        band = mask[down.first : down.last]
        means = down.weights[0, : len(band)] @ band.astype(np.float32)
        for left, under in zip(columns, across, strict=True):
            part = means[under.first : under.last]
            share = float(under.weights[0, : len(part)] @ part)
            # Rounding of the weights is no lack of tissue.
            if share > 0 and share >= declared.least_tissue - SLIVER:
                corners.append((top, left))
                shares.append(share)
    return np.array(corners, np.int64).reshape(-1, 2), np.array(shares, np.float32)


def _starts(declared: SlideInput, length: float) -> NDArray[np.int64]:
    """First pixels of tiles along an axis: as many as show something that none before them does."""
    stride = declared.tile_px - declared.overlap_px
    new = ceil((length / declared.mpp - declared.overlap_px) / stride)
    return np.arange(max(new, 1), dtype=np.int64) * stride


def _under(declared: SlideInput, start: int) -> Span:
    """The pixels of the mask under a tile's extent along an axis."""
    return span(start * declared.mpp, 1, declared.tile_px * declared.mpp, declared.tissue_mpp)
