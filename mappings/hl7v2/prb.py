"""PRB: problems of the problem list, as conditions, each with its action code.

Source: HL7 v2.5.1 chapter 12.4.1; tables 0287, 0407; HL7/v2-to-fhir segment map "PRB[Condition]".
"""

from __future__ import annotations

from typing import Any

from mappings import keys
from mappings.hl7v2.er7 import Segment
from mappings.hl7v2.reading import Reading
from mappings.record import Coded, Entry, When
from mappings.statuses import Status

_MAPPED = frozenset({1, 2, 3, 4, 7, 8, 9, 10, 13, 14, 16, 17})
# Table 0287; adding, correcting, updating, linking and "unchanged" all state the problem.
_DELETES = frozenset({"DE", "D"})
_HYPOTHESES = frozenset({"DIFFERENTIAL", "PROVISIONAL", "PROBABLE", "SUSPECTED", "RULE-OUT", "D"})


def read(reading: Reading, prb: Segment, notes: list[str], issued: When | None) -> list[Entry]:
    """One problem; the same code of one patient is one condition, whoever states it.

    Args:
        reading: The message.
        prb: The segment.
        notes: NTE below it.
        issued: When the sender knew it, for a PRB without PRB-2.
    """
    reading.leftovers(prb, _MAPPED)
    concept = reading.concept(prb.field(3))
    name = concept.code.code if concept.code else concept.text
    if not name:
        reading.note(f"PRB[{prb.number}]", "problem without code and text", "error")
        if notes:
            reading.note("NTE-3", "comment on a problem without code and text")
        return []
    status: Status = "final"
    if reading.part(prb, 1).upper() in _DELETES:
        status = "deleted"
    elif any(word.upper() in _HYPOTHESES for word in reading.coded(prb, 13).values()):
        status = "preliminary"
    resolved = reading.when(prb, 9)
    established, onset = reading.when(prb, 7), reading.when(prb, 16)
    details: dict[str, Any] = {
        "clinical": "resolved" if resolved else "",
        "abated": resolved.isoformat() if resolved else "",
        "expected_resolution": reading.text(prb, 8),
        "established": established.isoformat() if established else "",
        "onset": reading.text(prb, 17),
        "action": reading.part(prb, 1),
        "problem": reading.order_number(prb.field(4), filler=False),
        "classification": reading.coded(prb, 10),
        "verification": reading.coded(prb, 13),
        "life_cycle": reading.coded(prb, 14),
        "notes": notes,
    }
    return [
        Entry(
            "condition",
            keys.condition(name),
            reading.patient,
            reading.source,
            prb.path(3),
            status,
            concept.code,
            concept.alternates,
            Coded(concept.codings, concept.text),
            onset or established,
            reading.when(prb, 2) or issued,
            details={name: value for name, value in details.items() if value},
        )
    ]
