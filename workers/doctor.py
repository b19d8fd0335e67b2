"""What `oncord doctor` looks at: one finding per part, each a sentence."""

from __future__ import annotations

import shutil
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from kombu import Connection

from inference import conform
from inference.errors import PackRefused, SessionRefused
from inference.packs import Pack
from interop.ehr import FhirEhr, strategy_of
from interop.errors import InteropError, JournalHeld
from interop.ledger import jobs
from interop.ledger.engine import SQLITE_WITHOUT_RESET_RACE, open_ledger, reading
from interop.ledger.journal import Journal
from workers.parts import Parts, build
from workers.settings import BadSettings, Settings

_LEAST_FREE = 1024**3
_LEAST_FREE_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Finding:
    """One part, whether it is sound, and a sentence."""

    part: str
    ok: bool
    text: str


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at everything; a part that cannot be built does not hide the others."""
    yield _database(settings)
    yield _journal(settings)
    yield _broker(settings)
    yield _disk(settings)
    try:
        parts = build(settings)
    except (BadSettings, InteropError) as error:
        yield Finding("configuration", False, str(error))
        return
    yield Finding("configuration", True, f"site {parts.site.name}, data in {settings.data_dir}")
    try:
        yield from _packs(parts)
        yield _ehr(parts)
        yield from _work(parts)
    finally:
        parts.close()


def _database(settings: Settings) -> Finding:
    try:
        engine = open_ledger(settings.database_url)
        with reading(engine) as connection:
            connection.exec_driver_sql("SELECT 1")
    except InteropError as error:
        return Finding("database", False, str(error))
    if engine.dialect.name != "sqlite":
        return Finding("database", True, "PostgreSQL, commits are durable")
    text = f"SQLite {sqlite3.sqlite_version}, WAL and synchronous=FULL"
    if sqlite3.sqlite_version_info < SQLITE_WITHOUT_RESET_RACE:
        text += "; below 3.51.3: only the service checkpoints; use PostgreSQL in production"
    return Finding("database", True, text)


def _journal(settings: Settings) -> Finding:
    """What was acknowledged and is not in the tables; while the service runs it moves by itself."""
    try:
        with closing(Journal(settings.journal_dir)) as journal:
            waiting = journal.waiting_bytes
    except JournalHeld:
        return Finding("journal", True, "open by the service")
    except InteropError as error:
        return Finding("journal", False, str(error))
    if waiting:
        return Finding("journal", False, f"{waiting} bytes acknowledged wait for `oncord serve`")
    return Finding("journal", True, "empty")


def _broker(settings: Settings) -> Finding:
    kind = settings.broker_url.partition(":")[0]
    try:
        with Connection(settings.broker_url, connect_timeout=3) as connection:
            connection.ensure_connection(max_retries=1, timeout=3)
    except Exception as error:  # noqa: BLE001  kombu raises each transport's own errors
        return Finding("broker", False, f"{kind}: {type(error).__name__}")
    return Finding("broker", True, f"{kind} answers")


def _disk(settings: Settings) -> Finding:
    usage = shutil.disk_usage(settings.data_dir)
    ok = usage.free > max(_LEAST_FREE, usage.total * _LEAST_FREE_SHARE)
    return Finding(
        "disk", ok, f"{usage.free / 1024**3:.1f} GiB free of {usage.total / 1024**3:.0f}"
    )


def _packs(parts: Parts) -> Iterator[Finding]:
    for pack in parts.packs:
        kind = pack.manifest.training_data.kind
        text = (
            f"{pack.manifest.id} {pack.manifest.version}, {kind} training data, {pack.digest[:12]}"
        )
        try:
            failed = [c.example for c in conform.check(pack) if not c.passed]
        except (PackRefused, SessionRefused) as error:
            yield Finding("pack", False, f"{text}; {error}")
            continue
        if failed:
            text += f"; its own example {failed[0]} gives another figure"
        yield Finding("pack", not failed, text)
        yield from _unread(pack)
    for protocol in parts.protocols:
        if parts.pack(protocol.id) is None:
            text = f"{protocol.id} {protocol.version}: readiness only, no model is trained"
            yield Finding("pack", True, text)
    for text in parts.findings():
        yield Finding("pack", False, text)


def _unread(pack: Pack) -> Iterator[Finding]:
    """What becomes of a pack whose images nobody reads yet (ADR 15)."""
    m = pack.manifest
    unread = {}
    if m.slides:
        needed = any(slides.without == "no result" for slides in m.slides)
        unread["slides are not read out of studies by this version"] = needed
    if m.ct is not None and m.index.on != "study":
        needed = m.ct.without == "no result"
        unread["a CT is read where the index is a study, by this version"] = needed
    for why, needed in unread.items():
        becomes = "no patient gets a result" if needed else "every result is made without them"
        yield Finding("pack", not needed, f"{m.id}: {why}; {becomes}")


def _ehr(parts: Parts) -> Finding:
    if parts.carrier is None:
        return Finding("EHR", True, "none configured: results stay in the ledger")
    if not isinstance(parts.carrier, FhirEhr):
        return _receiver(parts)
    try:
        statement = parts.carrier.read("metadata")
    except InteropError as error:
        return Finding("EHR", False, str(error))
    if statement is None:
        return Finding("EHR", True, "answers, without /metadata: the site file decides")
    return Finding(
        "EHR", True, f"answers, FHIR {statement.get('fhirVersion')}, {strategy_of(statement)}"
    )


def _receiver(parts: Parts) -> Finding:
    target = parts.site.oru
    assert target is not None
    try:
        socket.create_connection((target.host, target.port), 3).close()
    except OSError as error:
        return Finding("EHR", False, f"ORU^R01 by MLLP: {type(error).__name__}")
    return Finding("EHR", True, f"ORU^R01 by MLLP, version {target.receiver.version}")


def _work(parts: Parts) -> Iterator[Finding]:
    try:
        counts = jobs.counts(parts.engine)
    except InteropError as error:
        yield Finding("work", False, f"{error}; was the schema migrated?")
        return
    parked = sum(n for (_stage, state), n in counts.items() if state == "parked")
    waiting = sum(n for (_stage, state), n in counts.items() if state in ("ready", "leased"))
    yield Finding("work", parked == 0, f"{waiting} jobs waiting, {parked} set aside")
