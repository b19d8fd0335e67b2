"""Group commit at the MLLP door: many connections share one sync, and each has its own answer."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import ExitStack

import pytest
from doors import Door, message, msa

_CONNECTIONS = 64


def test_many_connections_share_a_sync(door: Door, monkeypatch: pytest.MonkeyPatch):
    """What arrived while the loop was busy is one group; alone, each would be a sync of its own."""
    real, synced = os.fdatasync, []

    def counted(handle: int) -> None:
        real(handle)
        synced.append(handle)

    monkeypatch.setattr(os, "fdatasync", counted)
    busy, released = threading.Event(), threading.Event()

    def hold() -> None:
        busy.set()
        released.wait(10)

    with ExitStack() as held:
        senders = [
            held.enter_context(socket.create_connection(("127.0.0.1", door.port), 10))
            for _ in range(_CONNECTIONS)
        ]
        for number, sender in enumerate(senders):  # each is accepted, and was answered alone
            sender.sendall(b"\x0b" + message(f"A{number}") + b"\x1c\r")
            assert ("AA", f"A{number}") == msa(sender.recv(65536))
        alone = len(synced)
        door.commit.loop.call_soon_threadsafe(hold)
        assert busy.wait(10)
        for number, sender in enumerate(senders):
            sender.sendall(b"\x0b" + message(f"B{number}") + b"\x1c\r")
        released.set()
        answers = [msa(sender.recv(65536)) for sender in senders]
    assert [("AA", f"B{number}") for number in range(_CONNECTIONS)] == answers
    assert alone >= _CONNECTIONS
    assert len(synced) - alone <= _CONNECTIONS // 8
    assert 2 * _CONNECTIONS == len(door.rows())
