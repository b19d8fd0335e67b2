"""Mover: what the journal holds, into the tables, in the order in which it came.

A record and the job that takes it further are written in one transaction; afterwards the doorbell
rings. Moving is idempotent by id and by what makes an exact duplicate, so that after a crash, or
where nobody knows whether a transaction was committed, everything is simply moved again.
Source: docs/decisions/0009; site rules 5 and 17.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import structlog
from sqlalchemy import Engine
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.pool import PoolProxiedConnection

from interop import metrics
from interop.errors import InteropError, LedgerRefuses
from interop.ledger.engine import begin_writing, failure
from interop.ledger.images import INSTANCE_COLUMNS, NewInstance
from interop.ledger.journal import Journal
from interop.ledger.known import known
from interop.ledger.prepared import BulkInsert
from interop.ledger.received import Received, Record, unpacked
from interop.tables import Inbound, InstanceRow, Job

log = structlog.get_logger()

_MOST_A_TRANSACTION = 256
_MOST_BESIDE_SENDERS = 64  # they wait for the core, too
_MOST_BYTES = 32 * 1024 * 1024
_GIVE_WAY = 9.0  # while senders wait for answers, rest so many times as long as was worked
_HURRY_BYTES = 256 * 1024 * 1024
_GATHER_S = 0.005
_AGAIN_S = 0.5
_inbound = Inbound.__table__  # type: ignore[attr-defined]
_job = Job.__table__  # type: ignore[attr-defined]
_instance = InstanceRow.__table__  # type: ignore[attr-defined]


class Tables:
    """Writes records over one driver connection kept for it.

    Statements are compiled once, and each costs what the driver costs. On any error the connection
    is thrown away with its transaction.

    Args:
        engine: The ledger.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._dialect = engine.dialect.name
        self._inbound = BulkInsert(_inbound, _INBOUND_COLUMNS, engine)
        self._job = BulkInsert(_job, _JOB_COLUMNS, engine)
        self._instance = BulkInsert(_instance, INSTANCE_COLUMNS, engine, ignore=True)
        self._connection: PoolProxiedConnection | None = None

    def store(self, records: Sequence[Record]) -> int:
        """Write records with their jobs in one transaction; how many were not there before.

        A record that the database refuses is kept without the fields that may be at fault, as
        quarantined: it was acknowledged.

        Raises:
            LedgerUnavailable: Nothing was committed, or nobody knows: store them again.
        """
        try:
            return self._commit(records)
        except LedgerRefuses as error:
            if len(records) > 1:
                return sum(self.store([record]) for record in records)
            log.critical("journal.row_refused", message=records[0].id, reason=error.reason)
            return self._commit([_bare(records[0], error.reason)])

    def _commit(self, records: Sequence[Record]) -> int:
        try:
            if self._connection is None:
                self._connection = self._engine.raw_connection()
            cursor = self._connection.cursor()
            if self._dialect == "sqlite":
                begin_writing(cursor)
            fresh = self._write(cursor, records)
            self._connection.commit()
            cursor.close()
        except self._engine.dialect.loaded_dbapi.Error as error:
            self.close()
            raise failure(error, "while moving the journal") from error
        except (TypeError, ValueError, OverflowError) as error:  # the driver's, of a value
            self.close()
            raise LedgerRefuses(f"{type(error).__name__} while moving the journal") from error
        else:
            return fresh

    def close(self) -> None:
        """Give the connection up; what it had not committed is rolled back."""
        if self._connection is not None:
            # Closing alone leaves SQLite's write lock held while an error's frames hold a cursor.
            with suppress(self._engine.dialect.loaded_dbapi.Error):
                self._connection.rollback()
            self._connection.invalidate()
            self._connection = None

    def _write(self, cursor: DBAPICursor, records: Sequence[Record]) -> int:
        again = [record.id for record in records if record.received is None]
        fresh: list[tuple[Received, int]] = []
        there = _there(cursor, self._dialect, [record.id for record in records])
        keys = [r.received.control_key for r in records if r.received and r.received.control_key]
        seen = known(cursor, self._dialect, keys)
        for record in records:
            item = record.received
            if item is None:
                continue
            dedup = item.digested()
            if record.id in there:
                continue
            earlier = seen.setdefault(item.control_key, {}) if item.control_key else {}
            if dedup in earlier:  # taken by two services at once
                again.append(earlier[dedup][0])
                continue
            if dedup is not None:
                earlier[dedup] = (record.id, item.reply)
            fresh.append((item, record.id))
        self._inbound.insert(cursor, [_row(item, row_id) for item, row_id in fresh])
        self._job.insert(cursor, [_job_row(i, row_id) for i, row_id in fresh if i.stage])
        images = [_instance_row(item, row_id, i) for item, row_id in fresh for i in item.instances]
        self._instance.insert(cursor, images)
        for row_id in again:
            cursor.execute(_RESENT[self._dialect], (row_id,))
        return len(fresh)


def _bare(record: Record, reason: str) -> Record:
    """A refused record without what its sender wrote but the message itself."""
    assert record.received is not None
    item = replace(
        record.received,
        kind="",
        lane="",
        dedup=None,
        control_key=None,
        state="quarantined",
        stage=None,
        reason=reason,
        instances=(),
    )
    return Record(record.id, item)


def _there(cursor: DBAPICursor, dialect: str, ids: Sequence[int]) -> set[int]:
    """Which of these messages the tables have already."""
    mark = "?" if dialect == "sqlite" else "%s"
    marks = ",".join([mark] * len(ids))
    cursor.execute(f"SELECT id FROM inbound WHERE id IN ({marks})", tuple(ids))  # noqa: S608  marks only
    return {row[0] for row in cursor.fetchall()}


_RESENT = {
    "sqlite": "UPDATE inbound SET resent = resent + 1 WHERE id = ?",
    "postgresql": "UPDATE inbound SET resent = resent + 1 WHERE id = %s",
}


_INBOUND_COLUMNS = (
    "id",
    "door",
    "interface",
    "origin",
    "received_at",
    "kind",
    "dedup",
    "digest",
    "size",
    "lane",
    "body",
    "reply",
    "code",
    "state",
    "reason",
    "resent",
)
_JOB_COLUMNS = (
    "id",
    "stage",
    "lane",
    "key",
    "state",
    "attempts",
    "fence",
    "not_before",
    "created_at",
    "reason",
    "refs",
)


def _text(sent: str) -> str:
    """Text as every database takes it: a NUL from a sender must not sink the commit."""
    return sent.replace("\0", "\ufffd")


def _row(item: Received, row_id: int) -> tuple[Any, ...]:
    return (
        row_id,
        item.door,
        item.interface,
        item.origin,
        item.received_at,
        _text(item.kind),
        item.dedup,
        item.digest or hashlib.sha256(item.body or b"").hexdigest(),
        item.size,
        _text(item.lane),
        item.body,
        item.reply,
        item.code,
        item.state,
        item.reason,
        0,
    )


def _job_row(item: Received, row_id: int) -> tuple[Any, ...]:
    return (
        row_id,
        item.stage,
        _text(item.lane),
        f"{item.stage}/{row_id}",
        "ready",
        0,
        0,
        item.not_before or item.received_at,
        item.received_at,
        "",
        {"inbound": row_id},
    )


def _instance_row(item: Received, row_id: int, instance: NewInstance) -> tuple[Any, ...]:
    return (
        instance.sop_instance_uid,
        instance.sha256,
        instance.study_instance_uid,
        instance.series_instance_uid,
        instance.sop_class_uid,
        instance.modality,
        instance.transfer_syntax_uid,
        _text(instance.authority),
        _text(instance.patient),
        instance.size,
        "",
        item.interface,
        "arrived",  # ingest judges it: current, parked or unreadable
        item.origin,
        item.received_at,
        row_id,
    )


class Mover:
    """The moving thread of a process.

    It gives way to the doors: the tables are in a hurry only when nobody waits for an answer, or
    when the journal has grown long.

    Args:
        journal: What it reads.
        engine: The ledger.
        after_move: Called with the records of each transaction and how many of them were new.
    """

    def __init__(
        self,
        journal: Journal,
        engine: Engine,
        after_move: Callable[[Sequence[Record], int], None],
    ) -> None:
        self._journal, self._after_move = journal, after_move
        self._tables = Tables(engine)
        self._wake, self._idle = threading.Event(), threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="journal-mover", daemon=True)

    def start(self) -> None:
        """Begin moving."""
        self._thread.start()

    def wake(self) -> None:
        """Say that the journal has grown."""
        if not self._wake.is_set():
            self._wake.set()

    def settle(self, timeout_s: float) -> bool:
        """Wait until the journal is empty; whether it is."""
        self.wake()
        with self._idle:
            return self._idle.wait_for(lambda: not self._journal.waiting_bytes, timeout_s)

    def stop(self, timeout_s: float) -> None:
        """Move what is there, within the time, and end."""
        self.settle(timeout_s)
        self._stopping = True
        self._wake.set()
        self._thread.join()
        self._tables.close()

    def move(self, most: int = _MOST_A_TRANSACTION) -> int:
        """Move one transaction's worth; the number of records."""
        records = [unpacked(r) for r in self._journal.read(most, _MOST_BYTES)]
        if records:
            fresh = self._tables.store(records)
            self._journal.moved()
            self._after_move(records, fresh)
        return len(records)

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait()
            # One transaction for what comes together: each costs a sync of its own.
            time.sleep(_GATHER_S)
            self._wake.clear()
            try:
                self._move_all()
            except Exception as error:  # noqa: BLE001  this thread ends only when it is told to
                reason = str(error) if isinstance(error, InteropError) else type(error).__name__
                log.critical("journal.not_moved", reason=reason)
                metrics.journal_stuck.inc()
                time.sleep(_AGAIN_S)
                self._wake.set()

    def _move_all(self) -> None:
        gives_way, journal = True, self._journal
        while not self._stopping:
            began, before = time.monotonic(), journal.appended_bytes
            if not self.move(_MOST_BESIDE_SENDERS if gives_way else _MOST_A_TRANSACTION):
                with self._idle:
                    self._idle.notify_all()
                return
            senders = journal.appended_bytes > before
            gives_way = senders and journal.waiting_bytes < _HURRY_BYTES
            if gives_way:
                time.sleep(_GIVE_WAY * (time.monotonic() - began))
