"""Batches: FHS, BHS … BTS, FTS around messages, taken apart byte by byte, and their answers.

Source: HL7 v2.5.1 chapter 2.10.3, 2.15.2 (BHS), 2.15.3 (BTS), 2.15.6 (FHS), 2.15.7 (FTS).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mappings.errors import UnreadableMessage

_BEFORE = rb"\A(?:\xef\xbb\xbf)?[\r\n\t ]*"  # a byte order mark and blanks
_OPENING = re.compile(_BEFORE + rb"(?:FHS|BHS)[^\w\s]")
_SEGMENT = re.compile(rb"(?:" + _BEFORE + rb"|(?<=[\r\n]))(FHS|BHS|MSH|BTS|FTS)(?=[^\w\s])")


@dataclass(frozen=True, slots=True)
class Batch:
    """What a batch holds.

    Attributes:
        envelope: The envelope's segments without the messages, in order.
        messages: Each message as sent, in order.
        declared: BTS-1 added up, or None where no BTS counts.
    """

    envelope: tuple[bytes, ...]
    messages: tuple[bytes, ...]
    declared: int | None

    @property
    def complaint(self) -> str:
        """What is wrong with the envelope, or nothing."""
        if self.declared is not None and self.declared != len(self.messages):
            return f"BTS-1 says {self.declared} messages, {len(self.messages)} came"
        if not any(s.startswith((b"BTS", b"FTS")) for s in self.envelope):
            return "the batch has no trailer"
        return ""


def is_batch(raw: bytes) -> bool:
    """Whether a frame opens with FHS or BHS."""
    return _OPENING.match(raw) is not None


def split(raw: bytes) -> Batch:
    """Take a batch apart.

    Raises:
        UnreadableMessage: No message is in it.
    """
    marks = [(found.start(1), found[1]) for found in _SEGMENT.finditer(raw)]
    envelope: list[bytes] = []
    messages: list[bytes] = []
    for (start, name), (end, _) in zip(marks, [*marks[1:], (len(raw), b"")], strict=True):
        piece = raw[start:end]
        if name == b"MSH":
            messages.append(piece)
        else:
            # Lines that follow an envelope segment belong to nothing else: they stay with it.
            envelope.append(piece.rstrip(b"\r\n"))
    if not messages:
        raise UnreadableMessage("a batch without a message")
    return Batch(tuple(envelope), tuple(messages), _declared(envelope))


def answer(
    batch: Batch, acknowledgements: Sequence[bytes], *, control_id: str, now: datetime
) -> bytes:
    """The batch of answers, in the envelope in which the messages came.

    Args:
        batch: What is answered.
        acknowledgements: Unframed, in the order of the messages; those that want none left out.
        control_id: Our BHS-11.
        now: Aware time for BHS-7.
    """
    headers = {segment[:3]: segment for segment in batch.envelope}
    names = [name for name in (b"FHS", b"BHS") if name in headers]
    lines = [_header(headers[name], control_id, now) for name in names]
    last = headers.get(b"BHS", headers.get(b"FHS", b""))
    separator = last[3:4] or b"|"
    body = b"".join(line + b"\r" for line in lines) + b"".join(acknowledgements)
    if b"BHS" in headers:
        body += b"BTS" + separator + str(len(acknowledgements)).encode() + b"\r"
    if b"FHS" in headers:
        body += b"FTS" + separator + b"1\r"
    return body


def _header(sent: bytes, control_id: str, now: datetime) -> bytes:
    """FHS or BHS of the answer: the names change places, -12 refers to the sender's -11."""
    separator = sent[3:4]
    fields = sent.split(b"\r")[0].split(b"\n")[0].split(separator)
    fields += [b""] * (12 - len(fields))
    stamp = now.strftime("%Y%m%d%H%M%S%z").encode()
    made = [fields[0], fields[1], fields[4], fields[5], fields[2], fields[3], stamp]
    made += [b"", b"", b"", control_id.encode("ascii", "replace"), fields[10]]
    return separator.join(made)


def _declared(envelope: Sequence[bytes]) -> int | None:
    counts = [segment.split(segment[3:4])[1] for segment in envelope if segment.startswith(b"BTS")]
    counted = [int(count) for count in counts if count.isdigit() and len(count) < 10]  # noqa: PLR2004
    return sum(counted) if counted else None
