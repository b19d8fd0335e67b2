"""Companion Observations: the numbers as EHR result screens show them. Source: writeback.md 1.3."""

from __future__ import annotations

from typing import Any

from mappings.outbound.parts import coding, identifiers, instant, meta, percent, sentence
from mappings.outbound.result import Outcome, Result
from mappings.outbound.terms import OBSERVATION_CATEGORY, UCUM
from mappings.record import Code


def observations(result: Result, patient: str, device: str) -> dict[str, dict[str, Any]]:
    """One Observation per outcome, by the outcome's local name; UCUM per cent."""
    return {o.local: _observation(result, o, patient, device) for o in result.outcomes}


def _observation(result: Result, outcome: Outcome, patient: str, device: str) -> dict[str, Any]:
    role = f"obs-{outcome.local}"
    code = Code(f"{result.namespace}/ai-outcome", outcome.local, f"Probability: {outcome.text}")
    made: dict[str, Any] = {
        "resourceType": "Observation",
        "id": result.resource_id(role),
        "meta": meta(result),
        "identifier": identifiers(result, role),
        "status": result.status,
        "category": [
            {"coding": [{"system": OBSERVATION_CATEGORY, "code": "survey", "display": "Survey"}]}
        ],
        "code": {"coding": [coding(code)], "text": f"AI: probability of {outcome.text}"},
        "subject": {"reference": patient},
        "effectiveDateTime": result.effective.isoformat(),
        "issued": instant(result.issued),
        "device": {"reference": device},
        "valueQuantity": {
            "value": percent(outcome.probability),
            "unit": "%",
            "system": UCUM,
            "code": "%",
        },
        "note": [{"text": sentence(result)}],
    }
    if outcome.interval is not None:
        low, high = outcome.interval
        made["component"] = [
            {
                "code": {"text": result.interval_words},
                "valueRange": {"low": _per_cent(low), "high": _per_cent(high)},
            }
        ]
    sources = [i for i in result.inputs if i.reference and i.kind == "Observation"]
    if sources:
        made["derivedFrom"] = [{"reference": i.reference} for i in sources]
    return made


def _per_cent(value: float) -> dict[str, Any]:
    return {"value": percent(value), "unit": "%", "system": UCUM, "code": "%"}
