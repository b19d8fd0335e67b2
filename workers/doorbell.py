"""The doorbell and its sweeper: work is announced after commit, and looked for if nobody rang.

A ring says "there is work in this stage"; many commits share one. If the broker is down, slow or
wiped, the sweeper finds what waits in the ledger and rings again (architecture.md; F6, F7).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime

import structlog
from celery import Celery
from sqlalchemy import Engine

from interop.errors import LedgerUnavailable
from interop.ledger import jobs
from workers.app import STAGES

log = structlog.get_logger()

_SWEEP_S = 1.0
# A ring that was sent stays unanswered this long before the sweeper believes it lost.
_PATIENCE_S = 5.0
# A stage is rung at once, and then at most this often: a ring drains whatever waits, and each costs
# the service more time than the commit that caused it.
_GAP_S = 0.1


class Doorbell:
    """Rings stages from a thread of its own, so that no door ever waits for a broker.

    Args:
        app: Celery application.
        engine: The ledger, for the sweep; None rings only.
        now: Aware UTC clock.
    """

    def __init__(self, app: Celery, engine: Engine | None, now: Callable[[], datetime]) -> None:
        self._rings, self._engine, self._now = Rings(app), engine, now
        self._due: set[str] = set()
        self._rung: dict[str, float] = {}
        self._wake = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="doorbell", daemon=True)

    def start(self) -> None:
        """Begin ringing and sweeping."""
        self._thread.start()

    def stop(self) -> None:
        """Ring what is due, then end."""
        with self._wake:
            self._stopped = True
            self._wake.notify()
        self._thread.join(5)

    def ring(self, stage: str) -> None:
        """Ask for a stage to be worked; returns at once."""
        with self._wake:
            self._due.add(stage)
            self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                if not self._stopped and not self._ripe():
                    self._wake.wait(_GAP_S if self._due else _SWEEP_S)
                due = set(self._due) if self._stopped else self._ripe()
                waiting, stopped = bool(self._due), self._stopped
                self._due -= due
            for stage in due if waiting else self._overdue():
                self._send(stage)
            if stopped:
                return

    def _ripe(self) -> set[str]:
        """Stages that want a ring and had none just now."""
        quiet = time.monotonic() - _GAP_S
        return {stage for stage in self._due if self._rung.get(stage, 0.0) <= quiet}

    def _overdue(self) -> list[str]:
        if self._engine is None:
            return []
        try:
            waiting = jobs.overdue(self._engine, now=self._now())
        except LedgerUnavailable as error:
            log.warning("sweeper.ledger_unavailable", reason=error.reason)
            return []
        quiet = time.monotonic() - _PATIENCE_S
        return [stage for stage in waiting if self._rung.get(stage, 0.0) < quiet]

    def _send(self, stage: str) -> None:
        now = time.monotonic()
        # A ring that could not be sent is tried again at the next sweep.
        self._rung[stage] = now if self._rings.ring(stage) else now - _PATIENCE_S + _SWEEP_S


class Rings:
    """What stages a finished job wants rung; the worker's own stage is simply drained further."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def ring(self, stage: str) -> bool:
        """Ring after a commit; whether the broker took it. A lost ring costs a sweep."""
        try:
            self._app.send_task(
                "oncord.drain", (stage,), queue=STAGES[stage], retry=False, ignore_result=True
            )
        except Exception as error:  # noqa: BLE001  any broker failure: the sweeper rings again
            log.warning("doorbell.broker_unavailable", stage=stage, error=type(error).__name__)
            return False
        return True
