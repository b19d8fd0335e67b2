"""MDM_T02: a document with its content (T02, T04, T06, T08, T10).

FT and TX become one report; encapsulated documents are kept by digest. What the events mean is in
`documents`.
Source: HL7 v2.5.1 chapter 9.5; HL7/v2-to-fhir map "MDM_T02".
"""

from __future__ import annotations

from mappings.hl7v2 import documents, patients, results
from mappings.hl7v2.er7 import Segment
from mappings.hl7v2.groups import Grouping
from mappings.hl7v2.reading import Reading
from mappings.record import Entry, When


def entries(reading: Reading) -> list[Entry]:
    """The entries of one document message.

    Raises:
        NoPatientIdentifier: No PID with an identifier of a known authority.
    """
    return patients.read(reading, _body)


def _body(reading: Reading, segments: list[Segment], issued: When | None) -> list[Entry]:
    grouping = Grouping()
    txa: Segment | None = None
    for segment in segments:
        if grouping.take(reading, segment):
            continue
        if segment.name == "TXA" and txa is None:
            txa = segment
        else:
            reading.unmapped(segment)
    if txa is None:
        reading.note("TXA", "no TXA: read as results", "error")
        return results.read(reading, grouping.groups)
    return documents.read(reading, txa, grouping.groups, issued)
