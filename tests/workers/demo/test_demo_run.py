"""`oncord demo --once` as a newcomer runs it: a process, real doors, status and report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mappings.outbound.result import SYNTHETIC_WORDS

_ONCORD = [sys.executable, "-c", "from workers.cli import main; main()", "demo", "--once"]
# In the order in which a patient's data passes them.
_STATIONS = [
    "listening",
    "sent",
    "acknowledged",
    "mapped",
    "waiting for",
    "ready",
    "assessed",
    "written",
    "amended",
]


def demo(home: Path, **environment: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """Run it and read its report."""
    report = home / "report.json"
    done = subprocess.run(
        [*_ONCORD, "--report", str(report)],
        env={**os.environ, **environment, "COLUMNS": "200"},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done, json.loads(report.read_text("utf-8"))


@pytest.mark.slow
def test_every_step_of_the_demo_is_verified(tmp_path: Path):
    """Status 0, every station told, and both resources named by what they are in the EHR."""
    done, report = demo(tmp_path)
    assert (0, True, "") == (done.returncode, report["verified"], report["failure"]), done.stdout
    told = [step["station"] for step in report["steps"]]
    assert _STATIONS == list(dict.fromkeys(told))
    assert sorted(step["at_s"] for step in report["steps"]) == [s["at_s"] for s in report["steps"]]
    assert report["steps"][-1]["at_s"] < 60
    assert {"DiagnosticReport", "RiskAssessment"} <= set(report["resources"])
    for kind, url in report["resources"].items():
        assert f"/fhir/{kind}/" in url
    assert SYNTHETIC_WORDS == report["words"]
    assert SYNTHETIC_WORDS in " ".join(done.stdout.split())


@pytest.mark.slow
def test_a_demo_that_cannot_be_verified_ends_with_status_1(tmp_path: Path):
    """Without its pack nothing can be assessed: the report says so, and so does the status."""
    (tmp_path / "no-packs").mkdir()
    done, report = demo(tmp_path, ONCORD_PACK_FOLDERS=str(tmp_path / "no-packs"))
    assert (1, False) == (done.returncode, report["verified"])
    assert "liver_dx" in report["failure"]
    assert {} == report["resources"]
