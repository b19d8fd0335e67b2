"""Our own results are recognised at every door (site rule 1)."""

from __future__ import annotations

from typing import Any

import pytest

from mappings.echo import filler_numbers, is_own, own_share
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
        (
            {
                "meta": LABEL,
                "performer": [
                    {"display": "Hospital"},
                    {"extension": [{"valueReference": {"reference": "Device/ours"}}]},
                ],
            },
            True,
        ),
        ({"meta": LABEL, "device": {"reference": "https://ehr.example/fhir/Device/ours"}}, True),
        ({"meta": LABEL, "performer": [{"extension": ["x", {"valueReference": 3}]}]}, False),
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
    ("sender", "fillers", "share"),
    [
        ("ONCORD", ["1^LAB"], "all"),
        ("LAB", ["1^ONCORD"], "all"),
        ("LAB", ["1^X^urn:ours^URI"], "all"),
        ("LAB", ["AI1F"], "all"),
        ("LAB", ["AI1F^LAB", "2^ONCORD"], "all"),
        ("LAB", ["1^LAB", "2^ONCORD"], "part"),
        ("LAB", ["ONCORD^LAB"], "none"),
        ("LAB", ["AI20"], "none"),
        ("LAB", [""], "none"),
        ("LAB", [], "none"),
    ],
)
def test_a_message_is_ours_by_sender_or_fillers(
    sender: str, fillers: list[str], share: str
) -> None:
    """MSH-3, or OBR-3 of each order in the engine's copy: by its name, or known by its number."""
    orders = "".join(f"OBR|{n}||{filler}\r" for n, filler in enumerate(fillers, 1))
    header = scan(f"MSH|^~\\&|{sender}|H|R|H|2026||ORU^R01|1|P|2.5.1\r{orders}".encode())
    assert share == own_share(header, {"ONCORD"}, {"urn:ours"}, {"AI1F"})
    assert {f.split("^")[0] for f in fillers if f} == filler_numbers(header)


def test_an_order_of_what_we_answer_is_no_echo() -> None:
    """Our question's code stands in the hospital's order, too."""
    system = "https://site.example/ns/ai-question"
    asked = {"code": {"coding": [{"system": system, "code": "q"}]}}
    assert not is_own({"resourceType": "ServiceRequest", **asked}, {system})


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
