"""Train `liver_dx` from nothing but a seed, and write its pack folder.

Splits never meet: A trains encoders, B heads and stacker, C calibration, D threshold and
reference ranges, T is opened once at the end, E is a hospital with reversed prevalences. Every
step is kept in the work folder and is not done twice.

Source: model-rules 8 to 23.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from inference import conform, manifest, manifest_reading, packs
from inference.assess import assess
from inference.evaluation import metrics
from inference.manifest import Lexicon, Manifest
from inference.training import (
    card,
    cohort,
    encoders,
    examples,
    export,
    fusion,
    gates,
    inputs,
    judge,
    liver,
    liver_ct,
    writing,
)
from inference.training.cohort import Split
from inference.training.judge import Report

Progress = Callable[[str, float], None]
Floats = NDArray[np.float64]
HERE = Path(__file__).parent
SENSITIVITY = 0.90
_EXAMPLE_FIRST = 90_000_000
_DRAWS = {"full": 1024, "smoke": 128}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """Everything that was fitted, before the test set is opened."""

    volume: encoders.VolumeEncoder
    report: encoders.ReportEncoder
    fused: fusion.Fusion
    platt: tuple[float, float]
    threshold: float
    reference: writing.Ranges


def train_liver_dx(
    out: Path, *, seed: int, progress: Progress, scale: str = "full", work: Path | None = None
) -> Report:
    """Make cohort, model, evaluation and pack folder.

    Args:
        out: Folder of the pack; its old content is replaced at the very end.
        seed: Seed of the cohort and of every fit.
        progress: Called with the step's name and the part of it that is done, 0 to 1.
        scale: `full`, or `smoke` for one step of everything in seconds (worthless figures).
        work: Folder for intermediates, kept, so that a broken run goes on where it stopped.

    Returns:
        The figures that also stand in card.md.
    """
    work = work or Path(tempfile.gettempdir(), f"oncord-liver_dx-{scale}-{seed}")
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    lexicon = manifest_reading.parse_lexicon(HERE.joinpath("liver_dx_features.toml").read_bytes())
    human = HERE.joinpath("liver_dx_pack.toml").read_text("utf-8")
    wanted = writing.draft(human)
    splits = {
        name: cohort.build(work, name, cohort.SIZES[scale][name], seed, progress)
        for name in cohort.SPLITS
    }
    trained, ready = _fit(work, splits, wanted, lexicon, seed, scale, progress)
    erased = _erased(trained, splits["T"], seed, 400 if scale == "full" else 16, progress)
    report = judge.judge(
        trained.fused,
        trained.platt,
        trained.threshold,
        splits,
        ready,
        erased,
        draws=_DRAWS[scale],
        seed=seed,
        shuffles=20 if scale == "full" else 2,
        progress=progress,
    )
    hashes = {name: cohort.digest(work, name) for name in cohort.SPLITS}
    text = card.card(report, hashes, seed=seed, scale=scale)
    built = _write(work / "pack", human, trained, splits, ready, text, seed, lexicon)
    if out.exists():
        shutil.rmtree(out)
    shutil.copytree(built, out)
    (work / "report.json").write_text(json.dumps(report.to_json(), indent=1))
    progress("done", 1.0)
    return report


def _fit(
    work: Path,
    splits: dict[str, Split],
    wanted: Manifest,
    lexicon: Lexicon,
    seed: int,
    scale: str,
    progress: Progress,
) -> tuple[Trained, dict[str, fusion.Inputs]]:
    volume = encoders.train_volume(
        splits["A"], work / "volume_encoder.pt", encoders.SCHEDULES[scale], seed, progress
    )
    said = {name: inputs.findings(lexicon, s.rows) for name, s in splits.items()}
    report = encoders.train_report(said["A"], splits["A"].arrays["z"][:, 4], seed)
    ready = {}
    for name in "BCDTE":
        progress("embeddings", "BCDTE".index(name) / 5)
        ready[name] = fusion.Inputs(
            ct=_embedded(work, volume, splits[name]),
            labs=inputs.labs(wanted.of_kind("quantity"), splits[name].rows),
            demographics=inputs.demographics(splits[name].rows),
            text=_encoded(report, said[name]),
        )
    fused = fusion.fit(
        ready["B"], splits["B"].label, seed=seed, steps=fusion.STEPS[scale], progress=progress
    )
    platt = _platt(fused, ready["C"], splits["C"].label)
    threshold = _threshold(gates.probability(fused, ready["D"], platt), splits["D"].label)
    reference = writing.ranges(ready["D"], splits["D"], wanted)
    return Trained(
        volume=volume,
        report=report,
        fused=fused,
        platt=platt,
        threshold=threshold,
        reference=reference,
    ), ready


def _encoded(net: encoders.ReportEncoder, states: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.no_grad():
        made: NDArray[np.float32] = net(torch.from_numpy(states)).numpy()
    return made


def _embedded(work: Path, net: encoders.VolumeEncoder, split: Split) -> NDArray[np.float32]:
    """Embeddings, kept by the digest of the encoder that made them."""
    digest = hashlib.sha256()
    for name, value in sorted(net.state_dict().items()):
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    path = work / f"embedding-{split.name}-{digest.hexdigest()[:16]}.npy"
    if not path.exists():
        np.save(path, encoders.embed(net, split))
    made: NDArray[np.float32] = np.load(path)
    return made


def _platt(
    net: fusion.Fusion, ready: fusion.Inputs, label: NDArray[np.int64]
) -> tuple[float, float]:
    logits = fusion.predict(net, ready)[0].mean(1)
    beta, _ = metrics.logistic(
        np.stack([logits, np.ones_like(logits)], 1), label, np.zeros_like(logits)
    )
    return max(float(beta[0]), 0.05), float(beta[1])


def _threshold(probability: Floats, label: NDArray[np.int64]) -> float:
    """The highest threshold with the wanted sensitivity on D, to three digits."""
    events = np.sort(probability[label == 1])
    at = float(events[int((1 - SENSITIVITY) * len(events))])
    return float(np.clip(np.floor(at * 1000) / 1000, 0.001, 0.999))


def _erased(trained: Trained, split: Split, seed: int, n: int, progress: Progress) -> judge.Erased:
    """Image contribution with the lesion and with its voxels erased, same noise, same patients."""
    with_lesion, without, label = [], [], []
    for row in range(min(n, len(split.label))):
        if row % 20 == 0:
            progress("erased lesions", row / n)
        p = liver.patient(seed, cohort.index_of("T", row), erased=True)
        assert p.ct is not None
        pooled = torch.from_numpy(cohort.pool(p.ct).astype(np.float32) / 8)[None]
        phases = torch.from_numpy(split.arrays["phases"][row : row + 1])
        with torch.no_grad():
            without.append(trained.volume.pooled(pooled, phases)[0].numpy()[0])
            seen = torch.from_numpy(split.pooled[row : row + 1].astype(np.float32) / 8)
            with_lesion.append(trained.volume.pooled(seen, phases)[0].numpy()[0])
        label.append(p.label)
    k = len(label)
    blank = fusion.Inputs(
        ct=np.zeros((k, 3), np.float32),
        labs=np.full((k, len(liver.ASSAYS)), np.nan, np.float32),
        demographics=np.full((k, 2), np.nan, np.float32),
        text=np.zeros((k, 1), np.float32),
    )

    def score(embedding: list[NDArray[np.float32]]) -> Floats:
        given = fusion.Inputs(
            ct=np.stack(embedding),
            labs=blank.labs,
            demographics=blank.demographics,
            text=blank.text,
        )
        image: Floats = fusion.predict(trained.fused, given)[1][:, :, 0].mean(1)
        return trained.platt[0] * image

    return judge.Erased(score(with_lesion), score(without), np.array(label))


def _write(
    folder: Path,
    human: str,
    trained: Trained,
    splits: dict[str, Split],
    ready: dict[str, fusion.Inputs],
    text: str,
    seed: int,
    lexicon: Lexicon,
) -> Path:
    """The pack folder, examples last: their expected figures come from the pack itself."""
    if folder.exists():
        shutil.rmtree(folder)
    (folder / "examples").mkdir(parents=True)
    _graphs(folder, trained, splits["T"], ready["T"], lexicon)
    shutil.copy(HERE / "liver_dx_features.toml", folder / manifest.LEXICON)
    (folder / "card.md").write_text(text, encoding="utf-8")
    measured = writing.measured(
        seed=seed,
        platt=trained.platt,
        threshold=trained.threshold,
        reference=trained.reference,
        locked=f"sensitivity {SENSITIVITY:.0%} on split D, seed {seed}, before split T was opened",
    )
    writing.manifest_file(folder, human + measured)
    pack = packs.load(folder)
    for name, index in _chosen(seed):
        case = examples.case(liver.patient(seed, index))
        body = conform.case_to_json(case)
        body["expected"] = conform.figures(assess(pack, [case])[0])
        (folder / "examples" / f"{name}.json").write_text(
            json.dumps(body, ensure_ascii=False, separators=(",", ":")), encoding="utf-8"
        )
    writing.manifest_file(folder, human + measured)
    return folder


def _graphs(
    folder: Path, trained: Trained, split: Split, ready: fusion.Inputs, lexicon: Lexicon
) -> None:
    rng = np.random.default_rng(0)
    volumes = torch.from_numpy(rng.normal(80, 20, (2, 4, *liver_ct.GRID)).astype(np.float32))
    phases = torch.from_numpy(split.arrays["phases"][:2])
    states = torch.from_numpy(inputs.findings(lexicon, split.rows[:8]))
    some = ready.rows(np.arange(8))
    presence = np.concatenate([fusion.pattern(1, p) for p in range(fusion.PATTERNS)])
    made = {
        "volume_encoder": export.volume_encoder(trained.volume, volumes, phases)[0],
        "text_encoder": export.text_encoder(trained.report, states)[0],
        "fusion": export.fused(trained.fused, some, presence)[0],
    }
    for name, graph in made.items():
        (folder / f"{name}.onnx").write_bytes(graph)


def _chosen(seed: int) -> list[tuple[str, int]]:
    """Example patients: a Chinese and an English report, and a study with a phase missing."""
    wanted: dict[str, Callable[[liver.SyntheticPatient], bool]] = {
        "zh": lambda p: p.language == "zh" and len(p.phases) == len(liver.PHASES),
        "en": lambda p: p.language == "en" and len(p.phases) == len(liver.PHASES),
        "no-delayed-phase": lambda p: "DL" not in p.phases and "24108-3" not in p.labs,
    }
    found: list[tuple[str, int]] = []
    for name, fits in wanted.items():
        index = next(
            i
            for i in range(_EXAMPLE_FIRST, _EXAMPLE_FIRST + 10_000)
            if fits(liver.patient(seed, i, render=False)) and i not in {k for _, k in found}
        )
        found.append((name, index))
    return found
