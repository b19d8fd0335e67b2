"""Patient groups: each PID of a message with the segments that belong to that patient.

Every structure but the merges reads its segments through here, so that none of them can file a
segment under a person who was not named yet. What the segments mean is the structures' business.
Source: HL7 v2.5.1 chapter 2.5.2 and the PATIENT groups of chapters 3, 4, 6, 7, 9, 10.
"""

from __future__ import annotations

from collections.abc import Callable

from mappings.errors import NoPatientIdentifier
from mappings.hl7v2 import pid
from mappings.hl7v2.er7 import Segment
from mappings.hl7v2.facts import distinct
from mappings.hl7v2.reading import Reading
from mappings.record import Entry, Text, When

Body = Callable[[Reading, list[Segment], When | None], list[Entry]]

# What the door and the reader have used of these two before a structure is asked.
MSH_READ = frozenset({1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 15, 16, 18})
_EVN = frozenset({1, 2})
_NTE = frozenset({1, 3})
# These speak of one appointment with several patients; anything else before the first of several
# PIDs could be anybody's.
_OF_ALL = frozenset({"SCH"})
_OF_SOMEBODY = frozenset(
    {"PV1", "DG1", "PR1", "PRB", "ORC", "OBR", "OBX", "RXO", "SPM", "TQ1", "ZDS", "IPC", "TXA"}
    | {"AIS", "AIG", "AIL", "AIP", "RXA", "RXR", "RGS"}
)


def read(reading: Reading, body: Body) -> list[Entry]:
    """The entries of each patient of the message, demographics first.

    Args:
        reading: The message.
        body: Reads the segments below a PID; it is told when the sender knew them.

    Raises:
        NoPatientIdentifier: No PID, one without an identifier of a known authority, or clinical
            segments before the first of several.
    """
    segments = reading.message.segments
    starts = [at for at, segment in enumerate(segments) if segment.name == "PID"]
    if not starts:
        raise NoPatientIdentifier("PID")
    lead = _head(reading, segments[: starts[0]], alone=len(starts) == 1)
    issued = _issued(reading)
    made: list[Entry] = []
    for at, end in zip(starts, [*starts[1:], len(segments)], strict=True):
        found = pid.read(reading, segments[at], issued)
        below = segments[at + 1 : end]
        found += _notes(reading, below, issued)
        clinical = body(reading, [*lead, *below], issued)
        if reading.source.account and not clinical:
            reading.note(
                segments[at].path(18), "nothing here belongs to the account", "information"
            )
        found += clinical
        lead = [segment for segment in lead if segment.name in _OF_ALL]
        made += found
    return distinct(reading, made, alone=len(starts) == 1)


def _head(reading: Reading, head: list[Segment], *, alone: bool) -> list[Segment]:
    """What stands before the first PID, MSH and EVN aside."""
    lead = []
    for segment in head:
        if segment.name == "MSH":
            reading.leftovers(segment, MSH_READ)
        elif segment.name == "EVN":
            evn(reading, segment, _EVN)
        elif alone or segment.name in _OF_ALL:
            lead.append(segment)
        elif segment.name in _OF_SOMEBODY:
            raise NoPatientIdentifier(f"{segment.name}[{segment.number}]")
        else:
            reading.unmapped(segment)
    return lead


def evn(reading: Reading, segment: Segment, mapped: frozenset[int]) -> None:
    """EVN, as far as it is not read; EVN-1 repeats MSH-9.2, and is reported where it does not."""
    sent = {reading.part(segment, 1, n).strip().upper() for n in (1, 2)} - {""}
    if sent and reading.event not in sent:
        reading.note(segment.path(1), "disagrees with MSH-9.2, which counts")
    reading.leftovers(segment, mapped)


def _issued(reading: Reading) -> When | None:
    """EVN-2 is when the sender recorded it; MSH-7 is restamped when an engine sends it again."""
    evn = reading.message.first("EVN")
    return reading.finer(reading.when(evn, 2) if evn else None) or reading.sent


def _notes(reading: Reading, below: list[Segment], issued: When | None) -> list[Entry]:
    """NTE right below PID speak of the patient; they are taken out of what is below."""
    notes = []
    while below and below[0].name == "NTE":
        notes.append(below.pop(0))
        reading.leftovers(notes[-1], _NTE)
    text = "\n".join(reading.lines(note.field(3)) for note in notes)
    if not text:
        return []
    path = notes[0].path(3)
    return [
        Entry(
            "patient",
            "patient/note",
            reading.patient,
            reading.source,
            path,
            value=Text(text),
            source_time=issued,
        )
    ]
