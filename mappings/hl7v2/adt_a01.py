"""ADT_A01: admit, register, update and cancel discharge (A01, A04, A08, A13).

Demographics, the visit, diagnoses, procedures and observations. Allergies, insurance and next of
kin are reported as unmapped; merges live in their own structures.
Source: HL7 v2.5.1 chapter 3.3.1; HL7/v2-to-fhir map "ADT_A01".
"""

from __future__ import annotations

from mappings.hl7v2 import dg1, encounter, patients, pr1, results
from mappings.hl7v2.er7 import Segment
from mappings.hl7v2.groups import Grouping
from mappings.hl7v2.reading import Reading
from mappings.record import Entry, When


def entries(reading: Reading) -> list[Entry]:
    """The entries of one admission message.

    Raises:
        NoPatientIdentifier: No PID with an identifier of a known authority.
    """
    return patients.read(reading, _body)


def _body(reading: Reading, segments: list[Segment], issued: When | None) -> list[Entry]:
    event = reading.event
    grouping = Grouping()
    visit = ""
    made: list[Entry] = []
    diagnoses: list[Segment] = []
    for segment in segments:
        if grouping.take(reading, segment):
            continue
        match segment.name:
            case "PV1":
                visit = encounter.visit(reading, segment)
                made += encounter.read(reading, segment, event, issued)
            case "DG1":
                diagnoses.append(segment)
            case "PR1":
                made += pr1.read(reading, segment, issued)
            case _:
                reading.unmapped(segment)
    made += dg1.read(reading, diagnoses, visit, issued)
    return made + results.read(reading, grouping.groups)
