"""The patient of the pan-cancer study: each analyte once, and a CT of the abdomen."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from workers.demo.acts import Course, Images, Message
from workers.demo.patients.pan import pan

NOW = datetime(2026, 3, 20, 4, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def course() -> Course:
    """What is sent of them."""
    return pan(7, NOW)


def test_no_analyte_is_told_twice_in_one_order(course: Course):
    """What the cohort emits is not drawn again beside it; what the protocols require is there."""
    [labs] = [a for a in course.acts if isinstance(a, Message) and "laboratory" in a.what]
    lines = labs.build("1", NOW).decode().split("\r")
    codes = [line.split("|")[3].split("^")[0] for line in lines if line.startswith("OBX|")]
    assert len(codes) == len(set(codes))
    # Blood count, chemistry, and what has intervals by age.
    assert {"718-7", "777-3", "1751-7", "1742-6", "2160-0", "6768-6", "731-0", "6690-2"} <= set(
        codes
    )


def test_the_ct_says_that_it_shows_the_abdomen(course: Course):
    """(0018,0015) of every instance."""
    [scan] = [a for a in course.acts if isinstance(a, Images)]
    assert {"ABDOMEN"} == {instance.BodyPartExamined for instance in scan.instances()}
