"""What age and sex do to the values of the healthy, and when a patient is seen.

Children have intervals of their own: an assay that says so is drawn around the median of its age
and sex. Index dates, and how long before the index somebody was last examined, are drawn of
nothing else: cases and controls have the same.

Source: model-rules 3; the intervals are `inference.reference_intervals`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from inference import reference_intervals
from inference.training.cohorts import counter
from inference.training.cohorts.errors import BadDeclaration

if TYPE_CHECKING:
    from inference.training.cohorts.study import Assay, Measurement, Study

Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]
ACCRUAL_DAYS = 1096
GAPS = (30, 180)  # what reveals a diagnosis lies in the 30 to 180 days before it (models.md 1.1)
_SEXES = ("female", "male")
_OLDEST, _ADULT = 110, 30.0


@lru_cache(maxsize=32)
def medians(loinc: str) -> Doubles:
    """(years, 2) log median by whole years and sex, less that of adults of either sex."""
    made = np.empty((_OLDEST, len(_SEXES)))
    for years in range(_OLDEST):
        # Whole years: somebody of 8 is 8.5 on the average.
        made[years] = [_centre(loinc, years + 0.5, sex) for sex in _SEXES]
    made -= np.mean([_centre(loinc, _ADULT, sex) for sex in _SEXES])
    return made


def _centre(loinc: str, age_years: float, sex: str) -> float:
    found = reference_intervals.interval(loinc, age_years, sex)
    assert found is not None, "a declaration with an assay without intervals was refused"
    return found.centre


def check(study: Study) -> None:
    """Refuse what cannot be told by age, or not before a gap.

    Raises:
        BadDeclaration: An assay by age without intervals, a gap out of its range, something told
            after the visit begins, or other persons than those of `free_of`.
    """
    for assay in study.assays:
        if assay.by_age and not _has_ages(study, assay):
            what = "sex, a logarithm, and codes with reference intervals"
            raise BadDeclaration(study.name, assay.name, what)
    low, high = GAPS
    if study.gap_days and not low <= study.gap_days <= high:
        raise BadDeclaration(study.name, "gap_days", f"0, or {low} to {high}")
    told: tuple[Measurement, ...]
    told = (*study.assays, *study.graded, *study.narratives, *study.pictures)
    for part in told:
        if study.gap_days and part.days > -1 and part.panel != "demographics":
            what = "a day before the index, to be told before a gap"
            raise BadDeclaration(study.name, part.name, what)
    if study.free_of is not None and _persons(study.free_of) != _persons(study):
        raise BadDeclaration(study.name, "free_of", "a study of these latents and hospitals")


def _has_ages(study: Study, assay: Assay) -> bool:
    codes = {assay.zh.loinc, assay.en.loinc}
    sexes = any(q.name == "sex" for q in study.graded)
    return assay.scale == "log" and sexes and codes <= reference_intervals.codes()


def _persons(study: Study) -> tuple[object, ...]:
    """What two studies share when their patients are the same persons."""
    hospitals = tuple(replace(s, shift=0.0) for s in study.sites)
    return study.latents, study.correlation, hospitals


def index_day(seed: int, index: Indices) -> Indices:
    """(n,) day of the accrual period that is the index."""
    u = counter.uniforms(seed, index, "index day", 1)[:, 0]
    return (u * ACCRUAL_DAYS).astype(np.int64)


def earlier(seed: int, index: Indices, gap_days: int, wait_days: int) -> Indices:
    """(n,) days by which everything was told earlier than is declared for a visit at the index.

    Nothing lies in a gap: what a visit tells a day later is told before it begins.
    """
    if gap_days == 0:
        return np.zeros(len(index), np.int64)
    u = counter.uniforms(seed, index, "last examined", 1)[:, 0]
    return gap_days + 1 + (u * (wait_days + 1)).astype(np.int64)
