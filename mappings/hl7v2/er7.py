"""ER7: a lossless reader of HL7 v2's pipes and hats.

Splits into segments and fields at once, into repetitions, components and subcomponents on demand,
and unescapes last. Knows no message structure and refuses nothing but a missing MSH; the received
bytes stay in `Message.raw`.
Source: HL7 v2.5.1 and v2.8.2 chapter 2.5 (encoding rules), 2.7 (escapes), 2.15.9.18 (charsets).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mappings.errors import UnreadableMessage

# A value that deletes what is stored; an empty field changes nothing (v2.5.1 2.5.3).
DELETE = '""'

_CODECS = {
    "": "",
    "ASCII": "ascii",
    "ISO IR6": "ascii",
    "UNICODE UTF-8": "utf-8",
    "UNICODE": "utf-8",
    "UTF-8": "utf-8",
    "UTF8": "utf-8",
    "UNICODE UTF-16": "utf-16",
    "GB 18030-2000": "gb18030",
    "GB18030": "gb18030",
    "GB18030-2000": "gb18030",
    "GBK": "gb18030",
    "GB2312": "gb18030",
    "BIG-5": "big5",
    "ISO IR87": "iso2022_jp",
    "ISO IR14": "iso2022_jp",
    "ISO IR159": "iso2022_jp_1",
    "KS X 1001": "euc_kr",
    **{f"8859/{part}": f"iso8859-{part}" for part in (*range(1, 12), 13, 14, 15)},
}


# MSH-18 where MSH is split but its separator is not yet counted as a field.
_MSH18 = 17
_MOST_MARKS = 5


@dataclass(frozen=True, slots=True)
class Delimiters:
    """MSH-1 and MSH-2 of one message; a character that was not sent is an empty string."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"
    truncation: str = ""


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
        damaged: Some bytes were not valid in `codec` and stand as U+FFFD.
        joined: Lines that were no segment and were taken as the rest of the field before.
    """

    raw: bytes
    delimiters: Delimiters
    segments: list[Segment]
    codec: str
    declared: str = ""
    damaged: bool = False
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
        return _unescape(text, self.delimiters, self.codec)


def parse(raw: bytes, charset: str | None = None) -> Message:
    """Read a message.

    Args:
        raw: One message without its MLLP frame.
        charset: Python codec that overrules MSH-18.

    Raises:
        UnreadableMessage: The bytes do not open with an MSH and its delimiters.
    """
    start = 3 if raw.startswith(b"\xef\xbb\xbf") else 0
    while raw[start : start + 1] in (b"\r", b"\n") and start < len(raw):
        start += 1
    if raw[start : start + 3] != b"MSH":
        raise UnreadableMessage("it does not open with MSH")
    codec, declared = _codec(raw, start, charset)
    text, codec, damaged = _decode(raw[start:] if start else raw, codec)
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
        name = fields[0]
        number = counts[name] = counts.get(name, 0) + 1
        if name == "MSH":
            fields.insert(1, separator)
        segments.append(Segment(name, number, fields))
    return Message(raw, delimiters, segments, codec, declared, damaged, joined)


def _codec(raw: bytes, start: int, charset: str | None) -> tuple[str, str]:
    """The codec to read with ("" when nothing says), and MSH-18 as sent."""
    end = min((p for p in (raw.find(b"\r", start), raw.find(b"\n", start)) if p >= 0), default=-1)
    fields = raw[start : end if end >= 0 else len(raw)].split(raw[start + 3 : start + 4] or b"|")
    declared = fields[_MSH18].decode("ascii", "replace") if len(fields) > _MSH18 else ""
    if charset:
        return charset, declared
    repetition = raw[start + 5 : start + 6].decode("latin-1") or "~"
    names = [name.strip().upper() for name in declared.split(repetition)]
    # Repetition 1 is the default set, later ones are switched to by escapes; ISO 2022 codecs
    # hold both, so a first blank or ASCII yields to a second.
    for name in names:
        codec = _CODECS.get(name, "")
        if codec and codec != "ascii":
            return codec, declared
    return "", declared


def _decode(raw: bytes, codec: str) -> tuple[str, str, bool]:
    if codec:
        try:
            return raw.decode(codec), codec, False
        except (UnicodeDecodeError, LookupError):
            codec = codec if _known(codec) else "utf-8"
            return raw.decode(codec, "replace"), codec, True
    # Senders that say nothing, or ASCII, and mean something else: UTF-8 is the only guess that
    # proves itself; Latin-1 keeps every byte and is reported.
    try:
        return raw.decode("utf-8"), "utf-8", False
    except UnicodeDecodeError:
        return raw.decode("latin-1"), "latin-1", True


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
    marks = text[4:end] if end >= 0 else text[4:]
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
    joined = 0
    for line in text.split("\r"):
        # The name and its separator; or a bare name, which is a segment without fields.
        if line[:3].isalnum() and (line[3:4] == separator or (line.isupper() and not line[3:])):
            lines.append(line)
        elif line and lines:
            lines[-1] += "\n" + line
            joined += 1
    return lines, joined


_PLAIN = {
    ".br": "\n",
    ".ce": "\n",
    ".sp": "\n",
    ".fi": "",
    ".nf": "",
    "H": "",
    "N": "",
}
_FORMATTING = re.compile(r"\.(?P<name>sp|in|ti|sk)(?P<count>[+-]?\d{1,3})\Z")
_HEX = re.compile(r"X(?P<digits>(?:[0-9A-Fa-f]{2})+)\Z")
# Longer runs between two escape characters are text with a backslash at each end.
_LONGEST_SEQUENCE = 2_000


def _unescape(text: str, delimiters: Delimiters, codec: str) -> str:
    mark = delimiters.escape
    plain = {
        **_PLAIN,
        "F": delimiters.field,
        "S": delimiters.component,
        "T": delimiters.subcomponent,
        "R": delimiters.repetition,
        "E": mark,
        "P": delimiters.truncation or "#",
    }
    out: list[str] = []
    at = 0
    while True:
        opening = text.find(mark, at)
        closing = text.find(mark, opening + 1) if opening >= 0 else -1
        if closing < 0:
            out.append(text[at:])
            return "".join(out)
        sequence = text[opening + 1 : closing]
        resolved = plain.get(sequence)
        if resolved is None:
            resolved = _sequence(sequence, codec)
        if resolved is None:
            # Not an escape: the next mark may open one ("C:\temp\.br\").
            out.append(text[at:closing])
            at = closing
        else:
            out.append(text[at:opening])
            out.append(resolved)
            at = closing + 1


def _sequence(sequence: str, codec: str) -> str | None:
    """The meaning of a sequence with an argument, or None."""
    if not sequence or len(sequence) > _LONGEST_SEQUENCE:
        return None
    found = _HEX.match(sequence)
    if found is not None:
        return bytes.fromhex(found["digits"]).decode(codec, "replace").replace("\0", "\ufffd")
    found = _FORMATTING.match(sequence)
    if found is None:
        return None
    count = abs(int(found["count"]))
    match found["name"]:
        case "sp":
            return "\n" * min(count, 100)
        case "sk":
            return " " * min(count, 100)
        case _:
            return ""
