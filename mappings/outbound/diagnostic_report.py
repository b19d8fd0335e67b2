"""DiagnosticReport: what a clinician opens. Source: writeback.md 0.2, 0.3, 1.3; IHE RAD IMR."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

from mappings.outbound.page import page
from mappings.outbound.parts import (
    coding,
    conclusion,
    identifiers,
    instant,
    meta,
    narrative,
    question,
)
from mappings.outbound.result import Result
from mappings.outbound.terms import ALTERNATE_REFERENCE, REPORT_RISK, STATUS_REASON


def diagnostic_report(
    result: Result,
    patient: str,
    *,
    device: str,
    risk_assessment: str,
    observations: Sequence[str],
) -> dict[str, Any]:
    """The DiagnosticReport resource.

    A Device cannot be its performer and a RiskAssessment not its result: both are linked by the
    extensions that HL7 made for it.
    """
    asked = question(result)
    asked["coding"].append(coding(result.report_code))
    extension: list[dict[str, Any]] = [
        {"url": REPORT_RISK, "valueReference": {"reference": risk_assessment}}
    ]
    if result.correction is not None:
        extension.append(
            {"url": STATUS_REASON, "valueCodeableConcept": {"text": result.correction.reason}}
        )
    return {
        "resourceType": "DiagnosticReport",
        "id": result.resource_id("dr"),
        "meta": meta(result),
        "text": narrative(result),
        "extension": extension,
        "identifier": identifiers(result, "dr"),
        "status": result.status,
        "category": [{"coding": [coding(result.category)]}],
        "code": asked,
        "subject": {"reference": patient},
        "effectiveDateTime": result.effective.isoformat(),
        "issued": instant(result.issued),
        "performer": [
            {"display": result.organization},
            {
                "display": f"{result.model.name} {result.model.version}",
                "extension": [
                    {"url": ALTERNATE_REFERENCE, "valueReference": {"reference": device}}
                ],
            },
        ],
        "result": [{"reference": reference} for reference in observations],
        "conclusion": conclusion(result),
        "presentedForm": [_presented_form(result)],
    }


def _presented_form(result: Result) -> dict[str, Any]:
    """The report as a page, with its length and the base64 of its SHA-1 bytes (IMR)."""
    body = page(result).encode()
    digest = hashlib.sha1(body, usedforsecurity=False).digest()
    return {
        "contentType": "text/html",
        "language": "en",
        "data": base64.b64encode(body).decode(),
        "size": len(body),
        "hash": base64.b64encode(digest).decode(),
        "title": f"AI: {result.title}",
    }
