"""One patient: facts as record and as messages, the registry, and what a lock hides."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from inference.features import value_digest
from inference.training.cohorts import studies
from inference.training.cohorts.drawing import draw
from inference.training.cohorts.patients import (
    AUTHORITY,
    Event,
    Patient,
    entries,
    facts,
    outcome_of,
    patient,
    registry,
)
from inference.training.cohorts.studies.hcc import milan
from mappings import hl7v2
from mappings.codes import ICD10, LOINC, is_loinc
from mappings.record import Code, PatientRecord, Quantity, Source
from mappings.site import Site
from mappings.units import is_ucum
from workers.cohort import hl7

STUDIES = studies.declared()
DAY = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


def many(study, n):
    """Patients 0 to n - 1, drawn at once."""
    batch = draw(study, 3, np.arange(n))
    return [Patient(batch=batch.rows(slice(row, row + 1))) for row in range(n)]


@pytest.mark.parametrize("name", STUDIES)
def test_the_record_made_directly_is_the_one_that_came_by_hl7(name):
    """Same keys, codes, times, values and sections, through the bytes of messages."""
    site = Site(authorities={"DEMOHOSP": AUTHORITY}, default_authority=AUTHORITY)
    for index in range(3):
        one = patient(studies.study(name), 3, index)
        wire = {}
        for number, raw in enumerate(hl7(one, index_at=DAY), 1):
            source = Source("his", number, DAY)
            for entry in hl7v2.entries(raw, site=site, source=source).entries:
                wire[entry.key] = entry
        direct = {e.key: e for e in entries(one, index_at=DAY)}
        # A name and a visit number belong to messages; nothing clinical is in them.
        extra = {k for k in wire if k == "patient/name" or k.startswith("encounter/")}
        assert set(direct) == set(wire) - extra
        for key, entry in direct.items():
            came = wire[key]
            assert value_digest(entry) == value_digest(came), key
            assert (entry.kind, entry.patient, entry.twin) == (came.kind, came.patient, came.twin)
            if entry.code and came.code:
                assert (entry.code.system, entry.code.code) == (came.code.system, came.code.code)
            if entry.effective and entry.kind != "patient":
                assert entry.effective.earliest == came.effective.earliest


@pytest.mark.parametrize("name", STUDIES)
def test_facts_have_codes_units_and_numbers_that_exist(name):
    """LOINC check digits, UCUM units, no value beyond its assay; numbers say SYN."""
    study = studies.study(name)
    everyone = many(study, 16)
    assert 16 == len({one.number for one in everyone})
    for one in everyone:
        assert one.number.startswith("SYN-")
        for fact in facts(one):
            assert fact.code.system in (LOINC, ICD10)
            assert fact.code.system != LOINC or is_loinc(fact.code.code)
            assert fact.days < fact.issued_days
            if isinstance(fact.value, Quantity):
                assert is_ucum(fact.value.unit)
                assert 0 <= float(fact.value.value) < 1e6


def test_the_same_value_has_other_units_in_other_languages():
    """Albumin in g/L or g/dL, bilirubin by mass or by moles."""
    study = studies.study("hcc")
    by_language = {}
    for one in many(study, 20):
        for fact in facts(one):
            if fact.name in ("ALB", "TBIL"):
                told = (fact.code.code, fact.value.unit)
                by_language.setdefault((one.site.language, fact.name), set()).add(told)
    assert by_language == {
        ("zh", "ALB"): {("1751-7", "g/L")},
        ("en", "ALB"): {("1751-7", "g/dL")},
        ("zh", "TBIL"): {("14631-6", "umol/L")},
        ("en", "TBIL"): {("1975-2", "mg/dL")},
    }


def test_before_surgery_nothing_of_the_specimen_is_known():
    """Hcc PRE: as of its lock, the record holds no pathology; as of POST's, it does."""
    study = studies.study("hcc")
    one = patient(study, 3, 1)
    after = [f for f in facts(one) if f.modality == "pathology"]
    assert after
    pre, post = study.profiles
    assert all(f.issued_days > pre.lock_days for f in after)
    assert all(f.issued_days <= post.lock_days for f in facts(one))
    record = PatientRecord.of(
        entries(one, index_at=DAY), as_of=DAY + timedelta(days=90), knowledge="source"
    )
    early = PatientRecord.of(
        entries(one, index_at=DAY), as_of=DAY + timedelta(days=61), knowledge="source"
    )
    assert record.latest("33739-4") is not None
    assert early.latest("1834-1") is not None
    lock = PatientRecord.of(
        entries(one, index_at=DAY, received_at=DAY - timedelta(days=1)),
        as_of=DAY + timedelta(days=pre.lock_days),
        knowledge="source",
    )
    assert lock.latest("33739-4") is None
    assert lock.latest("1834-1") is not None


@pytest.mark.parametrize("name", STUDIES)
def test_the_label_is_what_production_would_derive_from_the_registry(name):
    """Event table to cause and time, for patients with every outcome."""
    study = studies.study(name)
    batch, seen = draw(study, 3, np.arange(200)), set()
    for row, one in enumerate(many(study, 200)):
        months, cause = outcome_of(study, registry(one))
        assert int(batch.events.observed_cause[row]) == cause
        assert float(batch.events.observed_months[row]) == months
        seen.add(cause)
    assert set(range(len(study.outcome.causes) + 1)) == seen


def test_nothing_of_the_registry_is_among_the_facts():
    """No code of an event is told before it happens."""
    study = studies.study("crlm")
    events = set(study.registry_events.codes)
    assert not any(f.code.code in events for one in many(study, 50) for f in facts(one))


@pytest.mark.parametrize(
    ("nodules", "vessel", "outside", "within"),
    [
        ([50], False, False, True),
        ([51], False, False, False),
        ([30, 30, 30], False, False, True),
        ([31, 10], False, False, False),
        ([10, 10, 10, 10], False, False, False),
        ([10], True, False, False),
        ([10], False, True, False),
    ],
)
def test_the_milan_rule(nodules, vessel, outside, within):
    """Mazzaferro 1996, at its edges."""
    assert within == milan(nodules, macrovascular_invasion=vessel, extrahepatic=outside)


def test_the_first_event_decides():
    """Later lines of the registry do not."""
    study = studies.study("crlm")
    events = [
        Event(months=9.0, code=Code(ICD10, "R99"), details={}),
        Event(months=4.0, code=Code(ICD10, "C78.7"), details={}),
        Event(months=12.0, code=None, details={}),
    ]
    assert (4.0, 1) == outcome_of(study, events)
    assert (9.0, 2) == outcome_of(study, [events[0], events[2]])
    assert (12.0, 0) == outcome_of(study, events[2:])


def test_children_have_the_cancers_of_children():
    """Organ classes of the registry by age."""
    study = studies.study("pan")
    batch = draw(study, 3, np.arange(1500))
    found = {True: set(), False: set()}
    for row in np.flatnonzero(batch.events.observed_cause):
        one = Patient(batch=batch.rows(slice(int(row), int(row) + 1)))
        found[one.age_years < 18].add(registry(one)[0].code.code)
    assert {"C91", "C71"} <= found[True]
    assert not {"C34", "C50"} & found[True]
    assert {"C34", "C50"} <= found[False]


def test_patients_and_pictures_need_numpy_only():
    """The pretend hospital runs where neither torch nor scipy is installed."""
    script = (
        "import sys\n"
        "for name in ('torch', 'scipy', 'sklearn', 'onnx'): sys.modules[name] = None\n"
        "from inference.training.cohorts import studies\n"
        "from inference.training.cohorts.patients import facts, patient\n"
        "for name in studies.declared():\n"
        "    one = patient(studies.study(name), 3, 1)\n"
        "    assert facts(one)\n"
        "    assert all(one.picture(p.name) for p in one.study.pictures if one.has(p.name))\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
