"""Cohort splits on disk: what training needs of each patient, streamed once and memory-mapped.

A patient's volume is kept as 2x2x2 sums of clipped HU (int16, 55 kB), which is exactly what the
encoder's first layer makes of it. Each split is one folder and is resumable: a folder with its
`done.json` is never made again.

Source: model-rules 10 (splits, streaming, memory).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.training import bound, liver, liver_ct

HU_CLIP = (-200, 300)
POOLED = (4, 12, 24, 24)
STATISTICS = 30
# A trains encoders, B heads and stacker, C calibration, D threshold, T test, E external site.
SPLITS = ("A", "B", "C", "D", "T", "E")
SIZES = {
    "full": {"A": 12_000, "B": 6_000, "C": 2_500, "D": 2_500, "T": 10_000, "E": 2_000},
    "smoke": {"A": 48, "B": 96, "C": 48, "D": 48, "T": 64, "E": 24},
}
# Patients of a split are numbered from here: splits never share one.
_FIRST = {name: 10_000_000 * (i + 1) for i, name in enumerate(SPLITS)}
# Patients 50,000,000 to 56,999,999 were looked at while the model was designed: no test on them.
_FIRST["T"] += 7_000_000


@dataclass(frozen=True, slots=True)
class Split:
    """One split, read back.

    Attributes:
        pooled: (n, 4, 12, 24, 24) int16 memory map, sums of 8 clipped HU.
        mask: (n, 12, 24, 24) uint8 memory map, lesion voxels of 8.
        arrays: Labels, latents, phases, statistics and the bound's measurements.
        rows: Labs, texts, age and sex of each patient.
    """

    name: str
    pooled: NDArray[np.int16]
    mask: NDArray[np.uint8]
    arrays: dict[str, NDArray[Any]]
    rows: list[dict[str, Any]]

    @property
    def label(self) -> NDArray[np.int64]:
        """(n,) 1 malignant."""
        return self.arrays["label"]

    def measurements(self) -> bound.Measurements:
        """What the Bayes bound reads."""
        return bound.Measurements(
            **{name: self.arrays[f"m_{name}"] for name in bound.Measurements.__slots__}
        )


def index_of(split: str, row: int) -> int:
    """The patient's index in the generator."""
    return _FIRST[split] + row


def pool(ct: NDArray[np.int16]) -> NDArray[np.int16]:
    """(4, 24, 48, 48) HU to (4, 12, 24, 24) sums of 8 clipped voxels."""
    clipped = np.clip(ct, *HU_CLIP)
    c, d, h, w = clipped.shape
    made: NDArray[np.int16] = clipped.reshape(c, d // 2, 2, h // 2, 2, w // 2, 2).sum(
        (2, 4, 6), dtype=np.int16
    )
    return made


def statistics(ct: NDArray[np.int16], phases: tuple[str, ...]) -> NDArray[np.float32]:
    """30 global statistics of a volume for the baseline; NaN where a phase is absent."""
    out = np.full(STATISTICS, np.nan, np.float32)
    for c, phase in enumerate(liver.PHASES):
        if phase in phases:
            v = np.sort(ct[c].ravel()[::3]).astype(np.float32)
            at = (np.array([0.05, 0.25, 0.5, 0.75, 0.95]) * (v.size - 1)).astype(int)
            out[c * 7 : c * 7 + 7] = [v.mean(), v.std(), *v[at]]
    out[28], out[29] = out[7] - out[14], out[14] - out[21]
    return out


def _row(p: liver.SyntheticPatient) -> dict[str, Any]:
    return {
        "labs": {k: [str(v), u] for k, (v, u) in p.labs.items()},
        "findings": p.findings,
        "impression": p.impression,
        "age": p.age_years,
        "sex": p.sex,
        "site": p.site,
        "phases": list(p.phases),
    }


def build(
    folder: Path, name: str, n: int, seed: int, progress: Callable[[str, float], None]
) -> Split:
    """Make one split, or read it when it is already there."""
    here = folder / name
    done = here / "done.json"
    wanted = {"generator": liver.GENERATOR, "seed": seed, "n": n, "first": _FIRST[name]}
    if done.exists():
        made = json.loads(done.read_text())
        if {k: made[k] for k in wanted} == wanted:
            return read(folder, name)
    here.mkdir(parents=True, exist_ok=True)
    measure, external = name in ("T", "E"), name == "E"
    pooled = np.lib.format.open_memmap(here / "pooled.npy", "w+", np.int16, (n, *POOLED))
    mask = np.lib.format.open_memmap(here / "mask.npy", "w+", np.uint8, (n, *POOLED[1:]))
    kept, digest = [], hashlib.sha256()
    stats = np.empty((n, STATISTICS), np.float32)
    with (here / "rows.jsonl").open("w", encoding="utf-8") as rows:
        for i in range(n):
            p = liver.patient(seed, index_of(name, i), measure=measure, external=external)
            assert p.ct is not None
            assert p.truth.lesion is not None
            pooled[i], stats[i] = pool(p.ct), statistics(p.ct, p.phases)
            d, h, w = p.truth.lesion.shape
            mask[i] = p.truth.lesion.reshape(d // 2, 2, h // 2, 2, w // 2, 2).sum((1, 3, 5))
            line = json.dumps(_row(p), ensure_ascii=False, sort_keys=True)
            rows.write(line + "\n")
            digest.update(line.encode() + p.ct.tobytes() + bytes([p.label]))
            kept.append(_without_voxels(p))
            if i % 50 == 0:
                progress(f"cohort {name}", i / n)
    pooled.flush()
    mask.flush()
    arrays: dict[str, Any] = _arrays(kept, stats, external=external)
    np.savez(here / "arrays.npz", **arrays)
    done.write_text(json.dumps({**wanted, "sha256": digest.hexdigest()}))
    return read(folder, name)


def _without_voxels(p: liver.SyntheticPatient) -> liver.SyntheticPatient:
    truth = liver.Truth(**{n: getattr(p.truth, n) for n in liver.Truth.__slots__ if n != "lesion"})
    fields = {n: getattr(p, n) for n in liver.SyntheticPatient.__slots__}
    return liver.SyntheticPatient(**{**fields, "ct": None, "truth": truth})


def _arrays(
    patients: list[liver.SyntheticPatient], stats: NDArray[np.float32], *, external: bool
) -> dict[str, NDArray[Any]]:
    m = bound.measurements(patients, external=external)
    return {
        "label": np.array([p.label for p in patients], np.int64),
        "site": np.array([p.site for p in patients], np.int64),
        "w": np.array([p.truth.w for p in patients]),
        "z": np.array([p.truth.z for p in patients]),
        "phases": np.array(
            [[float(c in p.phases) for c in liver.PHASES] for p in patients], np.float32
        ),
        "statistics": stats,
        **{f"m_{name}": getattr(m, name) for name in bound.Measurements.__slots__},
    }


def read(folder: Path, name: str) -> Split:
    """A split that `build` finished."""
    here = folder / name
    with np.load(here / "arrays.npz") as arrays:
        loaded = {k: arrays[k] for k in arrays.files}
    return Split(
        name,
        np.load(here / "pooled.npy", "r"),
        np.load(here / "mask.npy", "r"),
        loaded,
        [json.loads(line) for line in (here / "rows.jsonl").read_text("utf-8").splitlines()],
    )


def digest(folder: Path, name: str) -> str:
    """SHA-256 over everything emitted of a split."""
    return str(json.loads((folder / name / "done.json").read_text())["sha256"])


def labs_of(row: dict[str, Any]) -> dict[str, tuple[Decimal, str]]:
    """The labs of a row as the generator emitted them."""
    return {k: (Decimal(v), u) for k, (v, u) in row["labs"].items()}


assert tuple(2 * n for n in POOLED[1:]) == liver_ct.GRID
