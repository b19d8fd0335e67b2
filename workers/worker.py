"""A worker process: its parts, built once in the child, and the stages it can work."""

from __future__ import annotations

import resource
from functools import cache

import structlog

from workers import app as celery_app
from workers import heap
from workers.answer import Answer
from workers.assess import Assess
from workers.deliver import Deliver
from workers.doorbell import Rings
from workers.drain import Stage, drain
from workers.ingest import Ingest
from workers.log import configure
from workers.parts import Parts, build
from workers.settings import Settings, worker_queue

log = structlog.get_logger()


class Worker:
    """The stages of one process.

    Args:
        parts: Its parts.
        rings: How it rings other stages.
    """

    def __init__(self, parts: Parts, rings: Rings) -> None:
        self.parts, self._rings = parts, rings
        self._stages: dict[str, Stage] = {
            stage.name: stage
            for stage in (Ingest(parts), Assess(parts), Deliver(parts), Answer(parts))
        }

    def drain(self, stage: str) -> int:
        """Work a stage; how many jobs were worked."""
        known = self._stages.get(stage)
        if known is None:
            log.warning("worker.unknown_stage")
            return 0
        if stage == "ingest":
            self.parts.site.senders.refresh()
        return drain(known, self.parts.engine, now=self.parts.now, ring=self._rings.ring)


def limit_memory() -> None:
    """Bound a ledger worker's memory: a file that inflates without end fails alone (A3).

    Parsers of untrusted bytes run here; what they cannot allocate is a `MemoryError` that becomes
    a quarantined message. A GPU worker maps far more than it uses and reads checked bytes only.
    """
    settings = Settings.from_environment()
    if worker_queue() == "ledger" and settings.worker_memory_mb:
        bound = settings.worker_memory_mb * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_AS, (bound, bound))


@cache
def process() -> Worker:
    """This process's worker; built on the first ring, in the child that works."""
    settings = Settings.from_environment()
    configure(settings.log_format)
    made = Worker(build(settings), Rings(celery_app.app))
    heap.settle()
    return made
