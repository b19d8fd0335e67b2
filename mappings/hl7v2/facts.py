"""One key for one fact: what a message says twice, and what it numbers alike, told apart.

Senders number several panels, studies or timed samples alike. Then each is filed under a weak key,
with its service or its time beside the number. What can only be one thing at a time (a demographic
field, a visit, a diagnosis) is kept once.
Source: site rules 9 and 10; HL7/v2-to-fhir leaves it open.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

from mappings import keys
from mappings.hl7v2.reading import Reading
from mappings.record import Entry

_ONE_AT_A_TIME = frozenset({"patient", "alias", "encounter", "condition", "appointment"})


def distinct(reading: Reading, made: list[Entry], *, alone: bool) -> list[Entry]:
    """Entries with no key for two facts of one patient, in their order.

    Args:
        reading: The message.
        made: All its entries.
        alone: It is of one patient.
    """
    if alone and len({entry.key for entry in made}) == len(made):
        return made
    names = [entry.key if alone else f"{entry.patient} {entry.key}" for entry in made]
    several: dict[str, list[Entry]] = defaultdict(list)
    for name, entry in zip(names, made, strict=True):
        several[name].append(entry)
    kept: list[Entry] = []
    for name, entry in zip(names, made, strict=True):
        alike = several[name]
        if len(alike) == 1:
            kept.append(entry)
        elif alike[0] is entry:
            kept += _told_apart(reading, alike)
    return kept


def _told_apart(reading: Reading, alike: list[Entry]) -> list[Entry]:
    if alike[0].kind in _ONE_AT_A_TIME:
        return [_strongest(reading, alike)]
    kept: dict[str, Entry] = {}
    for entry in alike:
        if kept.setdefault(repr(replace(entry, path="")), entry) is not entry:
            reading.note(entry.path, "said before, word for word: kept once", "information")
    return _marked(reading, list(kept.values())) if len(kept) > 1 else [*kept.values()]


def _strongest(reading: Reading, alike: list[Entry]) -> Entry:
    """The version that counts: by its status, else the last."""
    best = alike[0]
    for entry in alike[1:]:
        lost = entry if best.precedence > entry.precedence else best
        best = best if lost is entry else entry
        if lost.details.get("notes"):
            reading.note("NTE-3", "comment on what is said again", "information")
        segment = lost.path.partition("-")[0]
        reading.note(segment, f"said again in {best.path}, which counts", "information")
    return best


def _marked(reading: Reading, alike: list[Entry]) -> list[Entry]:
    marks = [_mark_of(entry) for entry in alike]
    counts: Counter[str] = Counter()
    made = []
    for entry, mark in zip(alike, marks, strict=True):
        key, twin = entry.key, entry.twin
        if len(set(marks)) > 1:
            key = keys.apart(key, mark)
            # Several orders under one number must not all join the next message that names it.
            twin = keys.apart(twin, mark) if twin and entry.kind == "order" else twin
        counts[key] += 1
        if counts[key] > 1:
            reading.note(entry.path, "same number, code and time twice: counted in order")
            key = f"{key}#{counts[key]}"
        made.append(replace(entry, key=key, twin=twin))
    return made


def _mark_of(entry: Entry) -> str:
    """What tells facts under one number apart: when it was measured, or what was ordered."""
    if entry.kind == "observation":
        return keys.stamp(entry.effective) if entry.effective else ""
    return entry.code.code if entry.code else ""
