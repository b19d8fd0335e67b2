"""A streaming reader of multipart/related: parts are handed on as they come, never held whole.

Source: RFC 2046 5.1, RFC 2387; PS3.18 8.6.1.2; limits from reliability.md A5.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.message import Message
from typing import Literal, TypeAlias

from interop.errors import NotMultipart, TooLarge

MOST_HEADER = 8 * 1024
MOST_PREAMBLE = 1024
# RFC 2046 says 70; Orthanc's DICOMweb plugin sends 73.
MOST_BOUNDARY = 200


@dataclass(frozen=True, slots=True)
class PartBegin:
    """A part opens; `content_type` is lower case without parameters."""

    content_type: str


@dataclass(frozen=True, slots=True)
class PartBytes:
    """Some content of the open part."""

    piece: memoryview


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The open part is complete."""


Event: TypeAlias = PartBegin | PartBytes | PartEnd


def boundary_of(content_type: str) -> tuple[bytes, str]:
    """Boundary and type parameter of a multipart/related Content-Type.

    Raises:
        NotMultipart: Another type, or no usable boundary.
    """
    header = Message()
    header["content-type"] = content_type
    if header.get_content_type() != "multipart/related":
        raise NotMultipart("Content-Type is not multipart/related")
    boundary = header.get_param("boundary")
    if not isinstance(boundary, str) or not 1 <= len(boundary) <= MOST_BOUNDARY:
        raise NotMultipart("boundary is missing or longer than 200 characters")
    if not boundary.isascii() or not boundary.isprintable():
        raise NotMultipart("boundary is not printable ASCII")
    kind = header.get_param("type")
    return boundary.encode(), kind.lower() if isinstance(kind, str) else "application/dicom"


class MultipartReader:
    """Cuts a body into parts; memory stays at one piece plus a delimiter.

    Args:
        boundary: Without the leading hyphens.
        most_parts: Further ones are refused.
    """

    def __init__(self, boundary: bytes, *, most_parts: int = 5000) -> None:
        self._delimiter = b"\r\n--" + boundary
        # The first delimiter may open the body, without the line end before it.
        self._buffer = bytearray(b"\r\n")
        self._state: Literal["preamble", "delimiter", "header", "content", "done"] = "preamble"
        self._parts, self._most_parts = 0, most_parts

    @property
    def complete(self) -> bool:
        """Whether the closing delimiter came."""
        return self._state == "done"

    def feed(self, piece: bytes) -> list[Event]:
        """Events of a further piece of the body.

        Raises:
            NotMultipart: The body breaks the format or a limit.
            TooLarge: More parts than taken.
        """
        self._buffer += piece
        events: list[Event] = []
        while self._step(events):
            pass
        return events

    def _step(self, events: list[Event]) -> bool:
        """Do what can be done in the present state; whether to go on."""
        match self._state:
            case "preamble":
                return self._preamble()
            case "delimiter":
                return self._after_delimiter()
            case "header":
                return self._header(events)
            case "content":
                return self._content(events)
            case _:
                self._buffer.clear()
                return False

    def _preamble(self) -> bool:
        at = self._buffer.find(self._delimiter)
        if at < 0:
            if len(self._buffer) > MOST_PREAMBLE + len(self._delimiter):
                raise NotMultipart("no boundary where the first part should open")
            return False
        del self._buffer[: at + len(self._delimiter)]
        self._state = "delimiter"
        return True

    def _after_delimiter(self) -> bool:
        """Behind a delimiter: `--` closes, white space and CRLF open a part."""
        if len(self._buffer) < 2:  # noqa: PLR2004  two bytes decide
            return False
        if self._buffer.startswith(b"--"):
            self._state = "done"
            return True
        end = self._buffer.find(b"\r\n")
        if end < 0:
            if len(self._buffer) > MOST_HEADER:
                raise NotMultipart("boundary line does not end")
            return False
        if bytes(self._buffer[:end]).strip():
            raise NotMultipart("boundary line carries other text")
        self._parts += 1
        if self._parts > self._most_parts:
            raise TooLarge("more parts than this door takes")
        # Keep the line end: headers may be empty, and then the blank line follows at once.
        del self._buffer[:end]
        self._state = "header"
        return True

    def _header(self, events: list[Event]) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MOST_HEADER:
                raise NotMultipart("part header is longer than 8 KB")
            return False
        content_type = "application/dicom"
        for line in bytes(self._buffer[:end]).split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-type":
                content_type = value.split(b";")[0].strip().decode("latin-1").lower()
        events.append(PartBegin(content_type))
        del self._buffer[: end + 4]
        self._state = "content"
        return True

    def _content(self, events: list[Event]) -> bool:
        at = self._buffer.find(self._delimiter)
        if at >= 0:
            if at:
                events.append(PartBytes(memoryview(bytes(memoryview(self._buffer)[:at]))))
            events.append(PartEnd())
            del self._buffer[: at + len(self._delimiter)]
            self._state = "delimiter"
            return True
        # What could be the start of a delimiter stays until more is there.
        safe = len(self._buffer) - len(self._delimiter) + 1
        if safe > 0:
            events.append(PartBytes(memoryview(bytes(memoryview(self._buffer)[:safe]))))
            del self._buffer[:safe]
        return False
