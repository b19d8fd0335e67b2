"""A patient of any study says the same by FHIR as by HL7 and as the generator: labs, text, genes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from inference import features, genetics, packs, protocol_reading
from inference.training.cohorts import studies
from inference.training.cohorts.patients import AUTHORITY, Patient, entries, patient
from mappings import fhir, hl7v2
from mappings.fhir.door import parse, validate
from mappings.record import Entry, PatientRecord, Source
from mappings.site import Site
from workers import cohort_fhir
from workers.cohort import app, hl7

DAY = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
SITE = Site(authorities={"DEMOHOSP": AUTHORITY}, default_authority=AUTHORITY)
STUDIES = studies.declared()
READ_BY = {
    "crlm": "crlm_2y", "hcc": "hcc_ar_pre", "breast": "breast_dm", "pan": "pan_cancer_now",
    "pan_1y": "pan_cancer_1y", "liver": "liver_px",
}  # fmt: skip


def by_fhir(one: Patient) -> list[Entry]:
    """Through the bytes of a transaction that the door finds valid."""
    return read(cohort_fhir.bundle(one, index_at=DAY))


def read(bundle: dict[str, Any]) -> list[Entry]:
    """A transaction as the door reads it."""
    data = parse(json.dumps(bundle).encode())
    validate(data)
    subjects = fhir.subjects(data, site=SITE)
    made: list[Entry] = []
    for number, part in enumerate(fhir.split(data), 1):
        source = Source("ehr", number, DAY)
        told = fhir.entries(part.resource, site=SITE, source=source, patient=subjects.get)
        assert [] == [f for f in told.findings if f.severity == "error"]
        made += told.entries
    return made


def by_hl7(one: Patient) -> list[Entry]:
    """Through the bytes of messages."""
    made: list[Entry] = []
    for number, raw in enumerate(hl7(one, index_at=DAY), 1):
        made += hl7v2.entries(raw, site=SITE, source=Source("his", number, DAY)).entries
    return made


def said(told: list[Entry]) -> set[tuple[object, ...]]:
    """What, which value, which time; of genes nothing, whose rows have keys of their own."""
    return {
        (e.kind, e.code and (e.code.system, e.code.code), features.value_digest(e),
         e.effective and e.effective.earliest)
        for e in told
        if e.kind in ("observation", "condition", "report") and not of_gene(e)
    }  # fmt: skip


def of_gene(entry: Entry) -> bool:
    """Rows of a variant."""
    return entry.code is not None and entry.code.code in ("69548-6", "48018-6", "48004-6")


def demographics(told: list[Entry]) -> set[tuple[str, str]]:
    """Birth date and sex."""
    wanted = ("patient/birth_date", "patient/sex")
    return {(e.key, features.value_digest(e)) for e in told if e.key in wanted}


def record(told: list[Entry]) -> PatientRecord:
    """All of it, known."""
    return PatientRecord.of(told, as_of=datetime(2027, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("name", STUDIES)
def test_every_fact_by_fhir_is_the_generators_and_that_of_hl7(name: str):
    """Laboratory values, coded answers, diagnoses, smoking and body mass, reports by section."""
    for index in range(4):
        one = patient(studies.study(name), 3, index)
        direct = entries(one, index_at=DAY, received_at=DAY)
        wire = by_fhir(one)
        assert said(direct) == said(wire) == said(by_hl7(one))
        assert demographics(direct) == demographics(wire)
        reports = [e.details["sections"] for e in wire if e.kind == "report"]
        assert [e.details["sections"] for e in direct if e.kind == "report"] == reports


@pytest.mark.parametrize("name", STUDIES)
def test_a_fact_with_an_order_has_one_key_by_both_doors(name: str):
    """So that what comes twice is one fact; genes and diagnoses are the documented exceptions."""
    one = patient(studies.study(name), 3, 1)
    direct = {e.key for e in entries(one, index_at=DAY) if e.kind in ("observation", "report")}
    genes = {e.key for e in entries(one, index_at=DAY) if of_gene(e)}
    wire = {e.key for e in by_fhir(one) if e.kind in ("observation", "report") and not of_gene(e)}
    assert direct - genes == wire


@pytest.mark.parametrize("name", ["pan", "pan_1y"])
def test_genes_by_fhir_are_those_by_hl7_and_the_generators(name: str):
    """Which genes were read, which were changed, and how: whatever the rows are called."""
    seen = set()
    for index in range(12):
        one = patient(studies.study(name), 3, index)
        direct, wire, messages = (
            genetics.variants(record(told))
            for told in (entries(one, index_at=DAY, received_at=DAY), by_fhir(one), by_hl7(one))
        )
        calls = [
            sorted((v.gene, v.change, v.state) for v in found) for found in (direct, wire, messages)
        ]
        assert calls[0] == calls[1] == calls[2]
        assert bool(calls[0]) == bool(one.batch.emitted.done["genes"][0])
        seen |= {(gene, state) for gene, _, state in calls[0]}
    assert {gene for gene, _ in seen} == {"BRCA2", "TP53", "MLH1", "APC"}
    assert len({state for _, state in seen}) == 2


@pytest.mark.parametrize("name", sorted(READ_BY))
def test_a_protocol_reads_the_same_numbers_by_every_door(name: str):
    """Inputs with their units and transforms, histories and scores, findings of a report."""
    wanted = protocol_reading.shipped()[READ_BY[name]]
    lexicon = packs.load(Path(packs.__file__).parent / "packs" / "liver_dx").lexicon
    for index in range(4):
        one = patient(studies.study(name), 3, index)
        direct, wire, messages = (
            features.read(wanted, lexicon, record(told), DAY, DAY)
            for told in (entries(one, index_at=DAY, received_at=DAY), by_fhir(one), by_hl7(one))
        )
        assert direct.numbers
        assert direct.numbers == wire.numbers == messages.numbers
        assert direct.findings == wire.findings == messages.findings


def test_a_value_that_differs_is_told_apart():
    """The comparison has power: another hour, and one value that is another."""
    one = patient(studies.study("pan"), 3, 1)
    wire = said(by_fhir(one))
    assert not said(entries(one, index_at=DAY.replace(hour=10))) & wire
    other = cohort_fhir.bundle(one, index_at=DAY)
    [lab, *_] = [e["resource"] for e in other["entry"] if "valueQuantity" in e["resource"]]
    lab["valueQuantity"]["value"] += 0.1
    assert 1 == len(wire - said(read(other)))


def test_the_bundle_is_marked():
    """HTEST and SYN: nobody is meant."""
    one = patient(studies.study("crlm"), 3, 2)
    person = cohort_fhir.bundle(one, index_at=DAY)["entry"][0]["resource"]
    assert "HTEST" == person["meta"]["security"][0]["code"]
    assert person["identifier"][0]["value"].startswith("SYN-")


def test_the_command_writes_a_transaction():
    """`oncord cohort messages --fhir`: JSON to standard output."""
    found = CliRunner().invoke(app, ["messages", "pan_1y", "5", "--fhir"])
    assert 0 == found.exit_code
    made = json.loads(found.output)
    assert ("Bundle", "transaction") == (made["resourceType"], made["type"])
    kinds = {e["resource"]["resourceType"] for e in made["entry"]}
    assert {"Patient", "Observation"} <= kinds
    validate(parse(found.output.encode()))
