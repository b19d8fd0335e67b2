"""Acknowledgements: MSA and ERR in the sender's own delimiters, charset and version.

Which code a situation earns is the listener's business (reliability.md table 4.1); this builds it.
Source: HL7 v2.5.1 chapter 2.9, 2.15.5 (ERR), 2.15.8 (MSA); tables 0008, 0357, 0516.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Literal

from mappings.hl7v2.scan import Header, Shared, by_sender

AckCode = Literal["AA", "AE", "AR", "CA", "CE", "CR"]

_APPLICATION = b"ONCORD"
_ERR_HAS_CODES_SINCE = (2, 5)
_STRUCTURE_SINCE = (2, 3, 1)
_CONTROLS = bytes(range(0x1B)) + b"\x1c\x1d\x1e\x1f"


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


SET_ASIDE = AckError(code="207", text="Kept, and set aside for a person to look at")


def ack(
    header: Header,
    code: AckCode,
    *,
    control_id: str,
    now: datetime,
    error: AckError | None = None,
    accept: bytes = b"",
) -> bytes:
    """The answer to a message, ready for framing.

    Args:
        header: What was scanned of the message answered.
        code: Table 0008.
        control_id: Our MSH-10.
        now: Aware time for MSH-7.
        error: What ERR shall say; without it there is no ERR.
        accept: MSH-15 of an application acknowledgement, which is a message of its own; an answer
            on the same connection has none.
    """
    before, between, after, end = _pieces(header.shared, code, error, accept)
    stamp = _stamp(int(now.timestamp()), now.tzinfo)
    own_id = control_id.encode("ascii", "replace")
    return b"".join((before, stamp, between, own_id, after, _clean(header.number), end))


@by_sender
def _pieces(
    sent: Shared, code: AckCode, error: AckError | None, accept: bytes
) -> tuple[bytes, bytes, bytes, bytes]:
    """An answer without MSH-7, MSH-10 and MSA-2, cut where they belong."""
    delimiters, charset = sent.delimiters, sent.field(18)
    application, facility, receiver, at = (sent.field(n) for n in (3, 4, 5, 6))
    kind, processing, version = (sent.field(n) for n in (9, 11, 12))
    separator, component = delimiters[:1], delimiters[1:2]
    trigger = kind.split(component)[1:2] if component else []
    before = [b"MSH" + delimiters, receiver or _APPLICATION, at, application, facility, b""]
    said = _version(version.split(component)[0] if component else version)
    between = [b"", b"", component.join(_kind(trigger, said)), b""]
    after = [b"", processing or b"P", version or b"2.5.1"]
    if charset or accept:
        after += [b"", b"", accept, b"NE" if accept else b"", b"", charset]
    end = b"\r"
    if error is not None:
        end += _clean(separator.join(_err(delimiters, said, error))) + b"\r"
    joined = [_clean(separator.join(part)) for part in (before, between, after)]
    msa = b"\r" + separator.join((b"MSA", code.encode(), b""))
    return joined[0], joined[1], joined[2] + msa, end


def _kind(trigger: list[bytes], version: tuple[int, ...]) -> list[bytes]:
    """MSH-9 of an answer: the structure stands beside the event, and only since 2.3.1."""
    if not any(trigger):
        return [b"ACK"]
    return [b"ACK", *trigger, *([b"ACK"] if version >= _STRUCTURE_SINCE else [])]


@lru_cache(maxsize=8)
def _stamp(second: int, zone: tzinfo | None) -> bytes:
    return datetime.fromtimestamp(second, zone).strftime("%Y%m%d%H%M%S%z").encode()


def _err(delimiters: bytes, version: tuple[int, ...], error: AckError) -> list[bytes]:
    """ERR by version: ELD in ERR-1 before 2.5, else location, code, severity and text apart."""
    component = delimiters[1:2]
    text = _escape(error.text, delimiters)
    code = component.join((error.code.encode(), text, b"HL70357"))
    segment, number, field = error.location or ("", 0, 0)
    place = [segment.encode(), str(number).encode(), str(field).encode()] if segment else []
    if version < _ERR_HAS_CODES_SINCE:
        mark = delimiters[4:5] or b"&"
        detail = mark.join((error.code.encode(), text, b"HL70357"))
        return [b"ERR", component.join([*(place or [b""] * 3), detail])]
    location = component.join(place)
    return [b"ERR", b"", location, code, error.severity.encode(), b"", b"", b"", text]


def _version(said: bytes) -> tuple[int, ...]:
    return tuple(int(p) for p in said.split(b".") if p.isdigit()) or _ERR_HAS_CODES_SINCE


def _escape(text: str, delimiters: bytes) -> bytes:
    """Our own words with the sender's marks taken out; they need none of them."""
    marks = delimiters.decode("latin-1")
    return "".join(" " if c in marks else c for c in text).encode("ascii", "replace")


def _clean(line: bytes) -> bytes:
    """No control characters: an echoed field must not end a segment or a frame (A14)."""
    return line.translate(None, _CONTROLS)
