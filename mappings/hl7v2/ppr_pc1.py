"""PPR^PC1 to PC3: problems added, updated and deleted.

Observations and orders below a problem are read as in results and orders; goals, pathways and roles
are reported as unmapped.
Source: HL7 v2.5.1 chapter 12.3.1.
"""

from __future__ import annotations

from mappings.hl7v2 import orders, patients, prb, results
from mappings.hl7v2.er7 import Segment
from mappings.hl7v2.groups import Grouping
from mappings.hl7v2.reading import Reading
from mappings.record import Entry, When

_NTE_READ = frozenset({1, 3})


def entries(reading: Reading) -> list[Entry]:
    """The entries of one problem message.

    Raises:
        NoPatientIdentifier: No PID with an identifier of a known authority.
    """
    return patients.read(reading, _body)


def _body(reading: Reading, segments: list[Segment], issued: When | None) -> list[Entry]:
    grouping = Grouping(beside=orders.BESIDE, details=orders.DETAILS)
    problems: list[tuple[Segment, list[str]]] = []
    of_problem = False
    for segment in segments:
        if segment.name == "PRB":
            problems.append((segment, []))
            of_problem = True
        elif segment.name == "NTE" and of_problem:
            reading.leftovers(segment, _NTE_READ)
            problems[-1][1].append(reading.lines(segment.field(3)))
        else:
            of_problem = False
            if not grouping.take(reading, segment):
                reading.unmapped(segment)
    made = [e for segment, notes in problems for e in prb.read(reading, segment, notes, issued)]
    observed = [group for group in grouping.groups if group.orc is None and group.obr is None]
    asked = [group for group in grouping.groups if group.orc is not None or group.obr is not None]
    return made + results.read(reading, observed) + orders.read(reading, asked)
