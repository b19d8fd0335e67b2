"""DG1: diagnoses that travel with ADT, as conditions.

Without action codes (DG1-21) the diagnoses of a message are a snapshot: they take the place of
those that the same sender told of the same visit before (`record` folds them so). A visit that
cannot be named has no set: its diagnoses are added and never taken away.
Source: HL7 v2.5.1 chapters 2.10.4, 6.5.2; tables 0052, 0206; v2-to-fhir "DG1[Condition]".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mappings import keys
from mappings.codes import LOCAL, system_uri
from mappings.hl7v2.er7 import DELETE, Segment
from mappings.hl7v2.reading import Concept, Reading
from mappings.record import Code, Coded, Entry, When
from mappings.statuses import Status

_MAPPED = frozenset({1, 2, 3, 4, 5, 6, 15, 19, 21})
_UNCHANGED = "X"


def read(
    reading: Reading, segments: Sequence[Segment], visit: str, issued: When | None
) -> list[Entry]:
    """The diagnoses of one message; the same code of one patient is one condition.

    Args:
        reading: The message.
        segments: All its DG1.
        visit: Key of the visit they belong to; empty when it is not known.
        issued: When the sender knew them.
    """
    by_action = any(dg1.field(21) for dg1 in segments)
    told = f"{reading.part(reading.message.segments[0], 3)} {visit}" if visit else ""
    made = []
    for dg1 in segments:
        reading.leftovers(dg1, _mapped(reading, dg1))
        if not by_action and dg1.field(3) == DELETE and told:
            made.append(_emptied(reading, dg1, told, issued))
            continue
        entry = _condition(reading, dg1, issued, "" if by_action else told)
        if entry is not None:
            made.append(entry)
    if segments and not by_action and not visit:
        reading.note("DG1", "no visit is named: they replace no earlier diagnoses", "information")
    return made


def _condition(reading: Reading, dg1: Segment, issued: When | None, told: str) -> Entry | None:
    concept = coded(reading, dg1)
    name = concept.code.code if concept.code else concept.text
    if not name:
        reading.note(f"DG1[{dg1.number}]", "diagnosis without code and text", "error")
        return None
    action = reading.part(dg1, 21).upper()
    if action == _UNCHANGED:
        reading.note(f"DG1[{dg1.number}]", "DG1-21 says nothing changed", "information")
        return None
    status: Status = "deleted" if action == "D" else "final"
    kind = reading.part(dg1, 6)
    if kind in ("A", "W") and status == "final":
        # Admitting and working diagnoses are hypotheses.
        status = "preliminary"
    attested = reading.when(dg1, 19)
    details: dict[str, Any] = {
        "type": kind,
        "rank": reading.part(dg1, 15),
        "description": described if (described := reading.text(dg1, 4)) != concept.text else "",
        "attested": attested.isoformat() if attested else "",
        "set": told,
    }
    return Entry(
        "condition",
        keys.condition(name),
        reading.patient,
        reading.source,
        dg1.path(3),
        status,
        concept.code,
        concept.alternates,
        Coded(concept.codings, concept.text),
        reading.when(dg1, 5),
        issued,
        details={name: value for name, value in details.items() if value},
    )


def coded(reading: Reading, dg1: Segment) -> Concept:
    """DG1-3 with DG1-4 as its words; DG1-2 names the coding system where DG1-3.3 does not."""
    concept = reading.concept(dg1.field(3)) if dg1.field(3) != DELETE else Concept(None, (), "")
    text = concept.text or reading.text(dg1, 4)
    code, method = concept.code, reading.part(dg1, 2)
    if code is not None and code.system == f"{LOCAL}L" and method:
        code = Code(system_uri(method), code.code, code.display or text)
    return Concept(code, concept.alternates, text)


def _mapped(reading: Reading, dg1: Segment) -> frozenset[int]:
    """Fields that count: DG1-2 does not where DG1-3.3 names another coding system."""
    system = reading.part(dg1, 3, 3)
    other = system and system_uri(system) != system_uri(reading.part(dg1, 2))
    return _MAPPED - {2} if other else _MAPPED


def reason(reading: Reading, dg1: Segment) -> dict[str, str]:
    """A diagnosis for which something was ordered or booked, for an entry's details."""
    found, described = coded(reading, dg1).stated, reading.text(dg1, 4)
    return (
        {**found, "description": described} if described not in ("", found.get("text")) else found
    )


def _emptied(reading: Reading, dg1: Segment, told: str, issued: When | None) -> Entry:
    """`""` in DG1-3: there are no diagnoses any more. It counts as the newest word of its set."""
    return Entry(
        "condition",
        "condition/none",
        reading.patient,
        reading.source,
        dg1.path(3),
        "deleted",
        source_time=issued,
        details={"set": told},
    )
