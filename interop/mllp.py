"""MLLP listener: frames in, durable, answered. Nothing here reads further than the byte scan.

Framing is `framer`'s, certificates are `tls`'s. Source: HL7 v2 MLLP release 1; HL7 v2.5.1 chapter
2.9 (acknowledgement); reliability.md 4.1 and F16 to F18; site rules 5, 15 to 17.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from ipaddress import IPv4Network, IPv6Network
from typing import Literal, TypeVar, cast

import structlog

from interop import metrics
from interop.ledger.intake import GroupCommit
from interop.ledger.received import Received, Stored
from interop.mllp_connection import BatchPending, Connection, Pending
from interop.outcomes import Outcomes, Tell
from interop.tcp import keep_alive
from interop.tls import Senders, TlsFiles
from mappings.errors import UnreadableMessage
from mappings.hl7v2 import batch as batches
from mappings.hl7v2.ack import SET_ASIDE, AckCode, AckError, ack
from mappings.hl7v2.scan import Header, Shared, by_sender, scan

log = structlog.get_logger()
T = TypeVar("T")

_START = b"\x0b"
_END = b"\x1c\r"
_HANDSHAKE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MllpInterface:
    """One MLLP interface as the site file describes it.

    Attributes:
        name: Interface name; part of the dedup key and of every entry's source.
        processing_ids: MSH-11.1 values taken; others are answered AR and kept as rejected.
        cap: Most bytes of one message.
        frame_s: Most seconds from a frame's first byte to its last.
        inter_byte_s: Most seconds of silence inside a frame.
        most_connections: Further ones are closed at once.
        first_byte_s: Most seconds from the connection to its first byte; 0 waits for ever.
        most_per_peer: The same for connections from one address.
        in_flight: Pipelined messages per connection before reading stops.
        peers: Networks that may connect; none named: all.
        senders: `MSH-3|MSH-4` taken; others are answered AR. None: all.
        wait_s: Most seconds until a message of original mode is answered what became of it: AA when
            it was applied or the time is over, AE when it was set aside. 0: AA when it is stored.
        reused: What a control id under other bytes is answered: `accept` or `refuse` (AE). It is
            kept and alarms either way.
        tls: Certificates, or None for plain text.
        origin: `history` for a backfill interface: its entries trigger nothing.
    """

    name: str
    processing_ids: frozenset[str] = frozenset({"P"})
    cap: int = 10 * 1024 * 1024
    frame_s: float = 60.0
    inter_byte_s: float = 10.0
    most_connections: int = 3000
    first_byte_s: float = 30.0
    most_per_peer: int = 1000
    in_flight: int = 64
    peers: tuple[IPv4Network | IPv6Network, ...] = ()
    senders: Senders | None = None
    wait_s: float = 0.0
    reused: Literal["accept", "refuse"] = "accept"
    tls: TlsFiles | None = None
    origin: str = "live"


class Listener:
    """Serves one interface and hands every message to the group commit.

    Args:
        interface: What the site file says.
        commit: Where messages become durable.
        now: Aware UTC clock.
        next_control_id: Gives our MSH-10 values.
    """

    def __init__(
        self,
        interface: MllpInterface,
        commit: GroupCommit,
        *,
        now: Callable[[], datetime],
        next_control_id: Callable[[], str],
    ) -> None:
        self.interface, self._commit = interface, commit
        self.now, self._next_control_id = now, next_control_id
        # Read off the loop, unlike what the commit itself does with its ledger.
        engine = commit.engine
        self._outcomes = Outcomes(engine, interface.wait_s) if interface.wait_s else None
        self._sent = by_sender(self._sent_by)
        self.open: set[Connection] = set()
        self.from_peer: Counter[str] = Counter()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen on the committing loop; the port that was bound (0 asks for a free one)."""
        return await self._there(self._listen(host, port))

    async def stop(self) -> None:
        """Stop listening and close every connection; what was submitted still commits.

        Who waits for an outcome is closed without an answer: sent again, it is a duplicate.
        """
        await self._there(self._hang_up())

    async def _there(self, work: Coroutine[object, object, T]) -> T:
        """Run on the committing loop, wait on the caller's."""
        future = asyncio.run_coroutine_threadsafe(work, self._commit.loop)
        return await asyncio.wrap_future(future)

    async def _listen(self, host: str, port: int) -> int:
        loop, tls = self._commit.loop, self.interface.tls
        self._server = await loop.create_server(
            lambda: Connection(self),
            host,
            port,
            ssl=tls.context() if tls else None,
            ssl_handshake_timeout=_HANDSHAKE_S if tls else None,
        )
        for listening in self._server.sockets:
            keep_alive(listening)
        return int(self._server.sockets[0].getsockname()[1])

    async def _hang_up(self) -> None:
        if self._server is not None:
            self._server.close()
            if self._outcomes is not None:
                await self._outcomes.stop()
            for connection in list(self.open):
                connection.close()
            await self._server.wait_closed()

    def receive(self, connection: Connection, raw: bytes) -> None:
        """Judge one frame by its scan and queue what it holds for the commit."""
        now, since = self.now(), time.perf_counter()
        if batches.is_batch(raw):
            self._receive_batch(connection, raw, now, since)
            return
        header, item = self._judge(connection, raw, now)
        self._submit(connection, Pending(header, since, _waits(item)), item)

    def _submit(self, connection: Connection, pending: Pending, item: Received) -> None:
        connection.expect(pending)
        self._commit.take(item, partial(connection.answer, pending))

    def _judge(
        self, connection: Connection, raw: bytes, now: datetime
    ) -> tuple[Header | None, Received]:
        try:
            header = scan(raw)
        except UnreadableMessage as error:
            return None, self._kept(connection.lane, now, raw, reason=str(error))
        return header, self._readable(connection, header, raw, now)

    def _receive_batch(
        self, connection: Connection, raw: bytes, now: datetime, since: float
    ) -> None:
        """Every message of a batch on its own; one batch of answers when all are durable."""
        try:
            batch = batches.split(raw)
        except UnreadableMessage as error:
            item = self._kept(connection.lane, now, raw, reason=str(error))
            self._submit(connection, Pending(None, since), item)
            return
        envelope = b"\r".join(batch.envelope) + b"\r"
        reason = batch.complaint or f"envelope of {len(batch.messages)} messages"
        kept = self._kept(connection.lane, now, envelope, "ignored", reason, kind="batch")
        if batch.complaint:
            log.warning("mllp.batch_incomplete", interface=self.interface.name, reason=reason)
        waiting = BatchPending(None, since, batch=batch, open=len(batch.messages) + 1)
        connection.expect(waiting)
        self._commit.take(kept, lambda _fate: connection.answer_batch(waiting))
        for message in batch.messages:
            header, item = self._judge(connection, message, now)
            fated = connection.part_of(waiting, header, waits=_waits(item))
            self._commit.take(item, fated)

    def await_outcome(self, header: Header | None, fate: Stored, tell: Tell) -> None:
        """Tell the answer to a stored message when it was worked, or `wait_s` is over."""
        refused = fate.seen == "reused" and self.interface.reused == "refuse"
        if self._outcomes is None or header is None or refused:
            tell(fate.reply)
            return
        self._outcomes.wait(
            fate.id,
            fate.reply,
            lambda: self._reply(header, "AE", SET_ASIDE, self.now()),
            tell,
        )

    def batch_reply(self, batch: batches.Batch, replies: Sequence[bytes]) -> bytes:
        """The framed answer to a batch."""
        unframed = [reply.removeprefix(_START).removesuffix(_END) for reply in replies]
        control_id = self._next_control_id()
        return (
            _START + batches.answer(batch, unframed, control_id=control_id, now=self.now()) + _END
        )

    def _readable(
        self, connection: Connection, header: Header, raw: bytes, now: datetime
    ) -> Received:
        interface, sent = self.interface, self._sent(header.shared, connection.senders)
        error, control_id = sent.error, header.number
        control_key: str | None = None
        if control_id:
            control_key = hashlib.sha256(sent.keyed + control_id).hexdigest()[:32]
        return Received(
            door="mllp",
            interface=interface.name,
            received_at=now,
            kind=sent.kind,
            lane=header.lane or connection.lane,
            size=len(raw),
            control_key=control_key,
            body=raw,
            reply=self._reply(header, sent.code, error, now),
            reply_if_reused=self._reused(header, now) if interface.reused == "refuse" else None,
            code="" if self._outcomes is not None and sent.code == "AA" else sent.code,
            origin=interface.origin,
            state="rejected" if error else "received",
            reason=error.text if error else "",
            stage=None if error else "ingest",
        )

    def _reused(self, header: Header, now: datetime) -> bytes | None:
        error = AckError(
            code="205", text="Control id was used for other content", location=("MSH", 1, 10)
        )
        return self._reply(header, "CE" if header.enhanced else "AE", error, now)

    def _kept(
        self,
        lane: str,
        now: datetime,
        body: bytes | None,
        state: str = "quarantined",
        reason: str = "",
        *,
        kind: str = "",
        size: int = 0,
    ) -> Received:
        """Bytes nobody maps; without a certain MSH-10 nobody can be answered (table 4.1)."""
        return Received(
            door="mllp",
            interface=self.interface.name,
            received_at=now,
            kind=kind,
            lane=lane,
            size=len(body) if body is not None else size,
            body=body,
            state=state,
            reason=reason,
            stage=None,
        )

    def gave_up(self, connection: Connection, why: str, size: int) -> None:
        """A frame that gets no answer leaves metadata, no content (site rule 15)."""
        metrics.truncated.labels(why).inc()
        log.warning("mllp.frame_given_up", interface=self.interface.name, why=why, size=size)
        item = self._kept(connection.lane, self.now(), None, "rejected", why, size=size)
        self._commit.take(item, lambda _fate: None)

    def _sent_by(self, shared: Shared, speaks_for: Senders | None) -> _Sent:
        """What all messages of a sender that share an MSH have in common."""
        interface = self.interface
        key = (interface.name.encode(), shared.field(3), shared.field(4), b"")
        code, error = self._verdict(shared, speaks_for)
        return _Sent(shared.message_type, b"\0".join(key), code, error)

    def _verdict(
        self, shared: Shared, speaks_for: Senders | None
    ) -> tuple[AckCode, AckError | None]:
        """AA or AR, CA or CR: AR for a wrong processing id or version only (site rule 16)."""
        error = refusal(self.interface, shared, speaks_for)
        letter = "C" if shared.enhanced else "A"
        return cast(AckCode, letter + ("R" if error else "A")), error

    def _reply(
        self, header: Header, code: AckCode, error: AckError | None, now: datetime
    ) -> bytes | None:
        """The framed answer, or None where MSH-15 wants none."""
        wanted = header.shared.field(15)
        if wanted and _unwanted(wanted, error):
            return None
        control_id = self._next_control_id()
        return _START + ack(header, code, control_id=control_id, now=now, error=error) + _END

    def cannot_store(self, header: Header) -> bytes | None:
        """AE or CE: nothing was kept, the sender shall send it again."""
        code: AckCode = "CE" if header.enhanced else "AE"
        error = AckError(code="207", text="Cannot be stored now; send it again")
        return self._reply(header, code, error, self.now())


def _unwanted(accept_ack: bytes, error: AckError | None) -> bool:
    """Whether MSH-15 asks for no answer (table 0155)."""
    return accept_ack in {b"NE", b"SU" if error else b"ER"}


def _waits(item: Received) -> bool:
    """Whether its row is without a code until somebody knows what became of it."""
    return item.stage is not None and not item.code


# As the application acknowledgement of enhanced mode says it (`workers.answer`).
_NOT_A_SENDER = AckError(
    code="207", text="Sender is not taken on this interface", location=("MSH", 1, 3)
)


@dataclass(frozen=True, slots=True)
class _Sent:
    """What follows from `Shared` on one interface.

    Attributes:
        kind: MSH-9.
        keyed: What precedes MSH-10 where a control key is worked out.
        code: The answer, once it is durable.
        error: Why it is refused, or None.
    """

    kind: str
    keyed: bytes
    code: AckCode
    error: AckError | None


def refusal(
    interface: MllpInterface, shared: Shared, speaks_for: Senders | None = None
) -> AckError | None:
    """Why an interface does not take a message, or None.

    Args:
        interface: As the site file describes it.
        shared: Its MSH.
        speaks_for: Senders its client certificate speaks for; None for all.
    """
    named = (interface.senders, speaks_for)
    if not all(shared.sender in senders for senders in named if senders is not None):
        return _NOT_A_SENDER
    processing, version, mark = shared.field(11), shared.field(12), shared.delimiters[1:2]
    if processing.split(mark)[0].decode("utf-8", "replace") not in interface.processing_ids:
        return AckError(
            code="202",
            text="Processing id is not taken on this interface",
            location=("MSH", 1, 11),
        )
    if version and not version.startswith(b"2."):
        return AckError(code="203", text="Version is not an HL7 version 2", location=("MSH", 1, 12))
    return None
