"""Appointments: booked, moved, missed and cancelled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from feeds import PID, segment

from mappings import hl7v2
from mappings.record import Entry, Source
from mappings.site import Site
from mappings.tables import rows

FILES = Path(__file__).parent / "files"


def sch(**fields: str) -> str:
    """A SCH of an operation."""
    given = {"f1": "P300^HIS", "f2": "F300^OR", "f11": "^^^20261120083000+0800^20261120113000+0800"}
    return segment("SCH", **{**given, **fields})


def appointment(found: Any) -> Entry:
    """The one appointment."""
    (entry,) = (e for e in found.entries if e.kind == "appointment")
    return entry


@pytest.mark.parametrize(
    ("event", "status", "stands"),
    [
        *((f"S{n}", "booked", True) for n in (12, 13, 14, 18, 19, 20, 21, 22)),
        ("S15", "cancelled", False),
        ("S16", "cancelled", False),
        ("S17", "entered-in-error", False),
        ("S26", "noshow", True),
    ],
)
def test_the_status_of_an_appointment_is_that_of_the_event(
    read: Any, folded: Any, event: str, status: str, stands: bool
) -> None:
    """A cancelled one is no longer in the record."""
    found = read(f"SIU^{event}", sch(), PID)
    assert status == appointment(found).details["status"]
    assert stands == bool(folded(found).of_kind("appointment"))


@pytest.mark.parametrize(
    ("sent", "status"), [("Pending", "pending"), ("Complete", "fulfilled"), ("??", "booked")]
)
def test_the_filler_status_is_finer_than_the_event(read: Any, sent: str, status: str) -> None:
    """SCH-25, table 0278; but an event that ends it is not overruled."""
    assert status == appointment(read("SIU^S14", sch(f25=sent), PID)).details["status"]
    assert "cancelled" == appointment(read("SIU^S15", sch(f25=sent), PID)).details["status"]


def test_an_appointment_has_time_service_place_and_people(site: Site, source: Source) -> None:
    """SCH-11, AIS, AIL, AIP and the comments."""
    raw = (FILES / "siu_s12_surgery.hl7").read_bytes()
    found = appointment(hl7v2.entries(raw, site=site, source=source))
    assert ("2026-11-20T08:30:00+08:00", "2026-11-20T11:30:00+08:00") == (
        found.effective.isoformat(),
        found.details["end"],
    )
    assert ("50.2201", ["手术室^OR07"], ["2001^李^明"], ["备红细胞4U"]) == (
        found.code.code,
        found.details["locations"],
        found.details["personnel"],
        found.details["notes"],
    )


@pytest.mark.parametrize(
    "segments",
    [
        (sch(f11=""), PID, "TQ1|1||||||20261120083000+0800"),
        (sch(f11=""), PID, "RGS|1", "AIS|1||OP^x^L|20261120083000+0800"),
        (sch(f11=""), PID, "RGS|1", segment("AIL", f1="1", f3="OR7", f6="20261120083000+0800")),
    ],
)
def test_the_start_is_read_wherever_a_version_puts_it(read: Any, segments: tuple[str, ...]) -> None:
    """TQ1, or the first resource's start."""
    found = appointment(read("SIU^S12", *segments))
    assert "2026-11-20T08:30:00+08:00" == found.effective.isoformat()


def test_a_moved_appointment_is_the_same(read: Any, folded: Any) -> None:
    """S13 under the same numbers, whether the filler has given one yet or not."""
    first = read("SIU^S12", sch(f2=""), PID)
    moved = read("SIU^S13", sch(f11="^^^20261122083000+0800"), PID, f7="20261121000000+0800")
    (found,) = folded(first, moved).of_kind("appointment")
    assert "2026-11-22T08:30:00+08:00" == found.effective.isoformat()


def test_one_appointment_of_several_patients_is_each_one_s(read: Any) -> None:
    """SCH speaks of them all."""
    found = read("SIU^S12", sch(), PID, "PID|2||SYN-2^^^HOSP^MR")
    assert ["SYN-1", "SYN-2"] == [e.patient.value for e in found.entries if e.kind == "appointment"]


def test_the_statuses_of_the_table_are_fhir_s() -> None:
    """Appointment.status."""
    allowed = {"proposed", "pending", "booked", "arrived", "fulfilled", "cancelled", "noshow"}
    assert {row["to"] for row in rows("hl70278")} <= allowed | {"entered-in-error", "waitlist"}
