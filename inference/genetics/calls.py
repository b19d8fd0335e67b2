"""Calls of a record: entries that belong together, and what each group says of a gene.

One call is one OBX-4 group of an ORU or one FHIR Observation with components; both doors give the
same. Source: HL7 v2 LRI clinical genomics; HL7 Genomics Reporting IG; models.md 1.0.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from inference.genetics import words
from inference.genetics.words import Origin, Significance, State
from mappings.record import Entry, PatientRecord, When
from mappings.statuses import SETTLED, STATUS_RANK, Status

_ASSESSMENT, _GENE, _CHANGE, _PROTEIN = "69548-6", "48018-6", "48004-6", "48005-3"
_ORIGIN, _SIGNIFICANCE, _OVERALL = "48002-0", "53037-8", "51968-6"
# "Gene mutations tested for", and the Region Studied of the IG with its genes as components.
_TESTED, _REGION = "36908-2", "53041-0"
CODES = (
    _ASSESSMENT, _GENE, _CHANGE, _PROTEIN, _ORIGIN, _SIGNIFICANCE, _OVERALL, _TESTED, _REGION,
)  # fmt: skip
_REVISED: tuple[Status, ...] = ("corrected", "amended", "appended")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One call of one gene.

    Attributes:
        gene: HGNC symbol, or the HGNC number where no symbol was sent.
        hgnc: `HGNC:11998`, or empty.
        state: Found, or looked for and not found.
        hgvs: Coding change as sent, with its transcript; empty of a whole gene.
        change: Coding change alone, `c.747G>T`.
        protein: Amino acid change, `p.Arg249Ser`, or empty.
        significance: None where nobody told one, or several that contradict each other.
        origin: None where it was not told.
        keys: Of the entries it was read from.
        effective: When the sample was taken.
        status: Of its least settled part.
        told: When the source made its newest part, aware UTC.
    """

    gene: str
    state: State
    keys: tuple[str, ...]
    effective: When | None
    status: Status
    told: datetime
    hgnc: str = ""
    hgvs: str = ""
    change: str = ""
    protein: str = ""
    significance: Significance | None = None
    origin: Origin | None = None

    @property
    def settled(self) -> bool:
        """Whether it will change only by a correction."""
        return self.status in SETTLED

    def of(self, gene: str) -> bool:
        """Whether it is a call of this gene, by symbol or HGNC number."""
        return gene in (self.gene, self.hgnc)


@dataclass(slots=True)
class Group:
    """Entries that belong together, by code.

    Attributes:
        order: What several groups of one report share; empty by FHIR.
        rows: Code -> entries.
    """

    order: str
    rows: dict[str, list[Entry]] = field(default_factory=lambda: defaultdict(list))

    def all(self) -> list[Entry]:
        """Every entry of it."""
        return [entry for entries in self.rows.values() for entry in entries]

    def of(self, code: str) -> list[Entry]:
        """Entries of a code."""
        return self.rows.get(code, [])


@dataclass(frozen=True, slots=True)
class Tested:
    """Genes of which a report says that they were examined.

    Attributes:
        names: Symbols and HGNC numbers.
        changes: Coding changes, where these alone were looked for; empty of whole genes.
    """

    names: frozenset[str]
    changes: frozenset[str]
    origin: Origin | None
    keys: tuple[str, ...]


def groups(record: PatientRecord) -> list[Group]:
    """What belongs together: an OBX-4 group, or a FHIR Observation and its components."""
    told = [e for e in record.of_kind("observation") if e.source.origin != "own"]
    told = [e for e in told if not e.details.get("role")]
    wholes = {e.key: e for e in told}
    made: dict[tuple[str, str], Group] = {}
    parents = {_parent(e) for e in told if "component_of" in e.details}
    for entry in told:
        if entry.code is None:
            continue
        if "component_of" in entry.details:
            place = ("", _parent(entry))
            whole = wholes.get(place[1])
            if whole is not None and whole.source.message != entry.source.message:
                continue  # the newest version of the resource no longer says it
        elif entry.key in parents or f"/{entry.code.code}/" not in entry.key:
            place = ("", entry.key)
        else:
            order, _, sub_id = entry.key.rpartition(f"/{entry.code.code}/")
            place = (order, str(entry.details.get("group") or sub_id))
        code = next((c for c in CODES if entry.has_code(c)), None)
        if code is not None:
            made.setdefault(place, Group(place[0])).rows[code].append(entry)
    _interpret(made)
    _origins(made)
    return list(made.values())


def _parent(entry: Entry) -> str:
    """Key of the Observation that a component belongs to."""
    code = entry.code.code if entry.code else ""
    return entry.key.rpartition(f"/{code}")[0]


def _interpret(groups: dict[tuple[str, str], Group]) -> None:
    """Give a significance that was told apart to the variants it is derived from."""
    named_by = {
        _name(str(entry.details.get("reference") or "")): group
        for group in groups.values()
        for entry in group.of(_ASSESSMENT)
    }
    for group in groups.values():
        for entry in list(group.of(_SIGNIFICANCE)):
            for reference in entry.details.get("derived_from", ()):
                target = named_by.get(_name(reference))
                if target is not None and target is not group:
                    target.rows[_SIGNIFICANCE].append(entry)


def _name(reference: str) -> str:
    """Id at the end of `Observation/v1/_history/2` or `urn:uuid:v1`."""
    return re.split(r"[/:]", reference.partition("/_history/")[0])[-1]


def _origins(groups: dict[tuple[str, str], Group]) -> None:
    """Give the origin told of a whole sample to its groups that tell none."""
    for (order, _), group in groups.items():
        whole = groups.get((order, "")) if order else None
        if whole is not None and whole is not group and not group.of(_ORIGIN):
            group.rows[_ORIGIN] += whole.of(_ORIGIN)


def calls(told: Iterable[Group]) -> Iterator[Variant]:
    """What each group says of each of its genes; nothing of a group that is no call."""
    for group in told:
        state = _state(group)
        genes = words.genes(group.of(_GENE))
        # Of several genes and several changes nobody says which belongs to which.
        if state is None or (len(genes) > 1 and len(group.of(_CHANGE)) > 1):
            continue
        entries = group.all()
        hgvs = words.worded(group.of(_CHANGE))
        for symbol, number in genes:
            yield Variant(
                gene=symbol or number,
                hgnc=number,
                state=state,
                hgvs=hgvs,
                change=words.coding(hgvs),
                protein=words.acid(words.worded(group.of(_PROTEIN))),
                significance=words.significance(group.of(_SIGNIFICANCE)),
                origin=words.one(group.of(_ORIGIN), words.ORIGINS),
                keys=tuple(dict.fromkeys(e.key for e in entries)),
                effective=next((e.effective for e in entries if e.effective), None),
                status=_status(entries),
                told=max(e.precedence[0] for e in entries),
            )


def tested(told: Sequence[Group]) -> Iterator[Tested]:
    """Genes of lists of genes, and of reports that found nothing."""
    negative = {
        group.order
        for group in told
        if group.order and words.one(group.of(_OVERALL), words.STATES) == "absent"
    }
    for group in told:
        lists = group.of(_TESTED)
        changes = frozenset(
            c
            for e in lists
            for v in words.values(e)
            for w in words.spellings(v)
            if (c := words.coding(w))
        )
        if changes or group.of(_REGION) or (group.order in negative and _bare(group)):
            lists = lists + group.of(_GENE)
        names = frozenset(n for e in lists for v in words.values(e) for n in words.listed(v))
        if names and all(entry.status in SETTLED for entry in lists):
            keys = tuple(entry.key for entry in lists)
            yield Tested(names, changes, words.one(group.of(_ORIGIN), words.ORIGINS), keys)


def _bare(group: Group) -> bool:
    """Whether it names a gene and says nothing of it."""
    return not (group.of(_ASSESSMENT) or group.of(_CHANGE) or group.of(_PROTEIN))


def _state(group: Group) -> State | None:
    changed = words.worded(group.of(_CHANGE)) or words.worded(group.of(_PROTEIN))
    if group.of(_ASSESSMENT):
        told = words.one(group.of(_ASSESSMENT), words.STATES)
        return "absent" if told == "present" and changed.endswith("=") else told
    if not changed:
        return None
    return "absent" if changed.endswith("=") else "present"


def _status(entries: Sequence[Entry]) -> Status:
    """Of the least settled: a call is no more settled than its least settled part."""
    found = {entry.status for entry in entries}
    unsettled = found - SETTLED
    if unsettled:
        return min(unsettled, key=STATUS_RANK.__getitem__)
    return next((s for s in _REVISED if s in found), "final")
