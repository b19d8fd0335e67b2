"""ORC with its OBR (or RXO): an order, its status, and what was told with it.

An order is keyed by its filler number, before it has one weakly by its placer number; placer,
filler and accession number stand in the details of orders and results alike, so that an order, its
results and its images can be joined.
Source: HL7 v2.5.1 chapters 4.5.1 (ORC), 4.5.3 (OBR), 4.5.4 (TQ1); tables 0038, 0119, 0485; IHE RAD
TF-2 4.4 (ZDS); HL7/v2-to-fhir "ORC[ServiceRequest]" and "OBR[ServiceRequest]".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from mappings import keys
from mappings.hl7v2 import dg1
from mappings.hl7v2.er7 import Segment
from mappings.hl7v2.groups import Group, specimens
from mappings.hl7v2.obx import Order, observation
from mappings.hl7v2.reading import Concept, Reading
from mappings.record import Coded, Entry, When
from mappings.statuses import Status
from mappings.tables import table

LINKS = {
    "ZDS": {1: "study_instance_uid"},
    "IPC": {1: "accession", 3: "study_instance_uid", 5: "modality"},
}
_ACCESSION = {18: "accession", 20: "accession"}
# What order structures read beside results: timing, reasons, and radiology's numbers.
BESIDE = frozenset({"TQ1", "DG1", "IPC", "ZDS"})
DETAILS = frozenset({"OBR", "RXO"})
_STATUSES: dict[str, Status] = {
    "active": "registered",
    "on-hold": "registered",
    "completed": "final",
    "revoked": "cancelled",
    "entered-in-error": "entered-in-error",
}
# OBR-25 of an order whose results are not in the message.
_BY_RESULTS = {**dict.fromkeys("OISPARM", "active"), **dict.fromkeys("FC", "completed")} | {
    "X": "revoked"
}
_PRIORITIES = {"S": "stat", "A": "asap", "R": "routine"}
READ = {
    "ORC": frozenset({1, 2, 3, 4, 5, 8, 9}),
    "OBR": frozenset({1, 2, 3, 4, 11, 13, 15, 18, 20, 22, 24, 25, 29, 31}),
    "RXO": frozenset({1}),
    "TQ1": frozenset({1}),
    "IPC": frozenset({1, 3, 5}),
    "DG1": frozenset({1, 2, 3, 4}),
    "ZDS": frozenset({1}),
}
_NEW = "NW"
_REFLEX = "G"


def read(reading: Reading, groups: Iterable[Group]) -> list[Entry]:
    """The orders of these groups, each with what was observed when it was placed."""
    made: list[Entry] = []
    for group in groups:
        if group.orc is None and group.obr is None:
            group.unmapped(reading)
        else:
            made.append(entry(reading, group))
        made += supporting(reading, group)
    return made


def entry(reading: Reading, group: Group) -> Entry:
    """One order; where nothing tells its status, a snapshot that overwrites none."""
    placer, filler = group.number(reading, 2, filler=False), group.number(reading, 3, filler=True)
    concept = _service(reading, group.obr)
    state = _state(reading, group)
    control = reading.part(group.orc, 1).upper() if group.orc else ""
    moved = _moved(reading, group)
    details: dict[str, Any] = {
        "status": state,
        "control": control,
        "placer": placer,
        "filler": filler,
        **_details(reading, group),
    }
    if control == _NEW and moved is not None:
        # Only then is it when the order was placed.
        details["authored"] = moved.isoformat()
    timing = _timing(reading, group)
    details["priority"] = timing.priority
    if timing.requested is not None:
        details["requested"] = timing.requested.isoformat()
    name = concept.code.code if concept.code else concept.text
    key = keys.order(placer, filler, name, moved or reading.sent)
    for part in (group.orc, group.obr, *group.beside):
        if part is not None:
            used = {number for name, number in timing.used if name == part.name}
            spare = {22} if part.name == "OBR" and reading.when(part, 22) != moved else set()
            reading.leftovers(part, (read_of(reading, group, part) - spare) | used)
    return Entry(
        "order",
        key if state else f"{key}/snapshot",
        reading.patient,
        reading.source,
        _path(group),
        _STATUSES.get(state, "unknown"),
        concept.code,
        concept.alternates,
        Coded(concept.codings, concept.text) if concept.codings or concept.text else None,
        timing.requested,
        moved or reading.sent,
        keys.order_twin(placer) if state else None,
        {name: value for name, value in details.items() if value},
    )


def _path(group: Group) -> str:
    segment = group.orc or group.obr
    return f"{segment.name}[{segment.number}]" if segment else "ORC"


def _moved(reading: Reading, group: Group) -> When | None:
    """When the order came into this state: ORC-9, else OBR-22."""
    found = reading.when(group.orc, 9) if group.orc else None
    if found is None and group.obr is not None and group.obr.name == "OBR":
        found = reading.when(group.obr, 22)
    return found


def _state(reading: Reading, group: Group) -> str:
    """ORC-5, else ORC-1, else OBR-25; empty where none of them says anything of the status."""
    sent = reading.part(group.obr, 25).upper() if group.obr and group.obr.name == "OBR" else ""
    orc = group.orc
    if orc is None:
        return _BY_RESULTS.get(sent, "")
    status, control = reading.part(orc, 5).upper(), reading.part(orc, 1).upper()
    if status and status not in table("hl70038"):
        reading.note(orc.path(5), "order status says nothing, ORC-1 counts", "information")
    found = table("hl70038").get(status) or table("hl70119").get(control)
    if found is None and sent:
        found = _BY_RESULTS.get(sent)
    elif sent and found != _BY_RESULTS.get(sent) and group.obr is not None:
        reading.note(group.obr.path(25), "ORC says otherwise, and counts", "information")
    if found is None:
        reading.note(orc.path(1), "order control says nothing of the status", "information")
    return found or ""


def _service(reading: Reading, detail: Segment | None) -> Concept:
    if detail is None:
        return Concept(None, (), "")
    return reading.concept(detail.field(1 if detail.name == "RXO" else 4))


def _details(reading: Reading, group: Group) -> dict[str, Any]:
    found: dict[str, Any] = {**links(reading, group), "specimens": specimens(reading, group)}
    orc, obr = group.orc, group.obr
    if orc is not None:
        found["requisition"] = reading.order_number(orc.field(4), filler=False)
        found["parent"] = reading.order_number(orc.field(8), filler=False)
    if obr is not None and obr.name == "OBR":
        found["parent"] = found.get("parent") or reading.order_number(obr.field(29), filler=False)
        found["clinical"] = reading.lines(obr.field(13))
        found["intent"] = "reflex-order" if reading.part(obr, 11).upper() == _REFLEX else ""
    found["reason"] = _reasons(reading, group)
    found["notes"] = group.notes
    return found


def links(reading: Reading, group: Group) -> dict[str, str]:
    """Accession number, section, modality and StudyInstanceUID: what joins an order with images.

    IPC and ZDS say it outright; else OBR-18, OBR-20 or OBR-3 is the accession number, as sites do.
    """
    if group.links is not None:
        return group.links
    found: dict[str, str] = {}
    for segment in group.beside:
        for number, name in LINKS.get(segment.name, {}).items():
            text = reading.part(segment, number)
            if text:
                found.setdefault(name, text)
    obr = group.obr
    if obr is not None and obr.name == "OBR":
        number = next((n for n in (18, 20, 3) if obr.field(n)), 0)
        if number and "accession" not in found:
            found["accession"] = reading.part(obr, number)
        section = reading.part(obr, 24).upper()
        if section:
            found["section"] = section
        if section in MODALITIES:
            found.setdefault("modality", MODALITIES[section])
    group.links = found
    return found


def read_of(reading: Reading, group: Group, segment: Segment) -> frozenset[int]:
    """Fields of a segment that count; those that another one overruled are reported."""
    told = links(reading, group)
    fields = LINKS.get(segment.name, {})
    spare: set[int] = set()
    if segment.name == "OBR":
        fields = _ACCESSION
        spare |= {15} if group.specimens else set()
        spare |= {29} if group.orc is not None and group.orc.field(8) else set()
        # Of the specimen action codes only "reflex" says what kind of order it is.
        spare |= {11} if reading.part(segment, 11).upper() != _REFLEX else set()
    for number, name in fields.items():
        if segment.field(number) and reading.part(segment, number) != told.get(name):
            spare.add(number)
    return READ[segment.name] - spare if spare else READ[segment.name]


# Table 0074 as modalities.
MODALITIES = {
    **{m: m for m in ("CT", "MR", "US", "NM", "PT", "DX", "CR", "MG", "XA", "RF")},
    "MRI": "MR",
    "NMR": "MR",
    "PET": "PT",
    "RUS": "US",
    "CUS": "US",
    "VUS": "US",
    "OUS": "US",
    "NMS": "NM",
}


@dataclass(slots=True)
class _Timing:
    """When it shall be done and how urgently; of several places that say so the first counts."""

    requested: When | None = None
    priority: str = ""
    used: set[tuple[str, int]] = field(default_factory=set)

    def take(
        self, reading: Reading, segment: Segment, start: tuple[int, int], urgent: tuple[int, int]
    ) -> None:
        """Read (field, component) of a start and of a priority; 0 for a segment that has none."""
        text = reading.part(segment, *start)
        if text:
            found = reading.time(text)
            if found is None:
                reading.note(segment.path(start[0]), "not a date or time", "error")
            self.requested = self.requested or found
            if found == self.requested:
                self.used.add((segment.name, start[0]))
        word = reading.part(segment, *urgent) if urgent[0] else ""
        if word:
            found_word = _PRIORITIES.get(word.upper(), word)
            self.priority = self.priority or found_word
            if found_word == self.priority:
                self.used.add((segment.name, urgent[0]))


def _timing(reading: Reading, group: Group) -> _Timing:
    """TQ1, else ORC-7 and OBR-27 (TQ), else OBR-36, else OBR-6 and OBR-5 of the oldest versions."""
    found = _Timing()
    for segment in group.beside:
        if segment.name == "TQ1":
            found.take(reading, segment, (7, 1), (9, 1))
    if group.orc is not None:
        found.take(reading, group.orc, (7, 4), (7, 6))
    if group.obr is not None and group.obr.name == "OBR":
        found.take(reading, group.obr, (27, 4), (27, 6))
        found.take(reading, group.obr, (36, 1), (0, 0))
        found.take(reading, group.obr, (6, 1), (5, 1))
    return found


def _reasons(reading: Reading, group: Group) -> list[dict[str, str]]:
    """OBR-31 and the DG1 below the order: why it was placed, and no diagnosis of the patient."""
    sent = [dg1.reason(reading, s) for s in group.beside if s.name == "DG1"]
    if group.obr is not None and group.obr.name == "OBR":
        parts = reading.message.repetitions(group.obr.field(31))
        sent += [reading.concept(part).stated for part in parts]
    made: list[dict[str, str]] = []
    for reason in sent:
        if reason and reason not in made:
            made.append(reason)
    return made


def supporting(reading: Reading, group: Group) -> list[Entry]:
    """OBX below an order: what was observed or answered when it was placed, and no result of it."""
    placer, filler = group.number(reading, 2, filler=False), group.number(reading, 3, filler=True)
    order = Order(
        filler=f"order {placer or filler}" if placer or filler else "",
        shared={name: v for name, v in (("placer", placer), ("filler", filler)) if v},
        role="supporting",
    )
    found = (observation(reading, order, obx, notes) for obx, notes in group.results)
    return [made for made in found if made is not None]
