"""Intake: what a door received, committed durably in groups before anybody is answered.

One thread per process commits; all connections that wait at that moment share its fsync. The job
that will map the message is written in the same transaction.
Source: architecture.md "The flow"; reliability.md 4.1; site rules 5 and 17.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Engine, insert, select, update

from interop.errors import LedgerUnavailable
from interop.ledger.engine import Ids
from interop.ledger.engine import writing
from interop.tables import Inbound, Job

_MOST_A_COMMIT = 256
_inbound = Inbound.__table__  # type: ignore[attr-defined]
_job = Job.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Received:
    """One message as a door took it.

    Attributes:
        door: `mllp`, `fhir` or `stow`.
        control_key: Digest of (interface, MSH-3, MSH-4, MSH-10), or None where nothing like it is.
        dedup: Digest that an exact duplicate shares (MSH-7 left out), or None.
        body: The bytes, or None where they lie in blobs.
        reply: The answer to give, and to give again to an exact duplicate.
        state: `received`, or `rejected` and `quarantined` for what is only kept.
        stage: Stage of the job that takes it further, or None.
        not_before: When that job may start, or None for at once.
        with_rows: Writes further rows in the same transaction, given the connection and the id.
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
    with_rows: Callable[[Connection, int], None] | None = None


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


def store(connection: Connection, batch: Sequence[Received], ids: Ids) -> list[Stored]:
    """Write a batch and its jobs inside the caller's transaction, in the order given."""
    known = _known(connection, batch)
    stored: list[Stored] = []
    rows: list[dict[str, Any]] = []
    jobs: list[dict[str, Any]] = []
    resent: list[int] = []
    extra: list[tuple[Received, int]] = []
    for item in batch:
        earlier = known.get(item.control_key, {}) if item.control_key else {}
        if item.dedup is not None and item.dedup in earlier:
            first, reply = earlier[item.dedup]
            resent.append(first)
            stored.append(Stored(first, reply, "duplicate"))
            continue
        at = int(item.received_at.timestamp() * 1000)
        row_id = ids.next(at)
        rows.append(_row(item, row_id))
        if item.stage:
            jobs.append(_job_row(item, row_id))
        if item.with_rows:
            extra.append((item, row_id))
        if item.control_key and item.dedup:
            known.setdefault(item.control_key, {})[item.dedup] = (row_id, item.reply)
        stored.append(Stored(row_id, item.reply, "reused" if earlier else "new"))
    if rows:
        connection.execute(insert(_inbound), rows)
    if jobs:
        connection.execute(insert(_job), jobs)
    for item, row_id in extra:
        assert item.with_rows is not None
        item.with_rows(connection, row_id)
    for first in resent:
        connection.execute(
            update(_inbound).where(_inbound.c.id == first).values(resent=_inbound.c.resent + 1)
        )
    return stored


def _known(
    connection: Connection, batch: Sequence[Received]
) -> dict[str, dict[str, tuple[int, bytes | None]]]:
    """What is already stored under the control ids of a batch: control key → dedup → (id, reply)."""
    keys = {item.control_key for item in batch if item.control_key}
    known: dict[str, dict[str, tuple[int, bytes | None]]] = {}
    if keys:
        c = _inbound.c
        query = select(c.control_key, c.dedup, c.id, c.reply).where(c.control_key.in_(keys))
        for control_key, dedup, row_id, reply in connection.execute(query):
            known.setdefault(control_key, {})[dedup or ""] = (row_id, reply)
    return known


def _row(item: Received, row_id: int) -> dict[str, Any]:
    return {
        "id": row_id,
        "door": item.door,
        "interface": item.interface,
        "origin": item.origin,
        "received_at": item.received_at,
        "kind": item.kind,
        "control_key": item.control_key,
        "dedup": item.dedup,
        "digest": item.digest,
        "size": item.size,
        "lane": item.lane,
        "body": item.body,
        "reply": item.reply,
        "code": item.code,
        "state": item.state,
        "reason": item.reason,
        "resent": 0,
    }


def _job_row(item: Received, row_id: int) -> dict[str, Any]:
    return {
        "id": row_id,
        "stage": item.stage,
        "lane": item.lane,
        "key": f"{item.stage}/{row_id}",
        "state": "ready",
        "attempts": 0,
        "fence": 0,
        "not_before": item.not_before or item.received_at,
        "created_at": item.received_at,
        "reason": "",
        "refs": {"inbound": row_id},
    }


Answer = Callable[[Stored | LedgerUnavailable], None]


class GroupCommit:
    """The committing thread of a process.

    Args:
        engine: The ledger.
        ids: The process's id sequence.
        after_commit: Called with the number of new messages after each commit (the doorbell).
    """

    def __init__(self, engine: Engine, ids: Ids, after_commit: Callable[[int], None]) -> None:
        self._engine, self._ids, self._after_commit = engine, ids, after_commit
        self._waiting: queue.SimpleQueue[tuple[Received, Answer] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)

    def start(self) -> None:
        """Begin committing."""
        self._thread.start()

    def submit(self, item: Received, answer: Answer) -> None:
        """Queue one message; `answer` is called on the committing thread when its fate is known."""
        self._waiting.put((item, answer))

    def stop(self, timeout_s: float = 10.0) -> None:
        """Commit what waits, then end."""
        self._waiting.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            batch = [first]
            last = False
            while len(batch) < _MOST_A_COMMIT and not self._waiting.empty():
                item = self._waiting.get()
                if item is None:
                    last = True
                    break
                batch.append(item)
            self._commit(batch)
            if last:
                return

    def _commit(self, batch: list[tuple[Received, Answer]]) -> None:
        fates: Sequence[Stored | LedgerUnavailable]
        try:
            with writing(self._engine) as connection:
                fates = store(connection, [item for item, _ in batch], self._ids)
        except LedgerUnavailable as error:
            fates = [error] * len(batch)
        else:
            fresh = sum(1 for fate in fates if fate.seen != "duplicate")
            if fresh:
                self._after_commit(fresh)
        for (_, answer), fate in zip(batch, fates, strict=True):
            answer(fate)
