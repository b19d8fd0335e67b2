"""Durable MLLP acks a second, beside servers that store nothing."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from peers import found, servers
from rich.console import Console
from sqlalchemy import create_engine, text

from tests.bench import machine, site
from tests.bench.client import Load, load, stream_load
from tests.bench.messages import Feed, feed
from tests.bench.table import Measured, Verdict

_BY_STREAMS = "64, a sender of asyncio streams"
# What is asked of each server, and by which client.
_LOADS = {
    "1": (1, load), "8": (8, load), "64": (64, load), _BY_STREAMS: (64, stream_load),
}  # fmt: skip
_PEER = "python-hl7 asyncio, stores nothing"
_ECHO = "bare asyncio echo, stores nothing"
_OURS = "Oncord, SQLite, workers draining"
_STRIDE = 1_000_000
_TARGETS = (
    (_OURS, _PEER, "8", 20.0),
    (_OURS, _PEER, "64", 20.0),
    ("Oncord, SQLite, workers stopped", _ECHO, _BY_STREAMS, 0.6),
    ("Oncord, PostgreSQL, workers draining", _PEER, "64", 10.0),
    ("Oncord, PostgreSQL, workers stopped", _ECHO, _BY_STREAMS, 0.3),
)


@dataclass(frozen=True, slots=True)
class _Round:
    seconds: float
    feed: Feed

    def loads(self, port: int, settled: Callable[[int], object] = int) -> dict[str, Load]:
        """Each load in turn; `settled` is told how many were acknowledged so far, and may wait."""
        made: dict[str, Load] = {}
        for k, (name, (n, by)) in enumerate(_LOADS.items()):
            made[name] = by(port, self.feed, connections=n, seconds=self.seconds, first=k * _STRIDE)
            settled(sum(m.acks for m in made.values()))
        return made


def run(console: Console, *, rounds: int, seconds: float) -> Measured:
    """Take turns: each round asks every server in order."""
    taken: dict[str, dict[str, list[Load]]] = defaultdict(lambda: defaultdict(list))
    drained: list[str] = []
    with ExitStack() as stack:
        url = "" if found.missing("postgresql") else _postgresql(stack)
        for number in range(rounds):
            this = _Round(seconds, feed(f"R{number}"))
            for name, serve in _turns(this, url, drained):
                with machine.on(machine.CLIENT):
                    made = serve()
                for connections, load_ in made.items():
                    taken[name][connections].append(load_)
                told = ", ".join(f"{n}: {made[n].rate:.0f}/s" for n in _LOADS)
                console.print(f"round {number + 1}: {name}: {told}", style="dim", highlight=False)
    return _measured(taken, rounds, seconds, drained)


def _postgresql(stack: ExitStack) -> str:
    with machine.on(machine.SERVER):
        return stack.enter_context(servers.postgresql()).url


def _turns(
    this: _Round, postgresql: str, drained: list[str]
) -> Iterator[tuple[str, Callable[[], dict[str, Load]]]]:
    yield _PEER, lambda: _peer(this, "hl7")
    yield _OURS, lambda: _ours(this, "", drained, workers=True)
    yield _ECHO, lambda: _peer(this, "echo")
    yield "Oncord, SQLite, workers stopped", lambda: _ours(this, "", [], workers=False)
    if postgresql:
        yield (
            "Oncord, PostgreSQL, workers draining",
            lambda: _ours(this, postgresql, drained, workers=True),
        )
        yield (
            "Oncord, PostgreSQL, workers stopped",
            lambda: _ours(this, postgresql, [], workers=False),
        )


def _peer(this: _Round, kind: str) -> dict[str, Load]:
    with machine.on(machine.SERVER):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.mllp_peers", kind],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    try:
        assert process.stdout is not None
        return this.loads(int(process.stdout.readline()))
    finally:
        process.terminate()
        process.communicate()


def _ours(this: _Round, server: str, drained: list[str], *, workers: bool) -> dict[str, Load]:
    """Our service under the same load; what it acknowledged must be what it stored."""
    with tempfile.TemporaryDirectory(prefix="oncord-bench-") as name, ExitStack() as stack:
        home = Path(name)
        url = _database(server) if server else f"sqlite:///{home}/ledger.db"
        with machine.on(machine.SERVER | machine.CLIENT):  # workers run where they like
            stage = stack.enter_context(
                site.stage(home, workers=workers, environment={"ONCORD_DATABASE_URL": url})
            )
        engine = stack.enter_context(site.ledger(url))
        warm = load(stage.mllp, feed("W"), connections=1, seconds=0.2)
        if workers:
            site.wait("workers to drain", lambda: not site.open_jobs(engine))

        def moved(acked: int) -> None:
            # Every load is a burst of its own, as after any pause of the senders.
            everything = warm.acks + acked
            site.wait("the journal to be moved", lambda: site.messages(engine) >= everything)

        began = time.perf_counter()
        made = this.loads(stage.mllp, moved)
        worked, took = site.finished(engine), time.perf_counter() - began
        acked = warm.acks + sum(m.acks for m in made.values())
        stored = site.messages(engine)
        if stored != acked or any(m.wrong for m in made.values()):
            raise AssertionError(f"{acked} messages acknowledged, {stored} stored")
        if workers:
            done = worked - warm.acks
            drained.append(f"{done / took:.0f}/s")
        return made


def _database(server: str) -> str:
    engine = create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS bench WITH (FORCE)"))
        connection.execute(text("CREATE DATABASE bench"))
    engine.dispose()
    return f"{server}/bench"


def _measured(
    taken: dict[str, dict[str, list[Load]]], rounds: int, seconds: float, drained: list[str]
) -> Measured:
    rows = []
    for name, by_connections in taken.items():
        for connections, loads in by_connections.items():
            rows.append(
                (
                    name,
                    connections,
                    f"{statistics.median(m.rate for m in loads):.0f}",
                    f"{statistics.median(m.p_ms(0.5) for m in loads):.2f}",
                    f"{statistics.median(m.p_ms(0.99) for m in loads):.2f}",
                    f"{_ratio(taken, name, _PEER, connections):.1f}",
                    f"{_ratio(taken, name, _ECHO, connections):.2f}",
                )
            )
    size = len(feed("R0").message(0))
    return Measured(
        name="mllp",
        title=f"ORU^R01 with 30 OBX ({size} bytes), acks a second",
        head=("server", "connections", "acks/s", "p50 ms", "p99 ms", "x python-hl7", "x echo"),
        rows=rows,
        verdicts=tuple(
            Verdict(
                target=f"{least:g}x {against.partition(',')[0]} at {_many(connections)}: {name}",
                measured=f"{ratio:.2f}x",
                met=ratio >= least,
            )
            for name, against, connections, least in _TARGETS
            if name in taken
            for ratio in [_ratio(taken, name, against, connections)]
        ),
        notes=(
            (
                f"Medians of {rounds} rounds of {seconds:g} s; servers take turns in each round, and "
                "ratios are medians of the rounds' ratios."
            ),
            (
                "Every server process (for us: `oncord serve`, and PostgreSQL) is pinned to core 0, "
                "the one client to core 1; our two workers run on either core at niceness 5."
            ),
            (
                "One message in flight per connection; MSA-1 and MSA-2 of every answer are checked, and "
                "after each of our runs the stored messages are counted: as many as were acknowledged."
            ),
            (
                f"Meanwhile our workers mapped and applied (SQLite and PostgreSQL in turn): "
                f"{', '.join(drained)}."
            ),
        ),
    )


def _many(load_: str) -> str:
    """A load in words: "64 connections, a sender of asyncio streams"."""
    count, comma, client = load_.partition(",")
    return f"{count} connections{comma}{client}"


def _ratio(
    taken: dict[str, dict[str, list[Load]]], name: str, against: str, connections: str
) -> float:
    pairs = zip(taken[name][connections], taken[against][connections], strict=True)
    return statistics.median(ours.rate / theirs.rate for ours, theirs in pairs)
