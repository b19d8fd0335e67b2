"""Intake: what a door received, durable in groups before anybody is answered.

One loop per process commits to the journal; all that it took in one turn shares an fsync.
Source: architecture.md "The flow"; reliability.md 4.1; site rules 5 and 17.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import structlog
import uvloop
from sqlalchemy import Engine
from sqlalchemy.pool import PoolProxiedConnection

from interop.errors import LedgerUnavailable, RowRefused
from interop.ledger.engine import Ids
from interop.ledger.journal import Journal, Place
from interop.ledger.known import Known, known
from interop.ledger.mover import Mover
from interop.ledger.received import Received, Record, Stored, packed, unpacked

log = structlog.get_logger()

_MOST_A_COMMIT = 256
_MOST_BYTES = 32 * 1024 * 1024
_GRACE_S = 0.0002


class Intake:
    """Judges what was received against what is known, and appends it to the journal.

    This is the acknowledgement path. What the tables do not have yet is remembered here until the
    mover says that they do; so whatever was acknowledged is known in one place or the other.

    Args:
        engine: The ledger, read only here.
        ids: The process's id sequence.
        journal: Where records become durable.
    """

    def __init__(self, engine: Engine, ids: Ids, journal: Journal) -> None:
        self._engine, self._ids, self._journal = engine, ids, journal
        self._dialect = engine.dialect.name
        self._waiting: Known = {}
        # One message under its control id that nobody compared yet: its digest is in the journal.
        self._unread: dict[str, tuple[int, bytes | None, Place]] = {}
        self._connection: PoolProxiedConnection | None = None

    def commit(self, batch: Sequence[Received]) -> list[Stored | LedgerUnavailable]:
        """Make a batch durable, in the order given; the fate of each.

        Raises:
            LedgerUnavailable: Nothing of the batch was kept.
        """
        seen = self._known([item.control_key for item in batch if item.control_key])
        fates: list[Stored | LedgerUnavailable] = []
        records: list[tuple[bytes, bytes]] = []
        fresh: list[tuple[int, int, Received]] = []
        for item in batch:
            key = item.control_key
            # Most control ids are new; then no digest has to be known before the answer.
            earlier = seen.get(key) if key else None
            dedup = item.digested() if earlier is not None else None
            again = earlier.get(dedup) if earlier and dedup else None
            if earlier and not again and item.reply_if_reused is not None:
                code = f"{item.code[:1]}E"  # AE or CE
                item = replace(item, reply=item.reply_if_reused, code=code)  # noqa: PLW2901  what is written
            row_id = again[0] if again else self._ids.next(int(item.received_at.timestamp() * 1000))
            try:
                records.append(packed(row_id, None if again else item))
            except (TypeError, ValueError) as error:
                fates.append(RowRefused(f"{type(error).__name__} while writing the journal"))
                continue
            if again:
                fates.append(Stored(row_id, again[1], "duplicate"))
                continue
            fates.append(Stored(row_id, item.reply, "reused" if earlier else "new"))
            if key:
                fresh.append((len(records) - 1, row_id, item))
            if earlier is not None and dedup:
                earlier[dedup] = (row_id, item.reply)
        places = self._journal.append(records) if records else []
        for number, row_id, item in fresh:
            self._remember(item, row_id, places[number])
        return fates

    def _remember(self, item: Received, row_id: int, place: Place) -> None:
        """Know a message until the tables have it."""
        if item.dedup is None:
            self._unread[item.control_key or ""] = (row_id, item.reply, place)
        else:
            waiting = self._waiting.setdefault(item.control_key or "", {})
            waiting[item.dedup] = (row_id, item.reply)

    def forget(self, records: Sequence[Record]) -> None:
        """The tables have these now."""
        for record in records:
            item = record.received
            if item is None or item.control_key is None:
                continue
            unread = self._unread.get(item.control_key)
            if unread is not None and unread[0] == record.id:
                del self._unread[item.control_key]
            waiting = self._waiting.get(item.control_key)
            if waiting is not None:
                waiting.pop(item.dedup or "", None)
                if not waiting:
                    del self._waiting[item.control_key]

    def close(self) -> None:
        """Give the reading connection up."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection = None

    def _known(self, keys: Sequence[str]) -> Known:
        """What was acknowledged under these keys, in the tables or on the way to them.

        A key that comes twice is in it, too: whoever comes second has to be compared.

        Raises:
            LedgerUnavailable: The tables cannot be asked.
        """
        # First what waits, then the tables: what is moved between the two looks is found by both.
        for key in keys:
            if key in self._unread:
                self._compare(key)
        try:
            if self._connection is None:
                self._connection = self._open()
            found = known(self._connection.cursor(), self._dialect, keys)
        except self._engine.dialect.loaded_dbapi.Error as error:
            self.close()
            raise LedgerUnavailable(f"{type(error).__name__} while looking up") from error
        for key in keys:
            if key in self._waiting:
                found.setdefault(key, {}).update(self._waiting[key])
        if len(set(keys)) < len(keys):
            for key in (key for key, times in Counter(keys).items() if times > 1):
                found.setdefault(key, {})
        return found

    def _compare(self, key: str) -> None:
        """Work out the digest of what waits under a control id that came again."""
        row_id, reply, place = self._unread[key]
        if (record := self._journal.look(place)) is not None:
            item = unpacked(record).received
            if item is not None and (dedup := item.digested()) is not None:
                self._waiting.setdefault(key, {})[dedup] = (row_id, reply)
        del self._unread[key]

    def _open(self) -> PoolProxiedConnection:
        connection = self._engine.raw_connection()
        if self._dialect == "postgresql":
            # psycopg's own; it only reads, and an open transaction would hold its snapshot.
            connection.driver_connection.autocommit = True  # type: ignore[union-attr]
        return connection


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
        folder: Of the journal; this process's own.
        after_move: Called with the number of new messages whenever some reached the tables (the
            doorbell).
    """

    def __init__(
        self, engine: Engine, ids: Ids, folder: Path, after_move: Callable[[int], None]
    ) -> None:
        self._after_move = after_move
        self.engine, self._ids, self._folder = engine, ids, folder
        self._taken: list[tuple[Received, Answer]] = []
        self._expected, self._last = 0, 0.0
        self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
        self._started = threading.Event()
        self.loop: asyncio.AbstractEventLoop
        self.journal: Journal

    def start(self) -> None:
        """Move what an earlier process left, then begin committing; returns when `loop` runs.

        Raises:
            LedgerUnavailable: Journal or tables cannot be used.
        """
        self.journal = Journal(self._folder)
        self._intake = Intake(self.engine, self._ids, self.journal)
        self._mover = Mover(self.journal, self.engine, self._moved)
        if self.journal.waiting_bytes:
            log.warning("journal.recovered", bytes=self.journal.waiting_bytes)
        self._thread.start()
        self._started.wait()
        while self._mover.move():
            pass
        self._mover.start()

    def settle(self, timeout_s: float = 10.0) -> bool:
        """Wait until the tables have all that was answered; whether they do."""
        return self._mover.settle(timeout_s)

    def _moved(self, records: Sequence[Record], fresh: int) -> None:
        self.loop.call_soon_threadsafe(self._intake.forget, records)
        if fresh:
            self._after_move(fresh)

    def submit(self, item: Received, answer: Answer) -> None:
        """Take one message from any thread; `answer` is called on `loop` when its fate is known."""
        self.loop.call_soon_threadsafe(self.take, item, answer)

    def take(self, item: Received, answer: Answer) -> None:
        """Take one message on `loop`; `answer` is called there when its fate is known."""
        if not self._taken:
            # Runs after what other sockets brought in this turn was read.
            self.loop.call_soon(self._turn)
        self._taken.append((item, answer))
        self._last = time.perf_counter()

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
        """Commit what was taken, move it, then end; what is not moved the next start moves."""
        flushed = threading.Event()
        self.loop.call_soon_threadsafe(self._flush)
        self.loop.call_soon_threadsafe(flushed.set)
        flushed.wait(timeout_s)
        self._mover.stop(timeout_s)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout_s)
        self.journal.close()

    def _run(self) -> None:
        self.loop = uvloop.new_event_loop()
        self.loop.call_soon(self._started.set)
        try:
            self.loop.run_forever()
        finally:
            self._flush()
            self._intake.close()
            self.loop.close()

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
            batch, size = 0, 0
            while batch < len(self._taken) and batch < _MOST_A_COMMIT and size < _MOST_BYTES:
                size += self._taken[batch][0].size
                batch += 1
            taken, self._taken = self._taken[:batch], self._taken[batch:]
            self._commit(taken)

    def _commit(self, batch: list[tuple[Received, Answer]]) -> None:
        try:
            fates: Sequence[Stored | LedgerUnavailable] = self._intake.commit(
                [item for item, _ in batch]
            )
        except LedgerUnavailable as error:
            fates = [error] * len(batch)
        except Exception as error:  # noqa: BLE001  the reply path: a sender must never wait in vain
            log.critical("journal.failed", error=type(error).__name__)
            fates = [LedgerUnavailable(f"{type(error).__name__} while committing")] * len(batch)
        self._mover.wake()
        for (_, answer), fate in zip(batch, fates, strict=True):
            answer(fate)


def _tell(
    loop: asyncio.AbstractEventLoop, settle: Answer, fate: Stored | LedgerUnavailable
) -> None:
    loop.call_soon_threadsafe(settle, fate)
