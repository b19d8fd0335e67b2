"""Condition: diagnoses and problems.

Source: FHIR R4 Condition.
"""

from __future__ import annotations

from mappings.fhir.reading import Reading
from mappings.record import Entry
from mappings.statuses import Status
from mappings.tables import table

PATIENT = "subject"
_VERIFIED: dict[str, Status] = table("fhir_events")  # type: ignore[assignment]  # checked by test
_MAPPED = frozenset(
    {
        "identifier",
        "clinicalStatus",
        "verificationStatus",
        "category",
        "severity",
        "code",
        "subject",
    }
    | {"onsetDateTime", "onsetPeriod", "onsetString", "abatementDateTime", "abatementPeriod"}
    | {"onsetAge", "abatementAge", "abatementString"}
    | {"recordedDate", "bodySite", "stage", "note", "contained", "encounter"}
)


def entries(reading: Reading) -> list[Entry]:
    """One condition; a refuted one counts as withdrawn, an unconfirmed one as preliminary."""
    concept = reading.coded(reading.one("code"))
    verified = reading.coded(reading.one("verificationStatus"))
    word = verified.codes[0].code if verified.codes else ""
    status = _VERIFIED.get(word, "final" if not word else "unknown")
    clinical = reading.coded(reading.one("clinicalStatus"))
    stages = [
        reading.coded(reading.one("summary", stage)).text
        or next((c.code for c in reading.coded(reading.one("summary", stage)).codes), "")
        for stage in reading.all("stage")
    ]
    details = {
        "clinical": clinical.codes[0].code if clinical.codes else "",
        "verification": word,
        "category": [c.code for i in reading.all("category") for c in reading.coded(i).codes],
        "severity": reading.words("severity"),
        "stage": [s for s in stages if s],
        "body_site": reading.words("bodySite"),
        "onset": reading.measured("onsetAge") or reading.text("onsetString"),
        "onset_ended": reading.text("end", reading.one("onsetPeriod")),
        "abated": _abated(reading),
        "recorded": reading.text("recordedDate"),
    }
    effective = reading.start("onset") or reading.when("recordedDate")
    reading.leftovers(_MAPPED)
    if not concept.codes and not concept.text:
        reading.note("code", "nothing says which condition", "error")
    return [
        reading.entry(
            "condition",
            reading.key("condition"),
            "code",
            status,
            concept,
            concept=concept,
            effective=effective,
            details=details,
        )
    ]


def _abated(reading: Reading) -> str:
    """When it was over: a date, else the age or words that stand for one."""
    period = reading.one("abatementPeriod")
    return (
        reading.text("abatementDateTime")
        or reading.text("end", period)
        or reading.text("start", period)
        or reading.measured("abatementAge")
        or reading.text("abatementString")
    )
