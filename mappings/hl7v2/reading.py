"""One message being read: what its segments share, and what could not be mapped.

The structures (`oru_r01` and its neighbours) take a `Reading` and give entries. Splitting is er7's,
data types that need no more than their text are in `times` and `mappings.codes`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container
from dataclasses import dataclass, field
from functools import lru_cache

from mappings import codes, identity, units
from mappings.conversion import Finding, Severity
from mappings.errors import NoPatientIdentifier
from mappings.hl7v2.er7 import DELETE, Message, Segment
from mappings.hl7v2.escapes import Delimiters
from mappings.hl7v2.times import offset_of, when
from mappings.keys import bounded
from mappings.record import Code, Identifier, Source, When
from mappings.site import Site

_MOST_TERMS = 4096
# Longer text in a coded field is prose, and is neither remembered nor a code.
_LONGEST_TERM = 500
_LONGEST_CODE = 200
_LONGEST_TIME = 64
_UNNAMED = Identifier("", "")


@dataclass(slots=True)
class Concept:
    """A CE, CWE or CNE: its best coding, the others, and its text."""

    code: Code | None
    alternates: tuple[Code, ...]
    text: str
    _stated: dict[str, str] | None = field(default=None, compare=False, repr=False)

    @property
    def codings(self) -> tuple[Code, ...]:
        """All codings, best first."""
        return (self.code, *self.alternates) if self.code else self.alternates

    @property
    def stated(self) -> dict[str, str]:
        """For an entry's details: `system`, `code` and `text`, as far as they were sent."""
        if self._stated is None:
            code = self.code
            self._stated = {"system": code.system, "code": code.code} if code else {}
            if self.text:
                self._stated["text"] = self.text
        return self._stated


@dataclass(slots=True)
class Terms:
    """What was already read from one sender, by its text, so that each is worked out once."""

    concepts: dict[str, Concept] = field(default_factory=dict)
    units: dict[str, tuple[str | None, str]] = field(default_factory=dict)
    stated: dict[str, dict[str, str]] = field(default_factory=dict)
    flags: dict[str, list[str]] = field(default_factory=dict)
    ranges: dict[str, dict[str, str]] = field(default_factory=dict)


@lru_cache(maxsize=64)
def _terms(site: Site, delimiters: Delimiters, codec: str) -> Terms:  # noqa: ARG001  cache key
    return Terms()


@dataclass(slots=True)
class Reading:
    """A message, its sender and the state of reading it.

    Attributes:
        message: What is read.
        site: Its sender.
        source: Shared by all its entries.
        patient: Whom the segments now read belong to; set by PID.
        identifiers: Identifiers of known authority of the first patient, `patient` first.
        sent: MSH-7, or EVN-2 of a message without it.
        offset: Offset of MSH-7 in minutes, or None.
        findings: What was not mapped, so far.
        skipped: Valued but unmapped fields by segment name, with how often.
        terms: What this sender's texts mean.
        times: Times of this message by their text.
    """

    message: Message
    site: Site
    source: Source
    patient: Identifier = _UNNAMED
    identifiers: tuple[Identifier, ...] = ()
    sent: When | None = None
    offset: int | None = None
    findings: list[Finding] = field(default_factory=list)
    skipped: defaultdict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    terms: Terms = field(default_factory=Terms)
    times: dict[str, When | None] = field(default_factory=dict)

    @classmethod
    def of(cls, message: Message, site: Site, source: Source) -> Reading:
        """Begin to read a message."""
        stamp = message.segments[0].field(7).split(message.delimiters.component or "^")[0]
        made = cls(message, site, source)
        made.terms = _terms(site, message.delimiters, message.codec)
        made.offset = offset_of(stamp)
        made.sent = when(stamp, made.offset, site.timezone)
        if made.sent is None:
            if stamp not in ("", DELETE):
                made.note("MSH[1]-7", "not a date or time", "error")
            evn = message.first("EVN")
            made.sent = made.when(evn, 2) if evn is not None else None
        if message.undeclared:
            made.note("MSH[1]-18", "names a charset that is not in table 0211")
        if message.damaged:
            made.note("MSH[1]-18", f"bytes are not valid {message.declared or 'in any charset'}")
        if message.misdeclared:
            made.note("MSH[1]-18", f"says {message.declared}, the bytes are UTF-8: read so")
        if message.joined:
            made.note("MSH[1]", f"{message.joined} line ends inside fields")
        return made

    @property
    def event(self) -> str:
        """The trigger event: MSH-9.2, or what some join to MSH-9.1 (`ADT_A08`), else EVN-1."""
        msh = self.message.segments[0]
        sent = self.part(msh, 9, 2) or self.part(msh, 9).partition("_")[2]
        evn = None if sent else self.message.first("EVN")
        return (self.part(evn, 1) if evn is not None else sent).strip().upper()

    def note(self, path: str, reason: str, severity: Severity = "warning") -> None:
        """Record something that was not mapped, or only with a reservation."""
        self.findings.append(Finding(path, reason, severity))

    def named(self, at: str) -> Identifier:
        """The patient.

        Raises:
            NoPatientIdentifier: No PID with a known authority came before.
        """
        if self.patient is _UNNAMED:
            raise NoPatientIdentifier(at)
        return self.patient

    def leftovers(self, segment: Segment, mapped: Container[int]) -> None:
        """Count the valued fields of a segment that its mapping does not read."""
        for number, text in enumerate(segment.fields):
            if text and number not in mapped and number:
                self.skipped[segment.name][number] += 1

    def unmapped(self, segment: Segment) -> None:
        """Report a whole segment that no mapping reads."""
        self.note(f"{segment.name}[{segment.number}]", "segment is not mapped", "information")

    def closed(self) -> tuple[Finding, ...]:
        """All findings, one line per unmapped field however often it came."""
        for name in sorted(self.skipped):
            for number, times in sorted(self.skipped[name].items()):
                reason = "valued but not mapped" + (f", {times} times" if times > 1 else "")
                self.note(f"{name}-{number}", reason, "information")
        return tuple(self.findings)

    def when(self, segment: Segment, number: int) -> When | None:
        """A time field, or None; one that cannot be read is reported and left out."""
        text = segment.field(number)
        found = self.times.get(text)
        if found is not None or not text or text == DELETE:
            return found
        found = self.times[text] = self.time(text)
        if found is None:
            self.note(segment.path(number), "not a date or time", "error")
        return found

    def time(self, text: str) -> When | None:
        """A DTM or TS, or None when it cannot be read; TS.2 is its degree of precision."""
        mark = self.message.delimiters.component or "^"
        if len(text) > _LONGEST_TIME:
            return None
        if mark in text:
            text = "^".join(text.split(mark, 2)[:2])
        return when(text, self.offset, self.site.timezone)

    def finer(self, told: When | None) -> When | None:
        """A time of the event, or MSH-7 where that tells the hour of a bare date.

        A date is as old as its first minute, and would lose against what was sent that morning.
        """
        sent = self.sent
        if told is None or sent is None or told.precision != "day":
            return told
        same = sent.value.date() == told.value.date() and sent.precision not in ("year", "month")
        return sent if same else told

    def text(self, segment: Segment, number: int) -> str:
        """A field's text, unescaped; empty for an empty or deleted one."""
        text = segment.field(number)
        return "" if text == DELETE else self.message.unescape(text)

    def lines(self, text: str) -> str:
        """TX, FT and comments: repetitions are lines of one text, blank ones kept."""
        parts = self.message.repetitions(text)
        return "\n".join(self.message.unescape("" if p == DELETE else p) for p in parts)

    def part(self, segment: Segment, number: int, component: int = 1) -> str:
        """One component of a field's first repetition, unescaped."""
        text = segment.field(number)
        if not text or text == DELETE:
            return ""
        parts = self.message.components(self.message.repetitions(text)[0])
        return parts[component - 1] if component <= len(parts) else ""

    def concept(self, text: str) -> Concept:
        """A CE, CWE, CNE or CF; remembered per sender."""
        found = self.terms.concepts.get(text)
        if found is None:
            found = self.fresh_concept(text)
            if len(text) <= _LONGEST_TERM:
                if len(self.terms.concepts) >= _MOST_TERMS:
                    self.terms.concepts.clear()
                self.terms.concepts[text] = found
        return found

    def fresh_concept(self, text: str) -> Concept:
        """A CE, CWE, CNE or CF that will not come again (answers, not questions)."""
        parts = self.message.components(text)
        if DELETE in parts:
            parts = ["" if part == DELETE else part for part in parts]
        parts += [""] * (14 - len(parts))
        triplets = (parts[0:3], parts[3:6], parts[9:12])
        codings = [
            codes.coding(system, code.strip(), display)
            for code, display, system in triplets
            if code.strip() and len(code) <= _LONGEST_CODE and len(system) <= _LONGEST_CODE
        ]
        ranked = codes.ranked(codings, self.site)
        words = parts[8] or parts[1] or parts[4] or parts[10]
        if not ranked and not words:
            words = parts[0].strip()
        return Concept(ranked[0] if ranked else None, ranked[1:], words)

    def coded(self, segment: Segment, number: int) -> dict[str, str]:
        """The first repetition of a coded field, for an entry's details; empty if not sent."""
        return self.stated(segment.field(number))

    def stated(self, text: str) -> dict[str, str]:
        """As `coded`, by its text."""
        if not text:
            return {}
        mark = self.message.delimiters.repetition
        found = self.concept(text.split(mark, 1)[0] if mark and mark in text else text).stated
        if len(text) <= _LONGEST_TERM and len(self.terms.stated) < _MOST_TERMS:
            self.terms.stated[text] = found
        return found

    def unit(self, text: str) -> tuple[str | None, str]:
        """OBX-6 as (UCUM code or None, text as sent); remembered per sender."""
        found = self.terms.units.get(text)
        if found is None:
            if len(text) > _LONGEST_TERM:
                return None, self.message.unescape(text)
            found = self._unit(text)
            if len(self.terms.units) >= _MOST_TERMS:
                self.terms.units.clear()
            self.terms.units[text] = found
        return found

    def _unit(self, text: str) -> tuple[str | None, str]:
        aliases = self.site.unit_aliases
        parts = self.message.components(text)
        raw = parts[0] or (parts[1] if len(parts) > 1 else "")
        if raw.isdigit() and len(parts) > 1:
            # "10^9/L" with its ^ unescaped, as many laboratories send it: a first component that is
            # a bare number names no unit, and the field as a whole may be one we know.
            whole = "^".join(parts)
            unit = units.normalise(whole, aliases)
            if unit is not None:
                return unit, whole
        found = units.normalise(raw, aliases) if raw == "1" or not raw.isdigit() else None
        if found is None:
            # A number of the sender's own table, with the unit in words or as the alternate code.
            for other in (*parts[3:4], *parts[1:2], *parts[4:5]):
                found = units.normalise(other, aliases)
                if found is not None:
                    return found, other
        return found, raw

    def order_number(self, text: str, *, filler: bool = True) -> str:
        """An EI (ORC-2, OBR-3 …) for business keys, with its authority if it has one.

        Of an EIP, the placer's number, else the filler's. The site's default authority is for
        filler numbers only.
        """
        if text.isalnum():
            # A bare number, as most are.
            return bounded(identity.order_number(self.site, text, (), filler=filler))
        if not text or text == DELETE:
            return ""
        first = self.message.repetitions(text)[0]
        mark = self.message.delimiters.subcomponent
        parts = self.message.components(first)
        if mark and mark in first:
            sent = [*first.split(self.message.delimiters.component or "^"), ""]
            inner = self.message.subcomponents(sent[0] if mark in sent[0] else sent[1])
            # An EIP holds a whole EI in a component; an EI may hold its HD in the second.
            parts = inner if mark in sent[0] or not sent[0] else [parts[0], *inner]
        return self._entity(parts, filler=filler)

    def _entity(self, sent: list[str], *, filler: bool) -> str:
        parts = ["" if part == DELETE else part for part in (*sent, "", "", "")]
        if not any((parts[0].strip(), parts[1], parts[3])) and "." not in parts[2]:
            # Some write the number there. Beside a name, or dotted, it is an authority alone:
            # taken for a number it would make one order of all its sender's.
            parts = [parts[2], "", "", ""]
        names = identity.hd_names(parts[1], parts[2], parts[3])
        return bounded(identity.order_number(self.site, parts[0].strip(), names, filler=filler))
