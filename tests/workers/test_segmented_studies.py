"""A SEG beside its CT, from the STOW door to what a pack reads."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from segmentations import LIVER, MASS, by_highdicom
from structlog.testing import capture_logs
from whole_line import PACKS, Line, opened

from inference import assess as assessing
from inference.packs import Pack
from interop.ledger import images
from interop.ledger.engine import reading
from workers.assess import Assess
from workers.demo import ct
from workers.demo.hospital import AFP, Chart

# Slices, rows and columns of the portal venous phase that are drawn as liver.
BOX = (slice(3, 6), slice(8, 20), slice(10, 31))
ELSEWHERE = (slice(6, 10), slice(14, 30), slice(20, 41))


@pytest.fixture
def drawn(who: Chart) -> tuple[list[Dataset], Dataset]:
    """The patient's CT, and a SEG of its portal venous phase: a liver and an empty mass."""
    scan = list(ct.instances(who))
    phase = [d for d in scan if d.SeriesInstanceUID == ct.series_uid(who, "PV")]
    mask = np.zeros((len(phase), phase[0].Rows, phase[0].Columns, 2), dtype=np.uint8)
    mask[(*BOX, 0)] = 1
    return scan, by_highdicom(phase, mask, "BINARY", [LIVER, MASS])


def stored(line: Line, who: Chart) -> tuple[Any, list[Any]]:
    """The study's row and those of its instances."""
    with reading(line.parts.engine) as connection:
        found = images.study(connection, who.study_uid)
        return found, images.of_study(connection, who.study_uid)


def asking(line: Line, *codes: str) -> Pack:
    """The liver pack, if it asked for segments."""
    pack = line.parts.pack("liver_dx")
    assert pack is not None
    assert pack.manifest.ct is not None
    asked = replace(pack.manifest.ct, segments=codes)
    return replace(pack, manifest=replace(pack.manifest, ct=asked))


def test_a_segment_sent_with_its_ct_reaches_the_pack_that_asks(
    line: Line, who: Chart, drawn: tuple[list[Dataset], Dataset]
):
    """In millimetres where it was drawn; the result of a pack that asks for none is the CT's."""
    scan, outlined = drawn
    line.register(who)
    line.evidence(who)
    line.settle()
    [before] = line.current(who)
    assert 200 == line.stow(outlined).status_code
    line.settle()
    line.clock.forward(seconds=60)
    line.settle()
    row, instances = stored(line, who)
    assert ("complete", "CT", 4) == (row.state, row.modality, len(row.body["phases"]))
    assert {} == row.body["rejected"]
    assert {"current"} == {i.state for i in instances}
    [after] = line.current(who)
    assert before.body["prediction"]["outcomes"] == after.body["prediction"]["outcomes"]
    assert len(scan) == len(after.body["prediction"]["instances"])
    study = Assess(line.parts)._ct(asking(line, "SCT|10200004"), instances)
    assert study is not None
    [liver] = study.segments
    assert outlined.SOPInstanceUID == liver.instance.sop_instance_uid
    phase = study.phases["PV"].affine
    assert tuple(s.stop - s.start for s in BOX) == liver.mask.shape
    assert liver.mask.all()
    assert phase @ [*(s.start for s in BOX), 1] == pytest.approx(liver.affine @ [0, 0, 0, 1])


def test_an_empty_segment_is_none_and_says_so(
    line: Line, who: Chart, drawn: tuple[list[Dataset], Dataset]
):
    """Whoever asks for it gets none, and the log why."""
    scan, outlined = drawn
    line.register(who)
    assert 200 == line.stow(outlined, *scan).status_code
    line.settle()
    _, instances = stored(line, who)
    with capture_logs() as said:
        study = Assess(line.parts)._ct(asking(line, "SCT|4147007"), instances)
    assert study is not None
    assert () == study.segments
    assert ["segment 2 is empty"] == [
        e["reason"] for e in said if e["event"] == "assess.no_segment"
    ]


def test_a_pack_that_asks_for_no_segment_pays_for_none(
    line: Line, who: Chart, drawn: tuple[list[Dataset], Dataset]
):
    """The object is not even opened: here its file is gone."""
    scan, outlined = drawn
    line.register(who)
    assert 200 == line.stow(outlined, *scan).status_code
    line.settle()
    _, instances = stored(line, who)
    [kept] = [i for i in instances if i.sop_instance_uid == outlined.SOPInstanceUID]
    line.parts.blobs.path(kept.sha256).unlink()
    study = Assess(line.parts)._ct(asking(line), instances)
    assert study is not None
    assert ((), {}, 4) == (study.segments, study.rejected, len(study.phases))


@pytest.fixture
def asks(request: pytest.FixtureRequest, tmp_path: Path, sqlite_url: str) -> Iterator[Line]:
    """A line whose liver pack puts its grid around a liver that somebody outlined."""
    folder = tmp_path / "packs"
    shutil.copytree(PACKS / "liver_dx", folder / "liver_dx")
    manifest = folder / "liver_dx" / "pack.toml"
    text = manifest.read_text()
    around = 'roi = "segmentation"\nsegments = ["SCT|10200004"]'
    text = text.replace('roi = "centre of volume"', around)
    text = text.replace('without = "left out"', f'without = "{request.param}"')
    manifest.write_text(text)
    with opened(tmp_path, sqlite_url, packs=folder) as made:
        yield made


def outline(who: Chart, box: tuple[slice, slice, slice], number: int, day: int) -> Dataset:
    """A SEG object of a liver in the portal venous phase."""
    scan = [d for d in ct.instances(who) if d.SeriesInstanceUID == ct.series_uid(who, "PV")]
    mask = np.zeros((len(scan), scan[0].Rows, scan[0].Columns, 1), dtype=np.uint8)
    mask[(*box, 0)] = 1
    made = by_highdicom(scan, mask, "BINARY", [LIVER])
    made.ContentDate, made.ContentTime = f"202603{day:02}", "120000"
    made.SeriesInstanceUID += f".{number}"
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = f"{made.SeriesInstanceUID}.1"
    return made


def arrive(line: Line, *instances: Dataset) -> None:
    """Stored, and the study silent for long enough."""
    assert 200 == line.stow(*instances).status_code
    line.settle()
    line.clock.forward(seconds=60)
    line.settle()


def told(line: Line, who: Chart) -> tuple[int, float, list[str]]:
    """Revision and risk of the one result that stands, and the SEG objects that it rests on."""
    [row] = line.current(who)
    made = row.body["prediction"]
    used = [i for i in made["instances"] if i["sop_class_uid"].endswith(".66.4")]
    risk = made["outcomes"][0]["probability"]
    return row.revision, risk, [i["sop_instance_uid"] for i in used]


def reports(line: Line) -> list[str]:
    """Status of every report in the EHR."""
    return [r["status"] for r in line.in_ehr("DiagnosticReport")]


@pytest.mark.parametrize("asks", ["left out"], indirect=True)
def test_an_outline_amends_the_result_and_its_correction_does_so_once_more(asks: Line, who: Chart):
    """First without, then around where it was drawn, then elsewhere: one report, amended."""
    first, anew = outline(who, BOX, 1, day=3), outline(who, ELSEWHERE, 2, day=4)
    asks.register(who)
    asks.evidence(who)
    asks.settle()
    [left_out] = asks.current(who)
    assert [] == left_out.body["prediction"]["instances"]
    risks = [told(asks, who)[1]]
    for number, seg in enumerate((first, anew), 2):
        arrive(asks, seg)
        revision, risk, used = told(asks, who)
        assert (number, [seg.SOPInstanceUID]) == (revision, used)
        assert ["corrected"] == reports(asks)
        risks.append(risk)
    assert 3 == len(set(risks))
    assert 3 == len(asks.deliveries(who))


@pytest.mark.parametrize("asks", ["left out"], indirect=True)
def test_the_same_outline_in_other_bytes_is_no_correction(asks: Line, who: Chart):
    """A PACS that writes other tags around it changes nothing that was read."""
    seg = outline(who, BOX, 1, day=3)
    asks.register(who)
    asks.evidence(who)
    arrive(asks, seg)
    before = told(asks, who)
    seg.SeriesDescription, seg.ContentTime = "sent again", "130000"
    arrive(asks, seg)
    _, instances = stored(asks, who)
    sent = [i.state for i in instances if i.sop_instance_uid == seg.SOPInstanceUID]
    assert ["current", "replaced"] == sorted(sent)
    assert before == told(asks, who)


@pytest.mark.parametrize("asks", ["left out"], indirect=True)
def test_a_result_whose_images_were_left_out_is_amended_by_a_corrected_value(
    asks: Line, who: Chart
):
    """It is the study's all the same; a value that changes does not withdraw it."""
    asks.register(who)
    asks.evidence(who)
    asks.settle()
    asks.clock.forward(minutes=10)
    asks.send(asks.labs(who, loincs=[AFP], values={AFP: Decimal(5000)}, status="C"))
    asks.settle()
    assert (2, []) == told(asks, who)[::2]
    assert ["corrected"] == reports(asks)


@pytest.mark.parametrize("asks", ["no result"], indirect=True)
def test_a_pack_that_needs_an_outline_runs_when_it_comes(asks: Line, who: Chart):
    """Set aside by name before, one result after."""
    asks.register(who)
    asks.evidence(who)
    asks.settle()
    assert [] == asks.current(who)
    assert 1 == asks.jobs()["assess", "parked"]
    seg = outline(who, BOX, 1, day=3)
    arrive(asks, seg)
    assert (1, [seg.SOPInstanceUID]) == told(asks, who)[::2]
    assert ["preliminary"] == reports(asks)


def test_the_volumes_of_a_batch_are_not_held_at_once(
    line: Line, who: Chart, other_patient: Chart, monkeypatch: pytest.MonkeyPatch
):
    """Two patients wait for the same pack; each is read when it is their turn."""
    held: list[int] = []
    read, run = Assess._ct, assessing.assess

    def reading_one(self: Assess, pack: Pack, rows: Any) -> Any:
        held.append(len(rows))
        return read(self, pack, rows)

    def running(pack: Pack, cases: Any, *how: Any) -> Any:
        assert 1 == len(held)
        held.clear()
        return run(pack, cases, *how)

    monkeypatch.setattr(Assess, "_ct", reading_one)
    monkeypatch.setattr(assessing, "assess", running)
    for one in (who, other_patient):
        line.register(one)
        line.evidence(one)
    line.settle(stages=("ingest",))
    assert 2 == line.jobs()["assess", "ready"]
    line.settle()
    assert [1, 1] == [len(line.current(one)) for one in (who, other_patient)]
