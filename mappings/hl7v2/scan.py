"""A bounded byte scan: what must be known of a message before it is stored and answered.

No decoding, no splitting of the body: MSH, and every PID-3, MRG-1 and OBR-3, for lane
keys, answers and echoes. Mapping reads the message again, properly, with `er7`.
Source: site rules 5 and 17; reliability.md 0.3; HL7 v2.5.1 chapter 2.15.9.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeVar, TypeVarTuple, cast

from mappings.errors import UnreadableMessage
from mappings.hl7v2.charsets import split_msh
from mappings.hl7v2.escapes import meant

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# Identifiers beyond this offset are not looked for; the lane is then the connection.
_SCANNED = 1 << 20
_MOST_SEGMENTS = 200  # of a kind
_MSH7, _MSH10 = 6, 9  # places when MSH is split at its separator
_LONG = 1000  # bytes of an MSH that is not remembered
_DELETE = b'""'
_BLANKS = b"\r\n\t \x0b"
_REMEMBERED = 256


# Compared by identity, so that what follows from it is found without hashing twenty fields.
@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """What MSH says apart from MSH-7 and MSH-10: the same in message after message of a sender.

    Attributes:
        msh: Fields of MSH; `msh[n]` is MSH-n, `msh[1]` the separator, MSH-7 and MSH-10 are empty.
        delimiters: MSH-1 followed by MSH-2, as the sender meant it.
        long: It is not worth keeping.
    """

    msh: tuple[bytes, ...]
    delimiters: bytes
    long: bool = False

    def field(self, number: int) -> bytes:
        """MSH-`number` as sent; empty when it was not, and for MSH-7 and MSH-10."""
        return self.msh[number] if number < len(self.msh) else b""

    def text(self, number: int) -> str:
        """MSH-`number` for people and keys; undecodable bytes are kept as hex escapes."""
        return _text(self.field(number))

    @property
    def sender(self) -> str:
        """`MSH-3|MSH-4`."""
        return f"{self.text(3)}|{self.text(4)}"

    @property
    def message_type(self) -> str:
        """MSH-9 with its components joined by ^, whatever the sender's own mark is."""
        return self.text(9).replace(chr(self.delimiters[1]), "^")

    @property
    def enhanced(self) -> bool:
        """Whether MSH-15 or MSH-16 asks for enhanced acknowledgement."""
        return any(self.field(n) not in (b"", _DELETE) for n in (15, 16))


def by_sender(function: Callable[[Shared, *Ts], T]) -> Callable[[Shared, *Ts], T]:
    """Work out once what follows from a sender's `Shared`; what is long is worked out each time."""
    remembered = cast("Callable[[Shared, *Ts], T]", lru_cache(maxsize=_REMEMBERED)(function))

    def found(shared: Shared, /, *args: *Ts) -> T:
        return (function if shared.long else remembered)(shared, *args)

    return found


# Not frozen: freezing doubles the cost of making one, and each message makes one.
@dataclass(slots=True)
class Header:
    """MSH and the keys of a message, as bytes of the sender's charset.

    Attributes:
        shared: MSH without MSH-7 and MSH-10.
        stamp: MSH-7 as sent.
        number: MSH-10 as sent.
        stamp_at: Offset of MSH-7 in the message.
        raw: The message itself.
    """

    shared: Shared
    stamp: bytes
    number: bytes
    stamp_at: int
    raw: bytes = field(repr=False)

    @property
    def delimiters(self) -> bytes:
        """MSH-1 followed by MSH-2."""
        return self.shared.delimiters

    @property
    def patient_ids(self) -> tuple[bytes, ...]:
        """Every repetition of every PID-3, as sent."""
        return self._identifiers(b"PID", 3)

    @property
    def prior_ids(self) -> tuple[bytes, ...]:
        """Every repetition of every MRG-1, as sent."""
        return self._identifiers(b"MRG", 1)

    @property
    def lane(self) -> str:
        """Lane of the first of the `patient_ids`, without looking for the others."""
        raw, delimiters = self.raw, self.shared.delimiters
        separator, repetition = delimiters[:1], delimiters[2:3]
        at = raw.find(b"\rPID" + separator, 0, _SCANNED)
        if at >= 0:
            fields = raw[at + 5 : _end(raw, at + 5)].split(separator, 3)
            first = fields[2] if len(fields) > 2 else b""  # noqa: PLR2004  PID-3
            if repetition:
                first = first.partition(repetition)[0]
            if first:
                return lane((first,), delimiters)
        return lane(self.patient_ids, delimiters)

    def _identifiers(self, segment: bytes, number: int) -> tuple[bytes, ...]:
        delimiters = self.shared.delimiters
        found = _collected(self.raw, segment + delimiters[:1], number)
        return _repetitions(found, delimiters[2:3])

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
        if number == _MSH7 + 1:
            return self.stamp
        return self.number if number == _MSH10 + 1 else self.shared.field(number)

    def text(self, number: int) -> str:
        """MSH-`number` for people and keys; undecodable bytes are kept as hex escapes."""
        return _text(self.field(number))

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
        return self.shared.message_type

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
        return self.shared.enhanced


def scan(raw: bytes) -> Header:
    """Read MSH and the lane keys of one message without its frame.

    Raises:
        UnreadableMessage: No MSH, or one whose delimiters or MSH-9 cannot be read.
    """
    start = opening(raw)
    separator = raw[start + 3 : start + 4]
    line = raw[start : _end(raw, start)]
    # Of a plain line only what is needed here is split, however long it is.
    plain = line.isascii() and b"\x1b" not in line
    fields = line.split(separator, _MSH10 + 1) if plain else split_msh(line, separator)
    marks = fields[1] if len(fields) > 1 else b""
    if not 1 <= len(marks) <= 5 or len(fields) < 9 or not fields[8]:  # noqa: PLR2004  MSH-2, MSH-9
        raise UnreadableMessage("MSH-2 or MSH-9 is missing")
    stamp, number = fields[_MSH7], b""
    stamp_at = start + sum(map(len, fields[:_MSH7])) + _MSH7
    fields[_MSH7] = b""
    if len(fields) > _MSH10:
        number, fields[_MSH10] = fields[_MSH10], b""
    rest = separator.join(fields)
    shared = (_shared if len(rest) < _LONG else _shared.__wrapped__)(rest, separator)
    return Header(shared, stamp, number, stamp_at, raw)


@lru_cache(maxsize=_REMEMBERED)
def _shared(msh: bytes, separator: bytes) -> Shared:
    """From MSH with MSH-7 and MSH-10 blanked."""
    fields = split_msh(msh, separator)
    delimiters = separator + meant(fields[1].decode("latin-1")).encode("latin-1")
    fields.insert(1, separator)
    return Shared(tuple(fields), delimiters, len(msh) >= _LONG)


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
    """SHA-256 of a message with MSH-7 blanked: engines restamp it when they resend."""
    try:
        header = scan(raw)
    except UnreadableMessage:
        return hashlib.sha256(raw).digest()
    digest = hashlib.sha256(raw[: header.stamp_at])
    digest.update(memoryview(raw)[header.stamp_at + len(header.stamp) :])
    return digest.digest()


def opening(raw: bytes) -> int:
    """Where MSH begins: behind a byte order mark, blanks and line ends.

    Raises:
        UnreadableMessage: Something else stands there, or MSH-1 is no mark.
    """
    start = 0
    if not raw.startswith(b"MSH"):
        start = 3 if raw.startswith(b"\xef\xbb\xbf") else 0
        while start < len(raw) and raw[start] in _BLANKS:
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


def _text(sent: bytes) -> str:
    return sent.decode("utf-8", "backslashreplace").replace("\0", "\\x00")


def _repetitions(fields: list[bytes], mark: bytes) -> tuple[bytes, ...]:
    if not mark:
        return tuple(fields)
    return tuple(part for field in fields for part in field.split(mark) if part)
