"""The fold: which version of a fact stands, what was known when, and JSON of every value."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations

import pytest

from mappings.record import (
    Attachment,
    Code,
    Coded,
    Entry,
    Identifier,
    Interval,
    PatientRecord,
    Quantity,
    Ratio,
    Series,
    Source,
    Text,
    Value,
    When,
)
from mappings.record_json import (
    to_json,
    value_from_json,
    value_to_json,
    when_from_json,
    when_to_json,
)
from mappings.statuses import Status

WHO = Identifier("SYN-1", "https://hospital.example/ns/mrn", "MR")
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
AFP = Code("http://loinc.org", "1834-1", "AFP")
LATER = NOON + timedelta(days=9)


def entry(
    number: str = "1",
    *,
    key: str = "observation/F1/1834-1/",
    status: Status = "final",
    issued: int | None = 0,
    received: int = 0,
    seq: int = 0,
    rank: int = 0,
    twin: str | None = None,
    effective: When | None = None,
) -> Entry:
    """An AFP; `issued` and `received` are hours after noon."""
    source_time = None if issued is None else When.instant(NOON + timedelta(hours=issued))
    return Entry(
        "observation",
        key,
        WHO,
        Source("lab", seq, NOON + timedelta(hours=received), rank=rank),
        "OBX[1]-5",
        status,
        AFP,
        value=Quantity(Decimal(number), "ng/mL", number),
        effective=effective or When.instant(NOON),
        source_time=source_time,
        twin=twin,
        seq=seq,
    )


def numbers(*entries: Entry, as_of: datetime = LATER) -> list[str]:
    """The values that stand."""
    record = PatientRecord.of(entries, as_of=as_of)
    return [e.value.text for e in record.entries if isinstance(e.value, Quantity)]


def test_a_later_version_replaces_the_first_in_any_order() -> None:
    """The greatest source time wins whatever the order of arrival."""
    versions = [entry("1", issued=0), entry("2", issued=1), entry("3", issued=2)]
    assert all(["3"] == numbers(*order) for order in permutations(versions))


def test_a_late_older_version_never_wins() -> None:
    """A message that was held up for a day does not undo a newer one."""
    assert ["2"] == numbers(entry("2", issued=5, received=5), entry("1", issued=1, received=29))


def test_a_correction_wins_over_final_over_preliminary_of_the_same_moment() -> None:
    """Status rank decides between versions of one source time."""
    versions = [entry("1", status="preliminary"), entry("2"), entry("3", status="corrected")]
    assert all(["3"] == numbers(*order) for order in permutations(versions))


@pytest.mark.parametrize("status", ["entered-in-error", "cancelled", "deleted"])
def test_a_retracted_fact_is_gone(status: Status) -> None:
    """A retraction leaves nothing, not the version before it."""
    assert [] == numbers(entry("1"), entry("1", status=status, issued=1))


def test_a_fact_restated_after_its_retraction_is_back() -> None:
    """A newer final version ends a retraction."""
    gone = entry("1", status="entered-in-error", issued=1)
    assert ["2"] == numbers(entry("1"), gone, entry("2", issued=2))


def test_nothing_known_later_is_read() -> None:
    """`as_of` cuts by time of receipt."""
    versions = (entry("1"), entry("2", issued=1, received=10))
    assert ["1"] == numbers(*versions, as_of=NOON + timedelta(hours=9))


def test_source_knowledge_reads_what_the_source_had_issued() -> None:
    """Backfill asks when the laboratory knew, not when we did."""
    late = entry("1", issued=1, received=500)
    as_of = NOON + timedelta(hours=2)
    by_receipt = PatientRecord.of([late], as_of=as_of)
    by_source = PatientRecord.of([late], as_of=as_of, knowledge="source")
    assert (0, 1) == (len(by_receipt.entries), len(by_source.entries))


def test_the_higher_rank_wins_a_tie_between_doors() -> None:
    """The site file ranks sources that say the same moment and status."""
    assert ["2"] == numbers(entry("1", rank=0, seq=2), entry("2", rank=5, seq=1))


def test_the_ledger_sequence_decides_last() -> None:
    """Two versions equal in all else: the one stored later stands."""
    assert ["2"] == numbers(entry("2", seq=2), entry("1", seq=1))


def test_a_weak_key_joins_the_strong_one_of_the_same_twin() -> None:
    """A FHIR copy without filler number is the fact the ORU stated."""
    twin = "1834-1@2026-11-20T12:00Z/"
    strong = entry("1", twin=twin)
    weak = entry("2", key="observation/@ehr/Observation/1", twin=twin, issued=1, status="corrected")
    assert ["2"] == numbers(strong, weak) == numbers(weak, strong)


def test_two_filler_numbers_are_two_facts() -> None:
    """The same test twice at one minute, ordered twice, is two results."""
    twin = "1834-1@2026-11-20T12:00Z/"
    other = entry("2", key="observation/F2/1834-1/", twin=twin)
    assert ["1", "2"] == sorted(numbers(entry("1", twin=twin), other))


def test_a_status_without_value_keeps_the_value_before() -> None:
    """OBX-11 = U makes a preliminary result final without sending it again."""
    first = entry("7", status="preliminary")
    final = Entry(
        "observation",
        first.key,
        WHO,
        first.source,
        "OBX[1]-5",
        "final",
        AFP,
        effective=first.effective,
        source_time=When.instant(NOON + timedelta(hours=1)),
        details={"value_as_before": True},
    )
    record = PatientRecord.of([first, final], as_of=LATER)
    found = record.latest("1834-1")
    assert found is not None
    assert ("final", first.value) == (found.status, found.value)


def test_the_latest_is_the_newest_by_clinical_time() -> None:
    """A value drawn earlier but issued later is not the latest."""
    early = When.instant(NOON - timedelta(days=1))
    old = entry("1", key="observation/F0/1834-1/", effective=early, issued=8)
    found = PatientRecord.of([entry("2"), old], as_of=LATER).latest("1834-1")
    assert found is not None
    assert "2" == getattr(found.value, "text", None)


VALUES: tuple[Value, ...] = (
    Quantity(Decimal("1.00"), "ng/mL", "1.00", "ng/ml", "<"),
    Quantity(Decimal("1E+3"), None, "1E3"),
    Coded((AFP, Code("urn:oncord:code:L", "AFP")), "text"),
    Text("检查所见"),
    Interval("1", None, "mg/dL"),
    Ratio(Decimal(1), Decimal(128), "1:128"),
    Series((("1", "2"), ("3",)), "mV"),
    Attachment("application/pdf", 15, "ab", None, "report"),
    When(datetime(2026, 1, 1), "month"),
    When(datetime(2026, 1, 1, 9, 30), "minute", 480, assumed_zone=True),
    Identifier("1", "https://a.example", "NI"),
)


@pytest.mark.parametrize("value", VALUES, ids=lambda v: type(v).__name__)
def test_every_value_survives_json(value: Value) -> None:
    """The ledger stores values as JSON; text, precision and type come back."""
    assert value == value_from_json(json.loads(json.dumps(value_to_json(value))))


def test_the_type_of_an_identifier_survives_json() -> None:
    """Table 0203's code is no part of equality, so it is compared apart."""
    back = value_from_json(value_to_json(Identifier("1", "https://a.example", "NI")))
    assert "NI" == getattr(back, "type", None)


def test_a_clinical_time_survives_json() -> None:
    """Precision, offset and the mark of an assumed zone come back."""
    moment = When(datetime(2026, 1, 1, 9, 30), "second", -300, assumed_zone=True)
    assert moment == when_from_json(json.loads(json.dumps(when_to_json(moment))))


def test_an_entry_without_details_stores_no_details() -> None:
    """The stored body holds only what is there."""
    assert ["display", "value", "effective", "source_time"] == list(to_json(entry()))


def test_a_word_on_the_status_alone_keeps_what_was_said_before() -> None:
    """Value, code, clinical time and details: OBX-11 = U, MDM^T03."""
    first = replace(entry("412", effective=When(datetime(2026, 11, 20), "day")), details={"a": 1})
    word = replace(
        entry(status="corrected", issued=1),
        value=None,
        code=None,
        effective=None,
        details={"value_as_before": True},
    )
    (found,) = PatientRecord.of([word, first], as_of=LATER).entries
    assert ("corrected", first.value, first.code, first.effective, 1) == (
        found.status,
        found.value,
        found.code,
        found.effective,
        found.details["a"],
    )


def test_a_later_set_replaces_an_earlier_one_of_the_same_name_only() -> None:
    """Diagnoses without action codes are a snapshot of one visit."""

    def member(code: str, told: str, hour: int) -> Entry:
        made = entry(key=f"condition/{code}", issued=hour, seq=hour)
        return replace(made, kind="condition", details={"set": told} if told else {})

    entries = [member("A", "V1", 1), member("B", "V1", 2), member("C", "V2", 1), member("D", "", 1)]
    found = PatientRecord.of(entries, as_of=LATER).entries
    assert {"condition/B", "condition/C", "condition/D"} == {e.key for e in found}


def test_the_last_reading_of_a_message_counts() -> None:
    """A message read again under another code says one thing, as if it had said it at once."""
    first = replace(entry("1", key="observation/F1/AFP/", seq=1), path="OBX[1]-5")
    unsaid = replace(first, reading=1, value=None, details={"unsaid": True}, seq=2)
    mended = replace(first, key="observation/F1/1834-1/", seq=3)
    for order in permutations((first, unsaid, mended)):
        assert (mended,) == PatientRecord.of(order, as_of=LATER).entries


def test_what_is_unsaid_retracts_nothing_of_other_messages() -> None:
    """Another message that says the same under that key still says it."""
    first = entry("1", seq=1)
    other = entry("2", seq=2)
    unsaid = replace(other, reading=1, value=None, details={"unsaid": True})
    assert (first,) == PatientRecord.of([first, other, unsaid], as_of=LATER).entries
    again = replace(other, reading=2)
    assert (again,) == PatientRecord.of([first, other, unsaid, again], as_of=LATER).entries


def test_a_replayed_message_overtakes_none_that_came_later() -> None:
    """In a tie the later message wins, not the later reading."""
    early = replace(entry("1", seq=1), reading=1, seq=9)
    late = entry("2", seq=2)
    assert (late,) == PatientRecord.of([early, late], as_of=LATER).entries
