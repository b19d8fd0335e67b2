"""Which identifiers name one person, and which entries are theirs: folds of `alias` and `move`.

Nothing is edited when patients are merged, parted or moved: a further entry says so, and everything
here is worked out from all of them, whatever their order of arrival. Nobody is ever matched by
name. Reading the messages is in `hl7v2` and `fhir`, keeping a projection in `interop.ledger`.
Source: site rules 6 to 9; docs/decisions/0010.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import combinations, pairwise

from mappings.conversion import Conversion
from mappings.folding import known_at
from mappings.record import Entry, Identifier, Knowledge, Text, When
from mappings.statuses import RETRACTED

Pair = tuple[Identifier, Identifier]
Precedence = tuple[datetime, int, int, int, int]

# Events that open a chart: here another name beside another birth date speaks of another person.
# In an update (A08, A31) it is what an emergency patient's chart looks like once they have a name.
REGISTRATIONS = frozenset({"A01", "A04", "A05", "A14", "A28"})

IN_DISPUTE = "an identifier is in dispute: it was given to two patients"
TOLD_APART = "it names as one patient what was told apart"
_ANOTHER = "an identifier is known with another birth date and {}"


@dataclass(frozen=True, slots=True)
class Described:
    """What was ever said of the bearer of an identifier, as sets: a projection of entries.

    Attributes:
        births: Whole dates, ISO 8601.
        sexes: `male` and `female`; anything else tells no two persons apart.
        names: Words of every form of the name, case folded.
    """

    births: frozenset[str] = frozenset()
    sexes: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()

    def __or__(self, other: Described) -> Described:
        return Described(
            self.births | other.births, self.sexes | other.sexes, self.names | other.names
        )

    def __ge__(self, other: Described) -> bool:
        return (
            self.births >= other.births and self.sexes >= other.sexes and self.names >= other.names
        )

    def differs(self, other: Described, *, by_name: bool) -> str:
        """In what both are complete and have nothing in common, or an empty string.

        A birth date is mistyped, a name changes, and either alone says nothing: it takes another
        birth date and another sex, or name where `by_name`.
        """
        if not _disjoint(self.births, other.births):
            return ""
        if _disjoint(self.sexes, other.sexes):
            return "sex"
        return "name" if by_name and _disjoint(self.names, other.names) else ""


_NOTHING = Described()


def _disjoint(one: frozenset[str], other: frozenset[str]) -> bool:
    return bool(one) and bool(other) and not one & other


@dataclass(frozen=True, slots=True)
class Named:
    """One patient of a message.

    Attributes:
        names: Identifiers that the message names together; entries are filed under the first.
        described: What it says of them.
    """

    names: tuple[Identifier, ...]
    described: Described = _NOTHING


@dataclass(frozen=True, slots=True)
class Claim:
    """What one message says of who its patients are.

    Attributes:
        people: Its patients, the first as in `Conversion.identifiers`.
        statements: Its `alias` and `move` entries.
        registers: Whether its event opens a chart.
    """

    people: tuple[Named, ...]
    statements: tuple[Entry, ...] = ()
    registers: bool = False

    @property
    def explicit(self) -> tuple[Entry, ...]:
        """Merges, links, moves and their undoing: more than names in one list."""
        return tuple(e for e in self.statements if "says" in e.details)

    @property
    def names(self) -> tuple[Identifier, ...]:
        """Every identifier it speaks of, each once."""
        found = dict.fromkeys(name for who in self.people for name in who.names)
        for entry in self.explicit:
            found[entry.patient] = None
            if isinstance(entry.value, Identifier):
                found[entry.value] = None
        return tuple(found)


def claim(conversion: Conversion) -> Claim:
    """Read from a conversion whom it speaks of."""
    groups = {conversion.patient: dict.fromkeys(conversion.identifiers)}
    told: dict[Identifier, Described] = {}
    statements: list[Entry] = []
    here = conversion.patient
    for entry in conversion.entries:
        who = entry.patient
        if who is not here:
            here = who
            groups.setdefault(who, {who: None})
        if entry.kind == "patient":
            told[who] = told.get(who, _NOTHING) | described(entry)
        elif entry.kind in ("alias", "move"):
            statements.append(entry)
            if "says" not in entry.details and isinstance(entry.value, Identifier):
                groups[who][entry.value] = None
    people = tuple(Named(tuple(names), told.get(who, _NOTHING)) for who, names in groups.items())
    return Claim(people, tuple(statements), conversion.event in REGISTRATIONS)


def described(entry: Entry) -> Described:
    """What one entry says of the bearer of its identifier, if it is of use to tell two apart."""
    value = entry.value
    match entry.key:
        case "patient/birth_date" if isinstance(value, When) and value.precision not in (
            "year",
            "month",
        ):
            return Described(births=frozenset({value.isoformat()[:10]}))
        case "patient/sex" if isinstance(value, Text) and value.text in ("male", "female"):
            return Described(sexes=frozenset({value.text}))
        case "patient/name" if isinstance(value, Text):
            forms = [value.text, *entry.details.get("all", ())]
            return Described(names=frozenset(" ".join(forms).casefold().split()))
    return _NOTHING


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger holds of an identifier.

    Attributes:
        person: Whom it names.
        described: What was said of them, under whatever identifier.
        disputed: A message that would make it name somebody else awaits a decision.
    """

    person: str
    described: Described
    disputed: bool


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a person must look at a message before anything of it is applied.

    Attributes:
        disputed: Identifiers that it would give to another patient.
    """

    reason: str
    disputed: tuple[Identifier, ...] = ()


def doubt(said: Claim, known: Mapping[Identifier, Known]) -> Doubt | None:
    """Whether an identifier may have been given out again, or may name either of two patients.

    Args:
        said: The message.
        known: Of each of its identifiers that the ledger knows.
    """
    for who in said.people:
        held = {name: known[name] for name in who.names if name in known}
        for name, there in held.items():
            other = who.described.differs(there.described, by_name=said.registers)
            if other:
                return Doubt(_ANOTHER.format(other), (name,))
        for one, two in combinations(held.values(), 2):
            other = one.described.differs(two.described, by_name=False)
            if other:
                return Doubt(_ANOTHER.format(other))
        if any(_unsure(who, there) for there in held.values()):
            return Doubt(IN_DISPUTE)
    named = {name for who in said.people for name in who.names}
    if any(known[n].disputed for n in said.names if n in known and n not in named):
        return Doubt(IN_DISPUTE)
    return None


def _unsure(who: Named, known: Known) -> bool:
    """Only the known birth date tells whose a message is while its identifier is in dispute."""
    return known.disputed and not who.described.births & known.described.births


@dataclass(frozen=True, slots=True)
class Persons:
    """The identifiers of persons at one moment.

    Attributes:
        groups: Each identifier that was spoken of, to all that name the same person.
        contested: Pairs that were said to be one patient against what tells them apart.
    """

    groups: Mapping[Identifier, frozenset[Identifier]]
    contested: frozenset[Pair]

    def of(self, name: Identifier) -> frozenset[Identifier]:
        """Every identifier of the person that `name` names, itself included."""
        return self.groups.get(name) or frozenset({name})

    def holds(self, said: Claim) -> bool:
        """Whether all that a message says to be one is one, unless a later word undid it."""
        if any(name not in self.of(who.names[0]) for who in said.people for name in who.names):
            return False
        pairs = (_pair(*_ends(e)) for e in said.explicit if e.kind == "alias")
        return self.contested.isdisjoint(pairs)


@dataclass(slots=True)
class _Word:
    """The standing word on a pair: one patient or two, said outright or by naming both at once."""

    one: bool
    outright: bool
    since: Precedence


def persons(
    statements: Iterable[Entry],
    *,
    as_of: datetime | None = None,
    knowledge: Knowledge = "received",
) -> Persons:
    """Partition identifiers by what was said of them up to a moment.

    Of a pair the newest outright word counts (merge, link, unlink, move; site rule 9), and naming
    both in one list only where there is none. What was told apart stays apart: where other words
    would still connect it, outright ones go before lists and the oldest goes first, so that an
    identifier falls back to whom it was with before the merge.

    Args:
        statements: Entries; those of other kinds are passed over.
        as_of: Aware UTC, or None for all that is known.
        knowledge: As for `PatientRecord.of`.
    """
    words: dict[Pair, _Word] = {}
    heard = [
        e
        for e in statements
        if e.kind == "alias" and (as_of is None or known_at(e, knowledge) <= as_of)
    ]
    for entry in sorted(heard, key=lambda e: e.precedence):
        if isinstance(entry.value, Identifier):
            _hear(words, entry, entry.value)
    return _grouped(words)


def _pair(one: Identifier, other: Identifier) -> Pair:
    first, second = sorted((one, other), key=_order)
    return first, second


def _order(name: Identifier) -> tuple[str, str]:
    return name.authority, name.value


def _hear(words: dict[Pair, _Word], entry: Entry, other: Identifier) -> None:
    pair, when = _pair(entry.patient, other), entry.precedence
    if "says" not in entry.details:
        words.setdefault(pair, _Word(one=True, outright=False, since=when))
    elif entry.status in RETRACTED:
        words[pair] = _Word(one=False, outright=True, since=when)
    else:
        moved = entry.details.get("moved")
        if moved:
            name, target = sorted(pair, key=lambda n: str(n) != moved)
            _leave(words, name, target, when)
        standing = words.get(pair)
        if standing is None or not (standing.one and standing.outright):
            words[pair] = _Word(one=True, outright=True, since=when)


def _leave(
    words: dict[Pair, _Word], name: Identifier, target: Identifier, when: Precedence
) -> None:
    """Part an identifier from all it was with; these stay together, also without it."""
    ties = {
        other: word
        for pair, word in words.items()
        if name in pair and word.one
        for other in pair
        if other not in (name, target)
    }
    group = _grouped(words).of(name)
    for other in ties:
        words[_pair(name, other)] = _Word(one=False, outright=True, since=when)
    left = sorted(group & ties.keys(), key=lambda n: (not ties[n].outright, ties[n].since))
    for one, two in pairwise(left):
        # Of the later and the weaker of the two words that held them together.
        words.setdefault(
            _pair(one, two),
            _Word(
                one=True, outright=ties[two].outright, since=max(ties[one].since, ties[two].since)
            ),
        )


def _grouped(words: Mapping[Pair, _Word]) -> Persons:
    apart = [pair for pair, word in words.items() if not word.one]
    groups = {name: {name} for pair in words for name in pair}
    contested = set()
    ones = [pair for pair, word in words.items() if word.one]
    ones.sort(key=lambda p: (not words[p].outright, words[p].since, _order(p[0]), _order(p[1])))
    for pair in ones:
        one, other = groups[pair[0]], groups[pair[1]]
        if one is other:
            continue
        if any({a, b} <= one | other for a, b in apart):
            contested.add(pair)
            continue
        one |= other
        for name in other:
            groups[name] = one
    frozen = {id(group): frozenset(group) for group in groups.values()}
    return Persons({n: frozen[id(group)] for n, group in groups.items()}, frozenset(contested))


def own(
    entries: Iterable[Entry],
    who: Identifier,
    *,
    as_of: datetime | None = None,
    knowledge: Knowledge = "received",
) -> list[Entry]:
    """Those entries that belong to the person whom an identifier names.

    Args:
        entries: All that may: filed under any identifier that was ever connected with it.
        who: The identifier.
        as_of: Aware UTC, or None for all that is known.
        knowledge: As for `PatientRecord.of`.
    """
    known = [e for e in entries if as_of is None or known_at(e, knowledge) <= as_of]
    people = persons(known)
    moves = sorted((e for e in known if e.kind == "move"), key=lambda e: e.precedence)
    mine = people.of(who)
    return [e for e in known if _holder(e, moves, people) in mine]


_NOT_OF_A_VISIT = frozenset({"patient", "alias", "move"})


def _holder(entry: Entry, moves: Iterable[Entry], people: Persons) -> Identifier:
    """The identifier an entry belongs to: as received, unless its visit or account went on."""
    source, holder = entry.source, entry.patient
    if entry.kind in _NOT_OF_A_VISIT or not (source.visit or source.account):
        return holder
    numbers = {("visit", source.visit), ("account", source.account)}
    for move in moves:
        left, target = _ends(move)
        if str(target) != move.details["to"]:
            left, target = target, left
        scope, before = move.details["scope"], move.details["number"]
        if left in people.of(holder) and any(
            s == scope and _same_number(number, before) for s, number in numbers
        ):
            holder = target
            numbers.add((scope, move.details["becomes"]))
    return holder


def _ends(entry: Entry) -> Pair:
    """The two identifiers of an `alias` or `move`."""
    other = entry.value
    return (other if isinstance(other, Identifier) else entry.patient), entry.patient


def _same_number(one: str, other: str) -> bool:
    """Equal, where a number without its authority equals that of any."""
    if not one or not other:
        return False
    authority, _, value = one.rpartition("|")
    other_authority, _, other_value = other.rpartition("|")
    known = bool(authority) and bool(other_authority)
    return value == other_value and (not known or authority == other_authority)


def mirrored(entry: Entry) -> Entry:
    """An `alias` or `move` as it is found from its other end."""
    other, patient = _ends(entry)
    key = entry.key.removesuffix(str(other)) + str(patient)
    return replace(entry, patient=other, value=patient, key=key)
