"""The synthetic MR is DICOM that other people's tools accept, and the voxels come back."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
import wires
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from whole_line import Line

from workers.demo import ct, mr
from workers.demo.mr import MrStudy
from workers.demo.subject import CannotSend

SPACING_MM = (4.0, 3.5, 3.25)


def study(voxels: Any = None, **more: Any) -> MrStudy:
    """The example as an examination."""
    made = wires.liver() if voxels is None else voxels
    return MrStudy(who=wires.somebody(), voxels=made, spacing_mm=SPACING_MM, **more)


def by_series(examination: MrStudy) -> dict[str, list[Dataset]]:
    """Instances by sequence, as they come."""
    names = {mr.series_uid(examination, name): name for name in examination.sequences}
    found: dict[str, list[Dataset]] = defaultdict(list)
    for instance in mr.instances(examination):
        found[names[instance.SeriesInstanceUID]].append(instance)
    return found


def read_back(series: list[Dataset]) -> Any:
    """Voxels feet first and spacing, as highdicom builds a volume from shuffled instances."""
    volume = highdicom.get_volume_from_series(series[1::2] + series[0::2][::-1])
    # highdicom counts slices from the head.
    assert volume.direction[:, 0].tolist() == [0, 0, -1]
    return volume.array[::-1], volume.spacing


@pytest.mark.peer("dicom3tools")
def test_dciodvfy_finds_no_error(tmp_path: Path):
    """The MR Image IOD as dicom3tools checks it, one slice of every sequence known."""
    voxels = np.concatenate([wires.liver(), wires.liver()[:1]])
    series = by_series(study(voxels, sequences=(*mr.SEQUENCES, "HBP")))
    assert set(mr.TECHNIQUES) == set(series)
    for path in wires.written((slices[3] for slices in series.values()), tmp_path):
        assert [] == wires.complaints(path)


def test_six_series_are_six_volumes_with_their_spacing_and_order():
    """Every sequence of models.md 1.4, exactly as it was given, through highdicom."""
    series = by_series(study())
    assert mr.SEQUENCES == tuple(series)
    for name, volume in zip(mr.SEQUENCES, wires.liver(), strict=True):
        array, spacing = read_back(series[name])
        assert SPACING_MM == spacing
        assert np.array_equal(volume, array)


@pytest.mark.parametrize(
    ("scale", "shift"), [(1.0, 0.0), (0.003, -0.5), (2000.0, 0.0), (1.0, -300.25)]
)
def test_numbers_come_back_to_half_a_step_and_then_for_ever(scale: float, shift: float):
    """Floats, small, large and negative: the second way through changes nothing."""
    given = wires.liver()[:1].astype(np.float32) * scale + shift + 0.1
    series = by_series(study(given, sequences=("T2",)))["T2"]
    array, _ = read_back(series)
    assert np.abs(array - given[0]).max() <= float(series[0].RescaleSlope) / 2
    again, _ = read_back(by_series(study(array[None], sequences=("T2",)))["T2"])
    assert np.array_equal(array, again)


def test_contrast_and_diffusion_are_told_where_they_were():
    """Seconds after the injection by sequence; a b-value only of the DWI."""
    told, weighted = {}, {}
    for name, series in by_series(study()).items():
        first = series[0]
        weighted[name] = first.get("DiffusionBValue")
        if "ContrastBolusAgent" in first:
            [agent] = first.ContrastBolusAgentSequence
            assert codes.SCT.GadoxetateDisodium.value == agent.CodeValue
            times = (first.AcquisitionTime, first.ContrastBolusStartTime)
            scanned, injected = (datetime.strptime(time, "%H%M%S") for time in times)
            told[name] = scanned - injected
    assert {"AP": 25, "PV": 70, "DL": 180} == {
        n: t // timedelta(seconds=1) for n, t in told.items()
    }
    assert {name: 800.0 if name == "DWI" else None for name in mr.SEQUENCES} == weighted


def test_a_technique_tells_the_sequences_apart():
    """What a reader must choose by when descriptions mislead (models.md 6.1)."""
    told = {
        name: (
            "\\".join(np.atleast_1d(s[0].ScanningSequence)),
            "FS" in s[0].ScanOptions,
            float(s[0].RepetitionTime) > 1000,
            float(s[0].EchoTime) > 50,
        )
        for name, s in by_series(study()).items()
    }
    gradient = ("GR", True, False, False)
    assert {
        **dict.fromkeys(("T1", "AP", "PV", "DL"), gradient),
        "T2": ("SE", True, True, True),
        "DWI": ("EP", True, True, True),
    } == told


def test_instances_are_as_announced_and_marked_as_synthetic():
    """UIDs of their own, in one study and one frame of reference; twice made, the same bytes."""
    examination = study()
    made = list(mr.instances(examination))
    assert sum(mr.counts(examination).values()) == len({i.SOPInstanceUID for i in made}) == 144
    assert set(mr.counts(examination)) == {i.SeriesInstanceUID for i in made}
    assert {examination.uid} == {i.StudyInstanceUID for i in made}
    assert 1 == len({i.FrameOfReferenceUID for i in made})
    assert all(str(i.PatientName).startswith("SYNTHETIC^") for i in made)
    assert "肝脏 DWI b=800" == made[-1].SeriesDescription
    assert ct.part10(made[70]) == ct.part10(list(mr.instances(study()))[70])


def test_the_stow_door_takes_the_study(line: Line):
    """All 144 instances stored, and the study complete by its announcement."""
    examination = study()
    row = wires.stored(
        line, examination.uid, "MR", mr.counts(examination), mr.instances(examination)
    )
    assert ("MR", "complete") == (row.modality, row.state)


@pytest.mark.parametrize(
    ("voxels", "sequences"),
    [
        (np.zeros((6, 4, 8)), mr.SEQUENCES),
        (np.zeros((5, 4, 8, 8)), mr.SEQUENCES),
        (np.full((1, 4, 8, 8), np.nan), ("T1",)),
        (np.zeros((1, 4, 8, 8)), ("T9",)),
    ],
)
def test_what_is_no_examination_is_refused(voxels: Any, sequences: tuple[str, ...]):
    """Before anything is written."""
    with pytest.raises(CannotSend):
        study(voxels, sequences=sequences)
