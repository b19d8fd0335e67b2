"""The synthetic CT is DICOM that other people's tools accept."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from inference.training import liver
from workers.demo import ct, hospital
from workers.demo.hospital import Chart


@pytest.fixture(scope="module")
def chart() -> Chart:
    """A patient with all phases."""
    found = (liver.patient(77, n) for n in range(50))
    synthetic = next(p for p in found if len(p.phases) == len(ct.PHASES))
    return hospital.chart(synthetic, t0=datetime(2026, 3, 2, 9, 30, tzinfo=UTC))


@pytest.fixture
def files(chart: Chart, tmp_path: Path) -> list[Path]:
    """The first slice of each phase."""
    made = []
    for phase, instance in {i.SeriesDescription: i for i in ct.instances(chart)}.items():
        path = tmp_path / f"{len(made)}.dcm"
        path.write_bytes(ct.part10(instance))
        made.append(path)
        assert phase
    return made


@pytest.mark.peer("dicom3tools")
def test_dciodvfy_finds_no_error(files: list[Path]):
    """The CT Image IOD as dicom3tools checks it, contrast phases included."""
    for path in files:
        told = subprocess.run(
            ["dciodvfy", str(path)], capture_output=True, text=True, check=False
        ).stderr
        assert [] == [line for line in told.splitlines() if line.startswith("Error")]
        assert "CTImage" in told


@pytest.mark.peer("dcmtk")
def test_dcmdump_reads_every_element(files: list[Path]):
    """Parsed to the end without a warning, pixel data included."""
    for path in files:
        told = subprocess.run(
            ["dcmdump", "-M", str(path)], capture_output=True, text=True, check=False
        )
        assert (0, "") == (told.returncode, told.stderr)
        assert "PixelData" in told.stdout


def test_instances_have_uids_of_their_own(chart: Chart):
    """As many SOP instances as announced, in as many series as phases, of one study."""
    made = list(ct.instances(chart))
    assert sum(ct.counts(chart).values()) == len({i.SOPInstanceUID for i in made}) == len(made)
    assert set(ct.counts(chart)) == {i.SeriesInstanceUID for i in made}
    assert {chart.study_uid} == {i.StudyInstanceUID for i in made}
    assert all(len(i.SOPInstanceUID) <= 64 for i in made)
