"""Statements run on the driver's own cursor: what goes in and comes out is what SQLAlchemy says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import Engine, bindparam, event, insert, select, text, update

from interop.errors import LedgerRefuses, LedgerUnavailable
from interop.ledger.engine import reading, writing
from interop.ledger.prepared import Prepared, among, room, spread
from interop.tables import Job, ReadinessRow

_job = Job.__table__  # type: ignore[attr-defined]
_readiness = ReadinessRow.__table__  # type: ignore[attr-defined]
NOW = datetime(2026, 3, 4, 12, 0, 0, 123456, tzinfo=UTC)
HERE = NOW.astimezone(timezone(timedelta(hours=8)))


def job(number: int, **changes: Any) -> dict[str, Any]:
    """A job's row."""
    return {
        "id": number, "stage": "ingest", "lane": f"张三 {number}", "key": f"k{number}",
        "state": "ready", "attempts": 0, "fence": 0, "not_before": NOW, "created_at": HERE,
        "reason": "", "refs": {"inbound": number, "who": "李四"}, **changes,
    }  # fmt: skip


@pytest.fixture
def jobs(ledger: Engine) -> Engine:
    """A ledger with jobs 1 to 5, the last without refs."""
    with writing(ledger) as connection:
        connection.execute(insert(_job), [job(n) for n in range(1, 5)])
        connection.execute(insert(_job), [job(5, refs=None)])
    return ledger


def test_rows_are_those_of_sqlalchemy(jobs: Engine):
    """Aware times, JSON, NULL and names."""
    query = select(_job).where(_job.c.id >= bindparam("least")).order_by(_job.c.id)
    with reading(jobs) as connection:
        found = Prepared(query).rows(connection, {"least": 4})
        assert [tuple(r) for r in connection.execute(query, {"least": 4})] == [*map(tuple, found)]
    assert (4, {"inbound": 4, "who": "李四"}, NOW) == (
        found[0].id,
        found[0].refs,
        found[0].created_at,
    )
    assert found[1].refs is None


def test_a_time_is_bound_whatever_its_zone(jobs: Engine):
    """As SQLAlchemy binds it."""
    query = Prepared(select(_job.c.id).where(_job.c.not_before == bindparam("at")))
    with reading(jobs) as connection:
        assert 5 == len(query.rows(connection, {"at": HERE}))
        assert [] == query.rows(connection, {"at": NOW + timedelta(microseconds=1)})
        assert query.first(connection, {"at": NOW - timedelta(days=1)}) is None


@pytest.mark.parametrize("asked", [(), (3,), (1, 2, 3), (1, 2, 9, 4, 5, 7)])
def test_a_list_finds_what_is_in_it(jobs: Engine, asked: tuple[int, ...]):
    """Whatever room it is given; an empty one finds nothing."""
    query = Prepared(select(_job.c.id).where(among(_job.c.id, "id", room(len(asked)))))
    with reading(jobs) as connection:
        found = {row.id for row in query.rows(connection, spread("id", asked))}
    assert set(asked) & {1, 2, 3, 4, 5} == found


def test_lists_of_like_sizes_share_a_statement():
    """1, 2, 4, 8 ... places."""
    assert [1, 1, 2, 4, 4, 8, 64] == [room(n) for n in (0, 1, 2, 3, 4, 5, 33)]
    assert {"n0": 7, "n1": 8, "n2": 9, "n3": 9} == spread("n", (7, 8, 9))


def test_what_an_update_changed_is_counted_and_returned(jobs: Engine):
    """With constants beside what is given."""

    def change() -> Any:
        return (
            update(_job)
            .where(_job.c.id <= bindparam("most"))
            .values(attempts=_job.c.attempts + 1, lease_until=None, refs=bindparam("told"))
        )

    with writing(jobs) as connection:
        assert 2 == Prepared(change()).changed(connection, {"most": 2, "told": ["换"]})
        again = Prepared(change().returning(_job.c.id, _job.c.attempts, _job.c.refs))
        rows = again.rows(connection, {"most": 1, "told": None})
    assert [(1, 2, None)] == [tuple(row) for row in rows]
    with reading(jobs) as connection:
        kept = connection.execute(select(_job.c.attempts, _job.c.refs).order_by(_job.c.id)).all()
    assert [(2, None), (1, ["换"])] == [tuple(row) for row in kept[:2]]


def test_what_is_not_committed_is_rolled_back(jobs: Engine):
    """The driver's cursor works in the transaction of the connection."""
    change = Prepared(update(_job).values(state=bindparam("now")))

    def fail() -> None:
        with writing(jobs) as connection:
            assert 5 == change.changed(connection, {"now": "done"})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with reading(jobs) as connection:
        assert {"ready"} == set(connection.execute(select(_job.c.state)).scalars())


def test_two_looks_in_one_reading_see_the_same(jobs: Engine):
    """On SQLite, where a transaction is a snapshot; on PostgreSQL each statement is one."""
    query = Prepared(select(_job.c.id).where(_job.c.state == bindparam("now")))
    with reading(jobs) as connection:
        assert 5 == len(query.rows(connection, {"now": "ready"}))
        with writing(jobs) as other:
            other.execute(update(_job).where(_job.c.id == 1).values(state="done"))
        left = 5 if jobs.dialect.name == "sqlite" else 4
        assert left == len(query.rows(connection, {"now": "ready"}))


def test_a_refused_value_and_a_lost_table_are_told_apart(jobs: Engine):
    """One will never do, the other may pass; neither quotes a value."""
    change = Prepared(
        update(_job).where(_job.c.id == bindparam("number")).values(key=bindparam("same"))
    )

    def take() -> None:
        with writing(jobs) as connection:
            change.changed(connection, {"number": 1, "same": "k2"})

    with pytest.raises(LedgerRefuses) as refused:
        take()
    assert "k2" not in str(refused.value)
    standing = Prepared(select(_readiness).where(_readiness.c.person == bindparam("of")))
    with writing(jobs) as connection:
        connection.execute(text("DROP TABLE readiness"))
    with reading(jobs) as connection, pytest.raises(LedgerUnavailable) as lost:
        standing.rows(connection, {"of": "张三"})
    assert "张三" not in str(lost.value)


def test_whoever_listens_to_statements_hears_these(jobs: Engine):
    """Tracing and tests listen to SQLAlchemy."""
    heard: list[str] = []
    event.listen(jobs, "before_cursor_execute", lambda *a: heard.append(a[2]))
    with reading(jobs) as connection:
        Prepared(select(_job.c.lane)).rows(connection, {})
    assert "SELECT job.lane" in heard[-1]
