"""Code tables as data, one CSV each with a `source` line, read once.

Source of the HL7 v2 rows: HL7/v2-to-fhir table maps (Apache-2.0), with our own rows for codes they
leave open (marked `ours`).
"""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files


@cache
def rows(name: str) -> tuple[dict[str, str], ...]:
    """The rows of `<name>.csv` by column; lines that open with # are notes."""
    text = files(__package__).joinpath(f"{name}.csv").read_text("utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return tuple(csv.DictReader(lines))


@cache
def table(name: str, key: str = "code", value: str = "to") -> dict[str, str]:
    """Two columns of `<name>.csv` as a mapping; do not change it."""
    return {row[key]: row[value] for row in rows(name)}
