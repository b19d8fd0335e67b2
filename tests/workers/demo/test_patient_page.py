"""The sandbox EHR's patient page in a real browser: what a clinician would see."""

from __future__ import annotations

import base64
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from whole_line import serving

from workers.demo.ehr import sandbox
from workers.parts import utc_now

_CHROMIUM = [
    "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--dump-dom",
]  # fmt: skip


@pytest.fixture
def page() -> Iterator[str]:
    """URL of the page of a patient with a corrected report and a lab with a hostile text."""
    ehr = sandbox(utc_now)
    ehr.store.update(
        "Patient", "p1", {"resourceType": "Patient", "id": "p1", "name": [{"text": "合成患者"}]}
    )
    about = {"subject": {"reference": "Patient/p1"}}
    form = base64.b64encode(b"<h1>Liver report</h1>").decode()
    ehr.store.update(
        "DiagnosticReport",
        "r1",
        {
            "resourceType": "DiagnosticReport",
            "id": "r1",
            "status": "corrected",
            "code": {"text": "Liver assessment"},
            "presentedForm": [{"contentType": "text/html", "data": form}],
            **about,
        },
    )
    ehr.store.update(
        "Observation",
        "o1",
        {
            "resourceType": "Observation",
            "id": "o1",
            "status": "final",
            "code": {"text": "AFP"},
            "valueString": "<script>document.title='broken'</script>",
            **about,
        },
    )
    with serving(ehr.app()) as base:
        yield f"{base}/patient/p1"


@pytest.mark.peer("chromium")
def test_the_page_shows_name_report_and_correction(page: str, tmp_path: Path):
    """Rendered by a browser; text from resources stays text."""
    command = [*_CHROMIUM, f"--user-data-dir={tmp_path}", page]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "<title>合成患者</title>" in dom
    assert re.search(r'<span class="tag corrected">corrected</span>', dom)
    frame = re.search(r'<iframe sandbox="" title="Report" src="data:text/html[^"]*,([^"]+)"', dom)
    assert frame is not None
    assert "<h1>Liver report</h1>" == base64.b64decode(frame[1]).decode()
    assert "<script>" not in dom
