"""An MLLP client: one message in flight, its answer matched by MSA-2, or the socket is closed.

A late answer must never be credited to the next message (F20): whatever is not the answer to what
was just sent ends the connection, and the same message is sent again on a new one.
Source: HL7 v2.5.1 chapter 2.9; reliability.md F12, F20; writeback.md 2.7.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from dataclasses import dataclass

from interop.errors import OutcomeUnknown, PeerUnavailable
from interop.framer import Framer, FrameTooLarge
from interop.tcp import keep_alive
from mappings.errors import UnreadableMessage
from mappings.hl7v2.scan import scan

_MOST_ANSWER = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """MSA-1, MSA-3 or ERR text left out: it may quote the message."""

    code: str

    @property
    def accepted(self) -> bool:
        """AA or CA."""
        return self.code in ("AA", "CA")

    @property
    def rejected(self) -> bool:
        """AR or CR: sending it again does not help."""
        return self.code in ("AR", "CR")


class MllpClient:
    """One connection to one receiver, opened when needed.

    Args:
        host: Of the receiver.
        port: Of the receiver.
        timeout_s: Longest wait for a connection, and for an answer.
        tls: Context with our certificate, or None for plain text.
    """

    def __init__(
        self, host: str, port: int, *, timeout_s: float = 30.0, tls: ssl.SSLContext | None = None
    ) -> None:
        self._host, self._port, self._timeout_s, self._tls = host, port, timeout_s, tls
        self._socket: socket.socket | None = None

    def exchange(self, message: bytes, control_id: str) -> Answer:
        """Send a message and wait for its answer.

        Args:
            message: Without its frame.
            control_id: Its MSH-10.

        Raises:
            PeerUnavailable: No connection; nothing was sent.
            OutcomeUnknown: It was sent, and no answer to it came: send the same bytes again.
        """
        if self._socket is not None and _has_spoken(self._socket):
            # It hung up meanwhile, or says more than it was asked: neither answers what comes now.
            self.close()
        held = self._socket or self._connect()
        self._socket = held
        try:
            held.sendall(b"\x0b" + message + b"\x1c\r")
            return self._answer(held, control_id)
        except (OSError, FrameTooLarge, UnreadableMessage) as error:
            self.close()
            raise OutcomeUnknown(f"{type(error).__name__} while waiting for an answer") from error
        except OutcomeUnknown:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> socket.socket:
        try:
            plain = socket.create_connection((self._host, self._port), self._timeout_s)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            keep_alive(plain)
            if self._tls is None:
                return plain
            return self._tls.wrap_socket(plain, server_hostname=self._host)
        except OSError as error:
            raise PeerUnavailable(f"receiver: {type(error).__name__}") from error

    def _answer(self, held: socket.socket, control_id: str) -> Answer:
        framer = Framer(_MOST_ANSWER)
        until = time.monotonic() + self._timeout_s
        while True:
            # Within the whole time: a receiver that drips does not hold us for ever.
            held.settimeout(max(0.001, until - time.monotonic()))
            piece = held.recv(65536)
            if not piece:
                raise OutcomeUnknown("the receiver closed without an answer")
            for frame in framer.feed(piece):
                return _read(frame, control_id)
            if time.monotonic() > until:
                raise OutcomeUnknown("no answer in time")


def _has_spoken(held: socket.socket) -> bool:
    """Whether something came before anything was asked, the end of the stream included."""
    looking = select.poll()
    looking.register(held, select.POLLIN)
    return bool(looking.poll(0))


def _read(frame: bytes, control_id: str) -> Answer:
    header = scan(frame)
    separator = header.delimiters[:1]
    for line in frame.replace(b"\n", b"\r").split(b"\r"):
        if line.startswith(b"MSA" + separator):
            fields = line.split(separator)
            sent = fields[2] if len(fields) > 2 else None  # noqa: PLR2004  MSA-2
            if sent is not None and sent.decode("utf-8", "replace").strip() == control_id:
                return Answer(fields[1].decode("ascii", "replace").strip().upper())
            raise OutcomeUnknown("an answer to another message came")
    raise OutcomeUnknown("an answer without MSA came")
