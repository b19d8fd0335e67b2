"""Packs that read a CT around a region of interest: outlined in a SEG, or found by a graph."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_packs import CT, case, made, onnx_graph
from onnx import NodeProto, helper

from inference import conform, example_images, listing, packs
from inference.assess import Case, assess
from inference.errors import ManifestRefused, SessionRefused, UnusableVolume
from inference.packs import Pack, PackRefused
from mappings.images import CtStudy, Segment

LIVER = "10200004"
SEGMENTS = f'segments = ["SCT|{LIVER}"]\n'
FINDER = """
[ct.segmenter]
role = "segmenter"
output = "likely"
grid = [4, 5, 6]
spacing_mm = [2, 2, 2]
threshold = 0.5

[[graphs]]
role = "segmenter"
file = "segmenter.onnx"
feeds = { volume = "ct.overview" }
"""


def pack(
    folder: Path, more: str, feeds: str = 'volume = "ct.volume"\npresent = "ct.present"', *,
    way: str = "segmentation", without: str = "left out", graph: bytes | None = None,
    files: dict[str, bytes] | None = None,
) -> Path:  # fmt: skip
    """The pack of `made`, of whose CT the mean of a grid of 2 voxels decides."""
    made(folder, graph or mean_hu(), head='kind = "logit"\noutput = "logit"', feeds=feeds,
         files=files)  # fmt: skip
    text = (folder / "pack.toml").read_text()
    text = text.replace('modalities = ["labs"]', 'modalities = ["ct", "labs"]')
    ct = CT.format(roi=way, without=without, more=more)
    (folder / "pack.toml").write_text(text.replace("\n[[graphs]]", f"{ct}\n[[graphs]]", 1))
    return folder


def mean_of(name: str, given: str, axes: Sequence[int]) -> list[NodeProto]:
    return [
        helper.make_node("ReduceMean", [name], [f"{given}_flat"], axes=list(axes), keepdims=0),
        helper.make_node("Unsqueeze", [f"{given}_flat", "axis"], [given]),
    ]


def mean_hu() -> bytes:
    """Logit = mean HU + 1 where there is a study."""
    nodes = [
        *mean_of("volume", "hu", [1, 2, 3, 4]),
        helper.make_node("Add", ["hu", "present"], ["logit"]),
    ]
    takes = {"volume": ["n", 1, 2, 2, 2], "present": ["n", 1]}
    return onnx_graph(nodes, takes, {"logit": ["n", 1]}, {"axis": np.array([1])})


def finder(shape: Sequence[int] = (4, 5, 6)) -> bytes:
    """Figures above 0.5 where a voxel is brighter than 50 HU."""
    nodes = [
        helper.make_node("Mul", ["volume", "share"], ["scaled"]),
        helper.make_node("Reshape", ["scaled", "to"], ["likely"]),
    ]
    weights = {"share": 0.01, "to": np.array([-1, *shape])}
    takes = {"volume": ["n", 1, 4, 5, 6]}
    return onnx_graph(nodes, takes, {"likely": ["n", *shape]}, weights)


def segment(mask: np.ndarray, study: CtStudy, code: str = LIVER, scheme: str = "SCT") -> Segment:
    """A segment on the grid of the study's volume."""
    return example_images.segment(f"{scheme}|{code}", mask, study.phases["AP"].affine)


def scanned(*segments: tuple[slice, slice, slice]) -> Case:
    """A study of 8 x 10 x 12 mm whose voxels tell their place, with what was outlined."""
    z, y, x = np.indices((8, 10, 12)).astype(np.float32)
    study = example_images.study(["AP"], [10 * z + y + 0.1 * x], (1, 1, 1))
    made = []
    for where in segments:
        mask = np.zeros((8, 10, 12), bool)
        mask[where] = True
        made.append(segment(mask, study))
    return replace(case(), ct=replace(study, segments=tuple(made)))


def logit(own: Pack, one: Case) -> float:
    """Of a case, less what its presence adds."""
    found = assess(own, [one])[0].logit
    assert found is not None
    return found - 1


def test_a_grid_is_put_around_what_was_outlined(tmp_path: Path):
    """Two voxels from z 5, y 7, x 3 on: their mean tells where they lie."""
    own = packs.load(pack(tmp_path / "p", SEGMENTS))
    box = (slice(5, 7), slice(7, 9), slice(3, 5))
    assert pytest.approx(10 * 5.5 + 7.5 + 0.35, abs=1e-4) == logit(own, scanned(box))


def test_several_segments_have_one_centre(tmp_path: Path):
    """By volume: the first is twice as large as the second."""
    own = packs.load(pack(tmp_path / "p", SEGMENTS))
    one = scanned((slice(1, 3), slice(1, 3), slice(2, 6)), (slice(4, 6), slice(4, 6), slice(3, 5)))
    centre = np.array([(2 * 1.5 + 4.5) / 3, (2 * 1.5 + 4.5) / 3, 3.5])
    assert pytest.approx(10 * centre[0] + centre[1] + 0.1 * centre[2], abs=1e-4) == logit(own, one)


def test_what_was_outlined_reaches_the_graph(tmp_path: Path):
    """`ct.region` is the share of each voxel; here one of two layers of the grid."""
    nodes = [
        *mean_of("region", "share", [1, 2, 3]),
        helper.make_node("Add", ["share", "present"], ["logit"]),
    ]
    takes = {"region": ["n", 2, 2, 2], "present": ["n", 1]}
    graph = onnx_graph(nodes, takes, {"logit": ["n", 1]}, {"axis": np.array([1])})
    feeds = 'region = "ct.region"\npresent = "ct.present"'
    own = packs.load(pack(tmp_path / "p", SEGMENTS, feeds, graph=graph))
    assert pytest.approx(1) == logit(own, scanned((slice(2, 4), slice(2, 4), slice(2, 4))))
    thin = scanned((slice(2, 3), slice(2, 4), slice(2, 4)))
    # One layer thick: the grid of two has half of it in each of its layers' outer halves.
    assert pytest.approx(0.5) == logit(own, thin)


def test_only_the_declared_property_types_count(tmp_path: Path):
    """Another code, or the same of another scheme, is another thing."""
    own = packs.load(pack(tmp_path / "p", SEGMENTS, without="no result"))
    one = scanned((slice(5, 7), slice(7, 9), slice(3, 5)))
    assert one.ct is not None
    (liver,) = one.ct.segments
    for other in (replace(liver, code="4147007"), replace(liver, scheme="99OWN")):
        with pytest.raises(
            UnusableVolume, match=r"region of interest: no segment of SCT\|10200004"
        ):
            assess(own, [replace(one, ct=replace(one.ct, segments=(other,)))])
        beside = replace(one.ct, segments=(other, liver))
        assert logit(own, one) == logit(own, replace(one, ct=beside))


def test_without_an_outline_the_study_is_left_out_and_said(tmp_path: Path):
    """Never the centre of the volume instead."""
    own = packs.load(pack(tmp_path / "p", SEGMENTS))
    found = assess(own, [scanned()])[0]
    assert 0 == found.logit
    assert ["region of interest: no segment of SCT|10200004"] == [
        m.reason for m in found.missing if m.input == "ct"
    ]
    assert () == found.instances


def test_a_result_names_the_object_that_outlined(tmp_path: Path):
    """So that a new outline is known to be another input."""
    own = packs.load(pack(tmp_path / "p", SEGMENTS))
    one = scanned((slice(5, 7), slice(7, 9), slice(3, 5)))
    assert one.ct is not None
    (liver,) = one.ct.segments
    moved = liver.affine.copy()
    moved[0, 3] += 1
    resent = replace(liver.instance, sha256="b" * 64, pixel_sha256="c" * 64)
    others = (
        replace(liver, instance=resent),
        replace(liver, affine=moved),
        replace(liver, mask=liver.mask[:, :, :4]),
    )
    used = []
    for outlined in (liver, *others):
        case_ = replace(one, ct=replace(one.ct, segments=(outlined,)))
        used.append({i.sop_class_uid: i.pixel_sha256 for i in assess(own, [case_])[0].instances})
    assert {example_images._CT, example_images._SEG} == set(used[0])
    # Other bytes around the same outline are the same input; another place or mask is another.
    assert used[0] == used[1]
    assert 3 == len({read[example_images._SEG] for read in used})


def test_a_graph_finds_the_region_on_a_coarse_grid(tmp_path: Path):
    """Of 4 x 5 x 6 voxels of 2 mm, those brighter than 50 HU; then the fine grid is put there."""
    own = packs.load(pack(tmp_path / "p", FINDER, way="segmenter",
                          files={"segmenter.onnx": finder()}))  # fmt: skip
    one = scanned()
    assert one.ct is not None
    voxels = one.ct.phases["AP"].voxels
    coarse = voxels.reshape(4, 2, 5, 2, 6, 2).mean((1, 3, 5))
    centre = 2 * np.argwhere(coarse >= 50).mean(0) + 0.5
    golden = 10 * centre[0] + centre[1] + 0.1 * centre[2]
    assert pytest.approx(golden, abs=1e-3) == logit(own, one)


def test_a_graph_that_finds_nothing_gives_no_centre(tmp_path: Path):
    """Left out, with the name of the graph."""
    own = packs.load(pack(tmp_path / "p", FINDER, way="segmenter",
                          files={"segmenter.onnx": finder((1, 4, 5, 6))}))  # fmt: skip
    one = scanned()
    assert one.ct is not None
    dark = example_images.study(["AP"], [one.ct.phases["AP"].voxels * 0], (1, 1, 1))
    found = assess(own, [replace(one, ct=dark)])[0]
    assert (0, ["segmenter finds none"]) == (
        found.logit,
        [m.reason.removeprefix("region of interest: ") for m in found.missing if m.input == "ct"],
    )  # fmt: skip


def free_finder() -> bytes:
    """Every other voxel, of whatever it is fed: a graph whose axes are all free."""
    weights = {"from": np.zeros(3, np.int64), "to": np.array([99] * 3), "axes": np.array([2, 3, 4]),
               "by": np.array([2] * 3)}  # fmt: skip
    node = helper.make_node("Slice", ["volume", "from", "to", "axes", "by"], ["likely"])
    free = ["n", "c", "d", "h", "w"]
    return onnx_graph([node], {"volume": free}, {"likely": free}, weights)


def test_a_graph_that_gives_another_grid_than_its_own_is_refused(tmp_path: Path):
    """Free axes say nothing before it runs; then its voxels would be taken for others' places."""
    own = packs.load(pack(tmp_path / "p", FINDER, way="segmenter",
                          files={"segmenter.onnx": free_finder()}))  # fmt: skip
    with pytest.raises(SessionRefused, match=r"gave \(1, 2, 3, 3\), not \(4, 5, 6\)"):
        assess(own, [scanned()])


@pytest.mark.parametrize(
    ("more", "way", "key"),
    [
        ("", "segmentation", "ct.segments"),
        ("segments = []", "segmentation", "ct.segments"),
        ('segments = ["10200004"]', "segmentation", "ct.segments"),
        (SEGMENTS, "centre of volume", "ct.segments"),
        ("", "segmenter", "ct.segmenter"),
        (FINDER.replace('role = "segmenter"\noutput', 'role = "model"\noutput'), "segmenter",
         r"ct\.segmenter\.role"),
        (FINDER.replace("ct.overview", "ct.volume"), "segmenter", r"graphs\[0\]\.feeds\.volume"),
        (FINDER.replace("grid = [4, 5, 6]", "grid = [4, 5.5, 6]"), "segmenter", "segmenter.grid"),
        (FINDER.replace("[2, 2, 2]\nthreshold", "[2, 2, 0]\nthreshold"), "segmenter",
         "segmenter.spacing_mm"),
        (SEGMENTS + 'orientation = "SPX"', "segmentation", "ct.orientation"),
        (SEGMENTS + 'orientation = "SIL"', "segmentation", "ct.orientation"),
    ],
)  # fmt: skip
def test_a_region_that_nobody_can_find_is_refused(tmp_path: Path, more: str, way: str, key: str):
    """By the key that says so."""
    folder = pack(tmp_path / "p", more, way=way, files={"segmenter.onnx": finder()})
    with pytest.raises(ManifestRefused, match=key):
        packs.load(folder)


def test_what_found_the_region_is_no_source_of_others(tmp_path: Path):
    """Its figures are on another grid, and it ran before the chain."""
    feeds = 'volume = "ct.volume"\npresent = ["ct.present", "segmenter.likely"]'
    folder = pack(tmp_path / "p", FINDER, feeds, way="segmenter",
                  files={"segmenter.onnx": finder()})  # fmt: skip
    with pytest.raises(ManifestRefused, match=r"graphs\[1\]\.feeds\.present"):
        packs.load(folder)
    folder = pack(tmp_path / "q", FINDER, 'volume = "ct.overview"\npresent = "ct.present"',
                  way="segmenter", files={"segmenter.onnx": finder()})  # fmt: skip
    with pytest.raises(ManifestRefused, match=r"graphs\[1\]\.feeds\.volume"):
        packs.load(folder)


def test_a_region_that_nobody_declared_is_no_source(tmp_path: Path):
    """Around the centre of the volume there is none."""
    feeds = 'volume = "ct.volume"\npresent = ["ct.present", "ct.region"]'
    with pytest.raises(ManifestRefused, match=r"ct\.region is none"):
        packs.load(pack(tmp_path / "p", "", feeds, way="centre of volume"))


def test_a_segmenter_of_another_grid_is_refused(tmp_path: Path):
    """Before a patient comes."""
    folder = pack(tmp_path / "p", FINDER, way="segmenter",
                  files={"segmenter.onnx": finder((5, 4, 6))})  # fmt: skip
    with pytest.raises(PackRefused, match=r"segmenter: gives no tensor likely .*\(4, 5, 6\)"):
        packs.load(folder)


def test_an_example_keeps_what_was_outlined():
    """On a grid of its own."""
    one = scanned((slice(5, 7), slice(7, 9), slice(3, 5)))
    assert one.ct is not None
    turned = replace(one.ct.segments[0], affine=np.diag([2.0, 3.0, -4.0, 1.0]))
    one = replace(one, ct=replace(one.ct, segments=(turned, one.ct.segments[0])))
    back = conform.case_from_json(conform.case_to_json(one)).ct
    assert back is not None
    assert one.ct is not None
    for sent, got in zip(one.ct.segments, back.segments, strict=True):
        assert (sent.scheme, sent.code) == (got.scheme, got.code)
        assert np.array_equal(sent.mask, got.mask)
        assert np.array_equal(sent.affine, got.affine)
    assert 2 == len({s.instance.sop_instance_uid for s in back.segments})


def test_a_pack_around_the_centre_of_the_volume_does_not_look_at_segments(tmp_path: Path):
    """Nor does its result rest on them."""
    own = packs.load(pack(tmp_path / "p", "", way="centre of volume"))
    with_one, without = scanned((slice(5, 7), slice(7, 9), slice(3, 5))), scanned()
    assert logit(own, with_one) == logit(own, without)
    found = assess(own, [with_one])[0].instances
    assert {example_images._CT} == {i.sop_class_uid for i in found}


def test_an_author_may_compare_every_stage_of_the_images(tmp_path: Path):
    """Voxels as they are fed, what a segmenter gives, and the share of the region."""
    feeds = 'volume = "ct.volume"\npresent = "ct.present"'
    own = packs.load(pack(tmp_path / "p", FINDER, feeds, way="segmenter",
                          files={"segmenter.onnx": finder()}))  # fmt: skip
    one = scanned()
    assert one.ct is not None
    voxels = np.rint(one.ct.phases["AP"].voxels)  # examples hold whole HU
    one = replace(one, ct=example_images.study(["AP"], [voxels], (1, 1, 1)))
    coarse = voxels.reshape(4, 2, 5, 2, 6, 2).mean((1, 3, 5))
    (said,) = assess(own, [one])
    wanted = {
        "probability": said.outcomes[0].probability,
        "fed/ct.overview": coarse[None].tolist(),
        "fed/ct.phases": [1],
        "graph/segmenter.likely": (coarse / 100).tolist(),
    }
    body = {**conform.case_to_json(one), "expected": wanted}
    folder = tmp_path / "p" / "examples"
    folder.mkdir()
    (folder / "one.json").write_text(json.dumps(body))
    listing.seal(tmp_path / "p")
    (found,) = conform.check(packs.load(tmp_path / "p"))
    assert (set(wanted), True) == (set(found.off), found.passed)
    wanted["fed/ct.overview"][0][1][2][3] += 1
    (folder / "one.json").write_text(json.dumps({**body, "expected": wanted}))
    listing.seal(tmp_path / "p")
    (found,) = conform.check(packs.load(tmp_path / "p"))
    assert (False, pytest.approx(1, abs=1e-3)) == (found.passed, found.off["fed/ct.overview"])


def test_an_example_whose_images_do_not_serve_is_told(tmp_path: Path):
    """A figure without them proves little; where they must serve, the pack fails by name."""
    one = scanned()
    for without in ("left out", "no result"):
        folder = pack(tmp_path / without, SEGMENTS, without=without)
        (folder / "examples").mkdir()
        body = {**conform.case_to_json(one), "expected": {"probability": 0.5}}
        (folder / "examples" / "one.json").write_text(json.dumps(body))
        listing.seal(folder)
        if without == "left out":
            (found,) = conform.check(packs.load(folder))
            assert ("ct: region of interest: no segment of SCT|10200004",) == found.left_out
        else:
            with pytest.raises(PackRefused, match=r"one\.json: region of interest: no segment"):
                conform.check(packs.load(folder))
