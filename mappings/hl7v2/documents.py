"""TXA: a document, as one report (its text) and one document (its files), and what becomes of it.

A notification (odd events) brings a status without content: it keeps the content that came before.
Which segments a message has is decided in `mdm_t01` and `mdm_t02`.
Source: HL7 v2.5.1 chapter 9.5, 9.6.1; tables 0270, 0271, 0273; HL7/v2-to-fhir map "MDM_T02", with
the rules of docs/conformance where it is silent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mappings import keys
from mappings.codes import LOCAL, LOINC
from mappings.hl7v2 import orders, reports
from mappings.hl7v2.attachments import encapsulated, pointer
from mappings.hl7v2.er7 import Segment
from mappings.hl7v2.groups import Group
from mappings.hl7v2.reading import Concept, Reading
from mappings.record import Code, Entry, Kind, Text, Value, When
from mappings.record_json import value_to_json
from mappings.statuses import Status
from mappings.tables import table

_COMPLETION: dict[str, Status] = table("hl70271")  # type: ignore[assignment]  # rows checked by test
_OBX: dict[str, Status] = table("hl70085")  # type: ignore[assignment]  # rows checked by test
_EVENT_STATUS: dict[str, Status] = {
    "T05": "appended",
    "T06": "appended",
    "T07": "amended",
    "T08": "amended",
    "T09": "corrected",
    "T10": "corrected",
}
_ADDENDUM = frozenset({"T05", "T06"})
_REPLACEMENT = frozenset({"T09", "T10"})
_STATUS_CHANGE = frozenset({"T03", "T11"})
_CANCELLED = "T11"
_WITHDRAWN = frozenset({"D", "W"})
_BINARY = frozenset({"ED", "RP"})
_TXA_READ = frozenset({1, 2, 3, 4, 6, 7, 8, 12, 13, 14, 15, 16, 17, 18, 19, 22, 25})
_OBR_READ = frozenset({1, 2, 3, 4, 7, 18, 20, 24})
_OBX_READ = frozenset({1, 2, 3, 5, 11})
_ORC_READ = frozenset({2, 3})
_TABLE_0270 = "http://terminology.hl7.org/CodeSystem/v2-0270"


@dataclass(slots=True)
class _Document:
    """What TXA says of all the content below it.

    Attributes:
        number: TXA-12.
        filler: TXA-15; `below` is that of an OBR in the message, where TXA has none.
    """

    number: str
    filler: str
    below: str
    concept: Concept
    status: Status
    effective: When | None
    issued: When | None
    details: dict[str, Any]

    @property
    def name(self) -> str:
        return self.concept.code.code if self.concept.code else self.concept.text

    @property
    def document_key(self) -> str:
        number = self.number or self.filler
        return f"document/{number}" if number else f"document/{self.name}/@{self._stamp}"

    @property
    def report_key(self) -> str:
        """By its filler order, so that ORU and MDM are one report; an addendum by its number."""
        if "appends" in self.details and self.number:
            return f"report/{self.number}"
        numbers = (self.filler, self.below, self.number)
        number = next((n for n in numbers if n), "")
        return keys.report(self.name, number, self.effective, self.issued)

    @property
    def report_twin(self) -> str | None:
        """By document number where a later event will know no other, else by code and time."""
        if self.number and not self.filler:
            return f"document {self.number}"
        return keys.report_twin(self.name, self.effective)

    @property
    def _stamp(self) -> str:
        when = self.effective or self.issued
        return keys.stamp(when) if when else ""

    def entry(
        self,
        reading: Reading,
        kind: Kind,
        key: str,
        path: str,
        value: Value | None,
        *,
        twin: str | None = None,
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
            twin,
            self.details,
        )


def read(reading: Reading, txa: Segment, groups: list[Group], told_at: When | None) -> list[Entry]:
    """The report and the files of TXA and all OBX of the message, or their new status.

    Args:
        reading: The message.
        txa: Its TXA.
        groups: Its OBX.
        told_at: When the sender recorded the event: TXA repeats the times of the document, which
            say nothing of when its status changed or it was replaced.
    """
    document = _read(reading, txa, groups)
    found = [pair for group in groups for pair in group.results]
    prose = [pair for pair in found if pair[0].field(2) not in _BINARY]
    files = [pair for pair in found if pair[0].field(2) in _BINARY]
    made: list[Entry] = []
    if files:
        made.append(_files(reading, document, files))
    if prose:
        body = reports.narrative(reading, prose, (), document.concept)
        value = Text(body["text"]) if body["text"] else None
        written = replace(document, details={**document.details, **body})
        key, twin = document.report_key, document.report_twin
        path = prose[0][0].path(5)
        made.append(written.entry(reading, "report", key, path, value, twin=twin))
    if not found:
        made += _notified(reading, txa, document, told_at)
    for obx, _ in found:
        if obx.field(11) and _OBX.get(obx.field(11)) != document.status:
            reading.skipped["OBX"][11] += 1
    for group in groups:
        _leftovers(reading, group, document, unnamed=not found)
    # TXA-7 is when it was typed; TXA-8, the last edit, counts where both were sent.
    spare = {7} if reading.time(txa.field(7)) not in (None, document.issued) else set()
    reading.leftovers(txa, _TXA_READ - spare)
    return made + _replaced(reading, txa, document, told_at)


def _files(
    reading: Reading, document: _Document, pairs: list[tuple[Segment, list[str] | None]]
) -> Entry:
    """One document, whatever the number of its files."""
    files = [obx for obx, _ in pairs]
    notes = [note for _, comments in pairs for note in comments or ()]
    found = [_attachment(reading, obx) for obx in files]
    details = document.details
    if len(files) > 1:
        both = zip(files, found, strict=True)
        listed = [{"path": o.path(5), **value_to_json(v)} for o, v in both if v is not None]
        details = {**details, "attachments": listed}
    if notes:
        details = {**details, "notes": notes}
    called = reports.questions(reading, files, document.concept)
    if called:
        details = {**details, "questions": called}
    for obx in files:
        reading.leftovers(obx, _OBX_READ)
    told = replace(document, details=details)
    return told.entry(reading, "document", document.document_key, files[0].path(5), found[0])


def _notified(
    reading: Reading, txa: Segment, document: _Document, told_at: When | None
) -> list[Entry]:
    """A status without content; a change of it is the report's too."""
    changes = reading.event in _STATUS_CHANGE
    details = {**document.details, "value_as_before": True}
    told = replace(document, details=details, concept=Concept(None, (), ""))
    told.issued = told_at if changes else document.issued
    path = txa.path(17)
    made = [told.entry(reading, "document", document.document_key, path, None)]
    return made + (_of_report(reading, told, path) if changes else [])


def _of_report(reading: Reading, told: _Document, path: str) -> list[Entry]:
    """A word on the report of a document: under its filler order, else by the document's number."""
    if told.filler:
        return [told.entry(reading, "report", f"report/{told.filler}", path, None)]
    if not told.number:
        reading.note(path, "no number says which document it is", "error")
        return []
    key, twin = f"report/@document/{told.number}", f"document {told.number}"
    return [told.entry(reading, "report", key, path, None, twin=twin)]


def _replaced(
    reading: Reading, txa: Segment, document: _Document, told_at: When | None
) -> list[Entry]:
    """T09 and T10 take the parent (TXA-13) away; the report of one filler order goes on."""
    parent = reading.order_number(txa.field(13))
    if reading.event not in _REPLACEMENT or not parent:
        return []
    gone = replace(
        document,
        number=parent,
        status="deleted",
        issued=told_at,
        concept=Concept(None, (), ""),
        details={"replaced_by": document.number},
    )
    made = [gone.entry(reading, "document", gone.document_key, txa.path(13), None)]
    if not document.filler and not document.below:
        made += _of_report(reading, gone, txa.path(13))
    return made


def _read(reading: Reading, txa: Segment, groups: list[Group]) -> _Document:
    obrs = [group.obr for group in groups if group.obr is not None]
    # TXA-22 is who authenticated it (PPN); the fifteenth component is when.
    signed = reading.part(txa, 22, 15)
    issued = (reading.time(signed) if signed else None) or next(
        (t for n in (8, 7) if (t := reading.when(txa, n))), None
    )
    effective = reading.when(txa, 4) or next(
        (t for obr in obrs if (t := reading.when(obr, 7))), None
    )
    numbers = (group.number(reading, 3, filler=True) for group in groups)
    filler, below = reading.order_number(txa.field(15)), next((n for n in numbers if n), "")
    placers = (group.number(reading, 2, filler=False) for group in groups)
    concept = _concept(reading, txa, groups)
    parent = reading.order_number(txa.field(13))
    written = reading.when(txa, 6)
    details: dict[str, Any] = {
        "document": reading.order_number(txa.field(12)),
        "placer": reading.order_number(txa.field(14), filler=False)
        or next((n for n in placers if n), ""),
        "filler": filler or below,
        "type": reading.coded(txa, 2),
        "status": reading.part(txa, 17),
        "availability": reading.part(txa, 19),
        "confidentiality": reading.coded(txa, 18),
        "presentation": reading.part(txa, 3),
        "originated": written.isoformat() if written else "",
        "file": reading.text(txa, 16),
        "title": reading.text(txa, 25),
        "called": concept.text if concept.code is None else "",
        "parent": parent,
        "order_notes": [note for group in groups for note in group.notes],
        "appends": parent if reading.event in _ADDENDUM else "",
    }
    for group in groups[:1]:
        details |= orders.links(reading, group)
    return _Document(
        details["document"],
        filler,
        below,
        concept,
        _status(reading, txa, groups),
        effective,
        issued or reading.sent,
        {name: value for name, value in details.items() if value},
    )


def _concept(reading: Reading, txa: Segment, groups: list[Group]) -> Concept:
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


def _status(reading: Reading, txa: Segment, groups: list[Group]) -> Status:
    """T11 and TXA-19 withdraw, so does OBX-11 of all lines; else TXA-17, changed by the event."""
    if reading.event == _CANCELLED:
        return "cancelled"
    if reading.part(txa, 19) == "CA":
        return "deleted"
    sent = {obx.field(11) for group in groups for obx, _ in group.results}
    if sent and sent <= _WITHDRAWN:
        return "entered-in-error"
    found = _COMPLETION.get(reading.part(txa, 17).upper())
    if found is None:
        reading.note(txa.path(17), "completion status is not in table 0271")
        known = [_OBX[s] for s in sorted(sent) if s in _OBX]
        found = known[0] if known else "unknown"
    return _EVENT_STATUS.get(reading.event, found) if found == "final" else found


def _attachment(reading: Reading, segment: Segment) -> Value | None:
    read = encapsulated if segment.field(2) == "ED" else pointer
    return read(reading, segment, segment.field(5))


def _leftovers(reading: Reading, group: Group, document: _Document, *, unnamed: bool) -> None:
    """A document is of one order; what TXA, or an order before, says otherwise overrules.

    Args:
        reading: The message.
        group: The order.
        document: What TXA says.
        unnamed: A status alone, which leaves the document's name as it was.
    """
    unread: set[int] = {4} if unnamed else set()
    if group.number(reading, 2, filler=False) != document.details.get("placer"):
        unread.add(2)
    if group.number(reading, 3, filler=True) != (document.filler or document.below):
        unread.add(3)
    told = document.details
    if any(told.get(name) != text for name, text in orders.links(reading, group).items()):
        unread |= {18, 20, 24}
    obr = group.obr
    if obr is not None:
        if reading.when(obr, 7) != document.effective:
            unread.add(7)
        if obr.field(4) and reading.concept(obr.field(4)) is not document.concept:
            unread.add(4)
        spare = orders.READ["OBR"] - orders.read_of(reading, group, obr)
        reading.leftovers(obr, _OBR_READ - spare - unread)
    if group.orc is not None:
        reading.leftovers(group.orc, _ORC_READ - unread)
    for segment in (*group.beside, *group.specimens):
        reading.unmapped(segment)
