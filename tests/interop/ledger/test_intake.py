"""Intake: many connections in one commit, exact duplicates answered as before."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine

from interop.errors import LedgerUnavailable
from interop.ledger import images, jobs, messages
from interop.ledger.engine import Ids, reading, writing
from interop.ledger.images import NewInstance
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
    intake = Intake(ledger, ids)
    try:
        return intake.commit(items)
    finally:
        intake.close()


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


def test_the_instances_of_a_study_are_written_in_the_same_transaction(ledger: Engine, ids: Ids):
    """When they fail, the message is not there either."""
    instance = NewInstance(
        sop_instance_uid="1.2", study_instance_uid="1", series_instance_uid="1.1",
        sop_class_uid="1.3", modality="CT", transfer_syntax_uid="1.2.3", authority="a\0",
        patient="7", sha256="ab", size=3 * 1024**3,
    )  # fmt: skip
    with writing(ledger) as connection:
        connection.exec_driver_sql("ALTER TABLE instance RENAME TO gone")
    with pytest.raises(LedgerUnavailable):
        keep(ledger, ids, received(instances=(instance,)))
    assert {} == messages.counts(ledger)
    with writing(ledger) as connection:
        connection.exec_driver_sql("ALTER TABLE gone RENAME TO instance")
    keep(ledger, ids, received(instances=(instance,), size=3 * 1024**3))
    with reading(ledger) as connection:
        assert ["ab"] == [row.sha256 for row in images.of_study(connection, "1")]


def test_ids_grow_even_when_the_clock_jumps_back(ids: Ids):
    """Order of receipt survives a bad clock."""
    made = [ids.next(ms) for ms in (2_000_000_000_000, 1_900_000_000_000, 2_000_000_000_000)]
    assert sorted(set(made)) == made


def test_ids_of_two_writers_never_meet():
    """The writer number is part of the id."""
    one, two = Ids(1), Ids(2)
    ms = 2_000_000_000_000
    assert not {one.next(ms) for _ in range(5000)} & {two.next(ms) for _ in range(5000)}


def test_messages_that_come_together_share_a_commit(ledger: Engine, ids: Ids):
    """Two hundred messages cost few commits, and each gets its own answer."""
    rings: list[int] = []
    commit = GroupCommit(ledger, ids, rings.append)
    answers: dict[int, Any] = {}
    done = threading.Event()

    def answered(number: int, fate: Any) -> None:
        answers[number] = fate
        if len(answers) == 200:
            done.set()

    def send() -> None:
        for number in range(200):
            commit.submit(received(number), lambda fate, n=number: answered(n, fate))

    commit.start()
    commit.loop.call_soon_threadsafe(send)
    assert done.wait(20)
    commit.stop()
    assert [b"AA %d" % n for n in range(200)] == [answers[n].reply for n in range(200)]
    assert [200] == rings


def test_a_commit_that_fails_acknowledges_nobody(ledger: Engine, ids: Ids):
    """Every message learns that nothing was kept; the next is taken when the ledger is well."""
    rings: list[int] = []
    commit = GroupCommit(ledger, ids, rings.append)
    fates: list[Any] = []
    with writing(ledger) as connection:
        connection.exec_driver_sql("ALTER TABLE job RENAME TO job_gone")
    commit.start()
    done = threading.Event()

    def answered(fate: Any) -> None:
        fates.append(fate)
        done.set()

    commit.submit(received(1), answered)
    assert done.wait(20)
    assert ([LedgerUnavailable], []) == ([type(f) for f in fates], rings)
    with writing(ledger) as connection:
        connection.exec_driver_sql("ALTER TABLE job_gone RENAME TO job")
    done.clear()
    commit.submit(received(1), answered)
    assert done.wait(20)
    commit.stop()
    assert ("new", [1]) == (fates[1].seen, rings)


def test_a_row_that_is_refused_is_not_answered_for_by_its_neighbours(ledger: Engine, ids: Ids):
    """One message the database will not take gets its own bad answer; the others are kept."""
    commit = GroupCommit(ledger, ids, lambda _new: None)
    fates: dict[int, Any] = {}
    items = {n: received(n) for n in range(5)} | {2: received(2, lane=None)}

    def send() -> None:
        for number, item in items.items():
            commit.submit(item, lambda fate, n=number: fates.update({n: fate}))

    commit.start()
    commit.loop.call_soon_threadsafe(send)
    commit.stop()
    assert [False, False, True, False, False] == [
        isinstance(fates[n], LedgerUnavailable) for n in range(5)
    ]


def test_stopping_commits_what_was_taken(ledger: Engine, ids: Ids):
    """A shutdown answers whom it had taken messages from."""
    fates: list[Any] = []
    commit = GroupCommit(ledger, ids, lambda _new: None)
    commit.start()
    for number in range(5):
        commit.submit(received(number), fates.append)
    commit.stop()
    assert 5 == len(fates)


def test_the_text_of_a_database_error_quotes_no_values(ledger: Engine, ids: Ids):
    """Bound values stand in no exception (I7)."""
    with writing(ledger) as connection:
        connection.exec_driver_sql("ALTER TABLE inbound RENAME TO inbound_gone")
    with pytest.raises(LedgerUnavailable) as caught:
        keep(ledger, ids, received(lane="CANARY-NAME", body=b"CANARY-BODY"))
    chain = [str(caught.value), str(caught.value.__cause__)]
    assert not any("CANARY" in text for text in chain)
