"""ORM^O01: general orders, and what their fillers answer of their status.

Each ORC with its OBR (or RXO) is an order; results that come along with a new one (ORC-1 = PR) are
read as results. Also the body of OML^O21 and OMG^O19.
Source: HL7 v2.5.1 chapter 4.4.1; HL7/v2-to-fhir map "ORM_O01".
"""

from __future__ import annotations

from mappings.hl7v2 import orders, patients, results
from mappings.hl7v2.er7 import Segment
from mappings.hl7v2.groups import Group, Grouping
from mappings.hl7v2.reading import Reading
from mappings.record import Entry, When

_PRIOR_RESULTS = "PR"


def entries(reading: Reading) -> list[Entry]:
    """The entries of one order message, patient fields first.

    Raises:
        NoPatientIdentifier: No PID with an identifier of a known authority.
    """
    return patients.read(reading, _body)


def _body(reading: Reading, segments: list[Segment], _issued: When | None) -> list[Entry]:
    grouping = Grouping(beside=orders.BESIDE, details=orders.DETAILS, orc_holds=True)
    for segment in segments:
        if not grouping.take(reading, segment):
            reading.unmapped(segment)
    asked: list[Group] = []
    prior: list[Group] = []
    for group in grouping.groups:
        (prior if _prior(reading, group) else asked).append(group)
    return orders.read(reading, asked) + results.read(reading, prior)


def _prior(reading: Reading, group: Group) -> bool:
    sent = reading.part(group.orc, 1) if group.orc else ""
    return sent.upper() == _PRIOR_RESULTS and bool(group.results)
