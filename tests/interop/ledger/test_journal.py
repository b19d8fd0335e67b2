"""The journal: what was synced comes back, whole and in order, whatever else the files hold."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interop.errors import LedgerUnavailable
from interop.ledger.journal import Journal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The journal's folder."""
    return tmp_path / "journal"


def dies(folder: Path, work: Callable[[Journal], object], **parts: int) -> None:
    """A process that opens the journal, works, and is gone without closing anything."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work(Journal(folder, **parts))
            status = 0
        finally:
            os._exit(status)
    assert 0 == os.waitpid(child, 0)[1]


def written(journal: Journal, *texts: bytes) -> None:
    """One group."""
    journal.append([(text[:3], text[3:]) for text in texts])


def drained(journal: Journal) -> list[bytes]:
    """Everything that waits, moved."""
    found: list[bytes] = []
    while records := journal.read(3, 1 << 20):
        found += records
        journal.moved()
    return found


def test_records_come_back_in_order(folder: Path):
    """Across groups and reads of any size."""
    with closing(Journal(folder)) as journal:
        written(journal, b"one", b"two-and-more")
        written(journal, b"three")
        assert [b"one", b"two-and-more", b"three"] == drained(journal)
        assert 0 == journal.waiting_bytes


def test_a_record_that_waits_can_be_looked_at_again(folder: Path):
    """By who appended it, until it was moved and its file is let go."""
    with closing(Journal(folder, segment_bytes=100)) as journal:
        first, second = journal.append([(b"on", b"e"), (b"two", b"")])
        assert (b"one", b"two") == (journal.look(first), journal.look(second))
        written(journal, *[b"x" * 60] * 2)
        assert (b"one", b"two") == (journal.look(first), journal.look(second))
        drained(journal)
        written(journal, b"three")
        assert (None, None) == (journal.look(first), journal.look(second))


def test_a_record_that_cannot_be_looked_at_is_said(folder: Path):
    """It was synced: nobody may take it for moved."""
    with closing(Journal(folder)) as journal:
        [place] = journal.append([(b"on", b"e")])
        with (folder / "0.journal").open("r+b") as file:
            file.write(b"\0" * 40)
        with pytest.raises(LedgerUnavailable, match="cannot be read"):
            journal.look(place)


def test_what_was_read_and_not_moved_is_read_again(folder: Path):
    """A transaction that failed starts over."""
    with closing(Journal(folder)) as journal:
        written(journal, b"one", b"two")
        assert [b"one", b"two"] == journal.read(9, 1 << 20) == journal.read(9, 1 << 20)


def test_another_process_finds_what_was_not_moved(folder: Path):
    """After a crash, over many files; what was moved of the last file may come again."""
    texts = [b"record %d" % n for n in range(40)]

    def work(journal: Journal) -> None:
        for text in texts:
            written(journal, text)
        journal.read(3, 1 << 20)
        journal.moved()

    dies(folder, work, segment_bytes=64)
    with closing(Journal(folder)) as journal:
        found = drained(journal)
    assert texts[-len(found) :] == found
    assert 37 <= len(found) <= 40


def test_nothing_is_recovered_after_a_clean_end(folder: Path):
    """What the tables have is not moved again."""
    with closing(Journal(folder, segment_bytes=64)) as journal:
        for n in range(9):
            written(journal, b"record %d" % n)
        drained(journal)
    with closing(Journal(folder)) as journal:
        assert (0, []) == (journal.waiting_bytes, drained(journal))


def test_remains_of_an_earlier_use_are_no_records(folder: Path):
    """A recycled file still holds old records behind the new ones."""

    def work(journal: Journal) -> None:
        for n in range(30):
            written(journal, b"same length %02d" % n)
            if n % 3 == 2:
                drained(journal)
        for n in range(30, 35):
            written(journal, b"same length %02d" % n)

    dies(folder, work, segment_bytes=100)
    with closing(Journal(folder)) as journal:
        found = drained(journal)
    assert [b"same length %02d" % n for n in range(30, 35)] == found[-5:]
    assert sorted(found) == found
    assert len(found) <= 8


@given(cut=st.integers(0, 200), garbage=st.binary(max_size=40))
@settings(max_examples=40)
def test_a_torn_tail_costs_only_itself(
    tmp_path_factory: pytest.TempPathFactory, cut: int, garbage: bytes
):
    """A power cut in the middle of a write: whole records before it stay, no half one appears."""
    folder = tmp_path_factory.mktemp("torn")
    texts = [b"record number %d" % n for n in range(6)]
    dies(folder, lambda journal: written(journal, *texts))
    file = folder / "0.journal"
    held = file.read_bytes()
    file.write_bytes(held[: max(0, len(held) - cut)] + garbage)
    with closing(Journal(folder)) as journal:
        found = drained(journal)
    assert texts[: len(found)] == found
    assert len(found) >= 6 - -(-cut // (16 + len(texts[0])))


def test_a_recovered_file_is_not_appended_to(folder: Path):
    """What stood behind a torn tail cannot come back to life."""
    dies(folder, lambda journal: written(journal, b"one"))
    dies(folder, lambda journal: written(journal, b"two"))
    left = (folder / "0.journal").read_bytes()
    with closing(Journal(folder)) as journal:
        written(journal, b"three")
        assert left == (folder / "0.journal").read_bytes()
        assert [b"one", b"two", b"three"] == drained(journal)


def test_one_process_at_a_time(folder: Path):
    """Two services with one folder would lose each other's records."""
    with closing(Journal(folder)), pytest.raises(LedgerUnavailable, match="another process"):
        Journal(folder)


def test_a_record_larger_than_a_segment_is_taken(folder: Path):
    """A slide report of 50 MB in one OBX."""
    texts = [b"small", b"x" * 5000, b"small"]
    with closing(Journal(folder, segment_bytes=100)) as journal:
        for text in texts:
            written(journal, text)
        assert texts == drained(journal)


def test_files_are_used_again(folder: Path):
    """A thousand segments' worth passes through a handful of files."""
    with closing(Journal(folder, segment_bytes=100)) as journal:
        for n in range(1000):
            written(journal, b"record %05d, forty bytes of content or so" % n)
            if n % 5 == 4:
                drained(journal)
    assert 8 > len(list(folder.glob("*.journal")))


def test_too_much_waiting_is_refused_and_passes(folder: Path):
    """Back-pressure: senders send again later."""
    with closing(Journal(folder, most_waiting_bytes=50)) as journal:
        written(journal, b"x" * 60)
        with pytest.raises(LedgerUnavailable, match="too much waits"):
            written(journal, b"y")
        drained(journal)
        written(journal, b"z")
        assert [b"z"] == drained(journal)


def test_a_failed_sync_ends_it(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Asked again, a kernel says that all is well when it is not: never ask again (F3)."""

    def failing(_handle: int) -> None:
        raise OSError(5, "Input/output error")

    with closing(Journal(folder)) as journal:
        with monkeypatch.context() as patched:
            patched.setattr(os, "fdatasync", failing)
            with pytest.raises(LedgerUnavailable, match="sync failed"):
                written(journal, b"one")
        with pytest.raises(LedgerUnavailable, match="sync failed"):
            written(journal, b"two")
        assert [] == journal.read(9, 1 << 20)
