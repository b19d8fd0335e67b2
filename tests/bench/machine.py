"""The machine of a run: cores, versions, and which process may run on which core."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from peers import found

SERVER, CLIENT = {0}, {1}
_CORES = os.sched_getaffinity(0)


def describe() -> list[tuple[str, str]]:
    """What a reader must know to judge the figures."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return [
        ("cores", str(os.cpu_count())),
        ("CPU", model),
        ("kernel", platform.release()),
        ("Python", platform.python_version()),
        ("SQLite", sqlite3.sqlite_version),
        ("PostgreSQL", _postgresql()),
    ]


def _postgresql() -> str:
    programs = found.postgresql_bin()
    if programs is None:
        return "not here"
    told = subprocess.run(
        [programs / "postgres", "--version"], capture_output=True, text=True, check=True
    )
    return told.stdout.split()[2]


@contextmanager
def on(cores: set[int]) -> Iterator[None]:
    """Run the block, and every process started in it, on these cores."""
    before = os.sched_getaffinity(0)
    # Of all cores, not of those an enclosing block left: a server must not land on its client's.
    os.sched_setaffinity(0, cores & _CORES or _CORES)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def forget_peak(pid: int) -> None:
    """Reset a process's peak of resident memory."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_mb(pid: int) -> float:
    """Peak of resident memory since the last reset, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1000
    raise LookupError("VmHWM")


def child(name: str) -> int:
    """Pid of this process's child of that command name."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, tail = status.read_text().rpartition(")")
        except OSError:
            continue
        if head.partition("(")[2] == name and int(tail.split()[1]) == os.getpid():
            return int(status.parent.name)
    raise LookupError(name)


def quiet(pids: list[int], *, share: float = 0.15, patience_s: float = 30.0) -> None:
    """Wait until the processes use less than that share of a core."""
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        before = sum(map(cpu_seconds, pids))
        time.sleep(0.5)
        if sum(map(cpu_seconds, pids)) - before < share * 0.5:
            return
