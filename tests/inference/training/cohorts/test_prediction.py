"""Cancer within a year: who is asked, nothing of the gap, and the same dates for cases and controls."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from inference import features, protocol_reading
from inference.evaluation import metrics
from inference.training.cohorts import studies
from inference.training.cohorts.ages import GAPS
from inference.training.cohorts.bound import bound, brute_force, disagreement
from inference.training.cohorts.drawing import draw
from inference.training.cohorts.errors import BadDeclaration
from inference.training.cohorts.onset import Onset
from inference.training.cohorts.outcome import Cause, Terms
from inference.training.cohorts.patients import Patient, entries, facts, patient, registry
from inference.training.cohorts.persons import members
from mappings.record import PatientRecord

NOW, LATER = studies.study("pan"), studies.study("pan_1y")
PROTOCOL = protocol_reading.shipped()["pan_cancer_1y"]
OPENED = datetime(2024, 1, 1, 9, tzinfo=UTC)
MANY = np.arange(12_000)


def one_of(batch, row):
    """A patient of a batch."""
    return Patient(batch=batch.rows(slice(int(row), int(row) + 1)))


def last_told(one):
    """Day of the newest thing that anybody said, from the index."""
    return max(f.issued_days for f in facts(one))


def dates(batch, rows):
    """Index dates and last entries of some patients, in days."""
    people = [one_of(batch, row) for row in rows]
    index = [(one.index_at(OPENED) - OPENED).days for one in people]
    return np.array(index), np.array([last_told(one) for one in people])


def test_cases_and_controls_have_the_same_index_dates_and_last_entries():
    """Two samples of 700 each; what is planted in one is found."""
    batch = draw(LATER, 5, np.arange(6000))
    cases, controls = (np.flatnonzero(batch.label == y)[:700] for y in (1, 0))
    (index, last), (other_index, other_last) = dates(batch, cases), dates(batch, controls)
    assert stats.ks_2samp(index, other_index).pvalue > 0.01
    assert stats.ks_2samp(last, other_last).pvalue > 0.01
    assert stats.ks_2samp(last - 6, other_last).pvalue < 1e-3
    assert (len(set(index)), len(set(last))) > (400, 50)
    # Of everybody, by the days they were drawn from: no correlation with label or risk.
    everyone = draw(LATER, 5, MANY)
    for days in (everyone.emitted.index_day, everyone.emitted.earlier):
        for asked in (everyone.label, everyone.risk):
            assert abs(np.corrcoef(days, asked)[0, 1]) < 4 / np.sqrt(len(MANY))


def test_nothing_is_told_in_the_gap():
    """Neither happened nor issued there, in whoever falls ill and who does not."""
    batch = draw(LATER, 5, np.arange(150))
    assert {0, 1} == set(batch.label)
    for row in range(len(batch)):
        one = one_of(batch, row)
        index_at = one.index_at(OPENED)
        quiet = index_at - timedelta(days=LATER.gap_days)
        told = [e for e in entries(one, index_at=index_at) if e.kind != "patient"]
        assert told
        for entry in told:
            assert entry.effective.latest < quiet
            assert entry.source_time.latest < quiet
        assert last_told(one) >= -(LATER.gap_days + LATER.wait_days + 1)


def test_the_protocol_reads_up_to_the_gap_and_no_further():
    """Its windows end where the cohort's gap begins; who has cancer is asked up to the index."""
    assert GAPS[0] <= LATER.gap_days <= GAPS[1]
    windows = {i.id: i.window_days for i in PROTOCOL.inputs if i.window_days}
    assert len(windows) > 15
    assert {-LATER.gap_days} == {last for _, last in windows.values()}
    rules = {r.id: r.test for r in PROTOCOL.rules}
    assert -LATER.gap_days == rules["history"].selector.window_days[1]
    assert -LATER.gap_days == rules["imaging"].window_days[1]
    assert 0 == rules["no_known_cancer"].selector.window_days[1]
    assert 12 * 30 < rules["follow_up"].event.window_days[1] <= 366
    assert LATER.profiles[0].lock_days == -LATER.gap_days


def read(one, index_at):
    """Numbers that the protocol reads of a record on its index date."""
    received = index_at - timedelta(days=1)
    record = PatientRecord.of(entries(one, index_at=index_at, received_at=received), as_of=index_at)
    return features.read(PROTOCOL, None, record, index_at, index_at).numbers


def test_what_the_cohort_tells_is_what_the_protocol_reads():
    """Every assay of the panels; of a record whose examination lies in the gap, none."""
    labs = {"NEU", "LYM", "HGB", "PLT", "ALB", "ALP", "ALT", "CREA", "CRP", "LDH"}
    for index in range(12):
        one = patient(LATER, 5, index)
        assert labs <= set(read(one, one.index_at(OPENED)))
        visited = patient(NOW, 5, index)
        assert labs.isdisjoint(read(visited, visited.index_at(OPENED)))


def test_who_has_cancer_now_is_not_asked_of_the_next_year():
    """The others are the same persons in both cohorts, with the values that they had."""
    now, later = draw(NOW, 5, MANY), draw(LATER, 5, MANY)
    free = now.label == 0
    assert np.array_equal(now.z[free], later.z[free])
    assert np.array_equal(now.emitted.numbers["LDH"][free], later.emitted.numbers["LDH"][free])
    assert not (now.z[~free] == later.z[~free]).any()
    person = members(LATER, 5, MANY, "internal")
    assert not draw(NOW, 5, person).label.any()
    assert len(set(person)) == len(MANY)
    # Those who are left are the healthier ones.
    assert later.z[:, LATER.column("lesion")].mean() < -0.1


def test_what_happens_later_does_not_hang_on_the_draw_of_now():
    """Given latents and hospital, the label of the year is a coin of its own."""
    batch = draw(LATER, 5, MANY)
    kinds = LATER.outcome.cells(batch.eta)
    seen = np.zeros_like(kinds.mean(-1))
    width = LATER.outcome.horizon_months / LATER.outcome.intervals
    happened = batch.events.cause > 0
    interval = (batch.events.months[happened] // width).astype(int)
    np.add.at(seen, (interval, batch.events.cause[happened] - 1), 1)
    expected = kinds.mean(-1)
    error = np.sqrt(expected * (1 - expected) / len(batch))
    assert np.abs((seen / len(batch) - expected) / error).max() < 3.5


def test_hazards_never_exceed_one_and_everything_sums_to_one():
    """Per interval one softmax; incidences and the share that stays free (model-rules 11)."""
    eta = np.random.default_rng(2).normal(0, 2, (2, 500))
    cells = LATER.outcome.cells(eta)
    free = np.ones(500)
    for interval in cells:
        hazard = interval / free
        assert (hazard >= 0).all()
        assert (hazard.sum(0) <= 1 + 1e-9).all()
        free = free - interval.sum(0)
    assert np.allclose(1, cells.sum((0, 1)) + free)
    assert (free >= -1e-12).all()


def aalen_johansen(batch, until):
    """Cumulative incidence of each cause by a month, from censored observations."""
    order = np.argsort(batch.events.observed_months, kind="stable")
    months = batch.events.observed_months[order]
    cause = batch.events.observed_cause[order]
    free, found = 1.0, np.zeros(len(batch.study.outcome.causes))
    for place in np.flatnonzero(months <= until):
        at_risk = len(months) - place
        if cause[place]:
            found[cause[place] - 1] += free / at_risk
            free *= 1 - 1 / at_risk
    return found


def test_censored_follow_up_gives_the_risk_back():
    """Nobody is filtered for follow-up (model-rules 2); death competes, the registrar errs."""
    batch = draw(LATER, 5, MANY)
    lost = batch.events.followed_months < LATER.outcome.horizon_months
    assert 0.15 < lost.mean() < 0.4
    cancer, death = aalen_johansen(batch, 12.0)
    assert pytest.approx(batch.risk.mean(), abs=0.012) == cancer
    assert pytest.approx(LATER.outcome.incidence(batch.eta)[1].mean(), abs=0.006) == death
    followed = ~lost | (batch.events.observed_cause > 0)
    assert (batch.events.observed_cause[followed] == 1).mean() > cancer + 0.02


def test_the_bound_is_the_brute_force_answer_for_every_subset():
    """All 32: who has cancer now is taken out of the prior in closed form, and by living it."""
    few, away = draw(LATER, 11, np.arange(4)), []
    names = LATER.modalities
    assert 5 == len(names)
    for count in range(len(names) + 1):
        for given in combinations(names, count):
            fast = bound(few, frozenset(given), draws=256)
            away.append(disagreement(fast, brute_force(few, frozenset(given), draws=25_000)))
    found = np.array(away)
    assert (32, 4) == found.shape
    assert np.sqrt((found**2).mean()) < 1.5
    assert np.abs(found).max() < 5


def test_a_bound_that_forgets_who_was_left_out_is_found():
    """The comparison has power: the same declaration for everybody."""
    few, full = draw(LATER, 11, np.arange(10)), frozenset(LATER.modalities)
    everybody = replace(few, study=replace(LATER, free_of=None))
    away = disagreement(bound(everybody, full, draws=256), brute_force(few, full))
    assert np.sqrt((away**2).mean()) > 3


def test_under_18_the_bound_is_calibrated_too():
    """The subgroup of children, now and within a year, with the cancers that they have."""
    for study in (NOW, LATER):
        batch = draw(study, 5, MANY)
        batch = batch.rows(batch.emitted.numbers["age"] < 18)
        assert len(batch) > 600
        risk = bound(batch, frozenset(study.modalities), draws=32).risk
        slope, large = metrics.calibration(batch.label, risk)
        assert slope.low <= 1 <= slope.high
        assert large.low <= 0 <= large.high
        ill = np.flatnonzero(batch.events.observed_cause == 1)
        organs = {registry(one_of(batch, row))[0].code.code for row in ill}
        assert {"C91", "C71", "C74"} <= organs <= {"C91", "C71", "C74", "C64", "C81"}


def test_who_dies_in_the_year_has_death_in_the_registry():
    """And no organ of a cancer."""
    batch = draw(LATER, 5, np.arange(600))
    died = np.flatnonzero(batch.events.observed_cause == 2)
    assert len(died) > 5
    for row in died:
        first = registry(one_of(batch, row))[0]
        assert ("R99", {}) == (first.code.code, dict(first.details))


@pytest.mark.parametrize("days", [1, 29, 181, -30])
def test_a_gap_out_of_its_range_is_refused(days):
    """30 to 180 days, or none."""
    with pytest.raises(BadDeclaration, match="gap_days: expected 0, or 30 to 180"):
        replace(LATER, gap_days=days)


def test_a_declaration_that_would_tell_in_the_gap_is_refused():
    """Something issued after the visit began; and persons who are not the same."""
    note = replace(LATER.narratives[0], days=0)
    with pytest.raises(BadDeclaration, match="note: expected a day before the index"):
        replace(LATER, narratives=(note,))
    with pytest.raises(BadDeclaration, match="free_of: expected a study of these latents"):
        replace(LATER, free_of=replace(NOW, correlation=0.3))


def test_every_declared_gap_is_kept():
    """The least, a middle and the greatest."""
    for days in (30, 90, 180):
        batch = draw(replace(LATER, gap_days=days), 5, np.arange(300))
        assert days < batch.emitted.earlier.min()
        assert batch.emitted.earlier.max() <= days + LATER.wait_days + 1
        assert last_told(one_of(batch, 3)) < -days


def test_shares_are_met_whatever_the_course():
    """Intercepts are solved for any number of intervals and any shape of the hazard."""
    rng = np.random.default_rng(4)
    terms = Terms(weights=(("a", 1.0),))
    made = Onset(
        competing=(Cause("ill", 0.25, terms), Cause("dead", 0.1, terms)),
        natural=(0.01, 0.02, 0.03),
        course=(tuple(np.linspace(1, -1, 12)), (0.0,) * 12),
        horizon_months=12.0,
        dropout=0.05,
        follow_up_months=(12.0, 24.0),
    )
    u = rng.random((40_000, 6))
    eta = np.array([[-3.2], [-4.4]]) + rng.normal(0, 0.5, (2, 40_000))
    events = made.draw(eta, u)
    shares = [(events.cause == c).mean() for c in (1, 2)]
    assert np.allclose(made.incidence(eta).mean(1), shares, atol=0.006)
    assert 0 < events.months.min()
    assert events.months[events.cause > 0].max() < 12
