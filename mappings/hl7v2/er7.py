"""ER7: a lossless reader of HL7 v2's pipes and hats.

Splits into segments and fields at once, into repetitions, components and subcomponents on demand,
and unescapes last (`escapes`). Knows no message structure and refuses nothing but a missing or a
second MSH; the received bytes stay in `Message.raw`.
Source: HL7 v2.5.1 and v2.8.2 chapter 2.5 (encoding rules), 2.7 (escapes), 2.15.9.18 (charsets).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mappings.errors import UnreadableMessage
from mappings.hl7v2.charsets import MSH18, codecs, split_msh
from mappings.hl7v2.escapes import ISO_2022, Delimiters, meant, unescape
from mappings.hl7v2.scan import opening

# A value that deletes what is stored; an empty field changes nothing (v2.5.1 2.5.3).
DELETE = '""'

_SINGLE_BYTE = ("iso8859", "cp12", "cp874", "koi8")

_MSH10 = 10
_MOST_NAMED = 5
_CONTROL_ID = re.compile(r"[\w.:-]{1,50}", re.ASCII)
_MOST_MARKS = 5
# What is left of a frame, or of a file's end, when bytes were cut out of them.
_TRAILERS = b"\x1c\x1a\0"


@dataclass(slots=True)
class Segment:
    """One segment: its fields as sent, numbered as HL7 numbers them.

    Attributes:
        name: Three characters, or whatever stood there.
        number: 1 for the first segment of that name in the message, 2 for the second.
        fields: `fields[0]` is the name, `fields[5]` is field 5; in MSH field 1 is the separator.
    """

    name: str
    number: int
    fields: list[str]

    def field(self, number: int) -> str:
        """A field as sent, still escaped; an empty string when it was not."""
        fields = self.fields
        return fields[number] if number < len(fields) else ""

    def path(self, number: int) -> str:
        """Field path for entries and findings: `OBX[3]-5`."""
        return f"{self.name}[{self.number}]-{number}"


@dataclass(slots=True)
class Message:
    """A message as segments.

    Attributes:
        raw: The bytes as received.
        delimiters: What separates its parts.
        segments: In order, unknown and Z segments included.
        codec: Python codec the bytes were read with.
        declared: MSH-18 as sent.
        undeclared: MSH-18 names no charset that we know.
        damaged: Some bytes were not valid in `codec` and stand as U+FFFD.
        misdeclared: The bytes are UTF-8, and MSH-18 says something else.
        joined: Lines that were no segment and were taken as the rest of the field before.
    """

    raw: bytes
    delimiters: Delimiters
    segments: list[Segment]
    codec: str
    declared: str = ""
    undeclared: bool = False
    damaged: bool = False
    misdeclared: bool = False
    joined: int = 0

    def all(self, name: str) -> Iterator[Segment]:
        """Segments of a name, in order."""
        return (s for s in self.segments if s.name == name)

    def first(self, name: str) -> Segment | None:
        """First segment of a name."""
        return next(self.all(name), None)

    def repetitions(self, text: str) -> list[str]:
        """A field's repetitions, still escaped; none for an empty field."""
        if not text:
            return []
        mark = self.delimiters.repetition
        return text.split(mark) if mark and mark in text else [text]

    def components(self, text: str) -> list[str]:
        """Components of one repetition, unescaped; subcomponents stay joined by their mark."""
        mark = self.delimiters.component
        parts = text.split(mark) if mark and mark in text else [text]
        escape = self.delimiters.escape
        if escape and escape in text:
            return [self.unescape(part) for part in parts]
        return parts

    def subcomponents(self, text: str) -> list[str]:
        """Subcomponents of one component, unescaped. Give it the text as sent."""
        mark = self.delimiters.subcomponent
        parts = text.split(mark) if mark and mark in text else [text]
        return [self.unescape(part) for part in parts]

    def unescape(self, text: str) -> str:
        """Text with its escape sequences resolved; unknown ones, and bare escapes, stay."""
        escape = self.delimiters.escape
        if not escape or escape not in text:
            return text
        return unescape(text, self.delimiters, self.codec)


def parse(raw: bytes, charset: str | None = None) -> Message:
    """Read a message.

    Args:
        raw: One message without its MLLP frame.
        charset: Python codec that overrules MSH-18.

    Raises:
        UnreadableMessage: The bytes do not open with an MSH and its delimiters, or hold a second.
    """
    start = opening(raw)
    codec, declared, undeclared = _codec(raw, start, charset)
    body = raw[start:] if start else raw
    if body[-1] in _TRAILERS:
        body = body.rstrip(_TRAILERS + b"\r\n")
    text, codec, damaged, misdeclared = _decode(body, codec, sure=charset is not None)
    if "\0" in text:
        # No database stores NUL in text, and no message has a use for it.
        text, damaged = text.replace("\0", "\ufffd"), True
    delimiters = _delimiters(text)
    lines, joined = _lines(text, delimiters.field)
    segments: list[Segment] = []
    counts: dict[str, int] = {}
    separator = delimiters.field
    for line in lines:
        fields = line.split(separator)
        name = fields[0].upper()
        number = counts[name] = counts.get(name, 0) + 1
        if name == "MSH":
            fields.insert(1, separator)
        segments.append(Segment(name, number, fields))
    if counts["MSH"] > 1:
        raise UnreadableMessage(_several([s for s in segments if s.name == "MSH"]))
    told = (declared, undeclared, damaged, misdeclared, joined)
    return Message(raw, delimiters, segments, codec, *told)


def _several(headers: list[Segment]) -> str:
    """What is wrong with several messages, or halves of some, in one frame, by their numbers.

    A control id goes into reasons and logs, so only what looks like one is named.
    """
    sent = (header.field(_MSH10) for header in headers[:_MOST_NAMED])
    named = ", ".join(name if _CONTROL_ID.fullmatch(name) else "(none)" for name in sent)
    more = ", ..." if len(headers) > _MOST_NAMED else ""
    return (
        f"{len(headers)} messages in one frame, MSH-10 {named}{more}: "
        "nobody can tell which segments belong to which"
    )


def _codec(raw: bytes, start: int, charset: str | None) -> tuple[str, str, bool]:
    """The codec to read with ("" when nothing says), MSH-18 as sent, whether we do not know it."""
    end = min((p for p in (raw.find(b"\r", start), raw.find(b"\n", start)) if p >= 0), default=-1)
    fields = split_msh(raw[start : end if end >= 0 else len(raw)], raw[start + 3 : start + 4])
    declared = fields[MSH18].decode("ascii", "replace") if len(fields) > MSH18 else ""
    if charset:
        return charset, declared, False
    repetition = raw[start + 5 : start + 6].decode("latin-1") or "~"
    found = codecs(declared, repetition)
    if ISO_2022 in found and b"\x1b" in raw:
        return ISO_2022, declared, None in found
    # Repetition 1 is the default set, later ones are switched to; a first blank or ASCII yields.
    codec = next((c for c in found if c and c != "ascii"), "")
    return codec, declared, None in found


def _decode(raw: bytes, codec: str, *, sure: bool) -> tuple[str, str, bool, bool]:
    """Text, the codec it was read with, whether bytes were lost, and whether MSH-18 is wrong.

    Text of a single-byte charset is never UTF-8 by chance; that of another one is read as it was
    declared as long as it can be.
    """
    if codec:
        if not sure and codec.startswith(_SINGLE_BYTE) and (text := _utf_8(raw)) is not None:
            return text, "utf-8", False, True
        try:
            return raw.decode(codec), codec, False, False
        except (UnicodeDecodeError, LookupError):
            if not sure and (text := _utf_8(raw)) is not None:
                return text, "utf-8", False, True
            codec = codec if _known(codec) else "utf-8"
            return raw.decode(codec, "replace"), codec, True, False
    # Senders that say nothing, or ASCII, and mean something else: UTF-8 is the only guess that
    # proves itself; Latin-1 keeps every byte and is reported.
    try:
        return raw.decode("utf-8"), "utf-8", False, False
    except UnicodeDecodeError:
        return raw.decode("latin-1"), "latin-1", True, False


def _utf_8(raw: bytes) -> str | None:
    """The text of bytes that prove to be UTF-8: valid, and more than ASCII."""
    if raw.isascii():
        return None
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _known(codec: str) -> bool:
    try:
        b"".decode(codec)
    except LookupError:
        return False
    return True


def _delimiters(text: str) -> Delimiters:
    separator = text[3:4]
    if not separator or separator.isalnum() or separator.isspace():
        raise UnreadableMessage("MSH-1 is no field separator")
    end = next((i for i in range(4, len(text)) if text[i] == separator or text[i] in "\r\n"), -1)
    marks = meant(text[4:end] if end >= 0 else text[4:])
    if (
        not 1 <= len(marks) <= _MOST_MARKS
        or len(set(marks)) < len(marks)
        or not marks.isprintable()
    ):
        raise UnreadableMessage("MSH-2 does not hold the encoding characters")
    component, repetition, escape, subcomponent, truncation = (*marks, "", "", "", "", "")[:5]
    return Delimiters(separator, component, repetition, escape, subcomponent, truncation)


def _lines(text: str, separator: str) -> tuple[list[str], int]:
    """Lines that are segments, and how many others were joined to the one before.

    CR, LF and CRLF end segments alike. A line end inside a field (typed by a person, or by an
    engine that forgot to escape) leaves a line without a segment name: it belongs to that field.
    """
    if "\n" in text:
        text = text.replace("\r\n", "\r")
        if "\n" in text:
            text = text.replace("\n", "\r")
    lines: list[str] = []
    rest: list[str] = []
    joined = 0
    for sent in text.split("\r"):
        # The name and its separator; or a bare name, which is a segment without fields.
        name = sent[:3]
        opens = (
            name.isalnum()
            and name.isascii()
            and (sent[3:4] == separator or (sent.isupper() and not sent[3:]))
        )
        line = sent if opens else _indented(sent, separator)
        if line is not None:
            if rest:
                lines[-1] = "\n".join((lines[-1], *rest))
                rest.clear()
            lines.append(line)
        elif lines and sent.strip(_CONTROLS):
            rest.append(sent)
            joined += 1
    if rest:
        lines[-1] = "\n".join((lines[-1], *rest))
    return lines, joined


_CONTROLS = "".join(map(chr, range(0x21)))
_LONG_NAME = re.compile(r"Z[A-Z0-9]{3,5}\Z")


def _indented(line: str, separator: str) -> str | None:
    """A segment behind blanks or frame bytes, or one with a long Z name; None for other text."""
    found = line.lstrip(_CONTROLS)
    name, mark, _ = found.partition(separator)
    if not mark:
        return None
    if len(name) == len("MSH") and name.isascii() and name.isalnum() and name.isupper():
        return found
    return found if _LONG_NAME.match(name) else None
