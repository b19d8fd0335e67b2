"""The messages of a case in every order, and by several workers at once: the same records."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import permutations
from pathlib import Path

import charts
import pytest
from chart_model import Lab, Message, Model, Patient, Word
from charts import Charts
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from site_processes import ONCORD
from sqlalchemy import event, func, select, update

from interop.ledger import entries, images
from interop.ledger.engine import reading, writing
from interop.tables import IdentityRow, Job
from mappings.record import PatientRecord
from workers.drain import drain
from workers.ingest import Ingest
from workers.parts import Parts

STUDY = "2.25.4711"
PRIOR = Patient(("1",), "1970-12-28", "male", "LI LEI")
SURVIVOR = Patient(("2",), "1970-12-28", "male", "LI LEI")
# An outreach laboratory's first result, the registration, an update under the other number, the
# merge, and the correction under the number that survives.
CASE = (
    Message(1, (Patient(("1",)),), labs=(Lab("A", "412"),)),
    Message(2, (PRIOR,), registers=True),
    Message(3, (SURVIVOR,)),
    Message(4, (SURVIVOR,), (Word("merge", "2", "1"),)),
    Message(5, (SURVIVOR,), labs=(Lab("A", "508", "C"),)),
)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    """A site without packs."""
    with charts.built(tmp_path_factory.mktemp("site")) as made:
        yield made


Open = Callable[[], Charts]


@pytest.fixture
def open_(parts: Parts, tmp_path: Path, sqlite_template: Path) -> Iterator[Open]:
    """Opens empty ledgers."""
    made: list[Charts] = []

    def one() -> Charts:
        file = shutil.copy(sqlite_template, tmp_path / f"{len(made)}.db")
        made.append(charts.opened(parts, f"sqlite:///{file}"))
        return made[-1]

    yield one
    for each in made:
        each.close()


def ct(number: int) -> Dataset:
    """A slice of a study that the PACS holds under the prior number."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = CTImageStorage
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = f"{STUDY}.1.{number}"
    made.StudyInstanceUID, made.SeriesInstanceUID = STUDY, f"{STUDY}.1"
    made.PatientID, made.IssuerOfPatientID, made.Modality = "1", "HOSP", "CT"
    made.StudyDate, made.Rows, made.Columns = "20260302", 2, 2
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelRepresentation = 15, 0
    made.PixelData = bytes(8)
    return made


def case(made: Charts) -> tuple[object, ...]:
    """What is known in the end: results, who the patient is, the study, and its person."""
    with reading(made.parts.engine) as connection:
        [person] = {entries.person_of(connection, [charts.identifier(name)]) for name in ("1", "2")}
        assert person is not None
        record = PatientRecord.of(entries.of_person(connection, person), as_of=made.clock())
        born = record.demographic("birth_date")
        assert born is not None
        study = images.study(connection, STUDY)
        assert study is not None
        return (
            made.record("1"),
            born.source_time.isoformat() if born.source_time else "",
            [e.key for e in record.of_kind("imaging_study")],
            (study.person == person, study.state),
        )


@pytest.mark.parametrize("place", range(len(CASE) + 1))
def test_the_messages_of_a_case_end_in_one_record_in_every_order(open_: Open, place: int) -> None:
    """All 120 orders, with the study at each of the six places among them in turn."""
    expected = (
        {"A": "508"}, "2026-03-01T00:05:00+00:00", [f"imaging_study/{STUDY}"], (True, "complete"),
    )  # fmt: skip
    for order in list(permutations(CASE))[place :: len(CASE) + 1]:
        made = open_()
        for number, message in enumerate([*order[:place], None, *order[place:]]):
            made.clock.forward(seconds=1)
            if message is None:
                made.store(ct(1))
            else:
                made.receive(charts.er7(message, f"C{number}"))
            made.settle()
        made.clock.forward(seconds=30)
        made.settle()
        assert expected == case(made), [CASE.index(message) for message in order]
        assert {("ingest", "done")} == set(made.jobs())


def test_of_a_number_given_out_twice_the_first_to_come_keeps_it(open_: Open) -> None:
    """In either order; the other is set aside, and so is what could be either's."""
    other = Patient(("1",), "2001-09-10", "female", "SUN QI")
    result = Message(3, (Patient(("1",)),), labs=(Lab("A", "412"),))
    for one, two in ((PRIOR, other), (other, PRIOR)):
        made = open_()
        states = [
            made.take(charts.er7(message, f"C{number}"))
            for number, message in enumerate(
                (Message(1, (one,), registers=True), Message(2, (two,), registers=True), result)
            )
        ]
        assert (["applied", "parked", "parked"], {}) == (states, made.record("1"))


@pytest.mark.parametrize(
    "url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.peer("postgresql"))]
)
def test_two_workers_leave_the_records_that_one_leaves(
    parts: Parts, url: str, request: pytest.FixtureRequest
) -> None:
    """Merges, unmerges and moves among results, worked by two at once."""
    found = request.getfixturevalue(f"{url}_{'url' if url == 'sqlite' else 'database'}")
    made = charts.opened(parts, found if isinstance(found, str) else found())
    model, sent = Model(), messages_of_a_day(random.Random(7))  # noqa: S311  seeded
    for number, message in enumerate(sent, 1):
        assert model.arrive(number, message)
        made.clock.forward(seconds=1)
        made.receive(charts.er7(message, f"C{number}"))
    failed: list[BaseException] = []

    def work() -> None:
        try:
            ingest = Ingest(made.parts)
            while drain(ingest, made.parts.engine, now=made.clock, ring=lambda _stage: None):
                pass
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    made.clock.forward(minutes=10)  # what a deadlock postponed
    made.settle()
    with reading(made.parts.engine) as connection:
        both = connection.execute(select(func.count()).where(Job.prior.is_not(None))).scalar()  # type: ignore[union-attr]
    try:
        assert sum(word.says != "unlink" for m in sent for word in m.words) == both
        assert ([], {("ingest", "done"): len(sent)}) == (failed, made.jobs())
        assert {frozenset(p) for p in model.people(len(sent))} == made.persons()
        for name in ("1", "2", "3", "N1"):
            assert model.record(name, len(sent)) == made.record(name), name
    finally:
        made.close()


TWO_PAIRS = (
    Message(1, (Patient(("1",)),), labs=(Lab("A", "412"),)),
    Message(2, (Patient(("3",)),), labs=(Lab("B", "7"),)),
    Message(
        3, (Patient(("2",)), Patient(("4",))), (Word("merge", "2", "1"), Word("merge", "4", "3"))
    ),
    Message(4, (Patient(("4",)),), labs=(Lab("B", "8", "C"),)),
)


def test_each_of_several_merges_of_one_message_is_applied(open_: Open) -> None:
    """A40 with two PATIENT groups, before, between and after the results of both pairs."""
    *first, correction = TWO_PAIRS
    for order in permutations(first):
        made = open_()
        sent = enumerate((*order, correction))
        states = [made.take(charts.er7(message, f"C{number}")) for number, message in sent]
        assert ["applied"] * 4 == states
        assert {frozenset("12"), frozenset("34")} == made.persons()
        assert ({"A": "412"}, {"B": "8"}) == (made.record("2"), made.record("3"))


@pytest.mark.parametrize(
    "url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.peer("postgresql"))]
)
def test_results_of_further_pairs_are_worked_while_their_merge_is(
    parts: Parts, url: str, request: pytest.FixtureRequest
) -> None:
    """Only the first pair's lanes are held: four workers leave the records that one leaves."""
    found = request.getfixturevalue(f"{url}_{'url' if url == 'sqlite' else 'database'}")
    made = charts.opened(parts, found if isinstance(found, str) else found())
    model, sent = Model(), messages_of_two_pairs(random.Random(11))  # noqa: S311  seeded
    for number, message in enumerate(sent, 1):
        assert model.arrive(number, message)
        made.clock.forward(seconds=1)
        made.receive(charts.er7(message, f"C{number}"))
    try:
        assert [] == worked_by(made, 4)
        made.clock.forward(minutes=10)  # what a deadlock postponed
        made.settle()
        assert {("ingest", "done"): len(sent)} == made.jobs()
        assert {frozenset(p) for p in model.people(len(sent))} == made.persons()
        for name in ("1", "2", "3", "4"):
            assert model.record(name, len(sent)) == made.record(name), name
    finally:
        made.close()


@pytest.mark.peer("postgresql")
@pytest.mark.parametrize("merge_first", [True, False])
def test_a_further_pairs_result_and_merge_wait_for_each_other(
    parts: Parts, postgresql_database: Callable[[], str], merge_first: bool
) -> None:
    """Whoever commits second sees the persons that the first left, as if one worker did both."""
    before = [charts.er7(Message(n, (Patient((str(n),)),)), f"R{n}") for n in (4, 3, 2, 1)]
    both = Message(
        9, (Patient(("2",)), Patient(("4",))), (Word("merge", "2", "1"), Word("merge", "4", "3"))
    )
    late = [
        charts.er7(both, "M"),
        charts.er7(Message(8, (Patient(("3",)),), labs=(Lab("B", "7"),)), "L"),
    ]
    found = []
    for at_once in (False, True):
        url = postgresql_database()
        made, other = charts.opened(parts, url), charts.opened(parts, url)
        for raw in before:
            made.take(raw)
        for raw in late if merge_first else reversed(late):
            made.receive(raw)
        if at_once:
            with held_at_commit(made) as held:
                assert held.wait(5)
                second = threading.Thread(target=worked_by, args=(other, 1))
                second.start()
                second.join(0.3)
                assert second.is_alive()
            second.join(10)
        else:
            worked_by(made, 1)
        found.append((epochs(made), made.record("4"), made.jobs()))
        made.close()
        other.close()
    assert found[0] == found[1]
    assert ({"B": "7"}, {("ingest", "done"): 6}) == found[0][1:]
    assert {frozenset("12"), frozenset("34")} == found[0][0].keys()


@contextmanager
def held_at_commit(made: Charts) -> Iterator[threading.Event]:
    """A worker with its first message applied and not committed; it goes on at the end."""
    reached, released = threading.Event(), threading.Event()

    def executed(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith("UPDATE inbound"):
            reached.set()

    def committing(_connection: object) -> None:
        if reached.is_set():
            released.wait(10)

    engine = made.parts.engine
    event.listen(engine, "after_cursor_execute", executed)
    event.listen(engine, "commit", committing)
    worker = threading.Thread(target=worked_by, args=(made, 1))
    worker.start()
    yield reached
    released.set()
    worker.join(10)


def epochs(made: Charts) -> dict[frozenset[str], int]:
    """How often each person's record was changed, by their identifiers."""
    with reading(made.parts.engine) as connection:
        return {
            names: entries.epoch_of(connection, person)
            for names in made.persons()
            if (person := entries.person_of(connection, [charts.identifier(min(names))]))
        }


def worked_by(made: Charts, workers: int) -> list[BaseException]:
    """Workers at once, each with one job at a time; what went wrong."""
    failed: list[BaseException] = []

    def work() -> None:
        ingest = Ingest(made.parts)
        ingest.batch = 1  # else one claim takes the heads of all lanes
        try:
            while drain(ingest, made.parts.engine, now=made.clock, ring=lambda _stage: None):
                pass
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return failed


def messages_of_two_pairs(chance: random.Random) -> list[Message]:
    """Results of two pairs of numbers; a message merges both, or parts one, every other time.

    Which pair is the first varies: so do the lanes, and regroupings meet each other.
    """
    sent = []
    for time in range(1, 97):
        pairs = [chance.sample(pair, 2) for pair in chance.sample(["12", "34"], 2)]
        match time % 4:
            case 0:
                words = tuple(Word("merge", one, other) for one, other in pairs)
                sent.append(Message(time, tuple(Patient((one,)) for one, _ in pairs), words))
            case 2:
                one, other = pairs[0]
                both = (Patient((one,)), Patient((other,)))
                sent.append(Message(time, both, (Word("unlink", one, other),)))
            case _:
                lab = Lab(f"F{time % 7}", str(time))
                sent.append(Message(time, (Patient((chance.choice("1234"),)),), labs=(lab,)))
    return sent


def test_the_projection_is_made_anew_from_the_command_line(open_: Open, parts: Parts) -> None:
    """It tells how many identifiers named another person."""
    made = open_()
    for number, message in enumerate(CASE):
        made.take(charts.er7(message, f"C{number}"))
    with writing(made.parts.engine) as connection:
        connection.execute(update(IdentityRow).values(person=IdentityRow.number))
    settings = parts.settings
    env = {
        **os.environ, "ONCORD_DATA_DIR": str(settings.data_dir),
        "ONCORD_SITE_FILE": str(settings.site_file),
        "ONCORD_DATABASE_URL": made.parts.engine.url.render_as_string(hide_password=False),
    }  # fmt: skip
    told = [
        subprocess.run([*ONCORD, "identity"], env=env, capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert ["1", "0"] == [one.stdout.split()[0] for one in told]
    assert {frozenset({"1", "2"})} == made.persons()


def messages_of_a_day(chance: random.Random) -> list[Message]:
    """Results under three numbers, with a word on them now and then; none contradicts another."""
    sent = []
    for time in range(1, 81):
        one, other = chance.sample(["1", "2"], 2)
        match time % 8:
            case 0:
                sent.append(Message(time, (Patient((one,)),), (Word("merge", one, other),)))
            case 4:
                both = (Patient((one,)), Patient((other,)))
                sent.append(Message(time, both, (Word("unlink", one, other),)))
            case 6:
                to = chance.choice(["1", "3"])
                sent.append(Message(time, (Patient((to,)),), (Word("move", to, "N1", "N1"),)))
            case _:
                lab = Lab(f"F{time % 7}", str(time))
                name = chance.choice(["1", "2", "3", "N1"])
                sent.append(Message(time, (Patient((name,)),), labs=(lab,)))
    return sent
