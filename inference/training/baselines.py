"""Baselines that get the same data: what simple methods reach.

Source: model-rules 18.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from inference.training.fusion import Inputs

Floats = NDArray[np.float64]


def tabular(inputs: Inputs) -> NDArray[np.float32]:
    """(n, 11) labs, age, sex."""
    return np.concatenate([inputs.labs, inputs.demographics], 1)


def boosted(x: NDArray[np.float32], label: NDArray[np.int64], test: NDArray[np.float32]) -> Floats:
    """Gradient boosting; absent values stay NaN, which it splits on."""
    model = HistGradientBoostingClassifier(
        learning_rate=0.06,
        max_iter=300,
        max_leaf_nodes=15,
        min_samples_leaf=40,
        l2_regularization=1.0,
        early_stopping=True,
        validation_fraction=0.15,
        random_state=3,
    )
    made: Floats = model.fit(x, label).predict_proba(test)[:, 1]
    return made


def regression(
    x: NDArray[np.float32], label: NDArray[np.int64], test: NDArray[np.float32]
) -> Floats:
    """Logistic regression; absent values at the median, with a mask."""
    middle = np.nanmedian(x, 0)
    spread = np.nanstd(x, 0)

    def ready(v: NDArray[np.float32]) -> NDArray[np.float32]:
        gone = np.isnan(v)
        return np.concatenate([(np.where(gone, middle, v) - middle) / spread, gone], 1)

    model = LogisticRegression(max_iter=500).fit(ready(x), label)
    made: Floats = model.predict_proba(ready(test))[:, 1]
    return made
