"""docs/how-to/bring-your-own-model.md, block by block, as a reader would type it (model-rules 27)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "how-to" / "bring-your-own-model.md"
_BLOCK = re.compile(
    r"^```(?P<kind>\w+)(?: title=(?P<title>\S+))?\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)


def blocks() -> Iterator[tuple[str, str, str]]:
    """Language, file name or nothing, and text of each block that is more than output."""
    for found in _BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
        yield found["kind"], found["title"] or "", found["body"]


def played(folder: Path) -> Iterator[tuple[str, subprocess.CompletedProcess[str]]]:
    """Write every titled block and run every shell block, in their order."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder), "COLUMNS": "200", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    for kind, title, body in blocks():
        if title:
            (folder / title).write_text(body, encoding="utf-8")
        elif kind == "sh" and not body.startswith("pip "):
            yield body, subprocess.run(
                ["bash", "-euo", "pipefail", "-c", body],
                cwd=folder, env=environment, capture_output=True, text=True, check=False,
            )  # fmt: skip


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of somebody who followed the page, and what they were told."""
    folder, told = tmp_path_factory.mktemp("reader"), ""
    for body, done in played(folder):
        assert 0 == done.returncode, f"{body}\n{done.stdout}\n{done.stderr}"
        told += done.stdout
    return folder, told


@pytest.mark.timeout(300)
def test_the_page_leads_from_three_models_to_three_packs(reader: tuple[Path, str]):
    """Each shell block ends well, and says what the page says it says."""
    folder, told = reader
    assert "BAD" not in told
    assert 3 == told.count("ok  example   first: all figures differs by")
    assert "leaves out its images" not in told
    assert "readiness: ready" in told
    assert re.search(r"^Recurrence within the year: 0\.\d+$", told, re.MULTILINE)
    assert re.search(r"^Malignant: 0\.\d+$", told, re.MULTILINE)
    assert re.search(r"^cea_risk 0\.1\.0, .*synthetic", told, re.MULTILINE)
    assert re.search(r"^cea_risk_torch 0\.1\.0", told, re.MULTILINE)
    assert (folder / "packs/cea_risk/pack.sig").is_file()


def test_no_name_of_the_patient_comes_into_the_pack(reader: tuple[Path, str]):
    """What `example` keeps is what was read."""
    text = (reader[0] / "packs/cea_risk/examples/first.json").read_text(encoding="utf-8")
    assert "18.4" in text
    assert not {w for w in ("4711", "合成", "A1", "LIS") if w in text}
