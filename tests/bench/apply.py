"""ORU^R01 from the journal's record to the patient record, beside the same rows written bare."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console
from sqlalchemy import Connection, Engine, text

from inference import features, protocol_reading
from inference.protocol import Protocol
from interop.ledger import entries as record_rows
from interop.ledger import images
from interop.ledger.engine import checkpoint, open_ledger, reading, writing
from interop.ledger.mover import Tables
from interop.ledger.received import Received, Record
from mappings.hl7v2 import entries as mapped
from mappings.hl7v2.scan import scan
from mappings.record import Code, Entry, Source, When
from mappings.record_json import when_to_json
from tests.bench import messages
from tests.bench.table import Measured, Verdict
from workers import heap
from workers.app import make
from workers.demo.stage import SITE
from workers.doorbell import Rings
from workers.evidence import Evidence, known_of, study_summary
from workers.parts import Parts, build
from workers.settings import Settings
from workers.worker import Worker

_PATIENTS, _ENTRIES_A_MESSAGE = 16, 30
_A_COMMIT = 8  # messages to a transaction of ours, and to one of the bare rows
_TABLES = ("inbound", "job", "entry", "readiness")
_LEAST_SIZE, _COMPARED, _MOST_SIZE = 500, 20_000, 50_000
_DAY = datetime(2026, 11, 20, 9)
_LEAST, _MOST_GROWTH = 0.5, 1.5


_RECENT, _LONG_AGO = 15, 400


def _days_ago(panel: int) -> int:
    """A panel every third day for six weeks, and before that until more than a year ago.

    So every size holds the same in the windows that are asked for, and what is compared is the
    size of the record.
    """
    return 3 * panel if panel < _RECENT else _LONG_AGO + 3 * (panel - _RECENT)


@dataclass(slots=True)
class _Line:
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
        site, ids = self.parts.site.sender("his"), self.parts.ids
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
                record_rows.append(connection, made, ids, int(time.time() * 1000))

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
        record_rows.append(connection, done, self.parts.ids, int(time.time() * 1000))

    def apply(self, patients: list[int], days_ago: int = 0) -> float:
        """Seconds to move and apply one message of each."""
        taken = [Record(self.parts.id(), self.message(patient, days_ago)) for patient in patients]
        tables = Tables(self.parts.engine)
        began = time.perf_counter()
        tables.store(taken)
        while self.worker.drain("ingest"):
            pass
        took = time.perf_counter() - began
        tables.close()
        return took

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

    def judge(self, turns: int) -> dict[str, tuple[float, float]]:
        """Protocol to median seconds to judge its readiness, and to find its features."""
        protocols = [self.parts.packs[0].manifest, *protocol_reading.shipped().values()]
        return {one.id: self._judge(one, turns) for one in protocols}

    def _judge(self, one: Protocol, turns: int) -> tuple[float, float]:
        evidence = Evidence(self.parts)
        judged, made = [], []
        for turn in range(turns):
            with reading(self.parts.engine) as connection:
                person = self.person(connection, turn % _PATIENTS)
                began = time.perf_counter()
                answer = evidence.readiness(connection, person, one)
                judged.append(time.perf_counter() - began)
                assert answer.t0 is not None
                began = time.perf_counter()
                now = self.parts.now()
                studies = [study_summary(r) for r in images.studies_of(connection, person)]
                record = known_of(connection, person, one, studies, now)
                features.find_all(one.inputs, record, answer.t0, now)
                made.append(time.perf_counter() - began)
        return statistics.median(judged), statistics.median(made)


@contextmanager
def _line(home: Path) -> Iterator[_Line]:
    home.mkdir()
    file = home / "site.toml"
    file.write_text(SITE.read_text("utf-8").replace("8090", "9"), "utf-8")
    settings = Settings.from_environment(
        {"ONCORD_DATA_DIR": str(home), "ONCORD_SITE_FILE": str(file), "ONCORD_SECRET": "bench",
         "ONCORD_BROKER_URL": "memory://"}
    )  # fmt: skip
    parts = build(settings, migrate=True)
    try:
        yield _Line(parts, Worker(parts, Rings(make("memory://"))))
    finally:
        parts.close()


@dataclass(frozen=True, slots=True)
class _Taken:
    """What one size took: seconds a message, of the same rows bare, and to judge a protocol."""

    message: float
    bare: float
    judged: dict[str, tuple[float, float]]


def run(console: Console, *, rounds: int, seconds: float) -> Measured:
    """The same messages at several sizes of the patient, and their rows bare."""
    taken: dict[int, _Taken] = {}
    # A process for each size, or what one left in memory would be the next one's burden.
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes:
        for size in (_LEAST_SIZE, _COMPARED, _MOST_SIZE):
            taken[size] = found = processes.submit(_take, size, rounds).result()
            told = f"{size} entries: {found.message * 1000:.2f} ms a message"
            console.print(told, style="dim", highlight=False)
    return _measured(taken, rounds)


def _take(size: int, rounds: int) -> _Taken:
    with (
        tempfile.TemporaryDirectory(prefix="oncord-bench-") as name,
        _line(Path(name) / "ours") as line,
    ):
        everybody = list(range(_PATIENTS))
        for patient in everybody:
            line.apply([patient], days_ago=_LONG_AGO)
            line.fill(patient, size)
        # As in a worker's process, and beside a service: it is what moves SQLite's log.
        heap.settle()
        checkpoint(line.parts.engine)
        os.sync()  # or what was filled is still on its way to the disk, and commits wait for it
        turns = range(8 * rounds, 0, -1)
        ours = [line.apply(everybody, days_ago=day) / _PATIENTS for day in turns]
        judged = line.judge(20 * rounds)
        bare = statistics.median(_bare(line.parts.engine, Path(name), rounds))
    return _Taken(statistics.median(ours), bare, judged)


def _bare(engine: Engine, home: Path, rounds: int) -> list[float]:
    """Seconds a message to upsert the rows that the last messages left, as many per commit."""
    commits: list[dict[str, list[tuple[object, ...]]]] = [{} for _ in range(_PATIENTS // _A_COMMIT)]
    with engine.connect() as connection:
        for table in _TABLES:
            rows = _A_COMMIT * (_ENTRIES_A_MESSAGE if table == "entry" else 1)
            for number, found in enumerate(commits):
                query = text(
                    f"SELECT * FROM {table} ORDER BY rowid DESC LIMIT {rows} OFFSET {rows * number}"  # noqa: S608
                )
                found[table] = [tuple(row) for row in connection.execute(query)]
    path = home / "bare.db"
    raw = engine.raw_connection()
    raw.cursor().execute("VACUUM INTO ?", (str(path),))
    raw.close()
    other = open_ledger(f"sqlite:///{path}")
    times = []
    held = other.raw_connection()
    os.sync()  # or the copy is still on its way to the disk, and every commit waits for it
    cursor = held.cursor()
    for _ in range(8 * rounds):
        began = time.perf_counter()
        for found in commits:
            cursor.execute("BEGIN IMMEDIATE")
            for table, written in found.items():
                marks = ",".join("?" * len(written[0]))
                cursor.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", written)  # noqa: S608
            held.commit()
        times.append((time.perf_counter() - began) / _PATIENTS)
    held.close()
    other.dispose()
    return times


def _measured(taken: dict[int, _Taken], rounds: int) -> Measured:
    growth = taken[_MOST_SIZE].message / taken[_LEAST_SIZE].message
    compared = taken[_COMPARED]
    ratio = compared.bare / compared.message
    least, most = taken[_LEAST_SIZE].judged, taken[_MOST_SIZE].judged
    readiness, made = (max(most[name][n] / least[name][n] for name in least) for n in (0, 1))
    times = {f"{size} entries of the patient": found.message for size, found in taken.items()}
    times[f"the same rows bare, at {_COMPARED}"] = compared.bare
    rows = [(what, f"{took * 1000:.2f}", f"{1 / took:.0f}") for what, took in times.items()]
    rows += [
        (
            f"{what} of {name}, at 500 and 50000",
            f"{least[name][n] * 1000:.2f} and {most[name][n] * 1000:.2f}",
            f"{1 / least[name][n]:.0f} and {1 / most[name][n]:.0f}",
        )
        for n, what in enumerate(("readiness", "features"))
        for name in least
    ]
    return Measured(
        name="apply",
        title="ORU^R01 (30 OBX) committed to the record, raw and job rows included",
        head=("what", "ms a message", "messages/s"),
        rows=rows,
        verdicts=(
            Verdict(
                target=f"{_LEAST:g}x of the same rows upserted bare, at 20,000 entries",
                measured=f"{ratio:.2f}x",
                met=ratio >= _LEAST,
            ),
            Verdict(
                target=f"50,000 entries at most {_MOST_GROWTH:g}x of 500",
                measured=f"{growth:.2f}x",
                met=growth <= _MOST_GROWTH,
            ),
            *(
                Verdict(
                    target=f"{what} of any protocol at 50,000 entries at most {_MOST_GROWTH:g}x of 500",
                    measured=f"{grown:.2f}x",
                    met=grown <= _MOST_GROWTH,
                )
                for what, grown in (("readiness", readiness), ("features", made))
            ),
        ),
        notes=(
            f"Medians of {8 * rounds} turns of {_PATIENTS} patients, one message each; SQLite.",
            (
                "Every patient has an index CT, MR and operation, and a panel every third day: for "
                "six weeks before it, and earlier than 400 days, so that the windows hold the same."
            ),
            "Messages are judged for the pack liver_dx; protocols alone for all that are shipped.",
            (
                "One process moves, maps, applies and judges readiness; bare is INSERT OR REPLACE "
                "of the very rows, the same number in a commit, into a copy of the database."
            ),
        ),
    )
