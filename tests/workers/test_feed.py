"""The generated feed through the real line: all of it taken, and its replay changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from whole_line import SITE, Line, opened

from interop.ledger import messages
from interop.ledger.engine import reading
from interop.ledger.entries import of_person
from interop.tables import (
    DeliveryRow,
    EntryRow,
    IdentityRow,
    Inbound,
    Job,
    PredictionRow,
    ReadinessRow,
)
from mappings.record import PatientRecord
from workers.demo.feed import INTERFACES, Sent, feed
from workers.demo.hospital import Chart
from workers.demo.senders import MllpSender
from workers.replay import replay_message

_SITE = SITE.replace(
    '[[mllp]]\nname = "archive"\norigin = "history"\n',
    "".join(f'[[mllp]]\nname = "{name}"\n' for name in INTERFACES if name != "his"),
)
_DRAINED_EVERY = 60


def test_a_seed_is_a_feed():
    """The same bytes at the same times; another seed gives another feed."""
    first = list(feed(3, 4, 8))
    assert first == list(feed(3, 4, 8))
    assert {sent.message for sent in first}.isdisjoint(sent.message for sent in feed(4, 4, 8))


def test_a_feed_is_in_order_of_sending_and_late_in_its_own():
    """Some messages overtake others of their patient, and the times of sending grow."""
    sent = list(feed(3, 4, 30))
    assert [one.at for one in sent] == sorted(one.at for one in sent)
    stamps = [one.message.split(b"|")[6][:14] for one in sent]
    assert stamps != sorted(stamps)


def test_a_feed_has_every_dialect_and_every_event():
    """Versions, charsets, line ends, and the messages of a cancer pathway."""
    sent = list(feed(3, 6, 60))
    versions = {one.message.splitlines()[0].split(b"|")[11] for one in sent}
    assert {b"2.1", b"2.2", b"2.3", b"2.3.1", b"2.4", b"2.5.1", b"2.6", b"2.7", b"2.8"} == versions
    assert {b"\r\n", b"\n", b"\r"} == {
        one.message[len(one.message.rstrip(b"\r\n")) :] for one in sent
    }
    events = {one.kind for one in sent}
    expected = {f"ADT^{event}" for event in ("A01", "A02", "A03", "A04", "A08", "A11", "A12")}
    expected |= {f"ADT^{event}" for event in ("A13", "A37", "A40", "A43", "A45", "A60")}
    expected |= {"ORU^R01", "OUL^R22", "ORM^O01", "OML^O21", "OMG^O19", "MDM^T02", "SIU^S12"}
    expected |= {"PPR^PC1", "VXU^V04", "BAR^P01", "DFT^P03"}
    assert expected == events
    assert {"applied", "ignored", "duplicate"} == {one.fate for one in sent}


@pytest.fixture
def line(tmp_path: Path, sqlite_url: str) -> Iterator[Line]:
    """The line with the interfaces of a feed."""
    with opened(tmp_path, sqlite_url, site=_SITE) as made:
        yield made


def play(line: Line, sent: list[Sent]) -> None:
    """Send a feed over one connection for each interface, at its own times."""
    with ExitStack() as held:
        wires = {
            name: held.enter_context(MllpSender("127.0.0.1", line.ports.mllp[name]))
            for name in INTERFACES
        }
        for number, one in enumerate(sent, 1):
            line.clock.moment = one.at
            assert b"|AA|" in wires[one.interface].send(one.message)
            if number % _DRAINED_EVERY == 0:
                assert line.commit.settle()
                line.settle()
    assert line.commit.settle()
    line.settle()


def table(line: Line, row: Any, *left_out: str) -> list[str]:
    """Every row of a table, without the columns that say when it was looked at."""
    columns = [c for c in row.__table__.c if c.name not in left_out]
    with reading(line.parts.engine) as connection:
        return sorted(map(repr, connection.execute(select(*columns))))


def state(line: Line) -> dict[str, Any]:
    """All that must not change when everything is replayed."""
    with reading(line.parts.engine) as connection:
        people = connection.execute(select(IdentityRow.__table__.c.person).distinct()).scalars()
        records = {
            person: PatientRecord.of(of_person(connection, person), as_of=line.clock())
            for person in sorted(people)
        }
    open_jobs = [row for row in table(line, Job) if "'done'" not in row]
    return {
        "records": records,
        "entries": table(line, EntryRow),
        "identities": table(line, IdentityRow),
        "readiness": table(line, ReadinessRow, "updated_at", "body"),
        "predictions": table(line, PredictionRow),
        "deliveries": table(line, DeliveryRow),
        "open jobs": open_jobs,
    }


def test_a_whole_feed_is_taken_and_its_replay_changes_nothing(line: Line, who: Chart):
    """30 patients: nothing is set aside, every message is stored once, replay is idempotent."""
    sent = list(feed(13, 4, 30))
    play(line, sent)
    line.register(who)
    line.evidence(who)
    line.settle()
    fates = Counter(one.fate for one in sent)
    with reading(line.parts.engine) as connection:
        c = Inbound.__table__.c
        mine = select(c.body, c.state, c.reason, c.resent, c.report).where(c.door == "mllp")
        fed = {one.message for one in sent}
        stored = [row for row in connection.execute(mine) if row.body in fed]
    assert [] == [row.reason for row in stored if row.state not in ("applied", "ignored")]
    told = [finding for row in stored for finding in row.report or ()]
    assert [] == [finding for finding in told if finding[2] == "error"]
    # Every structure the feed has is in this day, too.
    assert {one.kind for one in feed(3, 6, 60)} == {one.kind for one in sent}
    assert sorted(one.message for one in sent if one.fate != "duplicate") == sorted(
        row.body for row in stored
    )
    assert fates["ignored"] == sum(row.state == "ignored" for row in stored)
    assert fates["duplicate"] == sum(row.resent for row in stored)
    line.clock.forward(seconds=60)
    line.settle()
    before = state(line)
    assert 1 == len(before["predictions"])
    chosen = messages.ids(line.parts.engine)
    for message in chosen:
        replay_message(line.parts, message)
    assert len(chosen) <= line.settle()
    after = state(line)
    assert before["records"].keys() == after["records"].keys()
    for person, record in before["records"].items():
        assert record == after["records"][person]
    assert before == after
