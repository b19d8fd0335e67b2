"""OUL^R24: results by order, each with its specimens.

Source: HL7 v2.5.1 chapter 7.3.6.
"""

from __future__ import annotations

from mappings.hl7v2 import oru_r01, patients
from mappings.hl7v2.er7 import Segment
from mappings.hl7v2.groups import Grouping
from mappings.hl7v2.reading import Reading
from mappings.record import Entry, When


def entries(reading: Reading) -> list[Entry]:
    """The entries of one OUL^R24, patient fields first.

    Raises:
        NoPatientIdentifier: No PID with an identifier of a known authority.
    """
    return patients.read(reading, _body)


def _body(reading: Reading, segments: list[Segment], _issued: When | None) -> list[Entry]:
    return oru_r01.read(reading, segments, Grouping(orc_behind=True))
