"""Which patient a segment belongs to, wherever it stands."""

from __future__ import annotations

from typing import Any

import pytest
from feeds import PID, obr, obx, reasons

from mappings.errors import NoPatientIdentifier


def values(found: Any) -> list[tuple[str, str]]:
    """Patient and number of each observation."""
    return [(e.patient.value, e.value.text) for e in found.entries if e.kind == "observation"]


def test_segments_before_the_only_pid_are_that_patient_s(read: Any) -> None:
    """Out of place, and yet nobody else's."""
    found = read("ORU^R01", obr(), obx(value="7"), PID)
    assert [("SYN-1", "7")] == values(found)


def test_segments_before_the_first_of_several_pids_park_the_message(read: Any) -> None:
    """They could be anybody's."""
    with pytest.raises(NoPatientIdentifier):
        read("ORU^R01", obr(), obx(), PID, "PID|2||SYN-2^^^HOSP^MR")


def test_each_patient_gets_what_stands_below_them(read: Any) -> None:
    """Nothing of A in B, even in one message."""
    second = "PID|2||SYN-2^^^HOSP^MR"
    found = read("ORU^R01", PID, obr(), obx(value="1"), second, obr(f3="F2"), obx(value="2"))
    assert [("SYN-1", "1"), ("SYN-2", "2")] == values(found)


def test_a_second_pid_without_a_known_authority_parks_the_whole_message(read: Any) -> None:
    """Half of it is never applied."""
    with pytest.raises(NoPatientIdentifier):
        read("ORU^R01", PID, obr(), obx(), "PID|2||9^^^ELSEWHERE", obr(f3="F2"), obx())


def test_a_patient_told_twice_is_one_patient(read: Any) -> None:
    """The last word counts for each field, and results of both parts stand."""
    again = f"{PID}||DOE^JANE"
    found = read(
        "ORU^R01", f"{PID}||DOE^J", obr(), obx(value="1"), again, obr(f3="F2"), obx(value="2")
    )
    names = [e.value.text for e in found.entries if e.key == "patient/name"]
    assert (["DOE JANE"], 2) == (names, len(values(found)))


@pytest.mark.parametrize(
    "event", ["ORU^R01", "ORM^O01", "ADT^A01", "MDM^T02", "SIU^S12", "VXU^V04"]
)
def test_a_message_without_pid_is_parked(read: Any, event: str) -> None:
    """Site rule 7: nobody to file it under."""
    with pytest.raises(NoPatientIdentifier):
        read(event, obr(), obx())


def test_evn_2_dates_a_message_without_msh_7(read: Any) -> None:
    """MSH-7 is required, and missing all the same."""
    found = read("ADT^A01", "EVN||20261120080000+0800", PID, obx(), f7="")
    assert ["2026-11-20T08:00:00+08:00"] == [e.source_time.isoformat() for e in found.entries]


def test_a_time_of_the_message_that_is_none_is_reported(read: Any) -> None:
    """MSH-7."""
    assert 1 == len(reasons(read("ORU^R01", PID, obr(), obx(), f7="20010331605"), "MSH[1]-7"))
