"""Our own processes for a bench: the demo's stage, the service on the server's core."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from interop.ledger.engine import open_ledger, reading
from tests.bench import machine
from workers.demo.stage import SITE, Stage

PRODUCTION_NICE = 5
_PAUSE_S = 0.5


@contextmanager
def stage(
    home: Path,
    *,
    workers: bool = True,
    ehr_url: str = "http://127.0.0.1:9/fhir",
    environment: Mapping[str, str] | None = None,
    mllp: str = "",
    more: tuple[str, str] = ("", ""),
) -> Iterator[Stage]:
    """`oncord serve` on the server's core, and two `oncord worker`s on any core, as nice as usual.

    `mllp` are further keys of the MLLP interface; `more` replaces a text of the site file.
    """
    made = Stage(home, ehr_url, environment or {}, nice=PRODUCTION_NICE)
    home.mkdir(parents=True, exist_ok=True)
    site = SITE.read_text("utf-8").replace("http://127.0.0.1:8090/fhir", ehr_url)
    site = site.replace("[[mllp]]\n", f"[[mllp]]\n{mllp}\n")
    site = site.replace(*more) if more[0] else site
    (home / "site.toml").write_text(site, "utf-8")
    try:
        with machine.on(machine.SERVER):
            made.start_service()
        for queue in ("ledger", "gpu") if workers else ():
            made.start_worker(queue)
        yield made
    finally:
        made.__exit__(None, None, None)


@contextmanager
def ledger(url: str) -> Iterator[Engine]:
    """The ledger, to count what is in it."""
    engine = open_ledger(url)
    try:
        yield engine
    finally:
        engine.dispose()


def one(engine: Engine, query: str, **values: Any) -> Any:
    """The first value of a query."""
    with reading(engine) as connection:
        return connection.execute(text(query), values).scalar()


def messages(engine: Engine) -> int:
    """Stored HL7 messages."""
    return int(one(engine, "SELECT count(*) FROM inbound WHERE door = 'mllp'"))


def settle(engine: Engine) -> None:
    """Wait until the journal is moved: until the tables have no more messages than a while ago.

    What comes then is a burst of its own, as after any pause of the senders.
    """
    before = -1
    while before != (before := messages(engine)):
        time.sleep(_PAUSE_S)


def open_jobs(engine: Engine) -> int:
    """Jobs that somebody should be working on."""
    return int(one(engine, "SELECT count(*) FROM job WHERE state IN ('ready', 'leased')"))


def finished(engine: Engine) -> int:
    """Jobs of HL7 messages that are done."""
    query = "SELECT count(*) FROM job WHERE state = 'done' AND key LIKE 'ingest/%'"
    return int(one(engine, query))


def wait(
    what: str, settled: Callable[[], Any], patience_s: float = 60.0, every_s: float = 0.1
) -> None:
    """Wait for something.

    Raises:
        TimeoutError: It did not happen.
    """
    until = time.monotonic() + patience_s
    while not settled():
        if time.monotonic() > until:
            raise TimeoutError(what)
        time.sleep(every_s)
