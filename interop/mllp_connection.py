"""One sender's MLLP connection: frames, deadlines, and answers in the order of the messages.

What a message is worth is the listener's business (`mllp`). Source: reliability.md F16 and F17.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, cast

import structlog

from interop import metrics
from interop.errors import LedgerUnavailable
from interop.framer import Framer, FrameTooLarge
from interop.ledger.received import Stored
from interop.tls import Senders
from mappings.hl7v2.batch import Batch
from mappings.hl7v2.scan import Header

if TYPE_CHECKING:
    from interop.mllp import Listener

log = structlog.get_logger()

Fated = Callable[[Stored | LedgerUnavailable], None]

# Looked up once: a label lookup costs as much as the scan of a short message.
_seen = {seen: metrics.received.labels("mllp", seen) for seen in ("new", "duplicate", "reused")}
_ack_seconds = metrics.ack_seconds.labels("mllp")


@dataclass(slots=True, eq=False)
class Pending:
    """A message between its last byte and its answer.

    Attributes:
        header: None when MSH was unreadable: then its turn ends the connection.
        waits: Whether its answer says what became of it (`MllpInterface.wait_s`).
        reply: The answer, once it is there, until it is this message's turn.
    """

    header: Header | None
    since: float
    waits: bool = False
    closes: bool = False
    answered: bool = False
    reply: bytes | None = None


@dataclass(slots=True, eq=False)
class BatchPending(Pending):
    """A batch until each of its messages is answered, in their order."""

    batch: Batch = field(kw_only=True)
    open: int = field(kw_only=True)
    replies: list[bytes | None] = field(default_factory=list)


class Connection(asyncio.Protocol):
    """One sender's socket: frames are answered in the order they came."""

    _numbers = iter(range(1, 1 << 62))

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._framer = Framer(listener.interface.cap)
        self._transport: asyncio.Transport | None = None
        self._pending = 0
        # Where some wait for their outcome, the answers of others wait for theirs.
        self._turns: deque[Pending] | None = deque() if listener.interface.wait_s else None
        self._paused = False
        self._closing = self._ended = False
        self._timer: asyncio.TimerHandle | None = None
        self._silence: asyncio.TimerHandle | None = None
        self._frame_since = self._last_byte = 0.0
        self._peer = ""
        self.lane = ""
        self.senders: Senders | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket, or close it when it may not be here or there are too many."""
        self._transport = cast(asyncio.Transport, transport)
        interface = self._listener.interface
        self.lane = f"connection/{interface.name}/{next(self._numbers)}"
        self._peer = str((transport.get_extra_info("peername") or ("",))[0])
        if interface.tls is not None:
            self.senders = interface.tls.speaks_for(transport.get_extra_info("peercert"))
        if refused := self._refused():
            log.warning(
                "mllp.connection_refused",
                interface=interface.name,
                host=self._peer,
                reason=refused,
            )
            metrics.refused.labels("mllp", "connection").inc()
            self.close()
            return
        self._listener.open.add(self)
        self._listener.from_peer[self._peer] += 1
        metrics.connections.inc()
        if interface.first_byte_s:
            loop = asyncio.get_running_loop()
            self._silence = loop.call_later(interface.first_byte_s, self._silent)

    def _refused(self) -> str:
        """Why this connection is not taken, or nothing."""
        listener, interface = self._listener, self._listener.interface
        if interface.peers and not any(ip_address(self._peer) in net for net in interface.peers):
            return "address is not allowed"
        if self.senders is not None and not self.senders:
            return "certificate speaks for nobody"
        if len(listener.open) >= interface.most_connections:
            return "too many connections"
        if listener.from_peer[self._peer] >= interface.most_per_peer:
            return "too many connections from one address"
        return ""

    def connection_lost(self, _error: Exception | None) -> None:
        """Forget the socket; a frame under way leaves metadata only."""
        if self in self._listener.open:
            self._listener.open.discard(self)
            self._listener.from_peer[self._peer] -= 1
            metrics.connections.dec()
        for timer in (self._timer, self._silence):
            if timer is not None:
                timer.cancel()
        if self._framer.inside and not self._closing:
            self._gave_up("connection ended inside a frame")

    def eof_received(self) -> bool:
        """The sender closed its half: what it sent is answered, then the connection ends."""
        if self._framer.inside and not self._closing:
            self._gave_up("connection ended inside a frame")
            self._framer.inside = False
        self._ended = True
        return self._pending > 0 and self._listener.interface.tls is None  # TLS has no halves

    def data_received(self, data: bytes) -> None:
        """Cut frames and pass them on."""
        if self._closing:
            return
        was_inside = self._framer.inside
        truncated, junk = self._framer.truncated, self._framer.junk
        complete = 0
        try:
            for raw in self._framer.feed(data):
                complete += 1
                self._pending += 1
                self._listener.receive(self, raw)
        except FrameTooLarge:
            self._gave_up("over the size cap")
            self.close()
            return
        if self._framer.truncated > truncated:
            self._gave_up("start block inside a frame")
        if self._framer.junk > junk:
            metrics.junk.inc(self._framer.junk - junk)
        if self._framer.inside or complete:
            self._watch(restarted=complete > 0 or not was_inside)
        if self._pending >= self._listener.interface.in_flight and not self._paused:
            assert self._transport is not None
            self._transport.pause_reading()
            self._paused = True

    def expect(self, pending: Pending) -> None:
        """Give a frame its turn; called in the order of the frames."""
        if self._turns is not None:
            self._turns.append(pending)

    def answer(self, pending: Pending, fate: Stored | LedgerUnavailable) -> None:
        """Send what the commit decided, or what becomes of the message where that is waited for."""
        reply = self._judged(pending.header, fate)
        if pending.header is None:
            self._closing = pending.closes = True
        if pending.waits and isinstance(fate, Stored):
            self._listener.await_outcome(pending.header, fate, partial(self._reply, pending))
        else:
            self._reply(pending, reply)

    def part_of(self, waiting: BatchPending, header: Header | None, *, waits: bool) -> Fated:
        """What to do with the fate of one message of a batch; called in their order."""
        place = len(waiting.replies)
        waiting.replies.append(None)

        def told(reply: bytes | None) -> None:
            waiting.replies[place] = reply
            self.answer_batch(waiting)

        def fated(fate: Stored | LedgerUnavailable) -> None:
            reply = self._judged(header, fate)
            if waits and isinstance(fate, Stored):
                self._listener.await_outcome(header, fate, told)
            else:
                told(reply)

        return fated

    def answer_batch(self, waiting: BatchPending) -> None:
        """One more part of a batch has its answer; the last one sends them."""
        waiting.open -= 1
        if not waiting.open:
            replies = [reply for reply in waiting.replies if reply is not None]
            self._reply(waiting, self._listener.batch_reply(waiting.batch, replies))

    def close(self) -> None:
        """End the connection after what was already written."""
        self._closing = True
        if self._transport is not None:
            self._transport.close()

    def _judged(self, header: Header | None, fate: Stored | LedgerUnavailable) -> bytes | None:
        """The answer to one message, told to log and metrics."""
        interface = self._listener.interface
        if isinstance(fate, LedgerUnavailable):
            log.error("mllp.cannot_store", interface=interface.name, reason=fate.reason)
            metrics.refused.labels("mllp", "AE").inc()
            return self._listener.cannot_store(header) if header else None
        _seen[fate.seen].inc()
        if fate.seen == "reused":
            log.warning("mllp.control_id_reused", interface=interface.name, message=fate.id)
        if header is None:
            log.warning("mllp.unreadable_msh", interface=interface.name, message=fate.id)
            metrics.quarantined.labels("mllp").inc()
        return fate.reply

    def _reply(self, pending: Pending, reply: bytes | None) -> None:
        """Answer a frame in its turn."""
        if self._turns is None:
            self._send(pending, reply)
            return
        pending.reply, pending.answered = reply, True
        while self._turns and self._turns[0].answered:
            first = self._turns.popleft()
            self._send(first, first.reply)

    def _send(self, pending: Pending, reply: bytes | None) -> None:
        if pending.closes:
            self.close()
        self._pending -= 1
        transport = self._transport
        if reply is not None and transport is not None and not transport.is_closing():
            transport.write(reply)
        _ack_seconds.observe(time.perf_counter() - pending.since)
        if self._ended and not self._pending:
            self.close()
        in_flight = self._listener.interface.in_flight
        if self._paused and self._pending < in_flight and transport is not None:
            transport.resume_reading()
            self._paused = False

    def _watch(self, *, restarted: bool) -> None:
        """Keep one deadline while a frame is under way; bytes before the first are no frame."""
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None
        if not self._framer.inside:
            return
        now = time.monotonic()
        self._last_byte = now
        if restarted:
            self._frame_since = now
        if self._timer is None:
            self._arm()

    def _arm(self) -> None:
        interface = self._listener.interface
        delay = min(interface.inter_byte_s, interface.frame_s)
        self._timer = asyncio.get_running_loop().call_later(delay, self._deadline)

    def _silent(self) -> None:
        log.info("mllp.silent_connection", interface=self._listener.interface.name)
        self.close()

    def _deadline(self) -> None:
        self._timer = None
        if not self._framer.inside or self._closing:
            return
        now, interface = time.monotonic(), self._listener.interface
        if (
            now - self._last_byte >= interface.inter_byte_s
            or now - self._frame_since >= interface.frame_s
        ):
            self._gave_up("frame too slow")
            self.close()
        else:
            self._arm()

    def _gave_up(self, why: str) -> None:
        self._listener.gave_up(self, why, self._framer.held)
