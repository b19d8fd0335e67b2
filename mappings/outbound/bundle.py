"""One result as one FHIR R4 transaction, from Device to Provenance.

Bytes are the same for every attempt: ids and fullUrls are derived. Patient, Encounter and Condition
are never created. Source: writeback.md 1 and 2.1; R4 4.0.1 bundle.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote

from mappings.outbound.device import device
from mappings.outbound.diagnostic_report import diagnostic_report
from mappings.outbound.observation import observations
from mappings.outbound.provenance import provenance
from mappings.outbound.result import Result
from mappings.outbound.risk_assessment import risk_assessment
from mappings.outbound.terms import MODEL_SYSTEM, RESULT_SYSTEM

Strategy = Literal["put", "post"]
Resource = dict[str, Any]


def transaction(
    result: Result,
    patient: str,
    *,
    strategy: Strategy,
    versions: Mapping[str, str],
    ids: Mapping[str, str],
) -> Resource:
    """The transaction Bundle of a result.

    Args:
        result: What to write.
        patient: Literal reference of the EHR's patient.
        strategy: `put` writes under our own ids; `post` lets the server choose them and guards the
            create by identifier.
        versions: ETag versions of what earlier versions of the lineage wrote, by role: such a
            resource is updated only if it is still that version.
        ids: Their ids.
    """
    model = device(result)
    entries = [_once(model, strategy)]
    refs = {"device": _url("Device", model["id"], strategy, ids.get("device"))}
    numbers = observations(result, patient, refs["device"])
    roles = [(f"obs-{name}", resource) for name, resource in numbers.items()]
    for role, resource in roles:
        refs[role] = _url("Observation", resource["id"], strategy, ids.get(role))
    risk = risk_assessment(result, patient, refs["device"])
    refs["ra"] = _url("RiskAssessment", risk["id"], strategy, ids.get("ra"))
    report = diagnostic_report(
        result,
        patient,
        device=refs["device"],
        risk_assessment=refs["ra"],
        observations=[refs[role] for role, _ in roles],
    )
    refs["dr"] = _url("DiagnosticReport", report["id"], strategy, ids.get("dr"))
    for role, resource in (*roles, ("ra", risk), ("dr", report)):
        entries.append(_versioned(resource, strategy, versions.get(role), ids.get(role)))
    targets = [refs[role] for role in (*(r for r, _ in roles), "ra", "dr")]
    entries.append(_once(provenance(result, targets, refs["device"]), strategy))
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def role_of(resource: Mapping[str, Any]) -> str:
    """The role of a resource of ours: `device`, `obs-…`, `ra`, `dr` or `prov-…`."""
    for identifier in resource.get("identifier") or ():
        if identifier.get("system", "").endswith(f"/{RESULT_SYSTEM}"):
            return str(identifier["value"]).partition("#")[2].rpartition("#")[2]
        if identifier.get("system", "").endswith(f"/{MODEL_SYSTEM}"):
            return "device"
    return f"prov-{resource.get('id', '')}"


def _url(kind: str, made_id: str, strategy: Strategy, known: str | None) -> str:
    """How other entries refer to a resource: its literal id where that is certain, else its urn."""
    if strategy == "put" or known:
        return f"{kind}/{known or made_id}"
    return f"urn:uuid:{made_id}"


def _once(resource: Resource, strategy: Strategy) -> Resource:
    """A resource that is written once and never changed: an equal PUT, or a guarded POST."""
    kind, made_id = resource["resourceType"], resource["id"]
    if strategy == "put":
        request = {"method": "PUT", "url": f"{kind}/{made_id}"}
        return {"fullUrl": f"urn:uuid:{made_id}", "resource": resource, "request": request}
    request = {"method": "POST", "url": kind}
    identifier = next(iter(resource.get("identifier") or ()), None)
    if identifier is not None:
        # The query part of a URL (R4 http.html): a bare "#" would end it.
        token = quote(f"{identifier['system']}|{identifier['value']}", safe=":/|")
        request["ifNoneExist"] = f"identifier={token}"
    body = {k: v for k, v in resource.items() if k != "id"}
    return {"fullUrl": f"urn:uuid:{made_id}", "resource": body, "request": request}


def _versioned(
    resource: Resource, strategy: Strategy, version: str | None, known: str | None
) -> Resource:
    """A resource of the lineage: created, or updated if nobody else changed it."""
    kind, made_id = resource["resourceType"], resource["id"]
    full_url = f"urn:uuid:{made_id}"
    if known:
        request = {"method": "PUT", "url": f"{kind}/{known}"}
        if version:
            request["ifMatch"] = f'W/"{version}"'
        return {"fullUrl": full_url, "resource": {**resource, "id": known}, "request": request}
    return _once(resource, strategy)
