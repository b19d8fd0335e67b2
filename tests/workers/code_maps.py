"""Code maps in a site's folder, for the tests of what reads them."""

from __future__ import annotations

import os
from pathlib import Path

import orjson
from sqlalchemy import text
from whole_line import Line

from interop.ledger import messages
from interop.ledger.engine import reading
from workers.codes import COLUMNS

HEAD = ",".join(COLUMNS) + "\n"


def written(folder: Path, name: str, *rows: str, head: str = HEAD) -> Path:
    """A code map in a site's folder, newer than any it replaces."""
    path = folder / "codes" / name
    path.parent.mkdir(exist_ok=True)
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text(head + "".join(rows), "utf-8")
    os.utime(path, ns=(before + 1_000_000_000, before + 1_000_000_000))
    return path


def queued(line: Line) -> list[str]:
    """Control ids of the messages whose replay waits."""
    query = text("SELECT refs FROM job WHERE stage = 'ingest' AND state = 'ready'")
    with reading(line.parts.engine) as connection:
        refs = [
            orjson.loads(r) if isinstance(r, str) else r
            for r in connection.execute(query).scalars()
        ]
        bodies = [messages.get(connection, ref["inbound"]).body for ref in refs]
    return sorted(body.split(b"|")[9].decode() for body in bodies)
