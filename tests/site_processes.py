"""A whole site as real processes: `oncord serve`, two `oncord worker`, and a sandbox EHR."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from peers.processes import end, running
from whole_line import PACKS, SITE, serving

from workers.demo import ct, hospital
from workers.demo.ehr import SandboxEhr, sandbox
from workers.demo.hospital import Chart
from workers.demo.senders import MllpSender

ONCORD = [sys.executable, "-c", "from workers.cli import main; main()"]


@dataclass(slots=True)
class Site:
    """A running site."""

    home: Path
    ehr: SandboxEhr
    mllp: int
    http: str
    token: str
    workers: list[subprocess.Popen[bytes]]
    env: Mapping[str, str]

    def send(self, message: bytes) -> bytes:
        """Send one HL7 message; the answer."""
        with MllpSender("127.0.0.1", self.mllp) as sender:
            return sender.send(message)

    def post(self, path: str, **parts: Any) -> httpx.Response:
        """POST with the token."""
        headers = {"authorization": f"Bearer {self.token}", **parts.pop("headers", {})}
        return httpx.post(self.http + path, headers=headers, timeout=60, **parts)

    def admit(self, who: Chart, control_id: str = "P") -> None:
        """A patient with all their evidence, through the real doors."""
        now = datetime.now(UTC)
        patient = hospital.fhir_patient(who)
        self.ehr.store.update("Patient", patient["id"], patient)
        messages = (
            hospital.adt_a04(who, f"{control_id}1", now),
            hospital.oru_labs(
                who, f"{control_id}2", now, loincs=list(who.synthetic.labs), filler="L1"
            ),
            hospital.oru_report(who, f"{control_id}3", now),
        )
        for message in messages:
            assert b"|AA|" in self.send(message)
        json_ = {"content-type": "application/fhir+json"}
        history = hospital.fhir_history(who, ct.counts(who))
        assert 200 == self.post("/fhir", json=history, headers=json_).status_code
        body = b"".join(
            b"--cut\r\nContent-Type: application/dicom\r\n\r\n" + ct.part10(dataset) + b"\r\n"
            for dataset in ct.instances(who)
        )
        kind = {"content-type": 'multipart/related; type="application/dicom"; boundary=cut'}
        answer = self.post("/dicomweb/studies", content=body + b"--cut--\r\n", headers=kind)
        assert 200 == answer.status_code

    def reports(self, who: Chart) -> list[dict[str, Any]]:
        """The patient's reports in the EHR."""
        subject = f"Patient/{who.number.lower()}"
        held = self.ehr.store.versions.get("DiagnosticReport", {}).values()
        # A resource that is being created has no version yet.
        newest = [versions[-1] for versions in list(held) if versions]
        return [report for report in newest if report["subject"]["reference"] == subject]

    def until(self, met: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """Wait for a condition.

        Raises:
            AssertionError: It did not come about; the logs are in the text.
        """
        deadline = time.monotonic() + timeout_s
        while not met():
            if time.monotonic() > deadline:
                logs = "\n".join(p.read_text("utf-8")[-3000:] for p in self.home.glob("*.log"))
                raise AssertionError(f"not within {timeout_s} s\n{logs}")
            time.sleep(0.05)

    def status(self, who: Chart) -> str:
        """Status of the patient's one report, or an empty string."""
        found = self.reports(who)
        return str(found[0]["status"]) if found else ""

    def kill_workers(self) -> None:
        """SIGKILL, children and all."""
        for worker in self.workers:
            end(worker, signal.SIGKILL)


@contextmanager
def standing(
    home: Path, *, database_url: str, broker_url: str, environment: Mapping[str, str] | None = None,
    workers: bool = True, under: Sequence[str] = (),
) -> Iterator[Site]:  # fmt: skip
    """A site that is up."""
    ehr = sandbox(lambda: datetime.now(UTC))
    with serving(ehr.app()) as base, ExitStack() as held:
        urls = {"ONCORD_DATABASE_URL": database_url, "ONCORD_BROKER_URL": broker_url}
        env = settled(home, ehr=f"{base}/fhir", **urls, **(environment or {}))
        ports, _ = held.enter_context(serve(home, env, under=under))
        url = f"http://127.0.0.1:{ports['http']}"
        made = Site(home, ehr, ports["mllp"]["his"], url, env["ONCORD_API_TOKENS"], [], env)
        if workers:
            start_workers(made, held)
        yield made


def settled(
    home: Path, *, ehr: str = "http://127.0.0.1:9/fhir", **environment: str
) -> dict[str, str]:
    """A site file in a folder, and the environment of its processes."""
    site_file = home / "site.toml"
    site_file.write_text(SITE.format(ehr=ehr, pack="", strategy=""))
    return {
        "ONCORD_DATA_DIR": str(home / "data"), "ONCORD_SITE_FILE": str(site_file),
        "ONCORD_PACK_FOLDERS": str(PACKS), "ONCORD_HTTP_PORT": "0", "ONCORD_MLLP_PORT": "0",
        "ONCORD_SECRET": "test", "ONCORD_API_TOKENS": "token", "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(PACKS.parent.parent), **environment,
    }  # fmt: skip


@contextmanager
def serve(
    home: Path, env: Mapping[str, str], *, under: Sequence[str] = ()
) -> Iterator[tuple[dict[str, Any], subprocess.Popen[bytes]]]:
    """`oncord serve`, with the ports it bound."""
    log = home / "serve.log"
    with running(
        [*under, *ONCORD, "serve"], ready=lambda: _ports(log) is not None, log=log, env=env
    ) as process:
        ports = _ports(log)
        assert ports is not None
        yield ports, process


def start_workers(site: Site, held: ExitStack) -> None:
    """One process for each queue."""
    for queue in ("ledger", "gpu"):
        log = site.home / f"{queue}.log"
        command = [*ONCORD, "worker", queue, "--nice", "0"]
        started = held.enter_context(
            running(command, ready=lambda: True, log=log, env=site.env, stop=signal.SIGKILL)
        )
        site.workers.append(started)


def _ports(log: Path) -> dict[str, Any] | None:
    """What the service printed when it was up."""
    for line in log.read_text("utf-8").splitlines() if log.exists() else ():
        if line.startswith("{") and '"mllp"' in line:
            found: dict[str, Any] = json.loads(line)
            return found
    return None


def recent() -> datetime:
    """When the CT of a patient of today was done."""
    return datetime.now(UTC) - timedelta(days=2)
