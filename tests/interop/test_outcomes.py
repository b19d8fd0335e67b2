"""An interface that waits: the answer says what became of the message (reliability.md 4.1)."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

import pytest
from doors import message, msa, until
from sqlalchemy import event, text
from whole_line import NOW, SITE, Line, opened

from interop.ledger import jobs
from interop.ledger.engine import reading, writing

NOBODY = "7^^^NOBODY&1.2.3&ISO"


def waiting_site(wait_s: float) -> str:
    """The site, whose `his` waits so long."""
    return SITE.replace('name = "his"\n', f'name = "his"\nwait_s = {wait_s}\n')


@contextmanager
def waiting(home: Path, url: str, wait_s: float = 20) -> Iterator[Line]:
    """The line with an interface that waits."""
    with opened(home, url, site=waiting_site(wait_s)) as made:
        yield made


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer("postgresql"))])
def url(request: pytest.FixtureRequest) -> str:
    """An empty ledger of each kind."""
    if request.param == "postgresql":
        made: str = request.getfixturevalue("postgresql_database")()
    else:
        made = request.getfixturevalue("sqlite_url")
    return made


@pytest.fixture
def line(tmp_path: Path, sqlite_url: str) -> Iterator[Line]:
    """The line on SQLite; its interface waits for longer than any test."""
    with waiting(tmp_path, sqlite_url) as made:
        yield made


class Sender:
    """One connection that sends without waiting for answers."""

    def __init__(self, line: Line) -> None:
        self._socket = socket.create_connection(("127.0.0.1", line.ports.mllp["his"]), 10)
        self._line, self._got = line, b""

    def send(self, *sent: bytes) -> None:
        """Pipeline messages, and see them in the tables."""
        before = self._held()
        self.hand_over(*sent)
        until(lambda: self._line.commit.settle() and self._held() > before)

    def hand_over(self, *sent: bytes) -> None:
        """Pipeline messages."""
        self._socket.sendall(b"".join(b"\x0b" + one + b"\x1c\r" for one in sent))

    def _held(self) -> int:
        with reading(self._line.parts.engine) as connection:
            query = text("SELECT count(*) + sum(resent) FROM inbound")
            return int(connection.execute(query).scalar() or 0)

    def answers(self, count: int) -> list[bytes]:
        """So many answers, without their frames."""
        self._socket.settimeout(10)
        while self._got.count(b"\x1c\r") < count:
            self._got += self._received()
        assert count == self._got.count(b"\x1c\r")
        found, self._got = self._got, b""
        return [answer.removeprefix(b"\x0b") for answer in found.split(b"\x1c\r")[:-1]]

    def end(self) -> None:
        """Send no more, and read on."""
        self._socket.shutdown(socket.SHUT_WR)

    def silent(self, seconds: float = 0.2) -> bool:
        """Whether nothing comes for a while."""
        self._socket.settimeout(seconds)
        try:
            self._got += self._socket.recv(65536)
        except TimeoutError:
            return True
        return False

    def closed(self) -> bool:
        """Whether the listener ended the connection."""
        self._socket.settimeout(10)
        return self._socket.recv(65536) == b""

    def _received(self) -> bytes:
        piece = self._socket.recv(65536)
        assert piece
        return piece

    def __enter__(self) -> Self:
        """Use as a context."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Hang up."""
        self._socket.close()


@contextmanager
def at_work(line: Line) -> Iterator[None]:
    """The worker in a thread of its own, as long as this lasts."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.01):
            line.worker.drain("ingest")

    thread = threading.Thread(target=work)
    thread.start()
    yield
    over.set()
    thread.join()


def row(line: Line) -> tuple[str, str]:
    """State and code of the last message."""
    with reading(line.parts.engine) as connection:
        query = text("SELECT state, code FROM inbound ORDER BY id DESC LIMIT 1")
        state, code = connection.execute(query).one()
        return state, code


@contextmanager
def held_back(line: Line) -> Iterator[None]:
    """The first open job is at another worker's, who gives it back at the end."""
    [claim] = jobs.claim(line.parts.engine, "ingest", now=NOW, limit=1)
    yield
    with writing(line.parts.engine) as connection:
        jobs.postpone(connection, claim, until=NOW, reason="given back")


def test_it_is_accepted_when_it_was_worked(url: str, tmp_path: Path):
    """Stored, silence, worked, AA; the row says so, and a duplicate gets the same bytes at once."""
    with waiting(tmp_path, url) as line, Sender(line) as sender:
        sender.send(message())
        assert ("received", "") == row(line)
        assert sender.silent()
        line.settle()
        [answer] = sender.answers(1)
        assert ("AA", "1") == msa(answer)
        assert ("applied", "AA") == row(line)
        sender.send(message(stamp="20260304130000"))
        assert [answer] == sender.answers(1)


def test_who_closes_its_half_is_answered_all_the_same(line: Line):
    """Long after the end of its stream; then the connection ends."""
    with Sender(line) as sender:
        sender.send(message())
        sender.end()
        assert sender.silent()
        line.settle()
        assert [("AA", "1")] == [msa(answer) for answer in sender.answers(1)]
        assert sender.closed()


@pytest.mark.parametrize(
    ("sent", "state"),
    [
        (message(pid=NOBODY), "parked"),
        (message() + b"MSH|^~\\&|HIS\r", "quarantined"),
    ],
    ids=["parked", "quarantined"],
)
def test_what_was_set_aside_is_answered_so(url: str, tmp_path: Path, sent: bytes, state: str):
    """AE with ERR 207: kept, not lost. The reply is stored before it is sent, for duplicates."""
    with waiting(tmp_path, url) as line, Sender(line) as sender:
        sender.send(sent)
        line.settle()
        [answer] = sender.answers(1)
        assert ("AE", "1") == msa(answer)
        error = next(s for s in answer.split(b"\r") if s.startswith(b"ERR")).split(b"|")
        assert (b"207", b"E") == (error[3].split(b"^")[0], error[4])
        assert (state, "AE") == row(line)
        with reading(line.parts.engine) as connection:
            assert answer in connection.execute(text("SELECT reply FROM inbound")).scalar_one()
        sender.send(sent)
        assert [answer] == sender.answers(1)


def test_a_message_whose_job_was_parked_is_set_aside_too(line: Line):
    """A worker that dies over it leaves the row as it was received."""
    with Sender(line) as sender:
        sender.send(message())
        [claim] = jobs.claim(line.parts.engine, "ingest", now=NOW, limit=1)
        with writing(line.parts.engine) as connection:
            jobs.park(connection, claim, now=NOW, reason="worker lost while working on it")
        assert [("AE", "1")] == [msa(a) for a in sender.answers(1)]


def test_what_nobody_maps_is_accepted(line: Line):
    """Kept and counted, not set aside (site rule 16)."""
    with Sender(line) as sender:
        sender.send(message(kind="ADT^A60^ADT_A60"))
        assert sender.silent()
        line.settle()
        assert [("AA", "1")] == [msa(a) for a in sender.answers(1)]


def test_it_is_accepted_when_its_time_is_over(url: str, tmp_path: Path):
    """AA after N seconds; what is found later does not change what was said."""
    with waiting(tmp_path, url, wait_s=0.4) as line, Sender(line) as sender:
        began = time.monotonic()
        sender.send(message(pid=NOBODY))
        [answer] = sender.answers(1)
        assert 0.4 <= time.monotonic() - began < 5
        assert ("AA", "1") == msa(answer)
        until(lambda: row(line) == ("received", "AA"))
        line.settle()
        assert ("parked", "AA") == row(line)
        sender.send(message(pid=NOBODY))
        assert [answer] == sender.answers(1)


def test_a_ledger_that_cannot_be_asked_delays_no_answer_further(tmp_path: Path, sqlite_url: str):
    """The message is durable, and so is its AA."""
    with waiting(tmp_path, sqlite_url, wait_s=0.4) as line, Sender(line) as sender:
        with writing(line.parts.engine) as connection:
            connection.execute(text("ALTER TABLE job RENAME TO gone"))
        sender.hand_over(message())
        assert [("AA", "1")] == [msa(a) for a in sender.answers(1)]
        with writing(line.parts.engine) as connection:
            connection.execute(text("ALTER TABLE gone RENAME TO job"))
        assert line.commit.settle()
        line.settle()
        assert "applied" == row(line)[0]


def test_answers_keep_the_order_of_the_messages(url: str, tmp_path: Path):
    """A later message that is worked sooner waits for the earlier; so does one that waits not."""
    with waiting(tmp_path, url) as line, Sender(line) as sender:
        sender.send(message("1", pid="7"), message("2", pid="8"), message("3", processing="T"))
        with held_back(line):
            line.settle()
            assert sender.silent()
            assert {("ingest", "leased"): 1, ("ingest", "done"): 1} == line.jobs()
        line.settle()
        assert [("AA", "1"), ("AA", "2"), ("AR", "3")] == [msa(a) for a in sender.answers(3)]


def test_only_a_stored_message_of_original_mode_is_waited_for(line: Line):
    """CA, CR, AR come at once."""
    asked = (
        message("1", tail="|||AL|NE"), message("2", tail="|||AL|NE", processing="T"),
        message("3", processing="T"),
    )  # fmt: skip
    with Sender(line) as sender:
        sender.send(*asked)
        said = [("CA", "1"), ("CR", "2"), ("AR", "3")]
        assert said == [msa(a) for a in sender.answers(3)]
    assert ("rejected", "AR") == row(line)


def test_a_duplicate_waits_with_the_first(line: Line):
    """A sender that lost patience asks again: one message, one outcome, the same bytes."""
    with Sender(line) as first, Sender(line) as again:
        first.send(message(pid=NOBODY))
        again.send(message(pid=NOBODY, stamp="20260304130000"))
        assert again.silent()
        line.settle()
        [answer] = first.answers(1)
        assert [answer] == again.answers(1)
        assert "AE" == msa(answer)[0]
    assert {("ingest", "done"): 1} == line.jobs()


def test_a_stop_leaves_nobody_with_a_wrong_answer(url: str, tmp_path: Path):
    """The connection ends without one; sent again, it is a duplicate that waits, and is told."""
    with ExitStack() as held:
        line = held.enter_context(waiting(tmp_path, url))
        sender = Sender(line)
        sender.send(message(pid=NOBODY))
        held.close()
        with sender:
            assert sender.closed()
    with waiting(tmp_path, url) as line, Sender(line) as sender:
        sender.send(message(pid=NOBODY))
        assert sender.silent()
        line.settle()
        assert [("AE", "1")] == [msa(a) for a in sender.answers(1)]
        assert [1] == [len(line.inbound("parked"))]


def test_a_batch_is_answered_when_all_of_it_was_worked(line: Line):
    """Each message by its own outcome, in their order, and what came behind in its turn."""
    three = message("1", pid="7") + message("2", pid=NOBODY) + message("3", pid="9")
    with Sender(line) as sender:
        sender.send(b"BHS|^~\\&|LIS|LAB\r" + three + b"BTS|3\r", message("4", processing="T"))
        with held_back(line):
            line.settle()
            assert sender.silent()
        line.settle()
        batch, last = sender.answers(2)
        said = [msa(part) for part in batch.split(b"\rMSH")[1:]]
        assert [("AA", "1"), ("AE", "2"), ("AA", "3")] == said
        assert ("AR", "4") == msa(last)


def test_an_unreadable_frame_closes_after_the_answers_before_it(line: Line):
    """No answer to it, and none is cut off by it."""
    with Sender(line) as sender:
        sender.send(message("1"), b"MSH|garbage")
        assert sender.silent()
        line.settle()
        assert [("AA", "1")] == [msa(a) for a in sender.answers(1)]
        assert sender.closed()


def test_nothing_is_asked_while_nobody_waits(line: Line):
    """The ledger is left in peace after the last answer."""
    asked: list[str] = []
    engine = line.commit.engine

    def note(_connection, _cursor, statement, *_rest) -> None:
        if "inbound" in statement:
            asked.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    with Sender(line) as sender:
        sender.send(message())
        until(lambda: len(asked) >= 2)
        line.settle()
        sender.answers(1)
        looked = len(asked)
        assert sender.silent(0.3)
    assert looked == len(asked)


def test_many_who_wait_are_found_by_one_query(line: Line):
    """Fifty connections, and no more questions than looks."""
    asked: list[int] = []

    def note(_connection, _cursor, statement, parameters, _context, _many) -> None:
        if statement.startswith("SELECT inbound.id"):
            asked.append(sum(isinstance(p, int) for p in parameters))

    with ExitStack() as held:
        senders = [held.enter_context(Sender(line)) for _ in range(50)]
        for number, sender in enumerate(senders):
            sender.send(message(str(number), pid=str(number)))
        event.listen(line.commit.engine, "before_cursor_execute", note)
        until(lambda: len(asked) >= 2)
        assert {50} == set(asked[-2:])
        line.settle()
        answers = [msa(sender.answers(1)[0]) for sender in senders]
    assert [("AA", str(n)) for n in range(50)] == answers


def test_a_worker_at_work_answers_long_before_the_wait_is_over(url: str, tmp_path: Path):
    """Forty messages over four connections at once, each by its own outcome and in order."""
    sent = {n: [f"{n}{k}" for k in range(10)] for n in range(4)}
    bad = {"07", "23"}
    with waiting(tmp_path, url) as line, at_work(line), ExitStack() as held:
        senders = [held.enter_context(Sender(line)) for _ in sent]
        began = time.monotonic()
        for sender, numbers in zip(senders, sent.values(), strict=True):
            sender.hand_over(*(message(n, pid=NOBODY if n in bad else n) for n in numbers))
        for sender, numbers in zip(senders, sent.values(), strict=True):
            expected = [("AE" if n in bad else "AA", n) for n in numbers]
            assert expected == [msa(a) for a in sender.answers(10)]
        assert 10 > time.monotonic() - began
