"""Visits: status by event, what an update must not touch, what is taken back."""

from __future__ import annotations

from typing import Any

import pytest
from feeds import PID, reasons, segment


def pv1(**fields: str) -> str:
    """A PV1 of visit V1."""
    return segment(
        "PV1", f1="1", **{"f2": "I", "f19": "V1^^^HOSP^VN", "f44": "20261117221500", **fields}
    )


def evn(at: str) -> str:
    """An EVN of a moment."""
    return f"EVN||{at}+0800"


def states(record: Any) -> list[str]:
    """The status of each visit."""
    return [e.details["status"] for e in record.of_kind("encounter") if "status" in e.details]


def location(record: Any) -> list[str]:
    """Where the patient lies."""
    return [e.value.text for e in record.of_kind("encounter") if e.key.endswith("/location")]


@pytest.mark.parametrize(
    ("event", "status"),
    [
        ("A01", "in-progress"),
        ("A02", "in-progress"),
        ("A03", "finished"),
        ("A04", "planned"),
        ("A05", "planned"),
        ("A06", "in-progress"),
        ("A07", "in-progress"),
        ("A12", "in-progress"),
        ("A13", "in-progress"),
        ("A14", "planned"),
        ("A21", "onleave"),
        ("A22", "in-progress"),
    ],
)
def test_the_status_of_a_visit_is_that_of_the_event(
    read: Any, folded: Any, event: str, status: str
) -> None:
    """HL7/v2-to-fhir's event map."""
    assert [status] == states(folded(read(f"ADT^{event}", evn("20261118"), PID, pv1())))


@pytest.mark.parametrize("event", ["A11", "A23", "A27", "A38"])
def test_a_cancelled_visit_is_gone_with_all_that_was_told_of_it(
    read: Any, folded: Any, event: str
) -> None:
    """Its status, its snapshot and its location."""
    first = read("ADT^A01", evn("20261117221500"), PID, pv1(f3="A^1"))
    update = read("ADT^A08", evn("20261117223000"), PID, pv1(f3="A^2"))
    gone = read(f"ADT^{event}", evn("20261117230000"), PID, pv1(f3="A^2"))
    assert () == folded(first, update, gone).of_kind("encounter")


@pytest.mark.parametrize("event", ["A08", "A31", "A28", "A09", "A10", "A15", "A16", "A25", "A26"])
def test_an_event_that_conveys_no_status_overwrites_none(
    read: Any, folded: Any, event: str
) -> None:
    """A08 is a snapshot of demographics."""
    admitted = read("ADT^A01", evn("20261117221500"), PID, pv1())
    updated = read(f"ADT^{event}", evn("20261118080000"), PID, pv1())
    assert ["in-progress"] == states(folded(admitted, updated))


def test_an_update_with_a_discharge_time_says_that_the_visit_is_finished(
    read: Any, folded: Any
) -> None:
    """PV1-45 does convey a status."""
    admitted = read("ADT^A01", evn("20261117221500"), PID, pv1())
    updated = read("ADT^A08", evn("20261126"), PID, pv1(f45="20261126100000"))
    assert ["finished"] == states(folded(admitted, updated))


def test_a_cancelled_transfer_brings_the_location_before_back(read: Any, folded: Any) -> None:
    """PV1-3 of A12 is where the patient lay before A02, in either order of arrival."""
    admitted = read("ADT^A01", evn("20261117221500"), PID, pv1(f3="急诊^11"), f18="UNICODE UTF-8")
    moved = read("ADT^A02", evn("20261118090000"), PID, pv1(f3="二病区^02", f6="急诊^11"))
    back = read("ADT^A12", evn("20261118093000"), PID, pv1(f3="急诊^11", f6="二病区^02"))
    assert ["二病区^02"] == location(folded(admitted, moved))
    assert ["急诊^11"] == location(folded(admitted, moved, back))
    assert ["急诊^11"] == location(folded(back, moved, admitted))


def test_a_cancelled_transfer_may_name_the_place_in_pv1_6(read: Any, folded: Any) -> None:
    """Where PV1-3 is empty, the prior location counts again."""
    moved = read("ADT^A02", evn("20261118090000"), PID, pv1(f3="B", f6="A"))
    back = read("ADT^A12", evn("20261118093000"), PID, pv1(f6="A"))
    assert ["A"] == location(folded(moved, back))


def test_a_cancelled_transfer_without_any_place_leaves_none(read: Any, folded: Any) -> None:
    """Unknown, and not the place that the patient never went to."""
    moved = read("ADT^A02", evn("20261118090000"), PID, pv1(f3="B"))
    back = read("ADT^A12", evn("20261118093000"), PID, pv1())
    assert [] == location(folded(moved, back))
    assert 1 == len(reasons(back, "PV1[1]-3"))


def test_a_cancelled_discharge_opens_the_visit_again(read: Any, folded: Any) -> None:
    """Although PV1-45 still stands in many an A13."""
    left = read("ADT^A03", evn("20261126100000"), PID, pv1(f45="20261126100000"))
    stays = read("ADT^A13", evn("20261126103000"), PID, pv1(f45="20261126100000"))
    (visit,) = folded(left, stays).of_kind("encounter")
    assert ("in-progress", None) == (visit.details["status"], visit.details.get("discharged"))
    assert ["valued but not mapped"] == reasons(stays, "PV1-45")


def test_an_event_of_a_bare_date_is_as_old_as_its_message(read: Any, folded: Any) -> None:
    """EVN-2 without an hour would lose against the morning's discharge."""
    left = read("ADT^A03", evn("20261120093000"), PID, pv1(f45="20261120093000"))
    stays = read("ADT^A13", "EVN||20261120", PID, pv1())
    assert ["in-progress"] == states(folded(left, stays))


def test_an_event_of_another_day_keeps_its_date(read: Any) -> None:
    """MSH-7 is of the day after, and says nothing of the hour."""
    found = read("ADT^A13", "EVN||20261119", PID, pv1())
    assert {"2026-11-19"} == {e.source_time.isoformat() for e in found.entries}


def test_a_visit_without_number_is_known_by_its_admission_time(read: Any) -> None:
    """And without that it is not kept, and reported."""
    by_time = read("ADT^A01", evn("20261118"), PID, pv1(f19=""))
    unknown = read("ADT^A01", evn("20261118"), PID, pv1(f19="", f44=""))
    assert "encounter/@2026-11-17T14:15Z" == by_time.entries[0].key
    assert 1 == len(reasons(unknown, "PV1[1]"))


def test_a_late_admission_does_not_undo_a_discharge(read: Any, folded: Any) -> None:
    """EVN-2 orders the events, not their arrival."""
    left = read("ADT^A03", evn("20261126100000"), PID, pv1())
    admitted = read("ADT^A01", evn("20261117221500"), PID, pv1())
    assert ["finished"] == states(folded(left, admitted))
