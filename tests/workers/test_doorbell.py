"""The doorbell: a broker that is down, slow or wiped delays, and loses nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from celery import Celery
from sqlalchemy import Engine

from interop.ledger import jobs
from interop.ledger.engine import writing
from interop.ledger.jobs import NewJob
from workers import doorbell as ringing
from workers.app import STAGES, make
from workers.doorbell import Doorbell, Rings

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


def until(met: Callable[[], bool]) -> bool:
    """Wait a little."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if met():
            return True
        time.sleep(0.01)
    return False


def drawn(app: Celery, queue: str) -> list[str]:
    """Stages whose rings lie in a queue of the broker; they are taken out."""
    found = []
    with app.connection_for_read() as held:
        simple = held.SimpleQueue(app.amqp.queues[queue])
        try:
            while True:
                message = simple.get(timeout=0.1)
                found.append(message.payload[0][0])
                message.ack()
        except simple.Empty:
            simple.close()
    return found


@pytest.fixture
def app(tmp_path) -> Celery:
    """The embedded broker."""
    return make(f"sqla+sqlite:///{tmp_path}/broker.db")


def add(ledger: Engine, stage: str = "ingest") -> None:
    """A ready job."""
    with writing(ledger) as connection:
        new = NewJob(stage=stage, lane="a", key=f"{stage}/1", refs={"inbound": 1})
        jobs.add(connection, [(1, new)], now=NOW)


def test_a_ring_carries_the_stage_and_nothing_else(app: Celery, ledger: Engine):
    """Ids stay in the ledger."""
    bell = Doorbell(app, None, lambda: NOW)
    bell.start()
    for stage in STAGES:
        bell.ring(stage)
    bell.stop()
    assert ["answer", "deliver", "ingest"] == sorted(set(drawn(app, "ledger")))
    assert ["assess"] == drawn(app, "gpu")


def test_many_commits_share_a_ring(app: Celery):
    """A burst does not flood the broker."""
    bell = Doorbell(app, None, lambda: NOW)
    for _ in range(500):
        bell.ring("ingest")
    bell.start()
    bell.stop()
    assert ["ingest"] == drawn(app, "ledger")


def test_the_sweeper_rings_for_what_nobody_rang(
    app: Celery, ledger: Engine, monkeypatch: pytest.MonkeyPatch
):
    """A wiped broker loses nothing: what waits is in the ledger."""
    monkeypatch.setattr(ringing, "_SWEEP_S", 0.05)
    add(ledger)
    bell = Doorbell(app, ledger, lambda: NOW)
    bell.start()
    assert until(lambda: "ingest" in drawn(app, "ledger"))
    bell.stop()


def test_the_sweeper_is_patient_and_then_rings_again(
    app: Celery, ledger: Engine, monkeypatch: pytest.MonkeyPatch
):
    """A ring that was answered by nobody is repeated, not at once."""
    monkeypatch.setattr(ringing, "_SWEEP_S", 0.02)
    monkeypatch.setattr(ringing, "_PATIENCE_S", 0.5)
    add(ledger)
    bell = Doorbell(app, ledger, lambda: NOW)
    bell.start()
    assert until(lambda: "ingest" in drawn(app, "ledger"))
    started = time.monotonic()
    assert until(lambda: "ingest" in drawn(app, "ledger"))
    assert time.monotonic() - started > 0.2
    bell.stop()


@pytest.mark.parametrize(
    "url", ["amqp://guest:guest@127.0.0.1:9//", "redis://127.0.0.1:9/0"], ids=["amqp", "redis"]
)
def test_a_broker_that_is_down_holds_nobody_up(url: str):
    """Ringing returns at once; stopping, and a worker's own ring, soon."""
    bell = Doorbell(make(url), None, lambda: NOW)
    bell.start()
    started = time.monotonic()
    for _ in range(100):
        bell.ring("ingest")
    assert 0.5 > time.monotonic() - started
    bell.stop()
    Rings(make(url)).ring("ingest")
    assert 4 > time.monotonic() - started


def test_a_queue_for_inference_apart_from_the_ledgers_work():
    """An assessment never starves an ADT."""
    assert {"ingest": "ledger", "deliver": "ledger", "answer": "ledger", "assess": "gpu"} == STAGES


def test_no_result_retry_or_delay_is_left_to_celery():
    """They are the ledger's."""
    conf = make("memory://").conf
    assert (None, True, 1) == (
        conf.result_backend, conf.task_ignore_result, conf.worker_prefetch_multiplier,
    )  # fmt: skip
    assert conf.task_acks_late
    assert not conf.task_reject_on_worker_lost
