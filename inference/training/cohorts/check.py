"""`oncord cohort check`: the contract of a study by its name.

Source: model-rules 8.
"""

from __future__ import annotations

from collections.abc import Iterator

from inference.training.cohorts import contract, studies
from inference.training.cohorts.errors import TooFew
from inference.training.contract import Clause

_RENDERED = 3000
# Below it, halves without an event and sites without a patient make figures of nothing.
_LEAST = 1000


def check(name: str, n: int, seed: int, *, rendered: int = _RENDERED) -> Iterator[Clause]:
    """Each clause of a study's contract, as soon as it is measured.

    Args:
        name: One of `studies.declared()`.
        n: Patients of each set.
        seed: Of the cohort.
        rendered: At most so many get pictures.

    Raises:
        UnknownStudy: No study has this name.
        TooFew: So few patients measure nothing.
    """
    study = studies.study(name)
    if n < _LEAST or rendered < _LEAST // 4:
        raise TooFew(min(n, 4 * rendered), _LEAST)
    effort = contract.Effort(n=n, rendered=min(n, rendered))
    return contract.clauses(study, seed, effort)
