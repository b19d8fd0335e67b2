"""Logs carry ids, and nothing of a patient (I7)."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
import structlog
from whole_line import Line, opened

import interop
import workers
from interop.ledger import jobs
from workers.demo import ct, hospital
from workers.demo.hospital import AFP, Chart
from workers.log import ALLOWED, configure, redact


def test_a_key_nobody_allowed_is_withheld():
    """Dropped, and counted."""
    made = redact(
        None, "info", {"event": "x", "patient_name": "合成", "mrn": "7", "stage": "ingest"}
    )
    assert {"event": "x", "stage": "ingest", "missing": "2 values withheld"} == made


def test_a_value_cannot_forge_a_line():
    """Line ends and control characters are escaped (A14)."""
    made = redact(None, "info", {"event": "x", "reason": "one\ntwo\x1b[31m"})
    assert str(made["reason"]).isprintable()


def test_the_allowed_keys_name_nothing_of_a_patient():
    """A look at the list itself."""
    assert not ALLOWED & {"name", "patient", "value", "birth_date", "identifier", "mrn", "text"}


def test_every_key_of_every_log_line_is_allowed():
    """A withheld value helps nobody: what is worth logging is on the list."""
    calls = [
        (path.name, node)
        for package in (interop, workers)
        for path in Path(str(package.__file__)).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "log"
    ]
    assert len(calls) > 30
    used = {(name, key.arg) for name, call in calls for key in call.keywords}
    assert set() == {(name, key) for name, key in used if key not in ALLOWED}


@pytest.fixture
def logged(tmp_path: Path, sqlite_url: str) -> Iterator[tuple[Line, io.StringIO]]:
    """A line whose logs go to a text, as in production."""
    before = structlog.get_config()
    text = io.StringIO()
    configure("json")
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(file=text), cache_logger_on_first_use=False
    )
    try:
        with opened(tmp_path, sqlite_url) as made, redirect_stdout(text):
            yield made, text
    finally:
        structlog.configure(**before)


def test_a_run_through_every_error_path_tells_nothing(logged: tuple[Line, io.StringIO], who: Chart):
    """Names, numbers and values of good and bad messages in no log, metric, answer or job."""
    line, text = logged
    canary = "CANARYNAME"
    answers = []
    line.register(who)
    line.evidence(who)
    line.ehr.faults.extend(["unavailable", "refuse"])
    line.settle()
    bad = line.labs(who, loincs=[AFP], values={AFP: Decimal("77777.7")})
    for sent in (
        bad.replace(b"|NM|", b"|ZZ|"),
        bad.replace(b"DEMOHOSP^MR", f"{canary}^MR".encode()),
        bad.replace(b"ng/mL", canary.encode()),
        bad.replace(b"77777.7", canary.encode()),
        bad.replace(b"20260304", canary.encode()[:8], 1),
        bad.replace(b"|P|2.5.1", b"|T|2.5.1"),
        bad.replace(b"ORU^R01^ORU_R01", b"ADT^A60"),
    ):
        answers.append(line.send(sent))
        line.settle()
    pushes = (
        {"resourceType": "Patient", "birthDate": canary},
        {"resourceType": canary},
        hospital.fhir_patient(who) | {"gender": canary},
    )
    answers += [line.fhir(resource, "/fhir/Patient").content for resource in pushes]
    [dataset] = list(ct.instances(who))[:1]
    dataset.PatientID, dataset.IssuerOfPatientID = canary, canary
    line.stow(dataset, canary.encode())
    line.clock.forward(minutes=10)
    line.settle()
    metrics = httpx.get(f"{line.http}/metrics").text
    parked = str(jobs.parked(line.parts.engine))
    family, given, roman = who.name
    secrets = [
        canary,
        who.number,
        family + given,
        roman,
        "77777.7",
        who.birth_date.replace("-", ""),
    ]
    seen = (
        text.getvalue() + metrics + parked + "".join(a.decode("utf-8", "replace") for a in answers)
    )
    assert "stow.part_refused" in seen
    assert [] == [secret for secret in secrets if secret in seen]


_READS_A_BAD_NAME = """
from pydicom import Dataset, dcmread
from pydicom.filebase import DicomBytesIO
from workers.log import configure
{configured}
head = bytes.fromhex("10001000") + b"PN" + (80).to_bytes(2, "little")
head2 = bytes.fromhex("20000d00") + b"UI" + (8).to_bytes(2, "little")
raw = head + b"Zhangsan" * 10 + head2 + b"Zhangsan"
found = dcmread(DicomBytesIO(raw), force=True)
str(found.PatientName), str(found.StudyInstanceUID)
"""


def test_what_pydicom_says_of_a_value_is_not_told():
    """It quotes it, by logger and by warning; a name too long and a UID that is none."""
    said = [
        subprocess.run(
            [sys.executable, "-c", _READS_A_BAD_NAME.format(configured=configured)],
            capture_output=True, text=True, check=True,
        ).stderr
        for configured in ("", "configure('json')")
    ]  # fmt: skip
    assert ["Zhangsan" in one for one in said] == [True, False]
    assert "" == said[1]
