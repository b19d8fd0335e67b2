"""What a door took, what became of it, and the bytes under which the journal holds it.

Source: architecture.md "The flow"; reliability.md 4.1.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import orjson

from interop.ledger.images import NewInstance
from mappings.hl7v2.scan import dedup_digest

_LENGTHS = struct.Struct("<II")  # of the JSON part and of the reply; the body is the rest


# Not frozen: freezing triples the cost of making one, and a sender waits meanwhile.
@dataclass(slots=True)
class Received:
    """One message as a door took it.

    Attributes:
        door: `mllp`, `fhir` or `stow`.
        control_key: Digest of (interface, MSH-3, MSH-4, MSH-10), or None where nothing like it is.
        dedup: `control_key`, a slash, and the digest that an exact duplicate shares (MSH-7 left
            out), or None. One index answers both questions: is it known, is its number reused.
            `digested` works it out, for who needs it: no sender waits for it whose control id is
            new.
        digest: SHA-256 of the bytes where they lie in blobs; otherwise the mover works it out.
        body: The bytes, or None where they lie in blobs.
        reply: The answer to give, and to give again to an exact duplicate.
        reply_if_reused: The answer instead, where its control id is known under other bytes.
        state: `received`, or `rejected` and `quarantined` for what is only kept.
        stage: Stage of the job that takes it further, or None.
        not_before: When that job may start, or None for at once.
        instances: SOP instances whose blobs are durable, written in the same transaction.
    """

    door: str
    interface: str
    received_at: datetime
    kind: str
    lane: str
    size: int
    digest: str = ""
    control_key: str | None = None
    dedup: str | None = None
    body: bytes | None = None
    reply: bytes | None = None
    code: str = ""
    origin: str = "live"
    state: str = "received"
    reason: str = ""
    stage: str | None = "ingest"
    not_before: datetime | None = None
    instances: tuple[NewInstance, ...] = ()
    reply_if_reused: bytes | None = None

    def digested(self) -> str | None:
        """`dedup`, worked out when it is first asked for."""
        if self.dedup is None and self.control_key is not None:
            self.dedup = f"{self.control_key}/{dedup_digest(self.body or b'').hex()}"
        return self.dedup


@dataclass(slots=True)
class Stored:
    """What became of a `Received`.

    Attributes:
        id: Ledger id; of the first copy when this is an exact duplicate.
        reply: The answer to send: the stored one for an exact duplicate.
        seen: `new`, `duplicate`, or `reused` (same control id, other bytes: kept, and alarming).
    """

    id: int
    reply: bytes | None
    seen: Literal["new", "duplicate", "reused"]


@dataclass(frozen=True, slots=True)
class Record:
    """One record of the journal: a message under its id, or that the message came again."""

    id: int
    received: Received | None


def packed(row_id: int, item: Received | None) -> tuple[bytes, bytes]:
    """A record as (head, body); None says that message `row_id` came again.

    Raises:
        TypeError: A field holds what no database column could (a lone surrogate).
    """
    if item is None:
        told = orjson.dumps([row_id])
        return _LENGTHS.pack(len(told), 0) + told, b""
    told = orjson.dumps(
        (
            row_id,
            item.body is not None,
            item.reply is not None,
            item.door,
            item.interface,
            item.received_at,
            item.kind,
            item.lane,
            item.digest,
            item.size,
            item.control_key,
            item.dedup,
            item.code,
            item.origin,
            item.state,
            item.reason,
            item.stage,
            item.not_before,
            item.instances,
        )
    )
    reply = item.reply or b""
    return _LENGTHS.pack(len(told), len(reply)) + told + reply, item.body or b""


def unpacked(record: bytes) -> Record:
    """A record from its bytes, head and body in one piece."""
    told, replied = _LENGTHS.unpack_from(record)
    start = _LENGTHS.size
    fields: list[Any] = orjson.loads(record[start : start + told])
    if len(fields) == 1:
        return Record(fields[0], None)
    row_id, has_body, has_reply, door, interface, received_at, kind, lane, digest, size = fields[
        :10
    ]
    control_key, dedup, code, origin, state, reason, stage, not_before, instances = fields[10:]
    body = start + told + replied
    item = Received(
        door=door,
        interface=interface,
        received_at=datetime.fromisoformat(received_at),
        kind=kind,
        lane=lane,
        digest=digest,
        size=size,
        control_key=control_key,
        dedup=dedup,
        body=record[body:] if has_body else None,
        reply=record[start + told : body] if has_reply else None,
        code=code,
        origin=origin,
        state=state,
        reason=reason,
        stage=stage,
        not_before=datetime.fromisoformat(not_before) if not_before else None,
        instances=tuple(NewInstance(**instance) for instance in instances),
    )
    return Record(row_id, item)
