"""A message with a large document in one OBX: time to its answer, memory of the service."""

from __future__ import annotations

import base64
import random
import socket
import statistics
import tempfile
import time
from pathlib import Path

from rich.console import Console

from tests.bench import machine, site
from tests.bench.messages import END
from tests.bench.table import Measured, Verdict

_SIZES_MB = (10, 50)
_MOST_TIMES = 4.0


def run(console: Console, *, rounds: int, seconds: float) -> Measured:
    """One message after the other, alone on the service."""
    taken: dict[int, list[tuple[float, float]]] = {size: [] for size in _SIZES_MB}
    for number in range(rounds):
        for size in _SIZES_MB:
            took, grown = _turn(number, size)
            taken[size].append((took, grown))
            console.print(
                f"round {number + 1}: {size} MB: {took * 1000:.0f} ms, +{grown:.0f} MB",
                style="dim",
                highlight=False,
            )
    return _measured(taken, rounds)


def _turn(number: int, size: int) -> tuple[float, float]:
    """Seconds to the answer and growth in MB, of a service that saw nothing large before."""
    with (
        tempfile.TemporaryDirectory(prefix="oncord-bench-") as name,
        site.stage(Path(name), workers=False, mllp="cap_mb = 60") as stage,
    ):
        _send(stage.mllp, _message("warm", 1))
        sent = _message(f"L{number}-{size}", size)
        pid = stage.pid("service")
        machine.forget_peak(pid)
        before = machine.peak_mb(pid)
        took = _send(stage.mllp, sent)
        time.sleep(1.0)  # it is moved into the tables meanwhile
        return took, machine.peak_mb(pid) - before


def _message(control_id: str, megabytes: int) -> bytes:
    """MDM^T02 with a PDF of that size in base64, all told."""
    content = base64.b64encode(random.Random(1).randbytes(megabytes * 750_000))  # noqa: S311  filler
    return (
        b"MSH|^~\\&|RIS|DEMOHOSP|ONCORD|DEMOHOSP|20261120101112||MDM^T02^MDM_T02|"
        + control_id.encode()
        + b"|P|2.5.1\rEVN|T02|20261120101112\rPID|1||SYN-1^^^DEMOHOSP^MR\rPV1|1|I\r"
        b"TXA|1|CN|AP|20261120101112||||||||DOC" + control_id.encode() + b"|||||AU\r"
        b"OBX|1|ED|11526-1^Pathology^LN||^application^pdf^Base64^" + content + b"||||||F\r"
    )


def _send(port: int, message: bytes) -> float:
    """Seconds from the first byte to the answer."""
    with socket.create_connection(("127.0.0.1", port), 120) as held, machine.on(machine.CLIENT):
        began = time.perf_counter()
        held.sendall(b"\x0b" + message + END)
        got = b""
        while not got.endswith(END):
            piece = held.recv(65536)
            if not piece:
                break
            got += piece
        took = time.perf_counter() - began
    if b"MSA|AA" not in got:
        raise AssertionError("a large message was not accepted")
    return took


def _measured(taken: dict[int, list[tuple[float, float]]], rounds: int) -> Measured:
    rows, verdicts = [], []
    for size, found in taken.items():
        took = statistics.median(t for t, _ in found)
        grown = statistics.median(g for _, g in found)
        rows.append(
            (
                f"{size} MB",
                f"{took * 1000:.0f}",
                f"{size / took:.0f}",
                f"{grown:.0f}",
                f"{grown / size:.1f}",
            )
        )
        verdicts.append(
            Verdict(
                target=f"{size} MB: memory under {_MOST_TIMES:g}x the message",
                measured=f"{grown / size:.1f}x",
                met=grown < _MOST_TIMES * size,
            )
        )
    return Measured(
        name="large",
        title="MDM^T02 with a document in one OBX (ED, base64)",
        head=("message", "ms to the answer", "MB/s", "memory +MB", "times its size"),
        rows=rows,
        verdicts=tuple(verdicts),
        notes=(
            f"Medians of {rounds} rounds, one message at a time, durable before the answer.",
            (
                "Memory: peak of a fresh service (VmHWM) from before the message to a second after "
                "its answer, its move into the tables included."
            ),
        ),
    )
