"""A SEG beside its CT, from the STOW door to what a pack reads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from segmentations import LIVER, MASS, by_highdicom
from structlog.testing import capture_logs
from whole_line import Line

from inference.packs import Pack
from interop.ledger import images
from interop.ledger.engine import reading
from workers.assess import Assess
from workers.demo import ct
from workers.demo.hospital import Chart

# Slices, rows and columns of the portal venous phase that are drawn as liver.
BOX = (slice(3, 6), slice(8, 20), slice(10, 31))


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
