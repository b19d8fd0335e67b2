"""The contract: it holds for what is declared, and finds what is broken."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inference.training.cohorts import contract, picture_clauses, studies
from inference.training.cohorts.contract import Effort, cohort
from inference.training.cohorts.outcome import Terms

SEED, N = 31, 3000
CRLM = studies.study("crlm")


def with_terms(study, **changes):
    """The study with another predictor of its headline."""
    first, *others = study.outcome.competing
    terms = replace(first.terms, **changes)
    causes = (replace(first, terms=terms), *others)
    return replace(study, outcome=replace(study.outcome, competing=causes))


def test_every_clause_holds_for_a_declared_study():
    """All of them, (a) to (i), at a size for tests; the figures stand in docs/reference."""
    effort = Effort(n=2500, rendered=500, draws=16, brute=6)
    found = list(contract.clauses(studies.study("breast"), SEED, effort))
    assert [] == [f"{c.clause}: {c.figure}" for c in found if not c.holds]
    # There is no lesion in a volume here, so no clause d: the next test has it.
    assert {*"abcefghi", "rates", "bound", "naive"} == {c.clause for c in found}


@pytest.mark.parametrize("name", ["crlm", "hcc", "liver", "pan", "pan_1y"])
def test_clauses_hold_for_studies_with_volumes(name):
    """Full bound, what each modality adds, lesions, sites, missingness, leaks, disturbances."""
    study = studies.study(name)
    batch = cohort(study, SEED, 0, N)
    at_best = contract.expected.figure(batch, _best(batch))
    _, made = picture_clauses.rendered(cohort(study, SEED, 0, 60))
    found = [
        contract._first(batch, at_best, [at_best, at_best]),
        *contract._added(batch, at_best, 32),
        *picture_clauses.lesions(study, made),
        contract._site(batch, cohort(study, SEED, 1, N)),
        contract._shape(batch),
        *contract._missing(batch, cohort(study, SEED, 2, N)),
        *contract._unread(batch),
        picture_clauses.disturbed(batch, made),
    ]
    assert [] == [f"{c.clause}: {c.figure}" for c in found if not c.holds]
    assert {*"abdefghi"} == {c.clause for c in found}


def failing(clauses):
    """Letters of the clauses that do not hold."""
    return {c.clause for c in clauses if not c.holds}


def test_a_study_that_is_too_easy_fails_its_bar():
    """Clause a: twice the effects."""
    easy = with_terms(CRLM, weights=tuple((n, 2.5 * w) for n, w in _weights(CRLM)))
    batch = cohort(easy, SEED, 0, N)
    at_best = contract.expected.figure(batch, _best(batch))
    assert {"a"} == failing([contract._first(batch, at_best, [at_best, at_best])])


def _weights(study):
    return study.outcome.predictors[0].weights


def _best(batch):
    return contract.bound(batch, frozenset(batch.study.modalities), draws=32).risk


def test_a_picture_that_tells_nothing_fails():
    """Clause b, of the CT alone."""
    dull = with_terms(
        CRLM,
        weights=tuple((n, 0.0 if n in ("texture", "rim") else w) for n, w in _weights(CRLM)),
        interactions=(("burden", "exclusion", 0.1),),
    )
    batch = cohort(dull, SEED, 0, N)
    found = list(contract._added(batch, contract.expected.figure(batch, _best(batch)), 32))
    assert ["ct adds"] == [c.figure[:7] for c in found if not c.holds]


def test_a_slide_that_statistics_can_read_fails():
    """Clause c: the label hangs on how much tumour there is."""
    study = studies.study("breast")
    slide = study.pictures[0]
    plain = tuple(replace(c, noise=0.2) if c.name == "fraction" else c for c in slide.components)
    easy = with_terms(
        replace(study, pictures=(replace(slide, components=plain),)), weights=(("burden", 1.2),)
    )
    for declared, clauses in ((easy, {"c"}), (study, set())):
        some, made = picture_clauses.rendered(cohort(declared, SEED, 0, 500))
        found = picture_clauses.share_recovered(some, declared.pictures[0], made["slide"])
        assert clauses == failing([found])


def test_a_lesion_that_fills_the_volume_fails():
    """Clause d."""
    ct = CRLM.pictures[0]
    large = replace(ct, shows=replace(ct.shows, radii=(10.5, 11.5)))
    study = replace(CRLM, pictures=(large,))
    _, made = picture_clauses.rendered(cohort(study, SEED, 0, 6))
    assert {"d"} == failing(picture_clauses.lesions(study, made))


def test_hospitals_that_are_all_alike_fail():
    """Clause e: site says nothing."""
    alike = replace(CRLM, sites=tuple(replace(s, shift=0.0) for s in CRLM.sites))
    found = contract._site(cohort(alike, SEED, 0, N), cohort(alike, SEED, 1, N))
    assert {"e"} == failing([found])


def test_a_straight_line_fails():
    """Clause f: no interaction; and latents that are strangers."""
    straight = with_terms(CRLM, interactions=())
    assert {"f"} == failing([contract._shape(cohort(straight, SEED, 0, 500))])
    strangers = replace(CRLM, correlation=0.05)
    assert {"f"} == failing([contract._shape(cohort(strangers, SEED, 0, 500))])


def test_missing_too_much_or_too_orderly_fails():
    """Clause g, each of its two."""
    much = tuple(replace(p, missing=0.6) if p.name == "ct" else p for p in CRLM.panels)
    orderly = tuple(replace(p, mnar=(p.mnar[0], 0.0)) if p.mnar else p for p in CRLM.panels)
    for panels, words in ((much, "missing at random"), (orderly, "latent of patients")):
        study = replace(CRLM, panels=panels)
        found = contract._missing(cohort(study, SEED, 0, N), cohort(study, SEED, 2, N))
        assert [words] == [c.figure[: len(words)] for c in found if not c.holds]


def test_an_assay_that_knows_the_label_is_found():
    """Clause h: a planted leak, small against the assay's own noise."""
    batch = cohort(CRLM, SEED, 0, N)
    scaled = {**batch.emitted.scaled}
    scaled["CEA"] = scaled["CEA"] + 0.3 * batch.label
    leaking = replace(batch, emitted=replace(batch.emitted, scaled=scaled))
    assert contract._leak(batch) < 4 < contract._leak(leaking)
    assert {"h"} == failing(contract._unread(leaking))


def test_a_registrar_without_errors_fails():
    """Clause i."""
    perfect = replace(CRLM, outcome=replace(CRLM.outcome, overlooked=0.0, invented=0.0))
    assert {"i"} == failing([picture_clauses.disturbed(cohort(perfect, SEED, 0, N), {})])


def test_a_wrong_bound_is_found_by_brute_force(monkeypatch):
    """The comparison has power: a bound that forgets the assays' noise is told apart."""
    batch = cohort(CRLM, SEED, 0, 8)
    scaled = {k: v + 1.0 for k, v in batch.emitted.scaled.items()}
    other = replace(batch, emitted=replace(batch.emitted, scaled=scaled))
    full = frozenset(CRLM.modalities)
    away = contract.disagreement(
        contract.bound(other, full, draws=128), contract.brute_force(batch, full)
    )
    assert np.sqrt((away**2).mean()) > 1.5


def test_terms_have_mean_zero_whatever_is_declared():
    """Products and squares less their means, so that the intercept alone sets the rate."""
    terms = Terms(weights=(("a", 1.0),), interactions=(("a", "b", 0.7),), squares=(("b", 0.4),))
    rng = np.random.default_rng(1)
    z = rng.multivariate_normal([0, 0], [[1, 0.3], [0.3, 1]], 200_000)
    assert pytest.approx(0, abs=0.01) == terms.value(("a", "b"), 0.3, z).mean()
