"""A synthetic slide: a grid of tissue tiles whose signal is where cells are, not how many.

Nests of tumour in stroma, glands that look alike, T and B cells. A stroma tile holds T cells with
probability sigma(a + s g), g = +1, 0, -1 at Chebyshev distance 1, 2, 3 or more from a nest; a is
solved per slide so that the expected total does not depend on s: statistics of the whole slide do
not tell it. Tiles come from a small bank of rendered textures, 64 pixels wide, in H&E and in
immunohistochemistry (hematoxylin and DAB).

Source: feasibility.md, "Slide"; model-rules 5 and 8 (i); Ruifrok and Johnston 2001 (stain vectors).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.training.cohorts.volume import smooth

Doubles = NDArray[np.float64]
Float = NDArray[np.float32]
Codes = NDArray[np.int16]

SIDE = 24  # tiles of tissue each way
MARGIN = 4  # tiles of glass around
TILE = 64  # pixels
PIXELS = (SIDE + 2 * MARGIN) * TILE  # 2048 at the base
MPP = 0.5  # micrometres a pixel
GLASS, STROMA, NEST, GLAND = 0, 1, 2, 3
STAINS = ("HE", "CK", "CD3", "CD20")
VARIANTS = 4
MOST_CELLS = 11
BLURRED, PENNED, GLANDS = 0.07, 0.35, 0.03
# Cells of a kind on a tile that holds them and on one that does not: the counts overlap.
CELLS, STRAY_CELLS = 6.5, 1.5
_OUT_OF_FOCUS = 12  # passes of [1 2 1]/4: a blur of 2.4 pixels
# Levels of a bank: what a tile of that stain may show.
_LEVELS = {"HE": 10, "CK": 4, "CD3": 2 * (MOST_CELLS + 1) + 1, "CD20": 2 * (MOST_CELLS + 1) + 1}
_HEMATOXYLIN = np.array([0.65, 0.70, 0.29], np.float32)
_EOSIN = np.array([0.07, 0.99, 0.11], np.float32)
_DAB = np.array([0.27, 0.57, 0.78], np.float32)
_PEN = np.array([1.6, 1.0, 0.15], np.float32)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Stains:
    """What slides of a study show: (at 0, per unit) of each component on its logit scale.

    Attributes:
        channels: Which sections there are, the first H&E.
        contact: Slope s of T cells towards nests; b_contact the same of B cells.
        inside: Logit that a nest tile holds T cells.
        fraction: Logit of the share of tissue that is nest.
        density: Logit of the share of stroma that holds T cells.
    """

    channels: tuple[str, ...]
    contact: tuple[float, float] = (0.3, 0.9)
    b_contact: tuple[float, float] = (0.2, 0.9)
    inside: tuple[float, float] = (-1.4, 0.8)
    fraction: tuple[float, float] = (-1.65, 0.4)
    density: tuple[float, float] = (-1.0, 0.35)

    def at(self, component: str, w: Mapping[str, float]) -> float:
        """A component on its logit scale; one that the study does not declare stands at 0."""
        base, slope = getattr(self, component)
        return float(base + slope * w.get(component, 0.0))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Slide:
    """One patient's sections, registered to one grid.

    Attributes:
        kind: (24, 24) glass, stroma, nest or gland.
        t, b: (24, 24) whether a tile holds T and B cells; t_count and b_count how many are shown.
        blurred, penned: (24, 24) tiles that nobody can read, and pen marks.
        look: Stain to (24, 24) codes of the bank.
        gain: Stain to the strength of its two dyes.
        measured: Component to (what the best reader of readable tiles measures, its variance).
    """

    kind: NDArray[np.int8]
    t: NDArray[np.bool_]
    b: NDArray[np.bool_]
    t_count: NDArray[np.int8]
    b_count: NDArray[np.int8]
    blurred: NDArray[np.bool_]
    penned: NDArray[np.bool_]
    look: Mapping[str, Codes]
    gain: Mapping[str, Float]
    measured: Mapping[str, tuple[float, float]]


def _spread(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask and its eight neighbours."""
    wide = np.pad(mask, 1)
    rows = wide[:-2] | wide[1:-1] | wide[2:]
    return rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]


def _tissue(rng: np.random.Generator, share: float) -> NDArray[np.int8]:
    """A round piece of tissue with nests of the wanted share and a few glands."""
    away = np.arange(SIDE) - (SIDE - 1) / 2
    wobble = smooth(rng.standard_normal((1, SIDE, SIDE), dtype=np.float32), 6)[0]
    radius = 10.0 + rng.uniform(-0.6, 0.6)
    inside = np.sqrt(away[:, None] ** 2 + away[None, :] ** 2) + 4 * wobble < radius
    field = smooth(rng.standard_normal((1, SIDE, SIDE), dtype=np.float32), 2)[0]
    tissue = np.flatnonzero(inside)
    order = tissue[np.argsort(-field.ravel()[tissue], kind="stable")]
    kind = np.where(inside, STROMA, GLASS).astype(np.int8).ravel()
    nests = max(4, round(share * len(tissue)))
    kind[order[:nests]] = NEST
    others = order[nests:]
    kind[rng.permutation(others)[: round(GLANDS * len(tissue))]] = GLAND
    return kind.reshape(SIDE, SIDE)


def _zones(kind: NDArray[np.int8]) -> NDArray[np.int8]:
    """+1 next to a nest, 0 at distance 2, -1 farther."""
    near = _spread(kind == NEST)
    made = np.where(_spread(near), 0, -1)
    return np.where(near, 1, made).astype(np.int8)


def _sigma(x: Any) -> Doubles:
    made: Doubles = 1 / (1 + np.exp(-np.asarray(x, float)))
    return made


def _level(slope: float, counts: Doubles, share: float) -> float:
    """The a that makes the expected share of tiles what is wanted, by Newton's method."""
    g = np.array([1.0, 0.0, -1.0])
    a = float(np.log(share / (1 - share)))
    weights = counts / counts.sum()
    for _ in range(12):
        p = _sigma(a + slope * g)
        a -= float((weights @ p - share) / max(float(weights @ (p * (1 - p))), 1e-6))
    return a


def _placed(
    rng: np.random.Generator,
    stroma: NDArray[np.bool_],
    zone: NDArray[np.int8],
    slope: float,
    share: float,
) -> NDArray[np.bool_]:
    """Stroma tiles that hold a kind of cell."""
    counts = np.array([(zone[stroma] == g).sum() for g in (1, 0, -1)], float)
    p = _sigma(_level(slope, counts, share) + slope * zone)
    made: NDArray[np.bool_] = stroma & (rng.random(zone.shape) < p)
    return made


def _pen(rng: np.random.Generator) -> NDArray[np.bool_]:
    """A stroke two tiles wide across the section, on some slides."""
    there, row, tilt = rng.random() < PENNED, rng.uniform(2, SIDE - 3), rng.uniform(-0.4, 0.4)
    grid = np.arange(SIDE, dtype=float)
    line = np.abs(grid[:, None] - row - tilt * (grid[None, :] - SIDE / 2)) < 0.9
    return line & there


def make(rng: np.random.Generator, stains: Stains, w: Mapping[str, float], spread: float) -> Slide:
    """One patient's sections.

    Args:
        rng: The patient's slide stream.
        stains: The study's slides.
        w: Component to its value in standard units.
        spread: SD of the log strength of a dye.
    """
    kind = _tissue(rng, float(_sigma(stains.at("fraction", w))))
    zone, stroma, nest = _zones(kind), kind == STROMA, kind == NEST
    t = _placed(rng, stroma, zone, stains.at("contact", w), float(_sigma(stains.at("density", w))))
    t |= nest & (rng.random(kind.shape) < _sigma(stains.at("inside", w)))
    b_share = float(_sigma(-1.6 + 0.3 * rng.standard_normal()))
    b = _placed(rng, stroma, zone, stains.at("b_contact", w), b_share)
    blurred, penned = rng.random(kind.shape) < BLURRED, _pen(rng)
    counts = [
        rng.poisson(np.where(held, CELLS, STRAY_CELLS)).clip(max=MOST_CELLS).astype(np.int8)
        for held in (t, b)
    ]
    variant = rng.integers(VARIANTS, size=(len(STAINS), *kind.shape)).astype(np.int16)
    gain = np.exp(spread * rng.standard_normal((len(STAINS), 2))).astype(np.float32)
    return Slide(
        kind=kind,
        t=t,
        b=b,
        t_count=counts[0],
        b_count=counts[1],
        blurred=blurred,
        penned=penned,
        look={
            name: _look(name, kind, counts[0], counts[1]) * VARIANTS + variant[STAINS.index(name)]
            for name in stains.channels
        },
        gain={name: gain[STAINS.index(name)] for name in stains.channels},
        measured=_measured(stains, kind, zone, (t, b), (kind != GLASS) & ~blurred & ~penned),
    )


def _look(
    stain: str, kind: NDArray[np.int8], t_count: NDArray[np.int8], b_count: NDArray[np.int8]
) -> Codes:
    """What a tile shows in a stain, as a level of its bank."""
    glass = kind == GLASS
    if stain == "HE":
        # Both kinds of lymphocytes look alike here: four steps of density.
        crowd = np.minimum((t_count.astype(np.int16) + b_count) // 4, 3)
        made = np.where(kind == NEST, 5 + crowd, np.where(kind == GLAND, 9, 1 + crowd))
    elif stain == "CK":
        made = kind.astype(np.int16)
    else:
        count = (t_count if stain == "CD3" else b_count).astype(np.int16)
        made = np.where(kind == STROMA, 1, MOST_CELLS + 2) + count
    return np.where(glass, 0, made).astype(np.int16)


def _slope(zone: NDArray[np.int8], held: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope of a logistic line on the zone, and its variance, with half a tile each way."""
    g = np.array([1.0, 0.0, -1.0])
    n = np.array([(zone == v).sum() for v in (1, 0, -1)], float) + 0.5
    k = np.array([held[zone == v].sum() for v in (1, 0, -1)], float) + 0.25
    beta, design = np.array([np.log(k.sum() / (n - k).sum()), 0.0]), np.stack([g * 0 + 1, g], 1)
    information = np.eye(2)
    for _ in range(12):
        p = _sigma(design @ beta)
        information = (design * (n * p * (1 - p))[:, None]).T @ design
        # Short steps: from flat starts Newton's may throw the line beyond recall.
        step = np.linalg.solve(information + 1e-9 * np.eye(2), design.T @ (k - n * p))
        beta = beta + np.clip(step, -1, 1)
    return float(beta[1]), float(np.linalg.inv(information)[1, 1])


def _share(hits: int, of: int) -> tuple[float, float]:
    """Logit of a share and its variance (Haldane 1956)."""
    k, rest = hits + 0.5, of - hits + 0.5
    return float(np.log(k / rest)), float(1 / k + 1 / rest)


def _measured(
    stains: Stains,
    kind: NDArray[np.int8],
    zone: NDArray[np.int8],
    held: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    readable: NDArray[np.bool_],
) -> dict[str, tuple[float, float]]:
    """Component to (its value, variance) as readable tiles tell it."""
    stroma, nest = readable & (kind == STROMA), readable & (kind == NEST)
    t, b = held
    nests, tissue = int(nest.sum()), int(readable.sum())
    found = {
        "contact": _slope(zone[stroma], t[stroma]),
        "b_contact": _slope(zone[stroma], b[stroma]),
        "inside": _share(int(t[nest].sum()), nests),
        "density": _share(int(t[stroma].sum()), int(stroma.sum())),
    }
    fraction, sampling = _share(nests, tissue)
    unread = 1 - tissue / int((kind != GLASS).sum())
    # The number of nest tiles is no draw: only tiles that cannot be read and rounding blur it.
    found["fraction"] = (fraction, sampling * unread + sampling / (12 * tissue))
    made = {}
    for name, (value, variance) in found.items():
        base, slope = getattr(stains, name)
        made[name] = ((value - base) / slope, variance / slope**2)
    return made


def _discs(rng: np.random.Generator, count: int, radius: tuple[float, float]) -> Float:
    """Soft discs on a tile, (64, 64) in 0 to 1."""
    grid = np.arange(TILE, dtype=np.float32)
    made = np.zeros((TILE, TILE), np.float32)
    for _ in range(count):
        y, x = rng.uniform(0, TILE, 2).astype(np.float32)
        r = np.float32(rng.uniform(*radius))
        away = np.sqrt((grid[:, None] - y) ** 2 + (grid[None, :] - x) ** 2)
        made = np.maximum(made, np.clip(r - away + np.float32(0.5), 0, 1))
    return made


def _grain(rng: np.random.Generator, passes: int) -> Float:
    noise = smooth(rng.standard_normal((1, TILE, TILE), dtype=np.float32), passes)[0]
    made: Float = noise / noise.std()
    return made


def _texture(rng: np.random.Generator, stain: str, level: int) -> Float:
    """Amounts of two dyes on one tile, (64, 64, 2): hematoxylin, and eosin or DAB."""
    if level == 0:
        return np.full((TILE, TILE, 2), 0.015, np.float32)
    fibre = 1 + np.float32(0.25) * _grain(rng, 3)
    if stain == "HE":
        crowd = (level - 1) % 4 if level < 9 else 0
        nest, gland = 5 <= level < 9, level == 9
        nuclei = _discs(rng, 26 if nest else 20 if gland else 7, (3.0, 4.6) if nest else (2.4, 3.6))
        small = _discs(rng, 6 * crowd, (1.8, 2.3))
        purple = np.float32(0.75) * np.maximum(nuclei, np.float32(1.25) * small)
        pink = np.float32(0.28 if nest else 0.32 if gland else 0.42) * fibre
        return np.stack([purple + 0.06, pink], 2)
    if stain == "CK":
        blue = _discs(rng, 18, (2.2, 3.4)) * np.float32(0.4)
        brown = np.float32({1: 0.03, 2: 0.75, 3: 0.5}[level]) * fibre
        return np.stack([blue + 0.05, brown], 2)
    tumour = level > MOST_CELLS + 1
    cells = level - 1 - (MOST_CELLS + 1 if tumour else 0)
    blue = _discs(rng, 20 if tumour else 8, (2.4, 3.8)) * np.float32(0.4)
    brown = _discs(rng, cells, (2.2, 2.9)) * np.float32(0.9) + np.float32(0.03) * fibre
    return np.stack([blue + 0.05, brown], 2)


@lru_cache(maxsize=len(STAINS))
def bank(stain: str) -> Float:
    """Every texture of a stain, sharp and then blurred: (2, codes, 64, 64, 2) amounts of dye."""
    rng = np.random.default_rng([20261121, STAINS.index(stain)])
    levels = [level for level in range(_LEVELS[stain]) for _ in range(VARIANTS)]
    sharp = np.stack([_texture(rng, stain, level) for level in levels]).clip(min=0)
    # An axis of one keeps the tiles apart: `smooth` works along the last three.
    planes = np.moveaxis(sharp, 3, 1)[:, :, None]
    dull = np.moveaxis(smooth(planes, _OUT_OF_FOCUS)[:, :, 0], 1, 3)
    return np.stack([sharp, dull])


@lru_cache(maxsize=len(STAINS))
def _amounts(stain: str) -> Float:
    """(2, codes) mean amount of the second dye of each tile of the bank."""
    made: Float = bank(stain)[..., 1].mean((2, 3)) + 0.5 * bank(stain)[..., 0].mean((2, 3))
    return made


def tiles(slide: Slide, stain: str) -> Float:
    """(24, 24, 64, 64, 2) amounts of dye, before pen and colour."""
    made: Float = bank(stain)[slide.blurred.astype(int), slide.look[stain]] * slide.gain[stain]
    return made


def image(slide: Slide, stain: str) -> NDArray[np.uint8]:
    """One whole section, (2048, 2048, 3) RGB at 0.5 micrometres a pixel."""
    dyes = np.stack([_HEMATOXYLIN, _EOSIN if stain == "HE" else _DAB])
    amount = np.full((PIXELS // TILE, PIXELS // TILE, TILE, TILE, 2), 0.015, np.float32)
    pen = np.zeros((PIXELS // TILE, PIXELS // TILE), np.float32)
    section = slice(MARGIN, MARGIN + SIDE)
    amount[section, section] = tiles(slide, stain)
    pen[section, section] = slide.penned
    density = amount @ dyes + (pen[..., None, None, None] * _PEN)
    flat = density.transpose(0, 2, 1, 3, 4).reshape(PIXELS, PIXELS, 3)
    made: NDArray[np.uint8] = np.rint(255 * np.exp(-flat)).astype(np.uint8)
    return made


def amounts(slide: Slide, stain: str) -> Float:
    """Mean dye of each tissue tile, any order: what statistics of the whole slide are made of."""
    each = _amounts(stain)[slide.blurred.astype(int), slide.look[stain]]
    made: Float = (each * slide.gain[stain].mean())[slide.kind != GLASS]
    return made
