"""The manifest that training writes: what people decided, and below it what was measured."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inference import listing, manifest, manifest_reading
from inference.manifest import Manifest
from inference.training import fusion, liver
from inference.training.cohort import Split

# models.md 4.4: these words stand wherever a figure of such a model stands.
WORDS = (
    "Trained and evaluated on **synthetic data produced by a program**. Figures measure software "
    "correctness against a known generating process; they are **not evidence of clinical "
    "performance**, do not reproduce or predict the results of NCT06791473, NCT07658586, "
    "NCT07244094, NCT07030842 or NCT07392567, and the model must not be used for care."
)
GRAPHS = ("volume_encoder", "text_encoder", "fusion")
_LIMIT = 6.0
_T_QUANTILE_4 = 2.132  # 95 % quantile of Student's t with 4 degrees of freedom: 90 % two-sided


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranges:
    """Centre and spread per feature, and mean HU per phase, of split D."""

    names: tuple[str, ...]
    centre: tuple[float, ...]
    spread: tuple[float, ...]
    phase_hu: dict[str, tuple[float, float]]


def ranges(ready: fusion.Inputs, split: Split, wanted: Manifest) -> Ranges:
    """What a usual case looks like."""
    columns = {
        **{i.id: ready.labs[:, k] for k, i in enumerate(wanted.of_kind("quantity"))},
        "age": ready.demographics[:, 0],
        **{f"volume_encoder.embedding/{k}": ready.ct[:, k] for k in range(ready.ct.shape[1])},
    }
    low, middle, high = (
        [float(np.nanquantile(c, q)) for c in columns.values()] for q in (0.25, 0.5, 0.75)
    )
    spread = [max((h - lo) / 1.35, 1e-3) for lo, h in zip(low, high, strict=True)]
    hu = {}
    for c, phase in enumerate(liver.PHASES):
        mean = split.arrays["statistics"][:, 7 * c]
        least, greatest = float(np.nanmin(mean)), float(np.nanmax(mean))
        margin = (greatest - least) / 2
        hu[phase] = (round(least - margin, 1), round(greatest + margin, 1))
    return Ranges(
        names=tuple(columns),
        centre=tuple(round(v, 4) for v in middle),
        spread=tuple(round(v, 4) for v in spread),
        phase_hu=hu,
    )


def measured(
    *, seed: int, platt: tuple[float, float], threshold: float, reference: Ranges, locked: str
) -> str:
    """The tables that training adds."""
    lines = [
        "",
        "# What training measured.",
        "",
        "[training_data]",
        'kind = "synthetic"',
        f"generator = {json.dumps(liver.GENERATOR)}",
        f"seed = {seed}",
        f"words = {json.dumps(WORDS)}",
        "",
        "[calibration]",
        'method = "platt"',
        f"slope = {platt[0]!r}",
        f"intercept = {platt[1]!r}",
        f"members = {fusion.MEMBERS}",
        "interval = 0.9",
        f"t_quantile = {_T_QUANTILE_4}",
        "",
        "[tiers]",
        f"threshold = {threshold!r}",
        'below = "lower"',
        'above = "higher"',
        f"locked = {json.dumps(locked)}",
        "",
        "[reference]",
        f"names = {json.dumps(reference.names)}",
        f"centre = {json.dumps(reference.centre)}",
        f"spread = {json.dumps(reference.spread)}",
        f"limit = {_LIMIT}",
        "min_findings = 1",
        "",
        "[reference.phase_hu]",
        *(f"{phase} = [{low}, {high}]" for phase, (low, high) in reference.phase_hu.items()),
    ]
    return "\n".join(lines) + "\n"


def manifest_file(folder: Path, text: str) -> None:
    """Write pack.toml with the digests of what lies beside it."""
    (folder / manifest.MANIFEST).write_text(text + listing.files(folder), encoding="utf-8")


def draft(human: str) -> Manifest:
    """The people's part as a manifest, with blanks where training will measure."""
    blank = Ranges(names=("age",), centre=(0.0,), spread=(1.0,), phase_hu={})
    graphs = "\n".join(
        f'[[files]]\npath = "{name}"\nsha256 = "{0:064x}"\nsize = 0'
        for name in (*(f"{graph}.onnx" for graph in GRAPHS), manifest.LEXICON)
    )
    text = human + measured(
        seed=0, platt=(1.0, 0.0), threshold=0.5, reference=blank, locked="draft"
    )
    return manifest_reading.parse((text + graphs).encode())
