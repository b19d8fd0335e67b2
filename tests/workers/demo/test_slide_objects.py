"""The synthetic slides are DICOM that other people's viewers open, tile by tile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
import wires
from numpy.typing import NDArray
from pydicom.sr.codedict import codes
from whole_line import Line
from wsidicom import WsiDicom

from workers.demo import ct, slide, tissue
from workers.demo.slide import Slide
from workers.demo.subject import CannotSend

STAINS = ("H&E", *tissue.MARKERS)
# JPEG at quality 90 with half the colour: a level of grey on the mean, an edge here and there.
MEAN_OFF, TILE_OFF = 2.0, 0.5


@pytest.fixture(scope="module")
def drawn() -> dict[str, NDArray[np.uint8]]:
    """One tissue in every stain, (1024, 1024, 3)."""
    classes, positive = wires.tissue()
    return tissue.draw(classes, positive, STAINS, seed=11)


@pytest.fixture(scope="module")
def he(drawn: dict[str, Any]) -> Slide:
    """The first section."""
    return glass(drawn, "H&E")


@pytest.fixture(scope="module")
def ihc(drawn: dict[str, Any]) -> Slide:
    """The section after it."""
    return glass(drawn, "Pan-CK")


@pytest.fixture(scope="module")
def folder(he: Slide, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The H&E slide as files."""
    made = tmp_path_factory.mktemp("he")
    wires.written(slide.instances(he), made)
    return made


def glass(drawn: dict[str, Any], stain: str) -> Slide:
    """A stain on glass."""
    return Slide(
        who=wires.somebody(), stain=stain, pixels=drawn[stain], microns_per_pixel=0.5,
        section=1 + STAINS.index(stain), organ="breast",
    )  # fmt: skip


@pytest.mark.peer("dicom3tools")
def test_dciodvfy_finds_no_error(folder: Path, ihc: Slide, tmp_path: Path):
    """The VL Whole Slide Microscopy IOD: three levels, thumbnail, label, overview."""
    paths = [*sorted(folder.iterdir()), *wires.written(slide.instances(ihc), tmp_path)]
    assert 12 == len(paths)
    for path in paths:
        assert [] == wires.complaints(path)


def test_wsidicom_opens_the_slide_and_reads_what_was_drawn(folder: Path, he: Slide):
    """Levels, scale, label and pixels; one folder is one slide."""
    with WsiDicom.open(folder) as opened:
        levels = [
            (lv.size.width, round(lv.mpp.width, 6), lv.tile_size.width) for lv in opened.levels
        ]
        assert [(1024, 0.5, 256), (512, 1.0, 256), (256, 2.0, 256)] == levels
        assert ((320, 320), (960, 320)) == (opened.read_label().size, opened.read_overview().size)
        read = np.asarray(opened.read_region((0, 0), 0, (1024, 1024)), np.float64)
        coarse = np.asarray(opened.read_region((0, 0), 2, (256, 256)), np.float64)
    off = read - he.pixels
    assert np.abs(off).mean() < MEAN_OFF
    assert np.abs(off.reshape(4, 256, 4, 256, 3).mean(axis=(1, 3))).max() < TILE_OFF
    fourth = he.pixels.reshape(256, 4, 256, 4, 3).mean(axis=(1, 3))
    assert np.abs(coarse - fourth).mean() < 2 * MEAN_OFF


def test_wsidicom_follows_the_section_to_its_block_and_its_resection(
    folder: Path, ihc: Slide, tmp_path: Path
):
    """Stains by their codes, and who was cut from whom."""
    with WsiDicom.open(folder) as opened:
        told = opened.metadata.slide
    [staining] = told.stainings
    assert [codes.SCT.HematoxylinStain.value, codes.SCT.WaterSolubleEosinStain.value] == [
        dye.value for dye in staining.substances
    ]
    [section] = told.samples
    block = section.sampled_from.specimen
    [cut] = block.sampled_from
    case = wires.somebody().numbered("P")
    assert [f"{case}-A1-1", f"{case}-A1", case] == [
        of.identifier.value for of in (section, block, cut.specimen)
    ]
    wires.written(slide.instances(ihc), tmp_path)
    with WsiDicom.open(tmp_path) as opened:
        [staining] = opened.metadata.slide.stainings
        [section] = opened.metadata.slide.samples
    assert "Pan-CK (AE1/AE3) antibody, DAB" == staining.substances
    assert [codes.SCT.Immunohistochemistry.value] == [step.method.value for step in section.steps]


def test_highdicom_reads_the_whole_matrix_in_srgb(folder: Path, he: Slide):
    """All tiles in their places; an input device's profile, which turns sRGB into sRGB."""
    image = highdicom.imread(folder / "000.dcm")
    [path] = image.OpticalPathSequence
    header = path.ICCProfile[12:24]
    assert (b"scnr", b"RGB ", b"XYZ ") == (header[:4], header[4:8], header[8:])
    plain = image.get_total_pixel_matrix(apply_icc_profile=False)
    profiled = image.get_total_pixel_matrix(apply_icc_profile=True)
    assert he.pixels.shape == plain.shape
    assert np.abs(plain - he.pixels.astype(np.float64)).mean() < MEAN_OFF
    assert np.abs(profiled.astype(np.float64) - plain).max() <= 2


def test_odd_sizes_are_filled_up_with_glass(he: Slide, tmp_path: Path):
    """A matrix that is no multiple of the tile keeps its size."""
    cut = Slide(
        who=he.who, stain="H&E", pixels=he.pixels[:612, :900], microns_per_pixel=0.5, section=9
    )
    wires.written(slide.instances(cut), tmp_path)
    with WsiDicom.open(tmp_path) as opened:
        assert (900, 612) == (opened.levels[0].size.width, opened.levels[0].size.height)
        read = np.asarray(opened.read_region((0, 0), 0, (900, 612)), np.float64)
    assert np.abs(read - cut.pixels).mean() < MEAN_OFF


@pytest.mark.parametrize("stain", tissue.MARKERS)
def test_brown_is_where_the_marker_is(drawn: dict[str, Any], stain: str):
    """In each positive tile more DAB than in any other; a marker nobody carries stains nothing."""
    classes, positive = wires.tissue()
    light = np.maximum(drawn[stain].astype(np.float64), 1) / tissue.GLASS
    tiles = -np.log(light).reshape(4, 256, 4, 256, 3)
    # Brown takes more of the blue than haematoxylin does, and haematoxylin more of the red.
    brown = np.maximum(tiles[..., 2] - 0.42 * tiles[..., 0], 0).mean(axis=(1, 3))
    flags = positive.get(stain, np.zeros(classes.shape, np.bool_))
    assert flags.any() == (stain != "PR")
    assert brown[~flags].max() < 0.04
    if flags.any():
        assert brown[flags].min() > 1.25 * brown[~flags].max()


def test_the_same_seed_gives_the_same_bytes(drawn: dict[str, Any], he: Slide):
    """Pixels and objects; another seed, other tissue."""
    classes, positive = wires.tissue()
    again, other = (tissue.draw(classes, positive, ["H&E"], seed=s)["H&E"] for s in (11, 12))
    assert np.array_equal(drawn["H&E"], again)
    assert not np.array_equal(drawn["H&E"], other)
    once, twice = (b"".join(map(ct.part10, slide.instances(he))) for _ in range(2))
    assert once == twice


def test_slides_of_a_block_are_one_study_of_many_series(he: Slide, ihc: Slide):
    """As many instances as announced; what has a label in it says so."""
    made = [*slide.instances(he), *slide.instances(ihc)]
    assert sum(slide.counts(he, ihc).values()) == len({i.SOPInstanceUID for i in made}) == 12
    assert set(slide.counts(he, ihc)) == {i.SeriesInstanceUID for i in made}
    assert {slide.study_uid(he.who)} == {i.StudyInstanceUID for i in made}
    assert {he.who.numbered("P")} == {i.AccessionNumber for i in made}
    assert 2 == len({(i.ContainerIdentifier, i.FrameOfReferenceUID) for i in made})
    burned = {i.ImageType[2]: i.BurnedInAnnotation for i in made}
    assert {"VOLUME": "NO", "THUMBNAIL": "NO", "LABEL": "YES", "OVERVIEW": "YES"} == burned


def test_the_stow_door_takes_the_slides(line: Line, he: Slide, ihc: Slide):
    """Both series stored, and the study complete by its announcement."""
    uid = slide.study_uid(he.who)
    datasets = [*slide.instances(he), *slide.instances(ihc)]
    row = wires.stored(line, uid, "SM", slide.counts(he, ihc), datasets)
    assert ("SM", "complete") == (row.modality, row.state)


@pytest.mark.parametrize(
    "wrong",
    [
        {"stain": "PAS"},
        {"organ": "spleen"},
        {"pixels": np.zeros((512, 512), np.uint8)},
        {"pixels": np.zeros((512, 512, 3), np.float32)},
        {"pixels": np.zeros((128, 512, 3), np.uint8)},
        {"pixels": np.zeros((513, 512, 3), np.uint8)},
        {"microns_per_pixel": 0.0},
    ],
)
def test_what_is_no_slide_is_refused(wrong: dict[str, Any]):
    """Before anything is written."""
    right: dict[str, Any] = {"pixels": np.zeros((512, 512, 3), np.uint8), "stain": "H&E"}
    right |= {"who": wires.somebody(), "microns_per_pixel": 0.5}
    Slide(**right)
    with pytest.raises(CannotSend):
        Slide(**(right | wrong))


@pytest.mark.parametrize(
    ("classes", "positive", "stains"),
    [
        (np.full((2, 2), 7, np.uint8), {}, ["H&E"]),
        (np.ones((2, 2), np.uint8), {"CD3": np.ones((3, 2), np.bool_)}, ["CD3"]),
        (np.ones((2, 2), np.uint8), {}, ["PAS"]),
    ],
)
def test_what_cannot_be_drawn_is_refused(classes: Any, positive: Any, stains: list[str]):
    """Unknown classes and stains, and grids that do not match."""
    with pytest.raises(CannotSend):
        tissue.draw(classes, positive, stains, seed=1, tile_px=64)
