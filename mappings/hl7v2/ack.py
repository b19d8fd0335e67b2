"""Acknowledgements: MSA and ERR in the sender's own delimiters, charset and version.

Which code a situation earns is the listener's business (reliability.md table 4.1); this builds it.
Source: HL7 v2.5.1 chapter 2.9, 2.15.5 (ERR), 2.15.8 (MSA); tables 0008, 0357, 0516.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Literal

from mappings.hl7v2.scan import Header

AckCode = Literal["AA", "AE", "AR", "CA", "CE", "CR"]

_APPLICATION = b"ONCORD"
_ERR_HAS_CODES_SINCE = (2, 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class AckError:
    """What ERR says.

    Attributes:
        code: Table 0357: 100 segment sequence, 101 required field missing, 102 data type, 103
            table value, 200 unsupported message type, 202 processing id, 203 version, 207 internal.
        text: One sentence of ours; never content of the message.
        location: Segment, its number and the field, as ERL or ELD want them, or None.
        severity: E or W (table 0516).
    """

    code: str
    text: str
    location: tuple[str, int, int] | None = None
    severity: Literal["E", "W", "I"] = "E"


def ack(
    header: Header,
    code: AckCode,
    *,
    control_id: str,
    now: datetime,
    error: AckError | None = None,
) -> bytes:
    """The answer to a message, ready for framing.

    Args:
        header: What was scanned of the message answered.
        code: Table 0008.
        control_id: Our MSH-10.
        now: Aware time for MSH-7.
        error: What ERR shall say; without it there is no ERR.
    """
    separator = header.delimiters[:1]
    marks = header.delimiters[1:]
    component = marks[:1]
    trigger = header.message_type.split("^")[1] if "^" in header.message_type else ""
    kind = component.join(p.encode() for p in ("ACK", trigger, "ACK") if p)
    receiver = header.field(5) or _APPLICATION
    msh = [
        b"MSH" + separator + marks,
        receiver,
        header.field(6),
        header.field(3),
        header.field(4),
        _stamp(now.replace(microsecond=0)),
        b"",
        kind,
        control_id.encode("ascii", "replace"),
        header.field(11) or b"P",
        header.field(12) or b"2.5.1",
    ]
    charset = header.field(18)
    if charset:
        msh += [b""] * 5 + [charset]
    msa = [b"MSA", code.encode(), header.field(10)]
    segments = [msh, msa]
    if error is not None:
        segments.append(_err(header, error, component))
    return b"".join(_clean(separator.join(fields)) + b"\r" for fields in segments)


@lru_cache(maxsize=8)
def _stamp(now: datetime) -> bytes:
    return now.strftime("%Y%m%d%H%M%S%z").encode()


def _err(header: Header, error: AckError, component: bytes) -> list[bytes]:
    """ERR by version: ELD in ERR-1 before 2.5, else location, code, severity and text apart."""
    text = _escape(error.text, header.delimiters)
    code = component.join((error.code.encode(), text, b"HL70357"))
    segment, number, field = error.location or ("", 0, 0)
    place = [segment.encode(), str(number).encode(), str(field).encode()] if segment else []
    if _version(header) < _ERR_HAS_CODES_SINCE:
        mark = header.delimiters[4:5] or b"&"
        detail = mark.join((error.code.encode(), text, b"HL70357"))
        return [b"ERR", component.join([*(place or [b""] * 3), detail])]
    location = component.join(place)
    return [b"ERR", b"", location, code, error.severity.encode(), b"", b"", b"", text]


def _version(header: Header) -> tuple[int, ...]:
    parts = header.version.split(".")
    return tuple(int(p) for p in parts if p.isdigit()) or _ERR_HAS_CODES_SINCE


def _escape(text: str, delimiters: bytes) -> bytes:
    """Our own words with the sender's marks taken out; they need none of them."""
    marks = delimiters.decode("latin-1")
    return "".join(" " if c in marks else c for c in text).encode("ascii", "replace")


def _clean(line: bytes) -> bytes:
    """No control characters: an echoed field must not end a segment or a frame (A14)."""
    return line.translate(None, bytes(range(0x1B)) + b"\x1c\x1d\x1e\x1f")
