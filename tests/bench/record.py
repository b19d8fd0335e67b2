"""ORU^R01 committed to the record by the workers of a site, beside the same rows written bare."""

from __future__ import annotations

import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from sqlalchemy import Engine

from interop.ledger.engine import checkpoint, open_ledger
from tests.bench import site
from tests.bench.patients import FILLED, LONG_AGO, Line, line, worker_of
from tests.bench.table import Measured, Verdict
from workers import heap
from workers.worker import Worker

_PATIENTS, _SIZE = 64, 20_000
_MESSAGES = 4  # of each patient wait in a turn
_WORKERS = (1, 2)
_LEAST = 0.5
_A_COMMIT = 8  # messages to a transaction of ours, and to one of the bare rows
_PERSONS = """
    SELECT person FROM entry JOIN identity
    ON identity.authority = entry.authority AND value = patient
    WHERE message IN (SELECT value FROM json_each(?1))
"""
# What messages leave in the tables, by table; ?1 is a JSON list of their ids.
_WRITTEN = {
    "inbound": "id IN (SELECT value FROM json_each(?1))",
    "job": "id IN (SELECT value FROM json_each(?1))",
    "entry": "message IN (SELECT value FROM json_each(?1))",
    "person": f"id IN ({_PERSONS})",
    "readiness": f"""person IN ({_PERSONS}) AND updated_at >= (
        SELECT MIN(received_at) FROM inbound WHERE id IN (SELECT value FROM json_each(?1))
    )""",  # noqa: S608  constants only
}


@dataclass(slots=True)
class _Times:
    """Seconds a message of each turn: ours, and of the same rows bare."""

    ours: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)


def run(console: Console, *, rounds: int, seconds: float) -> Measured:
    """Backlogs drained by one worker and by one per core in turns, and the rows of each bare."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="oncord-bench-")))
        ours = stack.enter_context(line(home / "ours"))
        for patient in range(_PATIENTS):
            ours.apply([patient], days_ago=LONG_AGO)
            ours.fill(patient, _SIZE)
        told = f"{_PATIENTS} patients of {_SIZE} entries"
        console.print(told, style="dim", highlight=False)
        ours.filled()
        copy = stack.enter_context(closing(_Bare(ours.parts.engine, home / "bare.db")))
        workers = [
            stack.enter_context(ProcessPoolExecutor(1, get_context("spawn"))) for _ in _WORKERS
        ]
        times = {count: _Times() for count in _WORKERS}
        os.sync()  # or what was filled is still on its way to the disk, and commits wait for it
        for turn in range(4 * rounds, -1, -1):
            for count, taken in times.items():
                took, messages = _drained(ours, home / "ours", workers[:count], turn)
                bare = copy.write(messages)
                if turn < 4 * rounds:  # the first brings processes and pages into memory
                    taken.ours.append(took / len(messages))
                    taken.bare.append(bare / len(messages))
    return _measured(times)


def _drained(
    ours: Line, home: Path, workers: Sequence[ProcessPoolExecutor], days_ago: int
) -> tuple[float, list[int]]:
    """Seconds to move and apply some messages of every patient, and the messages."""
    taken = ours.taken([*range(_PATIENTS)] * _MESSAGES, days_ago)
    began = time.perf_counter()
    ours.move(taken)
    for drained in [worker.submit(_drain, home) for worker in workers]:
        drained.result()
    took = time.perf_counter() - began
    checkpoint(ours.parts.engine)  # as a service does beside them
    return took, [record.id for record in taken]


@cache
def _worker(home: Path) -> Worker:
    made = worker_of(home)
    heap.settle()
    return made


def _drain(home: Path) -> None:
    """In a worker's process: drain, and be rung again, until nothing is open."""
    worker = _worker(home)
    open_jobs = "SELECT count(*) FROM job WHERE stage = 'ingest' AND state IN ('ready', 'leased')"
    while worker.drain("ingest") or site.one(worker.parts.engine, open_jobs):
        pass


class _Bare:
    """A copy of the tables as they stand, into which the rows of each turn are written bare.

    The very pages are copied: a copy that is packed anew would take the same rows on fewer pages.

    Args:
        engine: The ledger.
        path: File of the copy.
    """

    def __init__(self, engine: Engine, path: Path) -> None:
        self._from = engine.raw_connection()
        with closing(sqlite3.connect(path)) as copy:
            self._from.driver_connection.backup(copy)
        self._engine = open_ledger(f"sqlite:///{path}")
        self._to = self._engine.raw_connection()

    def close(self) -> None:
        """Give both up."""
        self._from.close()
        self._to.close()
        self._engine.dispose()

    def write(self, messages: Sequence[int]) -> float:
        """Seconds to upsert what these messages left, as many of them to a commit as ours."""
        batches = [messages[n : n + _A_COMMIT] for n in range(0, len(messages), _A_COMMIT)]
        commits = [
            {table: self._rows(table, condition, some) for table, condition in _WRITTEN.items()}
            for some in batches
        ]
        cursor = self._to.cursor()
        began = time.perf_counter()
        for written in commits:
            cursor.execute("BEGIN IMMEDIATE")
            for table, rows in written.items():
                if rows:
                    marks = ",".join("?" * len(rows[0]))
                    cursor.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", rows)  # noqa: S608  names of ours, and marks
            self._to.commit()
        took = time.perf_counter() - began
        checkpoint(self._engine)
        return took

    def _rows(self, table: str, condition: str, messages: Sequence[int]) -> list[Any]:
        cursor = self._from.cursor()
        query = f"SELECT * FROM {table} WHERE {condition} ORDER BY rowid"  # noqa: S608  of _WRITTEN
        cursor.execute(query, [orjson.dumps(messages).decode()])
        return cursor.fetchall()


def _measured(times: dict[int, _Times]) -> Measured:
    rows, ratios = [], {}
    for count, taken in times.items():
        pairs = zip(taken.bare, taken.ours, strict=True)
        ratios[count] = statistics.median(bare / ours for bare, ours in pairs)
        took = statistics.median(taken.ours)
        what = "one worker" if count == 1 else f"{count} workers, one per core"
        rows.append((what, f"{took * 1000:.2f}", f"{1 / took:.0f}", f"{ratios[count]:.2f}"))
    took = statistics.median(bare for taken in times.values() for bare in taken.bare)
    rows.append(("the same rows bare", f"{took * 1000:.2f}", f"{1 / took:.0f}", "1.00"))
    turns = len(times[_WORKERS[0]].ours)
    return Measured(
        name="record",
        title=f"ORU^R01 (30 OBX) committed to records of {_SIZE} entries",
        head=("who", "ms a message", "messages/s", "x bare"),
        rows=rows,
        verdicts=(
            Verdict(
                target=f"{_LEAST:g}x of the same rows upserted bare, with a worker per core",
                measured=f"{ratios[_WORKERS[-1]]:.2f}x",
                met=ratios[_WORKERS[-1]] >= _LEAST,
            ),
        ),
        notes=(
            (
                f"Medians of {turns} turns, and of the turns' ratios; in each {_MESSAGES} messages "
                f"of each of {_PATIENTS} patients are moved, mapped, applied and judged for the "
                "pack liver_dx, until no job is open; SQLite."
            ),
            FILLED,
            (
                "Bare is INSERT OR REPLACE of all rows that a turn left (message, job, entries, "
                f"epoch of the person, readiness), {_A_COMMIT} messages to a commit as ours, each "
                "row once, by one connection, into a copy of the database page by page. Both logs "
                "are moved into their databases between turns."
            ),
        ),
    )
