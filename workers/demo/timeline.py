"""The hospital's end of the wires, and what is told while things travel.

Every message is answered before the next goes; what became of it is asked of the service itself.
What is sent, and what must come of it, is in `play` and `course`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families
from pydicom.dataset import Dataset
from rich.console import Console
from rich.markup import escape

from workers.demo.feed_messages import CHINA
from workers.demo.senders import MllpSender, ack_code, stow
from workers.demo.stage import Stage
from workers.demo.subject import MRN_SYSTEM

_ASIDE = frozenset({"parked", "quarantined", "ignored"})


class NotVerified(Exception):
    """A step could not be read back as it should be."""


@dataclass(slots=True)
class Timeline:
    """What happened, on a console and as steps.

    Attributes:
        steps: What happened, when (seconds from the start) and what proved it.
        patience_s: How long is waited for anything to become true.
    """

    console: Console
    stage: Stage
    started: float = field(default_factory=time.monotonic)
    steps: list[dict[str, Any]] = field(default_factory=list)
    patience_s: float = 60.0
    _messages: int = 0
    _taken: int = 0

    def seconds(self) -> float:
        """Since the start."""
        return round(time.monotonic() - self.started, 3)

    def tell(self, station: str, text: str) -> None:
        """One line of the timeline."""
        at = self.seconds()
        self.steps.append({"at_s": at, "station": station, "text": text})
        told = escape(text)
        self.console.print(f"[dim]{at:7.2f} s[/]  [bold]{station:<13}[/] {told}", highlight=False)

    def hl7(self, what: str, build: Callable[[str, datetime], bytes]) -> None:
        """Send one message by MLLP; AA means that it is durable.

        Raises:
            NotVerified: Any other answer.
        """
        self._messages += 1
        message = build(f"DEMO{self._messages:04d}", datetime.now(CHINA))
        with MllpSender("127.0.0.1", self.stage.mllp) as sender:
            self.tell("sent", f"{what}, {len(message)} bytes by MLLP")
            before = time.monotonic()
            code = ack_code(sender.send(message))
        took = (time.monotonic() - before) * 1000
        if code != "AA":
            raise NotVerified(f"{what} was answered {code or 'with nothing'}")
        self._acknowledged(f"AA after {took:.1f} ms: it is on disk")

    def fhir(self, what: str, bundle: Mapping[str, Any]) -> None:
        """Send one transaction.

        Raises:
            NotVerified: It was not taken as a transaction.
        """
        answer = self._post("/fhir", json.dumps(bundle).encode(), "application/fhir+json")
        if not answer.is_success or answer.json().get("type") != "transaction-response":
            raise NotVerified(f"{what}: the FHIR door answered {answer.status_code}")
        self._acknowledged(what)

    def stow(self, what: str, instances: Iterable[Dataset]) -> None:
        """Push a study.

        Raises:
            NotVerified: An instance was not stored.
        """
        made = list(instances)
        before = time.monotonic()
        good, bad = stow(f"http://127.0.0.1:{self.stage.http}/dicomweb", made)
        took = time.monotonic() - before
        if (good, bad) != (len(made), 0):
            raise NotVerified(f"{what}: STOW stored {good} of {len(made)}")
        self._acknowledged(f"STOW-RS: {what}, {good} instances, in {took:.2f} s")

    def _acknowledged(self, text: str) -> None:
        self._taken += 1
        self.tell("acknowledged", text)

    def settled(self) -> None:
        """Wait until the ledger has applied all that was acknowledged.

        Raises:
            NotVerified: Something was set aside, or is still waiting.
        """
        told: dict[str, int] = {}
        for _ in self.trying("what was acknowledged is not applied"):
            told = self._states()
            if aside := {state for state in told if state in _ASIDE}:
                raise NotVerified(f"a message was set aside: {', '.join(sorted(aside))}")
            if told == {"applied": self._taken}:
                return

    def _states(self) -> dict[str, int]:
        """Messages that the ledger counts, by state."""
        text = httpx.get(f"http://127.0.0.1:{self.stage.http}/metrics").text
        found: dict[str, int] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples if family.name == "oncord_messages" else ():
                state = sample.labels["state"]
                found[state] = found.get(state, 0) + int(sample.value)
        return found

    def findings(self) -> list[str]:
        """What keeps the service from being ready."""
        url = f"http://127.0.0.1:{self.stage.http}/readyz"
        found: list[str] = httpx.get(url).json()["findings"]
        return found

    def readiness(self, number: str) -> dict[str, dict[str, Any]] | None:
        """The standing answer of each pack or protocol on a patient, or None of a stranger."""
        body = json.dumps({"system": MRN_SYSTEM, "value": number}).encode()
        answer = self._post("/readiness", body, "application/json")
        if not answer.is_success:
            return None
        return {told["pack"]: told for told in answer.json()["packs"]}

    def known(self, number: str) -> None:
        """Wait until a patient is known."""
        for _ in self.trying("the patient is not known"):
            if self.readiness(number) is not None:
                return

    def trying(self, otherwise: str) -> Iterator[None]:
        """Turns to try something in, until patience ends.

        Raises:
            NotVerified: It ended, or a process did.
        """
        until = time.monotonic() + self.patience_s
        while time.monotonic() < until:
            yield
            if dead := self.stage.dead():
                raise NotVerified(f"{dead[0]} ended: {self.stage.last_words(dead[0])}")
            time.sleep(0.02)
        raise NotVerified(f"{otherwise} after {self.patience_s:.0f} s")

    def _post(self, path: str, body: bytes, kind: str) -> httpx.Response:
        url = f"http://127.0.0.1:{self.stage.http}{path}"
        return httpx.post(url, content=body, headers={"content-type": kind}, timeout=30)


def standing(answer: Mapping[str, Any], timeline: Timeline) -> dict[str, Any]:
    """What a report keeps of a readiness answer: state, when it was told, rules and inputs."""
    names = ("rule", "scope", "verdict", "reason")
    parts = ("input", "required", "present", "reason")
    return {
        "protocol": answer["pack"],
        "state": answer["state"],
        "at_s": timeline.seconds(),
        "t0": answer["t0"],
        "rules": [{name: rule[name] for name in names} for rule in answer["rules"]],
        "inputs": [{name: one[name] for name in parts} for one in answer["inputs"]],
    }
