"""Every message in `files` maps to the golden file beside it."""

from __future__ import annotations

import json

import pytest
from golden import FILES, expected, shown

from mappings import hl7v2
from mappings.record import Source
from mappings.site import Site

NAMES = sorted(path.stem for path in FILES.glob("*.hl7"))


@pytest.mark.parametrize("name", NAMES)
def test_a_message_maps_to_its_golden_file(name: str, site: Site, source: Source) -> None:
    """Entries, their paths, and findings are all as recorded."""
    raw = (FILES / f"{name}.hl7").read_bytes()
    found = json.loads(json.dumps(shown(hl7v2.entries(raw, site=site, source=source))))
    assert expected(name) == found
