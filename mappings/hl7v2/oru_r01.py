"""ORU^R01: unsolicited results, as entries of the patient record.

Laboratory, pathology, radiology and genomic OBX. Orders have structures of their own; only an OBR
without any OBX speaks of its order here.
Source: HL7 v2.5.1 chapter 7.3.1; HL7/v2-to-fhir map "ORU_R01".
"""

from __future__ import annotations

from mappings.hl7v2 import patients, results
from mappings.hl7v2.er7 import Segment
from mappings.hl7v2.groups import Grouping
from mappings.hl7v2.reading import Reading
from mappings.record import Entry, When


def entries(reading: Reading) -> list[Entry]:
    """The entries of one ORU^R01, patient fields first.

    Raises:
        NoPatientIdentifier: No PID with an identifier of a known authority.
    """
    return patients.read(reading, _body)


def _body(reading: Reading, segments: list[Segment], _issued: When | None) -> list[Entry]:
    return read(reading, segments, Grouping())


def read(reading: Reading, segments: list[Segment], grouping: Grouping) -> list[Entry]:
    """The results among these segments; what belongs to no result group is reported."""
    for segment in segments:
        if not grouping.take(reading, segment):
            reading.unmapped(segment)
    return results.read(reading, grouping.groups)
