"""Clauses of the contract that need voxels and tiles: statistics, lesions, disturbances.

Source: model-rules 8 (c, d, i).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor

from inference.evaluation.metrics import logit
from inference.training.cohorts import expected, pictures
from inference.training.cohorts.bound import bound
from inference.training.cohorts.drawing import Batch
from inference.training.cohorts.pictures import Rendered, Volume
from inference.training.cohorts.slide import Slide
from inference.training.cohorts.study import Picture, Study
from inference.training.contract import Clause

Made: TypeAlias = dict[str, list[Rendered | None]]


def rendered(batch: Batch) -> tuple[Batch, Made]:
    """The patients with their pictures, measured on these."""
    made: Made = {}
    for picture in batch.study.pictures:
        there = batch.emitted.pictures[picture.name].present
        made[picture.name] = [
            _light(pictures.render(batch, row, picture, measure=True), picture)
            if there[row]
            else None
            for row in range(len(batch))
        ]
    return pictures.measured(batch, made), made


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Seen(Volume):
    """A volume of which only statistics are kept: thousands fit into memory."""

    kept: NDArray[np.float32]


def _light(made: Rendered, picture: Picture) -> Rendered:
    if isinstance(made, Slide):
        return made
    return _Seen(
        voxels=made.voxels[:, :0],
        channels=made.channels,
        tags=made.tags,
        spacing_mm=made.spacing_mm,
        lesion=made.lesion,
        measured=made.measured,
        cov=made.cov,
        kept=pictures.statistics(picture, made),
    )


def kept(picture: Picture, made: Rendered | None) -> NDArray[np.float32]:
    """Its 30 global statistics; NaN without a picture."""
    return made.kept if isinstance(made, _Seen) else pictures.statistics(picture, made)


def share_recovered(some: Batch, picture: Picture, made: list[Rendered | None]) -> Clause:
    """Clause c, at its hardest: boosting learns the picture's own posterior, not the coin."""
    there = some.emitted.pictures[picture.name].present
    batch = some.rows(there)
    x = np.stack([kept(picture, m) for m in made if m is not None])
    alone = bound(
        batch, frozenset({some.study.modality(picture)}), draws=64, demographics=False
    ).risk
    half = len(batch) // 2
    model = HistGradientBoostingRegressor(
        max_iter=150, learning_rate=0.06, max_leaf_nodes=15, min_samples_leaf=40, random_state=3
    )
    site = batch.emitted.site
    score = model.fit(np.concatenate([x, site[:, None]], 1)[:half], logit(alone[:half])).predict(
        np.concatenate([x, site[:, None]], 1)[half:]
    )
    found, possible = [], []
    for number in range(len(batch.study.sites)):
        rows = site[half:] == number
        found.append(expected.auc(batch.risk[half:][rows], score[rows]))
        possible.append(expected.auc(batch.risk[half:][rows], alone[half:][rows]))
    share = float((np.mean(found) - 0.5) / (np.mean(possible) - 0.5))
    return Clause(
        "c",
        f"boosting on 30 global statistics of {picture.name} recovers {share:.2f} of its AUC - 0.5 "
        f"({np.mean(possible) - 0.5:.3f}), within site, n {len(batch)}",
        "at most 0.33",
        share <= 1 / 3,
    )


def lesions(study: Study, made: Made) -> Iterator[Clause]:
    """Clause d, of each kind of volume."""
    for picture in study.pictures:
        volumes = [m for m in made[picture.name] if isinstance(m, Volume)]
        if volumes:
            share = np.array([m.lesion.mean() for m in volumes])
            yield Clause(
                "d",
                f"lesion of {picture.name} fills {share.mean():.3f} of the volume, at most "
                f"{share.max():.3f}; 1 to 3 distractors, texture, gain, offset, blur",
                "at most 0.05",
                bool(share.max() <= 0.05),
            )


def disturbed(batch: Batch, made: Made) -> Clause:
    """Clause i: what a registrar, a scanner and a slide get wrong."""
    events, horizon = batch.events, batch.study.outcome.horizon_months
    ill = (events.cause >= 1) & (events.cause <= batch.study.headline_causes)
    clean = ill & (events.months <= horizon)
    wrong = float((clean != (batch.label == 1)).mean())
    told, all_there = [f"label noise {wrong:.3f}"], 0 < wrong <= 0.05
    for picture in batch.study.pictures:
        name, many = picture.name, made.get(picture.name, [])
        volumes = [m for m in many if isinstance(m, Volume)]
        slides = [m for m in many if isinstance(m, Slide)]
        if volumes:
            tags = float(np.mean([m.tags != m.channels for m in volumes]))
            lacking = _lacking(picture, volumes)
            told.append(f"{name}: wrong tags {tags:.3f}, motion 0.4 voxel{lacking}")
            all_there = all_there and tags > 0
        if slides:
            pen = float(np.mean([m.penned.any() for m in slides]))
            dull = float(np.mean([m.blurred.mean() for m in slides]))
            told.append(f"{name}: pen on {pen:.2f} of slides, {dull:.3f} of tiles blurred")
            all_there = all_there and min(pen, dull) > 0
    return Clause("i", "; ".join(told), "all of them", all_there)


def _lacking(picture: Picture, volumes: list[Volume]) -> str:
    """How often channels that may be lacking are."""
    share = {c: np.mean([c not in v.channels for v in volumes]) for c, _ in picture.lacking}
    return "".join(f", without {c} {v:.2f}" for c, v in share.items())
