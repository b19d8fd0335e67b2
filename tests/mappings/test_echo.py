"""Our own results are recognised at every door (site rule 1)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from mappings import hl7v2
from mappings.echo import filler_numbers, is_own, own_share, without_own
from mappings.hl7v2 import er7
from mappings.hl7v2.reading import Reading
from mappings.hl7v2.scan import scan
from mappings.record import Source
from mappings.site import Site

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
        ("LAB", ["1^ONCORD", ""], "part"),
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


_OURS = "OBR|1||AI1F|18748-4^AI^LN|||20260301||||||||||||||||||F"
_HALF = "OBX|1|NM|1834-1^AFP^LN||31.4|ng/mL|||||F"
_THEIRS = "OBR|2||L7^LIS|1834-1^AFP^LN|||20260301||||||||||||||||||F"


def left_of(*segments: str, kind: str = "ORU^R01", fillers: frozenset[str] = frozenset({"AI1F"})):
    """Paths of what is left of a message from the engine; None where a person must look."""
    head = f"MSH|^~\\&|LAB|H|R|H|20260301||{kind}|1|P|2.5.1"
    raw = "\r".join((head, "PID|1||7^^^HOSP^MR", "PV1|1|I", *segments, "")).encode()
    site = Site(
        name="h", authorities={"HOSP": "urn:hosp"}, default_authority="urn:hosp", timezone="UTC"
    )
    source = Source("lab", 1, datetime(2026, 3, 1, tzinfo=UTC), "live", 0)
    made = hl7v2.entries(raw, site=site, source=source)
    again = Reading.of(er7.parse(raw), site, source)
    found = without_own(made, again, {"ONCORD"}, {"urn:ours"}, fillers)
    if found is None:
        return None
    assert ["OBR-3"] == [f.path for f in found.findings if "copies of ours" in f.reason]
    return [e.path for e in found.entries if e.kind != "patient"]


@pytest.mark.parametrize(
    ("segments", "left"),
    [
        ([_OURS, _HALF, _THEIRS, _HALF], ["OBX[2]-5"]),
        ([_THEIRS, _HALF, "NTE|1||see AI", _OURS, _HALF, "NTE|1||AI"], ["OBX[1]-5"]),
        (["ORC|RE", _OURS, _HALF, "ORC|RE", _THEIRS, _HALF, _HALF.replace("1834-1", "2039-6")],
         ["OBX[2]-5", "OBX[3]-5"]),
        ([_OURS, "NTE|1||30 %", _THEIRS, "NTE|1||only words"], ["OBR[2]"]),
        ([_OURS.replace("AI1F", "R1^ONCORD"), _HALF, _THEIRS, _HALF], ["OBX[2]-5"]),
        ([_OURS, "OBX|1|TX|18748-4^AI^LN||30 %||||||F", _THEIRS, "OBX|1|TX|18748-4^CT^LN||HCC||||||F"],
         ["OBX[2]-5"]),
        ([_OURS, "SPM|1|||BLD", "OBX|1|NM|3-4^Volume^LN||5|mL|||||F", _THEIRS, _HALF], ["OBX[2]-5"]),
    ],
)  # fmt: skip
def test_orders_of_ours_are_left_out_of_a_copy_with_others(
    segments: list[str], left: list[str]
) -> None:
    """Group by group, with what stands around and below each OBR; paths stay those received."""
    assert left == left_of(*segments)


@pytest.mark.parametrize(
    ("segments", "kind"),
    [
        ([_OURS, _HALF, _THEIRS.replace("L7^LIS", ""), _HALF], "ORU^R01"),
        ([_HALF, _OURS, _HALF, _THEIRS, _HALF], "ORU^R01"),
        ([_OURS, _HALF, f"{_THEIRS}||||^AI1F", _HALF], "ORU^R01"),
        ([_OURS, _HALF, f"{_THEIRS}|AI1F^ONCORD", _HALF], "ORU^R01"),
        ([_OURS, _HALF, _THEIRS, _HALF, "PID|2||8^^^HOSP^MR", _THEIRS, _HALF], "ORU^R01"),
        ([_OURS, _HALF, _THEIRS, _HALF], "OUL^R22"),
    ],
    ids=["no filler", "no order", "parent", "parent result", "patients", "structure"],
)  # fmt: skip
def test_where_nobody_can_be_sure_whose_it_is_nothing_is_left_out(
    segments: list[str], kind: str
) -> None:
    """The message is for a person."""
    assert left_of(*segments, kind=kind) is None


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
