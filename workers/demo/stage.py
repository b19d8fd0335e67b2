"""The processes of a demo or flow test: sandbox EHR, service and two workers, on free ports.

Real processes, real sockets; everything dies with the one who started it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import uvicorn

from workers.demo.ehr import SandboxEhr, sandbox
from workers.parts import utc_now

SITE = Path(__file__).with_name("site.toml")


class StageFailed(Exception):
    """A process of the stage did not start or died; its log says why."""


class EhrServer:
    """A sandbox EHR served from a thread of this process."""

    def __init__(self, ehr: SandboxEhr | None = None) -> None:
        self.ehr = ehr or sandbox(utc_now)
        # Held from here on: a port that was only probed may be another's when the server starts.
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self._server = uvicorn.Server(
            uvicorn.Config(self.ehr.app(), log_config=None, lifespan="off")
        )
        self._thread = threading.Thread(target=self._serve, name="sandbox-ehr", daemon=True)

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])

    @property
    def base_url(self) -> str:
        """FHIR base URL."""
        return f"http://127.0.0.1:{self.port}/fhir"

    def start(self) -> None:
        """Serve; returns when it answers."""
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise StageFailed("the sandbox EHR did not start")
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop serving."""
        self._server.should_exit = True
        self._thread.join(10)


@dataclass(slots=True)
class Stage:
    """One running line.

    Attributes:
        folder: Data folder, logs included.
        ehr_url: FHIR base URL that results go to.
        environment: Further `ONCORD_*` settings (database, broker).
        nice: Added niceness of the workers.
        protocols: Whose readiness is kept beside the packs of the demo's site.
        http: Port of the HTTP doors once started.
        mllp: Port of the interface `his` once started.
        interfaces: Ports of all MLLP interfaces once started.
    """

    folder: Path
    ehr_url: str
    environment: Mapping[str, str] = field(default_factory=dict)
    nice: int = 0
    protocols: Sequence[str] = ()
    http: int = 0
    mllp: int = 0
    interfaces: dict[str, int] = field(default_factory=dict)
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def settings(self) -> dict[str, str]:
        """The environment of every process of this stage."""
        site = self.folder / "site.toml"
        return {
            **os.environ,
            "ONCORD_DATA_DIR": str(self.folder),
            "ONCORD_SITE_FILE": str(site),
            "ONCORD_HTTP_PORT": "0",
            "ONCORD_MLLP_PORT": "0",
            "ONCORD_LOG_FORMAT": "json",
            "PYTHONUNBUFFERED": "1",
            **self.environment,
        }

    def __enter__(self) -> Self:
        """Start the service, then the workers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = SITE.read_text("utf-8").replace("http://127.0.0.1:8090/fhir", self.ehr_url)
        text += "".join(f"\n[packs.{name}]\n" for name in self.protocols)
        (self.folder / "site.toml").write_text(text, "utf-8")
        try:
            self.start_service()
            for queue in ("ledger", "gpu"):
                self.start_worker(queue)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End every process that was started here."""
        for process in self._running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)  # all at once: each takes seconds to end
        for process in reversed(self._running.values()):
            _end(process)
        self._running.clear()

    def start_service(self) -> None:
        """Start `oncord serve` and learn its ports.

        Raises:
            StageFailed: It ended before it listened.
        """
        process = self._spawn("service", ["serve"], stdout=subprocess.PIPE)
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise StageFailed(f"the service did not start: {self.last_words('service')}")
        ports = json.loads(line)
        self.http, self.interfaces = ports["http"], ports["mllp"]
        self.mllp = self.interfaces["his"]

    def start_worker(self, queue: str) -> None:
        """Start `oncord worker`; it takes its first ring when it is up."""
        self._spawn(f"worker-{queue}", ["worker", queue, "--nice", str(self.nice)])

    def kill(self, name: str) -> None:
        """SIGKILL a process and its children (`service`, `worker-ledger`, `worker-gpu`)."""
        process = self._running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def pid(self, name: str) -> int:
        """Process id of a running process."""
        return self._running[name].pid

    def dead(self) -> list[str]:
        """Names of processes that ended by themselves."""
        return [name for name, process in self._running.items() if process.poll() is not None]

    def last_words(self, name: str) -> str:
        """The end of a process's log."""
        log = self.folder / f"{name}.log"
        return log.read_text("utf-8", "replace")[-2000:] if log.exists() else ""

    def _spawn(
        self, name: str, arguments: list[str], stdout: int | IO[bytes] | None = None
    ) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", "from workers.cli import main; main()", *arguments]
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603  our own command line
                command,
                env=self.settings(),
                stdout=stdout or log,
                stderr=log,
                start_new_session=True,
            )
        self._running[name] = process
        return process


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process that was told to end, then SIGKILL to its whole group."""
    if process.poll() is None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout:
        process.stdout.close()
