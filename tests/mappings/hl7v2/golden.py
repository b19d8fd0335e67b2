"""What a golden file holds, and how to write one anew: call `write`, then read the difference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mappings.conversion import Conversion
from mappings.record_json import to_json

FILES = Path(__file__).parent / "files"


def shown(conversion: Conversion) -> dict[str, Any]:
    """A conversion as JSON, everything but its source."""
    return {
        "patient": str(conversion.patient),
        "identifiers": [str(i) for i in conversion.identifiers],
        "entries": [
            {
                "kind": e.kind,
                "key": e.key,
                "path": e.path,
                "status": e.status,
                "code": f"{e.code.system}|{e.code.code}" if e.code else None,
                "twin": e.twin,
                **to_json(e),
            }
            for e in conversion.entries
        ],
        "findings": [[f.severity, f.path, f.reason] for f in conversion.findings],
    }


def expected(name: str) -> Any:
    """The golden file beside a message."""
    return json.loads((FILES / f"{name}.json").read_text("utf-8"))


def write(name: str, conversion: Conversion) -> None:
    """Write a golden file anew."""
    text = json.dumps(shown(conversion), ensure_ascii=False, indent=1)
    (FILES / f"{name}.json").write_text(text + "\n", "utf-8")
