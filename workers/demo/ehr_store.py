"""The sandbox EHR's memory: versioned resources, searched plainly, changed in transactions.

Source: FHIR R4 http.html (versioned update, conditional create, transaction rules).
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from mappings.errors import InvalidResource, Issue
from mappings.fhir.door import validate

Resource = dict[str, Any]

# Where a reference to the patient stands, by resource type.
_PATIENT_AT = ("subject", "patient")


class Rejected(Exception):
    """An answer other than success: HTTP status, issue code and words."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status, self.code, self.text = status, code, text


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an interaction did."""

    status: int
    resource: Resource


@dataclass(slots=True)
class Store:
    """Every version of every resource.

    Attributes:
        now: Aware UTC clock.
        allow_update_create: Whether PUT may create (CapabilityStatement `updateCreate`).
        versions: type → id → versions, oldest first.
    """

    now: Callable[[], datetime]
    allow_update_create: bool = True
    versions: dict[str, dict[str, list[Resource]]] = field(default_factory=dict)

    def read(self, kind: str, resource_id: str, version: str | None = None) -> Resource:
        """The newest or a named version.

        Raises:
            Rejected: 404.
        """
        held = self.versions.get(kind, {}).get(resource_id, [])
        for resource in reversed(held):
            if version is None or resource["meta"]["versionId"] == version:
                return resource
        raise Rejected(404, "not-found", "no such resource")

    def history(self, kind: str, resource_id: str) -> list[Resource]:
        """Versions, newest first.

        Raises:
            Rejected: 404.
        """
        self.read(kind, resource_id)
        return list(reversed(self.versions[kind][resource_id]))

    def create(self, kind: str, body: Resource, *, if_none_exist: str | None = None) -> Outcome:
        """POST: the id is ours; with `if_none_exist` an existing match is returned instead.

        Raises:
            Rejected: 412 when several match.
            InvalidResource: The body is not valid.
        """
        _check(kind, body)
        if if_none_exist:
            found = self.search(kind, parse_qsl(if_none_exist))
            if len(found) > 1:
                raise Rejected(412, "multiple-matches", "several resources match If-None-Exist")
            if found:
                return Outcome(200, found[0])
        return Outcome(201, self._write(kind, str(uuid.uuid4()), body))

    def update(
        self, kind: str, resource_id: str, body: Resource, *, if_match: str | None = None
    ) -> Outcome:
        """PUT under a client's id.

        Raises:
            Rejected: 412 when the version differs, 405 when it would create and may not.
            InvalidResource: The body is not valid, or of another id.
        """
        _check(kind, body)
        if body.get("id") != resource_id:
            raise InvalidResource([Issue(f"{kind}.id", "invalid", "differs from the URL's")])
        held = self.versions.get(kind, {}).get(resource_id)
        if if_match is not None:
            present = held[-1]["meta"]["versionId"] if held else ""
            if if_match.removeprefix("W/").strip('"') != present:
                raise Rejected(412, "conflict", "the version is not the one given in If-Match")
        if not held and not self.allow_update_create:
            raise Rejected(405, "not-supported", "update as create is not supported")
        if held and _content(held[-1]) == _content(body):
            return Outcome(200, held[-1])  # no new version for nothing new
        return Outcome(200 if held else 201, self._write(kind, resource_id, body))

    def search(self, kind: str, parameters: list[tuple[str, str]]) -> list[Resource]:
        """Newest versions that meet every parameter.

        Known are _id, identifier, patient, subject, status and _lastUpdated.

        Raises:
            Rejected: 400 for a parameter that is not supported.
        """
        found = [held[-1] for held in self.versions.get(kind, {}).values()]
        for name, value in parameters:
            if name in ("_count", "_sort", "_format", "_summary"):
                continue
            found = [r for r in found if _meets(r, name, value)]
        return sorted(found, key=lambda r: str(r["meta"]["lastUpdated"]))

    def transaction(self, bundle: Resource) -> Resource:
        """All entries, or none; urn:uuid references are rewritten to what was assigned.

        Raises:
            Rejected, InvalidResource: The first entry that fails; nothing is kept.
        """
        before = copy.deepcopy(self.versions)
        try:
            return {
                "resourceType": "Bundle",
                "type": "transaction-response",
                "entry": self._all(bundle.get("entry") or []),
            }
        except Exception:
            self.versions = before
            raise

    def _all(self, entries: list[Resource]) -> list[Resource]:
        ids = self._assign(entries)
        done = []
        for entry in entries:
            request, body = entry["request"], _rewritten(entry.get("resource", {}), ids)
            kind = body.get("resourceType", "")
            if request["method"] == "PUT":
                url_kind, _, resource_id = request["url"].partition("/")
                outcome = self.update(url_kind, resource_id, body, if_match=request.get("ifMatch"))
            elif request["method"] == "POST":
                outcome = self._create_as(kind, body, ids, entry)
            else:
                raise Rejected(400, "not-supported", "only POST and PUT in a transaction")
            done.append({"response": _response(kind, outcome)})
        return done

    def _assign(self, entries: list[Resource]) -> dict[str, str]:
        """FullUrl → literal reference, before anything is written."""
        ids: dict[str, str] = {}
        for entry in entries:
            request, resource = entry.get("request", {}), entry.get("resource", {})
            if request.get("method") == "PUT":
                ids[entry.get("fullUrl", "")] = request["url"]
            elif request.get("method") == "POST":
                kind = resource.get("resourceType", "")
                known = request.get("ifNoneExist")
                match = self.search(kind, parse_qsl(known)) if known else []
                made = match[0]["id"] if len(match) == 1 else str(uuid.uuid4())
                ids[entry.get("fullUrl", "")] = f"{kind}/{made}"
        return ids

    def _create_as(
        self, kind: str, body: Resource, ids: Mapping[str, str], entry: Resource
    ) -> Outcome:
        _check(kind, body)
        resource_id = ids[entry.get("fullUrl", "")].partition("/")[2]
        held = self.versions.get(kind, {}).get(resource_id)
        if held and entry["request"].get("ifNoneExist"):
            return Outcome(200, held[-1])
        return Outcome(201, self._write(kind, resource_id, body))

    def _write(self, kind: str, resource_id: str, body: Resource) -> Resource:
        held = self.versions.setdefault(kind, {}).setdefault(resource_id, [])
        meta = {
            **body.get("meta", {}),
            "versionId": str(len(held) + 1),
            "lastUpdated": self.now().astimezone(UTC).isoformat(timespec="milliseconds"),
        }
        stored = {**copy.deepcopy(body), "id": resource_id, "meta": meta}
        held.append(stored)
        return stored


def _check(kind: str, body: Resource) -> None:
    if body.get("resourceType") != kind:
        raise InvalidResource([Issue("$this", "invalid", f"expected a {kind}")])
    validate(body)


def _content(resource: Resource) -> Resource:
    meta = {
        k: v for k, v in resource.get("meta", {}).items() if k not in ("versionId", "lastUpdated")
    }
    return {**resource, "meta": meta}


def _response(kind: str, outcome: Outcome) -> Resource:
    stored = outcome.resource
    version = stored["meta"]["versionId"]
    words = {200: "200 OK", 201: "201 Created"}
    return {
        "status": words[outcome.status],
        "location": f"{kind}/{stored['id']}/_history/{version}",
        "etag": f'W/"{version}"',
        "lastModified": stored["meta"]["lastUpdated"],
    }


def _rewritten(node: Any, ids: Mapping[str, str]) -> Any:
    """A copy with every reference to a fullUrl of the Bundle made literal."""
    if isinstance(node, dict):
        return {
            k: ids.get(v, v) if k == "reference" and isinstance(v, str) else _rewritten(v, ids)
            for k, v in node.items()
        }
    if isinstance(node, list):
        return [_rewritten(item, ids) for item in node]
    return node


def _meets(resource: Resource, name: str, value: str) -> bool:
    if name == "_id":
        return bool(resource["id"] == value)
    if name == "identifier":
        return any(_token(i, value) for i in _identifiers(resource))
    if name in ("patient", "subject"):
        wanted = value if "/" in value else f"Patient/{value}"
        return any(resource.get(at, {}).get("reference") == wanted for at in _PATIENT_AT)
    if name == "status":
        return resource.get("status") == value
    if name == "_lastUpdated":
        return _compared(str(resource["meta"]["lastUpdated"]), value)
    raise Rejected(400, "not-supported", f"search parameter {name} is not supported")


def _identifiers(resource: Resource) -> Iterator[Mapping[str, Any]]:
    found = resource.get("identifier")
    yield from found if isinstance(found, list) else [found] if found else []


def _token(identifier: Mapping[str, Any], value: str) -> bool:
    system, bar, code = value.rpartition("|")
    return identifier.get("value") == code and (not bar or identifier.get("system", "") == system)


def _compared(stored: str, value: str) -> bool:
    moment = datetime.fromisoformat(stored)
    prefix = value[:2] if value[:2] in ("ge", "gt", "le", "lt") else ""
    try:
        asked = datetime.fromisoformat(value.removeprefix(prefix))
    except ValueError as error:
        raise Rejected(400, "value", "_lastUpdated is no dateTime") from error
    asked = asked if asked.tzinfo else asked.replace(tzinfo=UTC)
    return {
        "ge": moment >= asked,
        "gt": moment > asked,
        "le": moment <= asked,
        "lt": moment < asked,
        "": moment == asked,
    }[prefix]
