"""OBR and what stands below it: orders with their OBX, as observations or as one narrative report.

Used by every structure that carries results (ORU, MDM, OUL). Values of single OBX are in `obx`.
Source: HL7 v2.5.1 chapters 7.3.1, 7.4.1; tables 0074, 0123; v2-to-FHIR "OBR[DiagnosticReport]".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from mappings import keys
from mappings.hl7v2.er7 import DELETE, Segment
from mappings.hl7v2.obx import Order, lines, observation
from mappings.hl7v2.reading import Concept, Reading
from mappings.record import RETRACTED, Entry, Status, Text
from mappings.sections import section_named, sections
from mappings.tables import table

_OBR_STATUSES: dict[str, Status] = table("hl70123")  # type: ignore[assignment]  # rows checked by test
_OBX_STATUSES: dict[str, Status] = table("hl70085")  # type: ignore[assignment]  # rows checked by test
_OBR_MAPPED = frozenset({1, 2, 3, 4, 7, 18, 20, 22, 24, 25})
_OBX_READ = frozenset({1, 2, 3, 4, 5, 11})

# Table 0074: sections whose results are read, not measured.
_NARRATIVE = frozenset(
    {"RAD", "RX", "CT", "CUS", "NMR", "NMS", "RUS", "VUS", "OUS", "XRC", "RT", "PHR"}
    | {"SP", "PAT", "CP", "CTH", "CYT", "EN", "MR", "MRI", "US", "PET", "PT", "NM"}
)
_MODALITIES = {
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
_PROSE = frozenset({"TX", "FT", "ST", "CE", "CWE", ""})
_LINES = frozenset({"TX", "FT"})
# One TX line of at most this is an answer ("Positive"), not a report.
_SHORT_ANSWER = 120


@dataclass(slots=True)
class Group:
    """One OBR, its ORC and SPM, and the OBX below it with the NTE after each."""

    obr: Segment | None = None
    orc: Segment | None = None
    specimen: Segment | None = None
    results: list[tuple[Segment, list[str] | None]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Grouping:
    """Collects result segments, in the order of the message, into groups."""

    def __init__(self) -> None:
        self.groups: list[Group] = []
        self._orc: Segment | None = None

    def take(self, reading: Reading, segment: Segment) -> bool:
        """Take a segment of a result group; False when it is none."""
        match segment.name:
            case "OBX":
                self._current().results.append((segment, None))
            case "OBR":
                self.groups.append(Group(segment, self._orc))
                self._orc = None
            case "ORC":
                self._orc = segment
            case "SPM":
                group = self._current()
                group.specimen = group.specimen or segment
            case "NTE" if self.groups:
                self._note(reading.text(segment, 3))
            case _:
                return False
        return True

    def _current(self) -> Group:
        if not self.groups:
            self.groups.append(Group(orc=self._orc))
        return self.groups[-1]

    def _note(self, text: str) -> None:
        group = self.groups[-1]
        if not group.results:
            group.notes.append(text)
            return
        obx, notes = group.results[-1]
        if notes is None:
            group.results[-1] = (obx, [text])
        else:
            notes.append(text)


def read(reading: Reading, groups: Iterable[Group]) -> list[Entry]:
    """The entries of result groups: a report where the lines are prose, else observations."""
    made: list[Entry] = []
    for group in groups:
        order = _order(reading, group)
        prose = _prose(reading, group)
        if prose:
            made += _report(reading, group, order, prose)
        used: set[str] = set()
        for obx, notes in group.results:
            if obx.number in prose:
                continue
            entry = observation(reading, order, obx, notes, used)
            if entry is not None:
                made.append(entry)
        if group.obr is not None:
            reading.leftovers(group.obr, _OBR_MAPPED)
        if group.notes and not prose:
            reading.note("NTE-3", "comment on the order, not mapped", "information")
    return made


def _order(reading: Reading, group: Group) -> Order:
    obr, orc = group.obr, group.orc
    filler = reading.order_number(obr.field(3)) if obr else ""
    if not filler and orc is not None:
        filler = reading.order_number(orc.field(3))
    effective = reading.when(obr, 7) if obr else None
    if effective is None and group.specimen is not None:
        effective = reading.when(group.specimen, 17)
    issued = reading.when(obr, 22) if obr else None
    status = None
    if obr is not None:
        sent = obr.field(25)
        status = _OBR_STATUSES.get(sent)
        if sent and status is None:
            reading.note(obr.path(25), "status is not in table 0123 as a result")
    return Order(filler, effective, issued, status)


def _section_code(reading: Reading, group: Group) -> str:
    return reading.part(group.obr, 24).upper() if group.obr else ""


def _prose(reading: Reading, group: Group) -> frozenset[int]:
    """Numbers of the OBX that are lines of a report; empty when there is no report."""
    fields = [obx for obx, _ in group.results]
    if _section_code(reading, group) in _NARRATIVE:
        kinds = _PROSE
    elif _is_narrative(fields):
        kinds = _LINES
    else:
        return frozenset()
    found = frozenset(obx.number for obx in fields if obx.field(2) in kinds)
    texts = [obx for obx in fields if obx.number in found and obx.field(2) != "CWE"]
    return found if texts else frozenset()


def _is_narrative(results: list[Segment]) -> bool:
    """Only TX or FT lines (and documents), and more of them than a short answer."""
    texts = [obx for obx in results if obx.field(2) in _LINES]
    if not texts or any(obx.field(2) not in {*_LINES, "ED", "RP"} for obx in results):
        return False
    concepts = {obx.field(3) for obx in texts}
    return len(concepts) < len(texts) or any(len(obx.field(5)) > _SHORT_ANSWER for obx in texts)


def _report(reading: Reading, group: Group, order: Order, prose: frozenset[int]) -> list[Entry]:
    """The lines of one OBR as one report."""
    obr = group.obr
    found = [(obx, notes) for obx, notes in group.results if obx.number in prose]
    concept = reading.concept(obr.field(4)) if obr is not None else Concept(None, (), "")
    if concept.code is None:
        concept = reading.concept(found[0][0].field(3))
    details = narrative(reading, found)
    details["status"] = (obr.field(25) if obr else "") or found[0][0].field(11)
    if obr is not None:
        details |= imaging(reading, obr)
    if group.notes:
        details["notes"] = group.notes
    # The sender's clock for a report that was never released is the message's.
    issued = order.issued or reading.sent
    name = concept.code.code if concept.code else concept.text
    first = found[0][0]
    return [
        Entry(
            "report",
            keys.report(name, order.filler, order.effective, issued),
            reading.patient,
            reading.source,
            f"OBX[{first.number}]-5",
            _report_status(order, [obx for obx, _ in found]),
            concept.code,
            concept.alternates,
            Text(details["text"]) if details["text"] else None,
            order.effective,
            issued,
            keys.report_twin(name, order.effective),
            details,
        )
    ]


def narrative(
    reading: Reading, results: Iterable[tuple[Segment, list[str] | None]]
) -> dict[str, Any]:
    """Text and sections of report lines, in the order of the message.

    OBX-3 decides the section where it names one (LOINC, `&IMP`, or a heading); otherwise the
    headings inside the text do.
    """
    by_section: dict[str, list[str]] = {}
    whole: list[str] = []
    comments: list[str] = []
    for obx, notes in results:
        text = _line(reading, obx)
        whole.append(text)
        named = _named_section(reading, obx)
        if named is not None:
            by_section.setdefault(named, []).append(text)
        comments += notes or []
        reading.leftovers(obx, _OBX_READ)
    text = "\n".join(whole)
    found = sections(text) | {name: "\n".join(part) for name, part in by_section.items()}
    details: dict[str, Any] = {"text": text, "sections": found}
    if comments:
        details["notes"] = comments
    return details


def _line(reading: Reading, obx: Segment) -> str:
    text = obx.field(5)
    if not text or text == DELETE:
        return ""
    if obx.field(2) in ("CE", "CWE"):
        concept = reading.fresh_concept(text)
        return concept.text or (concept.code.code if concept.code else "")
    return lines(reading, text)


_SECTION_CODES = {
    "19005-8": "impression",
    "59776-5": "findings",
    "18782-3": "findings",
    "55111-9": "technique",
    "18834-2": "comparison",
    "55115-0": "history",
    "18785-6": "history",
    "18783-1": "recommendation",
    "22634-0": "gross",
    "22635-7": "microscopic",
    "22637-3": "diagnosis",
    "IMP": "impression",
    "GDT": "findings",
    "FND": "findings",
    "HIS": "history",
    "REC": "recommendation",
    "TEC": "technique",
    "ADT": "addendum",
}


def _named_section(reading: Reading, obx: Segment) -> str | None:
    mark = reading.message.delimiters.subcomponent or "&"
    concept = reading.concept(obx.field(3))
    for coding in concept.codings:
        suffix = coding.code.rpartition(mark)[2]
        found = _SECTION_CODES.get(suffix) or section_named(coding.code)
        if found is None and coding.display:
            found = section_named(coding.display)
        if found is not None:
            return found
    return section_named(concept.text) if concept.text else None


def _report_status(order: Order, results: list[Segment]) -> Status:
    """OBR-25, unless every line was withdrawn or some line corrects a final report."""
    sent: list[Status] = [_OBX_STATUSES.get(obx.field(11), "unknown") for obx in results]
    withdrawn = [s for s in sent if s in RETRACTED]
    if withdrawn and len(withdrawn) == len(sent):
        return withdrawn[0]
    if order.status in (None, "final") and ("corrected" in sent or "amended" in sent):
        return "corrected" if "corrected" in sent else "amended"
    if order.status is not None:
        return order.status
    known = [s for s in sent if s != "unknown"]
    if not known:
        return "unknown"
    return "preliminary" if "preliminary" in known else known[0]


def imaging(reading: Reading, obr: Segment) -> dict[str, str]:
    """Accession number and modality, for joining a report with its study."""
    accession = reading.part(obr, 18) or reading.part(obr, 20) or reading.part(obr, 3)
    found = {"accession": accession} if accession else {}
    section = reading.part(obr, 24).upper()
    if section:
        found["section"] = section
    modality = _MODALITIES.get(section)
    if modality:
        found["modality"] = modality
    return found
