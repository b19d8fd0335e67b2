"""Synthetic patients a second: drawn in batches, and one by one with their pictures and record."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import numpy as np
from rich.console import Console

from inference.training.cohorts import studies
from inference.training.cohorts.drawing import draw
from inference.training.cohorts.patients import entries, patient
from tests.bench.table import Measured

_DRAWN, _WHOLE = 20_000, 12
_DAY = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


def run(console: Console, *, rounds: int, seconds: float) -> Measured:
    """Each declared study."""
    rows = []
    for name in studies.declared():
        study = studies.study(name)
        began = time.perf_counter()
        for round_ in range(rounds):
            draw(study, round_, np.arange(_DRAWN))
        drawn = rounds * _DRAWN / (time.perf_counter() - began)
        began = time.perf_counter()
        for index in range(_WHOLE):
            one = patient(study, 1, index)
            entries(one, index_at=_DAY)
            for picture in study.pictures:
                if one.has(picture.name):
                    one.picture(picture.name)
        whole = _WHOLE / (time.perf_counter() - began)
        console.print(f"{name}: {drawn:.0f} drawn/s", style="dim", highlight=False)
        pictures = ", ".join(picture.name for picture in study.pictures)
        rows.append((name, f"{drawn:.0f}", pictures, f"{whole:.1f}"))
    return Measured(
        name="cohort",
        title="Synthetic patients a second",
        head=("study", "drawn, in batches", "pictures", "whole, with record and pictures"),
        rows=rows,
        verdicts=(),
        notes=(f"{_DRAWN} patients a batch; {_WHOLE} patients one by one; one process.",),
    )
