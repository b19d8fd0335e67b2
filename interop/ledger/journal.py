"""Journal: what was received, durable by one synced append, until the tables have it.

The front of the ledger. A door's answer waits for one write and one fdatasync here, and for no lock
of the database; the mover then takes the records into the tables in large transactions. Records
come back in the order in which they were written. What they mean is told in `received`.

A segment is a file of records; each record carries its segment's number and a checksum, so that a
torn tail and the remains of an earlier use of the file are told from what was written. Recovered
segments are never appended to.
Source: docs/decisions/0009; reliability.md 0.1 (oracle), F1 to F4; PostgreSQL's recycled WAL files.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import zlib
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from interop.disk import sync_folder
from interop.errors import JournalHeld, LedgerUnavailable

log = structlog.get_logger()

_HEADER = struct.Struct("<QII")  # number of the segment, length, checksum
_SUFFIX = ".journal"
_SPARE = 4
_FILLED_AT_ONCE = 1 << 18  # a sender's sync waits for what the disk is at


class Journal:
    """An append-only file of records between one writing and one reading thread.

    Args:
        folder: Where the segments lie; one process at a time may open it.
        segment_bytes: A segment is left for the next one at this size.
        most_waiting_bytes: Appends are refused while more than this waits to be moved.

    Raises:
        JournalHeld: Another process has it open.
        LedgerUnavailable: The folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int = 16 * 1024 * 1024,
        most_waiting_bytes: int = 1024 * 1024 * 1024,
    ) -> None:
        self._folder, self._segment_bytes = folder, segment_bytes
        self.most_waiting_bytes = most_waiting_bytes
        self._spare: deque[_Segment] = deque()
        self._appended = self._moved = 0
        self._filler = threading.Thread()
        self._creating = threading.Lock()
        self._closing = False
        self.broken = ""
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            self._segments = self._recover()
        except OSError as error:
            raise LedgerUnavailable(f"journal: {error.strerror}") from error

    @property
    def waiting_bytes(self) -> int:
        """What is durable here and not yet in the tables."""
        return self._appended - self._moved

    @property
    def appended_bytes(self) -> int:
        """What was ever made durable here."""
        return self._appended

    def append(self, records: Sequence[tuple[bytes, bytes]]) -> list[Place]:
        """Write records, each given as (head, body), and sync them; where each one lies.

        Raises:
            LedgerUnavailable: None of them counts as written: the disk is full, too much waits to
                be moved, or a sync has failed before.
        """
        if self.broken:
            raise LedgerUnavailable(self.broken)
        if self.waiting_bytes > self.most_waiting_bytes:
            raise LedgerUnavailable("journal: too much waits for the database")
        size = _HEADER.size * len(records)
        for head, body in records:
            size += len(head) + len(body)
        try:
            segment = self._current(size)
            places = segment.write(records, size)
        except OSError as error:
            raise LedgerUnavailable(f"journal: {error.strerror}") from error
        try:
            os.fdatasync(segment.handle)
        except OSError as error:
            # Asking again would lie: the pages may be marked clean, and lost (fsyncgate).
            self.broken = f"journal: sync failed, {error.strerror}"
            raise LedgerUnavailable(self.broken) from error
        self._appended += size
        segment.durable += size
        if not self._spare and (not segment.filled or segment.durable * 2 > self._segment_bytes):
            self._want_spare()
        return places

    def look(self, place: Place) -> bytes | None:
        """A record again, for the thread that appends; None when it was moved and its file let go.

        Raises:
            LedgerUnavailable: It cannot be read.
        """
        segment, number, at = place
        reason, record = "a record that was synced cannot be read", None
        try:
            record = segment.record(at, segment.durable)
        except OSError as error:
            reason = error.strerror or reason
        # Asked afterwards: what was let go meanwhile may be anybody's bytes.
        if segment.released or segment.number != number:
            return None
        if record is None:
            raise LedgerUnavailable(f"journal: {reason}")
        return record

    def read(self, most: int, most_bytes: int) -> list[bytes]:
        """The oldest records that are not moved yet, at least one if there is any."""
        while True:
            segment = self._segments[0]
            # Looked at in this order: a segment is sealed after its last record is durable.
            sealed = segment.sealed
            found, end = segment.read(most, most_bytes)
            if found or not sealed:
                segment.reading = end
                return found
            self._segments.popleft()
            self._release(segment)

    def moved(self) -> None:
        """Say that all that was read is in the tables."""
        segment = self._segments[0]
        self._moved += segment.reading - segment.moved
        segment.moved = segment.reading

    def close(self) -> None:
        """Give the files up; an empty journal leaves nothing to recover."""
        self._closing = True
        if self._filler.is_alive():
            self._filler.join()
        for segment in (*self._segments, *self._spare):
            if segment.moved == segment.durable:
                segment.forget()
            os.close(segment.handle)
        os.close(self._lock)

    def _current(self, size: int) -> _Segment:
        segment = self._segments[-1]
        full = segment.durable and segment.durable + size > self._segment_bytes
        if segment.sealed or full or (self._spare and not segment.filled):
            fresh = self._spare.popleft() if self._spare else self._create()
            fresh.begin(segment.number + 1)
            self._segments.append(fresh)
            segment.sealed = True
            return fresh
        return segment

    def _want_spare(self) -> None:
        """Have the next file made ready beside us, one at a time."""
        if not self._filler.is_alive():
            self._filler = threading.Thread(target=self._fill, name="journal-filler", daemon=True)
            self._filler.start()

    def _fill(self) -> None:
        """Blocks that are there already: a sync that also grows its file costs twice as much."""
        try:
            segment = self._create()
            for at in range(0, self._segment_bytes, _FILLED_AT_ONCE):
                if self._closing:
                    break
                os.pwrite(segment.handle, bytes(min(_FILLED_AT_ONCE, self._segment_bytes)), at)
                os.fdatasync(segment.handle)
        except OSError as error:
            log.warning("journal.not_filled", reason=error.strerror)
        else:
            segment.filled = not self._closing
            self._spare.append(segment)

    def _create(self) -> _Segment:
        with self._creating:
            names = {path.stem for path in self._folder.glob(f"*{_SUFFIX}")}
            name = next(str(n) for n in range(len(names) + 1) if str(n) not in names)
            path = self._folder / f"{name}{_SUFFIX}"
            made = _Segment(path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            sync_folder(self._folder)
            return made

    def _release(self, segment: _Segment) -> None:
        segment.released = True
        segment.forget()
        if segment.filled and len(self._spare) < _SPARE:
            self._spare.append(segment)
        else:
            segment.remove()

    def _recover(self) -> deque[_Segment]:
        """What earlier processes left, oldest first, and a fresh segment at the end."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise JournalHeld("journal: another process has it open") from error
        found = []
        for path in self._folder.glob(f"*{_SUFFIX}"):
            segment = _Segment(path, os.open(path, os.O_RDWR))
            segment.filled = os.fstat(segment.handle).st_size >= self._segment_bytes
            if segment.recover():
                found.append(segment)
            elif segment.filled:
                self._spare.append(segment)
            else:
                segment.remove()
        found.sort(key=lambda s: s.number)
        self._appended = sum(s.durable for s in found)
        fresh = self._spare.popleft() if self._spare else self._create()
        fresh.begin(found[-1].number + 1 if found else 1)
        return deque([*found, fresh])


class _Segment:
    """One file: written up to `durable` by one thread, read and moved up to it by another."""

    def __init__(self, path: Path, handle: int) -> None:
        self.path, self.handle = path, handle
        self.filled = False
        self.begin(0)

    def begin(self, number: int) -> None:
        """Start over from the first byte."""
        self.number, self.sealed, self.released = number, False, False
        self.durable = self.reading = self.moved = 0

    def write(self, records: Sequence[tuple[bytes, bytes]], size: int) -> list[Place]:
        """Write after what is durable; a write that failed is overwritten by the next."""
        pieces: list[bytes] = []
        places: list[Place] = []
        number, place = self.number, self.durable
        for head, body in records:
            length = len(head) + len(body)
            pieces += (_HEADER.pack(number, length, _checksum(number, head, body)), head, body)
            places.append((self, number, place))
            place += _HEADER.size + length
        if os.pwritev(self.handle, pieces, self.durable) == size:
            return places
        rest = memoryview(b"".join(pieces))  # cut short: a signal, or the disk filling up
        at = 0
        while at < size:
            at += os.pwrite(self.handle, rest[at:], self.durable + at)
        return places

    def read(self, most: int, most_bytes: int) -> tuple[list[bytes], int]:
        """Records from what was moved on, and where they end."""
        found: list[bytes] = []
        at, end = self.moved, self.durable
        while at < end and len(found) < most and (not found or at - self.moved < most_bytes):
            record = self.record(at, end)
            if record is None:
                raise LedgerUnavailable("journal: a record that was synced cannot be read")
            found.append(record)
            at += _HEADER.size + len(record)
        return found, at

    def recover(self) -> bool:
        """Find what was written before; whether there is anything."""
        first = os.pread(self.handle, _HEADER.size, 0)
        if len(first) < _HEADER.size:
            return False
        self.number, self.sealed = _HEADER.unpack(first)[0], True
        end = os.fstat(self.handle).st_size
        while (record := self.record(self.durable, end)) is not None:
            self.durable += _HEADER.size + len(record)
        return self.durable > 0

    def forget(self) -> None:
        """Make the next recovery pass the file by; if this is lost, moving again does no harm."""
        with suppress(OSError):
            os.pwrite(self.handle, bytes(_HEADER.size), 0)

    def remove(self) -> None:
        """Take the file away."""
        os.close(self.handle)
        self.path.unlink()

    def record(self, at: int, end: int) -> bytes | None:
        """The record that begins there, or None where none does."""
        header = os.pread(self.handle, _HEADER.size, at)
        if len(header) < _HEADER.size:
            return None
        number, length, checksum = _HEADER.unpack(header)
        start = at + _HEADER.size
        if number != self.number or not length or start + length > end:
            return None
        record = os.pread(self.handle, length, start)
        return record if checksum == _checksum(self.number, record, b"") else None


Place = tuple[_Segment, int, int]  # where a record lies: file, its number then, offset


def _checksum(number: int, head: bytes, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(head, number & 0xFFFFFFFF))
