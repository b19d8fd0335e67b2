"""Patients with long records, in a ledger that an ingest worker of this process works on."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection

from interop.ledger import entries as record_rows
from interop.ledger import images
from interop.ledger.engine import writing
from interop.ledger.mover import Tables
from interop.ledger.received import Received, Record
from mappings.hl7v2 import entries as mapped
from mappings.hl7v2.scan import scan
from mappings.record import Code, Entry, Source, When
from mappings.record_json import when_to_json
from tests.bench import messages
from workers import heap
from workers.app import make
from workers.demo.stage import SITE
from workers.doorbell import Rings
from workers.parts import Parts, build
from workers.settings import Settings
from workers.worker import Worker

LONG_AGO = 400
FILLED = (
    "Every patient has an index CT, MR and operation, and a panel every third day: for six weeks "
    "before it, and earlier than 400 days, so that the windows hold the same."
)
_ENTRIES_A_MESSAGE = 30
_RECENT = 15
_DAY = datetime(2026, 11, 20, 9)
_MOST_MOVED = 64  # at once


def _days_ago(panel: int) -> int:
    """A panel every third day for six weeks, and before that until more than a year ago.

    So every size holds the same in the windows that are asked for, and what is compared is the
    size of the record.
    """
    return 3 * panel if panel < _RECENT else LONG_AGO + 3 * (panel - _RECENT)


@dataclass(slots=True)
class Line:
    """One ledger and one ingest worker in this process."""

    parts: Parts
    worker: Worker
    number: int = 0

    def message(self, patient: int, days_ago: int = 0) -> Received:
        """The next message of a patient, as the MLLP door takes it."""
        self.number += 1
        sent = messages.feed("A").message(self.number * messages.PATIENTS + patient)
        day = (_DAY - timedelta(days=days_ago)).strftime("%Y%m%d")
        sent = sent.replace(b"20261120", day.encode())
        # No two of a patient's messages were written at one moment.
        sent = sent.replace(
            b"101112.123", f"10{self.number // 60 % 60:02}{self.number % 60:02}".encode()
        )
        header = scan(sent)
        key = f"{self.number:032d}"
        return Received(
            door="mllp", interface="his", received_at=datetime.now(UTC), kind=header.message_type,
            lane=header.lane, size=len(sent), control_key=key,
            body=sent, reply=b"AA", code="AA",
        )  # fmt: skip

    def fill(self, patient: int, count: int) -> None:
        """Give a patient a CT, and so many entries past the stages."""
        site = self.parts.site.sender("his")
        with writing(self.parts.engine) as connection:
            person = self.person(connection, patient)
            study = {
                "person": person, "modality": "CT", "state": "complete",
                "body": {
                    "started": when_to_json(When(_DAY, "second", 480)), "phases": ["AP", "PV"],
                    "body_part": "LIVER",
                },
            }  # fmt: skip
            for number, modality in enumerate(("CT", "MR")):
                study["modality"] = modality
                uid = f"2.25.{patient}{number}"
                images.put_study(connection, uid, study, now=datetime.now(UTC))
            self._operate(connection, patient)
            for panel in range(count // _ENTRIES_A_MESSAGE):
                taken = self.message(patient, days_ago=_days_ago(panel))
                assert taken.body is not None
                source = Source("his", self.parts.id(), taken.received_at)
                made = mapped(taken.body, site=site, source=source).entries
                record_rows.append(connection, self._rows(made))

    def _rows(self, made: Sequence[Entry]) -> record_rows.Rows:
        return record_rows.rows(self.parts.engine, made, self.parts.ids, int(time.time() * 1000))

    def _operate(self, connection: Connection, patient: int) -> None:
        """One operation of each kind that some protocol starts from."""
        site = self.parts.site.sender("his")
        taken = self.message(patient)
        assert taken.body is not None
        source = Source("his", self.parts.id(), taken.received_at)
        who = mapped(taken.body, site=site, source=source).patient
        done = [
            Entry(
                "procedure", f"procedure/{code}", who, source, "PR1", code=Code("urn:snomed", code),
                effective=When(_DAY - timedelta(hours=2), "second", 480),
            )
            for code in ("107963000", "23968004", "5884001")
        ]  # fmt: skip
        record_rows.append(connection, self._rows(done))

    def filled(self) -> None:
        """What was filled is on the disk; the log begins anew, and the heap is a worker's."""
        heap.settle()
        # To write over an old log, its pages may have to be read first.
        with closing(self.parts.engine.raw_connection()) as connection:
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        os.sync()  # or it is still on its way, and commits wait for it

    def taken(self, patients: Sequence[int], days_ago: int = 0) -> list[Record]:
        """The next messages of patients, as the journal holds them."""
        return [Record(self.parts.id(), self.message(patient, days_ago)) for patient in patients]

    def move(self, taken: Sequence[Record]) -> None:
        """Move them into the tables, as the service does."""
        with closing(Tables(self.parts.engine)) as tables:
            for start in range(0, len(taken), _MOST_MOVED):
                tables.store(taken[start : start + _MOST_MOVED])

    def apply(self, patients: Sequence[int], days_ago: int = 0) -> float:
        """Seconds to move and apply a message of each; who stands there again sends another."""
        taken = self.taken(patients, days_ago)
        began = time.perf_counter()
        self.move(taken)
        while self.worker.drain("ingest"):
            pass
        return time.perf_counter() - began

    def person(self, connection: Connection, patient: int) -> str:
        """Ledger number of a patient who was sent before."""
        site = self.parts.site.sender("his")
        source = Source("his", 0, datetime.now(UTC))
        body = self.message(patient).body
        assert body is not None
        found = record_rows.person_of(
            connection, mapped(body, site=site, source=source).identifiers
        )
        assert found is not None
        return found


def worker_of(home: Path) -> Worker:
    """An ingest worker of a ledger that is there."""
    parts = build(_settings(home))
    return Worker(parts, Rings(make("memory://")))


@contextmanager
def line(home: Path) -> Iterator[Line]:
    """A new ledger in a new folder, and a worker of this process."""
    home.mkdir()
    site = SITE.read_text("utf-8").replace("8090", "9")
    (home / "site.toml").write_text(site, "utf-8")
    parts = build(_settings(home), migrate=True)
    try:
        yield Line(parts, Worker(parts, Rings(make("memory://"))))
    finally:
        parts.close()


def _settings(home: Path) -> Settings:
    return Settings.from_environment(
        {"ONCORD_DATA_DIR": str(home), "ONCORD_SITE_FILE": str(home / "site.toml"),
         "ONCORD_SECRET": "bench", "ONCORD_BROKER_URL": "memory://"}
    )  # fmt: skip
