"""The generic bound: brute force agrees within the errors of both, for every study."""

from __future__ import annotations

import numpy as np
import pytest

from inference.evaluation import metrics
from inference.training.cohorts import expected, studies
from inference.training.cohorts.bound import bound, brute_force, disagreement
from inference.training.cohorts.drawing import draw

STUDIES = studies.declared()


@pytest.mark.parametrize("name", STUDIES)
def test_the_bound_is_the_brute_force_answer(name):
    """100,000 lives each, weighted by every likelihood; differences in standard errors."""
    study = studies.study(name)
    few, full = draw(study, 3, np.arange(9)), frozenset(study.modalities)
    away = disagreement(bound(few, full, draws=512), brute_force(few, full))
    assert np.sqrt((away**2).mean()) < 1.6
    assert np.abs(away).max() < 4.5


def test_brute_force_agrees_outside_and_with_parts_of_the_record():
    """The reversed set; tables alone; pictures alone."""
    study = studies.study("crlm")
    few = draw(study, 4, np.arange(6), "external")
    for given in (frozenset({"tabular"}), frozenset({"ct", "slide"})):
        away = disagreement(bound(few, given, draws=512), brute_force(few, given))
        assert np.sqrt((away**2).mean()) < 1.6


@pytest.mark.parametrize("name", STUDIES)
def test_the_bound_is_calibrated(name):
    """Against labels that it never saw: slope 1, and 0 in the large."""
    study = studies.study(name)
    batch = draw(study, 5, np.arange(2500))
    p = bound(batch, frozenset(study.modalities), draws=32).risk
    slope, large = metrics.calibration(batch.label, p)
    assert slope.low - 0.05 <= 1 <= slope.high + 0.05
    assert large.low - 0.05 <= 0 <= large.high + 0.05


def test_its_own_error_is_what_other_scrambles_show():
    """The printed error against the spread of repeats."""
    batch = draw(studies.study("pan"), 6, np.arange(60))
    full = frozenset(batch.study.modalities)
    repeats = [bound(batch, full, draws=32, seed=100 * r) for r in range(12)]
    spread = np.std([r.risk for r in repeats], 0, ddof=1)
    said = np.sqrt(np.mean([r.se**2 for r in repeats], 0))
    assert 0.7 < np.sqrt((spread**2).mean() / (said**2).mean()) < 1.4


def test_more_is_never_worse_and_the_blind_see_less():
    """PRE below POST; a reader without places below one with them."""
    study = studies.study("hcc")
    batch = draw(study, 7, np.arange(4000))
    pre, post = (
        expected.figure(batch, bound(batch, p.modalities, draws=32).risk) for p in study.profiles
    )
    blind = bound(batch, study.profiles[1].modalities, draws=32, blind=frozenset({"contact"}))
    assert pre < post - 0.02
    assert expected.figure(batch, blind.risk) < post - 0.01


def test_a_picture_that_was_not_made_tells_nothing():
    """Whatever stands in its place."""
    study = studies.study("crlm")
    batch = draw(study, 7, np.arange(400))
    gone = ~batch.emitted.done["ct"]
    with_ct, without = (
        bound(batch, frozenset(g), draws=32).risk for g in (("tabular", "ct"), ("tabular",))
    )
    assert np.allclose(with_ct[gone], without[gone])
    assert not np.allclose(with_ct[~gone], without[~gone])
