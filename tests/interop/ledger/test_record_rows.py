"""Entries, persons and results as rows: written once, found again, never edited."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
import pytest
from people import lock, person, prediction
from sqlalchemy import Engine, select

from interop.errors import LedgerRefuses
from interop.ledger import entries, jobs, results
from interop.ledger.engine import WRITERS, Ids, open_ledger, reading, writing
from interop.ledger.jobs import NewJob
from interop.tables import PredictionRow
from mappings.record import Code, Entry, Identifier, Quantity, Source, When

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
MRN, NATIONAL = Identifier("7", "mrn"), Identifier("31010", "national")


def entry(key: str = "observation/1834-1/L1", *, path: str = "OBX[1]-5", **changes: Any) -> Entry:
    """An AFP."""
    parts: dict[str, Any] = {
        "kind": "observation", "key": key, "patient": MRN, "path": path,
        "source": Source("his", 1, NOW), "code": Code("http://loinc.org", "1834-1", "AFP"),
        "value": Quantity(Decimal("412.0"), "ng/mL", "412.0", "ng/ml"),
        "effective": When(datetime(2026, 3, 1), "day"), "twin": "1834-1@2026-03-01",
        "details": {"site": "x"},
    }  # fmt: skip
    return Entry(**(parts | changes))


def append(ledger: Engine, *made: Entry) -> None:
    """Write entries as ingest does."""
    with writing(ledger) as connection:
        rows = entries.rows(ledger, made, Ids(1), 1_800_000_000_000)
        entries.append(connection, rows)


def test_an_entry_comes_back_as_it_was(ledger: Engine):
    """Decimals, partial dates and details survive the rows."""
    who = person(ledger, MRN)
    append(ledger, entry())
    with reading(ledger) as connection:
        [back] = entries.of_person(connection, who)
    assert 0 < back.seq
    for name in ("kind", "key", "patient", "path", "code", "value", "effective", "twin", "source"):
        assert getattr(entry(), name) == getattr(back, name), name
    assert dict(entry().details) == dict(back.details)


def test_appending_twice_is_appending_once(ledger: Engine):
    """A replay of a mapped message changes nothing."""
    who = person(ledger, MRN)
    append(ledger, entry())
    append(ledger, entry())
    with reading(ledger) as connection:
        assert 1 == len(entries.of_person(connection, who))


def test_two_facts_of_one_message_are_both_kept(ledger: Engine):
    """Message, path and key together make an entry one."""
    who = person(ledger, MRN)
    append(ledger, entry(), entry(path="OBX[2]-5"), entry("observation/1834-1/L2"))
    with reading(ledger) as connection:
        assert 3 == len(entries.of_person(connection, who))


def test_the_epoch_grows_with_the_record(ledger: Engine):
    """What assess compares before it finishes."""
    who = person(ledger, MRN)
    with writing(ledger) as connection:
        assert [1, 2] == [entries.raise_epoch(connection, who) for _ in range(2)]
        assert 2 == entries.epoch_of(connection, who, lock=True)


def test_an_instance_key_is_written_once(ledger: Engine):
    """The same grounds make no second result."""
    assert lock(ledger, prediction(1, "k1"))
    assert lock(ledger, prediction(2, "k1")) is None


def test_predictions_are_chained_by_hash(ledger: Engine):
    """Each link covers the one before: a change of any body breaks the chain."""
    lock(ledger, prediction(1, "k1"))
    lock(ledger, prediction(2, "other writer", lineage="other"))
    lock(ledger, prediction(1 + WRITERS, "k2"))
    table = PredictionRow.__table__  # type: ignore[attr-defined]
    head = ""
    with reading(ledger) as connection:
        for row in connection.execute(select(table).where(table.c.id != 2).order_by(table.c.id)):
            content = orjson.dumps([head, row.instance_key, row.body], option=orjson.OPT_SORT_KEYS)
            assert (head, hashlib.sha256(content).hexdigest()) == (row.previous_hash, row.hash)
            head = row.hash


def test_a_used_fact_finds_its_standing_results(ledger: Engine):
    """The reverse index, with the digest that was used; superseded results are not found."""
    lock(ledger, prediction(1, "k1"))
    lock(ledger, prediction(2, "k2", supersedes=1, revision=2))
    with reading(ledger) as connection:
        [found] = results.using(connection, "p", ["observation/1834-1/L1", "other"])
        assert (2, "digest-1", 5) == (found.id, found.digest, found.entry)
        assert [] == results.using(connection, "p", [])
        assert [2] == [r.id for r in results.current(connection, "p", "liver_dx")]


def test_readiness_is_replaced(ledger: Engine):
    """One standing answer per person and pack."""
    for state in ("waiting", "ready"):
        with writing(ledger) as connection:
            results.put_readiness(
                connection, "p", "liver_dx", state=state, body={"s": state}, trigger=None,
                triggered_at=None, now=NOW,
            )  # fmt: skip
    with reading(ledger) as connection:
        [row] = results.readiness_of(connection, "p")
    assert ("ready", {"s": "ready"}) == (row.state, row.body)


@pytest.mark.parametrize("times", [1, 2])
def test_a_delivery_is_in_the_outbox_once(ledger: Engine, times: int):
    """By instance key and carrier, however often it is handed over."""
    with writing(ledger) as connection:
        for number in range(times):
            results.add_delivery(
                connection,
                {"id": number, "prediction": 1, "person": "p", "instance_key": "k", "lineage": "k",
                 "carrier": "fhir", "status": "preliminary", "state": "PENDING", "attempt": 0,
                 "bundle_digest": "", "reason": "", "created_at": NOW, "updated_at": NOW},
            )  # fmt: skip
        assert [0] == [d.id for d in results.deliveries_of(connection, "p")]


@pytest.mark.peer("postgresql")
def test_a_value_that_is_no_text_is_refused_for_good(postgresql_database: Callable[[], str]):
    """PostgreSQL takes no NUL: the message is parked, not tried for ever."""
    ledger = open_ledger(postgresql_database())
    with pytest.raises(LedgerRefuses):
        append(ledger, entry("observation/\0"))
    ledger.dispose()


def test_a_job_given_back_in_order_has_lost_no_worker(ledger: Engine):
    """Four postponements and one crash are one loss, not five."""
    with writing(ledger) as connection:
        new = NewJob(stage="deliver", lane="a", key="k", refs={})
        jobs.add(connection, [(1, new)], now=NOW)
    for _ in range(4):
        [held] = jobs.claim(ledger, "deliver", now=NOW, limit=1)
        with writing(ledger) as connection:
            jobs.postpone(connection, held, until=NOW, reason="busy")
    jobs.claim(ledger, "deliver", now=NOW, limit=1)
    [again] = jobs.claim(ledger, "deliver", now=NOW + 2 * jobs.LEASE, limit=1)
    assert 2 == again.attempts
