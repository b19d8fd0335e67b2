"""Specimens: numbers, parents, containers, and when they were taken and received."""

from __future__ import annotations

from typing import Any

import pytest
from resources import LAB, SUBJECT, Read, concept, one

from mappings.fhir.door import validate

BLOCK: dict[str, Any] = {
    "resourceType": "Specimen",
    "status": "available",
    "identifier": [{"system": LAB, "value": "P26-A1"}, {"system": "urn:x", "value": "7"}],
    "accessionIdentifier": {"system": LAB, "value": "P26"},
    "type": concept("430856003", text="组织块"),
    "subject": SUBJECT,
    "receivedTime": "2026-03-02T12:00:00+08:00",
    "parent": [
        {"identifier": {"system": LAB, "value": "P26"}},
        {"reference": "Specimen/5"},
    ],
    "container": [{"identifier": [{"system": LAB, "value": "C9"}]}, {"description": "jar"}],
    "collection": {
        "collectedDateTime": "2026-03-02T09:30:00+08:00",
        "bodySite": concept("10200004"),
        "method": concept("65801008"),
    },
}


def test_a_specimen_keeps_every_number_it_is_known_by(read: Read) -> None:
    """Slides name their block, blocks their resection."""
    validate(BLOCK)
    found = read(BLOCK)
    entry = one(found)
    assert () == found.findings
    assert (f"specimen/{LAB}|P26-A1", "final", "430856003", "2026-03-02T09:30:00+08:00") == (
        entry.key,
        entry.status,
        entry.code.code if entry.code else "",
        entry.effective.isoformat() if entry.effective else "",
    )
    assert {
        "ids": [f"{LAB}|P26-A1", "urn:x|7"],
        "accession": "P26",
        "parents": [f"{LAB}|P26", "Specimen/5"],
        "containers": [f"{LAB}|C9"],
        "received": "2026-03-02T12:00:00+08:00",
        "site": ["10200004"],
        "method": ["65801008"],
    }.items() <= entry.details.items()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (None, "final"),
        ("available", "final"),
        ("unavailable", "final"),
        ("unsatisfactory", "final"),
        ("entered-in-error", "entered-in-error"),
        ("wat", "unknown"),
    ],
)
def test_a_specimen_that_is_used_up_was_there(read: Read, sent: str | None, status: str) -> None:
    """Status is optional; that it cannot be used any more stands in the details."""
    entry = one(read({**BLOCK, "status": sent}))
    assert (status, sent or None) == (entry.status, entry.details.get("status"))


def test_a_period_of_collection_counts_from_its_start(read: Read) -> None:
    """Urine of 24 hours."""
    period = {"start": "2026-03-01T08:00:00+08:00", "end": "2026-03-02T08:00:00+08:00"}
    entry = one(read({**BLOCK, "collection": {"collectedPeriod": period}}))
    assert (period["start"], period["end"]) == (
        entry.effective.isoformat() if entry.effective else "",
        entry.details["ended"],
    )


def test_keys_without_a_number(read: Read) -> None:
    """By id on its server, else type and time, else content: two unnumbered tubes are two."""
    bare = {**BLOCK, "identifier": None}
    assert "specimen/@lab/Specimen/3" == one(read({**bare, "id": "3"})).key
    assert "specimen/430856003/@2026-03-02T01:30Z" == one(read(bare)).key
    undated = {**bare, "collection": None}
    other = {**undated, "receivedTime": "2026-03-02T12:05:00+08:00"}
    assert one(read(undated)).key != one(read(other)).key
    untyped = {**bare, "type": None}
    again = {**untyped, "receivedTime": "2026-03-02T12:05:00+08:00"}
    assert one(read(untyped)).key != one(read(again)).key


@pytest.mark.parametrize(
    ("damage", "path"),
    [
        ({"collection": {"collectedDateTime": "today"}}, "Specimen.collectedDateTime"),
        ({"parent": ["P26"]}, "Specimen.parent"),
        ({"container": [{"identifier": "C9"}]}, "Specimen.identifier"),
        ({"accessionIdentifier": {"value": 26}}, "Specimen.value"),
        ({"status": "gone"}, "Specimen.status"),
        ({"processing": [{}]}, "Specimen.processing"),
    ],
)
def test_a_bad_element_is_reported(read: Read, damage: dict[str, Any], path: str) -> None:
    """And the rest stands."""
    found = read({**BLOCK, **damage})
    assert path in [f.path for f in found.findings]
    assert "430856003" == getattr(one(found).code, "code", None)
