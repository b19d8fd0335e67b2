"""Packs whose graphs read a CT, alone or beside numbers (model-rules 26)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_packs import CT, case, lab, made, onnx_graph
from onnx import NodeProto, helper

from inference import example_images, packs
from inference.assess import Case, assess
from inference.errors import ManifestRefused, UnusableVolume

LOGIT = 'kind = "logit"\noutput = "logit"'
VOLUME = ["n", 1, 2, 2, 2]


def pack(folder: Path, graph: bytes, feeds: str, encoder: bytes | None = None) -> Path:
    """The pack of `made` with a CT, and with an encoder above the head if there is one."""
    files = {"encoder.onnx": encoder} if encoder else {}
    made(folder, graph, head=LOGIT, feeds=feeds, files=files)
    above = (
        '\n[[graphs]]\nrole = "encoder"\nfile = "encoder.onnx"\nfeeds = { volume = "ct.volume" }\n'
    )
    text = (folder / "pack.toml").read_text()
    text = text.replace('modalities = ["labs"]', 'modalities = ["ct", "labs"]')
    ct = CT.format(roi="centre of volume", without="left out", more="")
    before = ct + (above if encoder else "")
    (folder / "pack.toml").write_text(text.replace("\n[[graphs]]", f"{before}\n[[graphs]]", 1))
    return folder


def mean(volume: str, given: str) -> list[NodeProto]:
    """Mean HU of a case, (B, 1)."""
    return [
        helper.make_node("ReduceMean", [volume], ["flat"], axes=[1, 2, 3, 4], keepdims=0),
        helper.make_node("Unsqueeze", ["flat", "axis"], [given]),
    ]


def of_volume(*, told: bool = True) -> bytes:
    """Logit = mean HU / 100; where it is told of no study, -9."""
    weights = {"axis": np.array([1]), "share": 0.01, "nine": 9.0}
    takes = {"volume": VOLUME} | ({"present": ["n", 1]} if told else {})
    nodes = [*mean("volume", "hu"), helper.make_node("Mul", ["hu", "share"], ["score"])]
    if not told:
        nodes.append(helper.make_node("Identity", ["score"], ["logit"]))
        return onnx_graph(nodes, takes, {"logit": ["n", 1]}, weights)
    nodes += [
        helper.make_node("Add", ["score", "nine"], ["above"]),
        helper.make_node("Mul", ["above", "present"], ["seen"]),
        helper.make_node("Sub", ["seen", "nine"], ["logit"]),
    ]
    return onnx_graph(nodes, takes, {"logit": ["n", 1]}, weights)


ENCODER = onnx_graph(mean("volume", "hu"), {"volume": VOLUME}, {"hu": ["n", 1]},
                     {"axis": np.array([1])})  # fmt: skip


def added(width: int) -> bytes:
    """Logit = sum of what is fed."""
    nodes = [helper.make_node("ReduceSum", ["x", "axis"], ["logit"], keepdims=1)]
    return onnx_graph(nodes, {"x": ["n", width]}, {"logit": ["n", 1]}, {"axis": np.array([1])})


def scanned(hu: float) -> Case:
    """A patient with a study of one density."""
    voxels = np.full((2, 2, 2), hu, np.float32)
    return replace(case(lab("CEA", "2")), ct=example_images.study(["AP"], [voxels], (1, 1, 1)))


def test_a_graph_of_voxels_alone_gives_the_result(tmp_path: Path):
    """No number is fed; in one batch with a patient who has no study, of whom it is told."""
    feeds = 'volume = "ct.volume"\npresent = "ct.present"'
    own = packs.load(pack(tmp_path / "p", of_volume(), feeds))
    found = assess(own, [scanned(50), case(), scanned(120)])
    assert pytest.approx([0.5, -9, 1.2], abs=1e-5) == [one.logit for one in found]
    assert [["ct"], []] == [
        [m.input for m in one.missing if m.input == "ct"] for one in (found[1], found[0])
    ]


def test_a_model_of_images_alone_reads_nothing_else(tmp_path: Path):
    """No [[inputs]] at all; without a study it gives no result, if it says so, and says why."""
    folder = pack(tmp_path / "p", of_volume(), 'volume = "ct.volume"\npresent = "ct.present"')
    text = (folder / "pack.toml").read_text().replace('["ct", "labs"]', '["ct"]')
    text = text.replace('test = "inputs"\ninputs = ["CEA"]', 'test = "age"\nyears = [0, 120]')
    text = text.replace('without = "left out"', 'without = "no result"')
    first, end = text.index("[[inputs]]"), text.index("[ct]")
    (folder / "pack.toml").write_text(text[:first] + text[end:])
    own = packs.load(folder)
    assert () == own.manifest.inputs
    assert pytest.approx(0.5, abs=1e-5) == assess(own, [scanned(50)])[0].logit
    with pytest.raises(UnusableVolume, match="no study that can be read"):
        assess(own, [scanned(50), case()])


def test_voxels_and_embeddings_come_with_the_word_whether_there_is_a_study(tmp_path: Path):
    """Zeros of nobody's study would be read as somebody's, straight or through an encoder."""
    straight = pack(tmp_path / "a", of_volume(told=False), 'volume = "ct.volume"')
    with pytest.raises(ManifestRefused, match=r"ct\.phases or ct\.present, too"):
        packs.load(straight)
    untold = pack(tmp_path / "b", added(1), 'x = "encoder.hu"', ENCODER)
    with pytest.raises(ManifestRefused, match=r"graphs\[1\]\.feeds.*ct\.phases or ct\.present"):
        packs.load(untold)
    told = packs.load(pack(tmp_path / "c", added(2), 'x = ["encoder.hu", "ct.present"]', ENCODER))
    found = assess(told, [case(), scanned(40)])
    assert pytest.approx([0, 41]) == [one.logit for one in found]


def test_one_number_a_case_needs_no_axis_to_stand_beside_others(tmp_path: Path):
    """An encoder that gives (B,)."""
    node = helper.make_node("ReduceMean", ["volume"], ["hu"], axes=[1, 2, 3, 4], keepdims=0)
    encoder = onnx_graph([node], {"volume": VOLUME}, {"hu": ["n"]})
    feeds = 'x = ["encoder.hu", "ct.present", "inputs.CEA"]'
    own = packs.load(pack(tmp_path / "p", added(3), feeds, encoder))
    assert pytest.approx(40 + 1 + 2) == assess(own, [scanned(40)])[0].logit


def test_voxels_do_not_stand_beside_numbers(tmp_path: Path):
    """Only what has one shape but for its last axis can be joined."""
    feeds = 'volume = ["ct.volume", "labs.values"]\npresent = "ct.present"'
    with pytest.raises(packs.PackRefused, match="input volume has shape"):
        packs.load(pack(tmp_path / "p", of_volume(), feeds))


def test_a_graph_cannot_take_the_name_of_the_study(tmp_path: Path):
    """`ct.volume` would name two things."""
    folder = made(tmp_path / "p", added(2), head=LOGIT)
    text = (folder / "pack.toml").read_text().replace('"model"', '"ct"')
    (folder / "pack.toml").write_text(text)
    with pytest.raises(ManifestRefused, match=r"graphs\[0\]\.role"):
        packs.load(folder)
