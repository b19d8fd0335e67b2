"""RiskAssessment: the prediction, in per cent, on exact versions. Source: writeback.md 0.1, 1.2."""

from __future__ import annotations

from typing import Any

from mappings.outbound.parts import (
    concept,
    identifiers,
    instant,
    meta,
    narrative,
    percent,
    question,
    sentence,
    statements,
)
from mappings.outbound.result import Input, Outcome, Result
from mappings.outbound.terms import RISK_PROBABILITY, RISK_PROBABILITY_CODES


def risk_assessment(result: Result, patient: str, device: str) -> dict[str, Any]:
    """The RiskAssessment resource."""
    return {
        "resourceType": "RiskAssessment",
        "id": result.resource_id("ra"),
        "meta": meta(result),
        "text": narrative(result),
        "identifier": identifiers(result, "ra"),
        "status": result.status,
        "method": {
            "coding": [
                {
                    "system": f"{result.namespace}/ai-method",
                    "code": f"{result.model.id}|{result.model.version}",
                }
            ],
            "text": "multimodal model, ONNX",
        },
        "code": question(result),
        "subject": {"reference": patient},
        "occurrenceDateTime": instant(result.issued),
        "performer": {"reference": device},
        "basis": basis(result),
        "prediction": [_prediction(result, outcome) for outcome in result.outcomes],
        "note": [{"text": line} for line in statements(result)],
    }


def basis(result: Result) -> list[dict[str, Any]]:
    """Every input used: version-specific where the EHR has it, else by its digest."""
    made = [_basis(result, item) for item in result.inputs if item.kind != "Patient"]
    made += [
        {
            "type": "ImagingStudy",
            "identifier": {"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"},
            "display": "imaging study",
        }
        for uid in result.study_instance_uids
    ]
    return made


def _basis(result: Result, item: Input) -> dict[str, Any]:
    when = f", {item.when.isoformat()}" if item.when else ""
    made: dict[str, Any] = {"display": f"{item.label}{when}"}
    if item.reference:
        made["reference"] = item.reference
    else:
        made["type"] = item.kind
        made["identifier"] = {"system": f"{result.namespace}/ai-input", "value": item.digest}
    return made


def _prediction(result: Result, outcome: Outcome) -> dict[str, Any]:
    written = percent(outcome.probability)
    made: dict[str, Any] = {
        "outcome": concept(outcome.code, outcome.text),
        "probabilityDecimal": written if result.scale == "percent" else round(written / 100, 4),
        "whenPeriod": {"start": outcome.start.isoformat(), "end": outcome.end.isoformat()},
        "rationale": _rationale(result, outcome),
    }
    if outcome.tier:
        risk: dict[str, Any] = {"text": f"{outcome.tier} by the model's locked threshold"}
        if outcome.tier in RISK_PROBABILITY_CODES:
            risk["coding"] = [{"system": RISK_PROBABILITY, "code": outcome.tier}]
        made["qualitativeRisk"] = risk
    return made


def _beside(result: Result, outcome: Outcome) -> str:
    """What another outcome is to the headline: of its exclusive classes, or at another time."""
    at_once = [o for o in result.outcomes if o.end == outcome.end]
    if outcome.end != result.headline.end:
        return "at another horizon" if len(at_once) == 1 else "a class at another horizon"
    return "the exclusive counterpart" if len(at_once) == _PAIR else "another exclusive class"


_PAIR = 2


def _rationale(result: Result, outcome: Outcome) -> str:
    if outcome is not result.headline:
        return f"{result.percent(outcome.probability)}: {_beside(result, outcome)}."
    if not result.contributions:
        return sentence(result)
    ranked = sorted(result.contributions.items(), key=lambda item: -abs(item[1]))
    parts = ", ".join(f"{name} {value:+.2f}" for name, value in ranked)
    return f"{sentence(result)} Contributions to the logit: {parts}."
