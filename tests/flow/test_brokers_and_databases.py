"""The whole line as real processes, over each broker and each database."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from site_processes import Site, recent, standing

from inference.training import liver
from workers.demo import hospital
from workers.demo.hospital import AFP, Chart

COMPOSE = Path(__file__).parent.parent.parent / "compose.yaml"


@pytest.fixture(scope="module")
def chart(synthetic: liver.SyntheticPatient) -> Chart:
    """A patient of today."""
    return hospital.chart(synthetic, t0=recent())


def _urls(request: pytest.FixtureRequest, tmp_path: Path, broker: str, database: str) -> Any:
    broker_url = (
        f"sqla+sqlite:///{tmp_path}/broker.db"
        if broker == "sqla"
        else request.getfixturevalue(broker)
    )
    database_url = (
        request.getfixturevalue("postgresql_database")()
        if database == "postgresql"
        else request.getfixturevalue("sqlite_url")
    )
    return {"broker_url": broker_url, "database_url": database_url}


def play(site: Site, who: Chart) -> None:
    """Patient in, result in the EHR, correction, result amended."""
    site.admit(who)
    site.until(lambda: site.status(who) == "preliminary")
    correction = hospital.oru_labs(
        who, "C1", datetime.now(UTC), loincs=[AFP], filler="L1", status="C",
        values={AFP: Decimal("2400.0")},
    )  # fmt: skip
    assert b"|AA|" in site.send(correction)
    site.until(lambda: site.status(who) == "corrected")
    assert 1 == len(site.reports(who))


def secrets_of(who: Chart) -> list[bytes]:
    """What must stand in no log and no broker."""
    family, given, roman = who.name
    texts = [who.number, family + given, roman, who.birth_date, who.birth_date.replace("-", ""),
             "2400.0", who.study_uid, who.synthetic.findings[:12]]  # fmt: skip
    return [t.encode() for t in texts]


@pytest.mark.parametrize(
    ("broker", "database"),
    [
        ("sqla", "sqlite"),
        pytest.param("redis", "sqlite", marks=pytest.mark.peer("redis")),
        pytest.param(
            "sqla", "postgresql", marks=pytest.mark.peer("postgresql"),
        ),
    ],
)  # fmt: skip
def test_the_line_holds_as_processes(
    request: pytest.FixtureRequest, tmp_path: Path, chart: Chart, broker: str, database: str
):
    """And neither logs nor broker know anything of the patient (I7)."""
    with standing(tmp_path, **_urls(request, tmp_path, broker, database)) as site:
        play(site, chart)
    seen = [p for p in tmp_path.iterdir() if p.suffix == ".log" or p.name.startswith("broker.db")]
    assert len(seen) >= 3
    for path in seen:
        content = path.read_bytes()
        found = [s for s in secrets_of(chart) if s in content]
        assert not found, path.name


@pytest.mark.peer("postgresql")
@pytest.mark.peer("rabbitmq")
def test_the_line_holds_with_the_settings_of_compose(
    postgresql_database: Any, rabbitmq: str, tmp_path: Path, chart: Chart
):
    """PostgreSQL and RabbitMQ as plain processes, with the very settings of compose.yaml."""
    environment = settings_of_compose()
    urls = {"database_url": postgresql_database(), "broker_url": rabbitmq}
    for name, url in urls.items():
        written = environment.pop(f"ONCORD_{name.upper()}")
        assert written.partition(":")[0] == url.partition(":")[0]
    environment.pop("ONCORD_SITE_FILE")
    with standing(tmp_path, environment=environment, **urls) as site:
        play(site, chart)


def settings_of_compose() -> dict[str, str]:
    """Environment that every process shares in compose.yaml, its variables filled in."""
    block = COMPOSE.read_text("utf-8").partition("environment: &settings\n")[2]
    found: dict[str, str] = {}
    for line in block.splitlines():
        setting = re.fullmatch(r" {4}(ONCORD_\w+): (.+)", line)
        if setting is None:
            break
        value = setting[2].strip('"')
        found[setting[1]] = "compose-secret" if value.startswith("${") else value
    assert {"ONCORD_DATABASE_URL", "ONCORD_BROKER_URL", "ONCORD_SITE_FILE"} <= set(found)
    return found
