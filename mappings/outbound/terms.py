"""Every code and canonical that our output uses, in one table, with where it was verified.

Source: writeback.md 1; HL7 FHIR R4 4.0.1; the AI Transparency IG (STU1 ballot, still moving).
"""

from __future__ import annotations

from typing import Any

RESULT_SYSTEM = "ai-result"
SERIES_SYSTEM = "ai-result-series"
FILLER_SYSTEM = "ai-filler"
MODEL_SYSTEM = "ai-model"

# Below the site's namespace: every system that only we use.
OWN_SYSTEMS = (
    RESULT_SYSTEM,
    SERIES_SYSTEM,
    FILLER_SYSTEM,
    MODEL_SYSTEM,
    "ai-question",
    "ai-outcome",
    "ai-method",
    "ai-status",
    "ai-input",
    "training-data",
)

UCUM = "http://unitsofmeasure.org"
RISK_PROBABILITY = "http://terminology.hl7.org/CodeSystem/risk-probability"
# A pack's tiers are its own words; only these five are also codes.
RISK_PROBABILITY_CODES = frozenset({"negligible", "low", "moderate", "high", "certain"})
OBSERVATION_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
REPORT_RISK = "http://hl7.org/fhir/StructureDefinition/diagnosticReport-risk"
ALTERNATE_REFERENCE = "http://hl7.org/fhir/StructureDefinition/alternate-reference"
STATUS_REASON = "http://hl7.org/fhir/StructureDefinition/workflow-statusReason"
AI_DEVICE_TYPE = "http://hl7.org/fhir/uv/aitransparency/CodeSystem/AIdeviceTypeCS"
PARTICIPANT_TYPE = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"

AIAST: dict[str, Any] = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "AIAST",
    "display": "Artificial Intelligence asserted",
}
HTEST: dict[str, Any] = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason",
    "code": "HTEST",
    "display": "test health data",
}
