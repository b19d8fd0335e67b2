"""The fold: of all versions of facts the ones that hold.

Source: docs/architecture.md (the record is a fold, never an edit); site rules 9 and 10.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from mappings.statuses import RETRACTED

if TYPE_CHECKING:
    from mappings.record import Entry, Knowledge


def fold(known: Iterable[Entry]) -> list[Entry]:
    """The winning version of each fact that was not taken back, oldest clinical time first."""
    winners = (_winner(group) for group in _facts(_standing(_last_read(list(known)))))
    kept = [e for e in winners if e.status not in RETRACTED and not _awaited(e)]
    kept.sort(key=lambda e: (clinical(e), e.seq, e.key))
    return kept


def _winner(versions: Sequence[Entry]) -> Entry:
    """The greatest version; one that came without its value (OBX-11 = U) keeps what was before."""
    best = max(versions, key=lambda e: e.precedence)
    if best.value is not None or not best.details.get("value_as_before"):
        return best
    valued = [e for e in versions if e.value is not None and e.status not in RETRACTED]
    if not valued:
        return best
    before = max(valued, key=lambda e: e.precedence)
    return replace(
        best,
        value=before.value,
        code=best.code or before.code,
        alternates=best.alternates or before.alternates,
        effective=best.effective or before.effective,
        details={**before.details, **best.details},
    )


def _awaited(entry: Entry) -> bool:
    """Whether only the status of a report was told yet (MDM^T03), and never its text."""
    return entry.kind == "report" and entry.value is None and "value_as_before" in entry.details


def _last_read(entries: list[Entry]) -> list[Entry]:
    """Entries as their messages were read last: a former reading is no version of the fact.

    One place of a message says one thing of one fact. What a later reading no longer says
    (`Entry.unsaid`) is as if it had never been said.
    """
    again = [e for e in entries if e.reading]
    if not again:
        return entries
    last: dict[tuple[int, str, str], int] = {}
    for entry in again:
        place = (entry.source.message, entry.path, entry.key)
        last[place] = max(last.get(place, 0), entry.reading)
    return [
        e
        for e in entries
        if not e.unsaid and e.reading == last.get((e.source.message, e.path, e.key), 0)
    ]


def _standing(entries: list[Entry]) -> list[Entry]:
    """Entries without the members of a set that its sender has told anew since.

    Diagnoses without action codes are a snapshot: those of a later message replace them all
    (v2.5.1 2.10.4); so are the diseases of one relative. Which messages tell of one set stands in
    `details["set"]`.
    """
    newest: dict[str, tuple[datetime, int]] = {}
    for entry in entries:
        if entry.kind in _TOLD_AS_SETS and "set" in entry.details:
            name = entry.details["set"]
            newest[name] = max(newest.get(name, _told(entry)), _told(entry))
    if not newest:
        return entries
    return [
        e
        for e in entries
        if e.kind not in _TOLD_AS_SETS
        or "set" not in e.details
        or _told(e) == newest[e.details["set"]]
    ]


_TOLD_AS_SETS = frozenset({"condition", "family_history"})


def _told(entry: Entry) -> tuple[datetime, int]:
    return (entry.precedence[0], entry.source.message)


def known_at(entry: Entry, knowledge: Knowledge) -> datetime:
    """When an entry reached us, or was issued by its source where it says so."""
    if knowledge == "source" and entry.source_time:
        return entry.source_time.earliest
    return entry.source.received_at


def clinical(entry: Entry) -> datetime:
    """When a fact was, or reached us where nobody says."""
    return entry.effective.earliest if entry.effective else entry.source.received_at


def _facts(entries: Sequence[Entry]) -> Iterable[list[Entry]]:
    """Group the versions of each fact: by key, then by twin across doors (site rule 10)."""
    by_key: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_key[entry.key].append(entry)
    keys_of_twin: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        if entry.twin:
            keys_of_twin[entry.twin].add(entry.key)
    root = {key: key for key in by_key}

    def find(key: str) -> str:
        while root[key] != key:
            root[key] = root[root[key]]
            key = root[key]
        return key

    for keys in keys_of_twin.values():
        weak = [k for k in keys if "@" in k]
        # A key that carries "@" was made from the clinical time because the door had no filler
        # number; only such a key may join another. Two filler numbers are two facts.
        strong = sorted(k for k in keys if "@" not in k)
        for key in weak:
            root[find(key)] = find(strong[0] if strong else weak[0])
    merged: dict[str, list[Entry]] = defaultdict(list)
    for key, group in by_key.items():
        merged[find(key)].extend(group)
    return merged.values()
