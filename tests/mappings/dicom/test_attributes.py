"""Header attributes: malformed ones are absent, never an error."""

from __future__ import annotations

import pytest
from instances import slice_

from mappings.dicom.attributes import moment, numbers, seconds, text


@pytest.mark.parametrize(
    ("clock", "found"),
    [("093000", 34200.0), ("0930", 34200.0), ("09", 32400.0), ("09:30:00.5", 34200.5), ("x", None)],
)
def test_a_tm_is_seconds_after_midnight(clock: str, found: float | None) -> None:
    """Also in the old form with colons."""
    assert found == seconds(clock)


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"TimezoneOffsetFromUTC": "-0500"}, "2026-11-20T09:30:00-05:00"),
        ({}, "2026-11-20T09:30:00+08:00"),
        ({"StudyTime": ""}, "2026-11-20"),
        ({"StudyTime": "096000"}, "2026-11-20T10:00:00+08:00"),
        ({"StudyTime": "990000"}, "2026-11-20"),
        ({"StudyDate": "20261399"}, None),
        ({"StudyDate": None}, None),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_a_date_and_a_time_are_a_clinical_time(
    fields: dict[str, str | None], found: str | None
) -> None:
    """By the data set's own offset, else by the sender's zone."""
    made = moment(slice_(1, 1, **fields), "StudyDate", "StudyTime", "Asia/Shanghai")  # type: ignore[arg-type]
    assert found == (made.isoformat() if made else None)


def test_absent_and_short_attributes_are_none() -> None:
    """Three numbers are three numbers."""
    dataset = slice_(1, 1, ImagePositionPatient=[1, 2])
    assert numbers(dataset, "ImagePositionPatient", 3) is None
    assert numbers(dataset, "PixelPaddingValue", 1) is None
    assert ("", "ORIGINAL\\PRIMARY\\AXIAL") == (
        text(dataset, "Manufacturer"),
        text(dataset, "ImageType"),
    )
