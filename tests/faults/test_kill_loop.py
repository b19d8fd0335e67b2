"""The service dies again and again under senders that send again: nothing lost, nothing twice.

A kill cannot see a missing sync (the page cache survives it); `test_durable_before_ack` does.
Source: reliability.md F1, F3, F13.
"""

from __future__ import annotations

import random
import signal
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from peers.processes import end, free_port
from site_processes import serve, settled
from sqlalchemy import text

from interop.ledger.engine import reading
from workers.app import make
from workers.demo.senders import MllpSender
from workers.doorbell import Rings
from workers.parts import build
from workers.settings import Settings
from workers.worker import Worker

SENDERS = 4


@dataclass(slots=True)
class Sender:
    """One interface of a hospital: sends until it is acknowledged, then the next."""

    name: str
    port: int
    stopping: threading.Event
    acknowledged: list[str] = field(default_factory=list)
    resent: int = 0

    def run(self) -> None:
        """Until told to stop; the last message is acknowledged before that."""
        number = 0
        while not self.stopping.is_set():
            number += 1
            control_id = f"{self.name}{number}"
            while not self._accepted(control_id, number):
                self.resent += 1
                self.stopping.wait(0.02)
            self.acknowledged.append(control_id)
            self.stopping.wait(0.02)

    def _accepted(self, control_id: str, number: int) -> bool:
        sent = (
            f"MSH|^~\\&|LIS|HOSP|||20260304120000||ORU^R01^ORU_R01|{control_id}|P|2.5.1\r"
            f"PID|1||{self.name}^^^DEMOHOSP^MR\rOBR|1||F{control_id}^LAB|1^panel^L|||20260304\r"
            f"OBX|1|NM|1834-1^AFP^LN||{number}|ng/mL|||||F|||20260304120000\r"
        ).encode()
        try:
            with MllpSender("127.0.0.1", self.port, timeout_s=5) as sender:
                return f"MSA|AA|{control_id}\r".encode() in sender.send(sent)
        except OSError:
            return False


def test_a_service_that_is_killed_loses_nothing_and_applies_nothing_twice(
    tmp_path: Path, sqlite_url: str, kill_cycles: int
):
    """SIGKILL at any moment, start, go on."""
    chance = random.Random(1)  # noqa: S311  moments, not secrets
    # MLLP and HTTP: they must stay the same over restarts.
    port, stopping = free_port(in_a_row=2), threading.Event()
    env = settled(tmp_path, ONCORD_DATABASE_URL=sqlite_url, ONCORD_MLLP_PORT=str(port))
    senders = [Sender(f"S{n}", port, stopping) for n in range(SENDERS)]
    threads = [threading.Thread(target=sender.run) for sender in senders]
    for thread in threads:
        thread.start()
    for _ in range(kill_cycles):
        with serve(tmp_path, env) as (_, process):
            threading.Event().wait(chance.uniform(0.0, 0.3))
            end(process, signal.SIGKILL)
    with serve(tmp_path, env):
        stopping.set()
        for thread in threads:
            thread.join(30)
    acknowledged = [control_id for sender in senders for control_id in sender.acknowledged]
    assert len(acknowledged) > 5 * kill_cycles
    assert sum(sender.resent for sender in senders) > kill_cycles
    stored, applied = worked(tmp_path, env)
    assert Counter(acknowledged) == stored
    assert Counter(f"F{control_id}" for control_id in acknowledged) == applied


def worked(home: Path, env: dict[str, str]) -> tuple[Counter[str], Counter[str]]:
    """Messages by control id, and laboratory results by filler number once all jobs are done."""
    parts = build(Settings.from_environment(env))
    worker = Worker(parts, Rings(make("memory://")))
    while worker.drain("ingest"):
        pass
    with reading(parts.engine) as connection:
        bodies = connection.execute(text("SELECT body FROM inbound")).scalars()
        stored = Counter(body.split(b"|")[9].decode() for body in bodies)
        keys = connection.execute(text("SELECT key FROM entry WHERE kind = 'observation'"))
        applied = Counter(key.split("/")[1].split("|")[-1] for key in keys.scalars())
    parts.close()
    return stored, applied


@pytest.mark.peer("strace")
def test_after_a_failed_sync_nobody_is_acknowledged(tmp_path: Path, sqlite_url: str):
    """EIO once: no answer AA after it, although every later sync would succeed (F3)."""
    under = ["strace", "-f", "-o", "/dev/null", "-e", "inject=fdatasync:error=EIO:when=60"]
    env = settled(tmp_path, ONCORD_DATABASE_URL=sqlite_url)
    with serve(tmp_path, env, under=under) as (ports, process):
        answers = []
        with MllpSender("127.0.0.1", ports["mllp"]["his"], timeout_s=5) as sender:
            for number in range(200):
                sent = (
                    f"MSH|^~\\&|LIS|HOSP|||20260304120000||ADT^A04|{number}|P|2.5.1\r"
                    "PID|1||7^^^DEMOHOSP^MR\r"
                ).encode()
                answers.append(b"MSA|AA" in sender.send(sent))
        refused = answers.index(False)
        assert not any(answers[refused:])
        assert 1 == process.wait(20)
