"""Reference intervals: the published limits, bands without holes, and no guess where none is said."""

from __future__ import annotations

import pytest

from inference import reference_intervals
from inference.reference_intervals import interval, z

ALP, CREA, HGB, LYM, PLT, WBC = "6768-6", "2160-0", "718-7", "731-0", "777-3", "6690-2"


@pytest.mark.parametrize(
    ("code", "unit", "age", "sex", "low", "high"),
    [
        # WS/T 780-2021, children.
        (ALP, "U/L", 5, "female", 143, 406), (ALP, "U/L", 10, "male", 146, 500),
        (ALP, "U/L", 13, "male", 160, 610), (ALP, "U/L", 13, "female", 81, 454),
        (CREA, "umol/L", 8, "male", 27, 66), (CREA, "umol/L", 17, "female", 39, 76),
        # WS/T 779-2021, children.
        (LYM, "10*9/L", 1.5, "male", 2.4, 8.7), (WBC, "10*9/L", 3, "female", 4.4, 11.9),
        (HGB, "g/L", 0.7, "male", 97, 141), (HGB, "g/L", 15, "male", 129, 172),
        (PLT, "10*9/L", 0.2, "female", 183, 614),
        # WS/T 404 and 405, adults.
        (ALP, "U/L", 40, "male", 45, 125), (ALP, "U/L", 40, "female", 35, 100),
        (ALP, "U/L", 60, "female", 50, 135), (HGB, "g/L", 40, "female", 115, 150),
        (WBC, "10*9/L", 40, "male", 3.5, 9.5), (CREA, "umol/L", 70, "male", 57, 111),
    ],
)  # fmt: skip
def test_the_limits_are_the_published_ones(code, unit, age, sex, low, high):
    """At the limits of the central 95 % stand -1.96 and 1.96, and 0 at their geometric mean."""
    assert pytest.approx(-1.96, abs=1e-3) == z(code, low, unit, age, sex)
    assert pytest.approx(1.96, abs=1e-3) == z(code, high, unit, age, sex)
    assert pytest.approx(0, abs=1e-9) == z(code, (low * high) ** 0.5, unit, age, sex)
    found = interval(code, age, sex)
    assert (low, high, unit) == (found.low, found.high, found.unit)
    assert found.source.startswith("WS/T")


def test_one_value_is_ordinary_in_a_child_and_not_in_an_adult():
    """Alkaline phosphatase of growing bones; creatinine of little muscle; an infant's lymphocytes."""
    assert abs(z(ALP, 300, "U/L", 10, "male")) < 1
    assert z(ALP, 300, "U/L", 40, "male") > 4
    assert z(CREA, 90, "umol/L", 5, "male") > 4
    assert abs(z(CREA, 90, "umol/L", 40, "male")) < 1.96
    assert abs(z(LYM, 6.0, "10*9/L", 1.5, "female")) < 1.96
    assert z(LYM, 6.0, "10*9/L", 40, "female") > 4


def test_units_are_brought_together():
    """The same value by mass or by moles, a litre or a decilitre."""
    assert pytest.approx(z(HGB, 130, "g/L", 40, "male")) == z(HGB, 13, "g/dL", 40, "male")
    assert pytest.approx(z(PLT, 200, "10*9/L", 8, None)) == z(PLT, 200, "10*3/uL", 8, None)
    by_mass = z(CREA, 1.0, "mg/dL", 40, "male")
    assert pytest.approx(z(CREA, 88.4, "umol/L", 40, "male"), abs=0.01) == by_mass


@pytest.mark.parametrize(
    ("code", "value", "unit", "age", "sex"),
    [
        ("1834-1", 5.0, "ng/mL", 40, "male"),  # nobody published one here
        (HGB, 140.0, "g/L", 0.01, "male"),  # the first days
        (HGB, 140.0, "g/L", 40, None),  # the sexes differ
        (HGB, 140.0, "g/L", 40, "other"),
        (HGB, 140.0, "g/L", -1, "male"),
        (HGB, 140.0, "mmol/mol", 40, "male"),
        (HGB, 140.0, "no unit", 40, "male"),
        (HGB, 0.0, "g/L", 40, "male"),
        (HGB, float("nan"), "g/L", 40, "male"),
        (HGB, float("inf"), "g/L", 40, "male"),
    ],
)
def test_where_nothing_is_said_nothing_is_guessed(code, value, unit, age, sex):
    """No z-score, and no error either."""
    assert z(code, value, unit, age, sex) is None


def test_where_the_sexes_do_not_differ_sex_need_not_be_known():
    """A child's haemoglobin has one band for both."""
    assert z(HGB, 120, "g/L", 4, None) == z(HGB, 120, "g/L", 4, "female") is not None


@pytest.mark.parametrize("code", sorted(reference_intervals.codes()))
@pytest.mark.parametrize("sex", ["male", "female"])
def test_bands_follow_each_other_without_a_hole(code, sex):
    """From 28 days to old age, by tenths of a year; the first day of a band is in it."""
    ages = [0.077, *(tenth / 10 for tenth in range(1, 1200))]
    assert all(interval(code, age, sex) is not None for age in ages)
    assert interval(code, 120, sex) is None
    adult = interval(code, 18, sex)
    assert adult == interval(code, 18.5, sex) != interval(code, 17.99, sex)
