"""A committing thread for the doors' tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from doors import door, open_door
from sqlalchemy import Engine

from interop.ledger.engine import Ids
from interop.ledger.intake import GroupCommit

__all__ = ["commit", "door", "open_door"]


@pytest.fixture
def commit(ledger: Engine, tmp_path: Path) -> Iterator[GroupCommit]:
    """A running committing thread on the ledger."""
    made = GroupCommit(ledger, Ids(1), tmp_path / "journal", lambda _new: None)
    made.start()
    yield made
    made.stop()
