"""One hospital as a sender, and a source, for every mapping test."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mappings.record import Code, Source
from mappings.site import Site

MRN = "https://hospital.example/ns/mrn"
RECEIVED = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture
def site() -> Site:
    """A hospital in Shanghai that names its authorities three ways."""
    return Site(
        name="hospital",
        authorities={
            "HOSP": MRN,
            "urn:oid:1.2.3.4": MRN,
            MRN: MRN,
            "CHINAID": "https://china.example/ns/id",
            "LAB": "https://hospital.example/ns/lab",
            "https://hospital.example/ns/lab": "https://hospital.example/ns/lab",
        },
        default_authority=MRN,
        timezone="Asia/Shanghai",
        unit_aliases={"万/ml": "10*4/mL"},
        code_maps={("urn:oncord:code:L", "AFP"): Code("http://loinc.org", "1834-1")},
    )


@pytest.fixture
def source() -> Source:
    """A live message received at noon UTC."""
    return Source("lab", 1, RECEIVED)
