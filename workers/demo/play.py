"""`oncord demo`: one synthetic liver patient through every door, told as it happens.

Every step is verified by reading back: from the ledger for what was received and mapped, from the
EHR for what a clinician would see.
"""

from __future__ import annotations

import json
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from inference.training.liver import patient
from mappings.outbound.result import SYNTHETIC_WORDS
from workers.demo import ct, hospital
from workers.demo.hospital import AFP, CHINA, MRN_SYSTEM, Chart
from workers.demo.senders import MllpSender, ack_code, stow
from workers.demo.stage import EhrServer, Stage, StageFailed
from workers.parts import utc_now

_PATIENCE_S = 60.0
_RAISED_AFP = 400
_LABS_WITHOUT_AFP = (
    "1751-7",
    "1975-2",
    "14631-6",
    "1742-6",
    "1920-8",
    "777-3",
    "6301-6",
    "24108-3",
    "34444-0",
)


class NotVerified(Exception):
    """A step could not be read back as it should be."""


@dataclass(slots=True)
class Play:
    """The demo as it goes.

    Attributes:
        steps: What happened, when (seconds from the start) and what proved it.
        resources: What stands in the EHR at the end, by resource type.
    """

    console: Console
    who: Chart
    stage: Stage
    ehr: EhrServer
    started: float = field(default_factory=time.monotonic)
    steps: list[dict[str, Any]] = field(default_factory=list)
    resources: dict[str, str] = field(default_factory=dict)
    _sent: int = 0

    def tell(self, station: str, text: str) -> None:
        """One line of the timeline."""
        at = time.monotonic() - self.started
        self.steps.append({"at_s": round(at, 3), "station": station, "text": text})
        self.console.print(f"[dim]{at:7.2f} s[/]  [bold]{station:<13}[/] {text}", highlight=False)

    def run(self) -> None:
        """Play every act.

        Raises:
            NotVerified: A step could not be read back.
        """
        self._ready()
        self._register()
        self._history()
        self._labs()
        self._images()
        self._report()
        first = self._result()
        self._correct(first)

    def _hl7(self, what: str, build: Callable[[str, datetime], bytes]) -> None:
        """Send one message by MLLP; AA means that it is durable."""
        self._sent += 1
        message = build(f"DEMO{self._sent:04d}", datetime.now(CHINA))
        with MllpSender("127.0.0.1", self.stage.mllp) as sender:
            self.tell("sent", f"{what}, {len(message)} bytes by MLLP")
            before = time.monotonic()
            code = ack_code(sender.send(message))
        took = (time.monotonic() - before) * 1000
        if code != "AA":
            raise NotVerified(f"{what} was answered {code or 'with nothing'}")
        self.tell("acknowledged", f"AA after {took:.1f} ms: it is on disk")

    def _ready(self) -> None:
        answer = httpx.get(f"http://127.0.0.1:{self.stage.http}/readyz").json()
        if answer["findings"]:
            raise NotVerified(f"the service is not ready: {answer['findings'][0]}")

    def _register(self) -> None:
        self._hl7("ADT^A04 in GB18030", lambda i, now: hospital.adt_a04(self.who, i, now))
        self._wait_known()
        self.tell("mapped", "the patient is known, with a Chinese name")

    def _history(self) -> None:
        bundle = hospital.fhir_history(self.who, ct.counts(self.who))
        answer = self._post("/fhir", json.dumps(bundle).encode(), "application/fhir+json")
        if not answer.is_success or answer.json().get("type") != "transaction-response":
            raise NotVerified(f"the FHIR door answered {answer.status_code}")
        self.tell("acknowledged", "FHIR transaction of history: problem list, announced CT study")

    def _labs(self) -> None:
        have = [loinc for loinc in _LABS_WITHOUT_AFP if loinc in self.who.synthetic.labs]
        self._hl7(
            f"ORU^R01 with {len(have)} laboratory values",
            lambda i, now: hospital.oru_labs(self.who, i, now, loincs=have, filler="L1001"),
        )
        self._waiting("no CT")

    def _images(self) -> None:
        instances = list(ct.instances(self.who))
        url = f"http://127.0.0.1:{self.stage.http}/dicomweb"
        before = time.monotonic()
        good, bad = stow(url, instances)
        took = time.monotonic() - before
        if (good, bad) != (len(instances), 0):
            raise NotVerified(f"STOW stored {good} of {len(instances)}")
        phases = len(self.who.synthetic.phases)
        self.tell("acknowledged", f"STOW-RS: {good} CT slices, {phases} phases, in {took:.2f} s")
        self._waiting("report", settled=lambda p: p.get("trigger"))

    def _report(self) -> None:
        self._hl7("radiology report, ORU^R01", lambda i, now: hospital.oru_report(self.who, i, now))
        self._waiting("Alpha-fetoprotein", settled=lambda p: len(p["waiting_for"]) == 1)

    def _result(self) -> dict[str, Any]:
        self._hl7(
            "the last input, AFP",
            lambda i, now: hospital.oru_labs(self.who, i, now, loincs=[AFP], filler="L1002"),
        )
        before = time.monotonic()
        report = self._in_ehr(lambda r: r["status"] == "preliminary")
        self.tell("ready", "every rule of liver_dx is met")
        self.tell("assessed", report["conclusion"].split(". ")[0] + ".")
        self.tell(
            "written", f"confirmed in the EHR {time.monotonic() - before:.2f} s after the answer"
        )
        self._check(report)
        return report

    def _correct(self, first: dict[str, Any]) -> None:
        wrong = self.who.synthetic.labs[AFP][0]
        right = (wrong * 40 if wrong < _RAISED_AFP else wrong / 40).quantize(Decimal("0.1"))
        self._hl7(
            f"corrected AFP, OBX-11 = C: {wrong} becomes {right} ng/mL",
            lambda i, now: hospital.oru_labs(
                self.who, i, now, loincs=[AFP], filler="L1002", status="C", values={AFP: right}
            ),
        )
        before = time.monotonic()
        report = self._in_ehr(lambda r: r["status"] == "corrected")
        if report["id"] != first["id"]:
            raise NotVerified("the correction made a second report")
        self.tell("assessed", report["conclusion"].split(". ")[0] + ".")
        self.tell("amended", f"same report, next version, {time.monotonic() - before:.2f} s later")
        self._check(report)

    def _check(self, report: dict[str, Any]) -> None:
        """Read everything back and compare: numbers, links, words."""
        risk_reference = next(
            e["valueReference"]["reference"]
            for e in report["extension"]
            if e["url"].endswith("diagnosticReport-risk")
        )
        risk = self._get(risk_reference)
        numbers = [self._get(r["reference"])["valueQuantity"]["value"] for r in report["result"]]
        told = [p["probabilityDecimal"] for p in risk["prediction"]]
        if sorted(numbers) != sorted(told) or abs(sum(told) - 100) > 0.1:  # noqa: PLR2004  per cent
            raise NotVerified("RiskAssessment and Observations tell different numbers")
        if SYNTHETIC_WORDS not in report["conclusion"]:
            raise NotVerified("the words on synthetic training are missing")
        if risk["status"] != report["status"]:
            raise NotVerified("RiskAssessment and DiagnosticReport differ in status")
        for resource in (report, risk):
            kind, resource_id = resource["resourceType"], resource["id"]
            self.resources[kind] = f"{self.ehr.base_url}/{kind}/{resource_id}"

    def _get(self, reference: str) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{self.ehr.base_url}/{reference}").json()
        return found

    def _post(self, path: str, body: bytes, kind: str) -> httpx.Response:
        url = f"http://127.0.0.1:{self.stage.http}{path}"
        return httpx.post(url, content=body, headers={"content-type": kind}, timeout=30)

    def _question(self) -> list[dict[str, Any]] | None:
        body = json.dumps({"system": MRN_SYSTEM, "value": self.who.number}).encode()
        answer = self._post("/readiness", body, "application/json")
        if not answer.is_success:
            return None
        packs: list[dict[str, Any]] = answer.json()["packs"]
        return packs

    def _wait_known(self) -> None:
        for _ in self._trying("the patient is not known"):
            if self._question() is not None:
                return

    def _waiting(self, what: str, settled: Callable[[dict[str, Any]], Any] = bool) -> None:
        """Wait until readiness names what is missing, and tell it."""
        for _ in self._trying(f"readiness does not wait for {what}"):
            for pack in self._question() or ():
                reasons = pack.get("waiting_for") or ()
                if any(what.lower() in reason.lower() for reason in reasons) and settled(pack):
                    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
                    said = next(r for r in reasons if what.lower() in r.lower())
                    self.tell("waiting for", said.removeprefix("waiting for ") + more)
                    return

    def _in_ehr(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until the EHR has the report, and return it as read from there."""
        about = {"patient": self.who.number.lower()}
        for _ in self._trying("no such report in the EHR"):
            answer = httpx.get(f"{self.ehr.base_url}/DiagnosticReport", params=about).json()
            for entry in answer.get("entry") or ():
                report: dict[str, Any] = entry["resource"]
                if wanted(report):
                    return report
        raise AssertionError

    def _trying(self, otherwise: str) -> Iterator[None]:
        until = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until:
            yield
            if dead := self.stage.dead():
                raise NotVerified(f"{dead[0]} ended: {self.stage.last_words(dead[0])}")
            time.sleep(0.02)
        raise NotVerified(f"{otherwise} after {_PATIENCE_S:.0f} s")


def play(console: Console, *, once: bool, report: Path | None, seed: int) -> int:
    """Run the demo; the exit status is 0 only if every step was verified."""
    # A demo that is told to end must not leave its processes behind.
    signal.signal(signal.SIGTERM, _interrupted)
    console.rule("Oncord: one synthetic patient, every door")
    console.print(SYNTHETIC_WORDS, style="yellow", highlight=False)
    who = hospital.chart(_suitable(seed), t0=utc_now() - timedelta(hours=20))
    with _folder(once) as folder:
        ehr = EhrServer()
        ehr.start()
        ehr.ehr.store.transaction(hospital.fhir_history(who, ct.counts(who)))
        ehr.ehr.store.transaction(hospital.fhir_labs(who))
        try:
            with Stage(folder, ehr.base_url) as stage:
                return _perform(Play(console, who, stage, ehr), once=once, report=report)
        except StageFailed as error:
            console.print(f"[red]not started:[/] {error}", highlight=False)
            return 1
        finally:
            ehr.stop()


def _interrupted(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _perform(acts: Play, *, once: bool, report: Path | None) -> int:
    acts.tell("listening", f"MLLP {acts.stage.mllp}, HTTP {acts.stage.http}, EHR {acts.ehr.port}")
    failure = ""
    try:
        acts.run()
    except (NotVerified, OSError, httpx.HTTPError) as error:
        failure = str(error) or type(error).__name__
        acts.console.print(f"[red]not verified:[/] {failure}", highlight=False)
    if report is not None:
        written = {
            "verified": not failure,
            "failure": failure,
            "steps": acts.steps,
            "resources": acts.resources,
            "words": SYNTHETIC_WORDS,
        }
        report.write_text(json.dumps(written, ensure_ascii=False, indent=2), "utf-8")
    if failure:
        return 1
    for kind, url in acts.resources.items():
        acts.console.print(f"{kind:<17} {url}", highlight=False)
    page = f"http://127.0.0.1:{acts.ehr.port}/patient/{acts.who.number.lower()}"
    acts.console.print(f"{'What one sees':<17} {page}", highlight=False)
    if not once:
        acts.console.print("It stays up. Ctrl-C ends it.", style="dim")
        try:
            while not acts.stage.dead():
                time.sleep(0.5)
        except KeyboardInterrupt:
            pass
    return 0


def _suitable(seed: int) -> Any:
    """The first patient of a cohort with a Chinese report and four phases: the demo's hospital."""
    for index in range(1000):
        found = patient(seed, index, render=False)
        if found.language == "zh" and len(found.phases) == len(ct.PHASES):
            return patient(seed, index)
    raise AssertionError("a thousand patients and none suits")


@contextmanager
def _folder(once: bool) -> Iterator[Path]:
    """A folder of its own for each run, gone afterwards when the run leaves by itself."""
    if once:
        with tempfile.TemporaryDirectory(prefix="oncord-demo-") as name:
            yield Path(name)
    else:
        folder = Path("var/demo") / utc_now().strftime("%Y%m%dT%H%M%S")
        folder.mkdir(parents=True)
        yield folder.resolve()
