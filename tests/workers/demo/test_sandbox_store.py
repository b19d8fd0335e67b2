"""The sandbox EHR does what FHIR R4 says of a server: an EHR that forgives would prove nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from whole_line import serving

from workers.demo.ehr import SandboxEhr, sandbox

_START = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
_MRN = "https://hospital.example/mrn"


class Ticking:
    """A clock that is a second further each time it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> datetime:
        """Now."""
        self.asked += 1
        return _START + timedelta(seconds=self.asked)


@pytest.fixture
def ehr() -> SandboxEhr:
    """An empty one."""
    return sandbox(Ticking())


@contextmanager
def face(ehr: SandboxEhr) -> Iterator[httpx.Client]:
    """Its HTTP face."""
    with serving(ehr.app()) as base, httpx.Client(base_url=base) as made:
        yield made


@pytest.fixture
def client(ehr: SandboxEhr) -> Iterator[httpx.Client]:
    """The face of the empty one."""
    with face(ehr) as made:
        yield made


def patient(number: str = "SYN-1", **more: Any) -> dict[str, Any]:
    """A Patient."""
    return {
        "resourceType": "Patient",
        "identifier": [{"system": _MRN, "value": number}],
        "gender": "female",
        **more,
    }


def observation(subject: str) -> dict[str, Any]:
    """An Observation of somebody."""
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": subject},
    }


def transaction(*entries: tuple[str, str, str, dict[str, Any]]) -> dict[str, Any]:
    """A transaction of (fullUrl, method, url, resource)."""
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {"fullUrl": full, "resource": body, "request": {"method": method, "url": url}}
            for full, method, url, body in entries
        ],
    }


def test_create_gives_an_id_a_version_and_where_it_lies(client: httpx.Client):
    """POST is 201 with Location and ETag; the client's id is not taken."""
    answer = client.post("/fhir/Patient", json=patient(id="mine"))
    made = answer.json()
    assert (201, 'W/"1"', "1") == (
        answer.status_code,
        answer.headers["etag"],
        made["meta"]["versionId"],
    )
    assert "mine" != made["id"]
    assert f"Patient/{made['id']}/_history/1" == answer.headers["location"]
    assert made == client.get(f"/fhir/Patient/{made['id']}").json()


def test_put_creates_under_the_clients_id_and_then_updates(client: httpx.Client):
    """201, then 200 and version 2; the same content again is no new version."""
    assert 201 == client.put("/fhir/Patient/p1", json=patient(id="p1")).status_code
    changed = client.put("/fhir/Patient/p1", json=patient(id="p1", birthDate="1970-01-02"))
    again = client.put("/fhir/Patient/p1", json=patient(id="p1", birthDate="1970-01-02"))
    assert [(200, 'W/"2"')] * 2 == [(a.status_code, a.headers["etag"]) for a in (changed, again)]


def test_put_of_another_id_is_refused(client: httpx.Client):
    """The id in the body must be the URL's."""
    assert 422 == client.put("/fhir/Patient/p1", json=patient(id="p2")).status_code


def test_put_cannot_create_where_the_server_does_not_allow_it():
    """405, as `updateCreate: false` in its CapabilityStatement says."""
    with face(sandbox(Ticking(), allow_update_create=False)) as client:
        resources = client.get("/fhir/metadata").json()["rest"][0]["resource"]
        answer = client.put("/fhir/Patient/p1", json=patient(id="p1"))
    [told] = [r["updateCreate"] for r in resources if r["type"] == "Patient"]
    assert (False, 405) == (told, answer.status_code)


@pytest.mark.parametrize(("there", "status"), [(0, 201), (1, 200), (2, 412)])
def test_conditional_create_counts_its_matches(client: httpx.Client, there: int, status: int):
    """None: created; one: that one is returned; many: 412 and nothing is written."""
    for _ in range(there):
        client.post("/fhir/Patient", json=patient())
    headers = {"if-none-exist": f"identifier={_MRN}|SYN-1"}
    answer = client.post("/fhir/Patient", json=patient(), headers=headers)
    assert status == answer.status_code
    assert max(there, 1) == client.get("/fhir/Patient").json()["total"]


@pytest.mark.parametrize(("match", "status"), [('W/"1"', 200), ('W/"2"', 412), ('W/"0"', 412)])
def test_an_update_of_another_version_is_refused(client: httpx.Client, match: str, status: int):
    """If-Match names the version the client read."""
    client.put("/fhir/Patient/p1", json=patient(id="p1"))
    body = patient(id="p1", birthDate="1970-01-02")
    answer = client.put("/fhir/Patient/p1", json=body, headers={"if-match": match})
    assert status == answer.status_code
    assert ("1" if status == 412 else "2") == client.get("/fhir/Patient/p1").json()["meta"][
        "versionId"
    ]


def test_a_transaction_makes_urn_references_literal(client: httpx.Client):
    """References between entries become what was assigned."""
    sent = transaction(
        ("urn:uuid:a", "POST", "Patient", patient()),
        ("urn:uuid:b", "POST", "Observation", observation("urn:uuid:a")),
    )
    answer = client.post("/fhir", json=sent)
    assert (200, "transaction-response") == (answer.status_code, answer.json()["type"])
    [person] = client.get("/fhir/Patient").json()["entry"]
    [seen] = client.get("/fhir/Observation").json()["entry"]
    assert f"Patient/{person['resource']['id']}" == seen["resource"]["subject"]["reference"]


def test_a_transaction_that_fails_leaves_nothing(client: httpx.Client):
    """The last entry is refused: the first is not there, and an update is undone."""
    client.put("/fhir/Patient/p1", json=patient(id="p1"))
    stale = transaction(
        ("urn:uuid:a", "POST", "Patient", patient("SYN-2")),
        ("urn:uuid:c", "PUT", "Patient/p1", patient(id="p1", birthDate="1970-01-02")),
        ("urn:uuid:b", "DELETE", "Observation/x", observation("urn:uuid:a")),
    )
    assert client.post("/fhir", json=stale).is_client_error
    [only] = client.get("/fhir/Patient").json()["entry"]
    assert ("p1", "1") == (only["resource"]["id"], only["resource"]["meta"]["versionId"])


@pytest.mark.parametrize(
    ("query", "hits"),
    [
        ({"identifier": f"{_MRN}|SYN-1"}, 1),
        ({"identifier": "SYN-1"}, 1),
        ({"identifier": "https://elsewhere.example|SYN-1"}, 0),
        ({"_id": "p2"}, 1),
        ({"_lastUpdated": "ge2026-03-04T12:00:00Z"}, 2),
        ({"_lastUpdated": "lt2026-03-04T12:00:00Z"}, 0),
    ],
)
def test_search_by_token_and_time(client: httpx.Client, query: dict[str, str], hits: int):
    """GET and POST _search find the same, in a searchset with its total."""
    for number in ("1", "2"):
        client.put(f"/fhir/Patient/p{number}", json=patient(f"SYN-{number}", id=f"p{number}"))
    asked = client.get("/fhir/Patient", params=query).json()
    assert ("searchset", hits) == (asked["type"], asked["total"])
    assert asked == client.post("/fhir/Patient/_search", data=query).json()


def test_search_by_patient_finds_only_theirs(client: httpx.Client):
    """`patient` takes an id or a reference."""
    for number in ("p1", "p2"):
        client.post("/fhir/Observation", json=observation(f"Patient/{number}"))
    for asked in ("p1", "Patient/p1"):
        [hit] = client.get("/fhir/Observation", params={"patient": asked}).json()["entry"]
        assert "Patient/p1" == hit["resource"]["subject"]["reference"]


def test_a_search_parameter_it_lacks_is_refused(client: httpx.Client):
    """Ignoring it would answer another question."""
    client.put("/fhir/Patient/p1", json=patient(id="p1"))
    answer = client.get("/fhir/Patient", params={"eye-colour": "blue"})
    assert (400, "OperationOutcome") == (answer.status_code, answer.json()["resourceType"])


def test_history_has_every_version_newest_first(client: httpx.Client):
    """And each can be read by its number."""
    client.put("/fhir/Patient/p1", json=patient(id="p1"))
    client.put("/fhir/Patient/p1", json=patient(id="p1", birthDate="1970-01-02"))
    told = client.get("/fhir/Patient/p1/_history").json()
    assert ["2", "1"] == [e["resource"]["meta"]["versionId"] for e in told["entry"]]
    assert "birthDate" not in client.get("/fhir/Patient/p1/_history/1").json()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (patient(shoeSize="44"), 422),
        (patient(birthDate="yesterday"), 422),
        ({"resourceType": "Observation", "status": "final"}, 422),
    ],
)
def test_what_is_not_valid_is_answered_with_an_outcome(
    client: httpx.Client, body: dict[str, Any], status: int
):
    """Unknown property, bad date, missing required element."""
    answer = client.post(f"/fhir/{body['resourceType']}", json=body)
    assert (status, "OperationOutcome") == (answer.status_code, answer.json()["resourceType"])
    assert "error" == answer.json()["issue"][0]["severity"]


def test_what_is_not_there_is_404(client: httpx.Client):
    """With an outcome."""
    answer = client.get("/fhir/Patient/nobody")
    assert (404, "not-found") == (answer.status_code, answer.json()["issue"][0]["code"])


@pytest.mark.parametrize(
    ("fault", "status", "stored"),
    [("refuse", 422, 0), ("unavailable", 500, 0), ("busy", 429, 0), ("lose-answer", 502, 1)],
)
def test_it_misbehaves_once_when_told(
    ehr: SandboxEhr, client: httpx.Client, fault: Any, status: int, stored: int
):
    """A fault is one write's; whether the write happened is part of the fault."""
    ehr.faults.append(fault)
    assert status == client.post("/fhir/Patient", json=patient()).status_code
    assert stored == client.get("/fhir/Patient").json()["total"]
    assert 201 == client.post("/fhir/Patient", json=patient()).status_code


def test_listeners_hear_of_every_version(ehr: SandboxEhr, client: httpx.Client):
    """The echo of flow tests."""
    heard: list[str] = []
    ehr.on_change.append(lambda resource: heard.append(resource["resourceType"]))
    client.post("/fhir/Patient", json=patient())
    client.post("/fhir", json=transaction(("urn:uuid:a", "POST", "Patient", patient())))
    assert ["Patient", "Patient"] == heard
