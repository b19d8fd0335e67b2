"""Messages as large as the cap, larger ones, and senders that outrun us: bounded memory."""

from __future__ import annotations

import socket
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from doors import Open, message, msa, until
from sqlalchemy import text
from whole_line import SITE, Line, opened

from interop.ledger.engine import reading
from workers.demo.senders import MllpSender

_MB = 1 << 20
_PIECE = b"A" * _MB


@contextmanager
def peak() -> Iterator[list[int]]:
    """Most bytes that Python held meanwhile, once it is over."""
    found: list[int] = []
    tracemalloc.start()
    try:
        yield found
        found.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


def push(port: int, megabytes: int, end: bytes) -> bytes:
    """A document of that size in one OBX, sent without ever being held; what was answered."""
    with socket.create_connection(("127.0.0.1", port), 30) as held:
        try:
            held.sendall(b"\x0b" + message() + b"OBX|1|ED|PDF||^^PDF^Base64^")
            for _ in range(megabytes):
                held.sendall(_PIECE)
            held.sendall(end)
        except OSError:
            return b""  # closed in the middle
        got = b""
        try:
            while not got.endswith(b"\x1c\r") and (piece := held.recv(65536)):
                got += piece
        except ConnectionResetError:
            pass
        return got


def test_a_message_of_fifty_megabytes_is_taken_in_less_than_four_times_its_size(open_door: Open):
    """As sites ask for whose reports come with slides in ED; every byte of it is kept."""
    door = open_door(cap=51 * _MB)
    with peak() as most:
        answer = push(door.port, 50, b"\r\x1c\r")
        assert door.commit.settle(60)
    assert ("AA", "1") == msa(answer)
    assert most[0] < 4 * 50 * _MB
    with reading(door.ledger) as connection:
        size, kept = connection.execute(text("SELECT size, length(body) FROM inbound")).one()
    assert size == kept > 50 * _MB


@pytest.mark.parametrize("end", [b"", b"\x1c\r"], ids=["endless", "ended"])
def test_beyond_the_cap_nothing_more_is_held(open_door: Open, end: bytes):
    """Two hundred megabytes against a cap of ten: closed, its size kept, no memory spent."""
    door = open_door(cap=10 * _MB)
    with peak() as most:
        assert b"" == push(door.port, 200, end)
        until(lambda: door.rows() == [("", "rejected", "")])
    assert most[0] < 3 * 10 * _MB
    assert [("AA", "2")] == [msa(answer) for answer in door.ask(message("2"))]


def _stored(line: Line) -> int:
    with reading(line.parts.engine) as connection:
        return int(connection.execute(text("SELECT count(*) FROM inbound")).scalar() or 0)


def test_a_sender_that_outruns_us_is_no_longer_read(tmp_path: Path, sqlite_url: str):
    """`in_flight` messages without an answer, and what one read brought; then all of them."""
    many, held_at_most = 100, 4 + 1
    site = SITE.replace('name = "his"\n', 'name = "his"\nwait_s = 30\nin_flight = 4\n')
    filler = b"NTE|1||" + b"A" * 300_000 + b"\r"  # more than a read brings
    sent = [b"\x0b" + message(str(n)) + filler + b"\x1c\r" for n in range(many)]
    with (
        opened(tmp_path, sqlite_url, site=site) as line,
        socket.create_connection(("127.0.0.1", line.ports.mllp["his"]), 30) as held,
    ):
        sending = threading.Thread(target=held.sendall, args=(b"".join(sent),))
        sending.start()
        until(lambda: bool(line.commit.settle() and _stored(line) >= 4))
        with MllpSender("127.0.0.1", line.ports.mllp["archive"]) as other:
            other.send(message("other"))
        line.commit.settle()
        assert _stored(line) <= held_at_most + 1
        got = b""
        while got.count(b"\x1c\r") < many:
            line.settle()
            held.settimeout(0.05)
            try:
                got += held.recv(65536)
            except TimeoutError:
                continue
        sending.join(30)
    assert [("AA", str(n)) for n in range(many)] == [msa(a) for a in got.split(b"\x1c\r") if a]
