"""A good sender's answers while others hold connections: idle ones, and ones that drip."""

from __future__ import annotations

import asyncio
import resource
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

import uvloop
from rich.console import Console

from tests.bench import machine, site
from tests.bench.client import Load, load
from tests.bench.messages import feed
from tests.bench.table import Measured, Verdict

_IDLE, _DRIPPING = 2000, 500
_MOST_RATIO, _MOST_MB = 2.0, 64
_STRIDE = 1_000_000
# The deadlines of a dripping sender are longer than a round: they shall be there all the time.
_PATIENT = "most_per_peer = 3000\nmost_connections = 4000\nfirst_byte_s = 0\ninter_byte_s = 60"


@dataclass(slots=True)
class _Held:
    """Connections that are only there."""

    port: int
    opened: list[asyncio.WriteTransport]

    async def open(self) -> None:
        """Open them; each dripping one has begun a frame."""
        loop = asyncio.get_running_loop()
        for number in range(_IDLE + _DRIPPING):
            transport, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", self.port)
            self.opened.append(transport)
            if number >= _IDLE:
                transport.write(b"\x0bMSH|^~\\&|DRIP|")

    async def drip(self) -> None:
        """A byte a second from each."""
        while True:
            for transport in self.opened[_IDLE:]:
                transport.write(b"x")
            await asyncio.sleep(1)


def run(console: Console, *, rounds: int, seconds: float) -> Measured:
    """Alone and in company, in turns, against one service."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    alone: list[Load] = []
    company: list[Load] = []
    grown: list[float] = []
    try:
        with tempfile.TemporaryDirectory(prefix="oncord-bench-") as name:
            home = Path(name)
            with site.stage(home, workers=False, mllp=_PATIENT) as stage:
                pid = stage.pid("service")
                load(stage.mllp, feed("W"), connections=1, seconds=0.5)
                for number in range(rounds):
                    first = number * _STRIDE
                    series = feed(f"A{number}")
                    with machine.on(machine.CLIENT):
                        alone.append(load(stage.mllp, series, connections=1, seconds=seconds))
                    machine.forget_peak(pid)
                    before = machine.peak_mb(pid)
                    company.append(_in_company(stage.mllp, f"C{number}", seconds, first))
                    grown.append(machine.peak_mb(pid) - before)
                    console.print(
                        f"round {number + 1}: p99 alone {alone[-1].p_ms(0.99):.2f} ms, in company "
                        f"{company[-1].p_ms(0.99):.2f} ms, +{grown[-1]:.0f} MB",
                        style="dim",
                        highlight=False,
                    )
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return _measured(alone, company, grown, rounds)


def _in_company(port: int, series: str, seconds: float, first: int) -> Load:
    """The load of one good sender beside 2,500 others."""
    held = _Held(port, [])
    made: list[Load] = []

    async def go() -> None:
        await held.open()
        dripping = asyncio.create_task(held.drip())
        with machine.on(machine.CLIENT):
            made.append(
                await asyncio.to_thread(
                    load, port, feed(series), connections=1, seconds=seconds, first=first
                )
            )
        dripping.cancel()
        for transport in held.opened:
            transport.abort()

    uvloop.run(go())
    return made[0]


def _measured(alone: list[Load], company: list[Load], grown: list[float], rounds: int) -> Measured:
    ratio = statistics.median(
        c.p_ms(0.99) / a.p_ms(0.99) for a, c in zip(alone, company, strict=True)
    )
    memory = statistics.median(grown)
    rows = [
        (
            name,
            f"{statistics.median(m.rate for m in loads):.0f}",
            f"{statistics.median(m.p_ms(0.5) for m in loads):.2f}",
            f"{statistics.median(m.p_ms(0.99) for m in loads):.2f}",
        )
        for name, loads in (
            ("alone", alone),
            (f"beside {_IDLE} idle and {_DRIPPING} dripping connections", company),
        )
    ]
    return Measured(
        name="idle",
        title="One good sender, alone and in company",
        head=("sender", "acks/s", "p50 ms", "p99 ms"),
        rows=rows,
        verdicts=(
            Verdict(
                target=f"p99 under {_MOST_RATIO:g}x of alone",
                measured=f"{ratio:.2f}x",
                met=ratio < _MOST_RATIO,
            ),
            Verdict(
                target=f"memory under +{_MOST_MB} MB",
                measured=f"+{memory:.0f} MB",
                met=memory < _MOST_MB,
            ),
        ),
        notes=(
            f"Medians of {rounds} rounds; one connection, one message in flight, workers stopped.",
            "A dripping connection has begun a frame and sends a byte a second.",
        ),
    )
