"""Cohort rows as the fusion graph's inputs, by the rules that live values go through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference import quantities
from inference.findings import states
from inference.manifest import Lexicon
from inference.protocol import Input
from inference.training.cohort import labs_of
from mappings.record import Quantity


def labs(wanted: Sequence[Input], rows: Sequence[dict[str, Any]]) -> NDArray[np.float32]:
    """(n, labs) on the graph's scale, NaN where absent."""
    out = np.full((len(rows), len(wanted)), np.nan, np.float32)
    for i, row in enumerate(rows):
        sent = labs_of(row)
        for j, one in enumerate(wanted):
            code = next((c for c in one.codes if c in sent), None)
            if code is None:
                continue
            value, unit = sent[code]
            number = quantities.number(one, Quantity(value, unit, str(value)), code)
            if number is not None:
                out[i, j] = quantities.scaled(one, number)
    return out


def demographics(rows: Sequence[dict[str, Any]]) -> NDArray[np.float32]:
    """(n, 2) age in years, half a year past the last birthday on average, and 1 for male."""
    return np.array([[r["age"] + 0.5, float(r["sex"] == "male")] for r in rows], np.float32)


def findings(lexicon: Lexicon, rows: Sequence[dict[str, Any]]) -> NDArray[np.float32]:
    """(n, findings) states of the report's findings section."""
    said = [states(lexicon, r["findings"]) for r in rows]
    return np.array([[s[f.id] for f in lexicon.findings] for s in said], np.float32)
