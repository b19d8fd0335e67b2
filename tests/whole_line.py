"""The whole line in one process: real doors on real sockets, a real EHR, stages drained by hand.

Nothing is replaced: only Celery's worker loop is missing, since a test drains when it wants to.
"""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from pydicom.dataset import Dataset

from inference.training import liver
from interop.ledger import entries as record_rows
from interop.ledger import jobs, messages, results
from interop.ledger.engine import reading
from interop.ledger.intake import GroupCommit
from mappings.record import Identifier
from workers.app import make
from workers.demo import ct, hospital
from workers.demo.ehr import SandboxEhr, sandbox
from workers.demo.hospital import MRN_SYSTEM, Chart
from workers.demo.senders import MllpSender
from workers.doorbell import Rings
from workers.parts import Parts, build
from workers.service import Ports, Service
from workers.settings import Settings
from workers.worker import Worker

PACKS = Path(__file__).parent.parent / "inference" / "packs"
T0 = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)

SITE = """
[site]
name = "test"
timezone = "Asia/Shanghai"
namespace = "https://oncord.example/ns"
organization = "Test hospital"
default_authority = "https://hospital.example/mrn"
applications = ["ONCORD"]

[authorities]
"https://hospital.example/mrn" = ["DEMOHOSP", "1.2.156.112536.1.2.1"]

[[mllp]]
name = "his"

[[mllp]]
name = "archive"
origin = "history"

[fhir]
name = "ehr-events"

[[stow]]
name = "pacs"
silence_s = 10

[[stow]]
name = "old-pacs"
path = "archive"
origin = "history"
silence_s = 10

[packs.liver_dx]
write_back = true
{pack}

[ehr]
base_url = "{ehr}"
timeout_s = 5
{strategy}

[ehr.patient_systems]
"https://hospital.example/mrn" = "https://hospital.example/mrn"
"""


@dataclass(slots=True)
class Clock:
    """A clock that stands until a test moves it."""

    moment: datetime = NOW

    def __call__(self) -> datetime:
        """Now."""
        return self.moment

    def forward(self, **span: float) -> None:
        """Move the hands."""
        self.moment += timedelta(**span)


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """An ASGI application under uvicorn in a thread; its base URL."""
    config = uvicorn.Config(app, port=0, log_config=None, access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.005)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(10)


@contextmanager
def looping() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop running in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@dataclass(slots=True)
class Line:
    """One site, from its doors to its EHR."""

    parts: Parts
    worker: Worker
    ports: Ports
    ehr: SandboxEhr
    clock: Clock
    http: str
    commit: GroupCommit
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(1, 10**6)))

    def send(self, message: bytes, interface: str = "his") -> bytes:
        """Send one HL7 message over a connection of its own; the answer, once the tables have it."""
        with MllpSender("127.0.0.1", self.ports.mllp[interface]) as sender:
            answer = sender.send(message)
        assert self.commit.settle()
        return answer

    def fhir(self, resource: Any, path: str = "/fhir", method: str = "POST") -> httpx.Response:
        """Push a resource at the FHIR door."""
        headers = {"content-type": "application/fhir+json"}
        answer = httpx.request(method, self.http + path, json=resource, headers=headers)
        assert self.commit.settle()
        return answer

    def stow(self, *parts: Dataset | bytes, path: str = "/dicomweb/studies") -> httpx.Response:
        """Push instances, or bytes that pretend to be some."""
        body = b"".join(
            b"--cut\r\nContent-Type: application/dicom\r\n\r\n"
            + (part if isinstance(part, bytes) else ct.part10(part))
            + b"\r\n"
            for part in parts
        )
        kind = 'multipart/related; type="application/dicom"; boundary=cut'
        answer = httpx.post(
            self.http + path, content=body + b"--cut--\r\n", headers={"content-type": kind},
            timeout=60,
        )  # fmt: skip
        assert self.commit.settle()
        return answer

    def control_id(self) -> str:
        """A fresh MSH-10."""
        return f"T{next(self.numbers)}"

    def settle(self, stages: tuple[str, ...] = ("ingest", "answer", "assess", "deliver")) -> int:
        """Drain the stages until none has work that is due; how many jobs were worked."""
        total = 0
        while worked := sum(self.worker.drain(stage) for stage in stages):
            total += worked
        return total

    def register(self, who: Chart) -> None:
        """The patient is known in the EHR, and by ADT here."""
        patient = hospital.fhir_patient(who)
        self.ehr.store.update("Patient", patient["id"], patient)
        assert b"|AA|" in self.send(hospital.adt_a04(who, self.control_id(), self.clock()))

    def evidence(self, who: Chart) -> None:
        """Labs, report, announcement of the study, and the study."""
        self.send(self.labs(who))
        self.send(hospital.oru_report(who, self.control_id(), self.clock()))
        assert self.fhir(hospital.fhir_history(who, ct.counts(who))).status_code == 200
        assert self.stow(*ct.instances(who)).status_code == 200

    def labs(self, who: Chart, **changes: Any) -> bytes:
        """An ORU of the patient's labs."""
        parts: dict[str, Any] = {"loincs": list(who.synthetic.labs), "filler": "L1"}
        return hospital.oru_labs(who, self.control_id(), self.clock(), **(parts | changes))

    def person(self, who: Chart) -> str:
        """The ledger's number of the person."""
        with reading(self.parts.engine) as connection:
            found = record_rows.person_of(connection, [Identifier(who.number, MRN_SYSTEM)])
        assert found is not None
        return found

    def deliveries(self, who: Chart) -> list[Any]:
        """The patient's rows in the outbox."""
        with reading(self.parts.engine) as connection:
            return results.deliveries_of(connection, self.person(who))

    def current(self, who: Chart) -> list[Any]:
        """Predictions that stand."""
        with reading(self.parts.engine) as connection:
            return results.current(connection, self.person(who))

    def entries(self, who: Chart) -> list[Any]:
        """Every entry of the patient."""
        with reading(self.parts.engine) as connection:
            return record_rows.of_person(connection, self.person(who))

    def jobs(self) -> dict[tuple[str, str], int]:
        """Jobs by (stage, state)."""
        return jobs.counts(self.parts.engine)

    def inbound(self, *states: str) -> list[dict[str, Any]]:
        """Messages in these states."""
        return messages.listing(self.parts.engine, states=states)

    def in_ehr(self, kind: str) -> list[dict[str, Any]]:
        """Newest versions of a type in the EHR."""
        return [held[-1] for held in self.ehr.store.versions.get(kind, {}).values()]


Opened = Callable[..., Line]


@contextmanager
def opened(
    home: Path, database_url: str, *, pack: str = "", strategy: str = "", ehr_url: str = "",
    packs: Path = PACKS, site: str = SITE,
) -> Iterator[Line]:  # fmt: skip
    """A line from its doors to a sandbox EHR, closed at the end."""
    clock = Clock()
    ehr = sandbox(clock)
    with serving(ehr.app()) as base, looping() as loop:
        site_file = home / "site.toml"
        site_file.write_text(
            site.format(ehr=ehr_url or f"{base}/fhir", pack=pack, strategy=strategy)
        )
        settings = Settings(
            data_dir=home, journal_dir=home / "journal", database_url=database_url, broker_url="memory://",
            site_file=site_file, pack_folders=(packs,), http_port=0, mllp_port=0,
            secret=b"test", writer=1,
        )  # fmt: skip
        parts = build(settings, now=clock)
        # Workers are processes of their own: another writer number, another connection pool.
        other = build(replace(settings, writer=2), now=clock)
        service = Service(parts)
        worker = Worker(other, Rings(make("memory://")))
        ports = asyncio.run_coroutine_threadsafe(service.start(), loop).result(20)
        try:
            http = f"http://127.0.0.1:{ports.http}"
            yield Line(other, worker, ports, ehr, clock, http, service.commit)
        finally:
            asyncio.run_coroutine_threadsafe(service.stop(), loop).result(20)
            other.engine.dispose()
            if other.carrier is not None:
                other.carrier._client.close()


@pytest.fixture
def line(tmp_path: Path, sqlite_url: str) -> Iterator[Line]:
    """The line on SQLite."""
    with opened(tmp_path, sqlite_url) as made:
        yield made


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer("postgresql"))])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Line]:
    """The line on each database."""
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_database")()
    else:
        url = request.getfixturevalue("sqlite_url")
    with opened(tmp_path, url) as made:
        yield made


@pytest.fixture(scope="session")
def synthetic() -> liver.SyntheticPatient:
    """A synthetic patient with all phases and labs, report in Chinese."""
    return liver.patient(77, 3)


@pytest.fixture(scope="session")
def who(synthetic: liver.SyntheticPatient) -> Chart:
    """The patient as the hospital knows them."""
    return hospital.chart(synthetic, t0=T0)


@pytest.fixture(scope="session")
def other_patient() -> Chart:
    """Another patient."""
    return hospital.chart(liver.patient(77, 5), t0=T0)


@pytest.fixture
def empty_ledger_file(sqlite_template: Path, tmp_path: Path) -> Path:
    """A migrated SQLite file to copy."""
    return Path(shutil.copy(sqlite_template, tmp_path / "copy.db"))
