"""Order groups: which ORC, OBR, OBX, NTE and SPM of a message belong together, and their numbers.

What a group becomes is decided in `results` and `orders`.
Source: HL7 v2.5.1 chapters 4.4 (ORM, OMG, OML), 7.3 (ORU, OUL), 4.5.3 (OBR), 7.4.3 (SPM).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from mappings.hl7v2.er7 import Segment
from mappings.hl7v2.obx import FIELDS
from mappings.hl7v2.reading import Reading
from mappings.record import When

_NTE_READ = frozenset({1, 3})
_SPM_READ = frozenset({1, 2, 4, 8, 17})
# Radiology's own: IHE ZDS, and IPC of later versions.
_BESIDE_RESULTS = frozenset({"ZDS", "IPC"})
_PARENTS = {26: "parent_result", 29: "parent", 50: "parent_service"}


@dataclass(slots=True)
class Group:
    """One OBR (or other order detail) with what stands around and below it.

    Attributes:
        obr: OBR, or RXO and the like where an order is no observation request.
        orc: Its ORC.
        specimens: SPM that hold for it.
        results: OBX, each with the NTE after it.
        of_specimen: Numbers of OBX that tell of the specimen, and are no results of the order.
        notes: NTE on the order itself.
        beside: TQ1, DG1, IPC, ZDS and what else the structure reads.
        links: What joins it with images, once `orders.links` has read it.
    """

    obr: Segment | None = None
    orc: Segment | None = None
    specimens: list[Segment] = field(default_factory=list)
    results: list[tuple[Segment, list[str] | None]] = field(default_factory=list)
    of_specimen: set[int] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    beside: list[Segment] = field(default_factory=list)
    links: dict[str, str] | None = None

    def number(self, reading: Reading, at: int, *, filler: bool) -> str:
        """OBR-`at`, else ORC-`at`: the placer's (2) or the filler's (3) order number."""
        obr = self.obr if self.obr is not None and self.obr.name == "OBR" else None
        found = reading.order_number(obr.field(at), filler=filler) if obr is not None else ""
        if self.orc is None or (obr is not None and obr.field(at) == self.orc.field(at)):
            return found
        other = reading.order_number(self.orc.field(at), filler=filler)
        if found and other not in ("", found):
            reading.note(self.orc.path(at), "ORC and OBR have different numbers: OBR's counts")
        return found or other

    def unmapped(self, reading: Reading) -> None:
        """Report all of it but its OBX: no entry speaks of the order."""
        for segment in (self.orc, self.obr, *self.specimens, *self.beside):
            if segment is not None:
                reading.unmapped(segment)
        if self.notes:
            reading.note("NTE-3", "comment on what is not mapped", "information")


class Grouping:
    """Collects segments of order groups, in the order of the message.

    Args:
        specimen_first: SPM opens what follows it (OUL^R22); else it closes what stands before.
        orc_behind: ORC stands behind its OBR (OUL); else before it.
        beside: Further segments that belong to an order.
        details: Segments that say what is ordered.
        orc_holds: ORC holds for every detail up to the next ORC; else for its first alone.
    """

    def __init__(
        self,
        *,
        specimen_first: bool = False,
        orc_behind: bool = False,
        beside: frozenset[str] = _BESIDE_RESULTS,
        details: frozenset[str] = frozenset({"OBR"}),
        orc_holds: bool = False,
    ) -> None:
        self.groups: list[Group] = []
        self._specimen_first, self._orc_behind = specimen_first, orc_behind
        self._beside, self._details, self._orc_holds = beside, details, orc_holds
        self._specimens: list[Segment] = []
        self._of_specimen = False
        # Whose comment an NTE is: the last OBX's, the order's, or of something we do not read.
        self._comments_on: Literal["result", "order", "other"] = "other"

    def take(self, reading: Reading, segment: Segment) -> bool:
        """Take a segment of an order group; False when it is none."""
        name = segment.name
        if name == "OBX":
            self._result(segment)
            return True
        if name == "NTE":
            return self._note(reading, segment)
        self._comments_on = "order"
        if name in self._details:
            self._open(segment)
        elif name == "ORC":
            self._control(segment)
        elif name == "SPM":
            reading.leftovers(segment, _SPM_READ)
            self._specimen(segment)
        elif name in self._beside and self.groups:
            self.groups[-1].beside.append(segment)
        else:
            self._comments_on = "other"
        return self._comments_on == "order"

    def _result(self, segment: Segment) -> None:
        if not self.groups:
            self.groups.append(Group())
        group = self.groups[-1]
        segment.fields += [""] * (FIELDS - len(segment.fields))
        group.results.append((segment, None))
        if self._of_specimen:
            group.of_specimen.add(segment.number)
        self._comments_on = "result"

    def _note(self, reading: Reading, segment: Segment) -> bool:
        if self._comments_on == "other":
            return False
        reading.leftovers(segment, _NTE_READ)
        text = reading.lines(segment.field(3))
        group = self.groups[-1]
        if self._comments_on == "order":
            group.notes.append(text)
            return True
        obx, notes = group.results[-1]
        if notes is None:
            group.results[-1] = (obx, [text])
        else:
            notes.append(text)
        return True

    def _open(self, segment: Segment) -> None:
        self._of_specimen = False
        group = self.groups[-1] if self.groups else None
        if group is not None and group.obr is None and not group.results:
            group.obr = segment
        else:
            orc = group.orc if self._orc_holds and group is not None else None
            self.groups.append(Group(segment, orc, specimens=list(self._specimens)))

    def _control(self, segment: Segment) -> None:
        """ORC opens a group, or stands behind the OBR of one."""
        self._of_specimen = False
        group = self.groups[-1] if self.groups else None
        if (
            group is not None
            and group.orc is None
            and not group.results
            and (group.obr is None or self._orc_behind)
        ):
            group.orc = segment
        else:
            self.groups.append(Group(orc=segment, specimens=list(self._specimens)))

    def _specimen(self, segment: Segment) -> None:
        if self._specimen_first or not self.groups:
            self._specimens = [segment]
            self._of_specimen = self._specimen_first
            self.groups.append(Group(specimens=[segment]))
        else:
            # What follows the specimen of an order that has its results tells of the specimen.
            self._of_specimen = bool(self.groups[-1].results)
            self.groups[-1].specimens.append(segment)


def shared(reading: Reading, group: Group) -> dict[str, Any]:
    """What every result of an order says besides itself: numbers, specimens, comments, parents."""
    found: dict[str, Any] = {}
    placer, filler = group.number(reading, 2, filler=False), group.number(reading, 3, filler=True)
    if placer:
        found["placer"] = placer
    if filler:
        found["filler"] = filler
    taken_from = specimens(reading, group)
    if taken_from:
        found["specimens"] = taken_from
    if group.notes:
        found["notes"] = group.notes
    obr = group.obr
    if obr is not None:
        service = reading.coded(obr, 4)
        if service:
            found["service"] = service
        ended = reading.when(obr, 8)
        if ended is not None:
            found["ended"] = ended.isoformat()
        for number, name in _PARENTS.items():
            if obr.field(number):
                # The guide leaves these links open: kept as they were sent.
                found[name] = obr.field(number)
    return found


def specimens(reading: Reading, group: Group) -> list[dict[str, Any]]:
    """SPM, else OBR-15: what was taken, where and when."""
    found = [_specimen(reading, spm) for spm in group.specimens]
    obr = group.obr
    if not found and obr is not None and obr.name == "OBR" and obr.field(15):
        found = [_source(reading, obr)]
    return [specimen for specimen in found if specimen]


def sub_groups(reading: Reading, group: Group) -> dict[str, str]:
    """OBX-4 → the OBX group it names: one variant, one lesion, one organism.

    A sub-id that several OBX share is their group; one of its own is a place in the group before
    its last dot (`1.a.2` in `1.a`). Of an OG, the second component. Empty where OBX-4 groups none.
    """
    sent = [text for obx, _ in group.results if (text := obx.fields[4])]
    mark = reading.message.delimiters.component or "^"
    whole = "".join(sent)
    kinds = len(set(sent))
    alone = kinds == len(sent) and "." not in whole and mark not in whole
    all_one = kinds == 1 and len(sent) == len(group.results)
    if alone or all_one or reading.site.sub_id_is_sequence:
        return {}
    counts = Counter(sent)
    parents = {text.rpartition(".")[0] for text, count in counts.items() if count == 1}
    found = {}
    for text, count in counts.items():
        if mark in text:
            found[text] = (text.split(mark)[1] or text.split(mark)[0]).strip()
        elif count > 1 or text in parents:
            found[text] = text
        else:
            found[text] = text.rpartition(".")[0] or text
    return found


def collected(reading: Reading, group: Group) -> When | None:
    """SPM-17: when the first specimen was taken."""
    return next((t for spm in group.specimens if (t := reading.when(spm, 17))), None)


def _specimen(reading: Reading, spm: Segment) -> dict[str, Any]:
    """Number, type, body site and time of collection."""
    taken = reading.when(spm, 17)
    found = {
        # SPM-2.2, an EI of the laboratory's, where the placer numbered none.
        "id": reading.order_number(spm.field(2), filler=False) or reading.part(spm, 2, 2).strip(),
        "type": reading.coded(spm, 4),
        "site": reading.coded(spm, 8),
        "collected": taken.isoformat() if taken else "",
    }
    return {name: value for name, value in found.items() if value}


def _source(reading: Reading, obr: Segment) -> dict[str, Any]:
    """OBR-15, the specimen source of versions before SPM: code & words, additives, text, site."""
    mark = reading.message.delimiters.component or "^"
    parts = [*reading.message.repetitions(obr.field(15))[0].split(mark), "", "", "", ""]
    words = reading.message.unescape(parts[2])
    found = {"type": _inner(reading, parts[0], words), "site": _inner(reading, parts[3], "")}
    return {name: value for name, value in found.items() if value}


def _inner(reading: Reading, text: str, words: str) -> dict[str, str]:
    """A coded element one level down: code & text."""
    code, display = (*reading.message.subcomponents(text), "", "")[:2]
    found = {"code": code, "text": display or words}
    return {name: value for name, value in found.items() if value}
