"""DG1: diagnoses that travel with ADT, as conditions.

Source: HL7 v2.5.1 chapter 6.5.2; table 0052; HL7/v2-to-fhir segment map "DG1[Condition]".
"""

from __future__ import annotations

from mappings import keys
from mappings.hl7v2.er7 import Segment
from mappings.hl7v2.reading import Reading
from mappings.record import Coded, Entry, Status, When

_MAPPED = frozenset({1, 3, 4, 5, 6, 19, 21})


def read(reading: Reading, dg1: Segment, issued: When | None) -> list[Entry]:
    """One diagnosis; the same code of one patient is one condition."""
    concept = reading.concept(dg1.field(3))
    text = concept.text or reading.text(dg1, 4)
    name = concept.code.code if concept.code else text
    reading.leftovers(dg1, _MAPPED)
    if not name:
        reading.note(dg1.path(3), "diagnosis without code and text", "error")
        return []
    effective = reading.when(dg1, 5)
    status: Status = "deleted" if dg1.field(21) == "D" else "final"
    kind = dg1.field(6)
    if kind in ("A", "W") and status == "final":
        # Admitting and working diagnoses are hypotheses.
        status = "preliminary"
    return [
        Entry(
            "condition",
            keys.condition(name),
            reading.patient,
            reading.source,
            dg1.path(3),
            status,
            concept.code,
            concept.alternates,
            Coded(concept.codings, text),
            effective,
            reading.when(dg1, 19) or issued,
            details={"type": kind} if kind else {},
        )
    ]
