"""Variants of a record: what was found in which gene, what was looked for, and what nobody tested.

A gene is tested where a call, a list of genes or a negative result says so; otherwise what it holds
is unknown, and unknown is None, never 0. Figures of a whole sample (MSI, TMB) are plain
observations and no affair of this package. How entries become calls stands in `calls`, what a
report writes in `words`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from inference.genetics.calls import Tested, Variant, calls, groups, tested
from inference.genetics.words import HARMFUL, Origin, State, acid, coding
from mappings.record import PatientRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Burden:
    """Pathogenic and likely pathogenic variants of a list of genes.

    Attributes:
        by_gene: Gene -> number of variants; None where the gene was not tested, or holds a
            variant whose significance is not told.
        unclassified: Variants without a significance, in genes of the list.
        keys: Of the entries that tell it.
    """

    by_gene: Mapping[str, int | None]
    unclassified: tuple[Variant, ...]
    keys: tuple[str, ...]

    @property
    def count(self) -> int | None:
        """Variants of the genes that are known, or None where none is."""
        known = [number for number in self.by_gene.values() if number is not None]
        return sum(known) if known else None

    @property
    def unknown(self) -> tuple[str, ...]:
        """Genes of the list of which nothing is known."""
        return tuple(gene for gene, number in self.by_gene.items() if number is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """Whether one variant is there: None where its gene was not tested; keys of what says so."""

    state: State | None
    keys: tuple[str, ...]


def variants(record: PatientRecord) -> tuple[Variant, ...]:
    """Every call of the record, found or not found, in the order of its entries.

    Preliminary ones are among them (`settled`); retracted and corrected ones are as the record
    folds them, and what we wrote ourselves is no evidence.
    """
    return tuple(calls(groups(record)))


def burden(record: PatientRecord, genes: Sequence[str], origin: Origin | None = None) -> Burden:
    """Number of harmful variants of each gene of a list.

    A change that several reports tell of counts once, with the significance told last.

    Args:
        record: Folded as of a moment.
        genes: HGNC symbols or numbers.
        origin: Only calls told to be of this origin; None takes every call.
    """
    told_of = groups(record)
    settled = [v for v in calls(told_of) if v.settled and origin in (None, v.origin)]
    whole = [t for t in tested(told_of) if not t.changes and origin in (None, t.origin)]
    by_gene: dict[str, int | None] = {}
    unclassified: list[Variant] = []
    keys: list[str] = []
    for gene in genes:
        told = [v for v in settled if v.of(gene)]
        listed = [t for t in whole if gene in t.names]
        found = _distinct(v for v in told if v.state == "present")
        unclear = [v for v in found if v.significance is None]
        known = bool(told or listed) and not unclear
        by_gene[gene] = sum(v.significance in HARMFUL for v in found) if known else None
        unclassified += unclear
        keys += _keys([*told, *listed])
    return Burden(
        by_gene=by_gene, unclassified=tuple(unclassified), keys=tuple(dict.fromkeys(keys))
    )


def named(record: PatientRecord, gene: str, change: str) -> Named:
    """Whether a record tells of one variant.

    Present in any settled report is present: a later sample without it does not unsay it.

    Args:
        record: Folded as of a moment.
        gene: HGNC symbol or number.
        change: Coding or amino acid change without a transcript, `c.747G>T`, `p.V600E`.
    """
    told_of = groups(record)
    settled = [v for v in calls(told_of) if v.settled and v.of(gene)]
    wanted = acid(change) if change.startswith("p.") else coding(change)
    of_it = [v for v in settled if wanted in (v.change, v.protein)]
    found = [v for v in of_it if v.state == "present"]
    if found:
        return Named(state="present", keys=_keys(found))
    looked: list[Variant | Tested] = [*of_it] or [
        *settled,
        *(t for t in tested(told_of) if gene in t.names and (not t.changes or wanted in t.changes)),
    ]
    return Named(state="absent" if looked else None, keys=_keys(looked))


def _keys(found: Iterable[Variant | Tested]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key for one in found for key in one.keys))


def _distinct(found: Iterable[Variant]) -> list[Variant]:
    """Each change once, as it was told last; calls without a change stay apart."""
    newest: dict[tuple[str, ...], Variant] = {}
    for variant in found:
        name = variant.change or variant.protein
        place = (variant.gene, name) if name else variant.keys
        before = newest.get(place)
        if before is None or before.told <= variant.told:
            newest[place] = variant
    return list(newest.values())
