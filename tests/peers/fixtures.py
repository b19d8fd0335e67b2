"""Fixtures of the peers: one instance a session, started by the first test that asks."""

from __future__ import annotations

import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from peers import servers
from sqlalchemy import Engine, create_engine, text

from interop.ledger.engine import open_ledger
from interop.migrations import upgrade


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[servers.Postgresql]:
    """A private PostgreSQL."""
    with servers.postgresql() as made:
        yield made


@pytest.fixture(scope="session")
def postgresql(postgresql_server: servers.Postgresql) -> str:
    """Its URL, without a database."""
    return postgresql_server.url


@pytest.fixture(scope="session")
def postgresql_pid(postgresql_server: servers.Postgresql) -> int:
    """Its postmaster."""
    return postgresql_server.pid


@pytest.fixture(scope="session")
def redis() -> Iterator[str]:
    """URL of a private Redis."""
    with servers.redis() as url:
        yield url


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[str]:
    """URL of a private RabbitMQ."""
    with servers.rabbitmq() as url:
        yield url


@pytest.fixture(scope="session")
def orthanc() -> Iterator[servers.Orthanc]:
    """A private Orthanc with DICOMweb."""
    with servers.orthanc() as made:
        yield made


@pytest.fixture(scope="session")
def fhir_peer_server() -> Iterator[servers.FhirPeer]:
    """The FHIR server on Node."""
    with servers.fhir_peer() as made:
        yield made


@pytest.fixture
def fhir_peer(fhir_peer_server: servers.FhirPeer) -> servers.FhirPeer:
    """The FHIR server on Node, empty."""
    fhir_peer_server.reset()
    return fhir_peer_server


@pytest.fixture(scope="session")
def postgresql_database(postgresql: str) -> Iterator[Callable[[], str]]:
    """Makes a migrated database and gives its URL."""
    admin = create_engine(f"{postgresql}/postgres", isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("CREATE DATABASE migrated"))
    template = open_ledger(f"{postgresql}/migrated")
    upgrade(template)
    template.dispose()

    def make() -> str:
        name = f"t{uuid.uuid4().hex}"
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE migrated"))
        return f"{postgresql}/{name}"

    yield make
    admin.dispose()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite ledger in one file."""
    path = tmp_path_factory.mktemp("template") / "ledger.db"
    engine = open_ledger(f"sqlite:///{path}")
    upgrade(engine)
    engine.dispose()
    raw = sqlite3.connect(path)
    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw.close()
    return path


DIALECTS = [
    "sqlite",
    pytest.param("postgresql", marks=pytest.mark.peer("postgresql")),
]


@pytest.fixture(params=DIALECTS)
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty migrated ledger, on each dialect in turn."""
    if request.param == "postgresql":
        made: str = request.getfixturevalue("postgresql_database")()
        return made
    shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "ledger.db")
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Engine]:
    """An empty ledger, on each dialect in turn."""
    engine = open_ledger(ledger_url)
    yield engine
    engine.dispose()


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """URL of an empty migrated SQLite ledger."""
    shutil.copy(sqlite_template, tmp_path / "ledger.db")
    return f"sqlite:///{tmp_path}/ledger.db"
