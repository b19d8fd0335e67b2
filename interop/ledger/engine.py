"""Opening a ledger so that what it commits is durable, on either dialect.

Source: site rule 26; reliability.md 0.1 and 0.2 (WAL + FULL is the SQLite mode in which no
acknowledgement overtakes its bytes).
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, Table, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from interop.errors import InteropError, LedgerRefuses, LedgerUnavailable

SQLITE_WITHOUT_RESET_RACE = (3, 51, 3)
_BUSY_S = 30.0
_BUSY_TIMEOUT = f"busy_timeout={_BUSY_S * 1000:.0f}"
_LOOK_S = 0.001  # a transaction of eight messages holds the lock for some 12 ms


def open_ledger(url: str) -> Engine:
    """An engine whose commits are durable.

    Args:
        url: `sqlite:///FILE` or `postgresql+psycopg://…`.

    Raises:
        LedgerUnavailable: PostgreSQL runs with `fsync` or `synchronous_commit` off.
    """
    # hide_parameters: bound values would otherwise stand in exception texts.
    common: dict[str, Any] = {
        "hide_parameters": True,
        "json_serializer": lambda value: orjson.dumps(value).decode(),
        "json_deserializer": orjson.loads,
        # The connection that was used last has the pages and the prepared statements; SQLite drops
        # its pages whenever another connection wrote.
        "pool_use_lifo": True,
    }
    if url.startswith("sqlite"):
        engine = create_engine(url, connect_args={"timeout": _BUSY_S}, **common)
        event.listen(engine, "connect", _sqlite_pragmas)
        event.listen(engine, "begin", _sqlite_begin)
        return engine
    engine = create_engine(url, pool_size=8, pool_pre_ping=True, **common)
    event.listen(engine, "connect", _postgresql_settings)
    try:
        _refuse_async_commit(engine)
    except LedgerUnavailable:
        engine.dispose()
        raise
    return engine


def _sqlite_pragmas(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, see below
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "wal_autocheckpoint=0",
        _BUSY_TIMEOUT,
        "foreign_keys=ON",
        "cache_size=-16000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _postgresql_settings(connection: Any, _record: Any) -> None:
    # To compile a claim takes longer than to run it. No start-up option: poolers refuse those.
    connection.autocommit = True
    connection.execute("SET jit = off")
    connection.autocommit = False


def _sqlite_begin(connection: Connection) -> None:
    # A read transaction that later writes fails at once with SQLITE_BUSY when another writer came
    # between; taking the write lock first makes it wait instead.
    if connection.get_execution_options().get("sqlite_begin") == "DEFERRED":
        connection.exec_driver_sql("BEGIN DEFERRED")
        return
    cursor = connection.connection.cursor()
    try:
        begin_writing(cursor)
    except sqlite3.Error as error:
        raise failure(error, "while waiting to write") from error
    finally:
        cursor.close()


def begin_writing(cursor: Any) -> None:
    """Begin a transaction that may write, as soon as SQLite's write lock is free.

    SQLite's own wait sleeps up to 100 ms between two looks, longer than most transactions take:
    the lock would lie idle, and whoever takes it again at once would keep all others out.

    Raises:
        sqlite3.OperationalError: It was not free within half a minute, or anything else.
    """
    until = time.monotonic() + _BUSY_S
    cursor.execute("PRAGMA busy_timeout=0")
    try:
        while not _begun(cursor, until):
            time.sleep(_LOOK_S)
    finally:
        cursor.execute(f"PRAGMA {_BUSY_TIMEOUT}")


def _begun(cursor: Any, until: float) -> bool:
    try:
        cursor.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        # The low byte: who finds out what a crash left is busy in a way of its own.
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
            raise
        return False
    return True


def _refuse_async_commit(engine: Engine) -> None:
    with writing(engine) as connection:
        for name in ("fsync", "synchronous_commit"):
            value = connection.execute(text(f"SHOW {name}")).scalar_one()
            if value == "off":
                raise LedgerUnavailable(f"PostgreSQL runs with {name}=off: acks would be lies")


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction; on any database error nothing of it is committed.

    Raises:
        LedgerRefuses: The database will never take a value of it.
        LedgerUnavailable: Any other error of the database.
    """
    try:
        with engine.begin() as connection:
            yield connection
    except DBAPIError as error:
        raise failure(error.orig, "while committing") from error


# What a database says of a value, and will say again: by class, or by SQLSTATE class on PostgreSQL
# (54: a key longer than an index page takes).
_REFUSALS = frozenset({"DataError", "IntegrityError"})
_PROGRAM_LIMIT_EXCEEDED = "54"


def failure(error: BaseException | None, doing: str) -> InteropError:
    """A driver's error as one of ours: will it pass, or never?"""
    words = f"{type(error).__name__} {doing}"
    state = str(getattr(error, "sqlstate", None) or "")
    if state.startswith(_PROGRAM_LIMIT_EXCEEDED) or _REFUSALS & {
        kind.__name__ for kind in type(error).__mro__
    }:
        return LedgerRefuses(words)
    return LedgerUnavailable(words)


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One read transaction that never waits for writers."""
    try:
        with engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                connection = connection.execution_options(sqlite_begin="DEFERRED")  # noqa: PLW2901
            connection.begin()  # statements of the driver's own cursor would not
            yield connection
    except DBAPIError as error:
        raise LedgerUnavailable(f"{type(error.orig).__name__} while reading") from error


def checkpoint(engine: Engine) -> int:
    """Move SQLite's WAL into the database, with writers held out meanwhile; pages moved.

    Only the service process may call this (site rule 26). Elsewhere, and on PostgreSQL, nothing
    happens.
    """
    if engine.dialect.name != "sqlite":
        return 0
    with engine.connect() as holder:
        holder.exec_driver_sql("SELECT 1")  # begins, and with it takes the write lock
        raw = sqlite3.connect(str(engine.url.database), timeout=5)
        try:
            _busy, _log, moved = raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        finally:
            raw.close()
        holder.rollback()
    return int(moved)


WRITERS = 1024


class Ids:
    """Ids that grow with the moment they were drawn: milliseconds, then a counter.

    One instance per process; `writer` (0 to 1023) tells processes apart. 63 bits: 41 of
    milliseconds since 2020, 12 of count, 10 of writer; a full count borrows from the next
    millisecond.
    """

    _EPOCH_MS = 1_577_836_800_000

    def __init__(self, writer: int) -> None:
        self.writer, self._last, self._lock = writer % WRITERS, 0, threading.Lock()

    def next(self, now_ms: int) -> int:
        """The next id; a clock that jumps back does not disturb the order."""
        with self._lock:
            self._last = max(self._last + 1, (now_ms - self._EPOCH_MS) << 12)
            return self._last * WRITERS + self.writer


@lru_cache(maxsize=32)
def insert_ignore(table: Table, dialect: str) -> Any:
    """INSERT … ON CONFLICT DO NOTHING, to be given a list of parameters (stack.md 2d)."""
    kind = postgresql if dialect == "postgresql" else sqlite
    return kind.insert(table).on_conflict_do_nothing()


@lru_cache(maxsize=32)
def upsert(table: Table, dialect: str) -> Any:
    """INSERT … ON CONFLICT DO UPDATE of every column that is no key, given a list of parameters."""
    kind = postgresql if dialect == "postgresql" else sqlite
    statement = kind.insert(table)
    keys = [column.name for column in table.primary_key]
    values = {c.name: statement.excluded[c.name] for c in table.columns if c.name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=values)
