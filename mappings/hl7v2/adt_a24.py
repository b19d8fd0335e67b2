"""ADT_A24: two patients are linked (A24): each keeps their identifiers, and they are one person.

Source: HL7 v2.5.1 chapter 3.3.24; IHE ITI-30 "Link/Unlink".
"""

from __future__ import annotations

from mappings.errors import NoPatientIdentifier
from mappings.hl7v2 import pid
from mappings.hl7v2.er7 import Segment
from mappings.hl7v2.mrg import Sayings, head, issued
from mappings.hl7v2.reading import Reading
from mappings.record import Entry, Identifier


def entries(reading: Reading) -> list[Entry]:
    """Both patients' demographics, and that they are one.

    Raises:
        NoPatientIdentifier: There are not two PID with an identifier of a known authority each.
    """
    (first, names), (second, others) = both(reading)
    when = issued(reading)
    made = pid.read(reading, first, when, names)
    one = reading.patient
    made += pid.read(reading, second, when, others)
    if one != reading.patient:
        made.append(Sayings(reading, second.path(3), when).one(one, reading.patient, "link"))
    return made


def both(reading: Reading) -> tuple[tuple[Segment, list[Identifier]], ...]:
    """The two PID with their identifiers.

    Raises:
        NoPatientIdentifier: There are not two that name somebody.
    """
    found = []
    for segment in reading.message.segments:
        if segment.name == "PID":
            found.append((segment, list(pid.identifiers(reading, segment))))
        else:
            head(reading, segment)
    for segment, names in found:
        if not names:
            raise NoPatientIdentifier(segment.path(3))
    if len(found) != 2:  # noqa: PLR2004  the structure has two
        raise NoPatientIdentifier("PID")
    return tuple(found)
