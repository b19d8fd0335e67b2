"""VXU^V04: vaccinations, as history: they never trigger anything, whenever they come.

Source: HL7 v2.5.1 chapters 4.17.1, 4.14.7 (RXA), 4.14.2 (RXR); tables 0322, 0323; HL7/v2-to-fhir
map "VXU_V04".
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mappings import keys
from mappings.hl7v2 import orders, patients
from mappings.hl7v2.er7 import Segment
from mappings.hl7v2.groups import Group, Grouping
from mappings.hl7v2.reading import Reading
from mappings.record import Coded, Entry, When
from mappings.statuses import Status

# Table 0322: PA is a part of the dose, RE refused, NA not given.
_COMPLETION: dict[str, Status] = {
    "CP": "final",
    "PA": "final",
    "RE": "cancelled",
    "NA": "cancelled",
    "": "final",
}
_RXA = frozenset({1, 2, 3, 5, 6, 7, 15, 17, 18, 20, 21})
_RXR = frozenset({1, 2})
_ORC = frozenset({2, 3})
_HISTORY = "RE"
# RXA-6 where nobody knows how much was given (v2.5.1 4.14.7.6).
_UNKNOWN_DOSE = "999"


def entries(reading: Reading) -> list[Entry]:
    """The entries of one vaccination message.

    Raises:
        NoPatientIdentifier: No PID with an identifier of a known authority.
    """
    return patients.read(reading, _body)


def _body(reading: Reading, segments: list[Segment], issued: When | None) -> list[Entry]:
    """Each RXA is a group; its OBX stand by it, and are no results."""
    grouping = Grouping(beside=frozenset({"RXR"}), details=frozenset({"RXA"}))
    for segment in segments:
        if not grouping.take(reading, segment):
            reading.unmapped(segment)
    made: list[Entry] = []
    for group in grouping.groups:
        if group.obr is not None:
            made.append(_given(reading, group, group.obr, issued))
        else:
            group.unmapped(reading)
        made += orders.supporting(reading, group)
    # Site rule 3: what is told of the past starts nothing.
    history = replace(reading.source, origin="history")
    return [replace(entry, source=history) for entry in made]


def _given(reading: Reading, group: Group, rxa: Segment, issued: When | None) -> Entry:
    """One vaccination, known by its filler number, else by vaccine and time."""
    concept = reading.concept(rxa.field(5))
    name = concept.code.code if concept.code else concept.text
    if not name:
        reading.note(rxa.path(5), "RXA-5 is empty: nothing says what was given", "error")
    given = reading.when(rxa, 3)
    sent = reading.part(rxa, 20).upper()
    status = _COMPLETION.get(sent, "unknown")
    if reading.part(rxa, 21).upper() == "D":
        status = "deleted"
    routes = [segment for segment in group.beside if segment.name == "RXR"]
    details: dict[str, Any] = {
        "status": sent,
        "dose": _dose(reading, rxa),
        "unit": reading.coded(rxa, 7),
        "lot": reading.text(rxa, 15),
        "manufacturer": reading.coded(rxa, 17),
        "refused_for": reading.coded(rxa, 18),
        "route": [route for rxr in routes if (route := reading.coded(rxr, 1))],
        "site": [site for rxr in routes if (site := reading.coded(rxr, 2))],
        "placer": group.number(reading, 2, filler=False),
        "filler": group.number(reading, 3, filler=True),
        "notes": group.notes,
    }
    reading.leftovers(rxa, _RXA)
    for segment in routes:
        reading.leftovers(segment, _RXR)
    if group.orc is not None:
        control = {1} if reading.part(group.orc, 1).upper() == _HISTORY else set()
        reading.leftovers(group.orc, _ORC | control)
    return Entry(
        "immunization",
        keys.immunization(name, details["filler"], given),
        reading.patient,
        reading.source,
        rxa.path(5),
        status,
        concept.code,
        concept.alternates,
        Coded(concept.codings, concept.text) if name else None,
        given,
        issued,
        details={name: value for name, value in details.items() if value},
    )


def _dose(reading: Reading, rxa: Segment) -> str:
    sent = reading.text(rxa, 6)
    if sent.strip() != _UNKNOWN_DOSE:
        return sent
    reading.note(rxa.path(6), "999: nobody knows how much was given", "information")
    return ""
