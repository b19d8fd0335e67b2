"""Variants of a record: what was found in which gene, what was looked for, and what nobody tested.

One call is one OBX-4 group of an ORU or one FHIR Observation with components; both doors give the
same. A gene is tested where a call, a list of genes or a negative result says so; otherwise what
it holds is unknown, and unknown is None, never 0. Figures of a whole sample (MSI, TMB) are plain
observations and no affair of this module.
Source: HL7 v2 LRI clinical genomics; HL7 Genomics Reporting IG; LOINC answers of 53037-8, 69548-6,
48002-0; models.md 1.0.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeVar

from mappings.record import Coded, Entry, PatientRecord, Status, Text, Value, When
from mappings.record_json import value_from_json

Significance = Literal[
    "pathogenic", "likely pathogenic", "uncertain significance", "likely benign", "benign"
]
Origin = Literal["germline", "somatic"]
State = Literal["present", "absent"]

_ASSESSMENT, _GENE, _CHANGE, _PROTEIN = "69548-6", "48018-6", "48004-6", "48005-3"
_ORIGIN, _SIGNIFICANCE, _OVERALL = "48002-0", "53037-8", "51968-6"
# "Gene mutations tested for", and the Region Studied of the IG with its genes as components.
_TESTED, _REGION = "36908-2", "53041-0"
CODES = (
    _ASSESSMENT, _GENE, _CHANGE, _PROTEIN, _ORIGIN, _SIGNIFICANCE, _OVERALL, _TESTED, _REGION,
)  # fmt: skip
HARMFUL: frozenset[Significance] = frozenset({"pathogenic", "likely pathogenic"})
# Of least settled to most: a call is no more settled than its least settled part.
_UNSETTLED: tuple[Status, ...] = ("unknown", "registered", "preliminary")
_REVISED: tuple[Status, ...] = ("corrected", "amended", "appended")

_SYMBOL = re.compile(r"C\d+orf\d+|[A-Z][A-Z0-9]{1,9}(?:-[A-Z0-9]+)?")
_HGNC = re.compile(r"HGNC:\d+")
_CODING = re.compile(r"[cgnm]\.[0-9A-Za-z_+\-*>=?]+")
_ACID = re.compile(r"p\.\(?([A-Za-z0-9_*=?>]+)\)?")
_SHORT_ACID = re.compile(r"([A-Z])(\d+)([A-Z*])")
_SEPARATORS = re.compile(r"[,、;/\s]+")
_ACIDS = {
    "A": "Ala", "C": "Cys", "D": "Asp", "E": "Glu", "F": "Phe", "G": "Gly", "H": "His",
    "I": "Ile", "K": "Lys", "L": "Leu", "M": "Met", "N": "Asn", "P": "Pro", "Q": "Gln",
    "R": "Arg", "S": "Ser", "T": "Thr", "V": "Val", "W": "Trp", "Y": "Tyr", "*": "Ter",
}  # fmt: skip


def _plain(words: str) -> str:
    """Words without case, width, brackets and endings that change no meaning."""
    text = unicodedata.normalize("NFKC", words).casefold()
    text = re.sub(r"\([^()]*\)", "", text).replace("_", " ")
    text = re.sub(r"(?:性|变异|突变|variant)", "", text)
    return " ".join(text.split())


_Term = TypeVar("_Term", bound=str)


def _terms(words: Mapping[_Term, Sequence[str]]) -> dict[str, _Term]:
    made: dict[str, _Term] = {}
    for term, spellings in words.items():
        for word in (str(term), *spellings):
            made[_plain(word)] = term
    return made


_SIGNIFICANCES: dict[str, Significance] = _terms(
    {
        "pathogenic": ("LA6668-3", "致病", "P"),
        "likely pathogenic": (
            "LA26332-9", "可能致病", "疑似致病", "LP", "pathogenic/likely pathogenic",
        ),
        "uncertain significance": (
            "LA26333-7", "意义未明", "意义不明", "临床意义未明", "临床意义不明", "VUS",
            "variant of uncertain significance", "of uncertain significance",
            "unknown significance",
        ),
        "likely benign": (
            "LA26334-5", "可能良性", "疑似良性", "LB", "benign/likely benign",
        ),
        "benign": ("LA6675-8", "良性", "B"),
    }
)  # fmt: skip
_ORIGINS: dict[str, Origin] = _terms(
    {
        "germline": ("LA6683-2", "胚系", "种系"),
        "somatic": ("LA6684-0", "体细胞", "体系"),
    }
)
_STATES: dict[str, State] = _terms(
    {
        "present": ("LA9633-4", "LA6576-8", "detected", "positive", "检出", "检测到", "阳性"),
        "absent": (
            "LA9634-2", "LA6577-6", "LA11883-8", "not detected", "negative", "not present",
            "未检出", "未检测到", "未见", "阴性",
        ),
    }
)  # fmt: skip


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
        return self.status not in _UNSETTLED

    def of(self, gene: str) -> bool:
        """Whether it is a call of this gene, by symbol or HGNC number."""
        return gene in (self.gene, self.hgnc)


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


@dataclass(slots=True)
class _Group:
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
class _Tested:
    """Genes of which a report says that they were examined.

    Attributes:
        names: Symbols and HGNC numbers.
        changes: Coding changes, where these alone were looked for; empty of whole genes.
    """

    names: frozenset[str]
    changes: frozenset[str]
    origin: Origin | None
    keys: tuple[str, ...]


def variants(record: PatientRecord) -> tuple[Variant, ...]:
    """Every call of the record, found or not found, in the order of its entries.

    Preliminary ones are among them (`settled`); retracted and corrected ones are as the record
    folds them, and what we wrote ourselves is no evidence.
    """
    return tuple(_calls(_groups(record)))


def burden(record: PatientRecord, genes: Sequence[str], origin: Origin | None = None) -> Burden:
    """Number of harmful variants of each gene of a list.

    A change that several reports tell of counts once, with the significance told last.

    Args:
        record: Folded as of a moment.
        genes: HGNC symbols or numbers.
        origin: Only calls told to be of this origin; None takes every call.
    """
    groups = _groups(record)
    calls = [v for v in _calls(groups) if v.settled and origin in (None, v.origin)]
    whole = [t for t in _tested(groups) if not t.changes and origin in (None, t.origin)]
    by_gene: dict[str, int | None] = {}
    unclassified: list[Variant] = []
    keys: list[str] = []
    for gene in genes:
        told = [v for v in calls if v.of(gene)]
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
    groups = _groups(record)
    calls = [v for v in _calls(groups) if v.settled and v.of(gene)]
    wanted = _acid(change) if change.startswith("p.") else _coding(change)
    of_it = [v for v in calls if wanted in (v.change, v.protein)]
    found = [v for v in of_it if v.state == "present"]
    if found:
        return Named(state="present", keys=_keys(found))
    tested: list[Variant | _Tested] = [*of_it] or [
        *calls,
        *(t for t in _tested(groups) if gene in t.names and (not t.changes or wanted in t.changes)),
    ]
    return Named(state="absent" if tested else None, keys=_keys(tested))


def _keys(found: Iterable[Variant | _Tested]) -> tuple[str, ...]:
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


def _groups(record: PatientRecord) -> list[_Group]:
    """What belongs together: an OBX-4 group, or a FHIR Observation and its components."""
    told = [e for e in record.of_kind("observation") if e.source.origin != "own"]
    told = [e for e in told if not e.details.get("role")]
    wholes = {e.key: e for e in told}
    made: dict[tuple[str, str], _Group] = {}
    parents = {_parent(e) for e in told if "component_of" in e.details}
    for entry in told:
        if entry.code is None:
            continue
        if "component_of" in entry.details:
            place = ("", _parent(entry))
            whole = wholes.get(place[1])
            if whole is not None and whole.source.message != entry.source.message:
                continue  # the newest version of the resource no longer says it
        elif entry.key in parents or not entry.key.startswith(f"observation/{entry.code.code}/"):
            place = ("", entry.key)
        else:
            order, _, sub_id = entry.key.split("/", 2)[2].rpartition("/")
            place = (order, str(entry.details.get("group") or sub_id))
        code = next((c for c in CODES if entry.has_code(c)), None)
        if code is not None:
            made.setdefault(place, _Group(place[0])).rows[code].append(entry)
    _interpret(made)
    _origins(made)
    return list(made.values())


def _parent(entry: Entry) -> str:
    """Key of the Observation that a component belongs to."""
    code = entry.code.code if entry.code else ""
    return entry.key.rpartition(f"/{code}")[0]


def _interpret(groups: dict[tuple[str, str], _Group]) -> None:
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


def _origins(groups: dict[tuple[str, str], _Group]) -> None:
    """Give the origin told of a whole sample to its groups that tell none."""
    for (order, _), group in groups.items():
        whole = groups.get((order, "")) if order else None
        if whole is not None and whole is not group and not group.of(_ORIGIN):
            group.rows[_ORIGIN] += whole.of(_ORIGIN)


def _calls(groups: Iterable[_Group]) -> Iterator[Variant]:
    for group in groups:
        state = _state(group)
        genes = _genes(group.of(_GENE))
        # Of several genes and several changes nobody says which belongs to which.
        if state is None or (len(genes) > 1 and len(group.of(_CHANGE)) > 1):
            continue
        entries = group.all()
        hgvs = _worded(group.of(_CHANGE))
        acid = _ACID.search(_width(_worded(group.of(_PROTEIN))))
        for symbol, number in genes:
            yield Variant(
                gene=symbol or number,
                hgnc=number,
                state=state,
                hgvs=hgvs,
                change=_coding(hgvs),
                protein=_acid(acid[0]) if acid else "",
                significance=_significance(group.of(_SIGNIFICANCE)),
                origin=_one(group.of(_ORIGIN), _ORIGINS),
                keys=tuple(dict.fromkeys(e.key for e in entries)),
                effective=next((e.effective for e in entries if e.effective), None),
                status=_status(entries),
                told=max(e.precedence[0] for e in entries),
            )


def _tested(groups: Sequence[_Group]) -> Iterator[_Tested]:
    """Genes of lists of genes, and of reports that found nothing."""
    negative = {
        group.order
        for group in groups
        if group.order and _one(group.of(_OVERALL), _STATES) == "absent"
    }
    for group in groups:
        lists = group.of(_TESTED)
        changes = frozenset(
            c for e in lists for v in _values(e) for w in _words(v) if (c := _coding(w))
        )
        if changes or group.of(_REGION) or (group.order in negative and _bare(group)):
            lists = lists + group.of(_GENE)
        names = frozenset(n for e in lists for v in _values(e) for n in _listed(v))
        if names and not any(entry.status in _UNSETTLED for entry in lists):
            keys = tuple(entry.key for entry in lists)
            yield _Tested(names, changes, _one(group.of(_ORIGIN), _ORIGINS), keys)


def _bare(group: _Group) -> bool:
    """Whether it names a gene and says nothing of it."""
    return not (group.of(_ASSESSMENT) or group.of(_CHANGE) or group.of(_PROTEIN))


def _state(group: _Group) -> State | None:
    changed = _worded(group.of(_CHANGE)) or _worded(group.of(_PROTEIN))
    if group.of(_ASSESSMENT):
        told = _one(group.of(_ASSESSMENT), _STATES)
        return "absent" if told == "present" and changed.endswith("=") else told
    if not changed:
        return None
    return "absent" if changed.endswith("=") else "present"


def _status(entries: Sequence[Entry]) -> Status:
    found = {entry.status for entry in entries}
    return next((s for s in (*_UNSETTLED, *_REVISED) if s in found), "final")


def _significance(entries: Sequence[Entry]) -> Significance | None:
    found = {_term(v, _SIGNIFICANCES) for e in entries for v in _values(e)}
    if len(found) == 1:
        return found.pop()
    return "likely pathogenic" if found and found <= HARMFUL else None


def _one(entries: Sequence[Entry], terms: Mapping[str, _Term]) -> _Term | None:
    """The one term that the entries agree on."""
    found = {_term(v, terms) for e in entries for v in _values(e)}
    return found.pop() if len(found) == 1 else None


def _term(value: Value | None, terms: Mapping[str, _Term]) -> _Term | None:
    return next((terms[w] for w in map(_plain, _words(value)) if w in terms), None)


def _values(entry: Entry) -> list[Value | None]:
    """Its value, or all of a field that repeats."""
    repeated = entry.details.get("repetitions")
    return [value_from_json(v) for v in repeated] if repeated else [entry.value]


def _words(value: Value | None) -> list[str]:
    """Codes, their displays and the text of an answer."""
    if isinstance(value, Coded):
        codings = [word for c in value.codes for word in (c.code, c.display)]
        return [word for word in (*codings, value.text) if word]
    return [value.text] if isinstance(value, Text) else []


def _worded(entries: Sequence[Entry]) -> str:
    """The first answer that names a change, code before text."""
    words = [w for e in entries for v in _values(e) for w in _words(v)]
    shaped = (w for w in words if _CODING.search(_width(w)) or _ACID.search(_width(w)))
    return next(shaped, "")


def _width(text: str) -> str:
    """Full-width letters and signs of Chinese forms as ASCII."""
    return unicodedata.normalize("NFKC", text)


def _coding(text: str) -> str:
    found = _CODING.search(_width(text))
    return found[0] if found else ""


def _acid(text: str) -> str:
    """An amino acid change in three letters, without brackets."""
    found = _ACID.search(_width(text))
    if found is None:
        return ""
    body = found[1]
    short = _SHORT_ACID.fullmatch(body)
    if short and short[1] in _ACIDS:
        body = f"{_ACIDS[short[1]]}{short[2]}{_ACIDS.get(short[3], short[3])}"
    return f"p.{body}"


def _genes(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    """Symbol and HGNC number of each gene, either may be empty."""
    found = []
    for entry in entries:
        for value in _values(entry):
            words = _words(value)
            number = next((n[0] for w in words if (n := _HGNC.search(w))), "")
            symbols = (s for w in words if (s := _symbol(w)))
            found.append((next(symbols, ""), number))
    return list(dict.fromkeys(pair for pair in found if any(pair)))


def _symbol(text: str) -> str:
    """The gene symbol of `TP53`, `TP53基因` or `BRCA1 gene`, or an empty string."""
    found = _SYMBOL.search(_HGNC.sub("", _width(text)))
    return found[0] if found else ""


def _listed(value: Value | None) -> Iterator[str]:
    """Every gene of a list: symbols and HGNC numbers."""
    for words in _words(value):
        if _coding(words):
            continue
        yield from (n for part in _SEPARATORS.split(_width(words)) if (n := _symbol(part)))
        yield from _HGNC.findall(words)
