"""Children are drawn around the values of their age, and are as unremarkable there as adults."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inference import reference_intervals
from inference.training.cohorts import ages, studies
from inference.training.cohorts.drawing import draw
from inference.training.cohorts.errors import BadDeclaration
from inference.training.cohorts.patients import Patient, facts
from mappings.record import Quantity

STUDY = studies.study("pan")
BATCH = draw(STUDY, 5, np.arange(8000))
BY_AGE = [a.name for a in STUDY.assays if a.by_age]


def scores(name, rows):
    """Z-scores of an assay as each site reports it."""
    assay = next(a for a in STUDY.assays if a.name == name)
    made = []
    for row in rows:
        unit = assay.unit(STUDY.sites[BATCH.emitted.site[row]].language)
        years = BATCH.emitted.numbers["age"][row] + 0.5
        sex = ("female", "male")[BATCH.emitted.graded["sex"][row]]
        value = float(BATCH.emitted.numbers[name][row])
        made.append(reference_intervals.z(unit.loinc, value, unit.unit, years, sex))
    return np.array(made)


def test_the_panel_of_children_is_declared_by_age():
    """Blood count, albumin, growth's phosphatase, muscle's creatinine, transaminase."""
    assert {"NEU", "LYM", "HGB", "PLT", "ALB", "ALP", "ALT", "CREA"} == set(BY_AGE)


@pytest.mark.parametrize("name", BY_AGE)
def test_values_of_children_are_those_of_their_age(name):
    """Mean z-score of children and adults alike, and as many of both inside their intervals."""
    age = BATCH.emitted.numbers["age"]
    children, adults = (np.flatnonzero(rows)[:500] for rows in (age < 18, age >= 30))
    young, grown = scores(name, children), scores(name, adults)
    assert abs(young.mean() - grown.mean()) < 0.35
    inside = [(np.abs(z) < 1.96).mean() for z in (young, grown)]
    assert min(inside) > 0.6
    assert abs(inside[0] - inside[1]) < 0.12


def test_without_their_age_children_would_look_ill():
    """Raw values of the ill organ: phosphatase by far above adults, creatinine by far below."""
    age = BATCH.emitted.numbers["age"]
    for name, sign in (("ALP", 1), ("CREA", -1), ("LYM", 1)):
        for site in range(len(STUDY.sites)):
            here = BATCH.emitted.site == site
            value = np.log(BATCH.emitted.numbers[name])
            young, grown = value[here & (age < 10)], value[here & (age > 30)]
            assert sign * (young.mean() - grown.mean()) > 0.25


def test_what_age_explains_is_taken_from_the_scale_of_the_bound():
    """`scaled` less the declared mean and slope is noise of the declared size, at any age."""
    for assay in STUDY.assays:
        if not assay.by_age:
            continue
        latent = BATCH.z[:, STUDY.column(assay.latent)]
        noise = BATCH.emitted.scaled[assay.name] - assay.mean - assay.slope * latent
        young = noise[BATCH.emitted.numbers["age"] < 12]
        assert abs(young.mean()) < 4 * assay.noise / np.sqrt(len(young))
        assert pytest.approx(assay.noise, rel=0.15) == young.std()


def test_the_record_of_a_child_says_so():
    """A fact of an infant's and of an old man's phosphatase."""
    found = {}
    for row in range(400):
        one = Patient(batch=BATCH.rows(slice(row, row + 1)))
        [fact] = [f for f in facts(one) if f.name == "ALP"]
        assert isinstance(fact.value, Quantity)
        found.setdefault(one.age_years < 12, []).append(float(fact.value.value))
    assert np.median(found[True]) > 2 * np.median(found[False])


def test_medians_are_those_of_the_intervals():
    """Adults of both sexes are 0 on the average; a child's offset is the ratio of the medians."""
    offsets = ages.medians("6768-6")
    assert pytest.approx(0, abs=1e-12) == offsets[30].mean()
    adult = (45 * 125 * 35 * 100) ** 0.25
    assert pytest.approx(np.log((143 * 406) ** 0.5 / adult)) == offsets[5, 0]


def test_an_assay_without_intervals_or_sex_cannot_be_by_age():
    """Refused where it is declared."""
    marker = next(replace(a, by_age=True) for a in STUDY.assays if a.name == "CEA")
    with pytest.raises(BadDeclaration, match="CEA: expected sex, a logarithm, and codes"):
        replace(STUDY, assays=(*STUDY.assays, marker))
    with pytest.raises(BadDeclaration, match="NEU: expected sex"):
        replace(STUDY, graded=STUDY.graded[1:])
