"""Naive scores with the same data: single markers, tables, and statistics of whole pictures.

Source: model-rules 18.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.training import baselines
from inference.training.cohorts.drawing import Batch

Doubles = NDArray[np.float64]


def columns(batch: Batch, names: Sequence[str] | None = None) -> NDArray[np.float32]:
    """(n, k) assays on their scale, answers by their number, derived facts; NaN where missing."""
    study, emitted = batch.study, batch.emitted
    known: dict[str, NDArray[Any]] = dict(emitted.scaled)
    for name, answer in emitted.graded.items():
        known[name] = np.where(answer < 0, np.nan, answer)
    for one in study.derived:
        inputs = [emitted.graded[i].astype(int) for i in one.inputs]
        made = np.vectorize(one.rule)(*inputs).astype(float)
        known[one.name] = np.where(np.min(inputs, axis=0) < 0, np.nan, made)
    chosen = names or [n for n in known if n not in {d.name for d in study.derived}]
    return np.stack([known[n] for n in chosen], 1).astype(np.float32)


def scores(train: Batch, test: Batch) -> dict[str, Doubles]:
    """Name to score of the test patients: the study's naive ones, and the whole table."""
    made = {
        b.name: baselines.regression(columns(train, b.inputs), train.label, columns(test, b.inputs))
        for b in train.study.baselines
    }
    table, test_table = columns(train), columns(test)
    made["tabular, regression"] = baselines.regression(table, train.label, test_table)
    made["tabular, boosting"] = baselines.boosted(table, train.label, test_table)
    return made
