"""A pack whose bytes are not those it was locked with is refused, everywhere it is asked for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import made_slides
import pytest
from site_processes import ONCORD
from whole_line import PACKS, SITE, Line, opened

from workers.demo.hospital import Chart
from workers.doctor import examine


@pytest.fixture
def tampered(tmp_path: Path, sqlite_url: str) -> Iterator[Line]:
    """A line whose one pack has a byte changed."""
    folder = tmp_path / "packs"
    shutil.copytree(PACKS / "liver_dx", folder / "liver_dx")
    graph = folder / "liver_dx" / "fusion.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(bytes(content))
    with opened(tmp_path, sqlite_url, packs=folder) as made:
        yield made


def test_a_tampered_pack_is_refused_in_readyz_doctor_and_log(
    capsys: pytest.CaptureFixture[str], tampered: Line
):
    """By name and reason; the doors serve on."""
    answer = httpx.get(f"{tampered.http}/readyz")
    assert 503 == answer.status_code
    assert [f for f in answer.json()["findings"] if "liver_dx" in f]
    assert 200 == httpx.get(f"{tampered.http}/healthz").status_code
    assert "liver_dx" in capsys.readouterr().out
    settings = tampered.parts.settings
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(PACKS.parent.parent), "COLUMNS": "400",
        "ONCORD_DATA_DIR": str(settings.data_dir), "ONCORD_DATABASE_URL": settings.database_url,
        "ONCORD_BROKER_URL": settings.broker_url, "ONCORD_SITE_FILE": str(settings.site_file),
        "ONCORD_PACK_FOLDERS": str(settings.pack_folders[0]),
    }  # fmt: skip
    done = subprocess.run(
        [*ONCORD, "doctor"], capture_output=True, text=True, check=False, env=environment
    )  # fmt: skip
    assert 1 == done.returncode
    assert [line for line in done.stdout.splitlines() if "BAD" in line and "liver_dx" in line]


def test_intake_goes_on_without_the_pack(tampered: Line, who: Chart):
    """Everything is kept, nothing is predicted."""
    tampered.register(who)
    tampered.evidence(who)
    tampered.settle()
    assert [] == tampered.inbound("received")
    assert ([], []) == (tampered.current(who), tampered.deliveries(who))


@pytest.mark.parametrize(("without", "ok"), [("left out", True), ("no result", False)])
def test_a_pack_whose_slides_nobody_reads_is_told(
    tmp_path: Path, sqlite_url: str, without: str, *, ok: bool
):
    """Its examples pass; at this site there will be no slide."""
    folder = made_slides.pack(tmp_path / "packs" / "p")
    text = (folder / "pack.toml").read_text().replace('"left out"', f'"{without}"')
    (folder / "pack.toml").write_text(text)
    site = SITE.replace("liver_dx", "outside")
    with opened(tmp_path, sqlite_url, packs=tmp_path / "packs", site=site) as line:
        found = [f for f in examine(line.parts.settings) if "slides are not read" in f.text]
    assert [ok] == [f.ok for f in found]
    assert ("no patient" in found[0].text) is not ok


@pytest.mark.parametrize(("without", "ok"), [("left out", True), ("no result", False)])
def test_a_pack_whose_study_nobody_names_is_told(
    tmp_path: Path, sqlite_url: str, without: str, *, ok: bool
):
    """The index of the liver pack is its CT; here it is the moment of the assessment."""
    folder = tmp_path / "packs" / "liver_dx"
    shutil.copytree(PACKS / "liver_dx", folder)
    text = (folder / "pack.toml").read_text()
    start, end = text.index("[index]"), text.index("[lock]")
    text = text[:start] + '[index]\non = "assessment"\ntext = "now"\n\n' + text[end:]
    text = re.sub(r'"contrast_study"\nphases = .*', '"sex"\nvalue = "male"', text)
    (folder / "pack.toml").write_text(text.replace('"left out"', f'"{without}"'))
    with opened(tmp_path, sqlite_url, packs=tmp_path / "packs") as line:
        found = [f for f in examine(line.parts.settings) if "index is a study" in f.text]
    assert [ok] == [f.ok for f in found]
    assert ("no patient" in found[0].text) is not ok
