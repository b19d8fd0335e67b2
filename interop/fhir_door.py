"""FHIR door: Bundles and resources that an EHR pushes, validated, durable, answered 202.

This is no repository: what is taken is kept as bytes and mapped later; a read-back interface is the
EHR's. Errors are OperationOutcomes that never repeat a value. Source: FHIR R4 http.html; site rule
19; reliability.md A6.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from interop import metrics
from interop.errors import LedgerUnavailable
from interop.ledger.intake import GroupCommit
from interop.ledger.received import Received
from mappings import fhir
from mappings.errors import InvalidResource, Issue
from mappings.fhir.door import outcome, parse, validate
from mappings.site import Site

BUNDLES = frozenset({"transaction", "batch", "collection"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FhirInterface:
    """The FHIR door as the site file describes it.

    Attributes:
        name: Interface name.
        site: For the lane: which patient a Bundle is about.
        cap: Most bytes of a body.
        origin: `history` for a backfill interface.
    """

    name: str
    site: Site
    cap: int = 20 * 1024 * 1024
    origin: str = "live"


@dataclass(frozen=True, slots=True)
class FhirAnswer:
    """HTTP status and resource of an answer."""

    status: int
    resource: dict[str, Any]


def refusal(status: int, code: str, diagnostics: str) -> FhirAnswer:
    """An OperationOutcome of one error."""
    issue = {"severity": "error", "code": code, "diagnostics": diagnostics}
    return FhirAnswer(status, {"resourceType": "OperationOutcome", "issue": [issue]})


class FhirDoor:
    """Takes what is posted or put.

    Args:
        interface: What the site file says.
        commit: Where bodies become durable.
        now: Aware UTC clock.
    """

    def __init__(
        self, interface: FhirInterface, commit: GroupCommit, *, now: Callable[[], datetime]
    ) -> None:
        self.interface, self._commit, self._now = interface, commit, now

    async def take(self, body: bytes, *, expected: str, resource_id: str | None) -> FhirAnswer:
        """Validate and store one body.

        Args:
            body: JSON bytes as they came.
            expected: Resource type of the URL; `Bundle` for the base URL.
            resource_id: Id of the URL for a PUT, else None.
        """
        try:
            data = await asyncio.to_thread(self._checked, body, expected, resource_id)
        except InvalidResource as error:
            metrics.refused.labels("fhir", "422").inc()
            syntax = any(i.expression == "$this" and i.code == "structure" for i in error.issues)
            return FhirAnswer(400 if syntax else 422, outcome(error))
        try:
            fate = await self._commit.durable(self._received(body, data))
        except LedgerUnavailable:
            metrics.refused.labels("fhir", "503").inc()
            return refusal(503, "transient", "cannot be stored now; send it again")
        metrics.received.labels("fhir", fate.seen).inc()
        return FhirAnswer(*_accepted(data))

    def _checked(self, body: bytes, expected: str, resource_id: str | None) -> dict[str, Any]:
        data = parse(body)
        if data.get("resourceType") != expected:
            text = f"expected a {expected}"
            raise InvalidResource([Issue("$this", "invalid", text)])
        if expected == "Bundle" and data.get("type") not in BUNDLES:
            text = "expected a transaction, batch or collection"
            raise InvalidResource([Issue("Bundle.type", "value", text)])
        if resource_id is not None and data.get("id") != resource_id:
            raise InvalidResource([Issue(f"{expected}.id", "invalid", "differs from the URL's")])
        validate(data)
        return data

    def _received(self, body: bytes, data: dict[str, Any]) -> Received:
        interface = self.interface
        return Received(
            door="fhir",
            interface=interface.name,
            received_at=self._now(),
            kind=data["resourceType"],
            lane=self._lane(data),
            digest=hashlib.sha256(body).hexdigest(),
            size=len(body),
            body=body,
            code="202",
            origin=interface.origin,
        )

    def _lane(self, data: dict[str, Any]) -> str:
        """Lane of the patient where the Bundle or resource names one, else of the interface."""
        bundle = data
        if data["resourceType"] == "Patient":
            bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": data}]}
        if bundle["resourceType"] == "Bundle":
            for identifier in fhir.subjects(bundle, site=self.interface.site).values():
                return str(identifier)[:200]
        return f"fhir/{self.interface.name}"


def _accepted(data: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """202 for a resource; for a Bundle its response, entry by entry, in order."""
    if data["resourceType"] != "Bundle":
        text = "stored; it will be mapped into the patient record"
        issue = {"severity": "information", "code": "informational", "diagnostics": text}
        return 202, {"resourceType": "OperationOutcome", "issue": [issue]}
    kind = {"transaction": "transaction-response", "batch": "batch-response"}
    entries = [{"response": {"status": "202 Accepted"}} for _ in data.get("entry") or ()]
    made: dict[str, Any] = {
        "resourceType": "Bundle",
        "type": kind.get(data["type"], "batch-response"),
    }
    if entries:
        made["entry"] = entries
    return (202 if data["type"] == "collection" else 200), made


def encode(resource: dict[str, Any]) -> bytes:
    """A resource of ours as JSON."""
    return orjson.dumps(resource)
