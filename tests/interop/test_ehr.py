"""The carrier against EHRs: exactly once, whatever the EHR does, and never over others' changes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from peers.servers import FhirPeer
from sqlalchemy import Engine
from whole_line import serving

from interop.ehr import Endpoint, FhirEhr, Receipt, Subject
from interop.errors import (
    ChangedByOthers,
    OutcomeUnknown,
    PatientNotConfirmed,
    PeerUnavailable,
    Refused,
)
from interop.ledger import jobs
from interop.ledger.engine import writing
from interop.ledger.jobs import NewJob
from mappings.outbound.result import Correction, Model, Outcome, Result
from mappings.record import Code, Identifier, When
from workers.demo.ehr import SandboxEhr, sandbox

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
SYSTEM = "https://hospital.example/mrn"
NAMESPACE = "https://oncord.example/ns"
SUBJECT = Subject(identifiers=(Identifier("7", SYSTEM),), birth_date="1970-12-28")
DAY = When(datetime(2026, 3, 2), "day")
KINDS = ("RiskAssessment", "DiagnosticReport", "Observation", "Device", "Provenance")
ONE_SET = {
    "RiskAssessment": 1,
    "DiagnosticReport": 1,
    "Observation": 2,
    "Device": 1,
    "Provenance": 1,
}


def patient(patient_id: str = "p1", **changes: Any) -> dict[str, Any]:
    """A Patient of the EHR."""
    return {
        "resourceType": "Patient", "id": patient_id, "birthDate": "1970-12-28",
        "identifier": [{"system": SYSTEM, "value": "7"}],
    } | changes  # fmt: skip


def result(probability: float = 0.31, key: str = "ab" * 32, **changes: Any) -> Result:
    """A result to write."""
    outcomes = tuple(
        Outcome(code=None, text=local, local=local, probability=p, interval=None, tier=None,
                threshold=None, start=DAY, end=DAY)
        for local, p in (("malignant", probability), ("benign", 1 - probability))
    )  # fmt: skip
    parts: dict[str, Any] = {
        "instance_key": key, "series_key": "ef" * 32, "lineage": "ab" * 32, "revision": 1,
        "filler": "AI1F", "status": "preliminary", "question": Code(f"{NAMESPACE}/ai-question", "q"),
        "title": "Liver lesion", "report_code": Code("http://loinc.org", "18748-4"),
        "category": Code("http://terminology.hl7.org/CodeSystem/v2-0074", "RAD"),
        "issued": NOW, "effective": DAY, "outcomes": outcomes, "inputs": (),
        "contributions": {"ct": 0.5}, "missing": (), "warnings": (),
        "model": Model(id="liver_dx", name="Liver", version="1", digest="cd" * 32,
                       manufacturer="H", intended_use="check", study="NCT07658586",
                       synthetic=True, service_version="1"),
        "study_instance_uids": ("2.25.1",), "namespace": NAMESPACE, "organization": "H",
    }  # fmt: skip
    return Result(**(parts | changes))


def correction() -> Result:
    """A second version of the lineage."""
    reason = Correction(reason="AFP was corrected", was="31.0 %")
    return result(0.5, "bb" * 32, revision=2, status="corrected", correction=reason)


class Desk:
    """A sandbox EHR, and a carrier that writes to it."""

    def __init__(self, ehr: SandboxEhr, base: str) -> None:
        self.ehr, self.base = ehr, base
        self._clients: list[httpx.Client] = []

    def carrier(self, **changes: Any) -> FhirEhr:
        """A carrier with parts of its own."""
        parts: dict[str, Any] = {
            "base_url": f"{self.base}/fhir", "patient_systems": {SYSTEM: SYSTEM}, "timeout_s": 5.0,
        }  # fmt: skip
        self._clients.append(httpx.Client(trust_env=False))
        return FhirEhr(Endpoint(**(parts | changes)), self._clients[-1])

    def deliver(
        self, made: Result | None = None, *, uncertain: bool = False, **changes: Any
    ) -> Receipt:
        """Deliver a result."""
        carrier = self.carrier(**changes)
        return carrier.deliver(made or result(), SUBJECT, previous={}, uncertain=uncertain)

    def count(self) -> dict[str, int]:
        """Resources by type, but Patients."""
        held = self.ehr.store.versions
        return {kind: len(held[kind]) for kind in KINDS if kind in held}

    def close(self) -> None:
        """Close the clients."""
        for client in self._clients:
            client.close()


@pytest.fixture(params=[True, False], ids=["put", "post"])
def desk(request: pytest.FixtureRequest) -> Iterator[Desk]:
    """A desk at an EHR that lets clients choose ids, and at one that does not."""
    ehr = sandbox(lambda: NOW, allow_update_create=True)
    ehr.store.update("Patient", "p1", patient())
    ehr.store.allow_update_create = request.param
    with serving(ehr.app()) as base:
        made = Desk(ehr, base)
        yield made
        made.close()


def test_a_result_is_written_and_read_back(desk: Desk):
    """One set of resources, with the versions the EHR gave them."""
    receipt = desk.deliver()
    assert ONE_SET == desk.count()
    roles = {"device", "obs-malignant", "obs-benign", "ra", "dr"}
    assert roles == {role for role in receipt.written if not role.startswith("prov-")}
    for role in roles:
        kind, _, made_id = receipt.written[role].reference.partition("/")
        stored = desk.ehr.store.read(kind, made_id)
        assert stored["meta"]["versionId"] == receipt.written[role].version


def test_delivering_again_writes_nothing_new(desk: Desk):
    """The same bytes a second time leave one set and one version of each."""
    desk.deliver()
    desk.deliver()
    assert ONE_SET | {"Provenance": desk.count()["Provenance"]} == desk.count()
    for kind in KINDS[:4]:
        for held in desk.ehr.store.versions[kind].values():
            assert 1 == len(held), kind


def test_a_refusal_is_for_good(desk: Desk):
    """422: park it, nothing was written."""
    desk.ehr.faults.append("refuse")
    with pytest.raises(Refused) as caught:
        desk.deliver()
    assert (422, {}) == (caught.value.status, desk.count())


def test_a_server_error_leaves_the_outcome_unknown(desk: Desk):
    """Then nothing is found, and it is written once."""
    desk.ehr.faults.append("unavailable")
    with pytest.raises(OutcomeUnknown):
        desk.deliver()
    desk.deliver(uncertain=True)
    assert ONE_SET == desk.count()


@pytest.mark.parametrize("fault", ["lose-answer", "half-answer"])
def test_a_write_whose_answer_was_lost_is_found_and_not_repeated(desk: Desk, fault: Any):
    """Look before sending again: one write request reaches the EHR."""
    desk.ehr.faults.append(fault)
    with pytest.raises(OutcomeUnknown):
        desk.deliver()
    receipt = desk.deliver(uncertain=True)
    assert (ONE_SET, 1) == (desk.count(), desk.ehr.writes)
    assert {"ra", "dr", "obs-malignant", "obs-benign"} <= set(receipt.written)


def test_a_hanging_ehr_leaves_the_outcome_unknown(desk: Desk):
    """The deadline of the call, not the EHR's patience."""
    desk.ehr.faults.append("hang")
    with pytest.raises(OutcomeUnknown):
        desk.deliver(timeout_s=0.3)
    desk.deliver(uncertain=True)
    assert (ONE_SET, 1) == (desk.count(), desk.ehr.writes)


def test_a_busy_ehr_says_how_long_to_wait(desk: Desk):
    """Retry-After is kept; nothing was written."""
    desk.ehr.faults.append("busy")
    with pytest.raises(PeerUnavailable) as caught:
        desk.deliver()
    assert (1.0, {}) == (caught.value.retry_after_s, desk.count())


def test_an_ehr_that_is_not_there_is_unavailable(desk: Desk):
    """Nothing was sent: no doubt about the outcome."""
    with pytest.raises(PeerUnavailable):
        desk.deliver(base_url="http://127.0.0.1:9/fhir")


def test_a_correction_amends_the_same_resources(desk: Desk):
    """Same ids, next versions, guarded by the version we wrote."""
    first = desk.deliver()
    previous = {r: w for r, w in first.written.items() if r in ("ra", "dr") or r.startswith("obs")}
    second = desk.carrier().deliver(correction(), SUBJECT, previous=previous, uncertain=False)
    assert {k: n for k, n in ONE_SET.items() if k != "Provenance"} == {
        k: n for k, n in desk.count().items() if k != "Provenance"
    }
    for role, before in previous.items():
        after = second.written[role]
        assert (before.reference, "2") == (after.reference, after.version)


@pytest.mark.parametrize("kind", ["DiagnosticReport", "RiskAssessment"])
def test_what_a_person_edited_is_not_overwritten(desk: Desk, kind: str):
    """412, parked for a person; the edit stands and nothing of the correction is written."""
    first = desk.deliver()
    previous = {r: w for r, w in first.written.items() if r in ("ra", "dr") or r.startswith("obs")}
    [(made_id, held)] = desk.ehr.store.versions[kind].items()
    edited = {**held[-1], "status": "final"}
    desk.ehr.store.update(kind, made_id, edited)
    with pytest.raises(ChangedByOthers):
        desk.carrier().deliver(correction(), SUBJECT, previous=previous, uncertain=False)
    assert "final" == desk.ehr.store.read(kind, made_id)["status"]
    for held in desk.ehr.store.versions["Observation"].values():
        assert 1 == len(held)


def test_nobody_of_the_identifier_means_no_write(desk: Desk):
    """Site rule 8."""
    desk.ehr.store.versions["Patient"].clear()
    with pytest.raises(PatientNotConfirmed):
        desk.deliver()
    assert (0, {}) == (desk.ehr.writes, desk.count())


def test_two_patients_of_the_identifier_mean_no_write(desk: Desk):
    """Which one cannot be known."""
    desk.ehr.store.allow_update_create = True
    desk.ehr.store.update("Patient", "p2", patient("p2"))
    with pytest.raises(PatientNotConfirmed):
        desk.deliver()
    assert 0 == desk.ehr.writes


def test_another_birth_date_means_no_write(desk: Desk):
    """The identifier may have been given to somebody else."""
    desk.ehr.store.update("Patient", "p1", patient(birthDate="1971-01-01"))
    with pytest.raises(PatientNotConfirmed):
        desk.deliver()
    assert 0 == desk.ehr.writes


def test_an_unknown_authority_means_no_write(desk: Desk):
    """The bare value is never searched for."""
    subject = Subject(identifiers=(Identifier("7", "elsewhere"),), birth_date=None)
    with pytest.raises(PatientNotConfirmed):
        desk.carrier().deliver(result(), subject, previous={}, uncertain=False)


@pytest.mark.parametrize("theirs", ["1970", "1970-12"])
def test_a_partial_birth_date_is_compared_as_far_as_it_goes(desk: Desk, theirs: str):
    """Both are right as far as they are precise."""
    desk.ehr.store.update("Patient", "p1", patient(birthDate=theirs))
    desk.deliver()


def test_identifiers_do_not_travel_in_urls(desk: Desk):
    """POST _search: URLs stand in access logs."""
    seen: list[str] = []
    carrier = desk.carrier()
    hooks = {"request": [lambda request: seen.append(str(request.url))]}
    carrier._client.event_hooks = hooks
    carrier.deliver(result(), SUBJECT, previous={}, uncertain=False)
    assert not [url for url in seen if "identifier" in url or SYSTEM in url]


def test_a_server_without_search_by_post_is_refused_for_patients():
    """Its GET would carry the patient's identifier in the URL."""
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(f"{request.method} {request.url}")
        return httpx.Response(405)

    client = httpx.Client(transport=httpx.MockTransport(answer))
    endpoint = Endpoint(base_url="http://ehr.test/fhir", patient_systems={})
    with pytest.raises(Refused):
        FhirEhr(endpoint, client).search("Patient", {"identifier": "system|1"})
    client.close()
    assert ["POST http://ehr.test/fhir/Patient/_search"] == seen


def test_the_token_is_sent(desk: Desk):
    """Bearer, read anew for each call."""
    seen: list[str] = []
    carrier = desk.carrier(token=lambda: "secret")
    carrier._client.event_hooks = {
        "request": [lambda request: seen.append(request.headers["authorization"])]
    }
    carrier.deliver(result(), SUBJECT, previous={}, uncertain=False)
    assert {"Bearer secret"} == set(seen)


def test_an_error_of_the_carrier_tells_nothing_of_the_patient(desk: Desk):
    """I7: texts name what happened, not to whom."""
    texts = []
    for fault in ("refuse", "unavailable", "busy", "half-answer"):
        desk.ehr.faults.append(fault)  # type: ignore[arg-type]
        with pytest.raises(Exception) as caught:
            desk.deliver()
        texts.append(str(caught.value))
    desk.ehr.store.update("Patient", "p1", patient(birthDate="1971-01-01"))
    with pytest.raises(PatientNotConfirmed) as caught:
        desk.deliver()
    texts.append(str(caught.value))
    assert not [t for t in texts if SYSTEM in t or "197" in t or "p1" in t or "ab" * 32 in t]


def test_eight_workers_with_one_key_write_once(desk: Desk, ledger: Engine):
    """The ledger gives the job to one of them at a time."""
    with writing(ledger) as connection:
        new = NewJob(stage="deliver", lane="p", key="deliver/fhir/k", refs={})
        jobs.add(connection, [(1, new)], now=NOW)

    def work() -> None:
        for held in jobs.claim(ledger, "deliver", now=NOW, limit=1):
            desk.deliver()
            with writing(ledger) as connection:
                jobs.finish(connection, held, now=NOW)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (ONE_SET, 1) == (desk.count(), desk.ehr.writes)


@pytest.mark.peer("node")
@pytest.mark.parametrize("strategy", ["put", "post"])
def test_a_server_nobody_here_wrote_holds_one_set_per_key(fhir_peer: FhirPeer, strategy: str):
    """Repeats, lost answers and a correction leave one set of resources."""
    fhir_peer.put(patient())
    with httpx.Client(trust_env=False) as client:
        endpoint = Endpoint(
            base_url=fhir_peer.url, patient_systems={SYSTEM: SYSTEM}, strategy=strategy  # type: ignore[arg-type]
        )  # fmt: skip
        ehr = FhirEhr(endpoint, client)
        first = ehr.deliver(result(), SUBJECT, previous={}, uncertain=False)
        for uncertain in (True, False):
            ehr.deliver(result(), SUBJECT, previous={}, uncertain=uncertain)
        for kind in ("RiskAssessment", "DiagnosticReport", "Device"):
            assert 1 == len(fhir_peer.all(kind)), kind
        assert 2 == len(fhir_peer.all("Observation"))
        newest = ehr.deliver(result(), SUBJECT, previous={}, uncertain=True)
        previous = {r: w for r, w in newest.written.items() if not r.startswith(("prov", "device"))}
        ehr.deliver(correction(), SUBJECT, previous=previous, uncertain=False)
        [risk] = fhir_peer.all("RiskAssessment")
        assert "corrected" == risk["status"]
        assert first.written["ra"].reference == f"RiskAssessment/{risk['id']}"


@pytest.mark.peer("node")
def test_the_strategy_is_read_from_the_capability_statement(fhir_peer: FhirPeer):
    """No word in the site file: ask the server."""
    fhir_peer.put(patient())
    with httpx.Client(trust_env=False) as client:
        endpoint = Endpoint(base_url=fhir_peer.url, patient_systems={SYSTEM: SYSTEM})
        receipt = FhirEhr(endpoint, client).deliver(
            result(), SUBJECT, previous={}, uncertain=False
        )  # fmt: skip
    assert result().resource_id("ra") == receipt.written["ra"].reference.partition("/")[2]


def test_a_changed_number_in_the_read_back_is_noticed(desk: Desk):
    """What an EHR drops or rewrites silently is an alarm, not a success."""

    def rewrite(resource: dict[str, Any]) -> None:
        if resource["resourceType"] == "RiskAssessment":
            resource["prediction"][0]["probabilityDecimal"] = 1.0

    desk.ehr.on_change.append(rewrite)
    with pytest.raises(ChangedByOthers):
        desk.deliver(replace(result()))
