"""embeddings: an encoder runs once for the same images, and again for any others (model-rules 14)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_image_packs as images
import test_region_packs as regions
from made_packs import lab, onnx_graph
from made_slides import SLIDES, pack, seen, slide
from onnx import helper

from inference import embeddings, example_images, packs, session
from inference.assess import Case, assess
from inference.embeddings import Embeddings
from inference.example_images import study
from inference.packs import Pack
from inference.session import Session
from mappings.record import PatientRecord


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Rows that each graph was run on, from an empty memory on."""
    monkeypatch.setattr(embeddings, "kept", Embeddings())
    monkeypatch.setattr(session, "_warm", {})
    counted: Counter[str] = Counter()
    run = Session.figures

    def counting(self: Session, rows: int, **feeds: Any) -> dict[str, Any]:
        counted[self.name] += rows
        return run(self, rows, **feeds)

    monkeypatch.setattr(Session, "figures", counting)
    return counted


def corrected(case: Case) -> Case:
    """The same images beside another laboratory value."""
    entries = [*case.record.entries, lab("CEA", "9", days=0)]
    return replace(case, record=PatientRecord.of(entries, as_of=case.as_of))


def test_a_corrected_value_does_not_encode_the_study_again(tmp_path: Path, runs: Counter[str]):
    """The head runs again, and reads what the encoder gave before."""
    feeds = 'x = ["encoder.hu", "ct.present", "inputs.CEA"]'
    own = packs.load(images.pack(tmp_path / "p", images.added(3), feeds, images.ENCODER))
    first = assess(own, [images.scanned(40), images.scanned(60)])
    assert {"encoder": 2, "model": 2} == _roles(runs)
    again = assess(
        own, [images.case(lab("CEA", "2")), corrected(images.scanned(60)), images.scanned(80)]
    )
    assert {"encoder": 3, "model": 5} == _roles(runs)
    assert pytest.approx([40 + 1 + 2, 60 + 1 + 2]) == [one.logit for one in first]
    assert pytest.approx([60 + 1 + 9, 80 + 1 + 2]) == [one.logit for one in again[1:]]


def test_another_preprocessing_encodes_again(tmp_path: Path, runs: Counter[str]):
    """The same bytes under another window are another picture."""
    feeds = 'x = ["encoder.hu", "ct.present"]'
    folder = images.pack(tmp_path / "p", images.added(2), feeds, images.ENCODER)
    text = (folder / "pack.toml").read_text()
    wide = packs.load(folder)
    (folder / "pack.toml").write_text(text.replace("[-200, 300]", "[-200, 50]"))
    narrow = packs.load(folder)
    found = [assess(own, [images.scanned(90)])[0].logit for own in (wide, narrow)]
    assert pytest.approx([91, 51]) == found
    assert 2 == _roles(runs)["encoder"]


def test_a_slide_is_encoded_once(tmp_path: Path, runs: Counter[str]):
    """Two tiles; another slide, and another pack of the same bytes, are others."""
    own = packs.load(pack(tmp_path / "p"))
    one = seen(slide((1, 1), (2, 2)))
    first = logit(own, one)
    assert 2 == _roles(runs)["tile_encoder"]
    assert first == logit(own, corrected(one))
    assert 2 == _roles(runs)["tile_encoder"]
    other = logit(own, seen(slide((1, 1), (7, 2))))
    assert (4, True) == (_roles(runs)["tile_encoder"], other != first)
    sparse = SLIDES.replace("most_tiles = 100", "most_tiles = 1")
    few = logit(packs.load(pack(tmp_path / "q", sparse)), one)
    assert (5, True) == (_roles(runs)["tile_encoder"], few != first)


def test_a_slide_is_read_by_one_patient_at_a_time(tmp_path: Path, runs: Counter[str]):
    """A graph that takes no mask reads the same whoever else is in the batch."""
    blind = onnx_graph(
        [helper.make_node("ReduceMean", ["embedding"], ["logit"], axes=[1], keepdims=0)],
        {"embedding": ["n", "t", 2], "present": ["n", 1]}, {"logit": ["n", 2]},
    )  # fmt: skip
    feeds = 'embedding = "tile_encoder.embedding"\npresent = "he.present"'
    members = "[calibration]\nmembers = 2\ninterval = 0.9\nt_quantile = 6.3\nmethod"
    folder = pack(tmp_path / "p", feeds=feeds, head=blind)
    text = (folder / "pack.toml").read_text().replace("[calibration]\nmethod", members)
    (folder / "pack.toml").write_text(text)
    own = packs.load(folder)
    few, many = seen(slide((1, 1))), seen(slide(*((r, c) for r in range(8) for c in range(7))))
    assert logit(own, few) == assess(own, [few, many])[0].logit


def test_the_same_graph_fed_something_else_is_run_again(tmp_path: Path, runs: Counter[str]):
    """Its bytes and the study are the same; what it reads of the study is not."""
    own = {}
    encoder = onnx_graph([helper.make_node("Identity", ["x"], ["seen"])],
                         {"x": ["n", 2]}, {"seen": ["n", 2]})  # fmt: skip
    for name, fed in (("p", '["ct.phases", "inputs.CEA"]'), ("q", '["ct.phases", "ct.present"]'),
                      ("r", '["ct.present", "ct.phases"]')):  # fmt: skip
        feeds = 'x = ["encoder.seen", "ct.present"]'
        folder = images.pack(tmp_path / name, images.added(3), feeds, encoder)
        text = (folder / "pack.toml").read_text()
        text = text.replace('{ volume = "ct.volume" }', f"{{ x = {fed} }}")
        (folder / "pack.toml").write_text(text)
        own[name] = packs.load(folder)
    cases = [images.scanned(40), images.case(lab("CEA", "2"))]
    assert pytest.approx([4, 2]) == [one.logit for one in assess(own["p"], cases)]
    for name, rows in (("q", 4), ("q", 5), ("r", 7)):
        assert pytest.approx([3, 0]) == [one.logit for one in assess(own[name], cases)]
        # Of the patient without a study nothing is kept: there is nothing of it to know it by.
        assert rows == _roles(runs)["encoder"]


def test_what_found_the_region_is_not_searched_again(tmp_path: Path, runs: Counter[str]):
    """A segmenter is an encoder like the others; another threshold reads the same figures anew."""
    folder = regions.pack(tmp_path / "p", regions.FINDER, way="segmenter",
                          files={"segmenter.onnx": regions.finder()})  # fmt: skip
    own, one = packs.load(folder), regions.scanned()
    first = logit(own, one)
    assert (first, 1) == (logit(own, corrected(one)), _roles(runs)["segmenter"])
    text = (folder / "pack.toml").read_text().replace("threshold = 0.5", "threshold = 0.7")
    (folder / "pack.toml").write_text(text)
    assert first != logit(packs.load(folder), one)


def test_examples_of_one_picture_in_two_sizes_are_two(tmp_path: Path, runs: Counter[str]):
    """Equal voxels of another spacing are another study, as equal pixels of another resolution."""
    feeds = 'x = ["encoder.hu", "ct.present"]'
    own = packs.load(images.pack(tmp_path / "p", images.added(2), feeds, images.ENCODER))
    voxels = np.arange(64, dtype=np.float32).reshape(4, 4, 4)
    voxels[0] = 0
    found = [
        logit(own, replace(images.case(), ct=study(["AP"], [voxels], spacing)))
        for spacing in ((1, 1, 1), (0.5, 1, 1))
    ]
    assert found[0] != found[1]
    body = example_images.slide_to_json(slide((1, 1)))
    coarse = {**body, "levels": [{**body["levels"][0], "mpp": [0.25, 0.25]}]}
    shas = [example_images.slide_of_json(b).instances[0].sha256 for b in (body, coarse)]
    assert shas[0] != shas[1]


def test_what_was_not_asked_for_longest_makes_room():
    """By bytes; what is larger than all of it is not kept at all."""
    kept = Embeddings(most_bytes=2 * 400)
    row = {"e": np.zeros(100, np.float32)}
    kept.put("a", row)
    kept.put("b", row)
    assert holds(kept, "a", row)
    kept.put("c", row)
    assert [True, False, True] == [kept.get(key) is not None for key in "abc"]
    kept.put("d", {"e": np.zeros(201, np.float32)})
    assert [True, None] == [kept.get("a") is not None, kept.get("d")]
    kept.put("a", {"e": np.ones(100, np.float32)})
    kept.put("a", row)
    assert [True, True] == [holds(kept, key, row) for key in "ac"]


def test_a_row_that_is_kept_does_not_keep_its_batch():
    """What is counted is what is held."""
    kept = Embeddings(most_bytes=400)
    batch = np.zeros((1000, 100), np.float32)
    kept.put("a", {"e": batch[3]})
    held = kept.get("a")
    assert held is not None
    assert held["e"].base is None


def holds(kept: Embeddings, key: str, row: Mapping[str, np.ndarray]) -> bool:
    """Whether these very figures are kept under a key."""
    found = kept.get(key)
    return found is not None and all(found[name] is figures for name, figures in row.items())


def logit(own: Pack, one: Case) -> float | None:
    """Of a patient."""
    return assess(own, [one])[0].logit


def _roles(runs: Counter[str]) -> dict[str, int]:
    """By role; sessions bear the name of the first pack with their bytes."""
    return {name.rpartition("/")[2]: rows for name, rows in runs.items()}
