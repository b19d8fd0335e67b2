"""Answers at half of what the service can take, alone and while images and a backfill come in."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console

from tests.bench import machine, site, stow
from tests.bench.client import Load, load
from tests.bench.messages import feed
from tests.bench.table import Measured, Verdict
from workers.demo.stage import Stage

_CONNECTIONS, _SLICES, _MOST_P99_MS = 64, 1000, 50.0
_ARCHIVE = '\n[[mllp]]\nname = "archive"\norigin = "history"\n\n[fhir]'


def run(console: Console, *, rounds: int, seconds: float) -> Measured:
    """Full load first, to know what half of it is; then alone and under pressure in turns."""
    alone: list[Load] = []
    pressed: list[Load] = []
    quarter: list[Load] = []
    full: list[float] = []
    with tempfile.TemporaryDirectory(prefix="oncord-bench-") as name:
        home = Path(name)
        with (
            site.stage(home, workers=False, more=("[fhir]", _ARCHIVE)) as stage,
            site.ledger(f"sqlite:///{home}/ledger.db") as engine,
        ):
            load(stage.mllp, feed("W"), connections=8, seconds=1)
            for number in range(rounds):
                with machine.on(machine.CLIENT):
                    made = load(stage.mllp, feed(f"F{number}"), connections=_CONNECTIONS, seconds=2)
                full.append(made.rate)
                half = made.rate / 2
                site.settle(engine)
                alone.append(_half(stage.mllp, f"A{number}", half, seconds))
                site.settle(engine)
                for made_of, series, rate in ((pressed, "P", half), (quarter, "Q", half / 2)):
                    stow.write(home / "body", slices=_SLICES)
                    beside = [
                        lambda: _send(home / "body", stage),
                        lambda label=f"B{series}{number}": _backfill(stage, label, seconds),
                    ]
                    label = f"{series}{number}"
                    made_of.append(_half(stage.mllp, label, rate, seconds, *beside))
                    site.settle(engine)
                console.print(
                    f"round {number + 1}: {half:.0f}/s: p99 alone {alone[-1].p_ms(0.99):.1f} ms, "
                    f"under pressure {pressed[-1].p_ms(0.99):.1f} ms",
                    style="dim",
                    highlight=False,
                )
    return _measured(full, (alone, pressed, quarter), rounds)


def _half(port: int, series: str, rate: float, seconds: float, *beside: Callable[[], None]) -> Load:
    """The load at a rate, with something else going on."""
    threads = [threading.Thread(target=work) for work in beside]
    for thread in threads:
        thread.start()
    with machine.on(machine.CLIENT):
        made = load(port, feed(series), connections=_CONNECTIONS, seconds=seconds, rate=rate)
    for thread in threads:
        thread.join()
    return made


def _backfill(stage: Stage, series: str, seconds: float) -> None:
    """History over one connection, as fast as it is answered, from a process of its own."""
    sender = get_context("spawn").Process(
        target=_send_history, args=(stage.interfaces["archive"], series, seconds)
    )
    with machine.on(machine.CLIENT):
        sender.start()
    sender.join()


def _send_history(port: int, series: str, seconds: float) -> None:
    load(port, feed(series), connections=1, seconds=seconds)


def _send(body: Path, stage: Stage) -> None:
    kind = f'Content-Type: multipart/related; type="application/dicom"; boundary={stow.BOUNDARY}'
    url = f"http://127.0.0.1:{stage.http}/dicomweb/studies"
    command = ["curl", "-sS", "-o", "/dev/null", "-X", "POST", "-H", kind, "-T", str(body), url]
    subprocess.run(command, check=True)


def _measured(
    full: list[float], taken: tuple[list[Load], list[Load], list[Load]], rounds: int
) -> Measured:
    beside = f"beside a STOW of {_SLICES} slices and a backfill"
    names = ("alone", beside, f"{beside}, at half of that rate")
    rows, verdicts = [], []
    for name, loads in zip(names, taken, strict=True):
        p50, p99 = (statistics.median(m.p_ms(share) for m in loads) for share in (0.5, 0.99))
        rate = statistics.median(m.rate for m in loads)
        rows.append((name, f"{rate:.0f}", f"{p50:.2f}", f"{p99:.2f}"))
        verdicts.append(
            Verdict(
                target=f"{name}: p99 under {_MOST_P99_MS:g} ms",
                measured=f"{p99:.1f} ms",
                met=p99 < _MOST_P99_MS,
            )
        )
    return Measured(
        name="pressure",
        title=f"Half of {statistics.median(full):.0f} acks/s over {_CONNECTIONS} connections",
        head=("sender", "acks/s", "p50 ms", "p99 ms"),
        rows=rows,
        verdicts=tuple(verdicts),
        notes=(
            (
                f"Medians of {rounds} rounds; messages are due at even intervals, and a latency "
                "counts from the moment at which its message was due."
            ),
            _rounds(zip(names[:2], taken[:2], strict=True)),
            "SQLite, workers stopped; service on core 0, senders of HL7 on core 1.",
        ),
    )


def _rounds(taken: Iterable[tuple[str, list[Load]]]) -> str:
    """A median hides that a disk may stall for a whole round."""
    told = (f"{name} {', '.join(f'{m.p_ms(0.99):.0f}' for m in loads)}" for name, loads in taken)
    return f"p99 of each round in ms: {'; '.join(told)}."
