"""MDM_T02: a document with its content (T02, T04, T06, T08, T10).

FT and TX become one report; encapsulated documents are kept by digest. Notifications without
content (MDM_T01) are another structure.
Source: HL7 v2.5.1 chapter 9.5; tables 0270, 0271, 0273; HL7/v2-to-fhir map "MDM_T02".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mappings import keys
from mappings.codes import LOCAL, LOINC
from mappings.hl7v2 import pid, results
from mappings.hl7v2.attachments import encapsulated, pointer
from mappings.hl7v2.er7 import Segment
from mappings.hl7v2.reading import Concept, Reading
from mappings.record import Code, Entry, Kind, Status, Text, Value, When
from mappings.tables import table

_SILENT = frozenset({"MSH", "EVN", "ORC", "PV1"})
_COMPLETION: dict[str, Status] = table("hl70271")  # type: ignore[assignment]  # rows checked by test
_EVENT_STATUS: dict[str, Status] = {"T06": "appended", "T08": "amended", "T10": "corrected"}
_MAPPED = frozenset({1, 2, 3, 4, 6, 7, 8, 12, 13, 14, 15, 16, 17, 19, 22, 25})
_BINARY = frozenset({"ED", "RP"})
_OBX: dict[str, Status] = table("hl70085")  # type: ignore[assignment]  # rows checked by test
_WITHDRAWN = frozenset({"D", "W"})
_TABLE_0270 = "http://terminology.hl7.org/CodeSystem/v2-0270"


def entries(reading: Reading) -> list[Entry]:
    """The entries of one document message.

    Raises:
        NoPatientIdentifier: No PID with an identifier of a known authority.
    """
    made: list[Entry] = []
    grouping = results.Grouping()
    txa: Segment | None = None
    for segment in reading.message.segments:
        match segment.name:
            case "PID":
                made += pid.read(reading, segment, reading.sent)
            case "TXA":
                txa = txa or segment
            case name if not grouping.take(reading, segment) and name not in _SILENT:
                reading.unmapped(segment)
    reading.named("PID")
    if txa is None:
        reading.note("TXA", "no TXA: read as results", "error")
        return made + results.read(reading, grouping.groups)
    return made + _document(reading, txa, grouping.groups)


@dataclass(slots=True)
class _Document:
    """What TXA says of all the content below it."""

    number: str
    filler: str
    concept: Concept
    status: Status
    effective: When | None
    issued: When | None
    details: dict[str, Any]

    @property
    def name(self) -> str:
        return self.concept.code.code if self.concept.code else self.concept.text

    def entry(
        self, reading: Reading, kind: Kind, key: str, path: str, value: Value | None
    ) -> Entry:
        return Entry(
            kind,
            key,
            reading.patient,
            reading.source,
            path,
            self.status,
            self.concept.code,
            self.concept.alternates,
            value,
            self.effective,
            self.issued,
            keys.report_twin(self.name, self.effective) if kind == "report" else None,
            self.details,
        )


def _document(reading: Reading, txa: Segment, groups: list[results.Group]) -> list[Entry]:
    """The report and the attachments of TXA and all OBX of the message."""
    found = [pair for group in groups for pair in group.results]
    prose = [(segment, notes) for segment, notes in found if segment.field(2) not in _BINARY]
    document = _read(reading, txa, groups)
    made: list[Entry] = []
    for at, segment in enumerate((s for s, _ in found if s.field(2) in _BINARY), 1):
        key = f"document/{document.number or document.filler or document.name}/{at}"
        made.append(
            document.entry(reading, "document", key, segment.path(5), _attachment(reading, segment))
        )
    if prose:
        body = results.narrative(reading, prose)
        key = keys.report(
            document.name,
            document.filler or document.number,
            document.effective,
            document.issued,
        )
        value = Text(body["text"]) if body["text"] else None
        written = replace(document, details={**document.details, **body})
        made.append(written.entry(reading, "report", key, prose[0][0].path(5), value))
    reading.leftovers(txa, _MAPPED)
    return made + _replaced(reading, txa, document)


def _read(reading: Reading, txa: Segment, groups: list[results.Group]) -> _Document:
    orders = [group.obr for group in groups if group.obr is not None]
    # TXA-22 is who authenticated it (PPN); the fifteenth component is when.
    signed = reading.part(txa, 22, 15)
    issued = (reading.time(signed) if signed else None) or next(
        (t for n in (8, 7) if (t := reading.when(txa, n))), None
    )
    effective = reading.when(txa, 4) or next(
        (t for obr in orders if (t := reading.when(obr, 7))), None
    )
    numbers = (
        reading.order_number(text) for text in (txa.field(15), *(o.field(3) for o in orders))
    )
    details: dict[str, Any] = {"status": txa.field(17), "availability": txa.field(19)}
    details |= {"title": reading.text(txa, 25), "parent": reading.order_number(txa.field(13))}
    for obr in orders[:1]:
        details |= results.imaging(reading, obr)
    return _Document(
        reading.order_number(txa.field(12)),
        next((n for n in numbers if n), ""),
        _concept(reading, txa, groups),
        _status(reading, txa, groups),
        effective,
        issued or reading.sent,
        {name: value for name, value in details.items() if value},
    )


def _concept(reading: Reading, txa: Segment, groups: list[results.Group]) -> Concept:
    """What the document is: OBR-4, else OBX-3 of the first line, else TXA-2 (table 0270)."""
    for group in groups:
        if group.obr is not None and group.obr.field(4):
            return reading.concept(group.obr.field(4))
    kind = reading.part(txa, 2)
    sent = reading.concept(txa.field(2))
    first = next((obx for group in groups for obx, _ in group.results), None)
    if first is not None and first.field(3):
        concept = reading.concept(first.field(3))
        if concept.code is not None and concept.code.system == LOINC:
            return concept
    if sent.code is not None and sent.code.system.startswith(LOCAL):
        return Concept(Code(_TABLE_0270, kind, sent.text), sent.alternates, sent.text)
    return sent


def _status(reading: Reading, txa: Segment, groups: list[results.Group]) -> Status:
    """TXA-19 withdrawn, else OBX-11 withdrawn, else TXA-17, changed by the trigger event."""
    if txa.field(19) == "CA":
        return "deleted"
    sent = {obx.field(11) for group in groups for obx, _ in group.results}
    if sent and sent <= _WITHDRAWN:
        return "entered-in-error"
    found = _COMPLETION.get(txa.field(17))
    if found is None:
        reading.note(txa.path(17), "completion status is not in table 0271")
        known = [_OBX[s] for s in sorted(sent) if s in _OBX]
        found = known[0] if known else "unknown"
    event = reading.part(reading.message.segments[0], 9, 2).upper()
    return _EVENT_STATUS.get(event, found) if found == "final" else found


def _attachment(reading: Reading, segment: Segment) -> Value | None:
    read = encapsulated if segment.field(2) == "ED" else pointer
    return read(reading, segment, segment.field(5))


def _replaced(reading: Reading, txa: Segment, document: _Document) -> list[Entry]:
    """T10 replaces its parent document (TXA-13), which is then no longer there."""
    event = reading.part(reading.message.segments[0], 9, 2).upper()
    parent = reading.order_number(txa.field(13))
    if event != "T10" or not parent or document.filler:
        return []
    gone = replace(document, status="deleted", details={"replaced_by": document.number})
    return [gone.entry(reading, "report", f"report/{parent}", txa.path(13), None)]
