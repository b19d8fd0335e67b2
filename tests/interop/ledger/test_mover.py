"""Moving the journal into the tables: idempotent, whole, and never stuck on one record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC
from pathlib import Path

import pytest
from received_messages import NOW, received
from sqlalchemy import Engine

from interop.errors import LedgerUnavailable
from interop.ledger import images, jobs, messages
from interop.ledger.engine import reading, writing
from interop.ledger.images import NewInstance
from interop.ledger.journal import Journal
from interop.ledger.known import asked, known
from interop.ledger.mover import Mover, Tables
from interop.ledger.received import Received, Record, packed, unpacked

INSTANCE = NewInstance(
    sop_instance_uid="1.2", study_instance_uid="1", series_instance_uid="1.1",
    sop_class_uid="1.3", modality="CT", transfer_syntax_uid="1.2.3", authority="a\0",
    patient="7", sha256="ab", size=3 * 1024**3,
)  # fmt: skip


def store(ledger: Engine, *records: Record) -> int:
    """One transaction."""
    tables = Tables(ledger)
    try:
        return tables.store(records)
    finally:
        tables.close()


@pytest.mark.parametrize(
    "item",
    [
        received(),
        received(body=None, reply=None, control_key=None, dedup=None, stage=None),
        received(body=b"", reply=b"", not_before=NOW, instances=(INSTANCE, INSTANCE)),
        received(kind="合成\0", body=bytes(range(256)), lane="\x0b|^~"),
    ],
    ids=["plain", "empty", "study", "odd bytes"],
)
def test_a_record_reads_back_as_it_was(item: Received):
    """Every field, and the difference between nothing and no bytes."""
    head, body = packed(7, item)
    assert Record(7, item) == unpacked(head + body)


def test_a_message_and_its_job_are_written_in_one_transaction(ledger: Engine):
    """With the moment of receipt, not of moving."""
    assert 1 == store(ledger, Record(7, received()))
    [claim] = jobs.claim(ledger, "ingest", now=NOW, limit=9)
    assert ({"inbound": 7}, "H|1") == (claim.refs, claim.lane)
    with reading(ledger) as connection:
        row = messages.get(connection, 7)
    assert (b"raw", NOW) == (row.body, row.received_at.replace(tzinfo=UTC))


def test_what_was_moved_is_not_moved_again(ledger: Engine):
    """After a crash everything in the journal is moved again, worked or not."""
    store(ledger, Record(7, received()))
    [claim] = jobs.claim(ledger, "ingest", now=NOW, limit=9)
    with writing(ledger) as connection:
        jobs.finish(connection, claim, now=NOW, reason="")
    assert 1 == store(ledger, Record(7, received()), Record(8, received(2)))
    assert {("ingest", "done"): 1, ("ingest", "ready"): 1} == jobs.counts(ledger)


def test_what_two_services_took_is_one_message(ledger: Engine):
    """Its sender sent it again, to another service, before the first had moved it."""
    store(ledger, Record(7, received()))
    assert 0 == store(ledger, Record(9, received()))
    with reading(ledger) as connection:
        assert 1 == messages.get(connection, 7).resent
    assert {("ingest", "ready"): 1} == jobs.counts(ledger)


def test_the_instances_of_a_study_are_written_in_the_same_transaction(ledger: Engine):
    """When they fail, the message is not there either."""
    record = Record(7, received(instances=(INSTANCE,), size=3 * 1024**3))
    with writing(ledger) as connection:
        connection.exec_driver_sql("ALTER TABLE instance RENAME TO gone")
    with pytest.raises(LedgerUnavailable):
        store(ledger, record)
    assert {} == messages.counts(ledger)
    with writing(ledger) as connection:
        connection.exec_driver_sql("ALTER TABLE gone RENAME TO instance")
    store(ledger, record)
    with reading(ledger) as connection:
        assert ["ab"] == [row.sha256 for row in images.of_study(connection, "1")]


def test_a_row_the_database_refuses_is_kept_as_quarantined(ledger: Engine):
    """It was acknowledged: its bytes stay, and its neighbours are not held up."""
    impossible = received(2, instances=(replace(INSTANCE, size=1 << 80),))
    assert 3 == store(ledger, Record(7, received()), Record(8, impossible), Record(9, received(3)))
    assert {("mllp", "received"): 2, ("mllp", "quarantined"): 1} == messages.counts(ledger)
    with reading(ledger) as connection:
        assert b"raw" == messages.get(connection, 8).body


def test_the_text_of_a_database_error_quotes_no_values(ledger: Engine):
    """Bound values stand in no exception (I7)."""
    with writing(ledger) as connection:
        connection.exec_driver_sql("ALTER TABLE inbound RENAME TO inbound_gone")
    with pytest.raises(LedgerUnavailable) as caught:
        store(ledger, Record(7, received(lane="CANARY-NAME", body=b"CANARY-BODY")))
    chain = [str(caught.value), str(caught.value.__cause__)]
    assert not any("CANARY" in text for text in chain)


def test_while_senders_wait_transactions_are_small(ledger: Engine, tmp_path: Path):
    """They wait for the core, too; when nobody sends any more the rest goes at once."""
    journal, sizes = Journal(tmp_path / "journal"), list[int]()

    def append(first: int, count: int) -> None:
        journal.append([packed(n, received(n)) for n in range(first, first + count)])

    def moved(records: Sequence[Record], _fresh: int) -> None:
        if not sizes:
            append(1000, 1)
        sizes.append(len(records))

    append(1, 300)
    mover = Mover(journal, ledger, moved)
    mover.start()
    assert mover.settle(20)
    mover.stop(20)
    journal.close()
    assert [64, 64, 173] == sizes


@pytest.mark.parametrize("count", [1, 8, 64])
def test_a_control_id_is_looked_up_in_the_index(ledger: Engine, count: int):
    """However many at once: a sender waits while the table grows."""
    store(ledger, *(Record(n, received(n)) for n in range(3000)))
    keys = [f"c{n}" for n in range(0, 6 * count, 6)]
    with reading(ledger) as connection:
        cursor = connection.connection.cursor()
        found = known(cursor, ledger.dialect.name, keys)
        explain = "EXPLAIN QUERY PLAN " if ledger.dialect.name == "sqlite" else "EXPLAIN "
        statement, bound = asked(ledger.dialect.name, keys)
        cursor.execute(explain + statement, bound)
        plan = " ".join(str(row) for row in cursor.fetchall())
    assert (set(keys), "Seq Scan", "SCAN inbound") == (
        set(found), *(bad for bad in ("Seq Scan", "SCAN inbound") if bad not in plan),
    )  # fmt: skip
