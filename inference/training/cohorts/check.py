"""`oncord cohort check`: the contract of a study by its name.

Source: model-rules 8.
"""

from __future__ import annotations

from collections.abc import Iterator

from inference.training.cohorts import contract, liver, studies
from inference.training.cohorts.errors import TooFew, UnknownStudy
from inference.training.contract import Clause

LIVER = "liver"
_RENDERED = 3000
# Below these, halves without an event and sites without a patient make figures of nothing.
_LEAST, _LEAST_LIVER = 1000, 30


def names() -> tuple[str, ...]:
    """Studies that can be checked, liver with its own generator among them."""
    return (LIVER, *studies.declared())


def check(name: str, n: int, seed: int, *, rendered: int = _RENDERED) -> Iterator[Clause]:
    """Each clause of a study's contract, as soon as it is measured.

    Args:
        name: One of `names`.
        n: Patients of each set.
        seed: Of the cohort.
        rendered: At most so many get pictures.

    Raises:
        UnknownStudy: No study has this name.
        TooFew: So few patients measure nothing.
    """
    if name not in names():
        raise UnknownStudy(name, names())
    if name == LIVER:
        if min(n, rendered) < _LEAST_LIVER:
            raise TooFew(min(n, rendered), _LEAST_LIVER)
        return liver.clauses(min(n, rendered), seed)
    if n < _LEAST or rendered < _LEAST // 4:
        raise TooFew(min(n, 4 * rendered), _LEAST)
    effort = contract.Effort(n=n, rendered=min(n, rendered))
    return contract.clauses(studies.study(name), seed, effort)
