"""OBR and what stands below it: results as observations, or as one narrative report.

Used by every structure that carries results (ORU, OUL, ADT). Values of single OBX are in `obx`,
reports in `reports`, which segments belong together in `groups`.
Source: HL7 v2.5.1 chapters 7.3.1, 7.4.1; tables 0074, 0123; v2-to-FHIR "OBR[DiagnosticReport]".
"""

from __future__ import annotations

from collections.abc import Iterable

from mappings.hl7v2 import orders, reports
from mappings.hl7v2.groups import Group, collected, shared, sub_groups
from mappings.hl7v2.obx import Order, observation
from mappings.hl7v2.reading import Reading
from mappings.record import Entry
from mappings.statuses import Status
from mappings.tables import table

_STATUSES: dict[str, Status] = table("hl70123")  # type: ignore[assignment]  # rows checked by test
_OBR_READ = frozenset({1, 2, 3, 4, 7, 8, 15, 18, 20, 22, 24, 25, 26, 29, 50})
_ORC_READ = frozenset({2, 3})
_FOLLOWS = "RE"  # ORC-1 of results: they are in the message


def read(reading: Reading, groups: Iterable[Group]) -> list[Entry]:
    """The entries of result groups: a report where the lines are prose, else observations."""
    made: list[Entry] = []
    for group in groups:
        if group.results:
            made += _results(reading, group)
        elif group.obr is None and group.orc is None:
            group.unmapped(reading)
        elif group.notes and reports.is_narrative(reading, group):
            # Some systems send the whole report as comments on its order.
            order = _order(reading, group)
            made.append(reports.report(reading, group, order, (), ()))
            _leftovers(reading, group)
        else:
            # Nothing was found yet, or never will be: the message tells of the order alone.
            made.append(orders.entry(reading, group))
    return made


def _results(reading: Reading, group: Group) -> list[Entry]:
    order = _order(reading, group)
    prose = reports.lines(reading, group)
    facts = reports.answers(reading, group, prose) if prose else frozenset()
    made: list[Entry] = []
    if prose:
        made.append(reports.report(reading, group, order, prose, facts))
    for obx, notes in group.results:
        if obx.number in prose and obx.number not in facts:
            continue
        role = "specimen" if obx.number in group.of_specimen else ""
        entry = observation(reading, order, obx, notes, role)
        if entry is not None:
            made.append(entry)
    if made:
        # OBX-14 of every line says otherwise than OBR-7.
        overruled = all(entry.effective != order.effective for entry in made)
        _leftovers(reading, group, spare=frozenset({7}) if overruled else frozenset())
    else:
        group.unmapped(reading)
    return made


def _order(reading: Reading, group: Group) -> Order:
    obr = group.obr
    told = shared(reading, group) | orders.links(reading, group)
    if obr is not None and not (obr.field(18) or obr.field(20) or group.beside):
        # The filler's number, for want of a better one: it stands there already.
        told.pop("accession", None)
    effective = reading.when(obr, 7) if obr else None
    if effective is None:
        effective = collected(reading, group)
    issued = reading.when(obr, 22) if obr else None
    status = None
    if obr is not None:
        sent = obr.field(25)
        status = _STATUSES.get(sent) or _STATUSES.get(sent.strip().upper())
        if sent and status is None:
            reading.note(obr.path(25), "status is not in table 0123 as a result", "error")
        elif not sent:
            reading.note(obr.path(25), "result status is missing", "error")
    return Order(
        told.get("filler", ""),
        effective,
        issued,
        status,
        told,
        sub_groups(reading, group),
    )


def _leftovers(reading: Reading, group: Group, spare: frozenset[int] = frozenset()) -> None:
    if group.obr is not None:
        mapped = orders.read_of(reading, group, group.obr)
        if mapped is not orders.READ["OBR"]:
            spare |= orders.READ["OBR"] - mapped - {29}
        reading.leftovers(group.obr, _OBR_READ - spare if spare else _OBR_READ)
    if group.orc is not None:
        control = {1} if reading.part(group.orc, 1).upper() == _FOLLOWS else set()
        reading.leftovers(group.orc, _ORC_READ | control)
    for segment in group.beside:
        if segment.name in orders.LINKS:
            reading.leftovers(segment, orders.read_of(reading, group, segment))
        else:
            reading.unmapped(segment)
