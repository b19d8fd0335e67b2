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

from inference import genetics, scores, staging
from inference.findings import states
from inference.manifest import Lexicon
from inference.protocol import Input, Protocol
from mappings.errors import UnknownUnit
from mappings.record import Coded, Entry, Kind, PatientRecord, Quantity, Text, When
from mappings.record_json import value_to_json
from mappings.units import convert

# A result that may still change on its own is not a feature; its final version is.
USABLE = frozenset({"final", "corrected", "amended", "appended"})
_DAYS_A_YEAR = 365.2425
# A clock of unknown zone may show up to 14 hours more than UTC: most DICOM and many HL7 times.
FASTEST_ZONE = timedelta(hours=14)
HISTORY: frozenset[Kind] = frozenset({"condition", "procedure", "medication"})
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
    if wanted.kind != "report":
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
    if wanted.kind == "answer":
        return (
            None if answer(wanted, entry) is not None else "received, but with no answer of those"
        )
    return None if quantity(wanted, entry) is not None else _why_no_number(wanted, entry)


def answer(wanted: Input, entry: Entry) -> str | None:
    """The one of the input's words that a coded answer or text says, or None."""
    if wanted.reads:
        told = staging.read(wanted.reads, entry.value).value
        return told if told in wanted.tokens else None
    said = words(entry)
    return next((word for word in wanted.tokens if word.casefold() in said), None)


def words(entry: Entry) -> frozenset[str]:
    """Codes and texts of an answer, case folded; empty where it is no answer."""
    value = entry.value
    told: list[str] = []
    if isinstance(value, Coded):
        told = [*(code.code for code in value.codes), *(c.display for c in value.codes), value.text]
    elif isinstance(value, Text):
        told = [value.text]
    return frozenset(word.strip().casefold() for word in told if word.strip())


def coded_as(entry: Entry, codes: Sequence[str]) -> bool:
    """Whether any coding of an entry is one of the codes, below one, or in a range of ICD-10.

    "1834-1" is itself, "C22*" all below C22, "C18-C20" ICD-10 categories, "*" anything.
    """
    codings = (entry.code, *entry.alternates) if entry.code else entry.alternates
    return "*" in codes or any(_below(coding.code, code) for coding in codings for code in codes)


def _below(sent: str, code: str) -> bool:
    if code.endswith("*"):
        return sent.startswith(code[:-1])
    first, dash, last = code.partition("-")
    if dash and first[:1].isalpha():
        return first <= sent[: len(first)].upper() <= last
    return sent == code


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What serves an input, or why nothing does.

    Attributes:
        entries: Those it rests on; empty where it is missing, and for a history that nobody told.
        value: In the input's unit, before its transform, or the word of an answer; None where it
            is missing, and for a report.
        reason: Why it is missing.
    """

    entries: tuple[Entry, ...] = ()
    value: float | str | None = None
    reason: str = ""

    @property
    def there(self) -> bool:
        """Whether it may be used."""
        return not self.reason


def find_all(
    inputs: Sequence[Input], record: PatientRecord, t0: datetime | None, lock: datetime
) -> dict[str, Found]:
    """What serves each input, in their order; a score rests on what was found before it.

    Args:
        inputs: Of a protocol.
        record: Folded as of the lock or later.
        t0: Index time, or None while there is none.
        lock: Last moment that is read, aware UTC.
    """
    found: dict[str, Found] = {}
    for wanted in inputs:
        if t0 is None and wanted.kind != "sex":
            found[wanted.id] = Found(reason="the index time is not known yet")
        elif wanted.kind == "score":
            found[wanted.id] = _score(wanted, found)
        else:
            found[wanted.id] = _find(wanted, record, t0 or lock, lock)
    return found


def _find(wanted: Input, record: PatientRecord, t0: datetime, lock: datetime) -> Found:
    match wanted.kind:
        case "age" | "sex":
            return _told(wanted, record, t0)
        case "history":
            return _history(wanted, record, t0, lock)
        case "gene_burden" | "variant":
            return _genes(wanted, record)
    entry, reason = choose(wanted, record, t0, lock)
    if entry is None:
        return Found(reason=reason)
    value: float | str | None = None
    if wanted.kind == "quantity":
        value = quantity(wanted, entry)
    elif wanted.kind == "answer":
        value = answer(wanted, entry)
    return Found(entries=(entry,), value=value)


def _told(wanted: Input, record: PatientRecord, t0: datetime) -> Found:
    entry = record.demographic("birth_date" if wanted.kind == "age" else "sex")
    if entry is None or entry.source.origin == "own":
        return Found(reason="nothing received")
    if wanted.kind == "sex":
        told = sex(entry)
        if told is None:
            return Found(reason="received, but neither male nor female")
        return Found(entries=(entry,), value=1.0 if told == "male" else 0.0)
    if not isinstance(entry.value, When):
        return Found(reason="received, but not as a date")
    least, greatest = age_years(entry.value, t0)
    return Found(entries=(entry,), value=(least + greatest) / 2)


def _history(wanted: Input, record: PatientRecord, t0: datetime, lock: datetime) -> Found:
    """1 where a diagnosis or procedure of the codes lies in the window; 0 or unknown else."""
    low, high = window(wanted, t0, lock)
    kinds = {"family_history"} if wanted.of_relatives else HISTORY
    told = [
        e
        for e in record.entries
        if e.kind in kinds
        and e.source.origin != "own"
        and e.status in USABLE
        and _is_of(e, wanted.codes)
    ]
    dated = [
        e
        for e in told
        if e.effective and e.effective.earliest >= low and not_after(e.effective, high)
    ]
    if dated:
        return Found(entries=tuple(dated), value=1.0)
    if told or wanted.silence == "unknown":
        return Found(reason=_OUTSIDE if told else "nobody told of it, which is no answer here")
    return Found(value=0.0)


def _is_of(entry: Entry, codes: Sequence[str]) -> bool:
    """Whether an entry is of the codes; of a relative's disease, whose code is the relationship."""
    if entry.kind != "family_history":
        return coded_as(entry, codes)
    diseases = entry.value.codes if isinstance(entry.value, Coded) else ()
    return any(_below(disease.code, code) for disease in diseases for code in codes)


def _genes(wanted: Input, record: PatientRecord) -> Found:
    """Number of harmful variants in a list of genes, or whether a named one is there."""
    if wanted.kind == "gene_burden":
        told = genetics.burden(record, wanted.genes)
        if told.unknown:
            return Found(reason=f"not tested, or not classified: {', '.join(told.unknown)}")
        return Found(entries=_of_keys(record, told.keys), value=float(told.count or 0))
    named = genetics.named(record, wanted.genes[0], wanted.variant)
    if named.state is None:
        return Found(reason="the gene was not tested")
    return Found(entries=_of_keys(record, named.keys), value=float(named.state == "present"))


def _of_keys(record: PatientRecord, keys: Sequence[str]) -> tuple[Entry, ...]:
    return tuple(e for e in record.entries if e.key in set(keys))


def _score(wanted: Input, before: Mapping[str, Found]) -> Found:
    """A derived score, resting on all that went into it."""
    measured = {
        name: scores.Measured(value=found.value, key=found.entries[0].key)
        for name, found in before.items()
        if name in wanted.of and found.value is not None and found.entries
    }
    made = scores.derive(wanted.score, measured)
    if made.value is None:
        return Found(reason=made.reason)
    entries = tuple(
        e for name in wanted.of for e in before[name].entries if e.key in set(made.used)
    )
    value = wanted.tokens.get(made.value, made.value) if isinstance(made.value, str) else made.value
    return Found(entries=entries, value=value)


def read(
    protocol: Protocol, lexicon: Lexicon, record: PatientRecord, t0: datetime, as_of: datetime
) -> Features:
    """Everything the pack reads of a record, as known at `as_of`.

    Args:
        protocol: The pack's.
        lexicon: The pack's words for findings.
        record: Folded as of `as_of`.
        t0: Index time.
        as_of: Aware UTC; what is later is not read.
    """
    numbers: dict[str, float] = {}
    findings: dict[str, int] | None = None
    comparators, used, missing = [], [], []
    served = find_all(protocol.inputs, record, t0, as_of)
    for wanted in protocol.inputs:
        found = served[wanted.id]
        if not found.there:
            handling = _handling(wanted)
            missing.append(Missing(input=wanted.id, reason=found.reason, handling=handling))
            continue
        if wanted.kind == "report":
            findings = states(lexicon, _section(wanted, found.entries[0]))
        else:
            numbers[wanted.id] = _number(wanted, found)
            if any(isinstance(e.value, Quantity) and e.value.comparator for e in found.entries):
                comparators.append(wanted.id)
        used += [_used(wanted, entry) for entry in found.entries]
    return Features(
        numbers=numbers,
        findings=findings,
        comparators=tuple(comparators),
        used=tuple(used),
        missing=tuple(missing),
    )


def _number(wanted: Input, found: Found) -> float:
    value = wanted.tokens[found.value] if isinstance(found.value, str) else found.value
    assert value is not None
    return transformed(wanted, value)


def sex(entry: Entry) -> str | None:
    """`male`, `female` or None, of FHIR's word or HL7 table 0001's letter."""
    value = entry.value
    word = ""
    if isinstance(value, Coded):
        word = value.codes[0].code if value.codes else value.text
    elif isinstance(value, Text):
        word = value.text
    return {"male": "male", "m": "male", "female": "female", "f": "female"}.get(word.lower())


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
