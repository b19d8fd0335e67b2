"""Intake: many connections in one sync, exact duplicates answered as before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from received_messages import received
from sqlalchemy import Engine

from interop.errors import LedgerUnavailable
from interop.ledger import jobs, messages
from interop.ledger.engine import Ids, reading, writing
from interop.ledger.intake import GroupCommit
from interop.ledger.received import Received, Stored

Keep = Callable[..., list[Any]]


@pytest.fixture
def rings() -> list[int]:
    """What the doorbell heard."""
    return []


@pytest.fixture
def commit(ledger: Engine, tmp_path: Path, rings: list[int]) -> Iterator[GroupCommit]:
    """A running committing thread."""
    made = GroupCommit(ledger, Ids(1), tmp_path / "journal", rings.append)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def keep(commit: GroupCommit) -> Keep:
    """Takes messages in one turn; their fates in order."""

    def take(*items: Received) -> list[Any]:
        fates: dict[int, Any] = {}
        done = threading.Event()

        def answered(number: int, fate: Any) -> None:
            fates[number] = fate
            if len(fates) == len(items):
                done.set()

        def send() -> None:
            for number, item in enumerate(items):
                commit.submit(item, lambda fate, n=number: answered(n, fate))

        commit.loop.call_soon_threadsafe(send)
        assert done.wait(20)
        return [fates[n] for n in range(len(items))]

    return take


@pytest.fixture(params=["moved", "not moved"])
def between(request: pytest.FixtureRequest, commit: GroupCommit) -> Callable[[], Any]:
    """What happens between two messages: the first reached the tables, or not yet."""
    return commit.settle if request.param == "moved" else lambda: None


def test_a_message_and_its_job_are_written_together(
    keep: Keep, commit: GroupCommit, ledger: Engine
):
    """The outbox row is the job itself."""
    [stored] = keep(received())
    commit.settle()
    assert Stored(stored.id, b"AA 1", "new") == stored
    assert {("ingest", "ready"): 1} == jobs.counts(ledger)
    with reading(ledger) as connection:
        assert b"raw" == messages.get(connection, stored.id).body


def test_an_exact_duplicate_gets_the_stored_reply(
    keep: Keep, commit: GroupCommit, ledger: Engine, between: Callable[[], Any]
):
    """The very answer of the first time, and no second job; that it came again is counted."""
    [first] = keep(received())
    between()
    [again] = keep(received(reply=b"another"))
    commit.settle()
    assert (first.id, b"AA 1", "duplicate") == (again.id, again.reply, again.seen)
    assert {("ingest", "ready"): 1} == jobs.counts(ledger)
    with reading(ledger) as connection:
        assert 1 == messages.get(connection, first.id).resent


def test_a_duplicate_within_one_turn_is_seen(keep: Keep):
    """Sent twice at the same moment on two connections."""
    first, again = keep(received(), received(reply=b"another"))
    assert ("new", "duplicate", first.id, b"AA 1") == (
        first.seen, again.seen, again.id, again.reply,
    )  # fmt: skip


def test_other_bytes_under_a_known_control_id_are_kept(
    keep: Keep, commit: GroupCommit, ledger: Engine, between: Callable[[], Any]
):
    """A counter that was reset must not lose messages: stored as new, and said so."""
    [first] = keep(received())
    between()
    [other] = keep(received(body=b"other"))
    commit.settle()
    assert ("reused", True) == (other.seen, other.id != first.id)
    assert {("ingest", "ready"): 2} == jobs.counts(ledger)


def test_a_restamped_copy_is_a_duplicate(
    keep: Keep, commit: GroupCommit, between: Callable[[], Any]
):
    """Told by its digest, whether the first waits in the journal or is in the tables."""
    sent = b"MSH|^~\\&|A|B|C|D|%s||ADT^A04|1|P|2.5\rPID|1||7\r"
    [first] = keep(received(body=sent % b"20260304"))
    between()
    [again] = keep(received(body=sent % b"20260305"))
    assert (first.id, "duplicate") == (again.id, again.seen)


def test_a_control_id_that_never_changes_loses_nothing(
    keep: Keep, commit: GroupCommit, ledger: Engine, between: Callable[[], Any]
):
    """Each of its messages is told from every earlier one."""
    bodies = [b"%d" % n for n in range(5)]
    first = []
    for body in bodies:
        first += keep(received(body=body))
        between()
    again = keep(*(received(body=body) for body in bodies))
    assert ["new", *["reused"] * 4] == [fate.seen for fate in first]
    assert [(fate.id, "duplicate") for fate in first] == [(fate.id, fate.seen) for fate in again]
    commit.settle()
    assert {("mllp", "received"): 5} == messages.counts(ledger)


def test_what_is_only_kept_makes_no_job(keep: Keep, commit: GroupCommit, ledger: Engine):
    """Rejected and unreadable messages wait for a person."""
    keep(received(state="quarantined", stage=None, control_key=None))
    commit.settle()
    assert ({}, {("mllp", "quarantined"): 1}) == (jobs.counts(ledger), messages.counts(ledger))


def test_messages_that_come_together_are_answered_in_order(
    keep: Keep, commit: GroupCommit, rings: list[int]
):
    """Two hundred in one turn: each gets its own answer, and the doorbell hears of all."""
    fates = keep(*(received(number) for number in range(200)))
    commit.settle()
    assert [b"AA %d" % n for n in range(200)] == [fate.reply for fate in fates]
    assert 200 == sum(rings)


def test_a_journal_that_cannot_write_acknowledges_nobody(
    keep: Keep, commit: GroupCommit, ledger: Engine, rings: list[int]
):
    """Every message learns that nothing was kept; the next is taken when there is room."""
    commit.journal.most_waiting_bytes = -1
    fates = keep(received(1), received(2))
    assert [LedgerUnavailable] * 2 == [type(fate) for fate in fates]
    commit.journal.most_waiting_bytes = 1 << 20
    assert ["new"] == [fate.seen for fate in keep(received(1))]
    commit.settle()
    assert ([1], {("mllp", "received"): 1}) == (rings, messages.counts(ledger))


def test_tables_that_are_away_delay_the_work_and_lose_nothing(
    keep: Keep, commit: GroupCommit, ledger: Engine
):
    """What is durable is acknowledged; the tables have it when they are back."""
    with writing(ledger) as connection:
        connection.exec_driver_sql("ALTER TABLE job RENAME TO gone")
    assert ["new"] == [fate.seen for fate in keep(received())]
    assert not commit.settle(0.2)
    with writing(ledger) as connection:
        connection.exec_driver_sql("ALTER TABLE gone RENAME TO job")
    assert commit.settle()
    assert {("ingest", "ready"): 1} == jobs.counts(ledger)


def test_nobody_is_answered_when_duplicates_cannot_be_told(keep: Keep, ledger: Engine):
    """Without the tables nobody knows whether a message was stored before: send it again."""
    with writing(ledger) as connection:
        connection.exec_driver_sql("ALTER TABLE inbound RENAME TO gone")
    assert [LedgerUnavailable] == [type(fate) for fate in keep(received())]
    with writing(ledger) as connection:
        connection.exec_driver_sql("ALTER TABLE gone RENAME TO inbound")
    assert ["new"] == [fate.seen for fate in keep(received())]


def test_a_message_nobody_can_write_is_not_answered_for_by_its_neighbours(keep: Keep):
    """It gets its own bad answer; the others are kept."""
    fates = keep(*(received(n, kind="\ud800" if n == 2 else "ADT^A04") for n in range(5)))
    assert [False, False, True, False, False] == [
        isinstance(fate, LedgerUnavailable) for fate in fates
    ]


def test_stopping_commits_and_moves_what_was_taken(ledger: Engine, tmp_path: Path):
    """A shutdown answers whom it had taken messages from, and leaves nothing to recover."""
    fates: list[Any] = []
    commit = GroupCommit(ledger, Ids(1), tmp_path / "journal", lambda _new: None)
    commit.start()
    for number in range(5):
        commit.submit(received(number), fates.append)
    commit.stop()
    assert (5, {("mllp", "received"): 5}) == (len(fates), messages.counts(ledger))


def test_ids_grow_even_when_the_clock_jumps_back():
    """Order of receipt survives a bad clock."""
    ids = Ids(1)
    made = [ids.next(ms) for ms in (2_000_000_000_000, 1_900_000_000_000, 2_000_000_000_000)]
    assert sorted(set(made)) == made


def test_ids_of_two_writers_never_meet():
    """The writer number is part of the id."""
    one, two = Ids(1), Ids(2)
    ms = 2_000_000_000_000
    assert not {one.next(ms) for _ in range(5000)} & {two.next(ms) for _ in range(5000)}
