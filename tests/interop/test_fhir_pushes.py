"""The FHIR door over a real server: durable, strict with what is pushed, silent about values."""

from __future__ import annotations

import socket
from typing import Any

import httpx
import pytest
from whole_line import Line

from interop.ledger import messages
from interop.ledger.engine import reading

CANARY = "CANARY-4711"
JSON = {"content-type": "application/fhir+json"}


def patient(**changes: Any) -> dict[str, Any]:
    """A Patient."""
    return {
        "resourceType": "Patient", "id": "p1", "birthDate": "1970-12-28",
        "identifier": [{"system": "https://hospital.example/mrn", "value": "7"}],
    } | changes  # fmt: skip


def bundle(kind: str, *resources: dict[str, Any]) -> dict[str, Any]:
    """A Bundle of new resources."""
    entries = []
    for number, resource in enumerate(resources):
        entry: dict[str, Any] = {
            "fullUrl": f"urn:uuid:00000000-0000-4000-8000-{number:012d}", "resource": resource,
        }  # fmt: skip
        if kind != "collection":
            entry["request"] = {"method": "POST", "url": resource["resourceType"]}
        entries.append(entry)
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


@pytest.mark.parametrize(
    ("kind", "status", "answered"),
    [
        ("transaction", 200, "transaction-response"),
        ("batch", 200, "batch-response"),
        ("collection", 202, "batch-response"),
    ],
)
def test_a_bundle_is_taken(line: Line, kind: str, status: int, answered: str):
    """One response entry for each request, and the bytes are kept as they came."""
    sent = bundle(kind, patient())
    answer = line.fhir(sent)
    assert (status, answered) == (answer.status_code, answer.json()["type"])
    assert ["202 Accepted"] == [e["response"]["status"] for e in answer.json()["entry"]]
    [row] = line.inbound("received")
    with reading(line.parts.engine) as connection:
        body = messages.get(connection, row["id"]).body
    assert sent == httpx.Response(200, content=body).json()


def test_a_single_resource_is_taken(line: Line):
    """POST, and PUT under its own id."""
    assert 202 == line.fhir(patient(), "/fhir/Patient").status_code
    assert 202 == line.fhir(patient(), "/fhir/Patient/p1", "PUT").status_code


@pytest.mark.parametrize(
    ("path", "method", "sent", "status"),
    [
        ("/fhir/Patient", "POST", patient(birthDate=CANARY), 422),
        ("/fhir/Patient", "POST", patient(gender=CANARY), 422),
        ("/fhir/Patient", "POST", patient(unknownThing=CANARY), 422),
        ("/fhir/Observation", "POST", patient(), 422),
        ("/fhir/Patient/p2", "PUT", patient(), 422),
        ("/fhir", "POST", patient(), 422),
        ("/fhir", "POST", {"resourceType": "Bundle", "type": "document"}, 422),
        ("/fhir", "POST", {"resourceType": "Bundle", "type": CANARY}, 422),
        ("/fhir", "POST", bundle("transaction", patient(name=[{"family": ""}])), 422),
        ("/fhir", "POST", bundle("transaction", {"resourceType": CANARY}), 422),
        ("/fhir/Nonsense", "POST", {"resourceType": "Nonsense", "x": CANARY}, 400),
        ("/fhir", "POST", [CANARY], 400),
    ],
)
def test_what_does_not_validate_is_refused_with_an_outcome(
    line: Line, path: str, method: str, sent: Any, status: int
):
    """An OperationOutcome that names the place and repeats no value; nothing is kept."""
    answer = line.fhir(sent, path, method)
    assert (status, "OperationOutcome") == (answer.status_code, answer.json()["resourceType"])
    assert answer.json()["issue"]
    assert CANARY not in answer.text
    assert [] == line.inbound("received")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"resourceType": "Pat', b"null", b"7"])
def test_what_is_no_json_is_a_bad_request(line: Line, body: bytes):
    """400, an OperationOutcome."""
    answer = httpx.post(f"{line.http}/fhir", content=body, headers=JSON)
    assert (400, "OperationOutcome") == (answer.status_code, answer.json()["resourceType"])


def test_deep_json_does_not_take_the_service_down(line: Line):
    """Refused, and the next push is taken."""
    deep = b'{"resourceType":"Patient","extension":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert httpx.post(f"{line.http}/fhir/Patient", content=deep, headers=JSON).status_code in (
        400,
        422,
    )
    assert 202 == line.fhir(patient(), "/fhir/Patient").status_code


@pytest.mark.parametrize("kind", ["application/xml", "application/fhir+xml", "text/plain", ""])
def test_other_formats_are_not_taken(line: Line, kind: str):
    """415: no XML, no DTD (A7)."""
    sent = httpx.post(f"{line.http}/fhir", content=b"<x/>", headers={"content-type": kind})
    assert 415 == sent.status_code


def test_a_body_over_the_cap_is_refused(line: Line):
    """413, whether its length was told or not."""
    big = b"x" * (20 * 1024 * 1024 + 1)
    url = f"{line.http}/fhir"
    assert 413 == httpx.post(url, content=big, headers=JSON, timeout=30).status_code
    told = b"POST /fhir HTTP/1.1\r\nHost: x\r\nContent-Type: application/fhir+json\r\nContent-Length: %d\r\n\r\n"
    with socket.create_connection(("127.0.0.1", line.ports.http), 10) as held:
        held.sendall(told % 10**12)
        assert b" 413 " in held.recv(1000)


def test_a_ledger_that_cannot_commit_is_503(line: Line):
    """Retry-After, and the same push is taken afterwards."""
    line.commit.journal.most_waiting_bytes = -1
    answer = line.fhir(patient(), "/fhir/Patient")
    assert (503, "5") == (answer.status_code, answer.headers["retry-after"])
    line.commit.journal.most_waiting_bytes = 1 << 20
    assert 202 == line.fhir(patient(), "/fhir/Patient").status_code


def test_health_and_readiness_tell_apart(line: Line):
    """Alive, and able to take messages."""
    assert {"status": "ok"} == httpx.get(f"{line.http}/healthz").json()
    assert 200 == httpx.get(f"{line.http}/readyz").status_code
    assert "oncord_received_total" in httpx.get(f"{line.http}/metrics").text


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"system": 1}'])
def test_a_readiness_question_that_asks_nothing_is_refused(line: Line, body: bytes):
    """400."""
    assert 400 == httpx.post(f"{line.http}/readiness", content=body).status_code


def test_nobody_of_an_identifier_has_no_readiness(line: Line):
    """404, and the identifier stands in no URL."""
    asked = {"system": "https://hospital.example/mrn", "value": "7"}
    assert 404 == httpx.post(f"{line.http}/readiness", json=asked).status_code
