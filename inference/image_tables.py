"""[ct] and [[slides]] of pack.toml: how images are read, key by key and within bounds.

What the keys must say of others is in `manifest_checks`.
"""

from __future__ import annotations

import math
import re

from inference.manifest import (
    ROI,
    CtInput,
    Grid,
    Intensity,
    Normalisation,
    Resampling,
    Segmenter,
    SlideInput,
    Tissue,
    Without,
)
from inference.toml_table import Table
from mappings.images import CT_PHASES

_CODED = re.compile(r"[^|]+\|[^|]+")
_UNIT = 1e-3  # figures of a paper are rounded
# As many as a study of 512 slices has: 0.5 GB a phase.
_MOST_VOXELS = 512**3
_MOST_TILE_PX = 4096


def ct(t: Table) -> CtInput:
    """[ct].

    Raises:
        ManifestRefused: as `manifest_reading.parse`.
    """
    roi: ROI = t.one_of("roi", ROI)
    phases, required = t.texts("phases"), t.texts("required")
    if not phases or len(set(phases)) < len(phases) or not set(phases) <= set(CT_PHASES):
        raise t.refuse("phases", f"some of {', '.join(CT_PHASES)}, each once")
    if not required or not set(required) <= set(phases):
        raise t.refuse("required", "at least one, of ct.phases")
    grid = _grid(t, _orientation(t), t.one_of("resampling", Resampling))
    made = CtInput(
        phases=phases,
        required=required,
        min_confidence=t.number("min_confidence"),
        grid=grid,
        hu_clip=t.span("hu_clip"),
        intensity=t.one_of("intensity", Intensity),
        roi=roi,
        without=t.one_of("without", Without),
        segments=_segments(t) if roi == "segmentation" else (),
        segmenter=_segmenter(t.table("segmenter"), grid) if roi == "segmenter" else None,
    )
    if not 0 <= made.min_confidence <= 1:
        raise t.refuse("min_confidence", "a figure between 0 and 1")
    t.end()
    return made


def _grid(t: Table, orientation: str, resampling: Resampling) -> Grid:
    size, spacing = t.numbers("grid", 3), t.numbers("spacing_mm", 3)
    if any(n < 1 or n != int(n) for n in size) or math.prod(size) > _MOST_VOXELS:
        raise t.refuse("grid", f"whole numbers above 0, of at most {_MOST_VOXELS} voxels")
    if min(spacing) <= 0:
        raise t.refuse("spacing_mm", "millimetres above 0")
    return Grid(
        size=(int(size[0]), int(size[1]), int(size[2])),
        spacing_mm=(spacing[0], spacing[1], spacing[2]),
        orientation=orientation,
        resampling=resampling,
    )


def _orientation(t: Table) -> str:
    if not t.has("orientation"):
        return "SPL"
    letters = t.text("orientation")
    axes = [next((axis for axis in ("SI", "PA", "LR") if one in axis), one) for one in letters]
    if sorted(axes) != ["LR", "PA", "SI"]:
        raise t.refuse("orientation", "a letter of S or I, P or A, L or R each, such as SPL or RAS")
    return letters


def _segments(t: Table) -> tuple[str, ...]:
    codes = t.texts("segments")
    if not codes or not all(_CODED.fullmatch(code) for code in codes):
        raise t.refuse("segments", 'property types as "SCHEME|CODE", such as "SCT|10200004"')
    return codes


def _segmenter(t: Table, around: Grid) -> Segmenter:
    made = Segmenter(
        role=t.name("role"),
        output=t.text("output"),
        grid=_grid(t, around.orientation, around.resampling),
        threshold=t.number("threshold"),
    )
    t.end()
    return made


def slides(t: Table) -> SlideInput:
    """One of [[slides]].

    Raises:
        ManifestRefused: as `manifest_reading.parse`.
    """
    normalisation: Normalisation = t.one_of("normalisation", Normalisation)
    macenko = normalisation == "macenko"
    made = SlideInput(
        id=t.name("id"),
        stain=t.text("stain"),
        mpp=t.number("mpp"),
        tile_px=t.whole("tile_px"),
        overlap_px=t.whole("overlap_px"),
        tissue=t.one_of("tissue", Tissue),
        tissue_mpp=t.number("tissue_mpp"),
        least_tissue=t.number("least_tissue"),
        most_tiles=t.whole("most_tiles"),
        normalisation=normalisation,
        reference_stains=_stains(t) if macenko else (),
        reference_maxima=t.numbers("reference_maxima", 2) if macenko else (),
        without=t.one_of("without", Without),
    )
    if made.mpp <= 0 or made.tissue_mpp < made.mpp:
        raise t.refuse("tissue_mpp", "micrometres per pixel, at least mpp, which is above 0")
    if not 1 <= made.tile_px <= _MOST_TILE_PX:
        raise t.refuse("tile_px", f"1 to {_MOST_TILE_PX}")
    if not 0 <= made.overlap_px < made.tile_px:
        raise t.refuse("overlap_px", "0 or more, and less than tile_px")
    if not 0 <= made.least_tissue <= 1:
        raise t.refuse("least_tissue", "a share between 0 and 1")
    if made.most_tiles < 1:
        raise t.refuse("most_tiles", "at least 1")
    if any(most <= 0 for most in made.reference_maxima):
        raise t.refuse("reference_maxima", "concentrations above 0")
    t.end()
    return made


def _stains(t: Table) -> tuple[tuple[float, float, float], ...]:
    """Two directions in optical density, each of length 1."""
    flat = t.numbers("reference_stains", 6)
    rows = ((flat[0], flat[1], flat[2]), (flat[3], flat[4], flat[5]))
    if any(abs(math.hypot(*row) - 1) > _UNIT for row in rows):
        raise t.refuse("reference_stains", "R, G, B of two stains, each of length 1")
    return rows
