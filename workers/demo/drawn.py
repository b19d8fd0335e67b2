"""Patients of the synthetic cohorts, as the demo's hospital finds them: values, volumes, sections.

The first of a cohort with everything that the study reads; what its generator does not emit is
drawn here from the same seed. What is sent of them is in `patients`.
Source: models.md 4; docs/reference/cohorts.md.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import numpy as np

from inference.training import liver
from inference.training.cohorts import patients as cohort
from inference.training.cohorts import slide as sections
from inference.training.cohorts import studies
from inference.training.cohorts.patients import Fact, Patient
from inference.training.cohorts.pictures import Volume
from inference.training.cohorts.slide import Slide as Section
from inference.training.liver import SyntheticPatient
from mappings.record import Coded, Quantity
from workers.demo import ct, laboratory
from workers.demo.results import Answer
from workers.demo.slide import Slide
from workers.demo.subject import Sex, Subject, record_number, subject

_TRIES = 400
_MPP = 0.5
_STAINS = {"HE": "H&E", "CK": "Pan-CK", "CD3": "CD3", "CD20": "CD20"}
_PRESENT = "LA9633-4"


def _person(study: str, seed: int, index: int, t0: datetime, age_years: int, sex: Sex) -> Subject:
    key = uuid.uuid5(uuid.NAMESPACE_URL, f"oncord-demo/{study}/{seed}/{index}/{t0.isoformat()}")
    number = record_number(key.int)
    return subject(number, sex=sex, age_years=age_years, language="zh", t0=t0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A patient of a cohort with everything that the study reads, and their facts by LOINC code."""

    one: Patient
    facts: tuple[Fact, ...]

    @classmethod
    def of(cls, study: str, seed: int, fits: Callable[[Drawn], bool]) -> Drawn:
        """The first of a cohort from a Chinese hospital who fits."""
        declared = studies.study(study)
        for index in range(_TRIES):
            one = cohort.patient(declared, seed, index)
            if one.site.language == "zh" and all(one.has(p.name) for p in declared.pictures):
                found = cls(one=one, facts=cohort.facts(one))
                if fits(found):
                    return found
        raise AssertionError(f"{_TRIES} patients of {study} and none suits")

    def who(self, t0: datetime) -> Subject:
        """The person; `t0` is the study's index."""
        one = self.one
        sex: Sex = "male" if one.sex == "male" else "female"
        index = int(one.batch.index[0])
        return _person(one.study.name, one.batch.seed, index, t0, one.age_years, sex)

    def stream(self, name: str) -> np.random.Generator:
        """Random numbers for what the generator does not emit."""
        return self.one.stream(f"demo/{name}")

    def told(self, loinc: str) -> Fact | None:
        """What was told under a code."""
        return next((f for f in self.facts if f.code.code == loinc), None)

    def code(self, loinc: str) -> str | None:
        """A coded answer's code."""
        fact = self.told(loinc)
        if fact is None or not isinstance(fact.value, Coded):
            return None
        return fact.value.codes[0].code

    def there(self, loinc: str) -> bool | None:
        """Whether a finding is there; None if nobody looked."""
        code = self.code(loinc)
        return None if code is None else code == _PRESENT

    def whole(self, loinc: str) -> int | None:
        """A number, rounded."""
        fact = self.told(loinc)
        if fact is None or not isinstance(fact.value, Quantity):
            return None
        return round(fact.value.value)

    def labs(self) -> list[Answer]:
        """Everything that the laboratory measured."""
        made = []
        for fact in self.facts:
            if fact.code.code not in laboratory.NAMES:
                continue
            if isinstance(fact.value, Quantity):
                unit = fact.value.unit or ""
                made.append(laboratory.measured(fact.code.code, fact.value.value, unit))
            elif isinstance(fact.value, Coded):
                made.append(Answer(code=laboratory.asked(fact.code.code), value=fact.value))
        return made

    def volume(self, name: str) -> Volume:
        """A volume as rendered."""
        made = self.one.picture(name)
        assert isinstance(made, Volume)
        return made

    def slides(self, who: Subject, organ: str) -> Iterator[Slide]:
        """Consecutive sections of the specimen, one per stain of the study."""
        made = self.one.picture("slide")
        assert isinstance(made, Section)
        for number, name in enumerate(made.gain, 1):
            pixels = sections.image(made, name)
            yield Slide(
                who=who, stain=_STAINS[name], pixels=pixels, microns_per_pixel=_MPP,
                section=number, organ=organ,
            )  # fmt: skip


# What a laboratory measures beside it in everybody: mean and SD of the healthy, unit, decimals.
_BESIDE = {
    "6690-2": (6.2, 1.2, "10*9/L", 1),
    "751-8": (3.6, 0.8, "10*9/L", 2),
    "731-0": (1.9, 0.4, "10*9/L", 2),
    "777-3": (230.0, 40.0, "10*9/L", 0),
    "14631-6": (11.0, 2.5, "umol/L", 1),
    "1742-6": (26.0, 6.0, "U/L", 0),
    "1920-8": (24.0, 5.0, "U/L", 0),
    "6768-6": (75.0, 14.0, "U/L", 0),
    "2160-0": (72.0, 9.0, "umol/L", 0),
}


def beside(drawn: Drawn, loincs: Sequence[str]) -> list[Answer]:
    """Analytes that the generator does not emit, from the same seed."""
    random, made = drawn.stream("laboratory"), []
    for loinc in loincs:
        mean, sd, unit, decimals = _BESIDE[loinc]
        value = Decimal(f"{random.normal(mean, sd):.{decimals}f}")
        made.append(laboratory.measured(loinc, value, unit))
    return made


def liver_patient(seed: int) -> SyntheticPatient:
    """The first patient of the liver cohort with a Chinese report and all phases, rendered."""
    for index in range(_TRIES):
        found = liver.patient(seed, index, render=False)
        if found.language == "zh" and len(found.phases) == len(ct.PHASES):
            return liver.patient(seed, index)
    raise AssertionError(f"{_TRIES} patients and none suits")
