"""What each record should be, worked out from the messages one by one, without our code.

Naive on purpose: every question is answered anew from the list of all that was taken, by asking who
is tied to whom. The rules are those of docs/decisions/0010.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

Name = str
When = tuple[int, int, int, int]  # source time, rank, arrival, place in the message
APART = None
_RANKS = {"F": 3, "C": 4, "W": 6}


@dataclass(frozen=True)
class Patient:
    """One PID: identifiers, and birth date, sex and name if sent."""

    names: tuple[Name, ...]
    born: str = ""
    sex: str = ""
    name: str = ""


@dataclass(frozen=True)
class Word:
    """What is said outright of two identifiers; `moved` is the one that goes over."""

    says: str
    one: Name
    other: Name
    moved: Name = ""


@dataclass(frozen=True)
class Lab:
    """One result."""

    filler: str
    value: str
    status: str = "F"
    visit: str = ""


@dataclass(frozen=True)
class Move:
    """A visit that goes from one patient to another."""

    visit: str
    left: Name
    to: Name


@dataclass(frozen=True)
class Message:
    """What one message says, at a moment of its source."""

    time: int
    patients: tuple[Patient, ...]
    words: tuple[Word, ...] = ()
    labs: tuple[Lab, ...] = ()
    moves: tuple[Move, ...] = ()
    registers: bool = False

    @property
    def names(self) -> set[Name]:
        """Every identifier it speaks of."""
        named = {name for patient in self.patients for name in patient.names}
        for word in self.words:
            named |= {word.one, word.other}
        for move in self.moves:
            named |= {move.left, move.to}
        return named


@dataclass
class Model:
    """All that was taken, by its number of arrival, and what was set aside."""

    taken: dict[int, Message] = field(default_factory=dict)
    parked: set[int] = field(default_factory=set)
    disputed: dict[Name, set[int]] = field(default_factory=dict)

    def arrive(self, number: int, message: Message) -> bool:
        """Take a message, or set it aside; whether it was taken."""
        in_doubt = self._given_again(number, message) or self._unsure(message)
        if in_doubt or not self._holds(number, message):
            self.parked.add(number)
            return False
        self.taken[number] = message
        return True

    def people(self, until: int, also: dict[int, Message] | None = None) -> list[set[Name]]:
        """The identifiers of each person, by what had arrived."""
        taken = {n: m for n, m in self.taken.items() if n <= until} | (also or {})
        return _people(_ties(_told(taken)), {n for m in taken.values() for n in m.names})

    def with_(self, name: Name, until: int) -> set[Name]:
        """Every identifier of one person."""
        return next((p for p in self.people(until) if name in p), {name})

    def record(self, name: Name, until: int) -> dict[str, str]:
        """Value of each result that stands in the record of an identifier's person."""
        mine = self.with_(name, until)
        newest: dict[str, tuple[When, Lab]] = {}
        for number, message in self.taken.items():
            for place, lab in enumerate(message.labs):
                if number > until or self._holder(message, lab, until) not in mine:
                    continue
                when = (message.time, _RANKS[lab.status], number, place)
                if lab.filler not in newest or newest[lab.filler][0] < when:
                    newest[lab.filler] = (when, lab)
        return {f: lab.value for f, (_, lab) in newest.items() if lab.status != "W"}

    def _holder(self, message: Message, lab: Lab, until: int) -> Name:
        holder = message.patients[0].names[0]
        moves = [
            (m.time, number, move)
            for number, m in self.taken.items()
            for move in m.moves
            if number <= until and move.visit == lab.visit
        ]
        for _, _, move in sorted(moves, key=lambda found: found[:2]):
            if move.left in self.with_(holder, until):
                holder = move.to
        return holder

    def _given_again(self, number: int, message: Message) -> bool:
        for patient in message.patients:
            known = [(n, self._said_of(n)) for n in patient.names if self._is_known(n)]
            here = ({patient.born} - {""}, {patient.sex} - {""}, set(patient.name.split()))
            for name, there in known:
                if _other(here, there, by_name=message.registers):
                    self.disputed.setdefault(name, set()).add(number)
                    return True
            if any(_other(one, two, by_name=False) for _, one in known for _, two in known):
                return True
            if any(self.disputed.get(n) and patient.born not in said[0] for n, said in known):
                return True
        return False

    def _unsure(self, message: Message) -> bool:
        listed = {name for patient in message.patients for name in patient.names}
        return any(self.disputed.get(name) for name in message.names - listed)

    def _holds(self, number: int, message: Message) -> bool:
        """Whether what it says to be one patient can be one."""
        also = {number: message}
        people = self.people(number, also)
        person = {name: n for n, group in enumerate(people) for name in group}
        if any(len({person[n] for n in patient.names}) > 1 for patient in message.patients):
            return False
        standing = _ties(_told(self.taken | also))
        return all(
            person[word.one] == person[word.other]
            for word in message.words
            if standing[frozenset((word.one, word.other))] is not APART
        )

    def _is_known(self, name: Name) -> bool:
        return any(name in message.names for message in self.taken.values())

    def _said_of(self, name: Name) -> tuple[set[str], set[str], set[str]]:
        births, sexes, names = set(), set(), set()
        for other in self.with_(name, max(self.taken, default=0)):
            for message in self.taken.values():
                for patient in message.patients:
                    if patient.names[0] == other:
                        births |= {patient.born} - {""}
                        sexes |= {patient.sex} - {""}
                        names |= set(patient.name.split())
        return births, sexes, names


def _other(one: tuple[set[str], ...], two: tuple[set[str], ...], *, by_name: bool) -> bool:
    births, sexes, names = (
        bool(a) and bool(b) and not a & b for a, b in zip(one, two, strict=True)
    )
    return births and (sexes or (by_name and names))


@dataclass
class _Tie:
    outright: bool
    since: When


def _told(taken: dict[int, Message]) -> Iterator[tuple[When, Word]]:
    """All words in the order of their source; a list of identifiers is a word, too."""
    words: list[tuple[When, Word]] = []
    for number, message in taken.items():
        said = [Word("list", p.names[0], other) for p in message.patients for other in p.names[1:]]
        for place, word in enumerate([*said, *message.words]):
            rank = 6 if word.says == "unlink" else 3
            words.append(((message.time, rank, number, place), word))
    return iter(sorted(words, key=lambda told: told[0]))


def _ties(told: Iterable[tuple[When, Word]]) -> dict[frozenset[Name], _Tie | None]:
    """Of each pair: tied, or told apart."""
    ties: dict[frozenset[Name], _Tie | None] = {}
    for when, word in told:
        pair = frozenset((word.one, word.other))
        if word.says == "list":
            ties.setdefault(pair, _Tie(False, when))
            continue
        if word.says == "unlink":
            ties[pair] = APART
            continue
        if word.moved:
            _go(ties, word.moved, word.one, when)
        tie = ties.get(pair)
        if tie is None or not tie.outright:
            ties[pair] = _Tie(True, when)
    return ties


def _go(ties: dict[frozenset[Name], _Tie | None], name: Name, to: Name, when: When) -> None:
    """An identifier leaves all it was tied to; of these, who were one with it stay one."""
    with_it = next((p for p in _people(ties, {name}) if name in p), {name})
    left: list[tuple[bool, When, Name]] = []
    for pair, tie in list(ties.items()):
        if name in pair and tie is not None and to not in pair:
            [other] = pair - {name}
            ties[pair] = APART
            if other in with_it:
                left.append((not tie.outright, tie.since, other))
    left.sort()
    for (_, since, one), (by_list, later, two) in pairwise(left):
        ties.setdefault(frozenset((one, two)), _Tie(not by_list, max(since, later)))


def _people(ties: dict[frozenset[Name], _Tie | None], names: set[Name]) -> list[set[Name]]:
    """Ties are drawn one by one, outright ones first, then the oldest.

    One that would connect what was told apart is left out.
    """
    drawn: list[frozenset[Name]] = []
    found = [(not tie.outright, tie.since, pair) for pair, tie in ties.items() if tie is not None]
    for _, _, pair in sorted(found, key=lambda tie: tie[:2]):
        apart = [p for p, tie in ties.items() if tie is APART]
        if not any(p <= _reached(min(p), [*drawn, pair]) for p in apart):
            drawn.append(pair)
    return list(
        {frozenset(_reached(name, drawn)): _reached(name, drawn) for name in names}.values()
    )


def _reached(name: Name, drawn: list[frozenset[Name]]) -> set[Name]:
    seen, ask = {name}, [name]
    while ask:
        here = ask.pop()
        for pair in drawn:
            if here in pair:
                ask += pair - seen
                seen |= pair
    return seen
