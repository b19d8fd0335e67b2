"""Making a name in a folder durable: a synced file is lost with a folder that was not."""

from __future__ import annotations

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Sync a folder's entries; reliability.md F2.

    Raises:
        OSError: It cannot be synced.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
