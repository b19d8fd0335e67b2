"""Our own results are recognised at every door (site rule 1)."""

from __future__ import annotations

from typing import Any

import pytest

from mappings.echo import is_own, is_own_message
from mappings.hl7v2.scan import scan

OURS = frozenset({"https://hospital.example/ns/ai-result"})
LABEL = {"security": [{"code": "AIAST"}]}


@pytest.mark.parametrize(
    ("resource", "own"),
    [
        ({"identifier": [{"system": "https://hospital.example/ns/ai-result"}]}, True),
        ({"identifier": {"system": "https://hospital.example/ns/ai-result"}}, True),
        ({"identifier": [{"system": "https://else.example"}]}, False),
        ({"meta": LABEL}, False),
        ({"meta": LABEL, "device": {"reference": "Device/ours/_history/2"}}, True),
        ({"meta": LABEL, "performer": {"reference": "Device/theirs"}}, False),
        ({"device": {"reference": "Device/ours"}}, False),
        (
            {"meta": LABEL, "agent": [{"who": {"identifier": {"system": next(iter(OURS))}}}]},
            True,
        ),
        ({"meta": "x", "identifier": ["y"]}, False),
        ({}, False),
    ],
)
def test_a_resource_is_ours_by_identifier_or_by_label_and_device(
    resource: dict[str, Any], own: bool
) -> None:
    """Another system's AIAST is evidence, ours is an echo."""
    assert own == is_own(resource, OURS, frozenset({"Device/ours"}))


@pytest.mark.parametrize(
    ("sender", "filler", "own"),
    [
        ("ONCORD", "1^LAB", True),
        ("LAB", "1^ONCORD", True),
        ("LAB", "1^X^urn:ours^URI", True),
        ("LAB", "ONCORD^LAB", False),
        ("LAB", "", False),
    ],
)
def test_a_message_is_ours_by_sender_or_filler(sender: str, filler: str, own: bool) -> None:
    """MSH-3, or the namespace of OBR-3 in the engine's copy."""
    raw = f"MSH|^~\\&|{sender}|H|R|H|2026||ORU^R01|1|P|2.5.1\rOBR|1||{filler}\r".encode()
    assert own == is_own_message(scan(raw), {"ONCORD"}, {"urn:ours"})


def test_a_report_whose_identifiers_were_dropped_is_still_ours() -> None:
    """EHRs drop identifiers; our question and our tags stay."""
    systems = {"https://site.example/ns/ai-question", "https://site.example/ns/ai-status"}
    coded = {
        "resourceType": "DiagnosticReport",
        "code": {"coding": [{"system": "https://site.example/ns/ai-question", "code": "q"}]},
    }
    tagged = {
        "resourceType": "Observation",
        "meta": {"tag": [{"system": "https://site.example/ns/ai-status", "code": "unreviewed"}]},
    }
    foreign = {"resourceType": "Observation", "code": {"coding": [{"system": "http://loinc.org"}]}}
    assert [True, True, False] == [is_own(r, systems) for r in (coded, tagged, foreign)]
