"""The MLLP clients of the bench: many connections, one message in flight each, every ack checked.

`load` costs as little as a client in Python can, so that what is measured is the server.
`stream_load` is what a sender in Python is: it writes each message when it sends it, and has
asyncio's streams and a deadline for each answer. By it the targets against an echo were set.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import uvloop

from tests.bench.messages import END, Feed
from tests.bench.table import percentile


@dataclass(slots=True)
class Load:
    """What a server did under load.

    Attributes:
        acks: Messages answered with AA or CA and their own control id.
        wrong: Other answers.
        seconds: From the first byte sent to the last answer.
        latencies_s: Per message.
    """

    acks: int = 0
    wrong: int = 0
    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Acks a second."""
        return self.acks / self.seconds

    def p_ms(self, share: float) -> float:
        """Latency percentile in ms."""
        return percentile(sorted(self.latencies_s), share) * 1000


class _Sender(asyncio.Protocol):
    def __init__(self, run: _Run) -> None:
        self._run, self._buffer = run, b""
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._next()

    def _next(self) -> None:
        number = self._run.take()
        if number is None:
            self._transport.close()
            return
        due, now = self._run.due(number), time.perf_counter()
        if due > now:
            asyncio.get_running_loop().call_later(due - now, self._write, number, due)
        else:
            # Late: the wait counts, as it does for whoever wanted to send then.
            self._write(number, due or now)

    def _write(self, number: int, sent: float) -> None:
        self._control_id = self._run.feed.control_id(number)
        framed = self._run.feed.framed(number)
        self._sent = sent
        self._transport.write(framed)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._buffer.endswith(END):
            return
        answer, self._buffer = self._buffer, b""
        self._run.load.latencies_s.append(time.perf_counter() - self._sent)
        if _accepted(answer, self._control_id):
            self._run.load.acks += 1
        else:
            self._run.load.wrong += 1
        self._next()

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


def _accepted(answer: bytes, control_id: bytes) -> bool:
    """MSA-1 is AA or CA, MSA-2 is ours."""
    at = answer.find(b"\rMSA|")
    fields = answer[at + 1 :].split(b"\r", 1)[0].split(b"|")
    return at > 0 and fields[1] in (b"AA", b"CA") and fields[2] == control_id


@dataclass(slots=True)
class _Run:
    feed: Feed
    until: float
    number: int
    rate: float = 0.0
    load: Load = field(default_factory=Load)
    start: float = field(default_factory=time.perf_counter)
    first: int = 0

    def due(self, number: int) -> float:
        """When a message shall be sent; 0 for as soon as possible."""
        return self.start + (number - self.first) / self.rate if self.rate else 0.0

    def take(self) -> int | None:
        if time.perf_counter() >= self.until:
            return None
        self.number += 1
        return self.number - 1


def load(
    port: int, feed: Feed, *, connections: int, seconds: float, first: int = 0, rate: float = 0.0
) -> Load:
    """Send for some seconds, beginning at a message number.

    With a rate, messages are due at even intervals over all connections, and a latency counts from
    the moment at which its message was due.

    Raises:
        ConnectionError: A connection ended with an answer outstanding.
    """

    async def go() -> Load:
        loop = asyncio.get_running_loop()
        start = time.perf_counter()
        run = _Run(feed, start + seconds, first, rate, first=first)
        opened = [
            await loop.create_connection(lambda: _Sender(run), "127.0.0.1", port)
            for _ in range(connections)
        ]
        await asyncio.gather(*(sender.done for _, sender in opened))
        run.load.seconds = time.perf_counter() - start
        if run.load.acks + run.load.wrong != run.number - first:
            raise ConnectionError("a connection ended with an answer outstanding")
        return run.load

    return uvloop.run(go())


def stream_load(port: int, feed: Feed, *, connections: int, seconds: float, first: int = 0) -> Load:
    """As `load`, each message written when it is sent, by asyncio's streams on its own loop.

    Raises:
        asyncio.IncompleteReadError: A connection ended with an answer outstanding.
    """

    async def send(run: _Run) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
        while (number := run.take()) is not None:
            message = feed.written(number)
            sent = time.perf_counter()
            writer.write(b"\x0b" + message + END)
            await writer.drain()
            answer = await asyncio.wait_for(reader.readuntil(END), 60)
            run.load.latencies_s.append(time.perf_counter() - sent)
            if _accepted(answer, feed.control_id(number)):
                run.load.acks += 1
            else:
                run.load.wrong += 1
        writer.close()

    async def go() -> Load:
        start = time.perf_counter()
        run = _Run(feed, start + seconds, first, first=first)
        await asyncio.gather(*(send(run) for _ in range(connections)))
        run.load.seconds = time.perf_counter() - start
        return run.load

    return asyncio.run(go())
