"""Draining a stage: claim, work, repeat, within bounds; leases renewed by a heartbeat.

A ring drains at most `MOST_JOBS` jobs or `MOST_S` seconds and then rings again (site rule 21), so
that the broker's rate never bounds throughput and no stage starves another. Where it finds a whole
batch it rings for a second worker.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Protocol, Self

import structlog
from sqlalchemy import Engine
from structlog.contextvars import bound_contextvars

from inference.errors import InferenceError
from interop.errors import InteropError, LedgerUnavailable, LostLease, Permanent, Transient
from interop.ledger import jobs
from interop.ledger.engine import writing
from interop.ledger.jobs import Claim
from mappings.errors import MappingError

log = structlog.get_logger()

MOST_JOBS = 512
MOST_S = 10.0
_HEARTBEAT_S = 10.0
_FIRST_WAIT = timedelta(seconds=2)
_LONGEST_WAIT = timedelta(minutes=10)


class Stage(Protocol):
    """One stage's work.

    Attributes:
        name: Stage name.
        batch: Most jobs claimed at once.
    """

    name: str
    batch: int

    def work(self, claims: Sequence[Claim]) -> set[str]:
        """Work and finish every claim; the stages that now have work."""
        ...


class Heartbeat(AbstractContextManager["Heartbeat"]):
    """Renews leases from a thread while work is under way."""

    def __init__(
        self, engine: Engine, claims: Sequence[Claim], now: Callable[[], datetime]
    ) -> None:
        self._engine, self._claims, self._now = engine, claims, now
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """End."""
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(_HEARTBEAT_S):
            try:
                jobs.renew(self._engine, self._claims, now=self._now())
            except InteropError as error:
                log.warning("lease.not_renewed", error=type(error).__name__)


def drain(
    stage: Stage, engine: Engine, *, now: Callable[[], datetime], ring: Callable[[str], object]
) -> int:
    """Work a stage until it is empty or the bounds are reached; how many jobs were worked."""
    deadline = time.monotonic() + MOST_S
    worked = 0
    while True:
        claims = jobs.claim(engine, stage.name, now=now(), limit=stage.batch)
        if not claims:
            return worked
        if not worked and len(claims) == stage.batch > 1:
            ring(stage.name)  # there is more than a batch: whoever is idle comes, too
        with bound_contextvars(stage=stage.name, job=claims[0].id, count=len(claims)):
            wanted = _work(stage, engine, claims, now)
        worked += len(claims)
        for other in wanted - {stage.name}:
            ring(other)
        if worked >= MOST_JOBS or time.monotonic() > deadline:
            ring(stage.name)
            return worked


def _work(
    stage: Stage, engine: Engine, claims: Sequence[Claim], now: Callable[[], datetime]
) -> set[str]:
    """Work a batch; when it fails as a whole, each job alone, so that one cannot sink the rest."""
    with Heartbeat(engine, claims, now):
        try:
            return stage.work(claims)
        except Exception as error:  # noqa: BLE001  task boundary: sorted into the ledger below
            if len(claims) == 1:
                settle(engine, claims[0], error, now())
                return set()
        wanted: set[str] = set()
        for claim in _left(engine, claims):
            try:
                wanted |= stage.work([claim])
            except Exception as error:  # noqa: BLE001  task boundary
                settle(engine, claim, error, now())
        return wanted


def _left(engine: Engine, claims: Sequence[Claim]) -> Sequence[Claim]:
    """What a batch that failed half way did not finish; a sweep rings for what it did."""
    try:
        return jobs.still_leased(engine, claims)
    except LedgerUnavailable:
        return claims  # each will say so for itself


def settle(engine: Engine, claim: Claim, error: BaseException, now: datetime) -> None:
    """Write down why a job did not finish: later for what may pass, parked for what will not."""
    reason = describe(error)
    if isinstance(error, LostLease):
        log.warning("job.lost", stage=claim.stage, job=claim.id, fence=claim.fence)
        return
    try:
        with writing(engine) as connection:
            if isinstance(error, Transient):
                wait = error.retry_after_s
                until = now + (timedelta(seconds=wait) if wait else backoff(claim.fence))
                jobs.postpone(connection, claim, until=until, reason=reason)
                log.warning("job.postponed", stage=claim.stage, job=claim.id, reason=reason)
            else:
                jobs.park(connection, claim, now=now, reason=reason)
                log.error("job.parked", stage=claim.stage, job=claim.id, reason=reason)
    except InteropError as failed:
        # The lease will run out and the job be claimed again: nothing is lost.
        log.error("job.not_settled", job=claim.id, error=type(failed).__name__)  # noqa: TRY400


def describe(error: BaseException) -> str:
    """Our errors by their sentence, anything else by its class: texts of others may quote data."""
    if isinstance(error, (Transient, Permanent)):
        return error.reason
    if isinstance(error, (MappingError, InferenceError)):
        return str(error)
    return f"{type(error).__module__}.{type(error).__name__}"


def backoff(tries: int) -> timedelta:
    """2, 4, 8 … seconds, at most ten minutes."""
    waits: timedelta = _FIRST_WAIT * 2 ** min(max(tries - 1, 0), 20)
    return min(waits, _LONGEST_WAIT)
