"""ADT_A01: admit, register, update and cancel discharge (A01, A04, A08, A13).

Demographics, the visit and diagnoses. Allergies, insurance and next of kin are reported as
unmapped; merges live in their own structures.
Source: HL7 v2.5.1 chapter 3.3.1; HL7/v2-to-fhir map "ADT_A01".
"""

from __future__ import annotations

from mappings.hl7v2 import dg1, encounter, pid
from mappings.hl7v2.reading import Reading
from mappings.record import Entry

_SILENT = frozenset({"MSH", "EVN"})


def entries(reading: Reading) -> list[Entry]:
    """The entries of one admission message.

    Raises:
        NoPatientIdentifier: No PID with an identifier of a known authority.
    """
    evn = reading.message.first("EVN")
    # EVN-2 is when the sender recorded it; MSH-7 is restamped when an engine sends it again.
    issued = (reading.when(evn, 2) if evn else None) or reading.sent
    event = reading.part(reading.message.segments[0], 9, 2).upper()
    made: list[Entry] = []
    for segment in reading.message.segments:
        match segment.name:
            case "PID":
                made += pid.read(reading, segment, issued)
            case "PV1":
                reading.named(segment.path(19))
                made += encounter.read(reading, segment, event, issued)
            case "DG1":
                reading.named(segment.path(3))
                made += dg1.read(reading, segment, issued)
            case name if name not in _SILENT:
                reading.unmapped(segment)
    reading.named("PID")
    return made
