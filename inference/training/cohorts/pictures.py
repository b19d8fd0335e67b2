"""Pictures of one patient, rendered: a volume, or a slide's sections.

The components that a picture shows are the batch's; here they get voxels and tiles, and with
`measured` the batch learns what this very rendering leaves of them.

Source: model-rules 8 (d, i), 9.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from inference.training.cohorts import slide, volume
from inference.training.cohorts.drawing import Batch
from inference.training.cohorts.errors import NotRendered
from inference.training.cohorts.slide import Slide, Stains
from inference.training.cohorts.study import Picture
from inference.training.cohorts.volume import Anatomy

Doubles = NDArray[np.float64]
WRONG_TAGS = 0.03
STATISTICS = 30


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Volume:
    """A rendered volume.

    Attributes:
        voxels: (C, D, H, W) int16, in the order of `channels`.
        channels: What each channel is; of the anatomy's, those that were acquired.
        tags: What its header says it is; on some studies, wrong.
        lesion: (D, H, W) bool.
        measured: (K,) and cov (K, K) of its components, when asked for.
    """

    voxels: NDArray[np.int16]
    channels: tuple[str, ...]
    tags: tuple[str, ...]
    spacing_mm: tuple[float, float, float]
    lesion: NDArray[np.bool_]
    measured: Doubles | None
    cov: Doubles | None


Rendered: TypeAlias = Volume | Slide


def render(
    batch: Batch, row: int, picture: Picture, *, measure: bool = False, erased: bool = False
) -> Rendered:
    """One picture of one patient of a batch.

    Args:
        batch: Patients.
        row: Which of them.
        picture: Of the study.
        measure: Also compute what the best reader of these voxels would measure.
        erased: A volume without its lesion, all else the same.

    Raises:
        NotRendered: This patient has no such picture.
    """
    shown = batch.emitted.pictures[picture.name]
    if not shown.present[row]:
        raise NotRendered(batch.study.name, picture.name)
    names = [c.name for c in picture.components]
    w = dict(zip(names, map(float, shown.w[row]), strict=True))
    site = batch.study.sites[int(batch.emitted.site[row])]
    stream = [batch.seed, int(batch.index[row]), zlib.crc32(picture.name.encode())]
    rng = np.random.default_rng(stream)
    if isinstance(picture.shows, Stains):
        return slide.make(rng, picture.shows, w, site.stain_spread)
    kept = _acquired(np.random.default_rng([*stream, 2]), picture, site.habit)
    made = volume.render(
        rng,
        picture.shows,
        tuple(w.values()),
        site.scanner,
        measure=measure,
        channels=kept,
        erased=erased,
    )
    tags = _tags(np.random.default_rng([*stream, 1]), picture.shows)
    return Volume(
        voxels=made.ct[list(kept)],
        channels=tuple(picture.channels[c] for c in kept),
        tags=tuple(tags[c] for c in kept),
        spacing_mm=picture.shows.spacing_mm,
        lesion=made.lesion,
        measured=made.measured,
        cov=made.measured_cov,
    )


def _acquired(rng: np.random.Generator, picture: Picture, habit: float) -> tuple[int, ...]:
    """Places of the channels that this study has."""
    away = {name for name, chance in picture.lacking if rng.random() < chance + habit}
    return tuple(c for c, name in enumerate(picture.channels) if name not in away)


def _tags(rng: np.random.Generator, anatomy: Anatomy) -> tuple[str, ...]:
    """Names in the headers: seldom, two are taken for each other."""
    tags = list(anatomy.channels)
    if rng.random() < WRONG_TAGS:
        first, second = rng.permutation(len(anatomy.known_tags))[:2]
        swap = {
            anatomy.known_tags[first]: anatomy.known_tags[second],
            anatomy.known_tags[second]: anatomy.known_tags[first],
        }
        tags = [swap.get(t, t) for t in tags]
    return tuple(tags)


def statistics(picture: Picture, made: Rendered | None) -> NDArray[np.float32]:
    """30 global statistics of a picture for the baseline; NaN without it or its channel.

    Mean, SD and as many percentiles of each channel's voxels, or of each stain's tiles, as there
    is room for; then differences of means, or of slides the number of tiles and of pen marks.
    """
    out = np.full(STATISTICS, np.nan, np.float32)
    if made is None:
        return out
    if isinstance(made, Slide):
        channels = [slide.amounts(made, name) for name in picture.channels]
        rest = [float((made.kind > 0).sum()), float(made.penned.sum())]
    else:
        here = dict(zip(made.channels, made.voxels, strict=True))
        nothing = np.full(_rooms(1)[0], np.nan, np.float32)
        channels = [
            here[c].ravel()[::3].astype(np.float32) if c in here else nothing
            for c in picture.channels
        ]
        means = [float(v.mean()) for v in channels]
        rest = [means[0] - means[-1], means[len(means) // 2] - means[-1]]
    start = 0
    for values, room in zip(channels, _rooms(len(channels)), strict=True):
        ordered = np.sort(values)
        at = np.linspace(0.04, 0.96, room - 2)
        found = [values.mean(), values.std(), *ordered[(at * (len(values) - 1)).astype(int)]]
        out[start : start + room] = found
        start += room
    out[-2:] = rest
    return out


def _rooms(channels: int) -> list[int]:
    """How many statistics each channel gets."""
    each, over = divmod(STATISTICS - 2, channels)
    return [each + (c < over) for c in range(channels)]


def measured(batch: Batch, made: Mapping[str, Sequence[Rendered | None]]) -> Batch:
    """The batch with what these renderings leave of its components.

    Args:
        batch: Patients.
        made: Picture to its rendering (with `measure`) for each patient, or None.
    """
    seen = {}
    for picture in batch.study.pictures:
        shown = batch.emitted.pictures[picture.name]
        value, cov = shown.measured.copy(), shown.cov.copy()
        for row, one in enumerate(made[picture.name]):
            if one is not None:
                value[row], cov[row] = reading(picture, one)
        seen[picture.name] = (value, cov)
    return with_readings(batch, seen)


def with_readings(batch: Batch, seen: Mapping[str, tuple[Doubles, Doubles]]) -> Batch:
    """The batch with other measurements (n, K) and covariances (n, K, K) of its pictures."""
    found = {
        name: replace(batch.emitted.pictures[name], measured=value, cov=cov)
        for name, (value, cov) in seen.items()
    }
    return replace(batch, emitted=replace(batch.emitted, pictures=found))


def reading(picture: Picture, made: Rendered) -> tuple[Doubles, Doubles]:
    """Components (K,) and covariance (K, K) as the best reader of a rendering measures them."""
    if isinstance(made, Slide):
        pairs = [made.measured[c.name] for c in picture.components]
        return np.array([p[0] for p in pairs]), np.diag([p[1] for p in pairs])
    if made.measured is None or made.cov is None:
        raise NotRendered("", f"{picture.name} with its measurement")
    return made.measured, made.cov
