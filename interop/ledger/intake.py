"""Intake: what a door received, committed durably in groups before anybody is answered.

One loop per process commits; all that it took in one turn shares an fsync. The job that will map
the message is written in the same transaction.
Source: architecture.md "The flow"; reliability.md 4.1; site rules 5 and 17.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

import uvloop
from sqlalchemy import Engine
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.pool import PoolProxiedConnection

from interop.errors import LedgerUnavailable, RowRefused
from interop.ledger.engine import BulkInsert, Ids
from interop.ledger.images import INSTANCE_COLUMNS, NewInstance
from interop.tables import Inbound, InstanceRow, Job

_MOST_A_COMMIT = 256
_GRACE_S = 0.0002
_LOOK_S = 0.0003
_LONGEST_WAIT_S = 5.0
_inbound = Inbound.__table__  # type: ignore[attr-defined]
_job = Job.__table__  # type: ignore[attr-defined]
_instance = InstanceRow.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Received:
    """One message as a door took it.

    Attributes:
        door: `mllp`, `fhir` or `stow`.
        control_key: Digest of (interface, MSH-3, MSH-4, MSH-10), or None where nothing like it is.
        dedup: `control_key`, a slash, and the digest that an exact duplicate shares (MSH-7 left
            out), or None. One index answers both questions: is it known, is its number reused.
        body: The bytes, or None where they lie in blobs.
        reply: The answer to give, and to give again to an exact duplicate.
        state: `received`, or `rejected` and `quarantined` for what is only kept.
        stage: Stage of the job that takes it further, or None.
        not_before: When that job may start, or None for at once.
        instances: SOP instances whose blobs are durable, written in the same transaction.
    """

    door: str
    interface: str
    received_at: datetime
    kind: str
    lane: str
    digest: str
    size: int
    control_key: str | None = None
    dedup: str | None = None
    body: bytes | None = None
    reply: bytes | None = None
    code: str = ""
    origin: str = "live"
    state: str = "received"
    reason: str = ""
    stage: str | None = "ingest"
    not_before: datetime | None = None
    instances: tuple[NewInstance, ...] = ()


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a `Received`.

    Attributes:
        id: Ledger id; of the first copy when this is an exact duplicate.
        reply: The answer to send: the stored one for an exact duplicate.
        seen: `new`, `duplicate`, or `reused` (same control id, other bytes: kept, and alarming).
    """

    id: int
    reply: bytes | None
    seen: Literal["new", "duplicate", "reused"]


class Intake:
    """Writes batches of received messages over one driver connection kept for it.

    This is the acknowledgement path: statements are compiled once, and each costs what the driver
    costs. On any error the connection is thrown away with its transaction.

    Args:
        engine: The ledger.
        ids: The process's id sequence.
    """

    def __init__(self, engine: Engine, ids: Ids) -> None:
        self._engine, self._ids = engine, ids
        self._dialect = engine.dialect.name
        self._inbound = BulkInsert(_inbound, _INBOUND_COLUMNS, engine)
        self._job = BulkInsert(_job, _JOB_COLUMNS, engine)
        self._instance = BulkInsert(_instance, INSTANCE_COLUMNS, engine, ignore=True)
        self._connection: PoolProxiedConnection | None = None

    def commit(self, batch: Sequence[Received]) -> list[Stored]:
        """Write a batch and its jobs in one durable transaction, in the order given.

        Raises:
            RowRefused: The database will not take a row of it; nothing was committed.
            LedgerUnavailable: Nothing of the batch was committed, or nobody knows.
        """
        try:
            if self._connection is None:
                self._connection = self._open()
            cursor = self._connection.cursor()
            if self._dialect == "sqlite":
                _begin(cursor)
            stored = self._write(cursor, batch)
            self._connection.commit()
            cursor.close()
        except self._engine.dialect.loaded_dbapi.Error as error:
            self.close()
            dbapi = self._engine.dialect.loaded_dbapi
            refused = isinstance(error, (dbapi.DataError, dbapi.IntegrityError))
            kind = RowRefused if refused else LedgerUnavailable
            raise kind(f"{type(error).__name__} while committing") from error
        except Exception as error:  # the reply path: a sender must never wait in vain
            self.close()
            raise RowRefused(f"{type(error).__name__} while committing") from error
        else:
            return stored

    def _open(self) -> PoolProxiedConnection:
        connection = self._engine.raw_connection()
        if self._dialect == "sqlite":
            connection.cursor().execute("PRAGMA busy_timeout=0")  # `_begin` waits, and wakes sooner
        return connection

    def close(self) -> None:
        """Give the connection up; what it had not committed is rolled back."""
        if self._connection is not None:
            # Closing alone leaves SQLite's write lock held while an error's frames hold a cursor.
            with suppress(self._engine.dialect.loaded_dbapi.Error):
                self._connection.rollback()
            self._connection.invalidate()
            self._connection = None

    def _write(self, cursor: DBAPICursor, batch: Sequence[Received]) -> list[Stored]:
        known = self._known(cursor, batch)
        stored: list[Stored] = []
        fresh: list[tuple[Received, int]] = []
        for item in batch:
            earlier = known.get(item.control_key, {}) if item.control_key else {}
            if item.dedup is not None and item.dedup in earlier:
                first, reply = earlier[item.dedup]
                stored.append(Stored(first, reply, "duplicate"))
                continue
            row_id = self._ids.next(int(item.received_at.timestamp() * 1000))
            fresh.append((item, row_id))
            stored.append(Stored(row_id, item.reply, "reused" if earlier else "new"))
            if item.control_key and item.dedup:
                known.setdefault(item.control_key, {})[item.dedup] = (row_id, item.reply)
        self._inbound.run(cursor, [_row(item, row_id) for item, row_id in fresh])
        self._job.run(cursor, [_job_row(i, row_id) for i, row_id in fresh if i.stage])
        for item, row_id in fresh:
            if item.instances:
                self._instance.run(cursor, [_instance_row(item, row_id, i) for i in item.instances])
        for duplicate in stored:
            if duplicate.seen == "duplicate":
                cursor.execute(_RESENT[self._dialect], (duplicate.id,))
        return stored

    def _known(
        self, cursor: DBAPICursor, batch: Sequence[Received]
    ) -> dict[str, dict[str, tuple[int, bytes | None]]]:
        """What is stored under the control ids of a batch: control key → dedup → (id, reply)."""
        known: dict[str, dict[str, tuple[int, bytes | None]]] = {}
        keys = list({item.control_key for item in batch if item.control_key})
        if not keys:
            return known
        # "0" follows "/" in ASCII: a range holds every dedup that begins with a key and its slash.
        bounds = tuple(bound for key in keys for bound in (f"{key}/", f"{key}0"))
        cursor.execute(_ranges(self._dialect, len(keys)), bounds)
        for dedup, row_id, reply in cursor.fetchall():
            known.setdefault(dedup.partition("/")[0], {})[dedup] = (row_id, reply)
        return known


def _begin(cursor: DBAPICursor) -> None:
    """Take SQLite's write lock as soon as it is free.

    SQLite's own wait sleeps up to 100 ms between two looks, and a worker that takes the lock again
    at once is never caught out: the senders' answers wait here, so this looks more often.
    """
    until = time.monotonic() + _LONGEST_WAIT_S
    while True:
        try:
            cursor.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(_LOOK_S)
        else:
            return


_RESENT = {
    "sqlite": "UPDATE inbound SET resent = resent + 1 WHERE id = ?",
    "postgresql": "UPDATE inbound SET resent = resent + 1 WHERE id = %s",
}


@lru_cache(maxsize=2 * _MOST_A_COMMIT)
def _ranges(dialect: str, count: int) -> str:
    """One query for the rows of `count` ranges of dedup, each an index range."""
    if dialect == "sqlite":
        pairs = ",".join(["(?,?)"] * count)
        return (
            f"WITH range(low, high) AS (VALUES {pairs}) SELECT dedup, id, reply "  # noqa: S608
            "FROM range CROSS JOIN inbound ON dedup >= low AND dedup < high"
        )
    pairs = ",".join(["(%s,%s)"] * count)
    return (
        f"WITH range(low, high) AS (VALUES {pairs}) SELECT dedup, id, reply "  # noqa: S608
        "FROM range JOIN inbound ON dedup >= low AND dedup < high"
    )


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
        item.digest,
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


Answer = Callable[[Stored | LedgerUnavailable], None]


class GroupCommit:
    """The committing loop of a process: everything taken in one turn of it shares one fsync.

    The MLLP connections live on this loop, too. A commit blocks it, on purpose: nobody could be
    answered meanwhile, what arrives in that time makes the next group, and a hand-over between
    threads costs more than the commit of a small group. HTTP lives on another loop and waits here
    only for its own commits.

    Args:
        engine: The ledger.
        ids: The process's id sequence.
        after_commit: Called with the number of new messages after each commit (the doorbell).
    """

    def __init__(self, engine: Engine, ids: Ids, after_commit: Callable[[int], None]) -> None:
        self._after_commit = after_commit
        self._intake = Intake(engine, ids)
        self._taken: list[tuple[Received, Answer]] = []
        self._expected, self._last = 0, 0.0
        self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
        self._started = threading.Event()
        self.loop: asyncio.AbstractEventLoop

    def start(self) -> None:
        """Begin committing; returns when `loop` runs."""
        self._thread.start()
        self._started.wait()

    def submit(self, item: Received, answer: Answer) -> None:
        """Take one message; `answer` is called on this loop when its fate is known."""
        if threading.current_thread() is self._thread:
            self._take(item, answer)
        else:
            self.loop.call_soon_threadsafe(self._take, item, answer)

    async def durable(self, item: Received) -> Stored:
        """Take one message from another loop and wait until it is committed.

        Raises:
            LedgerUnavailable: It was not; the sender shall send it again.
        """
        here = asyncio.get_running_loop()
        future: asyncio.Future[Stored] = here.create_future()

        def settle(fate: Stored | LedgerUnavailable) -> None:
            if future.done():  # the request was given up meanwhile
                return
            if isinstance(fate, LedgerUnavailable):
                future.set_exception(fate)
            else:
                future.set_result(fate)

        self.submit(item, lambda fate: _tell(here, settle, fate))
        return await future

    def stop(self, timeout_s: float = 10.0) -> None:
        """Commit what was taken, then end."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        self.loop = uvloop.new_event_loop()
        self.loop.call_soon(self._started.set)
        try:
            self.loop.run_forever()
        finally:
            self._flush()
            self._intake.close()
            self.loop.close()

    def _take(self, item: Received, answer: Answer) -> None:
        if not self._taken:
            # Runs after what other sockets brought in this turn was read.
            self.loop.call_soon(self._turn)
        self._taken.append((item, answer))
        self._last = time.perf_counter()

    def _turn(self) -> None:
        """Commit, unless senders of the last group are about to send again.

        A sender with one message in flight sends its next as soon as it is answered; without this
        grace the first of a group would pay an fsync alone and all others wait for the next.
        """
        if len(self._taken) < self._expected and time.perf_counter() - self._last < _GRACE_S:
            self.loop.call_soon(self._turn)
            return
        self._expected = len(self._taken)
        self._flush()

    def _flush(self) -> None:
        while self._taken:
            batch, self._taken = self._taken[:_MOST_A_COMMIT], self._taken[_MOST_A_COMMIT:]
            self._commit(batch)

    def _commit(self, batch: list[tuple[Received, Answer]]) -> None:
        fates = self._fates([item for item, _ in batch])
        fresh = sum(1 for f in fates if isinstance(f, Stored) and f.seen != "duplicate")
        if fresh:
            self._after_commit(fresh)
        for (_, answer), fate in zip(batch, fates, strict=True):
            answer(fate)

    def _fates(self, batch: list[Received]) -> Sequence[Stored | LedgerUnavailable]:
        try:
            return self._intake.commit(batch)
        except RowRefused as error:
            if len(batch) == 1:
                return [error]
            # One row the database will not take must not be answered for by its neighbours.
            return [fate for item in batch for fate in self._fates([item])]
        except LedgerUnavailable as error:
            return [error] * len(batch)


def _tell(
    loop: asyncio.AbstractEventLoop, settle: Answer, fate: Stored | LedgerUnavailable
) -> None:
    loop.call_soon_threadsafe(settle, fate)
