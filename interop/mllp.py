"""MLLP listener: frames in, durable, answered. Nothing here reads further than the byte scan.

Source: HL7 v2 MLLP release 1 (SB 0x0B, EB 0x1C, CR); reliability.md 4.1 and F16 to F18; site rules
5, 15 to 17.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TypeVar, cast

import structlog

from interop import metrics
from interop.errors import LedgerUnavailable
from interop.ledger.intake import GroupCommit
from interop.ledger.received import Received, Stored
from mappings.errors import UnreadableMessage
from mappings.hl7v2.ack import AckCode, AckError, ack
from mappings.hl7v2.scan import Header, dedup_digest, scan

log = structlog.get_logger()
T = TypeVar("T")

SB, EB = 0x0B, 0x1C
# Looked up once: a label lookup costs as much as the scan of a short message.
_seen = {seen: metrics.received.labels("mllp", seen) for seen in ("new", "duplicate", "reused")}
_ack_seconds = metrics.ack_seconds.labels("mllp")
_START = b"\x0b"
_END = b"\x1c\r"


class FrameTooLarge(Exception):
    """A frame grew over the cap; the connection cannot be trusted to find the next one."""


class Framer:
    """Cuts a byte stream into MLLP frames, however it was split on the way.

    EB ends a frame; the CR that must follow it is swallowed with whatever else stands between
    frames, so a sender that forgets it is understood too.

    Args:
        cap: Most bytes of a frame's content.
    """

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._buffer = bytearray()
        self._searched = 0
        self.inside = False
        self.junk = 0
        self.truncated = 0

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the content of each frame that is now complete.

        Raises:
            FrameTooLarge: The frame under way is larger than the cap.
        """
        self._buffer += piece
        while True:
            if not self.inside and not self._open():
                return
            end = self._buffer.find(EB, self._searched)
            restart = self._buffer.find(SB, self._searched, end if end >= 0 else None)
            if restart >= 0:
                # A start inside a frame: the sender gave the first one up. It gets no answer.
                self.truncated += 1
                del self._buffer[: restart + 1]
                self._searched = 0
                continue
            if (end if end >= 0 else len(self._buffer)) > self._cap:
                raise FrameTooLarge
            if end < 0:
                self._searched = len(self._buffer)
                return
            content = bytes(memoryview(self._buffer)[:end])
            del self._buffer[: end + 1]
            self.inside, self._searched = False, 0
            yield content

    def _open(self) -> bool:
        """Drop what stands before the next SB; whether there is one."""
        start = self._buffer.find(SB)
        before = self._buffer if start < 0 else self._buffer[:start]
        self.junk += sum(1 for byte in before if byte not in b"\r\n")
        if start < 0:
            self._buffer.clear()
            return False
        del self._buffer[: start + 1]
        self.inside, self._searched = True, 0
        return True


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
        in_flight: Pipelined messages per connection before reading stops.
        origin: `history` for a backfill interface: its entries trigger nothing.
    """

    name: str
    processing_ids: frozenset[str] = frozenset({"P"})
    cap: int = 10 * 1024 * 1024
    frame_s: float = 60.0
    inter_byte_s: float = 10.0
    most_connections: int = 3000
    in_flight: int = 64
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
        self.open: set[Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen on the committing loop; the port that was bound (0 asks for a free one)."""
        return await self._there(self._listen(host, port))

    async def stop(self) -> None:
        """Stop listening and close every connection; what was submitted still commits."""
        await self._there(self._hang_up())

    async def _there(self, work: Coroutine[object, object, T]) -> T:
        """Run on the committing loop, wait on the caller's."""
        future = asyncio.run_coroutine_threadsafe(work, self._commit.loop)
        return await asyncio.wrap_future(future)

    async def _listen(self, host: str, port: int) -> int:
        loop = self._commit.loop
        self._server = await loop.create_server(lambda: Connection(self), host, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def _hang_up(self) -> None:
        if self._server is not None:
            self._server.close()
            for connection in list(self.open):
                connection.close()
            await self._server.wait_closed()

    def receive(self, connection: Connection, raw: bytes) -> Pending:
        """Judge one message by its scan and queue it for the commit."""
        now = self.now()
        try:
            header = scan(raw)
        except UnreadableMessage as error:
            pending = Pending(None, time.perf_counter())
            item = self._unreadable(connection, raw, str(error), now)
        else:
            pending = Pending(header, time.perf_counter())
            item = self._readable(connection, header, raw, now)
        self._commit.submit(item, lambda fate: connection.answer(pending, fate))
        return pending

    def _readable(
        self, connection: Connection, header: Header, raw: bytes, now: datetime
    ) -> Received:
        interface = self.interface
        code, error = self._verdict(header)
        control_key = hashlib.sha256(
            b"\0".join(
                (interface.name.encode(), header.field(3), header.field(4), header.field(10))
            )
        ).hexdigest()[:32]
        certain = bool(header.field(10))
        return Received(
            door="mllp",
            interface=interface.name,
            received_at=now,
            kind=header.message_type,
            lane=_lane(header) or connection.lane,
            size=len(raw),
            control_key=control_key if certain else None,
            dedup=f"{control_key}/{dedup_digest(raw).hex()}" if certain else None,
            body=raw,
            reply=self._reply(header, code, error, now),
            code=code,
            origin=interface.origin,
            state="rejected" if error else "received",
            reason=error.text if error else "",
            stage=None if error else "ingest",
        )

    def _unreadable(
        self, connection: Connection, raw: bytes, reason: str, now: datetime
    ) -> Received:
        """Raw bytes are kept; without a certain MSH-10 nobody can be answered (table 4.1)."""
        return Received(
            door="mllp",
            interface=self.interface.name,
            received_at=now,
            kind="",
            lane=connection.lane,
            size=len(raw),
            body=raw,
            state="quarantined",
            reason=reason,
            stage=None,
        )

    def _verdict(self, header: Header) -> tuple[AckCode, AckError | None]:
        """AA or AR, CA or CR."""
        taken = self.interface.processing_ids
        return _judged(
            taken, header.field(11), header.field(12), header.delimiters[1:2], header.enhanced
        )

    def _reply(
        self, header: Header, code: AckCode, error: AckError | None, now: datetime
    ) -> bytes | None:
        """The framed answer, or None where MSH-15 wants none."""
        wanted = header.accept_ack or "AL"
        if wanted == "NE" or (wanted == "ER" and not error) or (wanted == "SU" and error):
            return None
        control_id = self._next_control_id()
        return _START + ack(header, code, control_id=control_id, now=now, error=error) + _END

    def cannot_store(self, header: Header) -> bytes | None:
        """AE or CE: nothing was kept, the sender shall send it again."""
        code: AckCode = "CE" if header.enhanced else "AE"
        error = AckError(code="207", text="Cannot be stored now; send it again")
        return self._reply(header, code, error, self.now())


@lru_cache(maxsize=256)
def _judged(
    taken: frozenset[str], processing: bytes, version: bytes, component: bytes, enhanced: bool
) -> tuple[AckCode, AckError | None]:
    """AR only for a wrong processing id or version (site rule 16)."""
    error: AckError | None = None
    if processing.split(component)[0].decode("utf-8", "replace") not in taken:
        error = AckError(
            code="202",
            text="Processing id is not taken on this interface",
            location=("MSH", 1, 11),
        )
    elif version and not version.startswith(b"2."):
        error = AckError(
            code="203", text="Version is not an HL7 version 2", location=("MSH", 1, 12)
        )
    letter = "C" if enhanced else "A"
    return cast(AckCode, letter + ("R" if error else "A")), error


def _lane(header: Header) -> str:
    """Lane of the first PID-3: order within a patient as the sender names it (site rule 5).

    Raw text, not the canonical identifier: order matters within a sender, and the fold settles it
    between doors.
    """
    if not header.patient_ids:
        return ""
    component, sub = header.delimiters[1:2], header.delimiters[4:5] or b"&"
    parts = header.patient_ids[0].split(component)
    authority = parts[3].split(sub)[0] if len(parts) > 3 else b""  # noqa: PLR2004  CX.4
    return (authority + b"|" + parts[0]).decode("utf-8", "backslashreplace")[:200]


@dataclass(frozen=True, slots=True, eq=False)
class Pending:
    """A message between its last byte and its answer; no header when MSH was unreadable."""

    header: Header | None
    since: float


class Connection(asyncio.Protocol):
    """One sender's socket: frames are answered in the order they came."""

    _numbers = iter(range(1, 1 << 62))

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._framer = Framer(listener.interface.cap)
        self._transport: asyncio.Transport | None = None
        self._pending = 0
        self._paused = False
        self._closing = False
        self._timer: asyncio.TimerHandle | None = None
        self._frame_since = self._last_byte = 0.0
        self.lane = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket, or close it when there are too many."""
        self._transport = cast(asyncio.Transport, transport)
        self.lane = f"connection/{self._listener.interface.name}/{next(self._numbers)}"
        if len(self._listener.open) >= self._listener.interface.most_connections:
            log.warning("mllp.too_many_connections", interface=self._listener.interface.name)
            self.close()
            return
        self._listener.open.add(self)
        metrics.connections.inc()

    def connection_lost(self, _error: Exception | None) -> None:
        """Forget the socket; a frame under way leaves metadata only."""
        if self in self._listener.open:
            self._listener.open.discard(self)
            metrics.connections.dec()
        if self._timer:
            self._timer.cancel()
        if self._framer.inside:
            self._gave_up("connection ended inside a frame")

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
        self._watch(restarted=complete > 0 or not was_inside)
        if self._pending >= self._listener.interface.in_flight and not self._paused:
            assert self._transport is not None
            self._transport.pause_reading()
            self._paused = True

    def answer(self, pending: Pending, fate: Stored | LedgerUnavailable) -> None:
        """Send what the commit decided."""
        self._pending -= 1
        interface = self._listener.interface
        header = pending.header
        if isinstance(fate, LedgerUnavailable):
            log.error("mllp.cannot_store", interface=interface.name, reason=fate.reason)
            metrics.refused.labels("mllp", "AE").inc()
            reply = self._listener.cannot_store(header) if header else None
        else:
            reply = fate.reply
            _seen[fate.seen].inc()
            if fate.seen == "reused":
                log.warning("mllp.control_id_reused", interface=interface.name, message=fate.id)
        if header is None:
            log.warning("mllp.unreadable_msh", interface=interface.name)
            metrics.quarantined.labels("mllp").inc()
            self.close()
        elif reply is not None and self._transport is not None and not self._transport.is_closing():
            self._transport.write(reply)
        _ack_seconds.observe(time.perf_counter() - pending.since)
        if self._paused and self._pending < interface.in_flight and self._transport is not None:
            self._transport.resume_reading()
            self._paused = False

    def close(self) -> None:
        """End the connection after what was already written."""
        self._closing = True
        if self._transport is not None:
            self._transport.close()

    def _watch(self, *, restarted: bool) -> None:
        """Keep one deadline while a frame is under way."""
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
        """A frame that will get no answer: metadata only, no content (site rule 15)."""
        metrics.truncated.labels(why).inc()
        log.warning("mllp.frame_given_up", interface=self._listener.interface.name, why=why)
