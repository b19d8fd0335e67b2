"""The service process: every door, the committing thread, the doorbell and the housekeeping.

Started by `oncord serve`. Workers are processes of their own (`oncord worker`).
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import structlog
import uvicorn
from prometheus_client import REGISTRY, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Engine

from interop import metrics
from interop.api import Doors, build
from interop.errors import LedgerUnavailable
from interop.fhir_door import FhirDoor, FhirInterface
from interop.ledger import entries as record_rows
from interop.ledger import jobs, messages, results
from interop.ledger.engine import checkpoint, reading
from interop.ledger.intake import GroupCommit
from interop.mllp import Listener
from interop.stow import StowDoor
from mappings.record import Identifier
from workers import heap
from workers.app import make
from workers.doorbell import Doorbell
from workers.parts import Parts
from workers.settings import Settings

log = structlog.get_logger()

_CHECKPOINT_S = 5.0


class LedgerGauges(Collector):
    """What waits, was set aside and was delivered, counted in the ledger at each scrape.

    Workers are processes of their own; the ledger is where all of them leave their marks.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        """Gauges by door, stage, carrier and state."""
        jobs_now = GaugeMetricFamily("oncord_jobs", "Jobs", labels=["stage", "state"])
        taken = GaugeMetricFamily("oncord_messages", "Messages", labels=["door", "state"])
        sent = GaugeMetricFamily("oncord_results", "Results", labels=["carrier", "state"])
        try:
            for labels, count in jobs.counts(self._engine).items():
                jobs_now.add_metric(labels, count)
            for labels, count in messages.counts(self._engine).items():
                taken.add_metric(labels, count)
            with reading(self._engine) as connection:
                for pair, count in Counter(results.delivery_states(connection)).items():
                    sent.add_metric(pair, count)
        except LedgerUnavailable as error:
            log.warning("metrics.ledger_unavailable", reason=error.reason)
        yield from (jobs_now, taken, sent)


_DRAIN_S = 10.0
_SWITCH_S = 0.0001


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a running service listens."""

    http: int
    mllp: dict[str, int]


class Service:
    """One service process.

    Args:
        parts: Its parts, built with `migrate=True`.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        settings, site = parts.settings, parts.site
        self._gauges = LedgerGauges(parts.engine)
        metrics.code_maps_broken.set_function(self._broken_maps)
        self.doorbell = Doorbell(make(settings.broker_url), parts.engine, parts.now)
        self.commit = GroupCommit(
            parts.engine,
            parts.ids,
            settings.journal_dir,
            lambda _new: self.doorbell.ring("ingest"),
        )
        self._listeners = [
            Listener(interface, self.commit, now=parts.now, next_control_id=_control_ids())
            for interface in site.mllp
        ]
        self._http = _http_server(settings, self._doors())
        self._stopping = asyncio.Event()

    def _broken_maps(self) -> float:
        """Whether the code maps as they lie in their folder cannot be used: 1 or 0."""
        self._parts.site.senders.refresh()
        return float(self._parts.site.senders.broken)

    def _doors(self) -> Doors:
        parts, site = self._parts, self._parts.site
        url = f"http://{parts.settings.host}:{parts.settings.http_port}/dicomweb"
        fhir = FhirInterface(name=site.fhir, site=site.sender(site.fhir))
        return Doors(
            fhir=FhirDoor(fhir, self.commit, now=parts.now),
            stow={
                name: StowDoor(path, parts.blobs, self.commit, now=parts.now, retrieve_url=url)
                for name, path in site.stow.items()
            },
            ready=self.findings,
            question=self.question,
            tokens=parts.settings.api_tokens,
        )

    def findings(self) -> list[str]:
        """What keeps the service from being ready."""
        found = self._parts.findings()
        try:
            with reading(self._parts.engine) as connection:
                connection.exec_driver_sql("SELECT 1")
        except LedgerUnavailable as error:
            found.append(f"ledger: {error.reason}")
        if self.commit.journal.broken:
            found.append(self.commit.journal.broken)
        return found

    def question(self, authority: str, value: str) -> list[dict[str, Any]] | None:
        """The standing readiness answers for a patient, or None if nobody is known by that."""
        with reading(self._parts.engine) as connection:
            person = record_rows.person_of(connection, [Identifier(value, authority)])
            if person is None:
                return None
            return [
                {"pack": row.pack, "trigger": row.trigger, **(row.body or {})}
                for row in results.readiness_of(connection, person)
            ]

    async def start(self) -> Ports:
        """Open every door.

        Raises:
            OSError: A port cannot be bound.
        """
        settings = self._parts.settings
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        # Bound first, and by us: uvicorn would end the process with words of its own.
        held = socket.create_server((settings.host, settings.http_port), family=family)
        # The committing thread comes back from each fsync to a lock that the doorbell's thread may
        # hold: at Python's 5 ms that wait would cost more than the commit.
        sys.setswitchinterval(_SWITCH_S)
        heap.settle()
        self._parts.blobs.sweep()
        REGISTRY.register(self._gauges)
        self.commit.start()
        self.doorbell.start()
        ports: dict[str, int] = {}
        for number, listener in enumerate(self._listeners):
            port = settings.mllp_port + number if settings.mllp_port else 0
            ports[listener.interface.name] = await listener.start(settings.host, port)
        self._serving = asyncio.create_task(self._http.serve([held]))
        while not self._http.started:
            if self._serving.done():
                self._serving.result()
                raise OSError("the HTTP doors ended before they were open")
            await asyncio.sleep(0.01)
        http = int(held.getsockname()[1])
        self._keeping = asyncio.create_task(self._keep_house())
        # What an earlier process acknowledged and nobody worked yet.
        for stage in jobs.overdue(self._parts.engine, now=self._parts.now()):
            self.doorbell.ring(stage)
        log.info("service.started", port=http, pid=os.getpid(), site=self._parts.site.name)
        for finding in self._parts.findings():
            log.error("service.finding", reason=finding)
        return Ports(http, ports)

    async def stop(self) -> None:
        """Close the doors, commit what was taken, end."""
        for listener in self._listeners:
            await listener.stop()
        self._http.should_exit = True
        await asyncio.wait_for(self._serving, _DRAIN_S)
        self._keeping.cancel()
        await asyncio.to_thread(self.commit.stop)
        await asyncio.to_thread(self.doorbell.stop)
        REGISTRY.unregister(self._gauges)
        self._parts.close()
        log.info("service.stopped", pid=os.getpid())

    async def run(self, started: Callable[[Ports], None] | None = None) -> None:
        """Serve until SIGTERM or SIGINT, or until the journal's disk fails.

        Raises:
            LedgerUnavailable: A sync failed: nothing can be taken before a person has looked.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        ports = await self.start()
        if started is not None:
            started(ports)
        await self._stopping.wait()
        await self.stop()
        if self.commit.journal.broken:
            raise LedgerUnavailable(self.commit.journal.broken)

    async def _keep_house(self) -> None:
        """Checkpoint SQLite's WAL, as only this process does (site rule 26); watch the journal."""
        while True:
            await asyncio.sleep(_CHECKPOINT_S)
            metrics.journal_waiting.set(self.commit.journal.waiting_bytes)
            if self.commit.journal.broken:
                self._stopping.set()
            try:
                await asyncio.to_thread(checkpoint, self._parts.engine)
            except Exception as error:  # noqa: BLE001  housekeeping never ends the service
                log.warning("service.checkpoint_failed", error=type(error).__name__)


class _Server(uvicorn.Server):
    """Uvicorn without its signal handlers: this process has its own."""

    def install_signal_handlers(self) -> None:
        """Nothing: `Service.run` listens for signals."""


def _http_server(settings: Settings, doors: Doors) -> uvicorn.Server:
    config = uvicorn.Config(
        build(doors),
        host=settings.host,
        port=settings.http_port,
        log_config=None,
        access_log=False,
        http="httptools",
        lifespan="off",
        server_header=False,
        timeout_keep_alive=30,
    )
    return _Server(config)


def _control_ids() -> Callable[[], str]:
    """MSH-10 of our answers: distinct over restarts, 20 characters at most."""
    prefix = os.urandom(5).hex().upper()
    numbers = itertools.count(1)
    return lambda: f"{prefix}{next(numbers)}"
