"""A hospital system that takes HL7 v2 by MLLP, and misbehaves as it is told."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from interop.framer import Framer

START, END = b"\x0b", b"\x1c\r"


@dataclass(slots=True)
class Receiver:
    """What came, and what is to be answered.

    Attributes:
        port: Where it listens.
        script: One word for each message to come, then AA for ever: a code of table 0008, `late`
            (after `delay_s`), `other` (to another control id), `twice`, `padded`
            (with blanks around code and control id), `goodbye` (AA, and hangs up), `nothing`,
            `hang up`, `garbage`.
        messages: Frames as they came.
        connections: How many were made.
    """

    port: int = 0
    script: list[str] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    connections: int = 0
    delay_s: float = 0.4

    def control_ids(self) -> list[str]:
        """MSH-10 of what came."""
        return [m.split(b"|")[9].decode() for m in self.messages]

    def _serve(self, held: socket.socket) -> None:
        framer = Framer(50_000_000)
        with held:
            while True:
                try:
                    piece = held.recv(65536)
                except OSError:
                    return
                if not piece:
                    return
                for frame in framer.feed(piece):
                    self.messages.append(frame)
                    if not self._answer(held, frame):
                        return

    def _answer(self, held: socket.socket, frame: bytes) -> bool:
        word = self.script.pop(0) if self.script else "AA"
        number = frame.split(b"|")[9]
        code = word.encode() if word.isupper() else b"AA"
        answer = START + b"MSH|^~\\&|EHR|H|ONCORD|H|2026||ACK|1|P|2.5.1\rMSA|" + code + b"|"
        match word:
            case "nothing":
                return True
            case "hang up":
                return False
            case "garbage":
                held.sendall(START + b"no message" + END)
                return True
            case "late":
                time.sleep(self.delay_s)
            case "other":
                number = b"OTHER"
            case "padded":
                answer, number = answer.replace(b"|AA|", b"| aa |"), number + b" "
        try:
            held.sendall((answer + number + b"\r" + END) * (2 if word == "twice" else 1))
        except OSError:
            return False
        return word != "goodbye"


@contextmanager
def receiving(*script: str) -> Iterator[Receiver]:
    """A receiver that listens."""
    made = Receiver(script=list(script))
    with socket.create_server(("127.0.0.1", 0)) as server:
        made.port = server.getsockname()[1]

        def accept() -> None:
            while True:
                try:
                    held, _ = server.accept()
                except OSError:
                    return
                made.connections += 1
                threading.Thread(target=made._serve, args=(held,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield made
        # A blocked accept does not notice that its socket was closed elsewhere.
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)
