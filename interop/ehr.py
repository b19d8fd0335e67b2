"""The EHR as a carrier of results: one FHIR R4 transaction, exactly once, read back.

A write whose answer never came is looked up before anything is sent again; a resource that somebody
else changed is never overwritten; the patient is confirmed at write time.
Source: writeback.md 2; site rule 8; reliability.md F11, F12.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import httpx
import orjson

from interop.errors import (
    ChangedByOthers,
    OutcomeUnknown,
    PatientNotConfirmed,
    PeerUnavailable,
    ReadBackDiffers,
    Refused,
)
from mappings.outbound.bundle import role_of, transaction
from mappings.outbound.result import Result
from mappings.record import Identifier

Strategy = Literal["put", "post"]
_MOST_WAIT_S = 300.0
# What EHRs drop or rewrite without a word: compared after every write (writeback.md 2.3).
_READ_BACK: Mapping[str, Sequence[str]] = {
    "RiskAssessment": ("status", "subject.reference", "prediction.*.probabilityDecimal"),
    "DiagnosticReport": ("status", "subject.reference", "effectiveDateTime", "conclusion"),
    "Observation": ("status", "subject.reference", "valueQuantity.value"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An EHR's FHIR endpoint as the site file describes it.

    Attributes:
        base_url: FHIR base, without a trailing slash.
        strategy: `put` with client-assigned ids, `post` with ifNoneExist, or None to read it from
            the CapabilityStatement.
        patient_system: Identifier.system under which this EHR knows the site's patients, by our
            canonical authority.
        token: Gives a bearer token, or None.
        timeout_s: Total deadline of one call.
    """

    base_url: str
    strategy: Strategy | None = None
    patient_systems: Mapping[str, str]
    token: Callable[[], str] | None = None
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whom a result is about, as the ledger knows the person.

    Attributes:
        identifiers: Every identifier that names the person now.
        birth_date: FHIR date text, possibly partial, or None if unknown.
        pid: PID as a hospital system last sent it, in our delimiters, or None.
    """

    identifiers: tuple[Identifier, ...]
    birth_date: str | None
    pid: str | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """One resource as it stands in the EHR after our write."""

    reference: str
    version: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof of a delivery: role to resource."""

    written: Mapping[str, Written]


class Carrier(Protocol):
    """What brings results to an EHR; it raises as `FhirEhr.deliver` says."""

    @property
    def name(self) -> str:
        """Name in the outbox, in metrics and logs."""

    def deliver(
        self, result: Result, subject: Subject, *, previous: Mapping[str, Written], uncertain: bool
    ) -> Receipt:
        """Bring a result to the EHR, or find that it is there."""

    def look(
        self, result: Result, subject: Subject, *, previous: Mapping[str, Written]
    ) -> Receipt | None:
        """Whether an unanswered attempt wrote a result; nothing is sent."""

    def close(self) -> None:
        """Close the connections."""


class FhirEhr:
    """Carrier `fhir`: delivers results to one endpoint.

    Args:
        endpoint: What the site file says.
        client: HTTP client; its redirects must be off (a token is bound to one origin).
    """

    name = "fhir"

    def __init__(self, endpoint: Endpoint, client: httpx.Client) -> None:
        self._endpoint, self._client = endpoint, client
        self._strategy = endpoint.strategy

    def deliver(
        self,
        result: Result,
        subject: Subject,
        *,
        previous: Mapping[str, Written],
        uncertain: bool,
    ) -> Receipt:
        """Write a result, or find that it is written already.

        Args:
            result: What to write.
            subject: Whom it is about.
            previous: What earlier versions of the lineage wrote, by role.
            uncertain: An earlier attempt was sent and never answered: look first.

        Raises:
            PatientNotConfirmed: Not exactly one patient, or another birth date.
            ChangedByOthers: What we would overwrite is no longer ours.
            ReadBackDiffers: Written, and the EHR changed or dropped what matters.
            Refused: The EHR will never take it.
            PeerUnavailable: Try later.
            OutcomeUnknown: Sent, and no answer: look before sending again.
        """
        bundle = self._bundle(result, subject, previous)
        if uncertain:
            found = self._find_written(result, bundle)
            if found is not None:
                return found
        answer = self._send(bundle)
        try:
            return self._receipt(bundle, answer)
        except PeerUnavailable as error:
            # It is written: sent once more, a guarded update would meet its own new version.
            raise OutcomeUnknown(
                "written, and the read-back failed", error.retry_after_s
            ) from error

    def look(
        self, result: Result, subject: Subject, *, previous: Mapping[str, Written]
    ) -> Receipt | None:
        """Whether an unanswered attempt wrote a result; nothing is sent.

        Raises:
            PatientNotConfirmed, Refused, PeerUnavailable, ReadBackDiffers: As `deliver`.
        """
        return self._find_written(result, self._bundle(result, subject, previous))

    def _bundle(
        self, result: Result, subject: Subject, previous: Mapping[str, Written]
    ) -> dict[str, Any]:
        """What is sent. What stands in the EHR is never put on another chart by us.

        It is withdrawn where it stands, whosever that chart is, and corrected only where the result
        belongs (writeback.md 3).
        """
        standing, versions = self._standing(previous)
        if not standing or result.status != "entered-in-error":
            patient = self.confirm_patient(subject)
            if standing and standing != patient:
                raise PatientNotConfirmed("what was written before stands on another chart")
            standing = patient
        return transaction(
            result,
            standing,
            strategy=self._strategy_of_server(),
            versions=versions,
            ids={role: w.reference.rpartition("/")[2] for role, w in previous.items()},
        )

    def _standing(self, previous: Mapping[str, Written]) -> tuple[str, dict[str, str]]:
        """Whose chart an earlier version stands on, and the versions that are still our words.

        An EHR that merges two patients puts another subject into our resources, which is no edit.
        """
        versions = {role: written.version for role, written in previous.items()}
        report = self.read(previous["dr"].reference) if "dr" in previous else None
        if report is None:
            return "", versions
        if _version(report) != versions["dr"]:
            for role, written in previous.items():
                stored = self.read(written.reference)
                ours = self.read(f"{written.reference}/_history/{written.version}")
                if stored and ours and _words(stored) == _words(ours):
                    versions[role] = _version(stored)
        return str(report.get("subject", {}).get("reference", "")), versions

    def close(self) -> None:
        """Close the connections to the EHR."""
        self._client.close()

    def confirm_patient(self, subject: Subject) -> str:
        """Literal reference of the one patient who has the identifier and the birth date.

        Raises:
            PatientNotConfirmed: Nobody, several, or another birth date (site rule 8).
        """
        systems = self._endpoint.patient_systems
        found: dict[str, dict[str, Any]] = {}
        for identifier in subject.identifiers:
            system = systems.get(identifier.authority)
            if system is None:
                continue
            # POST _search: an identifier in a URL would stand in access logs.
            for resource in self.search("Patient", {"identifier": f"{system}|{identifier.value}"}):
                if resource.get("active", True) is not False:
                    found[resource["id"]] = resource
        if len(found) != 1:
            raise PatientNotConfirmed(f"{len(found)} patients of these identifiers in the EHR")
        [(patient_id, resource)] = found.items()
        if subject.birth_date and not _same_date(subject.birth_date, resource.get("birthDate")):
            raise PatientNotConfirmed("the EHR's patient has another birth date")
        return f"Patient/{patient_id}"

    def search(self, resource_type: str, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
        """Resources of one page of a search."""
        answer = self._call("POST", f"{resource_type}/_search", form=parameters)
        if answer.status_code in (404, 405):
            if resource_type == "Patient":
                # A patient's identifier in a URL would stand in access logs.
                raise Refused("the EHR has no search by POST", answer.status_code)
            answer = self._call("GET", resource_type, parameters=parameters)
        self._raise_for(answer, wrote=False)
        entries = _json(answer).get("entry") or ()
        return [
            e["resource"]
            for e in entries
            if e.get("resource", {}).get("resourceType") == resource_type
        ]

    def read(self, reference: str) -> dict[str, Any] | None:
        """A resource, or None when it is not there."""
        answer = self._call("GET", reference)
        if answer.status_code in (404, 410):
            return None
        self._raise_for(answer, wrote=False)
        return _json(answer)

    def _strategy_of_server(self) -> Strategy:
        if self._strategy is None:
            answer = self._call("GET", "metadata")
            self._raise_for(answer, wrote=False)
            self._strategy = strategy_of(_json(answer))
        return self._strategy

    def _send(self, bundle: Mapping[str, Any]) -> list[dict[str, Any]]:
        answer = self._call("POST", "", body=bundle)
        self._raise_for(answer, wrote=True)
        try:
            entries: list[dict[str, Any]] = _json(answer).get("entry") or []
        except PeerUnavailable as error:
            raise OutcomeUnknown("the answer to a write cannot be read") from error
        wanted = bundle["entry"]
        if len(entries) != len(wanted):
            raise OutcomeUnknown("the transaction's response does not match its request")
        for entry in entries:
            status = str(entry.get("response", {}).get("status", ""))
            if not status.startswith("2"):
                raise Refused("an entry of the transaction was refused", int(status[:3] or 0))
        return entries

    def _receipt(self, bundle: Mapping[str, Any], answer: Sequence[Mapping[str, Any]]) -> Receipt:
        """Read every resource back and compare what EHRs tend to drop."""
        written: dict[str, Written] = {}
        differs = ""
        for sent, got in zip(bundle["entry"], answer, strict=True):
            reference = _reference(sent, got)
            stored = self.read(reference)
            if stored is None:
                raise OutcomeUnknown("a resource just written cannot be read back")
            differs = differs or _difference(sent["resource"], stored)
            written[role_of(sent["resource"])] = Written(reference, _version(stored))
        return _checked(written, differs)

    def _find_written(self, result: Result, bundle: Mapping[str, Any]) -> Receipt | None:
        """What an unanswered attempt left in the EHR: all of it, or None.

        A transaction is atomic, so that one resource of ours with this version's key proves all.
        """
        system = f"{result.namespace}/ai-result"
        written: dict[str, Written] = {}
        differs = ""
        for entry in bundle["entry"]:
            resource = entry["resource"]
            role = role_of(resource)
            if resource["resourceType"] in ("Device", "Provenance"):
                continue
            hits = self.search(
                resource["resourceType"],
                {"identifier": f"{system}|{result.instance_key}#{role}"},
            )
            if not hits:
                return None
            hit = hits[0]
            differs = differs or _difference(resource, hit)
            written[role] = Written(f"{hit['resourceType']}/{hit['id']}", _version(hit))
        return _checked(written, differs)

    def _call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        form: Mapping[str, str] | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        # no-cache: HAPI answers a repeated search from memory, and a late write would stay unseen.
        headers = {
            "accept": "application/fhir+json",
            "cache-control": "no-cache",
            "x-request-id": str(uuid.uuid4()),
        }
        if self._endpoint.token is not None:
            headers["authorization"] = f"Bearer {self._endpoint.token()}"
        if body is not None:
            headers["content-type"] = "application/fhir+json"
        url = self._endpoint.base_url + (f"/{path}" if path else "")
        try:
            return self._client.request(
                method,
                url,
                headers=headers,
                content=orjson.dumps(body) if body is not None else None,
                data=dict(form) if form is not None else None,
                params=dict(parameters) if parameters is not None else None,
                timeout=self._endpoint.timeout_s,
            )
        except httpx.ConnectError as error:
            raise PeerUnavailable("the EHR cannot be reached") from error
        except httpx.HTTPError as error:
            if body is None:
                raise PeerUnavailable(f"the EHR did not answer: {type(error).__name__}") from error
            raise OutcomeUnknown(f"no answer to a write: {type(error).__name__}") from error

    def _raise_for(self, answer: httpx.Response, *, wrote: bool) -> None:
        """The policy of writeback.md 2.3."""
        status = answer.status_code
        if status < 300:  # noqa: PLR2004  2xx
            return
        if status in (409, 412):
            raise ChangedByOthers(f"the EHR answered {status}: a version is not the one we wrote")
        if status in (408, 425, 429, 503):
            raise PeerUnavailable(f"the EHR answered {status}", _retry_after(answer))
        if status >= 500:  # noqa: PLR2004  5xx
            if wrote:
                raise OutcomeUnknown(f"the EHR answered {status} to a write")
            raise PeerUnavailable(f"the EHR answered {status}")
        raise Refused(f"the EHR answered {status}", status)


def strategy_of(statement: Mapping[str, Any]) -> Strategy:
    """`put` where a server lets clients choose ids for all that we write, else `post`."""
    rest: dict[str, Any] = next(iter(statement.get("rest") or ()), {})
    resources = {r.get("type"): r for r in rest.get("resource") or ()}
    ours = ("RiskAssessment", "DiagnosticReport", "Observation", "Provenance", "Device")
    return "put" if all(resources.get(n, {}).get("updateCreate") for n in ours) else "post"


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = orjson.loads(answer.content)
    except orjson.JSONDecodeError as error:
        raise PeerUnavailable("the EHR's answer is not JSON") from error
    if not isinstance(found, dict):
        raise PeerUnavailable("the EHR's answer is not a resource")
    return found


def _version(stored: Mapping[str, Any]) -> str:
    return str(stored.get("meta", {}).get("versionId", ""))


def _words(stored: Mapping[str, Any]) -> dict[str, Any]:
    """What a resource says, whoever it is about."""
    return {name: value for name, value in stored.items() if name not in ("meta", "subject")}


def _reference(sent: Mapping[str, Any], got: Mapping[str, Any]) -> str:
    """`Type/id` from the location the server gave, else the id we chose."""
    kind = sent["resource"]["resourceType"]
    location = str(got.get("response", {}).get("location", ""))
    parts = location.split("/")
    if kind in parts[:-1]:
        return f"{kind}/{parts[len(parts) - 1 - parts[::-1].index(kind) + 1]}"
    return f"{kind}/{sent['resource'].get('id', got.get('resource', {}).get('id', ''))}"


def _retry_after(answer: httpx.Response) -> float | None:
    sent = answer.headers.get("retry-after", "")
    return min(float(sent), _MOST_WAIT_S) if sent.isdigit() else None


def _same_date(ours: str, theirs: object) -> bool:
    """Equal as far as both are precise."""
    if not isinstance(theirs, str):
        return False
    shared = min(len(ours), len(theirs), 10)
    return ours[:shared] == theirs[:shared]


def _checked(written: Mapping[str, Written], differs: str) -> Receipt:
    """A receipt, or the refusal to call it one; where things stand is told in both."""
    if differs:
        places = {role: (w.reference, w.version) for role, w in written.items()}
        raise ReadBackDiffers(f"read-back differs at {differs}", places)
    return Receipt(written)


def _difference(sent: Mapping[str, Any], stored: Mapping[str, Any]) -> str:
    """The first element that matters and reads otherwise, or nothing."""
    kind = sent["resourceType"]
    for path in _READ_BACK.get(kind, ()):
        if _at(sent, path.split(".")) != _at(stored, path.split(".")):
            return f"{kind}.{path}"
    return ""


def _at(node: Any, steps: Sequence[str]) -> Any:
    if not steps:
        return float(node) if isinstance(node, (int, float)) else node
    head, rest = steps[0], steps[1:]
    if head == "*":
        return [_at(item, rest) for item in node or ()]
    return _at(node.get(head), rest) if isinstance(node, Mapping) else None
