"""Patients of declared studies: the same bytes, nothing from the label, sets as they are named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inference.training.cohorts import expected, outcome, studies
from inference.training.cohorts.drawing import draw
from inference.training.cohorts.errors import BadDeclaration, UnknownStudy
from inference.training.cohorts.study import SETS, rate_of

STUDIES = studies.declared()
SOME = np.arange(2500)


@pytest.mark.parametrize("name", STUDIES)
def test_the_same_seed_gives_the_same_bytes(name):
    """Alone or among others, in any order; another seed or index gives others."""
    study = studies.study(name)
    many = draw(study, 5, np.arange(40))
    for i in (0, 17, 39):
        alone = draw(study, 5, np.array([i]))
        assert alone.emitted.digest() == many.rows(slice(i, i + 1)).emitted.digest()
        assert alone.events.months[0] == many.events.months[i]
    assert draw(study, 5, np.arange(40)).emitted.digest() == many.emitted.digest()
    assert draw(study, 6, np.arange(40)).emitted.digest() != many.emitted.digest()
    assert draw(study, 5, np.arange(40) + 1).emitted.digest() != many.emitted.digest()


@pytest.mark.parametrize("name", STUDIES)
def test_other_outcomes_leave_everything_emitted_as_it_was(name):
    """No code path leads from the label to what a hospital holds (clause h)."""
    study = studies.study(name)
    once, again = (draw(study, 5, SOME, outcome_seed=s) for s in (1, 2))
    assert once.emitted.digest() == again.emitted.digest()
    assert (once.label != again.label).mean() > 0.05


@pytest.mark.parametrize("name", STUDIES)
def test_the_external_set_reverses_the_prevalences(name):
    """The first hospital has most cases inside and fewest outside (clause e)."""
    study = studies.study(name)
    last = len(study.sites) - 1
    for which, sign in (("internal", 1), ("external", -1)):
        batch = draw(study, 5, SOME, which)
        first, other = (batch.risk[batch.emitted.site == s].mean() for s in (0, last))
        assert sign * (first - other) > 0.03


@pytest.mark.parametrize("name", STUDIES)
def test_each_set_has_the_base_rate_that_is_declared(name):
    """Development and natural prevalence, low, middle and high, for every cause."""
    study = studies.study(name)
    for which in SETS:
        batch = draw(study, 5, np.arange(6000), which)
        found = study.outcome.incidence(batch.eta).mean(1)
        assert np.allclose(found, study.outcome.targets(rate_of(which)), rtol=0.12)


@pytest.mark.parametrize("name", STUDIES)
def test_the_risk_is_the_share_of_recorded_events(name):
    """In tenths of risk, label noise included: the closed form is what the generator does."""
    batch = draw(studies.study(name), 8, np.arange(12_000))
    for rows in np.array_split(np.argsort(batch.risk), 10):
        p = batch.risk[rows].mean()
        assert abs(batch.label[rows].mean() - p) < 4 * np.sqrt(p * (1 - p) / len(rows))


def test_competing_causes_come_as_often_and_as_late_as_their_hazards_say():
    """Aalen and Johansen without censoring: shares at the horizon and at half of it."""
    study = studies.study("hcc")
    batch, half = draw(study, 9, np.arange(12_000)), study.outcome.horizon_months / 2
    earlier = batch.eta + study.outcome.shape * np.log(0.5)
    for cause in range(3):
        for eta, until in ((batch.eta, 2 * half), (earlier, half)):
            share = ((batch.events.cause == cause + 1) & (batch.events.months <= until)).mean()
            assert share == pytest.approx(study.outcome.incidence(eta)[cause].mean(), abs=0.006)


def test_follow_up_ends_at_random_and_hides_what_comes_later():
    """Independent of risk; nothing is observed beyond it."""
    batch = draw(studies.study("crlm"), 9, SOME)
    events = batch.events
    assert abs(np.corrcoef(events.followed_months, batch.risk)[0, 1]) < 0.06
    assert (events.observed_months <= events.followed_months).all()
    late = events.recorded_months > events.followed_months
    assert (events.observed_cause[late] == 0).all()
    assert 0.02 < (events.followed_months < 12).mean() < 0.08


def test_the_registrar_errs_as_often_as_declared():
    """Overlooked diagnoses and invented ones, apart."""
    batch = draw(studies.study("pan"), 9, np.arange(12_000))
    ill, told = batch.events.cause == 1, batch.label == 1
    assert pytest.approx(0.03, abs=0.006) == (~told[ill]).mean()
    assert pytest.approx(0.002, abs=0.001) == told[~ill].mean()


def test_who_is_not_examined_is_at_random_but_in_the_stress_set():
    """The latent of those without CT, against those with it (clause g)."""
    study = studies.study("crlm")

    def away(which):
        batch = draw(study, 5, SOME, which)
        done, latent = batch.emitted.done["ct"], batch.z[:, study.column("texture")]
        return latent[~done].mean() - latent[done].mean()

    assert abs(away("internal")) < 0.15
    assert away("stress") < -0.4


def test_children_are_among_the_patients_of_the_pan_cancer_study():
    """Ages 0 to 90; imaging is away more often when young."""
    batch = draw(studies.study("pan"), 5, SOME)
    age, ct = batch.emitted.numbers["age"], batch.emitted.done["ct"]
    assert 0 <= age.min() < 5
    assert 85 < age.max() <= 90
    assert 0.03 < (age < 18).mean() < 0.25
    assert ct[age < 18].mean() < ct[age > 60].mean()


def test_intercepts_give_competing_causes_their_shares():
    """All at once, though each takes from the others."""
    study = studies.study("hcc")
    eta = np.random.default_rng(1).normal(size=(3, 4000))
    found = outcome.intercepts(study.outcome, eta, "natural-high")
    shares = study.outcome.incidence(eta + found[:, None]).mean(1)
    assert np.allclose(study.outcome.targets("natural-high"), shares, atol=1e-9)


def test_a_declaration_that_names_what_it_has_not_is_refused():
    """Panels, latents, answers: where and what."""
    study = studies.study("crlm")
    with pytest.raises(BadDeclaration, match="CEA: expected a latent that is declared"):
        replace(study, assays=(replace(study.assays[1], latent="luck"),))
    with pytest.raises(BadDeclaration, match="ct: expected a panel"):
        replace(study, pictures=(replace(study.pictures[0], panel="mr"),))
    with pytest.raises(BadDeclaration, match="pT: expected one answer more than cuts"):
        replace(study, graded=(replace(study.graded[1], cuts=(0.0,)),))
    with pytest.raises(UnknownStudy, match="'lung' is not declared"):
        studies.study("lung")


def test_the_expected_auc_is_the_auc_on_the_average():
    """Over many draws of the labels, ties included."""
    rng = np.random.default_rng(2)
    risk, score = rng.uniform(0.1, 0.6, 60), rng.integers(0, 5, 60).astype(float)
    wins = pairs = 0.0
    for _ in range(3000):
        y = rng.random(60) < risk
        more = score[y][:, None] - score[~y][None, :]
        wins += (more > 0).sum() + 0.5 * (more == 0).sum()
        pairs += more.size
    assert pytest.approx(wins / pairs, abs=0.004) == expected.auc(risk, score)
