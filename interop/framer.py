"""MLLP framing: a byte stream cut into the contents of its frames.

Source: HL7 v2 MLLP release 1 (SB 0x0B, EB 0x1C, CR); reliability.md F16 and F18.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

SB, EB = 0x0B, 0x1C
_END = b"\x1c\r"
_START = re.compile(rb"\x0b(?:MSH|FHS|BHS)")
_NAME = 3  # bytes


class FrameTooLarge(Exception):
    """A frame grew over the cap; the connection cannot be trusted to find the next one."""


class Framer:
    """Cuts a byte stream into MLLP frames, however it was split on the way.

    EB ends a frame; the CR that must follow it is swallowed with whatever else stands between
    frames, so a sender that forgets it is understood too. SB inside a frame begins another one
    where a message or a batch follows it; else it is text (word processors end lines with it).

    Args:
        cap: Most bytes of a frame's content.
    """

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._buffer = bytearray()
        self._searched = 0
        self.inside = False
        self.junk = 0
        self.truncated = 0

    @property
    def held(self) -> int:
        """Bytes of the frame under way."""
        return len(self._buffer)

    def feed(self, piece: bytes) -> Iterable[bytes]:
        """The content of each frame that is now complete.

        Raises:
            FrameTooLarge: The frame under way is larger than the cap.
        """
        if not self._buffer and not self.inside and self._is_frame(piece):
            return (piece[1:-2],)
        return self._cut(piece)

    def _is_frame(self, piece: bytes) -> bool:
        """Whether a piece is one frame and nothing else, as it is with one message in flight."""
        end = len(piece) - len(_END)
        return (
            0 < end <= self._cap + 1
            and piece[0] == SB
            and piece.find(EB) == end
            and piece.find(SB, 1) < 0
            and piece.endswith(_END)
        )

    def _cut(self, piece: bytes) -> Iterator[bytes]:
        self._buffer += piece
        while True:
            if not self.inside and not self._open():
                return
            end = self._buffer.find(EB, self._searched)
            restart = self._restart(end if end >= 0 else len(self._buffer))
            if restart >= 0:
                # A start inside a frame: the sender gave the first one up. It gets no answer.
                self.truncated += 1
                del self._buffer[: restart + 1]
                self._searched = 0
                continue
            if (end if end >= 0 else len(self._buffer)) > self._cap:
                raise FrameTooLarge
            if end < 0:
                # What follows a start block may be in the next piece.
                self._searched = max(self._searched, len(self._buffer) - _NAME)
                return
            content = bytes(memoryview(self._buffer)[:end])
            del self._buffer[: end + 1]
            self.inside, self._searched = False, 0
            yield content

    def _restart(self, end: int) -> int:
        """Where another frame starts before `end`, or -1."""
        if self._buffer.find(SB, self._searched, end) < 0:  # nearly always, and faster
            return -1
        found = _START.search(self._buffer, self._searched, end)
        return found.start() if found else -1

    def _open(self) -> bool:
        """Drop what stands before the next SB; whether there is one."""
        start = self._buffer.find(SB)
        before = self._buffer if start < 0 else self._buffer[:start]
        self.junk += len(before) - before.count(b"\r") - before.count(b"\n")
        if start < 0:
            self._buffer.clear()
            return False
        del self._buffer[: start + 1]
        self.inside, self._searched = True, 0
        return True
