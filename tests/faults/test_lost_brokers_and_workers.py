"""A broker that is stopped or wiped and workers that are killed cost seconds, and nothing else."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
from peers import servers
from peers.processes import free_port
from site_processes import recent, standing, start_workers

from inference.training import liver
from workers.demo import hospital
from workers.demo.hospital import Chart


@pytest.fixture(scope="module")
def chart(synthetic: liver.SyntheticPatient) -> Chart:
    """A patient of today."""
    return hospital.chart(synthetic, t0=recent())


@pytest.mark.peer("redis")
def test_a_broker_that_goes_away_and_comes_back_empty_loses_nothing(
    tmp_path: Path, sqlite_url: str, chart: Chart
):
    """Intake goes on without it; the sweeper rings when it is back; one result."""
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    with ExitStack() as broker:
        broker.enter_context(servers.redis(port))
        with standing(tmp_path, database_url=sqlite_url, broker_url=url) as site:
            broker.close()
            site.admit(chart)
            assert [] == site.reports(chart)
            broker.enter_context(servers.redis(port))
            site.until(lambda: site.status(chart) == "preliminary", 90)
            assert 1 == len(site.reports(chart))


def test_killed_workers_leave_nothing_undone(tmp_path: Path, sqlite_url: str, chart: Chart):
    """SIGKILL while work is under way; others finish, and the EHR holds one set."""
    broker_url = f"sqla+sqlite:///{tmp_path}/broker.db"
    with (
        standing(tmp_path, database_url=sqlite_url, broker_url=broker_url) as site,
        ExitStack() as held,
    ):
        site.admit(chart)
        site.until(lambda: _leased(tmp_path) or bool(site.reports(chart)), 30)
        site.kill_workers()
        _expire_leases(tmp_path)
        start_workers(site, held)
        site.until(lambda: site.status(chart) == "preliminary", 90)
        assert 1 == len(site.reports(chart))
        assert 1 == len(site.ehr.store.versions["RiskAssessment"])


def _sql(tmp_path: Path, statement: str) -> int:
    import sqlite3

    held = sqlite3.connect(tmp_path / "ledger.db", timeout=30)
    try:
        with held:
            rows = held.execute(statement)
            return int(rows.fetchone()[0]) if statement.startswith("SELECT") else rows.rowcount
    finally:
        held.close()


def _leased(tmp_path: Path) -> bool:
    return _sql(tmp_path, "SELECT count(*) FROM job WHERE state = 'leased'") > 0


def _expire_leases(tmp_path: Path) -> None:
    """A lease lasts 45 seconds; the test does not."""
    _sql(
        tmp_path, "UPDATE job SET lease_until = '2020-01-01 00:00:00.000000' WHERE state = 'leased'"
    )


@pytest.mark.peer("curl")
def test_the_service_stays_up_after_every_bad_input(tmp_path: Path, sqlite_url: str, chart: Chart):
    """Garbage at each door, and then a patient goes through."""
    broker_url = f"sqla+sqlite:///{tmp_path}/broker.db"
    with standing(tmp_path, database_url=sqlite_url, broker_url=broker_url) as site:
        for content in (b"", b"\x00" * 1000, b"GET / HTTP/1.1\r\n\r\n", b"\x0bMSH\x1c\r"):
            _throw(site.mllp, content)
            _throw(int(site.http.rpartition(":")[2]), content)
        for path in ("/fhir", "/fhir/Patient", "/dicomweb/studies", "/readiness", "/nowhere"):
            assert site.post(path, content=b"\xff\x00garbage").status_code in range(400, 500)
        done = subprocess.run(
            ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"{site.http}/fhir"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert "401" == done.stdout
        site.admit(chart)
        site.until(lambda: site.status(chart) == "preliminary")


def _throw(port: int, content: bytes) -> None:
    import socket

    with socket.create_connection(("127.0.0.1", port), 5) as held:
        held.sendall(content)
