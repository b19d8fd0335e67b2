"""Celery, as a doorbell: it carries the name of a stage, and nothing else.

Ledger work (ingest, deliver) and inference have a queue each, so that an assessment never starves
an ADT. Retries, delays, results and order are the ledger's (reliability.md 3).
"""

from __future__ import annotations

from typing import Any

from celery import Celery
from kombu import Queue
from kombu.transport import sqlalchemy as sqla

from workers.settings import Settings, worker_queue

STAGES = {"ingest": "ledger", "deliver": "ledger", "answer": "ledger", "assess": "gpu"}
_POLL_S = 0.1
_TASK_LIMIT_S = 900
# Of a ring, not of a worker's own connection: without this, kombu tries for seconds even with
# retry=False, and whoever rings waits. The sweeper is the retry.
_GIVE_UP_SOON = {"max_retries": 1, "interval_start": 0.0, "interval_step": 0.1, "interval_max": 0.1}


def make(broker_url: str) -> Celery:
    """The Celery application for a broker."""
    app = Celery("oncord", broker=broker_url, include=["workers.tasks"])
    app.conf.update(
        task_acks_late=True,
        task_reject_on_worker_lost=False,
        task_acks_on_failure_or_timeout=True,
        task_ignore_result=True,
        result_backend=None,
        task_time_limit=_TASK_LIMIT_S,
        task_soft_time_limit=_TASK_LIMIT_S - 60,
        task_serializer="json",
        accept_content=["json"],
        worker_prefetch_multiplier=1,
        worker_concurrency=1,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_default_queue="ledger",
        task_create_missing_queues=False,
        task_queues=[_queue(name, broker_url) for name in ("ledger", "gpu")],
        broker_transport_options=_transport(broker_url),
    )
    return app


def _queue(name: str, broker_url: str) -> Queue:
    if broker_url.startswith("amqp"):
        arguments = {"x-queue-type": "quorum", "x-delivery-limit": 5}
        return Queue(name, routing_key=name, queue_arguments=arguments)
    return Queue(name, routing_key=name)


def _transport(broker_url: str) -> dict[str, Any]:
    if broker_url.startswith("sqla"):
        # Its options go to create_engine; the poll can only be set on the class (stack.md 2e).
        sqla.Transport.polling_interval = _POLL_S
        return {}
    if broker_url.startswith("redis"):
        return {
            "visibility_timeout": 4 * _TASK_LIMIT_S,
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
            **_GIVE_UP_SOON,
        }
    return {"confirm_publish": True, "confirm_timeout": 5.0, **_GIVE_UP_SOON}


def from_environment() -> Celery:
    """The application of this process; `oncord worker` sets the broker before it is imported."""
    return make(Settings.from_environment().broker_url)


app = from_environment() if worker_queue() else make("memory://")
