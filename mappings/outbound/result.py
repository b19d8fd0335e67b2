"""A result as every carrier writes it: one value, from which FHIR, ORU and SR are built.

Workers fill it from a prediction; nothing here knows how it was computed.
Source: writeback.md 1; models.md 4.4.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from mappings.record import Code, When

ResultStatus = Literal["preliminary", "final", "corrected", "amended", "entered-in-error"]

# models.md 4.4: these words stand wherever a figure or a result of a synthetic model does.
SYNTHETIC_WORDS = (
    "Trained and evaluated on synthetic data produced by a program. Figures measure software "
    "correctness against a known generating process; they are not evidence of clinical "
    "performance, do not reproduce or predict the results of NCT06791473, NCT07658586, "
    "NCT07244094, NCT07030842 or NCT07392567, and the model must not be used for care."
)

_NAMESPACE = uuid.UUID("9c1f8a52-6a0e-5d0f-9f5e-0d6f3f2f7b11")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The model as a Device: one per (id, version, digest)."""

    id: str
    name: str
    version: str
    digest: str
    manufacturer: str
    intended_use: str
    study: str
    synthetic: bool
    service_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One predicted class or event.

    Attributes:
        code: Standard coding of the outcome, or None where only text is honest.
        text: Words for people.
        probability: Calibrated, 0 to 1.
        interval: Low and high at the result's level, 0 to 1, or None.
        tier: The pack's word for the tier, or None.
        threshold: Locked threshold of the tier, 0 to 1, or None.
        start: Begin of prediction.when: the index date.
        end: Its end; the index date again for a diagnosis.
    """

    code: Code | None
    text: str
    local: str
    probability: float
    interval: tuple[float, float] | None
    tier: str | None
    threshold: float | None
    start: When
    end: When


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One input that was used.

    Attributes:
        label: What it is ("AFP", "CT, portal venous").
        text: Its value for people ("412 ng/mL"), or an empty string for images.
        when: Its clinical time.
        reference: Version-specific FHIR reference (`Observation/1/_history/3`), or None.
        kind: FHIR type for the reference (`Observation`, `ImagingStudy`, `DiagnosticReport`).
        digest: Digest of the very value used.
    """

    label: str
    text: str
    when: When | None
    reference: str | None
    kind: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """Why a result replaces an earlier one of its lineage.

    Attributes:
        reason: One phrase ("AFP was corrected by the laboratory").
        was: The earlier headline, in words ("31.4 %").
    """

    reason: str
    was: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Everything that is told about one prediction.

    Attributes:
        instance_key: Idempotency key of this version.
        series_key: Key of all runs of this question for this patient.
        lineage: Instance key of the first version: a correction keeps the ids of what it corrects.
        revision: 1, 2, … within the lineage.
        filler: Short printable number.
        question: Local code of what was asked.
        report_code: LOINC of the DiagnosticReport.
        category: v2-0074 code of the DiagnosticReport.
        issued: When this version is released.
        effective: Clinically relevant time: latest input.
        interval_level: Level of the outcomes' intervals, 0 to 1.
        contributions: Modality to its part of the calibrated logit.
        missing: Inputs that were not there, and how that was handled.
        warnings: Out-of-distribution and other flags, as sentences.
        namespace: Base URI of our identifier systems at this site.
        organization: Display of the organization that runs the service.
        scale: How probabilityDecimal is written; percent is what R4 says (ras-2).
    """

    instance_key: str
    series_key: str
    lineage: str
    revision: int
    filler: str
    status: ResultStatus
    question: Code
    title: str
    report_code: Code
    category: Code
    issued: datetime
    effective: When
    outcomes: tuple[Outcome, ...]
    inputs: tuple[Input, ...]
    contributions: Mapping[str, float]
    missing: tuple[str, ...]
    warnings: tuple[str, ...]
    model: Model
    study_instance_uids: tuple[str, ...]
    namespace: str
    organization: str
    correction: Correction | None = None
    scale: Literal["percent", "fraction"] = "percent"
    interval_level: float = 0.9

    @property
    def headline(self) -> Outcome:
        """The outcome the title speaks of: the first."""
        return self.outcomes[0]

    def resource_id(self, role: str) -> str:
        """Deterministic id of a resource: the same for every version of the lineage."""
        return str(uuid.uuid5(_NAMESPACE, f"{self.lineage}#{role}"))

    @property
    def interval_words(self) -> str:
        """What the intervals are called: "90 % interval"."""
        return f"{self.interval_level * 100:g} % interval"

    def percent(self, probability: float) -> str:
        """A probability for people, one decimal: "31.4 %"."""
        return f"{probability * 100:.1f} %"


def device_id(model: Model) -> str:
    """Deterministic id of a model's Device."""
    return str(uuid.uuid5(_NAMESPACE, f"{model.id}|{model.version}|{model.digest}"))
