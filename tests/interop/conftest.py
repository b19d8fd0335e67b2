"""A committing thread for the doors' tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from interop.ledger.engine import Ids
from interop.ledger.intake import GroupCommit


@pytest.fixture
def commit(ledger: Engine) -> Iterator[GroupCommit]:
    """A running committing thread on the ledger."""
    made = GroupCommit(ledger, Ids(1), lambda _new: None)
    made.start()
    yield made
    made.stop()
