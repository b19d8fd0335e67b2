"""An MLLP listener over real sockets and a real ledger, for the tests of its door."""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from whole_line import looping

from interop.ledger.engine import Ids, reading
from interop.ledger.intake import GroupCommit
from interop.mllp import Listener, MllpInterface
from workers.demo.senders import MllpSender

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


def message(control_id: str = "1", *, kind: str = "ADT^A04^ADT_A01", processing: str = "P",
            tail: str = "", stamp: str = "20260304120000", pid: str = "7") -> bytes:  # fmt: skip
    """One message; `tail` are MSH-13 and on."""
    return (
        f"MSH|^~\\&|HIS|HOSP|ONCORD|HOSP|{stamp}||{kind}|{control_id}|{processing}|2.5.1{tail}\r"
        f"PID|1||{pid}^^^DEMOHOSP^MR||合成^患者\r"
    ).encode()


@dataclass(slots=True)
class Door:
    """A listener with its ledger."""

    port: int
    ledger: Engine
    commit: GroupCommit

    def ask(self, *sent: bytes) -> list[bytes]:
        """Messages over one connection, one at a time; their answers, once the tables have them."""
        with MllpSender("127.0.0.1", self.port, timeout_s=10) as sender:
            answers = [sender.send(one) for one in sent]
        self.commit.settle()
        return answers

    def raw(self, sent: bytes, *, wait_s: float = 10.0, close: bool = True) -> bytes:
        """Bytes as they are; everything that comes until the listener closes."""
        with socket.create_connection(("127.0.0.1", self.port), wait_s) as held:
            held.sendall(sent)
            if close:
                held.shutdown(socket.SHUT_WR)
            got = b""
            while piece := held.recv(65536):
                got += piece
            return got

    def rows(self) -> list[tuple[str, str, str]]:
        """(kind, state, code) of what is stored, in order of receipt."""
        self.commit.settle()
        with reading(self.ledger) as connection:
            query = text("SELECT kind, state, code FROM inbound ORDER BY id")
            return [tuple(row) for row in connection.execute(query)]


Open = Callable[..., Door]


def until(met: Callable[[], bool], patience_s: float = 10.0) -> None:
    """Wait for what another thread does."""
    deadline = time.monotonic() + patience_s
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def open_door(ledger: Engine, tmp_path: Path) -> Iterator[Open]:
    """Opens listeners of an interface on the ledger."""
    numbers = itertools.count(1)
    commit = GroupCommit(ledger, Ids(1), tmp_path / "journal", lambda _new: None)
    commit.start()
    listeners: list[Listener] = []
    with looping() as loop:

        def wait(coroutine):
            return asyncio.run_coroutine_threadsafe(coroutine, loop).result(10)

        def make(**parts) -> Door:
            listener = Listener(
                MllpInterface(**({"name": "his"} | parts)), commit, now=lambda: NOW,
                next_control_id=lambda: f"OUR{next(numbers)}",
            )  # fmt: skip
            listeners.append(listener)
            return Door(wait(listener.start("127.0.0.1", 0)), ledger, commit)

        yield make
        for listener in listeners:
            wait(listener.stop())
        commit.stop()


@pytest.fixture
def door(open_door: Open) -> Door:
    """A listener with the defaults."""
    return open_door()


def msa(answer: bytes) -> tuple[str, str]:
    """MSA-1 and MSA-2."""
    segment = next(s for s in answer.split(b"\r") if s.startswith(b"MSA"))
    fields = segment.decode().split("|")
    return fields[1], fields[2]
