"""ORU^R01 from the journal's record to the patient record, beside the same rows written bare."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from sqlalchemy import Engine, text

from interop.ledger import entries as record_rows
from interop.ledger.engine import open_ledger, writing
from interop.ledger.mover import Tables
from interop.ledger.received import Received, Record
from mappings.hl7v2 import entries as mapped
from mappings.hl7v2.scan import dedup_digest, lane, scan
from mappings.record import Source
from tests.bench import messages
from tests.bench.table import Measured, Verdict
from workers.app import make
from workers.demo.stage import SITE
from workers.doorbell import Rings
from workers.parts import Parts, build
from workers.settings import Settings
from workers.worker import Worker

_PATIENTS, _BATCH, _ENTRIES_A_MESSAGE = 8, 8, 30
_TABLES = ("inbound", "job", "entry", "readiness")
_COMPARED = 20_000
_LEAST, _MOST_GROWTH = 0.5, 1.5


@dataclass(slots=True)
class _Line:
    """One ledger and one ingest worker in this process."""

    parts: Parts
    worker: Worker
    number: int = 0

    def message(self, patient: int) -> Received:
        """The next message of a patient, as the MLLP door takes it."""
        self.number += 1
        sent = messages.feed("A").message(self.number * messages.PATIENTS + patient)
        header = scan(sent)
        key = f"{self.number:032d}"
        return Received(
            door="mllp", interface="his", received_at=datetime.now(UTC), kind=header.message_type,
            lane=lane(header.patient_ids, header.delimiters), size=len(sent), control_key=key,
            dedup=f"{key}/{dedup_digest(sent).hex()}", body=sent, reply=b"AA", code="AA",
        )  # fmt: skip

    def fill(self, patient: int, count: int) -> None:
        """Give a patient so many entries, past the stages."""
        site, ids = self.parts.site.sender("his"), self.parts.ids
        with writing(self.parts.engine) as connection:
            for _ in range(count // _ENTRIES_A_MESSAGE):
                taken = self.message(patient)
                assert taken.body is not None
                source = Source("his", self.parts.id(), taken.received_at)
                made = mapped(taken.body, site=site, source=source).entries
                record_rows.append(connection, made, ids, int(time.time() * 1000))

    def apply(self, patients: list[int]) -> float:
        """Seconds to move and apply one message of each."""
        taken = [Record(self.parts.id(), self.message(patient)) for patient in patients]
        tables = Tables(self.parts.engine)
        began = time.perf_counter()
        tables.store(taken)
        while self.worker.drain("ingest"):
            pass
        took = time.perf_counter() - began
        tables.close()
        return took


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


def run(console: Console, *, rounds: int, seconds: float) -> Measured:
    """The same messages at several sizes of the patient, and their rows bare."""
    per_message: dict[int, float] = {}
    ratio = 0.0
    for size in (500, _COMPARED, 50_000):
        with (
            tempfile.TemporaryDirectory(prefix="oncord-bench-") as name,
            _line(Path(name) / "ours") as line,
        ):
            for patient in range(_PATIENTS):
                line.apply([patient])
                line.fill(patient, size)
            ours = [line.apply(list(range(_PATIENTS))) / _PATIENTS for _ in range(4 * rounds)]
            per_message[size] = statistics.median(ours)
            console.print(
                f"{size} entries: {per_message[size] * 1000:.2f} ms a message",
                style="dim",
                highlight=False,
            )
            if size == _COMPARED:
                bare = statistics.median(_bare(line.parts.engine, Path(name), rounds))
                ratio = bare / per_message[size]
                per_message[-size] = bare
    return _measured(per_message, ratio, rounds)


def _bare(engine: Engine, home: Path, rounds: int) -> list[float]:
    """Seconds a message to upsert the rows that the last messages left, as many per commit."""
    found: dict[str, list[tuple[object, ...]]] = {}
    with engine.connect() as connection:
        for table in _TABLES:
            limit = _ENTRIES_A_MESSAGE * _PATIENTS if table == "entry" else _PATIENTS
            query = text(f"SELECT * FROM {table} ORDER BY rowid DESC LIMIT {limit}")  # noqa: S608
            found[table] = [tuple(row) for row in connection.execute(query)]
    path = home / "bare.db"
    raw = engine.raw_connection()
    raw.cursor().execute("VACUUM INTO ?", (str(path),))
    raw.close()
    other = open_ledger(f"sqlite:///{path}")
    times = []
    held = other.raw_connection()
    cursor = held.cursor()
    for _ in range(4 * rounds):
        began = time.perf_counter()
        cursor.execute("BEGIN IMMEDIATE")
        for table, rows in found.items():
            marks = ",".join("?" * len(rows[0]))
            cursor.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", rows)  # noqa: S608
        held.commit()
        times.append((time.perf_counter() - began) / _PATIENTS)
    held.close()
    other.dispose()
    return times


def _measured(per_message: dict[int, float], ratio: float, rounds: int) -> Measured:
    growth = per_message[50_000] / per_message[500]
    rows = [
        (
            f"{size} entries of the patient" if size > 0 else f"the same rows bare, at {-size}",
            f"{took * 1000:.2f}",
            f"{1 / took:.0f}",
        )
        for size, took in per_message.items()
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
        ),
        notes=(
            f"Medians of {4 * rounds} turns of {_PATIENTS} patients, one message each; SQLite.",
            (
                "One process moves, maps, applies and judges readiness; bare is INSERT OR REPLACE "
                "of the very rows, the same number in a commit, into a copy of the database."
            ),
        ),
    )
