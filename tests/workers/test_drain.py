"""Draining: bounds, poison, retries, heartbeat; nothing leaves the task."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from interop.errors import LostLease, PeerUnavailable, Refused
from interop.ledger import jobs
from interop.ledger.engine import writing
from interop.ledger.jobs import LEASE, Claim, NewJob
from workers import drain as draining
from workers.drain import backoff, describe, drain

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


class Work:
    """A stage that does what a test says with each job, and finishes the rest."""

    name = "ingest"
    batch = 8

    def __init__(self, engine: Engine, act: Callable[[int], None]) -> None:
        self._engine, self._act = engine, act
        self.done: list[int] = []

    def work(self, claims: Sequence[Claim]) -> set[str]:
        """Finish a batch in one transaction."""
        with writing(self._engine) as connection:
            for claim in claims:
                self._act(claim.id)
                jobs.finish(connection, claim, now=NOW)
        self.done += [c.id for c in claims]
        return {"assess"}


def add(ledger: Engine, count: int) -> None:
    """Jobs of lanes of their own."""
    with writing(ledger) as connection:
        new = [
            (n, NewJob(stage="ingest", lane=f"l{n}", key=f"k{n}", refs={}))
            for n in range(1, count + 1)
        ]
        jobs.add(connection, new, now=NOW)


def run(ledger: Engine, act: Callable[[int], None], now: datetime = NOW) -> tuple[Work, list[str]]:
    """Drain once; the stage and its rings."""
    rings: list[str] = []
    stage = Work(ledger, act)
    drain(stage, ledger, now=lambda: now, ring=rings.append)
    return stage, rings


def failing(number: int, error: BaseException) -> Callable[[int], None]:
    """Fails on one job."""

    def act(job: int) -> None:
        if job == number:
            raise error

    return act


def test_everything_that_is_ready_is_worked(ledger: Engine):
    """And the stages that have work now are rung."""
    add(ledger, 7)
    stage, rings = run(ledger, lambda _job: None)
    assert (list(range(1, 8)), {"assess"}) == (sorted(stage.done), set(rings))


def test_more_than_a_batch_calls_a_second_worker(ledger: Engine):
    """Once: who is alone finds nothing left behind the ring."""
    add(ledger, 20)
    stage, rings = run(ledger, lambda _job: None)
    assert (list(range(1, 21)), "ingest", 1) == (
        sorted(stage.done),
        rings[0],
        rings.count("ingest"),
    )
    assert [] == run(ledger, lambda _job: None)[1]


@pytest.mark.parametrize(
    "error",
    [ValueError("CANARY"), MemoryError(), RecursionError(), Refused("no", 422), KeyError("CANARY")],
    ids=lambda e: type(e).__name__,
)
def test_poison_parks_alone(ledger: Engine, error: BaseException):
    """The others of its batch are worked, the task survives, the reason quotes nothing."""
    add(ledger, 10)
    stage, _ = run(ledger, failing(5, error))
    assert [1, 2, 3, 4, 6, 7, 8, 9, 10] == sorted(stage.done)
    [parked] = jobs.parked(ledger)
    assert (5, False) == (parked["id"], "CANARY" in parked["reason"])


def test_what_may_pass_is_postponed_by_its_own_word(ledger: Engine):
    """Retry-After, else two seconds and doubling."""
    add(ledger, 1)
    run(ledger, failing(1, PeerUnavailable("busy", 120)))
    assert {} == jobs.overdue(ledger, now=NOW + timedelta(seconds=119))
    assert {"ingest": 1} == jobs.overdue(ledger, now=NOW + timedelta(seconds=120))


def test_waits_grow_with_every_run(ledger: Engine):
    """Although a postponed job has its attempt back."""
    add(ledger, 1)
    now, waits = NOW, []
    for _ in range(3):
        run(ledger, failing(1, PeerUnavailable("down")), now)
        waits.append(next(s for s in range(60) if jobs.overdue(ledger, now=now + s * _SECOND)))
        now += timedelta(seconds=waits[-1])
    assert [2, 4, 8] == waits


def test_waits_grow_and_end():
    """2, 4, 8 s … ten minutes."""
    assert [2, 4, 8] == [backoff(n).total_seconds() for n in (1, 2, 3)]
    assert 600 == backoff(99).total_seconds()


def test_a_lost_lease_is_nobodys_fault(ledger: Engine):
    """It is left to the one who has it now."""
    add(ledger, 1)
    run(ledger, failing(1, LostLease("gone")))
    assert {("ingest", "leased"): 1} == jobs.counts(ledger)


def test_a_drain_is_bounded_and_rings_again(ledger: Engine, monkeypatch: pytest.MonkeyPatch):
    """No stage starves another (site rule 21)."""
    monkeypatch.setattr(draining, "MOST_JOBS", 8)
    add(ledger, 20)
    stage, rings = run(ledger, lambda _job: None)
    assert (8, "ingest") == (len(stage.done), rings[-1])


def test_a_long_job_keeps_its_lease(ledger: Engine, monkeypatch: pytest.MonkeyPatch):
    """The heartbeat renews while work is under way."""
    monkeypatch.setattr(draining, "_HEARTBEAT_S", 0.02)
    add(ledger, 1)
    moment = [NOW]
    renewed = threading.Event()

    def act(_job: int) -> None:
        pass

    class Slow(Work):
        def work(self, claims: Sequence[Claim]) -> set[str]:
            moment[0] = NOW + LEASE  # the old lease ends now
            renewed.wait(0.3)
            moment[0] = NOW + LEASE + timedelta(seconds=5)
            assert [] == jobs.claim(ledger, "ingest", now=moment[0], limit=1)
            return super().work(claims)

    stage = Slow(ledger, act)
    drain(stage, ledger, now=lambda: moment[0], ring=lambda _stage: None)
    assert [1] == stage.done


def test_errors_of_others_are_told_by_class():
    """Their texts may quote a patient."""
    assert "builtins.ValueError" == describe(ValueError("合成^患者"))
    assert "no answer" == describe(PeerUnavailable("no answer"))
