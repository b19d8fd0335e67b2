"""Narrative reports: the OBX below one OBR that are lines of one text, and its sections.

What is measured or answered by code is a fact of its own (`results`, `obx`).
Source: HL7 v2.5.1 chapters 7.3.1, 7.4.1; table 0074; LOINC section codes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from mappings import keys
from mappings.codes import LOCAL
from mappings.hl7v2.er7 import DELETE, Segment
from mappings.hl7v2.groups import Group
from mappings.hl7v2.obx import Order
from mappings.hl7v2.orders import links
from mappings.hl7v2.reading import Concept, Reading
from mappings.record import Entry, Text
from mappings.sections import section_named, sections
from mappings.statuses import RETRACTED, Status
from mappings.tables import table

_OBX_STATUSES: dict[str, Status] = table("hl70085")  # type: ignore[assignment]  # rows checked by test
_OBX_READ = frozenset({1, 2, 3, 5, 11})
# Sections of table 0074 whose results are read, not measured.
_NARRATIVE = frozenset(
    {"RAD", "RX", "CT", "CUS", "NMR", "NMS", "RUS", "VUS", "OUS", "XRC", "RT", "PHR"}
    | {"SP", "PAT", "CP", "CTH", "CYT", "EN", "MR", "MRI", "US", "PET", "PT", "NM"}
)
_CODED = frozenset({"CE", "CWE", "CNE"})
_PROSE = frozenset({"TX", "FT", "ST", "CE", "CWE", "CNE", ""})
_LINES = frozenset({"TX", "FT"})
_HEADED = frozenset({"TX", "FT", "ST"})
# A line of at most this may be an answer ("Positive"); a longer one is prose.
_SHORT_ANSWER = 120


def lines(reading: Reading, group: Group) -> frozenset[int]:
    """Numbers of the OBX that are lines of a report; empty when there is no report."""
    found = [obx for obx, _ in group.results]
    if group.of_specimen:
        found = [obx for obx in found if obx.number not in group.of_specimen]
    if section(reading, group) in _NARRATIVE:
        kinds = _PROSE
    elif _is_narrative(reading, found):
        kinds = _HEADED
    else:
        return _nameless(reading, group, found)
    prose = [obx for obx in found if obx.field(2) in kinds]
    if all(obx.field(2) in _CODED for obx in prose):
        return frozenset()
    return frozenset(obx.number for obx in prose)


def _nameless(reading: Reading, group: Group, results: list[Segment]) -> frozenset[int]:
    """Numbers of lines without OBX-3, however short: they can only be the report of OBR-4."""
    if group.obr is None or not reading.concept(group.obr.field(4)).stated:
        return frozenset()
    texts = [obx for obx in results if obx.field(2) in _LINES]
    return frozenset(obx.number for obx in texts if not reading.concept(obx.field(3)).stated)


def section(reading: Reading, group: Group) -> str:
    """OBR-24, table 0074."""
    return reading.part(group.obr, 24).upper() if group.obr else ""


def is_narrative(reading: Reading, group: Group) -> bool:
    """Whether an order of this section is answered by a report."""
    return section(reading, group) in _NARRATIVE


def _is_narrative(reading: Reading, results: list[Segment]) -> bool:
    """Only TX or FT lines (and documents), and more of them than a short answer.

    "Findings" and "Impression", however short and be they ST, are no two measurements.
    """
    headed = {
        obx.number for obx in results if obx.field(2) in _HEADED and _named_section(reading, obx)
    }
    texts = [obx for obx in results if obx.fields[2] in _LINES or obx.number in headed]
    others = [obx for obx in results if obx.field(2) not in {*_LINES, "ED", "RP"}]
    if not texts or any(obx.number not in headed for obx in others):
        return False
    concepts = {obx.field(3) for obx in texts}
    long = any(len(obx.field(5)) > _SHORT_ANSWER for obx in texts)
    return len(concepts) < len(texts) or long or bool(headed)


def answers(reading: Reading, group: Group, prose: Collection[int]) -> frozenset[int]:
    """Lines that are facts of their own beside it: the answers of a synoptic report.

    Coded answers always are; a short text is one where it has a unit, or where its question has a
    standard code, is asked once, is no section and is not the name of the report itself.
    """
    found = [obx for obx, _ in group.results if obx.number in prose]
    asked = Counter(obx.field(3) for obx in found)
    title = reading.part(group.obr, 4) if group.obr else ""
    facts = set()
    for obx in found:
        kind, question = obx.field(2), obx.field(3)
        if kind in _CODED:
            coded = reading.fresh_concept(obx.field(5)).code is not None
            if coded:
                facts.add(obx.number)
        elif (
            kind == "ST"
            and asked[question] == 1
            and (obx.field(6) or _standard(reading, question))
            and reading.part(obx, 3) not in ("", title)
            and len(obx.field(5)) <= _SHORT_ANSWER
            and _named_section(reading, obx) is None
        ):
            facts.add(obx.number)
    return frozenset(facts)


def _standard(reading: Reading, question: str) -> bool:
    code = reading.concept(question).code
    return code is not None and not code.system.startswith(LOCAL)


def report(
    reading: Reading, group: Group, order: Order, prose: Collection[int], facts: Collection[int]
) -> Entry:
    """The lines of one OBR as one report; without any, its comments are the text."""
    obr = group.obr
    found = _standing(reading, [pair for pair in group.results if pair[0].number in prose])
    concept = reading.concept(obr.field(4)) if obr is not None else Concept(None, (), "")
    if concept.code is None and found:
        concept = reading.concept(found[0][0].field(3))
    told = narrative(reading, found, facts, concept)
    details: dict[str, Any] = {"order": order.shared, **links(reading, group), **told}
    if not found:
        text = "\n".join(group.notes)
        details |= {"text": text, "sections": sections(text)}
    if concept.code is None and concept.text:
        details["called"] = concept.text
    details["status"] = (obr.field(25) if obr else "") or (found[0][0].field(11) if found else "")
    status = _status(order, [obx for obx, _ in found])
    for obx, _ in found:
        if obx.field(11) and _OBX_STATUSES.get(obx.field(11)) != status:
            reading.note(obx.path(11), "a line of another status than its report", "information")
    # The sender's clock for a report that was never released is the message's.
    issued = order.issued or reading.sent
    name = concept.code.code if concept.code else concept.text
    return Entry(
        "report",
        keys.report(name, order.filler, order.effective, issued),
        reading.patient,
        reading.source,
        found[0][0].path(5) if found else "NTE-3",
        status,
        concept.code,
        concept.alternates,
        Text(details["text"]) if details["text"] else None,
        order.effective,
        issued,
        keys.report_twin(name, order.effective),
        details,
    )


def _standing(
    reading: Reading, lines: list[tuple[Segment, list[str] | None]]
) -> list[tuple[Segment, list[str] | None]]:
    """The lines that were not withdrawn, unless all were."""
    standing = [pair for pair in lines if _OBX_STATUSES.get(pair[0].field(11)) not in RETRACTED]
    if not standing or len(standing) == len(lines):
        return lines
    for obx, _ in lines:
        if _OBX_STATUSES.get(obx.field(11)) in RETRACTED:
            reading.note(f"OBX[{obx.number}]", "line is withdrawn, the report stands without it")
    return standing


def narrative(
    reading: Reading,
    results: Sequence[tuple[Segment, list[str] | None]],
    facts: Collection[int] = (),
    title: Concept | None = None,
) -> dict[str, Any]:
    """Text and sections of report lines, in the order of the message.

    OBX-3 decides the section where it names one (LOINC, `&IMP`, or a heading); otherwise the
    headings inside the text do. A fact among the lines stands with its question.

    Args:
        reading: The message.
        results: The lines with their comments.
        facts: Numbers of those that become entries of their own as well.
        title: What the report is; lines that are called otherwise are listed in `questions`.
    """
    by_section: dict[str, list[str]] = {}
    whole: list[str] = []
    comments: list[str] = []
    for obx, notes in results:
        named = _named_section(reading, obx)
        stands_alone = obx.number in facts or obx.field(2) != "ST"
        text = _line(reading, obx, asked=named is None and stands_alone)
        whole.append(text)
        if named is not None:
            by_section.setdefault(named, []).append(text)
        comments += notes or []
        if obx.number not in facts:
            reading.leftovers(obx, _OBX_READ)
    text = "\n".join(whole)
    found = sections(text) | {name: "\n".join(part) for name, part in by_section.items()}
    details: dict[str, Any] = {"text": text, "sections": found}
    if comments:
        details["notes"] = comments
    asked = questions(reading, [obx for obx, _ in results if obx.number not in facts], title)
    if asked:
        details["questions"] = asked
    return details


def questions(
    reading: Reading, lines: Iterable[Segment], title: Concept | None
) -> list[dict[str, str]]:
    """What the lines are called by OBX-3, each once, where it is not the name of the report."""
    found: list[dict[str, str]] = []
    for obx in lines:
        concept = reading.concept(obx.field(3))
        named = title is not None and concept.code == title.code and concept.text == title.text
        if not named and concept.stated and concept.stated not in found:
            found.append(concept.stated)
    return found


def _line(reading: Reading, obx: Segment, *, asked: bool) -> str:
    """The words of one line; of an answer by code or number its question too, if `asked`."""
    text = obx.field(5)
    if not text or text == DELETE:
        return ""
    kind = obx.field(2)
    if kind in _LINES or not kind:
        return reading.lines(text)
    question = reading.concept(obx.field(3)).text if asked else ""
    if kind in _CODED:
        parts = [reading.fresh_concept(part) for part in reading.message.repetitions(text)]
        answer = ", ".join(c.text or (c.code.code if c.code else "") for c in parts)
    else:
        answer = " ".join(p for p in (reading.lines(text), reading.part(obx, 6)) if p)
    return f"{question}: {answer}" if question else answer


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


def _status(order: Order, results: list[Segment]) -> Status:
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
