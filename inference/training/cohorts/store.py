"""A cohort's splits on disk, streamed block by block: nothing of it is ever held whole.

A split is a folder: `rows.jsonl` with each patient's facts and events, one memory-mapped array a
file for everything that is a number, and `done.json`, without which it is made again. Volumes are
kept as sums of 2x2x2 clipped voxels, slides as codes of the texture bank with the strength of
their dyes, which is all that renders them.

Source: model-rules 10 (splits, streaming, memory).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from inference.training.cohort import pool
from inference.training.cohorts import patients, pictures
from inference.training.cohorts.drawing import Batch, draw
from inference.training.cohorts.errors import ForeignSplit
from inference.training.cohorts.patients import Fact, Patient
from inference.training.cohorts.pictures import Rendered, Volume
from inference.training.cohorts.slide import SIDE, Slide
from inference.training.cohorts.study import Picture, Set, Study
from inference.training.cohorts.volume import Anatomy
from mappings.record_json import value_to_json

BLOCK = 128
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A split that was made.

    Attributes:
        arrays: Name to memory map, one row a patient. Of every study: `label`, `site`, `z`,
            `observed_months`, `observed_cause`, `risk`, `index_day`, `earlier`; of each picture:
            `NAME/present`, `NAME/w`, `NAME/measured`, `NAME/cov`, `NAME/statistics`; of volumes
            `NAME/pooled` (0 in channels that were not acquired), `NAME/acquired` and `NAME/mask`,
            of slides `NAME/look`, `NAME/gain`, `NAME/tiles` (kind, T, B, blurred, penned); of a
            study with a prognosis `operated`, and from the operation `pfs_months`, `pfs_event`,
            `os_months`, `os_event`, without meaning where there was none.
        sha256: Over everything emitted and every label.
    """

    folder: Path
    arrays: Arrays
    sha256: str

    def rows(self) -> Iterator[dict[str, Any]]:
        """Each patient's facts and events, in order, read as they are asked for."""
        with (self.folder / "rows.jsonl").open(encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)

    def batch(self, study: Study) -> Batch:
        """The patients again, pictures measured as they were rendered: for bound and baselines.

        Raises:
            ForeignSplit: The folder is another study's.
        """
        made = json.loads((self.folder / "done.json").read_text("utf-8"))
        _same(self.folder, made, {"generator": study.version})
        index = made["first"] + np.arange(made["n"])
        batch = draw(study, made["seed"], index, made["set"])
        seen = {
            p.name: (self.arrays[f"{p.name}/measured"], self.arrays[f"{p.name}/cov"])
            for p in study.pictures
        }
        return pictures.with_readings(batch, seen)


def build(
    study: Study,
    folder: Path,
    *,
    seed: int,
    first: int,
    n: int,
    which: Set = "internal",
    progress: Callable[[float], None] = lambda _done: None,
) -> Split:
    """Make one split, or read it when it is there already.

    Args:
        study: The declaration.
        folder: Of this split alone.
        seed: Of the cohort.
        first: Index of its first patient; splits whose indices do not meet share nobody.
        n: How many.
        which: The set.
        progress: Told the share that is done.

    Raises:
        ForeignSplit: The folder holds another split.
    """
    wanted = {"generator": study.version, "seed": seed, "set": which, "first": first, "n": n}
    done = folder / "done.json"
    if done.exists():
        _same(folder, json.loads(done.read_text("utf-8")), wanted)
        return read(folder)
    folder.mkdir(parents=True, exist_ok=True)
    arrays: Arrays = {}
    for name, kind in _kinds(study).items():
        arrays[name] = _create(folder, name, n, *kind)
    digest = hashlib.sha256()
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as lines:
        for start in range(0, n, BLOCK):
            index = first + np.arange(start, min(start + BLOCK, n))
            _write(draw(study, seed, index, which), start, arrays, lines.write, digest)
            progress(min(start + BLOCK, n) / n)
    for array in arrays.values():
        assert isinstance(array, np.memmap)
        array.flush()
    done.write_text(json.dumps({**wanted, "sha256": digest.hexdigest()}), "utf-8")
    return read(folder)


def read(folder: Path) -> Split:
    """A split that `build` finished."""
    files = sorted(folder.rglob("*.npy"))
    names = [str(f.relative_to(folder).with_suffix("")) for f in files]
    made = json.loads((folder / "done.json").read_text("utf-8"))
    arrays = {n: np.load(f, "r") for n, f in zip(names, files, strict=True)}
    return Split(folder=folder, arrays=arrays, sha256=made["sha256"])


def _same(folder: Path, made: dict[str, Any], wanted: dict[str, Any]) -> None:
    for key, value in wanted.items():
        if made.get(key) != value:
            raise ForeignSplit(str(folder), key)


def _create(
    folder: Path, name: str, n: int, dtype: DTypeLike, shape: tuple[int, ...]
) -> np.memmap[Any, Any]:
    path = folder / f"{name}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    made: np.memmap[Any, Any] = np.lib.format.open_memmap(path, "w+", dtype, (n, *shape))
    return made


def _kinds(study: Study) -> dict[str, tuple[DTypeLike, tuple[int, ...]]]:
    """Name to type and shape of one patient's row."""
    made: dict[str, tuple[DTypeLike, tuple[int, ...]]] = {
        "label": (np.int8, ()),
        "site": (np.int8, ()),
        "risk": (np.float64, ()),
        "z": (np.float64, (len(study.latents),)),
        "observed_months": (np.float64, ()),
        "observed_cause": (np.int8, ()),
        "index_day": (np.int16, ()),
        "earlier": (np.int16, ()),
    }
    if study.prognosis is not None:
        made |= {"operated": (np.bool_, ())}
        for end in ("pfs", "os"):
            made |= {f"{end}_months": (np.float64, ()), f"{end}_event": (np.bool_, ())}
    for picture in study.pictures:
        count, name = len(picture.components), picture.name
        made |= {
            f"{name}/present": (np.bool_, ()),
            f"{name}/w": (np.float64, (count,)),
            f"{name}/measured": (np.float64, (count,)),
            f"{name}/cov": (np.float64, (count, count)),
            f"{name}/statistics": (np.float32, (pictures.STATISTICS,)),
        }
        made |= {f"{name}/{part}": kind for part, kind in _shapes(picture).items()}
    return made


def _shapes(picture: Picture) -> dict[str, tuple[DTypeLike, tuple[int, ...]]]:
    channels = len(picture.channels)
    if isinstance(picture.shows, Anatomy):
        d, h, w = (side // 2 for side in picture.shows.grid)
        return {
            "pooled": (np.int16, (channels, d, h, w)),
            "acquired": (np.bool_, (channels,)),
            "mask": (np.uint8, (d, h, w)),
        }
    return {
        "look": (np.int16, (channels, SIDE, SIDE)),
        "gain": (np.float32, (channels, 2)),
        "tiles": (np.uint8, (5, SIDE, SIDE)),
    }


def _write(
    batch: Batch, start: int, arrays: Arrays, line: Callable[[str], object], digest: Any
) -> None:
    rows = slice(start, start + len(batch))
    arrays["label"][rows], arrays["site"][rows] = batch.label, batch.emitted.site
    arrays["risk"][rows], arrays["z"][rows] = batch.risk, batch.z
    arrays["observed_months"][rows] = batch.events.observed_months
    arrays["observed_cause"][rows] = batch.events.observed_cause
    arrays["index_day"][rows] = batch.emitted.index_day
    arrays["earlier"][rows] = batch.emitted.earlier
    if batch.course is not None:
        arrays["operated"][rows] = batch.course.operated
        for end, seen in (("pfs", batch.course.pfs), ("os", batch.course.os)):
            arrays[f"{end}_months"][rows], arrays[f"{end}_event"][rows] = seen
    for picture in batch.study.pictures:
        shown = batch.emitted.pictures[picture.name]
        arrays[f"{picture.name}/present"][rows] = shown.present
        arrays[f"{picture.name}/w"][rows] = shown.w
        arrays[f"{picture.name}/measured"][rows] = shown.measured
        arrays[f"{picture.name}/cov"][rows] = shown.cov
    for row in range(len(batch)):
        one = Patient(batch=batch.rows(slice(row, row + 1)))
        text = json.dumps(described(one), ensure_ascii=False, sort_keys=True)
        line(text + "\n")
        digest.update(text.encode() + bytes([int(batch.label[row])]))
        for picture in batch.study.pictures:
            made = one.picture(picture.name, measure=True) if one.has(picture.name) else None
            digest.update(_keep(picture, made, start + row, arrays))


def described(one: Patient) -> dict[str, Any]:
    """A patient's facts and events, JSON values only."""
    return {
        "number": one.number,
        "site": one.site.name,
        "age_years": one.age_years,
        "sex": one.sex,
        "facts": [_fact(f) for f in patients.facts(one)],
        "events": [
            {
                "months": e.months,
                "code": e.code.code if e.code else None,
                "details": dict(e.details),
            }
            for e in patients.registry(one)
        ],
    }


def _fact(fact: Fact) -> dict[str, Any]:
    return {
        "kind": fact.kind,
        "name": fact.name,
        "code": [fact.code.system, fact.code.code],
        "value": None if fact.value is None else value_to_json(fact.value),
        "sub_id": fact.sub_id,
        "days": fact.days,
    }


def _keep(picture: Picture, made: Rendered | None, row: int, arrays: Arrays) -> bytes:
    """Store one picture; its bytes for the digest."""
    name = picture.name
    arrays[f"{name}/statistics"][row] = pictures.statistics(picture, made)
    if made is None:
        return b""
    arrays[f"{name}/measured"][row], arrays[f"{name}/cov"][row] = pictures.reading(picture, made)
    if isinstance(made, Volume):
        there = np.isin(picture.channels, made.channels)
        arrays[f"{name}/acquired"][row] = there
        arrays[f"{name}/pooled"][row, there] = pool(made.voxels)
        d, h, w = made.lesion.shape
        eighths = made.lesion.reshape(d // 2, 2, h // 2, 2, w // 2, 2).sum((1, 3, 5))
        arrays[f"{name}/mask"][row] = eighths
        return made.voxels.tobytes()
    arrays[f"{name}/look"][row] = np.stack([made.look[s] for s in picture.channels])
    arrays[f"{name}/gain"][row] = np.stack([made.gain[s] for s in picture.channels])
    arrays[f"{name}/tiles"][row] = _tiles(made)
    kept: list[bytes] = [arrays[f"{name}/{part}"][row].tobytes() for part in ("look", "tiles")]
    return b"".join(kept)


def _tiles(made: Slide) -> NDArray[np.uint8]:
    return np.stack([made.kind, made.t, made.b, made.blurred, made.penned]).astype(np.uint8)
