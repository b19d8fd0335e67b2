"""The sandbox EHR: a small, strict FHIR R4 server that tests can tell to misbehave.

FHIR under `/fhir`, one plain page per patient under `/` (see `ehr_page`). In memory; loopback only.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from urllib.parse import parse_qsl

import orjson
from fastapi import FastAPI, Request, Response

from mappings.errors import InvalidResource
from mappings.fhir.door import outcome, parse, validate
from workers.demo.ehr_page import index_page, patient_page
from workers.demo.ehr_store import Rejected, Resource, Store

Fault = Literal["refuse", "unavailable", "busy", "lose-answer", "hang", "half-answer"]
_JSON = "application/fhir+json; charset=utf-8"
TYPES = (
    "Patient",
    "Condition",
    "Observation",
    "DiagnosticReport",
    "RiskAssessment",
    "Device",
    "Provenance",
    "ImagingStudy",
    "Encounter",
    "Procedure",
    "DocumentReference",
    "ServiceRequest",
    "Binary",
)


@dataclass(slots=True)
class SandboxEhr:
    """One sandbox EHR.

    Attributes:
        store: Its resources.
        faults: What to do instead of answering the next writes, in order.
        writes: Number of write requests that came in, for tests.
        on_change: Told of every new version (the echo in flow tests).
    """

    store: Store
    faults: deque[Fault] = field(default_factory=deque)
    writes: int = 0
    on_change: list[Callable[[Resource], None]] = field(default_factory=list)

    def app(self) -> FastAPI:
        """The server."""
        app = FastAPI(title="Sandbox EHR", docs_url=None, redoc_url=None, openapi_url=None)
        self._fhir(app)
        self._pages(app)
        return app

    def _fhir(self, app: FastAPI) -> None:
        @app.get("/fhir/metadata")
        def metadata() -> Response:
            return _reply(200, self.capability())

        @app.post("/fhir")
        async def transaction(request: Request) -> Response:
            return await self._write(request, self._transaction)

        @app.post("/fhir/{kind}/_search")
        async def search_post(request: Request, kind: str) -> Response:
            body = (await request.body()).decode()
            return self._guarded(lambda: self._search(kind, parse_qsl(body)))

        @app.get("/fhir/{kind}")
        def search(request: Request, kind: str) -> Response:
            return self._guarded(
                lambda: self._search(kind, list(request.query_params.multi_items()))
            )

        @app.post("/fhir/{kind}")
        async def create(request: Request, kind: str) -> Response:
            condition = request.headers.get("if-none-exist")
            return await self._write(request, lambda body: self._create(kind, body, condition))

        @app.get("/fhir/{kind}/{resource_id}")
        def read(kind: str, resource_id: str) -> Response:
            return self._guarded(lambda: _versioned(200, self.store.read(kind, resource_id)))

        @app.put("/fhir/{kind}/{resource_id}")
        async def update(request: Request, kind: str, resource_id: str) -> Response:
            match = request.headers.get("if-match")
            return await self._write(
                request, lambda body: self._update(kind, resource_id, body, match)
            )

        @app.get("/fhir/{kind}/{resource_id}/_history")
        def history(kind: str, resource_id: str) -> Response:
            return self._guarded(
                lambda: _reply(200, _bundle("history", self.store.history(kind, resource_id)))
            )

        @app.get("/fhir/{kind}/{resource_id}/_history/{version}")
        def vread(kind: str, resource_id: str, version: str) -> Response:
            return self._guarded(
                lambda: _versioned(200, self.store.read(kind, resource_id, version))
            )

    def _pages(self, app: FastAPI) -> None:
        @app.get("/")
        def index() -> Response:
            return _html(index_page(self.store))

        @app.get("/patient/{patient_id}")
        def patient(patient_id: str) -> Response:
            try:
                return _html(patient_page(self.store, patient_id))
            except Rejected as error:
                return Response(error.text, error.status)

    def capability(self) -> Resource:
        """The CapabilityStatement."""
        interactions = [
            {"code": c}
            for c in ("read", "vread", "update", "create", "search-type", "history-instance")
        ]
        resources = [
            {
                "type": kind,
                "interaction": interactions,
                "versioning": "versioned-update",
                "updateCreate": self.store.allow_update_create,
                "conditionalCreate": True,
            }
            for kind in TYPES
        ]
        return {
            "resourceType": "CapabilityStatement",
            "status": "active",
            "date": "2026-11-21",
            "kind": "instance",
            "fhirVersion": "4.0.1",
            "format": ["json"],
            "rest": [
                {
                    "mode": "server",
                    "resource": resources,
                    "interaction": [{"code": "transaction"}],
                }
            ],
        }

    async def _write(self, request: Request, act: Callable[[Resource], Response]) -> Response:
        """One write request, or the fault that tests asked for instead."""
        body = await request.body()
        self.writes += 1
        fault = self.faults.popleft() if self.faults else None
        if fault == "refuse":
            return _refusal(422, "processing", "refused on request of the test")
        if fault == "unavailable":
            return _refusal(500, "exception", "failed on request of the test")
        if fault == "busy":
            return _refusal(429, "throttled", "busy on request of the test", {"retry-after": "1"})
        done = self._guarded(lambda: act(parse(body)))
        if fault == "lose-answer":
            return _refusal(502, "exception", "done, and the answer was lost")
        if fault == "hang":
            await asyncio.sleep(60)
        if fault == "half-answer":
            return Response(done.body[: len(done.body) // 2], done.status_code, media_type=_JSON)
        return done

    def _guarded(self, act: Callable[[], Response]) -> Response:
        try:
            return act()
        except InvalidResource as error:
            return _reply(422, outcome(error))
        except Rejected as error:
            return _refusal(error.status, error.code, error.text)

    def _transaction(self, bundle: Resource) -> Response:
        validate(bundle)
        if bundle.get("resourceType") != "Bundle" or bundle.get("type") != "transaction":
            raise Rejected(400, "invalid", "expected a transaction")
        made = self.store.transaction(bundle)
        for entry in made["entry"]:
            kind, resource_id, _, version = entry["response"]["location"].split("/")
            self._changed(self.store.read(kind, resource_id, version))
        return _reply(200, made)

    def _create(self, kind: str, body: Resource, condition: str | None) -> Response:
        made = self.store.create(kind, body, if_none_exist=condition)
        self._changed(made.resource)
        return _versioned(made.status, made.resource)

    def _update(self, kind: str, resource_id: str, body: Resource, match: str | None) -> Response:
        made = self.store.update(kind, resource_id, body, if_match=match)
        self._changed(made.resource)
        return _versioned(made.status, made.resource)

    def _changed(self, resource: Resource) -> None:
        for listener in self.on_change:
            listener(resource)

    def _search(self, kind: str, parameters: list[tuple[str, str]]) -> Response:
        return _reply(200, _bundle("searchset", self.store.search(kind, parameters)))


def sandbox(now: Callable[[], datetime], *, allow_update_create: bool = True) -> SandboxEhr:
    """A fresh sandbox EHR."""
    return SandboxEhr(Store(now, allow_update_create))


def _bundle(kind: str, resources: list[Resource]) -> Resource:
    entries = [
        {"fullUrl": f"urn:uuid:{r['id']}", "resource": r}
        | ({"search": {"mode": "match"}} if kind == "searchset" else {})
        for r in resources
    ]
    made: Resource = {"resourceType": "Bundle", "type": kind, "total": len(resources)}
    if entries:
        made["entry"] = entries
    return made


def _reply(status: int, resource: Resource, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(resource, default=float), status, headers, _JSON)


def _versioned(status: int, resource: Resource) -> Response:
    version = resource["meta"]["versionId"]
    location = f"{resource['resourceType']}/{resource['id']}/_history/{version}"
    return _reply(status, resource, {"etag": f'W/"{version}"', "location": location})


def _refusal(
    status: int, code: str, text: str, headers: Mapping[str, str] | None = None
) -> Response:
    issue: dict[str, Any] = {"severity": "error", "code": code, "diagnostics": text}
    return _reply(status, {"resourceType": "OperationOutcome", "issue": [issue]}, headers)


def _html(body: str) -> Response:
    # The reports' own HTML stands in sandboxed frames; nothing else may run or load.
    policy = "default-src 'none'; style-src 'unsafe-inline'; frame-src data: 'self'; img-src data:"
    return Response(body, media_type="text/html", headers={"content-security-policy": policy})
