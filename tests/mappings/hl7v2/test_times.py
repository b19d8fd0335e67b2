"""DTM, TS, DT and TM: precision and offset as sent, and what is no time."""

from __future__ import annotations

import pytest

from mappings.hl7v2.times import clock, offset_of, when


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("2026", "2026"),
        ("202611", "2026-11"),
        ("20261120", "2026-11-20"),
        ("2026112009", "2026-11-20T09:00:00+08:00"),
        ("202611200930", "2026-11-20T09:30:00+08:00"),
        ("20261120093015", "2026-11-20T09:30:15+08:00"),
        ("20261120093015.25", "2026-11-20T09:30:15.250000+08:00"),
        ("20261120093015250", "2026-11-20T09:30:15.250000+08:00"),
        ("2026112009301500", "2026-11-20T09:30:15+08:00"),
        ("20261120093015-0500", "2026-11-20T09:30:15-05:00"),
        ("20261120093015Z", "2026-11-20T09:30:15+00:00"),
        ("2026-11-20", "2026-11-20"),
        ("2026/11/20", "2026-11-20"),
        ("2026-11-20 09:30", "2026-11-20T09:30:00+08:00"),
        ("2026-11-20T09:30:15.5+01:00", "2026-11-20T09:30:15.500000+01:00"),
        ("20261120T093015Z", "2026-11-20T09:30:15+00:00"),
        ("20261120 09:30:15", "2026-11-20T09:30:15+08:00"),
        ("202611200930^D", "2026-11-20"),
        ("20261120^Y", "2026"),
    ],
)
def test_a_time_keeps_its_precision_and_offset(sent: str, shown: str) -> None:
    """HL7's digits, ISO 8601 with its marks, and TS.2, the degree of precision."""
    found = when(sent, None, "Asia/Shanghai")
    assert shown == (found.isoformat() if found else None)


_NO_TIMES = [
    "00000000",
    "0930",
    "2359",
    "20261120240000",
    "20260230",
    "20261301",
    "202611200960",
    "99991231",
    "上周",
    "20261120093015+1500",
    "1,5",
    "２０２６",
    "2026-11/20",
    "20261120093015.",
]


@pytest.mark.parametrize("sent", ["", *_NO_TIMES])
def test_what_is_no_time_is_none(sent: str) -> None:
    """Hour 24, HHMM alone, zeros, prose: the field is refused."""
    assert when(sent, None, "Asia/Shanghai") is None


def test_a_zone_is_marked_only_where_it_was_assumed() -> None:
    """The value's own, MSH-7's, the site's; a date has none."""
    marks = [
        when("20261120093000+0800", None, "Asia/Shanghai"),
        when("20261120093000", 480, "UTC"),
        when("20261120093000", None, "Asia/Shanghai"),
        when("20261120", None, "Asia/Shanghai"),
    ]
    assert [(480, False), (480, False), (480, True), (None, False)] == [
        (w.offset_minutes, w.assumed_zone) for w in marks if w
    ]


@pytest.mark.parametrize(
    ("sent", "shown"),
    [("0930", "09:30"), ("093015.25+0800", "09:30:15.25"), ("2400", None), ("9", None)],
)
def test_a_time_of_day_has_no_date(sent: str, shown: str | None) -> None:
    """TM."""
    assert shown == clock(sent)


def test_an_offset_is_read_from_its_end() -> None:
    """Both signs, colon or not."""
    assert [480, -300, None] == [offset_of(t) for t in ("2026+0800", "20261120-05:00", "2026")]
