"""Results to write, of every status, for the tests of what is written."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from mappings.outbound.result import Correction, Input, Model, Outcome, Result
from mappings.record import Code, When

NAMESPACE = "https://oncord.example/ns"
ISSUED = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
DAY = When(datetime(2026, 3, 2), "day")
KEY = "ab" * 32

MODEL = Model(
    id="liver_dx", name="Liver lesion", version="0.1.0", digest="cd" * 32,
    manufacturer="Test hospital", intended_use="Software check", study="NCT07658586",
    synthetic=True, service_version="0.1.0",
)  # fmt: skip


def outcome(local: str, probability: float, **changes: Any) -> Outcome:
    """One class."""
    parts: dict[str, Any] = {
        "code": None, "text": local.capitalize(), "local": local, "probability": probability,
        "interval": None, "tier": None, "threshold": None, "start": DAY, "end": DAY,
    }  # fmt: skip
    return Outcome(**(parts | changes))


def result(**changes: Any) -> Result:
    """A preliminary result, 31.4 %."""
    parts: dict[str, Any] = {
        "instance_key": KEY, "series_key": "ef" * 32, "lineage": KEY, "revision": 1,
        "filler": "AI1F", "status": "preliminary",
        "question": Code(f"{NAMESPACE}/ai-question", "liver-lesion-malignancy", "Liver lesion"),
        "title": "Liver lesion: benign or malignant",
        "report_code": Code("http://loinc.org", "18748-4", "Diagnostic imaging study"),
        "category": Code("http://terminology.hl7.org/CodeSystem/v2-0074", "RAD", "Radiology"),
        "issued": ISSUED, "effective": When(datetime(2026, 3, 2, 9, 30), "second", 480),
        "outcomes": (
            outcome("malignant", 0.31437, interval=(0.2411, 0.3899), tier="high", threshold=0.25),
            outcome("benign", 0.68563),
        ),
        "inputs": (
            Input(label="AFP", text="412 ng/mL", when=DAY, reference="Observation/1/_history/3",
                  kind="Observation", digest="11" * 32),
            Input(label="Albumin", text="41 g/L", when=DAY, reference=None, kind="Observation",
                  digest="22" * 32),
            Input(label="Birth date", text="1970-12-28", when=None, reference=None,
                  kind="Patient", digest="33" * 32),
            Input(label="Report", text="findings section", when=DAY, reference=None,
                  kind="DiagnosticReport", digest="44" * 32),
        ),
        "contributions": {"ct": 0.5, "labs": -1.25, "text": 0.0},
        "missing": ("DCP: not there; encoded as missing",), "warnings": ("AFP above training range",),
        "model": MODEL, "study_instance_uids": ("2.25.1",), "namespace": NAMESPACE,
        "organization": "Test hospital",
    }  # fmt: skip
    return Result(**(parts | changes))


def corrected() -> Result:
    """The second version of the lineage."""
    return replace(
        result(), instance_key="aa" * 32, revision=2, status="corrected",
        outcomes=(outcome("malignant", 0.52), outcome("benign", 0.48)),
        correction=Correction(reason="AFP was corrected at its source", was="31.4 %"),
    )  # fmt: skip


def withdrawn() -> Result:
    """Its withdrawal."""
    return replace(
        corrected(), instance_key=f"{'aa' * 32}#w", revision=3, status="entered-in-error",
        correction=Correction(reason="an input was withdrawn", was=""),
    )  # fmt: skip


VERSIONS = {
    "preliminary": result(),
    "amended": replace(corrected(), status="amended"),
    "corrected": corrected(),
    "entered-in-error": withdrawn(),
    "final": replace(result(), status="final"),
}
