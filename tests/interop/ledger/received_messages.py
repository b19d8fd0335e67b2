"""Messages as a door takes them, for the tests of the ledger's front."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from interop.ledger.received import Received

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


def received(number: int = 1, **changes: Any) -> Received:
    """A message of its own control id and bytes."""
    parts: dict[str, Any] = {
        "door": "mllp", "interface": "his", "received_at": NOW, "kind": "ADT^A04",
        "lane": f"H|{number}", "digest": f"d{number}", "size": 3, "control_key": f"c{number}",
        "body": b"raw", "reply": b"AA %d" % number, "code": "AA",
    }  # fmt: skip
    return Received(**(parts | changes))
