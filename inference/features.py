"""Entries to numbers: which entry serves which input, and what it is worth.

Times, units, comparators and plausibility are decided here, and so is what a report says, by the
pack's own words (`features.toml`). Images become tensors in `tensors`; scaling is in the graph.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from inference.manifest import Cues, Lexicon
from inference.protocol import Input, Protocol
from mappings.errors import UnknownUnit
from mappings.record import (
    Coded,
    Entry,
    PatientRecord,
    Quantity,
    Text,
    When,
    value_to_json,
)
from mappings.units import convert

# A result that may still change on its own is not a feature; its final version is.
USABLE = frozenset({"final", "corrected", "amended", "appended"})
_DAYS_A_YEAR = 365.2425
# A clock of unknown zone may show up to 14 hours more than UTC: most DICOM and many HL7 times.
FASTEST_ZONE = timedelta(hours=14)
_OUTSIDE = "received, but none inside the window"


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """One entry that a prediction rests on.

    Attributes:
        digest: SHA-256 of its canonical value and status; equal for the same fact by any door.
        used_as: Id of the input it served.
    """

    key: str
    seq: int
    digest: str
    status: str
    path: str
    used_as: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """An input without a usable entry, why, and what the model does about it."""

    input: str
    reason: str
    handling: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """Everything a pack's graphs read of one record.

    Attributes:
        numbers: Input id -> value in the input's unit and transform; absent inputs are not there.
        findings: Finding id -> 1 present, -1 absent, 0 doubtful or not told; None without report.
        comparators: Input ids whose value stands at the end of an assay's range.
        used: Every entry that was read, in order of the inputs.
        missing: Every input that was not.
    """

    numbers: Mapping[str, float]
    findings: Mapping[str, int] | None
    comparators: tuple[str, ...]
    used: tuple[Used, ...]
    missing: tuple[Missing, ...]


def value_digest(entry: Entry) -> str:
    """SHA-256 over what an entry says: value and status, no time, no transport, no spelling.

    "1.0" and "1.00" of one unit are one value; a report counts with its sections.
    """
    body: dict[str, object] = {"status": entry.status}
    if isinstance(entry.value, Quantity):
        number = entry.value.value
        body["value"] = [
            str(number.normalize()) if number else "0",
            entry.value.unit,
            entry.value.comparator,
        ]
    elif entry.value is not None:
        body["value"] = value_to_json(entry.value)
    if "sections" in entry.details:
        body["sections"] = dict(entry.details["sections"])
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def window(wanted: Input, t0: datetime, as_of: datetime) -> tuple[datetime, datetime]:
    """First and last moment an input may be from; never after `as_of`."""
    first, last = wanted.window_days or (0, 0)
    return t0 + timedelta(days=first), min(t0 + timedelta(days=last), as_of)


def split(modality: str) -> tuple[str, ...]:
    """Modalities of a study, several joined by a backslash as DICOM does."""
    return tuple(m for m in modality.split("\\") if m)


def not_after(when: When, moment: datetime) -> bool:
    """Whether a clinical time may lie at or before a moment; an unknown zone gets the doubt."""
    slack = FASTEST_ZONE if when.offset_minutes is None else timedelta(0)
    return when.earliest - slack <= moment


def choose(
    wanted: Input, record: PatientRecord, t0: datetime, as_of: datetime
) -> tuple[Entry | None, str]:
    """The newest usable entry for a quantity or report, or None and why there is none."""
    low, high = window(wanted, t0, as_of)
    reason = "nothing received" if record.elsewhere.isdisjoint(wanted.codes) else _OUTSIDE
    for entry in reversed(record.entries):
        if not _serves(wanted, entry):
            continue
        when = entry.effective
        if when is None or when.earliest < low or not not_after(when, high):
            reason = _OUTSIDE
            continue
        why_not = _unusable(wanted, entry)
        if why_not is None:
            return entry, ""
        reason = why_not
    return None, reason


def _serves(wanted: Input, entry: Entry) -> bool:
    # What we wrote ourselves is never evidence (site rule 1).
    if entry.source.origin == "own":
        return False
    if wanted.kind == "quantity":
        # What was told with an order, or of a specimen, is no measurement of the patient.
        if entry.details.get("role"):
            return False
        return entry.kind == "observation" and any(entry.has_code(c) for c in wanted.codes)
    if entry.kind != "report":
        return False
    found = split(str(entry.details.get("modality") or ""))
    return "CT" in found if found else any(entry.has_code(c) for c in wanted.codes)


def _unusable(wanted: Input, entry: Entry) -> str | None:
    if entry.status not in USABLE:
        return f"received, but only as {entry.status}"
    if wanted.kind == "report":
        return None if _section(wanted, entry) else f"report without a section {wanted.section}"
    return None if quantity(wanted, entry) is not None else _why_no_number(wanted, entry)


def _section(wanted: Input, entry: Entry) -> str:
    sections = entry.details.get("sections")
    return str(sections.get(wanted.section) or "") if isinstance(sections, Mapping) else ""


def quantity(wanted: Input, entry: Entry) -> float | None:
    """An entry's number in the input's unit, or None where it has none that may be used."""
    if not isinstance(entry.value, Quantity):
        return None
    code = next((c for c in wanted.codes if entry.has_code(c)), None)
    return number(wanted, entry.value, code)


def number(wanted: Input, value: Quantity, code: str | None) -> float | None:
    """A quantity in the input's unit; None for an unknown unit or an implausible value."""
    if value.unit is None or wanted.plausible is None:
        return None
    try:
        found = float(convert(value.value, value.unit, wanted.unit, code=code))
    except UnknownUnit:
        return None
    low, high = wanted.plausible
    return found if math.isfinite(found) and low <= found <= high else None


def transformed(wanted: Input, value: float) -> float:
    """A number on the scale the graphs take; scaling to the cohort is inside them."""
    # The floor keeps an assay's 0 apart from minus infinity; it lies below every detection limit.
    return math.log(max(value, 1e-3)) if wanted.transform == "log" else value


def _why_no_number(wanted: Input, entry: Entry) -> str:
    value = entry.value
    if not isinstance(value, Quantity):
        return "received, but not as a number"
    if value.unit is None:
        return "received with a blank or unknown unit"
    try:
        convert(
            value.value,
            value.unit,
            wanted.unit,
            code=next((c for c in wanted.codes if entry.has_code(c)), None),
        )
    except UnknownUnit:
        return f"received in a unit that is not convertible to {wanted.unit}"
    return "received, but outside the plausible range"


def age_years(birth: When, at: datetime) -> tuple[float, float]:
    """Least and greatest age that a possibly partial birth date allows."""
    seconds = _DAYS_A_YEAR * 86400
    least = (at - birth.latest).total_seconds() / seconds
    greatest = (at - birth.earliest).total_seconds() / seconds
    return least, greatest


def read(
    protocol: Protocol, lexicon: Lexicon, record: PatientRecord, t0: datetime, as_of: datetime
) -> Features:
    """Everything the pack reads of a record, as known at `as_of`.

    Args:
        protocol: The pack's.
        lexicon: The pack's words for findings.
        record: Folded as of `as_of`.
        t0: Index time: start of the CT.
        as_of: Aware UTC; what is later is not read.
    """
    numbers: dict[str, float] = {}
    findings: dict[str, int] | None = None
    comparators, used, missing = [], [], []
    for wanted in protocol.inputs:
        entry, reason = choose_any(wanted, record, t0, as_of)
        if entry is None:
            missing.append(Missing(input=wanted.id, reason=reason, handling=_handling(wanted)))
            continue
        if wanted.kind == "report":
            findings = states(lexicon, _section(wanted, entry))
        else:
            numbers[wanted.id] = _number(wanted, entry, t0)
            if isinstance(entry.value, Quantity) and entry.value.comparator:
                comparators.append(wanted.id)
        used.append(_used(wanted, entry))
    return Features(
        numbers=numbers,
        findings=findings,
        comparators=tuple(comparators),
        used=tuple(used),
        missing=tuple(missing),
    )


def choose_any(
    wanted: Input, record: PatientRecord, t0: datetime, as_of: datetime
) -> tuple[Entry | None, str]:
    """The entry that serves an input of any kind, or None and why there is none."""
    if wanted.kind in ("quantity", "report"):
        return choose(wanted, record, t0, as_of)
    entry = record.demographic("birth_date" if wanted.kind == "age" else "sex")
    if entry is None or entry.source.origin == "own":
        return None, "nothing received"
    if wanted.kind == "age" and not isinstance(entry.value, When):
        return None, "received, but not as a date"
    if wanted.kind == "sex" and sex(entry) is None:
        return None, "received, but neither male nor female"
    return entry, ""


def sex(entry: Entry) -> str | None:
    """`male`, `female` or None, of FHIR's word or HL7 table 0001's letter."""
    value = entry.value
    word = ""
    if isinstance(value, Coded):
        word = value.codes[0].code if value.codes else value.text
    elif isinstance(value, Text):
        word = value.text
    return {"male": "male", "m": "male", "female": "female", "f": "female"}.get(word.lower())


def _number(wanted: Input, entry: Entry, t0: datetime) -> float:
    if wanted.kind == "sex":
        return 1.0 if sex(entry) == "male" else 0.0
    if wanted.kind == "age":
        assert isinstance(entry.value, When)
        least, greatest = age_years(entry.value, t0)
        return (least + greatest) / 2
    found = quantity(wanted, entry)
    assert found is not None
    return transformed(wanted, found)


def _used(wanted: Input, entry: Entry) -> Used:
    return Used(
        key=entry.key,
        seq=entry.seq,
        digest=value_digest(entry),
        status=entry.status,
        path=entry.path,
        used_as=wanted.id,
    )


def _handling(wanted: Input) -> str:
    if wanted.kind == "report":
        return "the text score is left out; the weights fitted without reports are used"
    return "masked; the model was trained with this input missing at random"


def states(lexicon: Lexicon, findings: str) -> dict[str, int]:
    """What the findings section says of each finding of the lexicon.

    A cue reaches to the end of its clause. Said twice, presence wins over absence over doubt.

    Returns:
        Finding id -> 1 present, -1 absent, 0 doubtful or not told.
    """
    said: dict[str, set[int]] = {f.id: set() for f in lexicon.findings}
    for clause in _clauses(lexicon.breaks, findings.casefold()):
        for finding in lexicon.findings:
            for word in _words(finding.words):
                at = clause.find(word)
                if at >= 0:
                    said[finding.id].add(_polarity(lexicon, clause[:at], clause[at + len(word) :]))
    return {k: 1 if 1 in v else -1 if -1 in v else 0 for k, v in said.items()}


def recognised(lexicon: Lexicon, findings: str) -> int:
    """How many findings of the lexicon are named at all, denied and doubtful ones counted."""
    text = findings.casefold()
    return sum(any(w in text for w in _words(f.words)) for f in lexicon.findings)


def _words(by_language: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    return tuple(w.casefold() for words in by_language.values() for w in words)


def _clauses(breaks: Sequence[str], text: str) -> list[str]:
    for mark in breaks:
        text = text.replace(mark, "\n")
    return [c for c in text.split("\n") if c.strip()]


def _polarity(lexicon: Lexicon, before: str, after: str) -> int:
    if _cued(lexicon.hedge, before, after):
        return 0
    return -1 if _cued(lexicon.negation, before, after) else 1


def _cued(cues: Cues, before: str, after: str) -> bool:
    padded = f" {before}"
    return any(w in padded for w in _words(cues.before)) or any(
        w in after for w in _words(cues.after)
    )
