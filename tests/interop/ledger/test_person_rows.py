"""Persons: joined, parted and described as entries say; what is kept of them goes along."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from people import NOW, file, file_in, lock, person, prediction, said, word
from sqlalchemy import Connection, Engine, event, select

from interop.ledger import entries, images, jobs, persons, results
from interop.ledger.engine import open_ledger, reading, writing
from interop.ledger.jobs import NewJob
from interop.tables import IdentityRow
from mappings.persons import IN_DISPUTE, TOLD_APART
from mappings.record import Identifier, When

MRN, NATIONAL, OTHER = (
    Identifier("7", "mrn"),
    Identifier("31010", "national"),
    Identifier("8", "mrn"),
)
_identity = IdentityRow.__table__  # type: ignore[attr-defined]


def now(ledger: Engine, name: Identifier) -> str | None:
    """Whom an identifier names."""
    with reading(ledger) as connection:
        return entries.person_of(connection, [name])


def joined(ledger: Engine) -> tuple[str, str]:
    """Two persons that a merge joined; their numbers before."""
    one, other = person(ledger, MRN), person(ledger, OTHER)
    file(ledger, word(MRN, OTHER))
    assert now(ledger, MRN) == now(ledger, OTHER) == one
    return one, other


def test_identifiers_that_come_together_name_one_person(ledger: Engine):
    """A later message links two persons; both records are then one."""
    one, other = person(ledger, MRN), person(ledger, NATIONAL)
    assert one != other
    together = person(ledger, MRN, NATIONAL)
    assert {together} == {now(ledger, name) for name in (MRN, NATIONAL)}
    with reading(ledger) as connection:
        assert {MRN, NATIONAL} == set(entries.identifiers(connection, together))


def test_the_same_number_of_another_authority_is_another_person(ledger: Engine):
    """A value means nothing without who gave it out."""
    assert person(ledger, MRN) != person(ledger, Identifier("7", "elsewhere"))


def test_an_unmerge_gives_both_their_numbers_back(ledger: Engine):
    """What is kept under a person's number need not be searched for twice."""
    one, other = joined(ledger)
    file(ledger, word(MRN, OTHER, "unlink", hours=1))
    assert (one, other) == (now(ledger, MRN), now(ledger, OTHER))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize(("merged", "unmerged"), [(1, 2), (2, 1)])
def test_of_a_merge_and_an_unmerge_the_later_at_its_source_counts(
    ledger: Engine, order: tuple[int, int], merged: int, unmerged: int
):
    """Whichever arrives first, and twice does no harm."""
    person(ledger, MRN)
    person(ledger, OTHER)
    words = (
        word(MRN, OTHER, hours=merged),
        word(OTHER, MRN, "unlink", hours=unmerged),
    )
    for at in (*order, *order):
        file(ledger, words[at])
    assert (merged > unmerged) == (now(ledger, MRN) == now(ledger, OTHER))


def test_a_merge_that_comes_before_either_patient_is_stored(ledger: Engine):
    """The alias waits; the first message of each finds it."""
    file(ledger, word(MRN, OTHER))
    assert person(ledger, OTHER) == person(ledger, MRN)


def test_a_new_name_does_not_change_anybodys_number(ledger: Engine):
    """Only a merge does."""
    one = person(ledger, MRN)
    filed = file(ledger, said(MRN, NATIONAL))
    assert ({MRN: one}, frozenset()) == (filed.persons, filed.regrouped)
    assert one == now(ledger, NATIONAL)


def test_an_identifier_falls_back_to_whom_it_was_with_before_the_merge(ledger: Engine):
    """After the merge the survivor's messages carried the prior's national number, too."""
    person(ledger, OTHER, NATIONAL)
    person(ledger, MRN)
    file(ledger, word(MRN, OTHER))
    person(ledger, MRN, NATIONAL)
    file(ledger, word(MRN, OTHER, "unlink", hours=1))
    assert now(ledger, NATIONAL) == now(ledger, OTHER) != now(ledger, MRN)


def test_a_message_that_names_as_one_what_was_told_apart_is_in_doubt(ledger: Engine):
    """A laboratory that has not heard of the unmerge: nobody knows whose result it is."""
    joined(ledger)
    file(ledger, word(MRN, OTHER, "unlink", hours=1))
    filed = file(ledger, said(MRN, OTHER))
    assert filed.doubt is not None
    assert TOLD_APART == filed.doubt.reason
    assert now(ledger, MRN) != now(ledger, OTHER)


def test_a_moved_identifier_leaves_those_it_was_with(ledger: Engine):
    """A43: they stay together, although it was what held them together."""
    person(ledger, OTHER, NATIONAL)
    person(ledger, NATIONAL, Identifier("9", "mrn"))
    person(ledger, MRN)
    file(ledger, word(MRN, NATIONAL, "move", moved=str(NATIONAL), hours=1))
    assert now(ledger, NATIONAL) == now(ledger, MRN)
    assert now(ledger, OTHER) == now(ledger, Identifier("9", "mrn")) != now(ledger, MRN)


def test_a_list_of_before_a_move_that_comes_late_adds_nobody(ledger: Engine):
    """It names somebody new beside an identifier that went over to another patient since."""
    file(ledger, word(MRN, NATIONAL, "move", moved=str(NATIONAL), hours=1))
    filed = file(ledger, said(OTHER, NATIONAL))
    assert filed.doubt is not None
    assert TOLD_APART == filed.doubt.reason


def test_what_was_kept_of_a_joined_person_goes_along(ledger: Engine):
    """Predictions, their inputs and waiting jobs follow the person they are about."""
    one, other = person(ledger, MRN), person(ledger, NATIONAL)
    lock(ledger, prediction(1, "k1", person=one))
    lock(ledger, prediction(2, "k2", person=other))
    with writing(ledger) as connection:
        for number, who in enumerate((one, other), 1):
            new = NewJob(stage="assess", lane=who, key=f"k{number}", refs={"person": who})
            jobs.add(connection, [(number, new)], now=NOW)
    together = person(ledger, MRN, NATIONAL)
    with reading(ledger) as connection:
        assert [1, 2] == [row.id for row in results.current(connection, together)]
        used = results.using(connection, together, ["observation/1834-1/L1"])
        assert [1, 2] == [row.id for row in used]
    held = jobs.claim(ledger, "assess", now=NOW, limit=9)
    assert [(together, together)] == [(c.lane, c.refs["person"]) for c in held]


def study(connection: Connection, uid: str, name: Identifier, who: str) -> None:
    """A study that came under an identifier."""
    values = {"person": who, "authority": name.authority, "patient": name.value}
    images.put_study(connection, uid, values, now=NOW)


def delivery(number: int, who: str) -> dict[str, Any]:
    """A result in the outbox."""
    return {"id": number, "prediction": number, "person": who, "instance_key": f"k{number}",
            "lineage": f"k{number}", "carrier": "fhir", "status": "preliminary",
            "state": "PENDING", "attempt": 0, "bundle_digest": "", "reason": "",
            "created_at": NOW, "updated_at": NOW}  # fmt: skip


def test_what_is_kept_of_parted_persons_goes_with_the_identifier_it_came_under(ledger: Engine):
    """Study, prediction, used inputs, delivery, trigger and waiting jobs."""
    one, other = joined(ledger)
    with writing(ledger) as connection:
        study(connection, "1.2", MRN, one)
        study(connection, "1.3", OTHER, one)
        results.add_delivery(connection, delivery(2, one))
        results.put_readiness(
            connection, one, "liver_dx", state="waiting", body={}, trigger="CT (study/1.3/0)",
            triggered_at=NOW, now=NOW,
        )  # fmt: skip
        refs = [{"person": one, "study": "1.3"}, {"person": one, "corrects": 1}, {"delivery": 2}]
        for number, ref in enumerate(refs, 1):
            new = NewJob(stage="assess", lane=one, key=f"k{number}", refs=ref)
            jobs.add(connection, [(number, new)], now=NOW)
    for number, uid in ((1, "1.2"), (2, "1.3")):
        body = {"prediction": {"instances": [{"study_instance_uid": uid}]}}
        lock(ledger, prediction(number, f"k{number}", person=one, body=body))
    file(ledger, word(MRN, OTHER, "unlink", hours=1))
    with reading(ledger) as connection:
        for who, number, uid in ((one, 1, "1.2"), (other, 2, "1.3")):
            assert [uid] == [s.study_instance_uid for s in images.studies_of(connection, who)]
            assert [number] == [r.id for r in results.current(connection, who)]
            used = results.using(connection, who, ["observation/1834-1/L1"])
            assert [number] == [r.id for r in used]
        assert [2] == [d.id for d in results.deliveries_of(connection, other)]
        assert results.readiness(connection, one, "liver_dx") is None
        assert "CT (study/1.3/0)" == results.readiness(connection, other, "liver_dx").trigger
        assert [1, 3] == [n for n, _ in jobs.held_by(connection, other)]
        assert [(2, {"person": one, "corrects": 1})] == jobs.held_by(connection, one)


def test_an_opened_trigger_goes_along_when_persons_are_joined(ledger: Engine):
    """A CT waits under the PACS number; the ADT that joins both numbers must not close it."""
    one, other = person(ledger, MRN), person(ledger, NATIONAL)
    lost = max(one, other)  # the older number survives
    with writing(ledger) as connection:
        results.put_readiness(
            connection, lost, "liver_dx", state="waiting", body={}, trigger="a CT",
            triggered_at=NOW, now=NOW,
        )  # fmt: skip
    together = person(ledger, MRN, NATIONAL)
    with reading(ledger) as connection:
        row = results.readiness(connection, together, "liver_dx")
    assert ("a CT", NOW) == (row.trigger, row.triggered_at)


@pytest.mark.parametrize("newer", ["lost", "kept"])
def test_of_two_opened_triggers_the_newer_is_kept(ledger: Engine, newer: str):
    """Whichever number it waited under."""
    kept, lost = sorted((person(ledger, MRN), person(ledger, NATIONAL)))
    with writing(ledger) as connection:
        for who, name in ((kept, "kept"), (lost, "lost")):
            at = NOW + timedelta(hours=1) if name == newer else NOW
            results.put_readiness(
                connection, who, "liver_dx", state="waiting", body={}, trigger=name,
                triggered_at=at, now=NOW,
            )  # fmt: skip
    together = person(ledger, MRN, NATIONAL)
    with reading(ledger) as connection:
        [row] = results.readiness_of(connection, together)
        assert [] == results.readiness_of(connection, lost)
    assert newer == row.trigger


FIRST = {"born": "1970-12-28", "sex": "male", "name": "LI LEI"}


@pytest.mark.parametrize(
    ("other", "doubted"),
    [
        ({"born": "1988-01-02", "sex": "female", "name": "HAN MEI"}, True),
        ({"born": "1988-01-02", "sex": "female", "name": "LI LEI"}, True),
        ({"born": "1988-01-02", "sex": "male", "name": "HAN MEI"}, False),
        ({"born": "1988-01-02", "sex": "male", "name": "HAN MEI", "event": "A28"}, True),
        ({"born": "1988-01-02", "sex": "male", "name": "LEI LI", "event": "A28"}, False),
        ({"born": "1988-01-02", "sex": "unknown", "event": "A28"}, False),
        ({"born": "1970-12-28", "sex": "female", "name": "HAN MEI", "event": "A28"}, False),
        ({"sex": "female", "name": "HAN MEI", "event": "A28"}, False),
        ({}, False),
    ],
)  # fmt: skip
def test_an_identifier_given_out_again_is_in_doubt(
    ledger: Engine, other: dict[str, str], doubted: bool
):
    """Another birth date, and another sex, or name where the event opens a chart (rule 8)."""
    file(ledger, said(MRN, **FIRST))
    assert doubted == (file(ledger, said(MRN, **other)).doubt is not None)


def test_in_a_dispute_only_the_known_birth_date_is_taken(ledger: Engine):
    """Whose a message without one is, nobody knows; a decision ends it."""
    file(ledger, said(MRN, **FIRST))
    again = said(MRN, born="1988-01-02", sex="female")
    assert file(ledger, again).doubt is not None
    for found, reason in ((said(MRN), IN_DISPUTE), (said(MRN, born="1970-12-28"), None)):
        doubt = file(ledger, found).doubt
        assert reason == (doubt and doubt.reason)
    assert file(ledger, word(OTHER, MRN)).doubt is not None
    with writing(ledger) as connection:
        persons.decide(connection, again.entries[0].source.message)
    assert file(ledger, said(MRN)).doubt is None


def test_what_a_person_decided_on_is_applied(ledger: Engine):
    """Both descriptions are this patient's from then on."""
    file(ledger, said(MRN, **FIRST))
    again = said(MRN, born="1988-01-02", sex="female")
    assert file(ledger, again, decided=True).doubt is None
    assert file(ledger, said(MRN, born="1988-01-02", sex="female")).doubt is None


def test_what_was_said_of_a_merged_patient_is_no_other_patients(ledger: Engine):
    """The prior's number with the survivor's birth date and sex: there is an alias between."""
    file(ledger, said(MRN, **FIRST))
    file(ledger, said(OTHER, born="1988-01-02", sex="female"))
    file(ledger, word(MRN, OTHER))
    for found in (said(OTHER, **FIRST), said(MRN, OTHER), said(OTHER)):
        assert file(ledger, found).doubt is None


def test_two_patients_of_other_birth_date_and_sex_are_not_joined_by_a_list(ledger: Engine):
    """Only an outright merge may do that."""
    one = file(ledger, said(MRN, **FIRST)).persons[MRN]
    other = file(ledger, said(NATIONAL, born="1988-01-02", sex="female")).persons[NATIONAL]
    assert file(ledger, said(MRN, NATIONAL)).doubt is not None
    assert (one, other) == (now(ledger, MRN), now(ledger, NATIONAL))


def test_what_was_said_under_another_identifier_of_a_person_counts(ledger: Engine):
    """A list names two who were never described under these numbers."""
    file(ledger, said(OTHER, **FIRST))
    file(ledger, word(MRN, OTHER))
    file(ledger, said(Identifier("N9", "national"), born="1988-01-02", sex="female"))
    file(ledger, word(NATIONAL, Identifier("N9", "national")))
    assert file(ledger, said(MRN, NATIONAL)).doubt is not None


def test_the_projection_can_be_made_anew(ledger: Engine):
    """From the entries alone, whatever stood there."""
    joined(ledger)
    person(ledger, MRN, NATIONAL)
    file(ledger, said(MRN, **FIRST))
    file(ledger, word(MRN, OTHER, "unlink", hours=1))
    with reading(ledger) as connection:
        right = connection.execute(select(_identity).order_by(_identity.c.value)).all()
    with writing(ledger) as connection:
        connection.execute(_identity.update().values(person=right[0].person, described=None))
        assert 1 <= persons.rebuild(connection)
        assert 0 == persons.rebuild(connection)
    with reading(ledger) as connection:
        assert right == connection.execute(select(_identity).order_by(_identity.c.value)).all()


def test_a_known_patients_message_costs_one_query_and_writes_no_identity(ledger: Engine):
    """The hot path: everything else is worked out before the write lock, or does not occur."""
    file(ledger, said(MRN, NATIONAL, **FIRST))
    with reading(ledger) as connection:
        again, _ = persons.unheard(connection, said(MRN, NATIONAL, **FIRST))
    assert ["patient"] * 3 == [entry.kind for entry in again.entries]
    asked: list[str] = []
    listen = (ledger, "before_cursor_execute", lambda *a: asked.append(a[2]))
    event.listen(*listen)
    file(ledger, again)
    event.remove(*listen)
    told = [sql.split()[0] for sql in asked if "identity" in sql]
    # On PostgreSQL the person is locked, and looked at once more.
    assert ["SELECT"] * (1 if ledger.dialect.name == "sqlite" else 2) == told


def test_a_list_that_was_told_before_is_told_no_more(ledger: Engine):
    """A laboratory repeats both numbers in every message; one that is older counts."""
    kept = []
    for hours in (1, 2, 0):
        found = said(MRN, NATIONAL)
        when = When.instant(NOW + timedelta(hours=hours))
        found = replace(found, entries=tuple(replace(e, source_time=when) for e in found.entries))
        with reading(ledger) as connection:
            fresh, claimed = persons.unheard(connection, found)
        assert (MRN, NATIONAL) == claimed.people[0].names
        kept.append((len(fresh.entries), len(claimed.statements)))
        file(ledger, fresh)
    assert [(1, 1), (0, 0), (1, 1)] == kept


@pytest.mark.peer("postgresql")
@pytest.mark.parametrize("names", [(NATIONAL, MRN), (MRN, NATIONAL), (MRN,)])
def test_persons_made_at_one_moment_are_one(
    postgresql_database: Callable[[], str], names: tuple[Identifier, ...]
):
    """Two workers name a new patient at once: who comes second joins the first."""
    ledger = open_ledger(postgresql_database())
    second: list[str] = []
    worker = threading.Thread(target=lambda: second.append(person(ledger, *names)))
    with writing(ledger) as connection:
        file_in(connection, said(MRN))
        worker.start()
        worker.join(0.3)
        assert [] == second
    worker.join(20)
    with reading(ledger) as connection:
        assert {second[0]} == {entries.person_of(connection, [name]) for name in names}
        assert [(second[0],)] == connection.execute(select(_identity.c.person).distinct()).all()
    ledger.dispose()
