"""Opening a ledger: durable modes, migrations that equal the model, checkpoints."""

from __future__ import annotations

import secrets
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, text
from sqlmodel import SQLModel

import interop.tables  # noqa: F401  registers the tables
from interop.errors import LedgerRefuses, LedgerUnavailable
from interop.ledger import engine as opening
from interop.ledger.engine import checkpoint, open_ledger, reading, writing
from interop.migrations import upgrade


def test_the_migrated_schema_is_the_model(ledger: Engine):
    """Alembic finds nothing to do."""
    with ledger.connect() as connection:
        context = MigrationContext.configure(connection)
        assert [] == compare_metadata(context, SQLModel.metadata)


def test_upgrading_again_changes_nothing(ledger: Engine):
    """The service does it at every start."""
    upgrade(ledger)


def test_sqlite_runs_in_the_only_mode_in_which_acks_are_true(sqlite_url: str):
    """WAL and FULL, and no checkpoint behind our back (site rule 26)."""
    engine = open_ledger(sqlite_url)
    with engine.connect() as connection:
        modes = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "wal_autocheckpoint")
        ]
    engine.dispose()
    assert ["wal", 2, 0] == modes


def test_a_checkpoint_moves_the_wal_while_others_read(sqlite_url: str, tmp_path: Path):
    """Only where it is called; readers are not disturbed."""
    engine = open_ledger(sqlite_url)
    with writing(engine) as connection:
        connection.execute(text("INSERT INTO person (id, epoch) VALUES ('p', 0)"))
    with reading(engine) as connection:
        assert 1 == connection.execute(text("SELECT count(*) FROM person")).scalar()
    assert 0 < checkpoint(engine)
    engine.dispose()


def test_a_writer_waits_until_the_lock_is_free(sqlite_url: str):
    """And then writes, on what the other committed."""
    engine = open_ledger(sqlite_url)
    seen: list[int] = []

    def second() -> None:
        with writing(engine) as connection:
            seen.append(connection.execute(text("SELECT count(*) FROM person")).scalar_one())

    with writing(engine) as connection:
        waits = threading.Thread(target=second)
        waits.start()
        waits.join(0.1)
        assert (True, []) == (waits.is_alive(), seen)
        connection.execute(text("INSERT INTO person (id, epoch) VALUES ('p', 0)"))
    waits.join(10)
    engine.dispose()
    assert [1] == seen


def test_a_lock_that_is_not_free_in_time_is_unavailable(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
):
    """And the connection waits as before for whatever else it does."""
    engine = open_ledger(sqlite_url)
    monkeypatch.setattr(opening, "_BUSY_S", 0.02)
    with writing(engine), pytest.raises(LedgerUnavailable), writing(engine):
        pytest.fail("two write at once")
    timeouts = []
    with engine.connect() as one, engine.connect() as other:
        for connection in (one, other):
            cursor = connection.connection.cursor()
            timeouts.append(cursor.execute("PRAGMA busy_timeout").fetchone()[0])
    engine.dispose()
    assert [30_000, 30_000] == timeouts


@pytest.mark.peer("postgresql")
@pytest.mark.parametrize("setting", ["synchronous_commit"])
def test_postgresql_that_acks_early_is_refused(postgresql_database, setting: str):
    """Acknowledgements would be lies."""
    url = postgresql_database()
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        name = admin.url.database
        connection.execute(text(f"ALTER DATABASE {name} SET {setting} = off"))
    admin.dispose()
    with pytest.raises(LedgerUnavailable):
        open_ledger(url)


def test_a_value_no_column_takes_is_refused_for_good(ledger: Engine):
    """Its job is parked: tried again, it would fail again for ever."""
    with pytest.raises(LedgerRefuses), writing(ledger) as connection:
        connection.execute(text("INSERT INTO person (id, epoch) VALUES ('p', NULL)"))


@pytest.mark.peer("postgresql")
def test_a_key_longer_than_an_index_page_is_refused_for_good(postgresql_database):
    """ProgramLimitExceeded is an OperationalError, and yet it will not pass."""
    engine = open_ledger(postgresql_database())
    long = {"id": secrets.token_hex(8000)}
    with pytest.raises(LedgerRefuses), writing(engine) as connection:
        connection.execute(text("INSERT INTO person (id, epoch) VALUES (:id, 0)"), long)
    engine.dispose()


def test_a_database_that_is_not_there_is_unavailable(tmp_path: Path):
    """Typed, so that doors answer AE and 503."""
    engine = open_ledger(f"sqlite:///{tmp_path}/no/such/folder/ledger.db")
    with pytest.raises(LedgerUnavailable), writing(engine):
        pass
    engine.dispose()
