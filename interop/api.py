"""The HTTP face: FHIR door, STOW-RS, readiness of patients, health and metrics.

Routes only; each hands over to the part that does the work.
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import ASGIApp, Receive, Scope, Send

from interop import metrics
from interop.errors import LedgerUnavailable, NotMultipart, TooLarge
from interop.fhir_door import FhirAnswer, FhirDoor, encode, refusal
from interop.multipart import boundary_of
from interop.stow import StowDoor

log = structlog.get_logger()

_FHIR = "application/fhir+json; charset=utf-8"
_OPEN = frozenset({"/healthz", "/readyz"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """What the HTTP face serves.

    Attributes:
        fhir: FHIR door.
        stow: STOW doors by path name; the empty name is `/dicomweb`.
        ready: Findings that keep the service from being ready; empty when it is.
        question: Answers `GET /patients/{authority-and-value}/readiness`, or None if unknown.
        tokens: Bearer tokens taken; empty only on loopback.
    """

    fhir: FhirDoor
    stow: Mapping[str, StowDoor]
    ready: Callable[[], list[str]]
    question: Callable[[str, str], list[dict[str, Any]] | None]
    tokens: frozenset[str] = frozenset()


def build(doors: Doors) -> FastAPI:
    """The application."""
    app = FastAPI(title="Oncord", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, tokens=doors.tokens)
    _health(app, doors)
    _fhir(app, doors.fhir)
    _dicomweb(app, doors.stow)

    @app.post("/readiness")
    async def readiness(request: Request) -> Response:
        """Where a patient stands, per pack; the identifier travels in the body, never in a URL."""
        try:
            asked = await request.json()
            authority, value = str(asked["system"]), str(asked["value"])
        except (ValueError, KeyError, TypeError):
            return _answer(refusal(400, "invalid", 'expected {"system": …, "value": …}'))
        found = doors.question(authority, value)
        if found is None:
            return _answer(refusal(404, "not-found", "no patient of this identifier"))
        return Response(encode({"packs": found}), 200, media_type="application/json")

    return app


class Guard:
    """Authentication before any body is read (A6); what is unexpected becomes a typed answer.

    Plain ASGI, not a Starlette middleware: those copy every piece of a streamed body once more.
    """

    def __init__(self, app: ASGIApp, tokens: frozenset[str]) -> None:
        self._app, self._tokens = app, tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._tokens and scope["path"] not in _OPEN and not self._known(scope):
            refused = Response(status_code=401, headers={"www-authenticate": "Bearer"})
            await refused(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        except Exception as error:  # noqa: BLE001  a door's reply path: the peer always gets an answer
            # Not `exception`: a traceback of a parser may quote what it read.
            log.error("http.failed", error=type(error).__name__)  # noqa: TRY400
            await _answer(refusal(500, "exception", "internal error"))(scope, receive, send)

    def _known(self, scope: Scope) -> bool:
        sent = dict(scope["headers"]).get(b"authorization", b"").removeprefix(b"Bearer ")
        return any(hmac.compare_digest(sent, token.encode()) for token in self._tokens)


def _answer(answer: FhirAnswer) -> Response:
    headers = {"retry-after": "5"} if answer.status == 503 else None  # noqa: PLR2004
    return Response(encode(answer.resource), answer.status, headers, _FHIR)


def _health(app: FastAPI, doors: Doors) -> None:
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The process lives."""
        return {"status": "ok"}

    @app.get("/readyz")
    def readyz() -> Response:
        """The process can take messages and has every part it was told to have."""
        missing = doors.ready()
        body = {"status": "not ready" if missing else "ready", "findings": missing}
        return Response(encode(body), 503 if missing else 200, media_type="application/json")

    @app.get("/metrics")
    def prometheus() -> Response:
        """Prometheus text."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _body(request: Request, cap: int) -> bytes | None:
    """A body of at most `cap` bytes, or None when it is larger."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > cap:
        return None
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > cap:
            return None
        pieces.append(piece)
    return b"".join(pieces)


def _fhir(app: FastAPI, door: FhirDoor) -> None:
    async def take(request: Request, expected: str, resource_id: str | None) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip()
        if kind not in ("application/fhir+json", "application/json"):
            return _answer(refusal(415, "not-supported", "expected application/fhir+json"))
        body = await _body(request, door.interface.cap)
        if body is None:
            return _answer(refusal(413, "too-long", "body is over the cap"))
        return _answer(await door.take(body, expected=expected, resource_id=resource_id))

    @app.post("/fhir")
    async def bundle(request: Request) -> Response:
        """A transaction, batch or collection Bundle."""
        return await take(request, "Bundle", None)

    @app.post("/fhir/{resource_type}")
    async def create(request: Request, resource_type: str) -> Response:
        """One resource."""
        return await take(request, resource_type, None)

    @app.put("/fhir/{resource_type}/{resource_id}")
    async def update(request: Request, resource_type: str, resource_id: str) -> Response:
        """One resource under its sender's id."""
        return await take(request, resource_type, resource_id)


def _dicomweb(app: FastAPI, doors: Mapping[str, StowDoor]) -> None:
    @app.post("/dicomweb/studies")
    async def studies(request: Request) -> Response:
        """STOW-RS, any study."""
        return await _stow(doors.get(""), request, None)

    @app.post("/dicomweb/studies/{study}")
    async def study(request: Request, study: str) -> Response:
        """STOW-RS, one study."""
        return await _stow(doors.get(""), request, study)

    @app.post("/dicomweb/{name}/studies")
    async def named_studies(request: Request, name: str) -> Response:
        """STOW-RS of a named path."""
        return await _stow(doors.get(name), request, None)

    @app.post("/dicomweb/{name}/studies/{study}")
    async def named_study(request: Request, name: str, study: str) -> Response:
        """STOW-RS of a named path, one study."""
        return await _stow(doors.get(name), request, study)


async def _stow(door: StowDoor | None, request: Request, study: str | None) -> Response:
    """One STOW request, and the HTTP status of what went wrong."""
    if door is None:
        return Response(status_code=404)
    try:
        boundary, kind = boundary_of(request.headers.get("content-type", ""))
        if kind != "application/dicom" or request.headers.get("content-encoding"):
            return Response("only plain application/dicom parts are taken", 415)
        made = await door.store(_pieces(request), boundary, study_instance_uid=study)
    except NotMultipart as error:
        metrics.refused.labels("stow", "400").inc()
        return Response(error.reason, 400)
    except TooLarge as error:
        metrics.refused.labels("stow", "413").inc()
        return Response(error.reason, 413)
    except LedgerUnavailable:
        metrics.refused.labels("stow", "503").inc()
        return Response("cannot be stored now; send it again", 503, {"retry-after": "5"})
    return Response(encode(made.dataset), made.status, media_type="application/dicom+json")


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    async for piece in request.stream():
        if piece:
            yield piece
