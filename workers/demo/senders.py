"""The hospital's ends of the wires: an MLLP client and a STOW client as systems have them."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import Dataset

SB, END = b"\x0b", b"\x1c\r"


class MllpSender:
    """One connection, one message in flight.

    Args:
        host: Of the listener.
        port: Of the listener.
        timeout_s: Longest wait for an answer.
    """

    def __init__(self, host: str, port: int, *, timeout_s: float = 30.0) -> None:
        self._socket = socket.create_connection((host, port), timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, message: bytes) -> bytes:
        """Send one message and return the answer without its frame.

        Raises:
            ConnectionError: The listener closed without an answer.
        """
        self._socket.sendall(SB + message + END)
        answer = b""
        while not answer.endswith(END):
            piece = self._socket.recv(65536)
            if not piece:
                raise ConnectionError("the listener closed without an answer")
            answer += piece
        return answer[1:-2]

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def __enter__(self) -> Self:
        """Use as a context."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()


def ack_code(answer: bytes) -> str:
    """MSA-1 of an answer."""
    for segment in answer.split(b"\r"):
        if segment.startswith(b"MSA"):
            return segment.split(segment[3:4])[1].decode("ascii")
    return ""


def stow(url: str, instances: Iterable[Dataset]) -> tuple[int, int]:
    """Push instances with dicomweb-client; how many were referenced and how many failed."""
    response = DICOMwebClient(url=url).store_instances(list(instances))
    return (
        len(getattr(response, "ReferencedSOPSequence", []) or []),
        len(getattr(response, "FailedSOPSequence", []) or []),
    )
