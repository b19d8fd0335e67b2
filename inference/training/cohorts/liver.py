"""The liver cohort's own contract under the same command: it is older than the kit.

Its generator stands in `inference.training.liver`; the shipped pack depends on its bytes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from inference.evaluation import metrics
from inference.training import baselines, cohort, contract, gates, liver
from inference.training.cohort import Split
from inference.training.contract import Clause

_DRAWS = 256
_ERASED = 400


def clauses(n: int, seed: int) -> Iterator[Clause]:
    """Splits of n patients each are rendered into a folder that goes away again."""
    with tempfile.TemporaryDirectory(prefix="oncord-liver-") as folder:
        made = [
            cohort.build(Path(folder), name, n, seed, lambda _name, _done: None)
            for name in ("A", "T", "E")
        ]
        train, test, external = made
        best = gates.bounds(test.measurements(), _DRAWS)
        yield from contract.clauses(train, test, external, best, _erased(train, test, seed))


def _erased(train: Split, test: Split, seed: int) -> float:
    """What boosting on global statistics knows of volumes whose lesion was left out."""
    count = min(_ERASED, len(test.label))
    x = []
    for row in range(count):
        patient = liver.patient(seed, cohort.index_of("T", row), erased=True)
        assert patient.ct is not None
        x.append(cohort.statistics(patient.ct, patient.phases))
    score = baselines.boosted(train.arrays["statistics"], train.label, np.stack(x))
    return metrics.auc(test.label[:count], score).value
