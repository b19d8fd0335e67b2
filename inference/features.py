"""Entries to numbers: which entry serves which input, and what it is worth.

Times, units, comparators and plausibility are decided here, and so is what a report says, by the
pack's own words (`features.toml`). Images become tensors in `tensors`; scaling is in the graph.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from inference import by_age, genetics, quantities, scores, staging
from inference.findings import states
from inference.manifest import Lexicon
from inference.matching import age_years, below, not_after, of_codes, sex, split, words
from inference.protocol import TRENDS, Input, Protocol
from mappings.record import Coded, Entry, Kind, PatientRecord, Quantity, When
from mappings.record_json import value_to_json
from mappings.statuses import SETTLED

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
        report: The section that is read of the report; None without one.
        findings: Finding id -> 1 present, -1 absent, 0 doubtful or not told; None without a report
            or without words for them.
        comparators: Input ids whose value stands at the end of an assay's range.
        used: Every entry that was read, in order of the inputs.
        missing: Every input that was not.
    """

    numbers: Mapping[str, float]
    report: str | None = field(repr=False)
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


def choose(
    wanted: Input, record: PatientRecord, t0: datetime, as_of: datetime
) -> tuple[Entry | None, str]:
    """The newest usable entry for a quantity or report, or None and why there is none."""
    reason = _nothing(wanted, record)
    for entry, why_not in _candidates(wanted, record, t0, as_of):
        if not why_not:
            return entry, ""
        reason = why_not
    return None, reason


def _over_window(wanted: Input, record: PatientRecord, t0: datetime, as_of: datetime) -> Found:
    """A statistic of all usable entries of the window; it rests on each of them."""
    usable: list[Entry] = []
    reason = _nothing(wanted, record)
    for entry, why_not in _candidates(wanted, record, t0, as_of):
        if why_not:
            reason = why_not
        else:
            usable.append(entry)
    if not usable:
        return Found(reason=reason)
    value, reason = quantities.over_window(wanted, usable, t0)
    return Found(entries=tuple(usable) if value is not None else (), value=value, reason=reason)


def _nothing(wanted: Input, record: PatientRecord) -> str:
    return "nothing received" if record.elsewhere.isdisjoint(wanted.codes) else _OUTSIDE


def _candidates(
    wanted: Input, record: PatientRecord, t0: datetime, as_of: datetime
) -> Iterator[tuple[Entry, str]]:
    """Entries of its codes, the newest first, each with why it does not serve, or nothing."""
    low, high = window(wanted, t0, as_of)
    # A report may be known by its modality alone.
    known = record.of_kind("report") if wanted.kind == "report" else record.coded(*wanted.codes)
    for entry in reversed(known):
        if not _serves(wanted, entry):
            continue
        when = entry.effective
        if when is None or when.earliest < low or not not_after(when, high):
            yield entry, _OUTSIDE
        else:
            yield entry, _unusable(wanted, entry) or ""


def _serves(wanted: Input, entry: Entry) -> bool:
    # What we wrote ourselves is never evidence (site rule 1).
    if entry.source.origin == "own":
        return False
    if wanted.kind != "report":
        # What was told with an order, or of a specimen, is no measurement of the patient.
        if entry.details.get("role"):
            return False
        return entry.kind == "observation"
    found = split(str(entry.details.get("modality") or ""))
    return "CT" in found if found else any(entry.has_code(c) for c in wanted.codes)


def _unusable(wanted: Input, entry: Entry) -> str | None:
    # A result that may still change on its own is not a feature; its final version is.
    if entry.status not in SETTLED:
        return f"received, but only as {entry.status}"
    if wanted.kind == "report":
        return None if _section(wanted, entry) else f"report without a section {wanted.section}"
    if wanted.kind == "answer":
        return (
            None if answer(wanted, entry) is not None else "received, but with no answer of those"
        )
    if quantities.undated(wanted, entry):
        return "received, but its day is not told"
    there = quantities.of_entry(wanted, entry) is not None
    return None if there else quantities.why_none(wanted, entry)


def answer(wanted: Input, entry: Entry) -> str | None:
    """The one of the input's words that a coded answer or text says, or None."""
    if wanted.reads:
        told = staging.read(wanted.reads, entry.value).value
        return told if told in wanted.tokens else None
    said = words(entry)
    return next((word for word in wanted.tokens if word.casefold() in said), None)


def _section(wanted: Input, entry: Entry) -> str:
    sections = entry.details.get("sections")
    return str(sections.get(wanted.section) or "") if isinstance(sections, Mapping) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What serves an input, or why nothing does.

    Attributes:
        entries: Those it rests on; empty where it is missing, and for a history that nobody told.
        value: In the input's unit, before its transform; of a trend, after it; of an answer or a
            score of categories, the word. None where it is missing, and for a report.
        scaled: The value on the graphs' scale, where that takes more than the value.
        reason: Why it is missing.
    """

    entries: tuple[Entry, ...] = ()
    value: float | str | None = None
    scaled: float | None = None
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
            return _genes(wanted, _of_window(wanted, record, t0, lock))
    return _measured(wanted, record, t0, lock)


def _measured(wanted: Input, record: PatientRecord, t0: datetime, lock: datetime) -> Found:
    """A quantity, an answer or a report."""
    if wanted.statistic != "last":
        return _over_window(wanted, record, t0, lock)
    entry, reason = choose(wanted, record, t0, lock)
    if entry is None:
        return Found(reason=reason)
    if wanted.transform == "zscore_by_age":
        return _judged_by_age(wanted, entry, record)
    value: float | str | None = None
    if wanted.kind == "quantity":
        value = quantities.of_entry(wanted, entry)
    elif wanted.kind == "answer":
        value = answer(wanted, entry)
    return Found(entries=(entry,), value=value)


def _judged_by_age(wanted: Input, entry: Entry, record: PatientRecord) -> Found:
    scaled, why_not = by_age.z(wanted, entry, record)
    if scaled is None:
        return Found(reason=why_not)
    entries = (entry, *by_age.rests_on(record))
    return Found(entries=entries, value=quantities.of_entry(wanted, entry), scaled=scaled)


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
    if wanted.of_relatives:
        known = [e for e in record.of_kind("family_history") if _had(e, wanted.codes)]
    else:
        known = [*of_codes(record, HISTORY, wanted.codes)]
    told = [e for e in known if e.source.origin != "own" and e.status in SETTLED]
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


def _had(entry: Entry, codes: Sequence[str]) -> bool:
    """Whether a relative had one of the diseases; the entry's own code is the relationship."""
    diseases = entry.value.codes if isinstance(entry.value, Coded) else ()
    return any(below(disease.code, code) for disease in diseases for code in codes)


def _of_window(wanted: Input, record: PatientRecord, t0: datetime, lock: datetime) -> PatientRecord:
    """What a record held inside a window; all of it where the input has none."""
    if wanted.window_days is None:
        return record
    low, high = window(wanted, t0, lock)
    kept = (
        e
        for e in record.entries
        if e.effective and e.effective.earliest >= low and not_after(e.effective, high)
    )
    return replace(record, entries=tuple(kept))


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
    went_in = [name for name in wanted.of if name in measured and measured[name].key in made.used]
    entries = {e.key: e for name in went_in for e in before[name].entries}
    return Found(entries=tuple(entries.values()), value=made.value)


def read(
    protocol: Protocol,
    lexicon: Lexicon | None,
    record: PatientRecord,
    t0: datetime,
    as_of: datetime,
) -> Features:
    """Everything the pack reads of a record, as known at `as_of`.

    Args:
        protocol: The pack's.
        lexicon: The pack's words for findings; None where it has none.
        record: Folded as of `as_of`.
        t0: Index time.
        as_of: Aware UTC; what is later is not read.
    """
    numbers: dict[str, float] = {}
    report: str | None = None
    comparators, used, missing = [], [], []
    served = find_all(protocol.inputs, record, t0, as_of)
    for wanted in protocol.inputs:
        found = served[wanted.id]
        if not found.there:
            handling = _handling(wanted)
            missing.append(Missing(input=wanted.id, reason=found.reason, handling=handling))
            if wanted.fill is not None:
                numbers[wanted.id] = _scaled(wanted, wanted.fill)
            continue
        if wanted.kind == "report":
            report = _section(wanted, found.entries[0])
        else:
            numbers[wanted.id] = _number(wanted, found)
            if any(isinstance(e.value, Quantity) and e.value.comparator for e in found.entries):
                comparators.append(wanted.id)
        used += [_used(wanted, entry) for entry in found.entries]
    return Features(
        numbers=numbers,
        report=report,
        findings=states(lexicon, report) if lexicon is not None and report is not None else None,
        comparators=tuple(comparators),
        used=tuple(used),
        missing=tuple(missing),
    )


def _number(wanted: Input, found: Found) -> float:
    if found.scaled is not None:
        return found.scaled
    value = wanted.tokens[found.value] if isinstance(found.value, str) else found.value
    assert value is not None
    return _scaled(wanted, value)


def _scaled(wanted: Input, value: float) -> float:
    """On the graphs' scale; a trend was fitted on it."""
    return value if wanted.statistic in TRENDS else quantities.scaled(wanted, value)


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
    if wanted.fill is not None:
        return f"the model was given {wanted.fill:g} {wanted.unit}".rstrip() + " in its place"
    return "masked; the model was trained with this input missing at random"
