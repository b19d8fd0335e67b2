"""Intake: many connections in one commit, exact duplicates answered as before."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from interop.errors import LedgerUnavailable
from interop.ledger import jobs, messages
from interop.ledger.engine import Ids, reading, writing
from interop.ledger.intake import GroupCommit, Intake, Received, Stored

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


def received(number: int = 1, **changes: Any) -> Received:
    """A message of its own control id and bytes."""
    parts: dict[str, Any] = {
        "door": "mllp", "interface": "his", "received_at": NOW, "kind": "ADT^A04",
        "lane": f"H|{number}", "digest": f"d{number}", "size": 3, "control_key": f"c{number}",
        "dedup": f"c{number}/d{number}", "body": b"raw", "reply": b"AA %d" % number, "code": "AA",
    }  # fmt: skip
    return Received(**(parts | changes))


@pytest.fixture
def ids() -> Ids:
    """One process's ids."""
    return Ids(1)


def keep(ledger: Engine, ids: Ids, *items: Received) -> list[Stored]:
    """Store a batch."""
    with writing(ledger) as connection:
        return Intake(ledger, ids).store(connection, items)


def test_a_message_and_its_job_are_written_together(ledger: Engine, ids: Ids):
    """The outbox row is the job itself."""
    [stored] = keep(ledger, ids, received())
    [claim] = jobs.claim(ledger, "ingest", now=NOW, limit=9)
    assert ("new", {"inbound": stored.id}, "H|1") == (stored.seen, claim.refs, claim.lane)
    with reading(ledger) as connection:
        row = messages.get(connection, stored.id)
    assert (b"raw", NOW) == (row.body, row.received_at.replace(tzinfo=UTC))


def test_an_exact_duplicate_gets_the_stored_reply(ledger: Engine, ids: Ids):
    """The very answer of the first time, and no second job."""
    [first] = keep(ledger, ids, received())
    [again] = keep(ledger, ids, received(reply=b"another"))
    assert (first.id, b"AA 1", "duplicate") == (again.id, again.reply, again.seen)
    assert {("ingest", "ready"): 1} == jobs.counts(ledger)
    with reading(ledger) as connection:
        assert 1 == messages.get(connection, first.id).resent


def test_a_duplicate_within_one_batch_is_seen(ledger: Engine, ids: Ids):
    """Sent twice at the same moment on two connections."""
    first, again = keep(ledger, ids, received(), received(reply=b"another"))
    assert ("new", "duplicate", first.id, b"AA 1") == (
        first.seen, again.seen, again.id, again.reply,
    )  # fmt: skip


def test_other_bytes_under_a_known_control_id_are_kept(ledger: Engine, ids: Ids):
    """A counter that was reset must not lose messages: stored as new, and said so."""
    [first] = keep(ledger, ids, received())
    [other] = keep(ledger, ids, received(dedup="c1/other", body=b"other"))
    assert ("reused", True) == (other.seen, other.id != first.id)
    assert {("ingest", "ready"): 2} == jobs.counts(ledger)


def test_what_is_only_kept_makes_no_job(ledger: Engine, ids: Ids):
    """Rejected and unreadable messages wait for a person."""
    keep(ledger, ids, received(state="quarantined", stage=None, dedup=None, control_key=None))
    assert ({}, {("mllp", "quarantined"): 1}) == (jobs.counts(ledger), messages.counts(ledger))


def test_rows_of_a_door_are_written_in_the_same_transaction(ledger: Engine, ids: Ids):
    """When they fail, the message is not there either."""

    def fails(_connection: Connection, _message: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        keep(ledger, ids, received(with_rows=fails))
    assert {} == messages.counts(ledger)


def test_ids_grow_even_when_the_clock_jumps_back(ids: Ids):
    """Order of receipt survives a bad clock."""
    made = [ids.next(ms) for ms in (2_000_000_000_000, 1_900_000_000_000, 2_000_000_000_000)]
    assert sorted(set(made)) == made


def test_ids_of_two_writers_never_meet():
    """The writer number is part of the id."""
    one, two = Ids(1), Ids(2)
    ms = 2_000_000_000_000
    assert not {one.next(ms) for _ in range(5000)} & {two.next(ms) for _ in range(5000)}


@pytest.fixture
def group(ledger: Engine, ids: Ids) -> Iterator[tuple[GroupCommit, list[int]]]:
    """A committing thread and the rings it made."""
    rings: list[int] = []
    made = GroupCommit(ledger, ids, rings.append)
    yield made, rings
    made.stop()


def test_messages_that_wait_share_a_commit(ledger: Engine, group: tuple[GroupCommit, list[int]]):
    """Two hundred waiting messages cost few commits, and each gets its own answer."""
    commit, rings = group
    commits: list[int] = []
    event.listen(ledger, "commit", lambda _connection: commits.append(1))
    answers: dict[int, Any] = {}
    done = threading.Event()

    def answered(number: int, fate: Any) -> None:
        answers[number] = fate
        if len(answers) == 200:
            done.set()

    for number in range(200):
        commit.submit(received(number), lambda fate, n=number: answered(n, fate))
    commit.start()
    assert done.wait(20)
    assert [b"AA %d" % n for n in range(200)] == [answers[n].reply for n in range(200)]
    assert (1, [200]) == (len(commits), rings)


def test_a_commit_that_fails_acknowledges_nobody(ledger: Engine, ids: Ids):
    """Every message of the batch learns that nothing was kept, and no ring is made."""
    rings: list[int] = []
    commit = GroupCommit(ledger, ids, rings.append)
    fates: list[Any] = []
    with writing(ledger) as connection:
        connection.exec_driver_sql("ALTER TABLE job RENAME TO job_gone")
    for number in range(3):
        commit.submit(received(number), fates.append)
    commit.start()
    commit.stop()
    assert ([LedgerUnavailable] * 3, []) == ([type(f) for f in fates], rings)
    assert {} == messages.counts(ledger)


def test_stopping_commits_what_waits(ledger: Engine, ids: Ids):
    """A shutdown answers whom it had taken messages from."""
    fates: list[Any] = []
    commit = GroupCommit(ledger, ids, lambda _new: None)
    for number in range(5):
        commit.submit(received(number), fates.append)
    commit.start()
    commit.stop()
    assert 5 == len(fates)


def test_the_text_of_a_database_error_quotes_no_values(ledger: Engine, ids: Ids):
    """Bound values stand in no exception (I7)."""
    with pytest.raises(LedgerUnavailable) as caught, writing(ledger) as connection:
        connection.exec_driver_sql("ALTER TABLE inbound RENAME TO inbound_gone")
        canary = received(lane="CANARY-NAME", body=b"CANARY-BODY")
        Intake(ledger, ids).store(connection, [canary])
    chain = [str(caught.value), str(caught.value.__cause__)]
    assert not any("CANARY" in text for text in chain)
