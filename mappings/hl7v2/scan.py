"""A bounded byte scan: what must be known of a message before it is stored and answered.

No decoding, no splitting of the body: MSH, and every PID-3, MRG-1 and OBR-3, for lane
keys, answers and echoes. Mapping reads the message again, properly, with `er7`.
Source: site rules 5 and 17; reliability.md 0.3; HL7 v2.5.1 chapter 2.15.9.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass

from mappings.errors import UnreadableMessage

# Identifiers beyond this offset are not looked for; the lane is then the connection.
_SCANNED = 1 << 20
_MOST_SEGMENTS = 200  # of a kind
_MSH7 = 6


@dataclass(frozen=True, slots=True)
class Header:
    """MSH and the keys of a message, as bytes of the sender's charset.

    Attributes:
        msh: Fields of MSH; `msh[n]` is MSH-n, `msh[1]` the separator.
        delimiters: MSH-1 followed by MSH-2.
        patient_ids: Every repetition of every PID-3, as sent.
        prior_ids: Every repetition of every MRG-1, as sent.
        raw: The message itself.
    """

    msh: tuple[bytes, ...]
    delimiters: bytes
    patient_ids: tuple[bytes, ...]
    prior_ids: tuple[bytes, ...]
    raw: bytes = dataclasses.field(repr=False)

    @property
    def fillers(self) -> tuple[bytes, ...]:
        """Every OBR-3, as sent; blank ones are left out. Nobody asks before the answer is sent."""
        return tuple(_collected(self.raw, b"OBR" + self.delimiters[:1], 3))

    @property
    def orders(self) -> int:
        """Number of OBR segments, those without a filler number counted."""
        start = b"OBR" + self.delimiters[:1]
        return sum(self.raw.count(end + start) for end in (b"\r", b"\n"))

    def field(self, number: int) -> bytes:
        """MSH-`number` as sent; empty when it was not."""
        return self.msh[number] if number < len(self.msh) else b""

    def text(self, number: int) -> str:
        """MSH-`number` for people and keys; undecodable bytes are kept as hex escapes."""
        return self.field(number).decode("utf-8", "backslashreplace").replace("\0", "\\x00")

    @property
    def sending_application(self) -> str:
        """MSH-3."""
        return self.text(3)

    @property
    def sending_facility(self) -> str:
        """MSH-4."""
        return self.text(4)

    @property
    def receiving_application(self) -> str:
        """MSH-5."""
        return self.text(5)

    @property
    def receiving_facility(self) -> str:
        """MSH-6."""
        return self.text(6)

    @property
    def message_type(self) -> str:
        """MSH-9 with its components joined by ^, whatever the sender's own mark is."""
        return self.text(9).replace(chr(self.delimiters[1]), "^")

    @property
    def control_id(self) -> str:
        """MSH-10."""
        return self.text(10)

    @property
    def processing_id(self) -> str:
        """MSH-11.1: P, T or D."""
        return self.text(11).partition(chr(self.delimiters[1]))[0]

    @property
    def version(self) -> str:
        """MSH-12.1."""
        return self.text(12).partition(chr(self.delimiters[1]))[0]

    @property
    def accept_ack(self) -> str:
        """MSH-15."""
        return self.text(15)

    @property
    def application_ack(self) -> str:
        """MSH-16."""
        return self.text(16)

    @property
    def enhanced(self) -> bool:
        """Whether MSH-15 or MSH-16 asks for enhanced acknowledgement."""
        return bool(self.field(15) or self.field(16))


def scan(raw: bytes) -> Header:
    """Read MSH and the lane keys of one message without its frame.

    Raises:
        UnreadableMessage: No MSH, or one whose delimiters or MSH-9 cannot be read.
    """
    start = _start(raw)
    separator = raw[start + 3 : start + 4]
    fields = raw[start : _end(raw, start)].split(separator)
    marks = fields[1] if len(fields) > 1 else b""
    if not 1 <= len(marks) <= 5 or len(fields) < 9 or not fields[8]:  # noqa: PLR2004  MSH-2, MSH-9
        raise UnreadableMessage("MSH-2 or MSH-9 is missing")
    fields.insert(1, separator)
    repetition = marks[1:2]
    return Header(
        tuple(fields),
        separator + marks,
        _repetitions(_collected(raw, b"PID" + separator, 3), repetition),
        _repetitions(_collected(raw, b"MRG" + separator, 1), repetition),
        raw,
    )


def lane(identifiers: tuple[bytes, ...], delimiters: bytes) -> str:
    """Lane of the first of some identifiers: order within a patient as the sender names them.

    Raw text, not the canonical identifier: order matters within a sender, and the fold settles it
    between doors (site rule 5). Empty without an identifier.
    """
    if not identifiers:
        return ""
    component, sub = delimiters[1:2], delimiters[4:5] or b"&"
    parts = identifiers[0].split(component)
    authority = parts[3].split(sub)[0] if len(parts) > 3 else b""  # noqa: PLR2004  CX.4
    return (authority + b"|" + parts[0]).decode("utf-8", "backslashreplace")[:200]


def dedup_digest(raw: bytes) -> bytes:
    """SHA-256 of a message with MSH-7 blanked: engines restamp it when they resend.

    Raises:
        UnreadableMessage: No MSH.
    """
    start = _start(raw)
    end = _end(raw, start)
    separator = raw[start + 3 : start + 4]
    at = start + 2
    for _ in range(_MSH7):
        at = raw.find(separator, at + 1, end)
        if at < 0:
            return hashlib.sha256(raw).digest()
    stop = raw.find(separator, at + 1, end)
    digest = hashlib.sha256(raw[: at + 1])
    digest.update(memoryview(raw)[stop if stop >= 0 else end :])
    return digest.digest()


def _start(raw: bytes) -> int:
    start = 3 if raw.startswith(b"\xef\xbb\xbf") else 0
    while raw[start : start + 1] in (b"\r", b"\n") and start < len(raw):
        start += 1
    if raw[start : start + 3] != b"MSH":
        raise UnreadableMessage("it does not open with MSH")
    separator = raw[start + 3 : start + 4]
    if not separator or separator.isalnum() or separator.isspace() or separator >= b"\x80":
        raise UnreadableMessage("MSH-1 is no field separator")
    return start


def _end(raw: bytes, start: int) -> int:
    """Where a segment ends: at the first CR or LF, or with what is scanned of the message."""
    carriage = raw.find(b"\r", start, start + _SCANNED)
    if carriage < 0:
        carriage = min(len(raw), start + _SCANNED)
    line = raw.find(b"\n", start, carriage)
    return carriage if line < 0 else line


def _collected(raw: bytes, opening: bytes, number: int) -> list[bytes]:
    """Field `number` of each segment that opens so."""
    separator = opening[-1:]
    found: list[bytes] = []
    for ending in (b"\r", b"\n") if b"\n" in raw else (b"\r",):
        at = raw.find(ending + opening, 0, _SCANNED)
        while at >= 0 and len(found) < _MOST_SEGMENTS:
            start = at + 1 + len(opening)
            fields = raw[start : _end(raw, start)].split(separator, number)
            if len(fields) >= number and fields[number - 1]:
                found.append(fields[number - 1])
            at = raw.find(ending + opening, start, _SCANNED)
    return found


def _repetitions(fields: list[bytes], mark: bytes) -> tuple[bytes, ...]:
    if not mark:
        return tuple(fields)
    return tuple(part for field in fields for part in field.split(mark) if part)
