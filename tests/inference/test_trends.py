"""Statistics of a window: least, greatest, slope and change of a measured value, and their rest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference import eligibility, features, protocol_reading
from inference.errors import ManifestRefused
from inference.features import Found
from inference.protocol import Input, Protocol, Statistic
from inference.protocol_reading import FOLDER
from inference.toml_table import document
from mappings.record import (
    Code,
    Entry,
    Identifier,
    PatientRecord,
    Precision,
    Quantity,
    Source,
    Text,
    When,
)  # fmt: skip

T0 = datetime(2026, 3, 4, 9, tzinfo=UTC)
YEAR = 365.2425
STATISTICS: tuple[Statistic, ...] = ("minimum", "maximum", "slope_per_year", "change")
TRENDS: tuple[Statistic, ...] = ("slope_per_year", "change")


def afp(
    days: float,
    text: str,
    *,
    seq: int = 1,
    unit: str | None = "ng/mL",
    comparator: str | None = None,
    status: str = "final",
    precision: Precision = "second",
    offset: int | None = 0,
    value: Text | None = None,
) -> Entry:
    """An AFP so many days after the index."""
    moment = T0 + timedelta(days=days) + timedelta(minutes=offset or 0)
    return Entry(
        kind="observation",
        key=f"observation/{seq}/1834-1/{days}",
        patient=Identifier("SYN-1", "https://hospital.example/ns/mrn"),
        source=Source("lis", seq, T0 - timedelta(days=400)),
        path="OBX[1]-5",
        status=status,  # type: ignore[arg-type]
        code=Code("http://loinc.org", "1834-1"),
        value=value or Quantity(Decimal(text), unit, text, "", comparator),
        effective=When(moment.replace(tzinfo=None), precision, offset),
        seq=seq,
    )


def asked(statistic: Statistic = "slope_per_year", **changes: object) -> Input:
    """AFP of the year before the index."""
    plain = Input(
        id="AFP_trend", kind="quantity", modality="labs", display="AFP over a year", required=False,
        codes=("1834-1",), unit="ng/mL", plausible=(0, 2_000_000), window_days=(-365, 0),
        statistic=statistic, distinct_days=2 if statistic in TRENDS else 0,
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


def found(wanted: Input, entries: Sequence[Entry], lock: datetime = T0) -> Found:
    """What serves it."""
    record = PatientRecord.of(entries, as_of=T0 + timedelta(days=900))
    return features.find_all((wanted,), record, T0, lock)[wanted.id]


def test_least_and_greatest_of_the_window() -> None:
    """In the input's unit, whatever unit they came in, and resting on every value."""
    told = [afp(-300, "40"), afp(-90, "12"), afp(-2, "0.02", unit="mg/L")]
    least, greatest = found(asked("minimum"), told), found(asked("maximum"), told)
    assert (12.0, 40.0) == (least.value, greatest.value)
    assert {e.key for e in told} == {e.key for e in least.entries} == {
        e.key for e in greatest.entries
    }  # fmt: skip


def test_a_straight_line_has_its_slope() -> None:
    """10 ng/mL and 6 a year more."""
    told = [afp(days, str(40 + round(6 * days / YEAR, 9))) for days in (-360, -200, -199, -3)]
    assert pytest.approx(6, abs=1e-6) == found(asked(), told).value
    assert pytest.approx(6 * 357 / YEAR, abs=1e-6) == found(asked("change"), told).value


def test_a_slope_is_the_least_squares_of_uneven_values() -> None:
    """By the definition: 4, 1 and 4 half a year apart have none; with 10 at the end 6 a year."""
    half = YEAR / 2
    start = -360.0
    times = (start, start + half, start + 2 * half - 10)
    flat = [afp(t, v) for t, v in zip((start, start + 100, start + 200), "414", strict=True)]
    assert pytest.approx(0, abs=1e-9) == found(asked(), flat).value
    values = (4.0, 1.0, 10.0)
    years = [t / YEAR for t in times]
    middle, mean = sum(years) / 3, sum(values) / 3
    slope = sum((t - middle) * (v - mean) for t, v in zip(years, values, strict=True)) / sum(
        (t - middle) ** 2 for t in years
    )
    told = [afp(t, str(v)) for t, v in zip(times, values, strict=True)]
    assert pytest.approx(slope) == found(asked(), told).value


def test_a_trend_is_of_the_transformed_values() -> None:
    """Doubling in a year is ln 2 a year; a value by the statistic of a log is its logarithm."""
    told = [afp(-YEAR + 0.5, "20"), afp(-YEAR / 2, "28.284271247"), afp(0, "40")]
    slope = found(asked(transform="log", window_days=(-366, 0)), told).value
    assert isinstance(slope, float)
    assert pytest.approx(math.log(2), rel=2e-3) == slope
    assert pytest.approx(math.log(2)) == found(asked("change", transform="log"), told[1:]).value * 2  # type: ignore[operator]


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ([], "nothing received"),
        ([afp(-5, "3")], "received on 1 of the 2 days that it takes"),
        ([afp(-5, "3"), afp(-5.1, "4", seq=2)], "received on 1 of the 2 days that it takes"),
        ([afp(-500, "3"), afp(-400, "4")], "received, but none inside the window"),
        ([afp(-50, "3", unit=None), afp(-40, "4", unit=None)],
         "received with a blank or unknown unit"),
        ([afp(-50, "3", status="preliminary"), afp(-4, "4")],
         "received on 1 of the 2 days that it takes"),
        ([afp(-90, "3", precision="month"), afp(-30, "4", precision="month")],
         "received, but its day is not told"),
        ([afp(-50, "3"), afp(-4, "9999999")], "received on 1 of the 2 days that it takes"),
        # One moment, told by clocks of two zones: two dates, and no time between them.
        ([afp(-5.5, "3", offset=720), afp(-5.5, "4", seq=2, offset=-720)],
         "received, but all of one moment"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("statistic", TRENDS)
def test_too_little_for_a_trend_says_why(
    statistic: Statistic, told: list[Entry], reason: str
) -> None:
    """Missing, never 0, and resting on nothing."""
    assert Found(reason=reason) == found(asked(statistic), told)


def test_a_limit_of_the_assay_counts_as_the_limit_and_is_told() -> None:
    """`<0.5` is 0.5 as for a single value, and the input is listed among those at a limit."""
    text = (FOLDER / "hcc_ar_post.toml").read_text("utf-8")
    old = 'id = "AFP"\nkind = "quantity"'
    p = with_statistic(text, old, 'statistic = "maximum"')
    told = [afp(-9, "0.5", comparator="<"), afp(-3, "0.4")]
    record = PatientRecord.of(told, as_of=T0)
    made = features.read(p, None, record, T0, T0)
    assert pytest.approx(math.log(0.5)) == made.numbers["AFP"]
    assert ("AFP",) == made.comparators
    assert 2 == sum(used.used_as == "AFP" for used in made.used)


def with_statistic(text: str, old: str, keys: str) -> Protocol:
    """A protocol with more keys in one input."""
    assert old in text
    return protocol_reading.read(
        document(text.replace(old, f"{old}\n{keys}", 1).encode(), "x.toml")
    )


@given(st.data())
def test_nothing_after_the_lock_changes_a_statistic(data: st.DataObject) -> None:
    """Whatever came later, by clocks of a known zone, and in whatever order all of it came."""
    days = st.floats(-360, -31, allow_nan=False)
    later = st.floats(-29.9, 300, allow_nan=False)
    sizes = st.integers(1, 5000)
    before = data.draw(st.lists(st.tuples(days, sizes), min_size=0, max_size=8))
    after = data.draw(st.lists(st.tuples(later, sizes), min_size=0, max_size=4))
    statistic, lock = data.draw(st.sampled_from(STATISTICS)), T0 - timedelta(days=30)
    told = [afp(d, str(v), seq=n) for n, (d, v) in enumerate(before)]
    more = [afp(d, str(v), seq=50 + n) for n, (d, v) in enumerate(after)]
    mixed = data.draw(st.permutations([*told, *more]))
    wanted = asked(statistic)
    alone, among = found(wanted, told, lock), found(wanted, mixed, lock)
    assert (alone.value, alone.entries) == (among.value, among.entries)


@given(st.data())
def test_the_order_of_arrival_changes_nothing(data: st.DataObject) -> None:
    """Several values of one moment included."""
    days = st.sampled_from((-300.0, -200.0, -100.0, -1.5))
    told = data.draw(st.lists(st.tuples(days, st.integers(1, 5000)), min_size=1, max_size=8))
    statistic = data.draw(st.sampled_from(STATISTICS))
    wanted = asked(statistic, transform="log")
    orders = (told, data.draw(st.permutations(told)))
    values = [
        found(wanted, [afp(d, str(v), seq=n) for n, (d, v) in enumerate(order)]).value
        for order in orders
    ]
    assert values[0] == values[1]


def test_a_trend_reads_its_whole_window() -> None:
    """Of a wide window the last days are enough for the newest value, and never for a trend."""
    text = (FOLDER / "pan_cancer_now.toml").read_text("utf-8")
    plain = protocol_reading.read(document(text.encode(), "x.toml"))
    old = 'id = "AFP"\nkind = "quantity"'
    trend = with_statistic(text, old, 'statistic = "slope_per_year"\ndistinct_days = 3')
    told = [afp(days, "9", seq=n) for n, days in enumerate((-700, -300, -2))]
    held = []
    for p in (plain, trend):
        wanted = eligibility.asked(p, T0, T0, whole=())
        held.append([e for e in told if wanted.spans_hold(e)])
        record = PatientRecord.of(held[-1], as_of=T0, elsewhere=frozenset({"1834-1"}))
        assert not eligibility.unserved(p, record, T0, T0)
    assert [told[2:], told] == held


@pytest.mark.parametrize("name", ["hcc_ar_pre", "hcc_ar_post", "crlm_2y"])
def test_protocols_read_the_trajectory_of_their_marker(name: str) -> None:
    """Over the year before the index, of the logarithm; from models.md 1.0."""
    p = protocol_reading.shipped()[name]
    [wanted] = [i for i in p.inputs if i.statistic in TRENDS]
    told = [
        replace(afp(days, text, seq=n), code=Code("http://loinc.org", wanted.codes[0]))
        for n, (days, text) in enumerate(((-300, "10"), (-150, "20"), (-10, "40")))
    ]
    slope = found(wanted, told).value
    assert isinstance(slope, float)
    assert 1.5 < slope < 2
    assert "received on 2 of the 3 days that it takes" == found(wanted, told[1:]).reason


REFUSED = {
    "a statistic nobody knows": ('statistic = "mean"', "inputs[2].statistic"),
    "a trend of unknown length": ('statistic = "change"', "inputs[2].distinct_days"),
    "a trend of one day": ('statistic = "change"\ndistinct_days = 1', "inputs[2].distinct_days"),
    "days of no trend": ('statistic = "minimum"\ndistinct_days = 2', "inputs[2].distinct_days"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_statistic_that_means_nothing_is_refused(case: str) -> None:
    """By its key."""
    keys, key = REFUSED[case]
    text = (FOLDER / "hcc_ar_post.toml").read_text("utf-8")
    with pytest.raises(ManifestRefused) as caught:
        with_statistic(text, 'id = "AFP"\nkind = "quantity"', keys)
    assert key == caught.value.key


def test_only_numbers_have_a_statistic_and_no_score_takes_a_trend() -> None:
    """A score's formula takes a value in its unit."""
    text = (FOLDER / "hcc_ar_post.toml").read_text("utf-8")
    with pytest.raises(ManifestRefused) as caught:
        with_statistic(text, 'id = "sex"\nkind = "sex"', 'statistic = "maximum"')
    assert "inputs[1].statistic" == caught.value.key
    keys = 'statistic = "slope_per_year"\ndistinct_days = 2'
    with pytest.raises(ManifestRefused) as caught:
        with_statistic(text, 'id = "ALT"\nkind = "quantity"', keys)
    assert (caught.value.key or "").endswith(".of")
