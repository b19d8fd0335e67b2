"""slides: tiles where they should be, of what they should show, and slides that are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from inference import slides, stains, tissue
from inference.errors import UnusableSlide
from inference.manifest import SlideInput
from mappings.images import ArrayLevel, Slide, SlideLevel

GOLDEN = np.load(Path(__file__).parent / "golden" / "slide_steps.npz")
GLASS, TISSUE = (243, 242, 244), (150, 80, 160)
# Tiles of 8 pixels of 0.5 micrometres: 0.004 mm.
DECLARED = SlideInput(
    id="he",
    stain="H&E",
    mpp=0.5,
    tile_px=8,
    overlap_px=0,
    tissue="otsu of saturation",
    tissue_mpp=1.0,
    least_tissue=0.5,
    most_tiles=1000,
    normalisation="none",
    reference_stains=(),
    reference_maxima=(),
    without="left out",
)
MACENKO: dict[str, Any] = {
    "normalisation": "macenko",
    "reference_stains": tuple(map(tuple, GOLDEN["reference_vectors"])),
    "reference_maxima": tuple(GOLDEN["reference_maxima"]),
}


def declared(**changes: Any) -> SlideInput:
    """The declaration with other values."""
    return replace(DECLARED, **changes)


def picture(rows: int, columns: int, *rectangles: tuple[int, int, int, int]) -> np.ndarray:
    """Glass with tissue from (row, column) up to (row, column)."""
    out = np.full((rows, columns, 3), GLASS, np.uint8)
    for top, left, bottom, right in rectangles:
        out[top:bottom, left:right] = TISSUE
    return out


def slide(*levels: SlideLevel, stain: str = "H&E") -> Slide:
    """A slide of levels."""
    return Slide(stain=stain, levels=levels, instances=())


def flat(pixels: np.ndarray, mpp: tuple[float, float] = (0.5, 0.5), stain: str = "H&E") -> Slide:
    """A slide of one level."""
    return slide(ArrayLevel(pixels=pixels, mpp=mpp), stain=stain)


def corners(bag: slides.Bag) -> list[tuple[float, ...]]:
    """(slide, y, x) of the tiles' upper left corners, in pixels of a tile."""
    px = bag.position[:, 1:] * 1000 / bag.declared.mpp - bag.declared.tile_px / 2
    return [(int(n), *row) for n, row in zip(bag.position[:, 0], px.round(2).tolist(), strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A level that is drawn where it is read, and remembers how much was read at once."""

    shape: tuple[int, int]
    mpp: tuple[float, float]
    draw: Callable[[np.ndarray, np.ndarray], np.ndarray]
    reads: list[tuple[int, int]] = field(default_factory=list)

    def read(self, row: int, column: int, rows: int, columns: int) -> np.ndarray:
        """Tissue where `draw` of rows and columns says so."""
        self.reads.append((rows, columns))
        y, x = np.ogrid[row : row + rows, column : column + columns]
        inside = (y < self.shape[0]) & (x < self.shape[1])
        shown = np.where(self.draw(y, x)[..., None], np.uint8(TISSUE), np.uint8(GLASS))
        return np.where(inside[..., None], shown, np.uint8(255))


def test_tiles_stand_where_the_tissue_is() -> None:
    """Row by row, with centres in mm and their shares of tissue."""
    bag = slides.bag(DECLARED, [flat(picture(32, 48, (8, 20, 24, 40)))])
    expected = [(0, y, x) for y in (8, 16) for x in (16, 24, 32)]
    assert (6, expected) == (bag.count, corners(bag))
    assert [0.5, 1, 1, 0.5, 1, 1] == bag.tissue.tolist()
    assert np.allclose([0, 0.006, 0.010], bag.position[0])
    assert 0 == bag.left_out
    assert (np.float32, np.float32) == (bag.position.dtype, bag.tissue.dtype)


def test_a_tile_with_too_little_tissue_is_left() -> None:
    """The share that is declared is enough, less is not."""
    one = [flat(picture(32, 48, (8, 20, 24, 40)))]
    assert 4 == slides.bag(declared(least_tissue=0.51), one).count
    assert 6 == slides.bag(declared(least_tissue=0.0), one).count


@pytest.mark.parametrize("edge", [24, 38, 62])
def test_a_tile_full_of_tissue_is_full(edge: int) -> None:
    """Whatever its edge: halves and thirds of the mask's pixels are rounded."""
    one = flat(picture(2 * edge, 2 * edge, (0, 0, edge, edge)))
    assert 1 == slides.bag(declared(tile_px=edge, least_tissue=1.0), [one]).count


def test_tiles_overlap_as_declared() -> None:
    """A stride of 8 - 4 pixels; none that only shows what its neighbour shows."""
    bag = slides.bag(
        declared(overlap_px=4, least_tissue=0.25), [flat(picture(20, 20, (8, 8, 16, 16)))]
    )
    expected = [(0, y, x) for y in (4, 8, 12) for x in (4, 8, 12)]
    assert expected == corners(bag)
    assert np.allclose([0.25, 0.5, 0.25, 0.5, 1, 0.5, 0.25, 0.5, 0.25], bag.tissue)


def test_a_tile_over_the_edge_is_white_there() -> None:
    """20 pixels are two tiles and a half; beyond the slide is neither tissue nor glass."""
    bag = slides.bag(declared(least_tissue=0.25), [flat(picture(20, 20, (12, 16, 20, 20)))])
    assert [(0, 8, 16), (0, 16, 16)] == corners(bag)
    tile = bag.pixels(1, 2)[0]
    assert np.array_equal(np.ones((3, 8, 4)), tile[:, :, 4:])
    assert np.array_equal(np.ones((3, 4, 8)), tile[:, 4:])
    assert np.allclose(np.array(TISSUE) / 255, tile[:, 0, 0])


def test_a_slide_smaller_than_a_tile_is_one_tile() -> None:
    """With white around it, also where the overlap is wider than the slide."""
    bag = slides.bag(declared(overlap_px=7, least_tissue=0.1), [flat(picture(6, 4, (0, 0, 4, 4)))])
    assert [(0, 0, 0)] == corners(bag)
    assert [0.25] == bag.tissue.tolist()


@pytest.mark.parametrize("mpp", [0.13, 0.33])
def test_white_is_one(mpp: float) -> None:
    """And no more, also where weights that are rounded sum to more."""
    one = flat(picture(80, 80, (0, 0, 60, 60)), (mpp, mpp))
    assert 1 == slides.bag(declared(tile_px=64, least_tissue=0.01), [one]).pixels(0, 1).max()


def test_a_slide_is_as_large_as_its_finest_level() -> None:
    """36 rows are two and a quarter of the coarse level's, which has two."""
    fine = ArrayLevel(pixels=picture(36, 32, (32, 0, 36, 8)), mpp=(0.5, 0.5))
    coarse = ArrayLevel(pixels=picture(2, 2), mpp=(8.0, 8.0))
    assert [(0, 32, 0)] == corners(slides.bag(DECLARED, [slide(fine, coarse)]))


def test_rounded_resolutions_add_no_row_to_the_overview() -> None:
    """24 rows of 0.1 are 2.4000000000000004."""
    one = flat(picture(24, 24), (0.1, 0.1))
    assert (24, 24, 3) == slides.overview(declared(tissue_mpp=0.1), one).shape


def test_pixels_need_not_be_square() -> None:
    """0.25 by 0.5 micrometres: rows are averaged in pairs."""
    fine = picture(32, 16, (0, 0, 16, 8))
    fine[0, :8] = GLASS
    bag = slides.bag(DECLARED, [flat(fine, (0.25, 0.5))])
    assert [(0, 0, 0)] == corners(bag)
    tile = bag.pixels(0, 1)[0] * 255
    assert np.allclose((np.array(GLASS) + TISSUE) / 2, tile[:, 0, 0], atol=1e-3)
    assert np.allclose(TISSUE, tile[:, 1, 0], atol=1e-3)


def test_only_slides_of_the_stain_are_read_in_their_order() -> None:
    """The number in the position counts these alone."""
    left, right = picture(16, 16, (0, 0, 8, 8)), picture(16, 16, (0, 8, 8, 16))
    given_ = [flat(right), flat(left, stain="CD3"), flat(left), flat(right, stain="HE")]
    bag = slides.bag(DECLARED, given_)
    assert [(0, 0, 8), (1, 0, 0)] == corners(bag)
    assert [(0, 0, 0)] == corners(slides.bag(declared(stain="CD3"), given_))


def test_a_slide_of_glass_beside_one_with_tissue_adds_no_tile() -> None:
    """And is counted all the same; there is no stain of it to be normalised."""
    bag = slides.bag(DECLARED, [flat(picture(16, 16)), flat(picture(16, 16, (0, 0, 8, 8)))])
    assert [(1, 0, 0)] == corners(bag)
    wide = declared(tile_px=96, tissue_mpp=0.5, **MACENKO)
    bag = slides.bag(wide, [flat(picture(96, 96)), flat(GOLDEN["other"])])
    assert [(1, 0, 0)] == corners(bag)


def test_of_too_many_tiles_evenly_spread_ones_are_read() -> None:
    """Over all slides together, and what is left out is told."""
    full = [flat(picture(16, 88, (0, 0, 8, 80)))] * 2
    bag = slides.bag(declared(most_tiles=4), full)
    assert [(0, 0, 16), (0, 0, 56), (1, 0, 16), (1, 0, 56)] == corners(bag)
    assert (4, 16) == (bag.count, bag.left_out)
    every = slides.bag(DECLARED, full)
    assert (20, 0) == (every.count, every.left_out)


@given(st.integers(0, 10**6), st.integers(1, 500))
def test_what_is_read_is_spread_evenly(count: int, most: int) -> None:
    """Gaps differ by one at most, and the ends are half a gap from the edges."""
    chosen = slides.evenly(count, most)
    assert min(count, most) == len(chosen)
    assert all(0 <= n < count for n in chosen)
    gaps = {int(b - a) for a, b in pairwise(chosen)}
    assert max(gaps, default=1) - min(gaps, default=1) <= 1
    if len(chosen):
        assert abs(chosen[0] - (count - 1 - chosen[-1])) <= 1


def test_tissue_is_conserved() -> None:
    """Where tiles and the mask's pixels do not meet, shares still add up to the area."""
    bag = slides.bag(
        declared(tissue_mpp=0.7, tile_px=11, least_tissue=0.0),
        [flat(picture(210, 140, (14, 21, 140, 77)))],
    )
    assert np.isclose((140 - 14) * (77 - 21), bag.tissue.sum() * 11 * 11, rtol=1e-4)


def test_the_coarsest_level_that_is_fine_enough_is_read() -> None:
    """One for the tiles, another for the mask; finer ones stay unread, coarser ones are no use."""

    def level(scale: int) -> Watched:
        return Watched(
            shape=(320 // scale, 320 // scale),
            mpp=(0.25 * scale, 0.25 * scale),
            draw=lambda y, x: (y < 160 / scale) & (x < 160 / scale),
        )

    levels = [level(scale) for scale in (1, 2, 4, 16)]
    bag = slides.bag(declared(tissue_mpp=2.0), [slide(*levels)])
    assert (100, 100) == (bag.count, len(bag.pixels(0, 200)))
    assert [False, True, True, False] == [bool(one.reads) for one in levels]


@pytest.mark.parametrize("mpp", [(0.5, 0.526), (0.526, 0.5)])
def test_a_slide_that_is_too_coarse_is_refused(mpp: tuple[float, float]) -> None:
    """In either axis, by more than 5 %."""
    pixels = picture(16, 16, (0, 0, 8, 8))
    assert 1 == slides.bag(DECLARED, [flat(pixels, (0.525, 0.525))]).count
    with pytest.raises(UnusableSlide, match=r"no level with 0\.5 micrometres") as refused:
        slides.bag(DECLARED, [flat(pixels), flat(pixels, mpp)])
    assert "he" == refused.value.part


@pytest.mark.parametrize("mpp", [0.0, -0.5, float("nan"), float("inf")])
def test_a_level_without_resolution_is_refused(mpp: float) -> None:
    """Whichever level it is: the pyramid's geometry is not known."""
    good = ArrayLevel(pixels=picture(16, 16, (0, 0, 8, 8)), mpp=(0.5, 0.5))
    with pytest.raises(UnusableSlide, match="without its micrometres per pixel"):
        slides.bag(DECLARED, [slide(good, replace(good, mpp=(0.5, mpp)))])


def test_a_slide_larger_than_any_glass_is_refused_unread() -> None:
    """A broken header must not cost the memory."""
    level = Watched(shape=(10**9, 10**9), mpp=(0.5, 0.5), draw=lambda y, _: y >= 0)
    with pytest.raises(UnusableSlide, match="more than 134217728 pixels of 1 micrometres"):
        slides.bag(DECLARED, [slide(level)])
    assert [] == level.reads


@pytest.mark.parametrize(
    "given_",
    [[], [flat(picture(16, 16, (0, 0, 8, 8)), stain="CD3")]],
    ids=["none at all", "of another stain"],
)
def test_without_a_slide_of_the_stain_there_is_no_bag(given_: list[Slide]) -> None:
    """No stain stands in for another."""
    with pytest.raises(UnusableSlide, match="he: no slide of stain H&E"):
        slides.bag(DECLARED, given_)


def test_a_slide_without_a_pixel_or_level_is_refused() -> None:
    """As any other without tissue."""
    with pytest.raises(UnusableSlide, match="no tile"):
        slides.bag(DECLARED, [flat(picture(0, 16))])
    with pytest.raises(UnusableSlide, match="no level"):
        slides.bag(DECLARED, [slide()])


def test_glass_alone_is_refused() -> None:
    """Noise is no tissue, and a speck of dust no tile."""
    noise = np.random.default_rng(5).normal(0, 2, (64, 64, 3))
    glass = np.clip(np.rint(picture(64, 64) + noise), 0, 255).astype(np.uint8)
    glass[30:32, 30:32] = TISSUE
    for pixels in (picture(64, 64), glass):
        with pytest.raises(UnusableSlide, match="he: no tile with enough tissue"):
            slides.bag(declared(tissue_mpp=0.5), [flat(pixels)])


def test_a_level_is_never_read_whole() -> None:
    """40 megapixels without a pyramid: neither for the mask nor for the tiles."""
    level = Watched(shape=(5000, 8000), mpp=(0.5, 0.5), draw=lambda y, x: (y < 2560) & (x > 4095))
    bag = slides.bag(declared(tile_px=512, tissue_mpp=16.0), [slide(level)])
    # The last of eight columns is white from pixel 8000 on.
    assert (5 * 8, 320 / 512) == (bag.count, float(bag.tissue.min()))
    bag.pixels(0, 2)
    assert max(map(max, level.reads)) <= 2050


def test_a_tile_far_coarser_than_its_level_is_read_in_parts() -> None:
    """And shows the same as one of a level that was averaged before."""
    fine = Watched(
        shape=(2250, 2250), mpp=(0.5, 0.5), draw=lambda y, x: (y // 90 + x // 70) % 2 == 0
    )
    shown = fine.read(0, 0, 2250, 2250).astype(np.float32)
    expected = shown.reshape(45, 50, 45, 50, 3).mean((1, 3)).transpose(2, 0, 1)
    fine.reads.clear()
    wide = declared(mpp=25.0, tissue_mpp=25.0, tile_px=45, least_tissue=0.1)
    tile = slides.bag(wide, [slide(fine)]).pixels(0, 1)[0]
    assert np.allclose(expected / 255, tile, atol=1e-5)
    assert max(map(max, fine.reads)) <= 2050


@cache
def resampled() -> tuple[slides.Bag, np.ndarray]:
    """A normalised bag on another grid than its level, and all of its tiles."""
    bag = slides.bag(
        declared(tile_px=27, tissue_mpp=0.6, least_tissue=0.1, **MACENKO),
        [flat(GOLDEN["other"], (0.45, 0.48))],
    )
    return bag, bag.pixels(0, bag.count)


@given(st.lists(st.integers(0, 16), max_size=4))
def test_tiles_are_the_same_however_the_bag_is_split(cuts: list[int]) -> None:
    """Bit for bit, normalised and resampled."""
    bag, whole = resampled()
    assert ((bag.count, 3, 27, 27), np.float32) == (whole.shape, whole.dtype)
    parts = [bag.pixels(*ends) for ends in pairwise([0, *sorted(cuts), bag.count])]
    assert bag.count > 9
    assert np.array_equal(whole, np.concatenate(parts)[: bag.count])


def test_area_is_that_of_opencv() -> None:
    """96 x 96 pixels of 3 by 2.5 micrometres on 8: 36 x 30, by INTER_AREA."""
    one = flat(GOLDEN["reference"], (3.0, 2.5))
    bag = slides.bag(declared(mpp=8.0, tissue_mpp=8.0, tile_px=36, least_tissue=0.1), [one])
    made = bag.pixels(0, 1)[0, :, :, :30].transpose(1, 2, 0) * 255
    assert np.allclose(GOLDEN["area"], made, atol=1e-3)


@pytest.mark.parametrize("factors", [(2, 2), (3, 4), (8, 6)])
def test_the_overview_is_that_of_pillow(factors: tuple[int, int]) -> None:
    """Whole factors, by `Image.reduce`, which rounds as we do but for halves."""
    seen = slides.overview(
        declared(tissue_mpp=24.0), flat(GOLDEN["reference"], (24 / factors[0], 24 / factors[1]))
    )
    expected = np.asarray(Image.fromarray(GOLDEN["reference"]).reduce(factors[::-1]))
    assert expected.shape == seen.shape
    apart = np.abs(seen.astype(int) - expected)
    assert apart.max() <= 1
    assert (apart > 0).mean() < 0.15


def test_a_normalised_tile_looks_like_the_reference() -> None:
    """The same tissue out of two laboratories: nearer to the one than before, and not as it was."""
    wide = declared(tile_px=96, tissue_mpp=0.5)
    (reference, raw), [made] = (
        (slides.bag(wide, [flat(GOLDEN[n])]).pixels(0, 1) for n in ("reference", "other")),
        [slides.bag(replace(wide, **MACENKO), [flat(GOLDEN["other"])]).pixels(0, 1)],
    )
    before, after = np.abs(raw - reference).mean(), np.abs(made - reference).mean()
    assert after < before / 2


def test_a_slide_is_fitted_once_on_its_tissue() -> None:
    """Glass does not count, and each tile is normalised by the whole slide's stains."""
    one = flat(GOLDEN["other"])
    bag = slides.bag(declared(tile_px=32, tissue_mpp=0.5, least_tissue=0.9, **MACENKO), [one])
    kept = GOLDEN["other"][tissue.mask(GOLDEN["other"])]
    mixed = stains.mixing(
        stains.fit("he", kept),
        stains.Stains(GOLDEN["reference_vectors"], GOLDEN["reference_maxima"]),
    )
    assert [(0, 32, 32)] == corners(bag)
    middle = GOLDEN["other"][32:64, 32:64].transpose(2, 0, 1).astype(np.float32)
    assert np.allclose(stains.normalise(mixed, middle) / 255, bag.pixels(0, 1)[0], atol=1e-6)


def test_a_stain_that_cannot_be_normalised_is_refused() -> None:
    """One colour is no two stains; the same slide is read where nothing is to be normalised."""
    one = [flat(picture(64, 64, (0, 0, 40, 40)))]
    assert 25 == slides.bag(declared(tissue_mpp=0.5), one).count
    with pytest.raises(UnusableSlide, match="he: stained pixels"):
        slides.bag(declared(tissue_mpp=0.5, **MACENKO), one)
