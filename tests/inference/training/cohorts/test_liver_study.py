"""Liver: CT, MR or both; kinds of a diagnosis; what follows the operation."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from inference.training.cohorts import further, narrative, patients, persons, pictures, studies
from inference.training.cohorts.bound import bound, brute_force, disagreement
from inference.training.cohorts.contract import cohort
from inference.training.cohorts.drawing import draw
from inference.training.cohorts.errors import BadDeclaration
from inference.training.cohorts.patients import Event, Patient
from inference.training.cohorts.prognosis import GRID_MONTHS
from inference.training.cohorts.store import build
from inference.training.cohorts.study import SETS
from mappings.codes import ICD10
from mappings.record import Code

STUDY = studies.study("liver")
FULL = frozenset(STUDY.modalities)
DAY = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


def each(batch, rows):
    """Some patients of a batch, one by one."""
    return [Patient(batch=batch.rows(slice(int(r), int(r) + 1))) for r in rows]


@pytest.mark.parametrize("which", SETS)
def test_everybody_has_ct_or_mr_and_the_three_patterns_are_many(which):
    """Model-rules 4: CT only, MR only and both; in the stress set too."""
    done = draw(STUDY, 5, np.arange(3000), which).emitted.done
    ct, mr = done["ct"], done["mr"]
    assert (ct | mr).all()
    least = 0.1 if which == "stress" else 0.2
    assert min((ct & ~mr).mean(), (mr & ~ct).mean(), (ct & mr).mean()) > least


def test_a_panel_that_waits_for_one_after_it_is_refused():
    """The order of declaration is the order of drawing."""
    late = tuple(replace(p, unless="mr") if p.name == "ct" else p for p in STUDY.panels)
    with pytest.raises(BadDeclaration, match=r"ct: expected a panel before it .* not 'mr'"):
        replace(STUDY, panels=late)


def test_kinds_are_the_diagnosis_times_which_one():
    """P(HCC) = P(malignant) P(HCC | malignant), flat over three kinds and none."""
    eta = draw(STUDY, 5, np.arange(2000)).eta
    flat = STUDY.outcome.incidence(eta)
    malignant = 1 / (1 + np.exp(-eta[0]))
    among = np.exp(np.stack([np.zeros(2000), *eta[1:]]))
    assert np.allclose(flat, malignant * among / among.sum(0))
    assert np.allclose(STUDY.outcome.told(eta).sum(0), STUDY.outcome.risk(eta))


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_each_kind_is_told_as_often_as_its_probability_says(kind):
    """In fifths of it, confusion and false diagnoses included."""
    batch = draw(STUDY, 8, np.arange(20_000))
    p = STUDY.outcome.told(batch.eta)[kind - 1]
    for rows in np.array_split(np.argsort(p), 5):
        said, mean = (batch.events.recorded_cause[rows] == kind).mean(), p[rows].mean()
        assert abs(said - mean) < 4 * np.sqrt(mean * (1 - mean) / len(rows))


def test_pathology_errs_as_often_as_declared():
    """Overlooked, invented, and one kind told as another."""
    events = draw(STUDY, 9, np.arange(30_000)).events
    ill, told = events.cause > 0, events.recorded_cause > 0
    assert pytest.approx(0.02, abs=0.004) == (~told[ill]).mean()
    assert pytest.approx(0.01, abs=0.004) == told[~ill].mean()
    both = ill & told
    assert pytest.approx(0.02, abs=0.004) == (events.cause != events.recorded_cause)[both].mean()


def test_the_registry_of_a_benign_lesion_has_its_pathology():
    """Everybody is told something; a benign code is no headline."""
    batch = draw(STUDY, 5, np.arange(300))
    for one in each(batch, np.flatnonzero(batch.events.recorded_cause == 0)[:20]):
        first, last = patients.registry(one)
        assert first.code.code in STUDY.registry_events.none
        assert last.code is None
        assert (first.months, 0) == patients.outcome_of(STUDY, (first, last))


def test_a_report_has_an_impression_apart_that_tells_nothing_more():
    """Findings never name the diagnosis; the verdict follows from them and a mood."""
    batch = draw(STUDY, 5, np.arange(80))
    verdicts = (*STUDY.narratives[0].grammar.verdicts_en, *STUDY.narratives[0].grammar.verdicts_zh)
    seen = set()
    for one in each(batch, range(80)):
        report = next(e for e in patients.entries(one, index_at=DAY) if e.kind == "report")
        found = report.details["sections"]
        assert found["impression"] in verdicts
        seen.add(found["impression"])
        for word in ("carcinoma", "malignan", "benign", "HCC", "癌", "恶性", "良性"):
            assert word not in found["findings"]
    assert len(seen) == len(verdicts)


def test_a_verdict_hears_the_findings_only():
    """More of what is suspicious gives a worse one; without verdicts there is none."""
    grammar = STUDY.narratives[0].grammar
    sign = [f.slope > 0 for f in grammar.findings]

    def place(worst):
        said = ["present" if s == worst else "absent" for s in sign]
        made = [narrative.verdict(grammar, said, "en", np.random.default_rng(i)) for i in range(50)]
        return np.mean([grammar.verdicts_en.index(v) for v in made])

    assert place(worst=False) < 0.3
    assert place(worst=True) > 1.7
    mute = replace(grammar, verdicts_en=(), verdicts_zh=())
    assert narrative.verdict(mute, ["absent"] * len(sign), "zh", np.random.default_rng(0)) is None


@pytest.mark.parametrize(
    ("picture", "component", "first", "second"),
    [("ct", 0, "AP", "DL"), ("mr", 0, "AP", "DL"), ("mr", 2, "DWI", "T2")],
)
def test_a_component_stands_in_the_relation_of_two_channels(picture, component, first, second):
    """Wash-out: arterial against delayed; diffusion: DWI against T2; the rest is as it was."""
    batch = draw(STUDY, 12, np.arange(40))
    declared = next(p for p in STUDY.pictures if p.name == picture)
    row = int(np.flatnonzero(batch.emitted.done[picture])[0])
    shown = batch.emitted.pictures[picture]
    core = {}
    for value in (-2.0, 2.0):
        w = shown.w.copy()
        w[row, component] = value
        moved = {**batch.emitted.pictures, picture: replace(shown, w=w)}
        one = replace(batch, emitted=replace(batch.emitted, pictures=moved))
        made = pictures.render(one, row, declared)
        core[value] = made.voxels[:, made.lesion].astype(float).mean(1)
    gone = dict(zip(declared.channels, core[2.0] - core[-2.0], strict=True))
    assert gone[first] > 5
    assert gone[second] < -5
    others = {c: abs(v) for c, v in gone.items() if c not in (first, second, "PV")}
    assert max(others.values()) < 2


def test_only_those_with_a_diagnosis_are_operated_on():
    """And three quarters of them."""
    batch = draw(STUDY, 5, np.arange(6000))
    told = (batch.events.cause > 0) & (batch.events.recorded_cause > 0)
    operated = batch.course.operated
    assert not operated[~told].any()
    assert pytest.approx(0.75, abs=0.03) == operated[told].mean()


def test_progression_free_survival_is_overall_survival_times_what_never_rises():
    """Model-rules 4, of every patient and as lived; nobody progresses after death."""
    batch = draw(STUDY, 5, np.arange(12_000))
    batch = batch.rows(batch.course.operated)
    eta = persons.hazards(STUDY, batch.z)
    pfs, os = np.array([STUDY.prognosis.survival(eta, t) for t in (0.0, *GRID_MONTHS)]).swapaxes(
        0, 1
    )
    assert (pfs <= os).all()
    assert (np.diff(pfs / os, axis=0) <= 0).all()
    course = batch.course
    progressed = np.isfinite(course.progressed_months)
    assert (course.progressed_months < course.died_months)[progressed].all()
    ends = np.minimum(course.progressed_months, course.died_months), course.died_months
    for closed, end in zip((pfs, os), ends, strict=True):
        for t, p in zip(GRID_MONTHS, closed[1:].mean(1), strict=True):
            assert abs((end > t).mean() - p) < 4.5 * np.sqrt(p * (1 - p) / len(batch))
    assert pytest.approx(0.6, abs=0.03) == pfs[1 + GRID_MONTHS.index(24)].mean()


def test_follow_up_after_the_operation_ends_at_random():
    """Censored, never an event beyond it; independent of what would come."""
    batch = draw(STUDY, 5, np.arange(12_000))
    course = batch.rows(batch.course.operated).course
    for (seen, event), end in (
        (course.os, course.died_months),
        (course.pfs, np.minimum(course.progressed_months, course.died_months)),
    ):
        assert (seen <= course.followed_months).all()
        assert np.array_equal(event, end <= course.followed_months)
        assert np.array_equal(seen[event], end[event])
        assert 0.1 < event.mean() < 0.9
    early = course.died_months < np.median(course.died_months)
    away = course.followed_months[early].mean() - course.followed_months[~early].mean()
    assert abs(away) < 4 * course.followed_months.std() / np.sqrt(len(early) / 4)


def test_what_follows_is_what_production_would_derive_from_the_registry():
    """Operation, progression, death, last contact: the same times, and nobody else's."""
    batch = draw(STUDY, 3, np.arange(250))
    ends = set()
    for one in each(batch, range(250)):
        found, lived = patients.course_of(STUDY, patients.registry(one)), one.batch.course
        assert (found is not None) == lived.operated[0]
        if found is None:
            continue
        for name in ("pfs", "os"):
            (months, event), (was, happened) = getattr(found, name), getattr(lived, name)
            assert event[0] == happened[0]
            assert pytest.approx(was[0]) == months[0]
            ends.add((name, bool(event[0])))
    assert 4 == len(ends)


def test_a_study_without_a_prognosis_has_no_course():
    """A typed error, not an empty curve."""
    crlm = studies.study("crlm")
    assert draw(crlm, 3, np.arange(2)).course is None
    with pytest.raises(BadDeclaration, match="crlm: prognosis"):
        patients.course_of(crlm, [Event(months=1.0, code=Code(ICD10, "R99"), details={})])
    with pytest.raises(BadDeclaration, match="crlm: prognosis"):
        persons.hazards(crlm, np.zeros((2, 6)))


@pytest.mark.parametrize("given", [FULL, frozenset({"labs", "mr"})])
@pytest.mark.parametrize(
    "question", [further.SECOND_KIND, further.event_by(24, which=0), further.event_by(36, which=1)]
)
def test_every_question_has_the_brute_force_answer(question, given):
    """Kinds and both survivals, with all of the record and with a part."""
    few = draw(STUDY, 4, np.arange(8))
    fast = bound(few, given, question=question, draws=512)
    away = disagreement(fast, brute_force(few, given, question=question))
    assert np.sqrt((away**2).mean()) < 1.6


def test_the_bound_of_a_survival_is_calibrated():
    """Deaths of those operated on, in fifths of what is expected."""
    batch = draw(STUDY, 6, np.arange(6000))
    batch = batch.rows(batch.course.operated)
    p = bound(batch, FULL, question=further.event_by(36, which=1), draws=32).risk
    for rows in np.array_split(np.argsort(p), 5):
        died, mean = (batch.course.died_months[rows] <= 36).mean(), p[rows].mean()
        assert abs(died - mean) < 4 * np.sqrt(mean * (1 - mean) / len(rows))


def failing(study):
    """Clauses beside the headline's that do not hold."""
    batch = cohort(study, 31, 0, 3000)
    return [c.figure for c in further.clauses(batch, 16, 6) if not c.holds]


def test_what_is_asked_beside_the_headline_holds():
    """Kinds, both survivals, and each bound by brute force."""
    assert [] == failing(STUDY)
    assert [] == list(further.clauses(cohort(studies.study("crlm"), 31, 0, 50), 16, 6))


def test_kinds_that_nobody_confuses_and_nothing_tells_apart_fail():
    """Clause by clause."""
    perfect = replace(STUDY, outcome=replace(STUDY.outcome, confused=0.0))
    assert ["told: none"] == [f[:10] for f in failing(perfect)]
    first, second, third = STUDY.outcome.kinds
    alike = replace(second, terms=third.terms)
    blurred = replace(STUDY, outcome=replace(STUDY.outcome, kinds=(first, alike, third)))
    assert ["ICC against HCC"] == [f[:15] for f in failing(blurred)]


def test_a_survival_beyond_its_bar_fails():
    """The bar is on the bound."""
    asked = replace(STUDY, prognosis=replace(STUDY.prognosis, bar=(0.9, 0.95)))
    assert ["PFS", "OS "] == [f[:3] for f in failing(asked)]


def test_a_split_keeps_what_followed(tmp_path):
    """Times and events as observed, and who was operated on."""
    split = build(STUDY, tmp_path, seed=4, first=1000, n=24)
    course = draw(STUDY, 4, 1000 + np.arange(24)).course
    assert np.array_equal(split.arrays["operated"], course.operated)
    for name in ("pfs", "os"):
        months, event = getattr(course, name)
        assert np.array_equal(split.arrays[f"{name}_months"], months)
        assert np.array_equal(split.arrays[f"{name}_event"], event)
    assert {"ct/pooled", "mr/pooled"} <= set(split.arrays)


def test_a_ct_may_lack_a_phase_and_says_less_then(tmp_path):
    """Plain or delayed, as often as declared; the others stay as they were, and in their place."""
    batch = draw(STUDY, 12, np.arange(160))
    ct = STUDY.pictures[0]
    rows = np.flatnonzero(batch.emitted.done["ct"])
    whole = replace(ct, lacking=())
    lacking = []
    for row in rows:
        made = pictures.render(batch, row, ct)
        assert {"AP", "PV"} <= set(made.channels)
        assert len(made.voxels) == len(made.channels) == len(made.tags)
        lacking.append("DL" not in made.channels)
    assert 0.1 < np.mean(lacking) < 0.35
    row = rows[lacking.index(True)]
    short, full = (pictures.render(batch, row, p, measure=True) for p in (ct, whole))
    places = [full.channels.index(c) for c in short.channels]
    assert np.array_equal(short.voxels, full.voxels[places])
    assert short.cov[0, 0] > full.cov[0, 0]
    statistics = pictures.statistics(ct, short)
    assert np.isnan(statistics[-9:]).all()
    assert not np.isnan(statistics[8:21]).any()
    kept = build(STUDY, tmp_path, seed=12, first=int(row), n=1).arrays
    there = np.isin(ct.channels, short.channels)
    assert np.array_equal(kept["ct/acquired"][0], there)
    assert not kept["ct/pooled"][0, ~there].any()
    assert (np.abs(kept["ct/pooled"][0, there]).sum((1, 2, 3)) > 0).all()
