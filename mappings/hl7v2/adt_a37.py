"""ADT_A37: two patients are unlinked (A37): what made them one (A24, A40 …) holds no longer.

A retraction of that alias, whether or not it ever came. Source: HL7 v2.5.1 chapter 3.3.37.
"""

from __future__ import annotations

from mappings.errors import BadField
from mappings.hl7v2 import pid
from mappings.hl7v2.adt_a24 import both
from mappings.hl7v2.mrg import Sayings, issued
from mappings.hl7v2.reading import Reading
from mappings.record import Entry


def entries(reading: Reading) -> list[Entry]:
    """Both patients' demographics, and that they are two.

    Raises:
        NoPatientIdentifier: There are not two PID with an identifier of a known authority each.
        BadField: A PID has no identifier that is not the other's, too.
    """
    (first, names), (second, others) = both(reading)
    # What both lists hold cannot tell them apart, and must not be said to name either.
    one, two = [n for n in names if n not in others], [n for n in others if n not in names]
    for segment, kept in ((first, one), (second, two)):
        if not kept:
            raise BadField(segment.path(3), "an identifier that the other patient does not have")
    when = issued(reading)
    made = pid.read(reading, first, when, one) + pid.read(reading, second, when, two)
    return made + Sayings(reading, second.path(3), when).apart(one, two, "unlink")
