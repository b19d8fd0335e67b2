"""Celery tasks: a ring drains a stage. Nothing else is decided here."""

from __future__ import annotations

from celery.signals import worker_process_init

from workers.app import app
from workers.worker import limit_memory, process


@worker_process_init.connect  # type: ignore[untyped-decorator]  # Celery has no types
def warm(**_signal: object) -> None:
    """Build parts and load packs before the first ring, in the child that will work."""
    limit_memory()
    process()


@app.task(name="oncord.drain")  # type: ignore[untyped-decorator]
def drain(stage: str) -> None:
    """Work what the ledger has for a stage; an unknown stage is dropped (A11)."""
    process().drain(stage)
