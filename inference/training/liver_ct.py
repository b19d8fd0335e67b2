"""The four-phase CT of the synthetic liver cohort, and how much of the lesion its noise leaves.

One real lesion anywhere in a block of liver, with wash-out in its core and a rim; vessels; one to
three distractors without information (cyst, hemangioma, arterial enhancement, wash-out mimic);
correlated noise, gain, offset, blur and motion. Only sums, products and square roots touch the
voxels, so that one seed gives the same bytes on any machine with IEEE floats.

Source: model-rules 8 (d); feasibility.md, "CT volume", set 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]

GRID = (24, 48, 48)
SPACING_MM = (4.0, 4.0, 4.0)
PARENCHYMA_HU = np.array([55, 70, 110, 92], np.float32)
CORE_HU = np.array([-10, 20, -4, -14], np.float32)
WASH_OUT_HU = np.array([0, 9, -3, -9], np.float32)
RIM_SHAPE = np.array([0, 0.2, 1, 1], np.float32)
RIM_HU, RIM_SLOPE_HU = 26.0, 7.0
NUISANCE_HU = 8.0
WHITE_HU, TEXTURE_HU = 3.0, 4.0
VESSEL_HU = np.array([-8, 15, 45, 30], np.float32)
DISTRACTORS_HU = (
    np.array([-42, -50, -75, -62], np.float32),  # cyst
    np.array([-8, 12, 22, 24], np.float32),  # hemangioma: fills in and stays
    np.array([0, 30, 2, 0], np.float32),  # arterial enhancement without wash-out
    CORE_HU,  # wash-out mimic: no rim, its own random wash-out
)
# Power of the correlated noise: two passes of [1 2 1]/4 along each axis, scaled to variance 1.
_PASSES = 2


@dataclass(frozen=True, slots=True)
class Scanner:
    """What a site's CT adds: noise SD in HU, blur passes of [1 2 1]/4, gain and offset spread."""

    noise_hu: float
    blur: int
    gain: float
    offset_hu: float


@dataclass(frozen=True, slots=True)
class Render:
    """A rendered study.

    Attributes:
        ct: (4, 24, 48, 48) int16 HU, order NC AP PV DL; every phase is rendered.
        lesion: (24, 48, 48) bool, core and rim of the real lesion, reference position.
        measured: w1, w2 as the best reader of these pixels would measure them (matched filter on
            the true noise; place, distractors, motion, gain and texture known), when asked for.
        measured_cov: (2, 2) covariance of that measurement.
    """

    ct: NDArray[np.int16]
    lesion: NDArray[np.bool_]
    measured: NDArray[np.float64] | None
    measured_cov: NDArray[np.float64] | None


def _smooth(x: Float, passes: int) -> Float:
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


def _transfer() -> NDArray[np.float64]:
    axes = [((1 + np.cos(2 * np.pi * np.fft.fftfreq(n))) / 2) ** _PASSES for n in GRID[:2]]
    last = ((1 + np.cos(2 * np.pi * np.fft.rfftfreq(GRID[2]))) / 2) ** _PASSES
    made: NDArray[np.float64] = (
        axes[0][:, None, None] * axes[1][None, :, None] * last[None, None, :]
    )
    return made


_H2 = _transfer() ** 2
# Real transforms hold each frequency pair once; these weights count both.
_PAIRS = np.full(GRID[2] // 2 + 1, 2.0)
_PAIRS[0] = _PAIRS[-1] = 1.0
_VOXELS = float(np.prod(GRID))
_MEAN_H2 = float((_H2 * _PAIRS).sum() / _VOXELS)
_NOISE_SCALE = np.float32(1.0 / np.sqrt(_MEAN_H2))
_AXES = tuple(np.arange(n, dtype=np.float32) for n in GRID)


def _distance(centre: NDArray[np.float64], radii: NDArray[np.float64]) -> Float:
    """Normalised ellipsoid distance: 1 on the surface."""
    d = [((_AXES[i] - np.float32(centre[i])) / np.float32(radii[i])) ** 2 for i in range(3)]
    made: Float = np.sqrt(d[0][:, None, None] + d[1][None, :, None] + d[2][None, None, :])
    return made


def _soft(distance: Float, radius: float, edge: float = 1.0) -> Float:
    """Ellipsoid with an edge one voxel wide."""
    made: Float = np.clip((1 - distance) * np.float32(radius) / np.float32(edge) + 0.5, 0, 1)
    return made


@dataclass(frozen=True, slots=True)
class _Lesion:
    centre: NDArray[np.float64]
    radii: NDArray[np.float64]
    rim: float

    def templates(self, shift: NDArray[np.float64]) -> tuple[Float, Float]:
        """Core and rim, soft masks, at a shifted centre."""
        mean = float(self.radii.mean())
        outer = _soft(_distance(self.centre + shift, self.radii), mean)
        core = _soft(_distance(self.centre + shift, self.radii - self.rim), mean - self.rim)
        return core, np.maximum(outer - core, 0)


def _place(
    rng: np.random.Generator, others: list[_Lesion], radii: NDArray[np.float64]
) -> NDArray[np.float64]:
    margin = radii + 1.0
    best, best_gap = margin, -np.inf
    for _ in range(12):
        centre = margin + rng.random(3) * (np.array(GRID) - 1 - 2 * margin)
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


def _background(rng: np.random.Generator) -> Float:
    """Parenchyma and vessels, (4, 24, 48, 48) HU."""
    level = PARENCHYMA_HU + rng.normal(0, (5, 6, 8, 7)).astype(np.float32)
    clean = np.broadcast_to(level[:, None, None, None], (4, *GRID)).copy()
    for _ in range(int(rng.integers(1, 4))):
        point = rng.random(3) * np.array(GRID)
        way = rng.normal(size=3)
        way /= np.sqrt((way**2).sum())
        radius = float(rng.uniform(0.9, 1.6))
        d = [_AXES[i] - np.float32(point[i]) for i in range(3)]
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
        clean += VESSEL_HU[:, None, None, None] * tube
    return clean


def _paint(
    clean: Float, lesion: _Lesion, core_hu: Float, rim_hu: Float, shifts: NDArray[np.float64]
) -> None:
    for p in range(4):
        core, rim = lesion.templates(shifts[p])
        keep = 1 - np.minimum(core + rim, 1)
        level = np.float32(np.median(clean[p, ::4, ::4, ::4]))
        # A lesion displaces the vessels under it, so only its own contrast stands there.
        clean[p] = clean[p] * keep + (1 - keep) * level + core * core_hu[p] + rim * rim_hu[p]


def render(
    rng: np.random.Generator,
    w1: float,
    w2: float,
    scanner: Scanner,
    *,
    measure: bool = False,
    phases: tuple[int, ...] = (0, 1, 2, 3),
    erased: bool = False,
) -> Render:
    """Render one study.

    Args:
        rng: The patient's image stream.
        w1: Wash-out of the real lesion, standard units.
        w2: Strength of its rim, standard units.
        scanner: The site's CT.
        measure: Also compute what the best reader could measure.
        phases: Channels that this patient has; the others do not count for `measured`.
        erased: Leave the real lesion out; everything else, noise included, stays the same.
    """
    clean = _background(rng)
    radii = np.sort(rng.uniform(4.5, 7.0, 3))[rng.permutation(3)]
    real = _Lesion(_place(rng, [], radii), radii, float(rng.uniform(1.2, 1.7)))
    shifts = rng.normal(0, 0.4, (4, 3))
    nuisance = float(rng.normal(0, NUISANCE_HU))
    placed = [real]
    for _ in range(int(rng.integers(1, 4))):
        kind = int(rng.integers(len(DISTRACTORS_HU)))
        size = rng.uniform(2.2, 5.0) * rng.uniform(0.85, 1.15, 3)
        other = _Lesion(_place(rng, placed, size), size, 0.6)
        hu = DISTRACTORS_HU[kind] + np.float32(rng.normal(0, 6))
        extra = float(rng.normal())
        if kind == 3:
            hu = hu + WASH_OUT_HU * np.float32(extra)
        placed.append(other)
        _paint(clean, other, hu, hu, shifts)
    if not erased:
        core_hu = CORE_HU + np.float32(nuisance) + WASH_OUT_HU * np.float32(w1)
        rim_hu = RIM_SHAPE * np.float32(RIM_HU + RIM_SLOPE_HU * w2)
        _paint(clean, real, core_hu, rim_hu, shifts)
    gain = np.float32(1 + rng.normal(0, scanner.gain))
    offset = np.float32(rng.normal(0, scanner.offset_hu))
    noise = _smooth(rng.standard_normal((5, *GRID), dtype=np.float32), _PASSES) * _NOISE_SCALE
    own = noise[:4] * np.float32(scanner.noise_hu)
    own += np.float32(WHITE_HU) * rng.standard_normal((4, *GRID), dtype=np.float32)
    hu = _smooth(clean, scanner.blur) * gain + offset + own + np.float32(TEXTURE_HU) * noise[4]
    core, rim = real.templates(np.zeros(3))
    measured = cov = None
    if measure:
        soft = _smooth(np.stack([core, rim]), scanner.blur) * gain
        measured, cov = _matched(soft, own, (w1, w2, nuisance), scanner.noise_hu, phases)
    return Render(np.rint(hu).astype(np.int16), (core + rim) > 0.5, measured, cov)


def _matched(
    templates: Float,
    noise: Float,
    truth: tuple[float, float, float],
    noise_hu: float,
    phases: tuple[int, ...],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Generalised least squares of (w1, w2, nuisance) in stationary noise of known power."""
    # Imported here: rendering alone, as the pretend hospital does it, needs numpy only.
    from scipy.fft import rfftn

    power = noise_hu**2 * _H2 / _MEAN_H2 + WHITE_HU**2 + 1 / 12
    t = rfftn(templates, axes=(-3, -2, -1))
    n = rfftn(noise, axes=(-3, -2, -1))
    weighted = np.conj(t) * (_PAIRS / power) / _VOXELS
    information = np.einsum("axyz,bxyz->ab", weighted, t).real
    projected = np.einsum("axyz,pxyz->pa", weighted, n).real
    precision = np.diag([0, 0, NUISANCE_HU**-2])
    pull = -precision @ np.array(truth)
    for p in phases:
        design = np.array([[WASH_OUT_HU[p], 0, 1], [0, RIM_SLOPE_HU * RIM_SHAPE[p], 0]])
        precision = precision + design.T @ information @ design
        pull = pull + design.T @ projected[p]
    cov = np.linalg.inv(precision)
    return (np.array(truth) + cov @ pull)[:2], cov[:2, :2]
