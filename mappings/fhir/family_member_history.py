"""FamilyMemberHistory: diseases of relatives, one entry each; one entry where there is none.

The relationship is the code and the disease the value: a mother's cancer must not answer a
question for the patient's. A resource tells all that is known of one relative, so that its entries
are one set (`details["set"]`).
Source: FHIR R4 FamilyMemberHistory.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from mappings import keys
from mappings.fhir.reading import Element, Reading
from mappings.record import Coded, Entry
from mappings.statuses import Status
from mappings.tables import table

PATIENT = "patient"
_STATUSES: dict[str, Status] = table("fhir_events")  # type: ignore[assignment]  # checked by test
_MAPPED = frozenset(
    {"identifier", "status", "dataAbsentReason", "patient", "date", "name", "relationship", "sex"}
    | {"bornPeriod", "bornDate", "bornString", "ageAge", "ageRange", "ageString", "estimatedAge"}
    | {"deceasedBoolean", "deceasedAge", "deceasedRange", "deceasedDate", "deceasedString"}
    | {"condition", "note", "contained"}
)


def entries(reading: Reading) -> list[Entry]:
    """One entry per condition of the relative, or one without a value."""
    relationship = reading.coded(reading.one("relationship"))
    sent = reading.text("status")
    status = _STATUSES.get(sent, "unknown")
    if sent not in _STATUSES:
        reading.note("status", "not a status of family histories")
    key = reading.key("family_history")
    shared: dict[str, Any] = {
        "status": sent,
        "relationship": reading.words("relationship"),
        "sex": reading.words("sex"),
        "deceased": _deceased(reading),
        "absent": reading.words("dataAbsentReason"),
        "set": key,
    }
    effective = reading.when("date")
    reading.leftovers(_MAPPED)
    made: list[Entry] = []
    seen: Counter[str] = Counter()
    for number, condition in enumerate(reading.all("condition")):
        disease = reading.coded(reading.one("code", condition))
        name = disease.codes[0].code if disease.codes else disease.text
        if not name:
            reading.note(f"condition[{number}].code", "nothing says which disease", "error")
            continue
        seen[name] += 1
        again = f"/{seen[name]}" if seen[name] > 1 else ""
        made.append(
            reading.entry(
                "family_history",
                f"{key}/{keys.bounded(name)}{again}",
                f"condition[{number}].code",
                status,
                disease,
                concept=relationship,
                effective=effective,
                details={**shared, **_course(reading, condition)},
            )
        )
    if made or reading.data.get("condition"):
        return made
    return [_none(reading, key, status, relationship, shared)]


def _none(
    reading: Reading, key: str, status: Status, relationship: Coded, shared: dict[str, Any]
) -> Entry:
    """A relative without a disease; unknown where the resource says that nobody knows."""
    return reading.entry(
        "family_history",
        key,
        "condition",
        "unknown" if "dataAbsentReason" in reading.data and status == "final" else status,
        None,
        concept=relationship,
        effective=reading.when("date"),
        details=shared,
    )


def _course(reading: Reading, condition: Element) -> dict[str, Any]:
    fatal = condition.get("contributedToDeath")
    return {
        "onset": reading.measured("onsetAge", condition) or reading.text("onsetString", condition),
        "outcome": reading.words("outcome", condition),
        "fatal": "true" if fatal is True else "",
    }


def _deceased(reading: Reading) -> str:
    found = reading.data.get("deceasedBoolean")
    if isinstance(found, bool):
        return "true" if found else "false"
    return (
        reading.text("deceasedDate")
        or reading.measured("deceasedAge")
        or reading.text("deceasedString")
    )
