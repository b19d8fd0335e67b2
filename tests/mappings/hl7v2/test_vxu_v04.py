"""Vaccinations are history, and trigger nothing."""

from __future__ import annotations

from typing import Any

import pytest
from feeds import PID, obx, reasons, segment


def rxa(**fields: str) -> str:
    """A dose of hepatitis B vaccine."""
    given = {"f1": "0", "f2": "1", "f3": "20150601", "f5": "43^Hep B^CVX", "f20": "CP", "f21": "A"}
    return segment("RXA", **{**given, **fields})


def test_everything_of_a_vaccination_is_history(read: Any) -> None:
    """Site rule 3: entries of origin history never trigger; the patient's fields are live."""
    found = read("VXU^V04", f"{PID}||DOE^JO", "ORC|RE||VX1^EMR", rxa(), "RXR|IM", obx())
    assert {"patient": "live", "immunization": "history", "observation": "history"} == {
        e.kind: e.source.origin for e in found.entries
    }


def test_a_vaccination_is_known_by_its_number_or_by_vaccine_and_day(read: Any) -> None:
    """ORC-3, else RXA-5 with RXA-3."""
    numbered = read("VXU^V04", PID, "ORC|RE||VX1^EMR", rxa())
    plain = read("VXU^V04", PID, rxa())
    assert ["immunization/EMR|VX1", "immunization/43/@2015-06-01"] == [
        numbered.entries[0].key,
        plain.entries[0].key,
    ]


@pytest.mark.parametrize(
    ("completion", "action", "status"),
    [
        ("CP", "A", "final"),
        ("PA", "A", "final"),
        ("", "", "final"),
        ("RE", "A", "cancelled"),
        ("NA", "A", "cancelled"),
        ("CP", "D", "deleted"),
    ],
)
def test_only_a_dose_that_was_given_stands(
    read: Any, completion: str, action: str, status: str
) -> None:
    """RXA-20 and RXA-21."""
    found = read("VXU^V04", PID, rxa(f20=completion, f21=action))
    assert status == found.entries[0].status


def test_route_site_lot_and_dose_are_kept(read: Any) -> None:
    """RXR and the rest of RXA."""
    found = read("VXU^V04", PID, rxa(f6="20", f7="ug^^UCUM", f15="LOT88"), "RXR|IM^i^L|LA^l^L")
    details = found.entries[0].details
    assert ("20", "LOT88", "IM", "LA") == (
        details["dose"],
        details["lot"],
        details["route"][0]["code"],
        details["site"][0]["code"],
    )


def test_an_unknown_dose_is_no_dose(read: Any) -> None:
    """RXA-6 is 999 where nobody knows: kept as absent, with its reason."""
    found = read("VXU^V04", PID, rxa(f6="999"))
    assert "dose" not in found.entries[0].details
    assert 1 == len(reasons(found, "RXA[1]-6"))


def test_a_dose_of_nothing_is_reported(read: Any) -> None:
    """RXA-5 is empty."""
    assert 1 == len(reasons(read("VXU^V04", PID, rxa(f5="")), "RXA[1]-5"))
