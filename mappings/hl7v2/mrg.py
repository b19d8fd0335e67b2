"""MRG: patients merged, identifiers and visits moved or renumbered, as `alias` and `move` entries.

PID names who goes on, MRG who was before. A merge moves nothing: it says that two identifiers name
one patient, which `mappings.persons` reads, and which a later message may undo (A37, `adt_a37`).
Source: HL7 v2.5.1 chapters 3.3.18, 3.3.30 to 3.3.51, 3.4.9 (MRG) and 3.6.2; v2.3 chapter 3.2.43;
the guide v2-to-FHIR has no map for these.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from mappings.errors import BadField, NoPatientIdentifier, UnmappedStructure
from mappings.hl7v2 import encounter, pid
from mappings.hl7v2.er7 import Segment
from mappings.hl7v2.patients import MSH_READ, evn
from mappings.hl7v2.reading import Reading
from mappings.record import Entry, Identifier, Kind, When
from mappings.statuses import Status

# What an event says of the identifiers of MRG: they name the patient of PID, or do so from now on.
_MERGES = frozenset({"A18", "A30", "A34", "A36", "A39", "A40"})
_CHANGES = frozenset({"A46", "A47", "A48"})
_MOVE = "A43"
# What it says of a number below them: whose that visit or account is now, and how it is numbered.
_SCOPES: dict[str, Literal["visit", "account"]] = {
    "A35": "account",
    "A36": "account",
    "A41": "account",
    "A44": "account",
    "A49": "account",
    "A42": "visit",
    "A45": "visit",
    "A50": "visit",
}
_NUMBER_IN_MRG = {"account": 3, "visit": 5}
_NAMES_IN_MRG = (1, 4, 2)
_EVN = frozenset({1, 2})


@dataclass(slots=True)
class Group:
    """One patient who goes on, what was before, and the visit below."""

    pid: Segment
    mrg: Segment
    pv1: Segment | None = None


@dataclass(slots=True)
class Sayings:
    """Makes what one segment says of identifiers into entries."""

    reading: Reading
    path: str
    when: When | None

    def one(self, patient: Identifier, other: Identifier, says: str, **details: Any) -> Entry:
        """Both name one patient."""
        return self._entry("alias", "alias", patient, other, {"says": says, **details})

    def apart(
        self, names: Iterable[Identifier], others: Iterable[Identifier], says: str
    ) -> list[Entry]:
        """None of the others names a patient whom one of the names does: a retraction."""
        there = list(others)
        return [
            self._entry("alias", "alias", name, other, {"says": says}, "entered-in-error")
            for name in names
            for other in there
        ]

    def moved(
        self, patient: Identifier, left: Identifier, scope: str, number: str, becomes: str
    ) -> Entry:
        """A visit or account of one patient is another's, or has another number."""
        details = {
            "says": "move",
            "scope": scope,
            "number": number,
            "becomes": becomes,
            "to": str(patient),
        }
        return self._entry("move", f"move/{scope} {number}", patient, left, details)

    def _entry(
        self,
        kind: Kind,
        key: str,
        patient: Identifier,
        other: Identifier,
        details: dict[str, Any],
        status: Status = "final",
    ) -> Entry:
        return Entry(
            kind,
            f"{key}/{other}",
            patient,
            self.reading.source,
            self.path,
            status,
            value=other,
            source_time=self.when,
            details=details,
        )


def entries(reading: Reading) -> list[Entry]:
    """The entries of one message with MRG.

    Raises:
        NoPatientIdentifier: PID or MRG has no identifier of a known authority.
        BadField: PID names nobody besides those whom MRG names.
        UnmappedStructure: An event that says nothing of whose an entry is (A51).
    """
    event = reading.event
    if event not in _MERGES | _CHANGES | _SCOPES.keys() | {_MOVE}:
        raise UnmappedStructure(f"ADT^{event}" if event.isalnum() else "this event")
    when = issued(reading)
    made: list[Entry] = []
    read: Segment | None = None
    there: list[Identifier] = []
    for group in _groups(reading):
        prior = pid.identifiers(reading, group.mrg, _NAMES_IN_MRG)
        if not prior:
            raise NoPatientIdentifier(group.mrg.path(1))
        if group.pid is not read:
            read, there = group.pid, list(pid.identifiers(reading, group.pid))
            made += pid.read(reading, group.pid, when, _goes_on(group, event, there, prior))
        made += _said(reading, group, event, there, prior, when)
        if group.pv1 is not None:
            made += encounter.read(reading, group.pv1, event, when)
    return made


def issued(reading: Reading) -> When | None:
    """When the sender recorded it (EVN-2), else when it happened (EVN-6), else MSH-7."""
    evn = reading.message.first("EVN")
    found = (reading.when(evn, 2) or reading.when(evn, 6)) if evn else None
    return reading.finer(found) or reading.sent


def head(reading: Reading, segment: Segment) -> None:
    """MSH and EVN, as far as they are not read; whatever else stands beside the patients."""
    if segment.name == "MSH":
        reading.leftovers(segment, MSH_READ)
    elif segment.name == "EVN":
        # EVN-6 counts where there is no EVN-2, and is no news where both say the same.
        recorded = reading.time(segment.field(2))
        same = recorded in (None, reading.time(segment.field(6)))
        evn(reading, segment, _EVN | {6} if same else _EVN)
    else:
        reading.unmapped(segment)


def _groups(reading: Reading) -> list[Group]:
    """Each MRG with the PID before it and the PV1 after it."""
    found: list[Group] = []
    person: Segment | None = None
    read: set[int] = set()
    for segment in reading.message.segments:
        match segment.name:
            case "PID":
                person = segment
            case "MRG" if person is not None:
                found.append(Group(person, segment))
                read.add(person.number)
            case "PV1" if found and found[-1].pv1 is None:
                found[-1].pv1 = segment
            case _:
                head(reading, segment)
    if not found:
        raise NoPatientIdentifier("MRG")
    for pid_segment in reading.message.all("PID"):
        if pid_segment.number not in read:
            reading.note(f"PID[{pid_segment.number}]", "no MRG says who was before", "error")
    return found


def _goes_on(
    group: Group, event: str, there: list[Identifier], prior: tuple[Identifier, ...]
) -> list[Identifier]:
    """Identifiers of PID under which it goes on: those of MRG, which some repeat there, are not."""
    if event not in _MERGES | _CHANGES | {_MOVE}:
        return there
    kept = [name for name in there if name not in prior]
    if there and not kept:
        raise BadField(group.pid.path(3), "an identifier besides those of MRG")
    return kept


def _said(
    reading: Reading,
    group: Group,
    event: str,
    there: list[Identifier],
    prior: tuple[Identifier, ...],
    when: When | None,
) -> list[Entry]:
    """What the event says of the identifiers and numbers of MRG."""
    says, patient = Sayings(reading, group.mrg.path(1), when), reading.patient
    mapped = set(_NAMES_IN_MRG)
    made: list[Entry] = []
    if event in _MERGES | _CHANGES:
        word = "merge" if event in _MERGES else "change"
        made = [says.one(patient, name, word) for name in prior]
    elif event == _MOVE:
        moved = [name for name in prior if name in there] or list(prior)
        left = [name for name in prior if name not in moved]
        made = [says.one(patient, name, "move", moved=str(name)) for name in moved]
        made += says.apart(moved, left, "move")
    if event in _SCOPES:
        scope = _SCOPES[event]
        at = _NUMBER_IN_MRG[scope]
        mapped.add(at)
        becomes = _number_now(reading, group, scope)
        number = pid.visit_number(reading, group.mrg.field(at)) or becomes
        # A merge's account is renumbered within the patient: to undo the merge undoes all.
        same = event in _MERGES or all(name in there for name in prior)
        if not number:
            reading.note(group.mrg.path(at), f"no number says which {scope} it is", "error")
        elif not same or becomes not in ("", number):
            whose = patient if same else next(name for name in prior if name not in there)
            made.append(says.moved(patient, whose, scope, number, becomes or number))
    reading.leftovers(group.mrg, mapped)
    return made


def _number_now(reading: Reading, group: Group, scope: str) -> str:
    if scope == "account":
        return pid.visit_number(reading, group.pid.field(18))
    return pid.visit_number(reading, group.pv1.field(19)) if group.pv1 else ""
