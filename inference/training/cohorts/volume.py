"""A small contrast-enhanced volume with one lesion, and how much of it its noise leaves.

One real lesion anywhere in a block of parenchyma, with core and rim; vessels; one to three
distractors without information; correlated noise, gain, offset, blur and motion. Only sums,
products and square roots touch the voxels, so that one seed gives the same bytes on any machine
with IEEE floats. What an organ looks like is an `Anatomy`, declared by its study.

Source: model-rules 8 (d); feasibility.md, "CT volume", set 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Doubles = NDArray[np.float64]
Grid = tuple[int, int, int]

WHITE, TEXTURE = 3.0, 4.0  # SD of white noise, and of texture shared by all channels
# Power of the correlated noise: two passes of [1 2 1]/4 along each axis, scaled to variance 1.
PASSES = 2


@dataclass(frozen=True, slots=True)
class Scanner:
    """What a site's scanner adds: noise SD, blur passes of [1 2 1]/4, gain and offset spread.

    Units are the volume's: HU, or arbitrary units of MR.
    """

    noise_hu: float
    blur: int
    gain: float
    offset_hu: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Anatomy:
    """What one kind of study shows, by channel (contrast phase or sequence).

    Attributes:
        channels: Names of the C channels.
        grid: Depth, height, width; the last is even.
        spacing_mm: The same order.
        level: (C,) parenchyma; level_sd (C,) from patient to patient.
        vessel: (C,) contrast of vessels to parenchyma.
        core: (C,) contrast of the lesion's core; core_effects (K, C) per unit of each component.
        rim: (C,) shape of the rim; its strength is rim_base + rim_slopes (K,) @ components.
        nuisance: SD of an uninformative shift of the core, the same in every channel.
        distractors: (C,) contrasts, the last one a mimic of the core with a first component of
            its own that tells nothing.
        radii: Least and greatest half axis of the lesion in voxels.
        other_tags: Channels that such studies may have and these do not: for wrong tags.
    """

    channels: tuple[str, ...]
    grid: Grid
    spacing_mm: tuple[float, float, float]
    level: Float
    level_sd: tuple[float, ...]
    vessel: Float
    core: Float
    core_effects: Float
    rim: Float
    rim_base: float
    rim_slopes: tuple[float, ...]
    nuisance: float
    distractors: tuple[Float, ...]
    radii: tuple[float, float] = (4.5, 7.0)
    other_tags: tuple[str, ...] = ()

    @property
    def known_tags(self) -> tuple[str, ...]:
        """What headers of such studies may say."""
        return (*self.channels, *self.other_tags)

    def core_of(self, nuisance: float, w: tuple[float, ...]) -> Float:
        """(C,) contrast of a core with components w."""
        made = self.core + np.float32(nuisance)
        for effect, component in zip(self.core_effects, w, strict=True):
            made = made + effect * np.float32(component)
        return made

    def rim_of(self, w: tuple[float, ...]) -> Float:
        """(C,) contrast of a rim with components w."""
        strength = sum(s * c for s, c in zip(self.rim_slopes, w, strict=True))
        return self.rim * np.float32(self.rim_base + strength)


@dataclass(frozen=True, slots=True)
class Render:
    """A rendered study.

    Attributes:
        ct: (C, D, H, W) int16, every channel of the anatomy.
        lesion: (D, H, W) bool, core and rim of the real lesion, reference position.
        measured: (K,) components as the best reader of these voxels would measure them (matched
            filter on the true noise; place, distractors, motion, gain and texture known), when
            asked for.
        measured_cov: (K, K) covariance of that measurement.
    """

    ct: NDArray[np.int16]
    lesion: NDArray[np.bool_]
    measured: Doubles | None
    measured_cov: Doubles | None


def smooth(x: Float, passes: int) -> Float:
    """[1 2 1]/4 along the last three axes, periodic."""
    for _ in range(passes):
        for axis in (-3, -2, -1):
            y = np.moveaxis(x, axis, 0)
            out = y * np.float32(0.5)
            out[1:] += np.float32(0.25) * y[:-1]
            out[:-1] += np.float32(0.25) * y[1:]
            out[0] += np.float32(0.25) * y[-1]
            out[-1] += np.float32(0.25) * y[0]
            x = np.moveaxis(out, 0, axis)
    return np.ascontiguousarray(x)


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    """Power of the smoothed noise on a grid, in the layout of a real transform."""

    power: Doubles
    pairs: Doubles
    mean: float
    voxels: float

    @property
    def scale(self) -> np.float32:
        """Factor that gives smoothed white noise variance 1."""
        return np.float32(1.0 / np.sqrt(self.mean))


@lru_cache(maxsize=8)
def spectrum(grid: Grid) -> Spectrum:
    """The correlated noise of a grid."""
    axes = [((1 + np.cos(2 * np.pi * np.fft.fftfreq(n))) / 2) ** PASSES for n in grid[:2]]
    last = ((1 + np.cos(2 * np.pi * np.fft.rfftfreq(grid[2]))) / 2) ** PASSES
    power = (axes[0][:, None, None] * axes[1][None, :, None] * last[None, None, :]) ** 2
    # Real transforms hold each frequency pair once; these weights count both.
    pairs = np.full(grid[2] // 2 + 1, 2.0)
    pairs[0] = pairs[-1] = 1.0
    voxels = float(np.prod(grid))
    return Spectrum(power, pairs, float((power * pairs).sum() / voxels), voxels)


@lru_cache(maxsize=8)
def _axes(grid: Grid) -> tuple[Float, ...]:
    return tuple(np.arange(n, dtype=np.float32) for n in grid)


def _distance(grid: Grid, centre: Doubles, radii: Doubles) -> Float:
    """Normalised ellipsoid distance: 1 on the surface."""
    d = [
        ((a - np.float32(centre[i])) / np.float32(radii[i])) ** 2 for i, a in enumerate(_axes(grid))
    ]
    made: Float = np.sqrt(d[0][:, None, None] + d[1][None, :, None] + d[2][None, None, :])
    return made


def _soft(distance: Float, radius: float, edge: float = 1.0) -> Float:
    """Ellipsoid with an edge one voxel wide."""
    made: Float = np.clip((1 - distance) * np.float32(radius) / np.float32(edge) + 0.5, 0, 1)
    return made


@dataclass(frozen=True, slots=True)
class _Lesion:
    grid: Grid
    centre: Doubles
    radii: Doubles
    rim: float

    def templates(self, shift: Doubles) -> tuple[Float, Float]:
        """Core and rim, soft masks, at a shifted centre."""
        mean = float(self.radii.mean())
        centre = self.centre + shift
        outer = _soft(_distance(self.grid, centre, self.radii), mean)
        core = _soft(_distance(self.grid, centre, self.radii - self.rim), mean - self.rim)
        return core, np.maximum(outer - core, 0)


def _place(grid: Grid, rng: np.random.Generator, others: list[_Lesion], radii: Doubles) -> Doubles:
    margin = radii + 1.0
    best, best_gap = margin, -np.inf
    for _ in range(12):
        centre = margin + rng.random(3) * (np.array(grid) - 1 - 2 * margin)
        gaps = [
            float(np.sqrt(((centre - o.centre) ** 2).sum()) - radii.mean() - o.radii.mean())
            for o in others
        ]
        gap = min(gaps, default=np.inf)
        if gap > best_gap:
            best, best_gap = centre, gap
        if gap > 3.0:
            break
    return best


def _background(rng: np.random.Generator, anatomy: Anatomy) -> Float:
    """Parenchyma and vessels, (C, D, H, W)."""
    grid, axes = anatomy.grid, _axes(anatomy.grid)
    level = anatomy.level + rng.normal(0, anatomy.level_sd).astype(np.float32)
    clean = np.broadcast_to(level[:, None, None, None], (len(level), *grid)).copy()
    for _ in range(int(rng.integers(1, 4))):
        point = rng.random(3) * np.array(grid)
        way = rng.normal(size=3)
        way /= np.sqrt((way**2).sum())
        radius = float(rng.uniform(0.9, 1.6))
        d = [axes[i] - np.float32(point[i]) for i in range(3)]
        along = (
            d[0][:, None, None] * np.float32(way[0])
            + d[1][None, :, None] * np.float32(way[1])
            + d[2][None, None, :] * np.float32(way[2])
        )
        square = (
            (d[0] ** 2)[:, None, None] + (d[1] ** 2)[None, :, None] + (d[2] ** 2)[None, None, :]
        )
        away = np.sqrt(np.maximum(square - along**2, 0))
        tube = np.clip(np.float32(radius) - away + np.float32(0.5), 0, 1)
        clean += anatomy.vessel[:, None, None, None] * tube
    return clean


def _paint(clean: Float, lesion: _Lesion, core_hu: Float, rim_hu: Float, shifts: Doubles) -> None:
    for p in range(len(clean)):
        core, rim = lesion.templates(shifts[p])
        keep = 1 - np.minimum(core + rim, 1)
        level = np.float32(np.median(clean[p, ::4, ::4, ::4]))
        # A lesion displaces the vessels under it, so only its own contrast stands there.
        clean[p] = clean[p] * keep + (1 - keep) * level + core * core_hu[p] + rim * rim_hu[p]


def _distract(
    rng: np.random.Generator, anatomy: Anatomy, clean: Float, real: _Lesion, shifts: Doubles
) -> None:
    """One to three lesions that tell nothing."""
    placed, mimic = [real], len(anatomy.distractors) - 1
    for _ in range(int(rng.integers(1, 4))):
        kind = int(rng.integers(len(anatomy.distractors)))
        size = rng.uniform(2.2, 5.0) * rng.uniform(0.85, 1.15, 3)
        other = _Lesion(anatomy.grid, _place(anatomy.grid, rng, placed, size), size, 0.6)
        hu = anatomy.distractors[kind] + np.float32(rng.normal(0, 6))
        extra = float(rng.normal())
        if kind == mimic:
            hu = hu + anatomy.core_effects[0] * np.float32(extra)
        placed.append(other)
        _paint(clean, other, hu, hu, shifts)


def render(
    rng: np.random.Generator,
    anatomy: Anatomy,
    w: tuple[float, ...],
    scanner: Scanner,
    *,
    measure: bool = False,
    channels: tuple[int, ...] | None = None,
    erased: bool = False,
) -> Render:
    """Render one study.

    Args:
        rng: The patient's image stream.
        anatomy: What is shown.
        w: (K,) components of the real lesion, standard units.
        scanner: The site's.
        measure: Also compute what the best reader could measure.
        channels: Those that this patient has; the others do not count for `measured`.
        erased: Leave the real lesion out; everything else, noise included, stays the same.
    """
    count, grid = len(anatomy.channels), anatomy.grid
    clean = _background(rng, anatomy)
    radii = np.sort(rng.uniform(*anatomy.radii, 3))[rng.permutation(3)]
    real = _Lesion(grid, _place(grid, rng, [], radii), radii, float(rng.uniform(1.2, 1.7)))
    shifts = rng.normal(0, 0.4, (count, 3))
    nuisance = float(rng.normal(0, anatomy.nuisance))
    _distract(rng, anatomy, clean, real, shifts)
    if not erased:
        _paint(clean, real, anatomy.core_of(nuisance, w), anatomy.rim_of(w), shifts)
    gain = np.float32(1 + rng.normal(0, scanner.gain))
    offset = np.float32(rng.normal(0, scanner.offset_hu))
    noise = smooth(rng.standard_normal((count + 1, *grid), dtype=np.float32), PASSES)
    noise = noise * spectrum(grid).scale
    own = noise[:count] * np.float32(scanner.noise_hu)
    own += np.float32(WHITE) * rng.standard_normal((count, *grid), dtype=np.float32)
    hu = smooth(clean, scanner.blur) * gain + offset + own + np.float32(TEXTURE) * noise[count]
    core, rim = real.templates(np.zeros(3))
    measured = cov = None
    if measure:
        soft = smooth(np.stack([core, rim]), scanner.blur) * gain
        kept = tuple(range(count)) if channels is None else channels
        measured, cov = _matched(anatomy, soft, own, (*w, nuisance), scanner.noise_hu, kept)
    return Render(np.rint(hu).astype(np.int16), (core + rim) > 0.5, measured, cov)


def _matched(
    anatomy: Anatomy,
    templates: Float,
    noise: Float,
    truth: tuple[float, ...],
    noise_hu: float,
    channels: tuple[int, ...],
) -> tuple[Doubles, Doubles]:
    """Generalised least squares of (w, nuisance) in stationary noise of known power."""
    # Imported here: rendering alone, as the pretend hospital does it, needs numpy only.
    from scipy.fft import rfftn

    known = spectrum(anatomy.grid)
    power = noise_hu**2 * known.power / known.mean + WHITE**2 + 1 / 12
    t = rfftn(templates, axes=(-3, -2, -1))
    n = rfftn(noise, axes=(-3, -2, -1))
    weighted = np.conj(t) * (known.pairs / power) / known.voxels
    information = np.einsum("axyz,bxyz->ab", weighted, t).real
    projected = np.einsum("axyz,pxyz->pa", weighted, n).real
    count = len(truth) - 1
    precision = np.diag([*[0.0] * count, anatomy.nuisance**-2])
    pull = -precision @ np.array(truth)
    for p in channels:
        rim = [slope * anatomy.rim[p] for slope in anatomy.rim_slopes]
        design = np.array([[*anatomy.core_effects[:, p], 1], [*rim, 0]])
        precision = precision + design.T @ information @ design
        pull = pull + design.T @ projected[p]
    cov = np.linalg.inv(precision)
    return (np.array(truth) + cov @ pull)[:count], cov[:count, :count]
