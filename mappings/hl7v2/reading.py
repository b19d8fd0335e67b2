"""One message being read: what its segments share, and what could not be mapped.

The structures (`oru_r01` and its neighbours) take a `Reading` and give entries. Splitting is er7's,
data types that need no more than their text are in `times` and `mappings.codes`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field
from functools import lru_cache

from mappings import codes, identity, units
from mappings.conversion import Finding, Severity
from mappings.errors import NoPatientIdentifier
from mappings.hl7v2.er7 import DELETE, Delimiters, Message, Segment
from mappings.hl7v2.times import offset_of, when
from mappings.record import Code, Identifier, Source, When
from mappings.site import Site

_MOST_TERMS = 4096
_UNNAMED = Identifier("", "")


@dataclass(slots=True)
class Concept:
    """A CE, CWE or CNE: its best coding, the others, and its text."""

    code: Code | None
    alternates: tuple[Code, ...]
    text: str

    @property
    def codings(self) -> tuple[Code, ...]:
        """All codings, best first."""
        return (self.code, *self.alternates) if self.code else self.alternates


@dataclass(slots=True)
class Terms:
    """Concepts and units already read from one sender, so that each is worked out once."""

    concepts: dict[str, Concept] = field(default_factory=dict)
    units: dict[str, tuple[str | None, str]] = field(default_factory=dict)


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
        sent: MSH-7.
        offset: Offset of MSH-7 in minutes, or None.
        findings: What was not mapped, so far.
        skipped: Valued but unmapped fields, with how often.
    """

    message: Message
    site: Site
    source: Source
    patient: Identifier = _UNNAMED
    identifiers: tuple[Identifier, ...] = ()
    sent: When | None = None
    offset: int | None = None
    findings: list[Finding] = field(default_factory=list)
    skipped: Counter[tuple[str, int]] = field(default_factory=Counter)
    terms: Terms = field(default_factory=Terms)

    @classmethod
    def of(cls, message: Message, site: Site, source: Source) -> Reading:
        """Begin to read a message."""
        stamp = message.segments[0].field(7).split(message.delimiters.component or "^")[0]
        made = cls(message, site, source)
        made.terms = _terms(site, message.delimiters, message.codec)
        made.offset = offset_of(stamp)
        made.sent = when(stamp, made.offset, site.timezone)
        if message.damaged:
            made.note("MSH[1]-18", f"bytes are not valid {message.declared or 'in any charset'}")
        if message.joined:
            made.note("MSH[1]", f"{message.joined} line ends inside fields")
        return made

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
                self.skipped[segment.name, number] += 1

    def unmapped(self, segment: Segment) -> None:
        """Report a whole segment that no mapping reads."""
        self.note(f"{segment.name}[{segment.number}]", "segment is not mapped", "information")

    def closed(self) -> tuple[Finding, ...]:
        """All findings, one line per unmapped field however often it came."""
        for (name, number), times in sorted(self.skipped.items()):
            reason = "valued but not mapped" + (f", {times} times" if times > 1 else "")
            self.note(f"{name}-{number}", reason, "information")
        return tuple(self.findings)

    def when(self, segment: Segment, number: int) -> When | None:
        """A time field, or None; one that cannot be read is reported and left out."""
        text = segment.field(number)
        if not text or text == DELETE:
            return None
        found = self.time(text)
        if found is None:
            self.note(segment.path(number), "not a date or time", "error")
        return found

    def time(self, text: str) -> When | None:
        """A DTM or TS, or None when it cannot be read."""
        return when(
            text.split(self.message.delimiters.component or "^", 1)[0],
            self.offset,
            self.site.timezone,
        )

    def text(self, segment: Segment, number: int) -> str:
        """A field's text, unescaped; empty for an empty or deleted one."""
        text = segment.field(number)
        return "" if text == DELETE else self.message.unescape(text)

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
            if len(self.terms.concepts) >= _MOST_TERMS:
                self.terms.concepts.clear()
            self.terms.concepts[text] = found
        return found

    def fresh_concept(self, text: str) -> Concept:
        """A CE, CWE, CNE or CF that will not come again (answers, not questions)."""
        parts = self.message.components(text)
        parts += [""] * (14 - len(parts))
        triplets = (parts[0:3], parts[3:6], parts[9:12])
        codings = [
            Code(codes.system_uri(system), code.strip(), display)
            for code, display, system in triplets
            if code.strip() and code != DELETE
        ]
        ranked = codes.ranked(codings, self.site)
        words = parts[8] or parts[1] or parts[4] or parts[10]
        return Concept(ranked[0] if ranked else None, ranked[1:], words)

    def unit(self, text: str) -> tuple[str | None, str]:
        """OBX-6 as (UCUM code or None, text as sent); remembered per sender."""
        found = self.terms.units.get(text)
        if found is None:
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
        return units.normalise(raw, aliases), raw

    def order_number(self, text: str) -> str:
        """An EI (ORC-2, OBR-3 …) for business keys, with its authority if it has one."""
        if not text or text == DELETE:
            return ""
        parts = self.message.components(self.message.repetitions(text)[0])
        parts += [""] * (4 - len(parts))
        names = identity.hd_names(parts[1], parts[2], parts[3])
        return identity.order_number(self.site, parts[0].strip(), names)
