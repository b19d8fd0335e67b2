"""Every structure under disturbance: typed errors only, nothing dropped, no key for two facts."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import grammar
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mappings import hl7v2
from mappings.conversion import Conversion
from mappings.errors import MappingError
from mappings.hl7v2 import er7
from mappings.record import Entry, Source
from mappings.record_json import to_json
from mappings.site import Site

MRN = "https://hospital.example/ns/mrn"
SITE = Site(
    authorities={"HOSP": MRN, "CHINAID": "https://china.example/ns/id"},
    default_authority=MRN,
    timezone="Asia/Shanghai",
)
SOURCE = Source("his", 1, datetime(2026, 11, 21, tzinfo=UTC))
WORD = re.compile(r"W\d+X")
NUMBER = re.compile(r"\[\d+\]")


def seeded(examples: int) -> settings:
    """The same messages in every run."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def converted(raw: bytes) -> Conversion | None:
    """The conversion, or None where the mapping refuses with a typed error."""
    try:
        return hl7v2.entries(raw, site=SITE, source=SOURCE)
    except MappingError:
        return None


def said(entry: Entry) -> str:
    """Everything an entry says but its path."""
    code = [entry.code.system, entry.code.code, entry.code.display] if entry.code else []
    whose = [entry.patient.value, entry.source.visit, entry.source.account]
    return " ".join([entry.kind, entry.key, entry.status, *whose, *code, str(to_json(entry))])


@given(raw=grammar.messages())
@seeded(600)
def test_every_word_of_a_message_is_in_an_entry_or_in_the_report(raw: bytes) -> None:
    """No valued field is dropped quietly, whatever stands around it."""
    found = converted(raw)
    if found is None:
        return
    told = " ".join(said(entry) for entry in found.entries)
    reported = {finding.path for finding in found.findings}
    lost = []
    for segment in er7.parse(raw).segments[1:]:
        whole = {f"{segment.name}[{segment.number}]"}
        for number, text in enumerate(segment.fields[1:], 1):
            paths = whole | {segment.path(number), f"{segment.name}-{number}"}
            words = WORD.findall(text)
            if words and not paths & reported and not any(word in told for word in words):
                lost.append(segment.path(number))
    assert [] == lost


@given(raw=grammar.messages(disturbed=False))
@seeded(120)
def test_a_segment_that_is_taken_away_is_missed(raw: bytes) -> None:
    """A segment whose loss changes neither an entry nor the report was never read."""
    lines = raw.decode().split("\r")[:-1]
    whole = told(raw)
    unread = []
    for at, line in enumerate(lines):
        if any(line.split("|")[2:]) and line[:3] not in ("MSH", "EVN", "PID"):
            rest = "\r".join([*lines[:at], *lines[at + 1 :], ""])
            if told(rest.encode()) == whole:
                unread.append(line)
    assert [] == unread


def told(raw: bytes) -> Any:
    """Entries and findings without the numbers of segments."""
    found = converted(raw)
    if found is None:
        return None
    findings = Counter((NUMBER.sub("", f.path), NUMBER.sub("", f.reason)) for f in found.findings)
    return Counter(said(entry) for entry in found.entries), findings


@given(raw=grammar.messages())
@seeded(400)
def test_no_two_facts_of_a_message_share_a_key(raw: bytes) -> None:
    """Or one would overwrite the other."""
    found = converted(raw)
    keys = Counter((entry.patient, entry.key) for entry in found.entries) if found else Counter()
    assert [] == [key for key, times in keys.items() if times > 1]


@given(raw=grammar.messages())
@seeded(200)
def test_the_same_bytes_map_to_the_same_entries(raw: bytes) -> None:
    """Replay changes nothing."""
    first, second = converted(raw), converted(raw)
    assert (first and first.entries) == (second and second.entries)


@given(raw=grammar.messages(), data=st.data())
@seeded(300)
def test_half_messages_and_odd_bytes_raise_typed_errors_only(raw: bytes, data: Any) -> None:
    """Cut anywhere, with bytes of another charset in the midst, delimiters where none belong."""
    at = data.draw(st.integers(0, len(raw)))
    junk = data.draw(
        st.sampled_from([b"", b"\xff\xfe", b"|^~\\&", b"\r", "肝".encode("gb18030"), b"\0"])
    )
    for broken in (raw[:at], raw[:at] + junk + raw[at:], raw[:40] + junk * 3 + raw[40:]):
        converted(broken)


@pytest.mark.parametrize("event", sorted(grammar.STRUCTURES))
def test_every_structure_of_the_grammar_maps_undisturbed(event: str) -> None:
    """Without disturbance nothing is refused, so the properties above are not empty."""

    @given(raw=grammar.messages(event, disturbed=False))
    @seeded(5)
    def maps(raw: bytes) -> None:
        assert converted(raw) is not None

    maps()
