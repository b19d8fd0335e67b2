"""Private processes of the tests: started unprivileged, waited for, and only they are stopped."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

_AS_NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]


# Below the ports that systems hand out (32768 and up): a port must stay free until its server
# starts, and while a server that is killed starts again. Each process of tests has a range.
_PORTS_A_PROCESS = 1500
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_first = 20_000 + _worker % 8 * _PORTS_A_PROCESS
_places = cycle(range(_first, _first + _PORTS_A_PROCESS))


def free_port(*, in_a_row: int = 1) -> int:
    """A loopback port nobody listens on now, the first of so many such."""
    while True:
        port = next(_places)
        if all(_is_free(port + more) for more in range(in_a_row)):
            for _ in range(in_a_row - 1):
                next(_places)
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def unprivileged(command: Sequence[str]) -> list[str]:
    """The command, with root dropped when we are root."""
    return [*(_AS_NOBODY if os.getuid() == 0 else []), *command]


@contextmanager
def folder(name: str) -> Iterator[Path]:
    """A folder that an unprivileged process may write; short, since sockets live in it."""
    made = Path(tempfile.mkdtemp(prefix=f"oncord-{name}-", dir="/tmp"))
    try:
        if os.getuid() == 0:
            shutil.chown(made, "nobody", "nogroup")
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def running(
    command: Sequence[str],
    *,
    ready: Callable[[], bool],
    log: Path,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 40.0,
    stop: signal.Signals = signal.SIGTERM,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, from the moment it is ready until the block ends."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            list(command),
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
    try:
        wait_until(ready, process, log, timeout_s)
        yield process
    finally:
        end(process, stop)


def end(process: subprocess.Popen[bytes], stop: signal.Signals = signal.SIGTERM) -> None:
    """Stop a process and whatever it started in its session."""
    for number, patience_s in ((stop, 15.0), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(patience_s)
            break
        except subprocess.TimeoutExpired:
            continue
    process.wait(5)


def wait_until(
    ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, timeout_s: float
) -> None:
    """Wait for readiness.

    Raises:
        RuntimeError: The process ended or took too long; its log is in the text.
    """
    deadline = time.monotonic() + timeout_s
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args} is not ready:\n{log.read_text('utf-8')[-3000:]}")
        time.sleep(0.02)


def listens(port: int) -> bool:
    """Whether somebody accepts connections on a loopback port."""
    try:
        with socket.create_connection(("127.0.0.1", port), 0.2):
            return True
    except OSError:
        return False
