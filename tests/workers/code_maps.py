"""Code maps in a site's folder, for the tests of what reads them."""

from __future__ import annotations

import os
from pathlib import Path

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
