"""Whom identifiers name, by all that was said of them, whatever the order of arrival."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mappings.conversion import Conversion
from mappings.persons import Persons, claim, mirrored, own, persons
from mappings.record import Entry, Identifier, Source, When

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
A, B, C, N = (Identifier(value, "mrn") for value in "ABCN")


def word(one: Identifier, other: Identifier, says: str = "", at: int = 0, **changes: Any) -> Entry:
    """What is said of two identifiers, `at` hours after noon; received then unless `received`."""
    received = NOON + timedelta(hours=changes.pop("received", at))
    details = {"says": says, **changes} if says else {}
    return Entry(
        "alias", f"alias/{other}", one, Source("his", at + 1, received), "PID[1]-3",
        "entered-in-error" if says == "unlink" else "final", value=other,
        source_time=When.instant(NOON + timedelta(hours=at)), details=details,
    )  # fmt: skip


def moved(name: Identifier, target: Identifier, at: int) -> Entry:
    """A43: an identifier goes over to another patient."""
    return word(target, name, "move", at, moved=str(name))


def grouped(found: Persons) -> set[frozenset[Identifier]]:
    """Persons of several identifiers."""
    return {group for group in found.groups.values() if len(group) > 1}


def of(*words: Entry) -> set[frozenset[Identifier]]:
    """Persons of several identifiers, the same in every order of arrival."""
    found = {frozenset(grouped(persons(order))) for order in permutations(words)}
    assert 1 == len(found)
    return set(found.pop())


def test_a_list_makes_its_identifiers_one_person() -> None:
    """And lists that share one make one of all."""
    assert {frozenset({A, B, N})} == of(word(A, N), word(N, B, at=1))


def test_the_newest_outright_word_on_a_pair_counts() -> None:
    """Merge, unmerge, merge again."""
    words = [word(A, B, "merge", 1), word(B, A, "unlink", 2), word(A, B, "merge", 3)]
    assert set() == of(*words[:2])
    assert {frozenset({A, B})} == of(*words)


def test_of_one_moment_the_unmerge_counts() -> None:
    """A retraction wins a tie (site rule 9)."""
    assert set() == of(word(A, B, "merge", 1), word(A, B, "unlink", 1))


@pytest.mark.parametrize("at", [0, 9])
def test_a_list_never_joins_what_was_told_apart(at: int) -> None:
    """Only an outright word does: a laboratory may hear of an unmerge late."""
    assert set() == of(word(A, B, "unlink", 5), word(A, B, at=at))


def test_what_was_told_apart_is_not_joined_by_way_of_others() -> None:
    """The list that came first keeps the third identifier; the later one is contested."""
    words = [word(A, N, at=1), word(B, N, at=2), word(A, B, "unlink", 3)]
    assert {frozenset({A, N})} == of(*words)
    assert frozenset({(B, N)}) == persons(words).contested


def test_outright_words_go_before_lists() -> None:
    """A link of today outweighs a list of yesterday."""
    words = [word(A, N, at=1), word(B, N, "link", 2), word(A, B, "unlink", 3)]
    assert {frozenset({B, N})} == of(*words)


def test_a_chain_of_merges_is_parted_where_it_is_undone() -> None:
    """C went into B, B into A; then B was parted from A."""
    words = [word(B, C, "merge", 1), word(A, B, "merge", 2), word(A, B, "unlink", 3)]
    assert {frozenset({B, C})} == of(*words)


def test_a_moved_identifier_leaves_all_it_was_with() -> None:
    """Also those whom nobody named; they stay together without it."""
    words = [word(A, N, at=1), word(N, B, at=2), moved(N, C, 3)]
    assert {frozenset({A, B}), frozenset({N, C})} == of(*words)


def test_whom_a_moved_identifier_was_not_with_after_all_is_not_kept_with_the_others() -> None:
    """The list of A and N was contested, for A and B were told apart and N was B's."""
    words = [word(B, N, at=1), word(C, N, at=2), word(A, N, at=3), word(A, B, "unlink", 4)]
    other = Identifier("O", "mrn")
    assert {frozenset({B, C}), frozenset({N, other})} == of(*words, moved(N, other, 5))


def test_whom_the_target_was_told_apart_from_stays_alone() -> None:
    """The list of A and N was contested because of C, to whom N goes."""
    words = [word(C, N, at=1), word(B, N, at=2), word(A, N, at=3), word(A, C, "unlink", 4)]
    assert {frozenset({C, N})} == of(*words, moved(N, C, 5))


def test_a_word_that_is_said_again_is_as_old_as_it_was() -> None:
    """The older of two merges that cannot both hold stands."""
    words = [word(A, B, "merge", 1), word(B, C, "merge", 5), word(A, C, "unlink", 6)]
    assert {frozenset({A, B})} == of(*words, word(A, B, "merge", 9))


def test_a_moved_identifier_can_be_moved_back() -> None:
    """The newest move counts."""
    assert {frozenset({A, N})} == of(word(A, N, at=1), moved(N, B, 2), moved(N, A, 3))


def test_a_list_of_before_the_move_that_comes_late_changes_nothing() -> None:
    """It says what was true then."""
    words = [word(A, N, at=1), moved(N, B, 3), word(A, N, at=2, received=9)]
    assert {frozenset({N, B})} == of(*words)


def test_what_was_not_known_yet_does_not_count() -> None:
    """As of the hours between a merge and its undoing."""
    words = [word(A, B, "merge", 1), word(A, B, "unlink", 2, received=8)]
    for hour, expected in ((0, set()), (7, {frozenset({A, B})}), (8, set())):
        as_of = NOON + timedelta(hours=hour)
        assert expected == grouped(persons(words, as_of=as_of))
    known_there = persons(words, as_of=NOON + timedelta(hours=7), knowledge="source")
    assert set() == grouped(known_there)


def test_a_word_found_from_its_other_end_says_the_same() -> None:
    """The ledger keeps it under both identifiers."""
    words = [word(A, N, at=1), moved(N, B, 3), word(A, B, "unlink", 4)]
    assert of(*words) == grouped(persons([*words, *map(mirrored, words)]))
    assert words == [mirrored(mirrored(w)) for w in words]


names = st.sampled_from([A, B, C, N])
words = st.builds(
    lambda pair, says, at: (
        moved(*pair, at) if says == "move" else word(*pair, says, at)
    ),
    st.tuples(names, names).filter(lambda pair: pair[0] != pair[1]),
    st.sampled_from(["", "", "merge", "unlink", "move"]),
    st.integers(0, 20),
)  # fmt: skip


@given(said=st.lists(words, max_size=8, unique_by=lambda w: w.source.message), data=st.data())
def test_the_order_of_arrival_never_matters(said: list[Entry], data: st.DataObject) -> None:
    """Nor does what is told twice."""
    shuffled = data.draw(st.permutations([*said, *said]))
    assert persons(said) == persons(shuffled)


@given(said=st.lists(words, max_size=8, unique_by=lambda w: w.source.message))
def test_a_pair_whose_newest_word_parts_it_is_apart(said: list[Entry]) -> None:
    """Whatever else is said of others."""
    found = persons(said)
    for entry in said:
        assert isinstance(entry.value, Identifier)
        pair = {entry.patient, entry.value}
        newest = max(
            (e for e in said if {e.patient, e.value} == pair and e.details),
            key=lambda e: e.precedence,
            default=None,
        )
        left = any(e.details.get("moved") in map(str, pair) for e in said)
        if newest is not None and newest.status == "entered-in-error" and not left:
            assert entry.value not in found.of(entry.patient)


def lab(who: Identifier, number: int, visit: str = "", account: str = "") -> Entry:
    """A result of a visit."""
    source = Source("lab", 100 + number, NOON, visit=visit, account=account)
    return Entry("observation", f"observation/F{number}/1-8/", who, source, "OBX[1]-5")


def move(visit: str, left: Identifier, to: Identifier, at: int, **changes: Any) -> Entry:
    """A45: a visit of one patient is another's."""
    details = {"says": "move", "scope": "visit", "number": visit, "becomes": visit,
               "to": str(to), **changes}  # fmt: skip
    return Entry(
        "move", f"move/visit {visit}/{left}", to, Source("his", at + 50, NOON + timedelta(hours=at)),
        "MRG[1]-5", value=left, source_time=When.instant(NOON + timedelta(hours=at)),
        details=details,
    )  # fmt: skip


def keys(found: list[Entry]) -> list[str]:
    """Fillers of results."""
    return sorted(e.key.split("/")[1] for e in found if e.kind == "observation")


def test_a_moved_visits_entries_belong_to_the_other_patient() -> None:
    """Also those that come late; what is of no visit, or of another, stays."""
    held = [lab(A, 1, "H|V1"), lab(A, 2, "H|V2"), lab(A, 3), lab(B, 4), move("H|V1", A, B, 1)]
    assert (["F2", "F3"], ["F1", "F4"]) == (keys(own(held, A)), keys(own(held, B)))


def test_a_visit_can_be_moved_on_and_back() -> None:
    """Moves are followed in the order of their source."""
    held = [lab(A, 1, "V1"), move("V1", A, B, 1), move("V1", B, C, 2)]
    assert ["F1"] == keys(own(held, C))
    back = [*held, move("V1", C, A, 3)]
    assert ["F1"] == keys(own(back[::-1], A))


def test_a_renumbered_visit_is_moved_by_its_new_number() -> None:
    """A50, then A45."""
    held = [lab(A, 1, "V1"), move("V1", A, A, 1, becomes="V2"), move("V2", A, B, 2)]
    assert ["F1"] == keys(own(held, B))


def test_a_visit_of_the_same_number_of_another_patient_stays() -> None:
    """Hospitals count visits per patient, too."""
    held = [lab(A, 1, "V1"), lab(C, 2, "V1"), move("V1", A, B, 1)]
    assert (["F1"], ["F2"]) == (keys(own(held, B)), keys(own(held, C)))


def test_an_account_is_moved_with_all_its_entries() -> None:
    """A44."""
    account = move("P1", A, B, 1, scope="account")
    held = [lab(A, 1, "V1", "P1"), lab(A, 2, "V1"), account]
    assert (["F2"], ["F1"]) == (keys(own(held, A)), keys(own(held, B)))


@pytest.mark.parametrize(("sent", "expected"), [("V1", ["F1"]), ("H|V1", ["F1"]), ("X|V1", [])])
def test_a_visit_number_without_its_authority_is_that_of_any(
    sent: str, expected: list[str]
) -> None:
    """Laboratories copy the bare number."""
    assert expected == keys(own([lab(A, 1, sent), move("H|V1", A, B, 1)], B))


def test_a_visit_moved_between_identifiers_of_one_person_stays_theirs() -> None:
    """And as of before the move it is where it came."""
    held = [lab(A, 1, "V1"), move("V1", A, B, 2)]
    assert ["F1"] == keys(own([*held, word(A, B, "merge", 3)], A))
    assert ["F1"] == keys(own(held, A, as_of=NOON + timedelta(hours=1)))


def test_a_visit_moves_between_patients_whatever_else_is_contested() -> None:
    """It does not say that they are one."""
    said = (word(A, C, "merge", 1), word(B, C, "merge", 2), word(A, B, "unlink", 3))
    found = persons(said)
    assert not found.holds(claim(Conversion((said[1],), (), B, (B,))))
    assert found.holds(claim(Conversion((move("V1", C, B, 4),), (), B, (B,))))


def test_a_claim_tells_whose_identifiers_stand_together() -> None:
    """Those of each PID; what a merge says is no list."""
    found = Conversion(
        (word(A, N), word(A, B, "merge", 1), lab(C, 1)), (), A, (A, N), "A40"
    )  # fmt: skip
    read = claim(found)
    assert [(A, N), (C,)] == [who.names for who in read.people]
    assert {A, B, C, N} == set(read.names)
    assert not read.registers
