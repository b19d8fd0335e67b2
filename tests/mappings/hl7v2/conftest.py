"""How the tests of this folder map a message."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from feeds import msh

from mappings import hl7v2
from mappings.conversion import Conversion
from mappings.record import PatientRecord, Source
from mappings.site import Site

Read = Callable[..., Conversion]


@pytest.fixture
def read(site: Site, source: Source) -> Read:
    """Map segments of one event; `f18="..."` and the like are fields of MSH."""

    def mapped(event: str, *segments: str, **header: str) -> Conversion:
        raw = "\r".join([msh(event, **header), *segments, ""]).encode()
        return hl7v2.entries(raw, site=site, source=source)

    return mapped


@pytest.fixture
def folded() -> Callable[..., PatientRecord]:
    """The record of several messages, each a message of its own to the ledger."""

    def record(*found: Conversion) -> PatientRecord:
        entries = []
        for number, conversion in enumerate(found, 1):
            for entry in conversion.entries:
                source = replace(entry.source, message=number)
                entries.append(replace(entry, source=source, seq=len(entries) + 1))
        return PatientRecord.of(entries, as_of=datetime(2027, 1, 1, tzinfo=UTC))

    return record
