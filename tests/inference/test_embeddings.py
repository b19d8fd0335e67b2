"""embeddings: an encoder runs once for the same images, and again for any others (model-rules 14)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_image_packs as images
from made_packs import lab
from made_slides import SLIDES, pack, seen, slide

from inference import embeddings, packs
from inference.assess import Case, assess
from inference.embeddings import Embeddings
from inference.packs import Pack
from inference.session import Session
from mappings.record import PatientRecord


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Rows that each graph was run on, from an empty memory on."""
    monkeypatch.setattr(embeddings, "kept", Embeddings())
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
    """Two tiles and the blank one; another slide, and another pack of the same bytes, are others."""
    own = packs.load(pack(tmp_path / "p"))
    one = seen(slide((1, 1), (2, 2)))
    first = logit(own, one)
    assert 3 == _roles(runs)["tile_encoder"]
    assert first == logit(own, corrected(one))
    assert 4 == _roles(runs)["tile_encoder"]
    other = logit(own, seen(slide((1, 1), (7, 2))))
    assert (7, True) == (_roles(runs)["tile_encoder"], other != first)
    sparse = SLIDES.replace("most_tiles = 100", "most_tiles = 1")
    few = logit(packs.load(pack(tmp_path / "q", sparse)), one)
    assert (9, True) == (_roles(runs)["tile_encoder"], few != first)


def test_what_was_not_asked_for_longest_makes_room():
    """By bytes; what is larger than all of it is not kept at all."""
    kept = Embeddings(most_bytes=2 * 400)
    row = {"e": np.zeros(100, np.float32)}
    kept.put("a", row)
    kept.put("b", row)
    assert kept.get("a") is row
    kept.put("c", row)
    assert [True, False, True] == [kept.get(key) is not None for key in "abc"]
    kept.put("d", {"e": np.zeros(201, np.float32)})
    assert [True, None] == [kept.get("a") is not None, kept.get("d")]
    kept.put("a", {"e": np.ones(100, np.float32)})
    kept.put("a", row)
    assert [row, row] == [kept.get("a"), kept.get("c")]


def logit(own: Pack, one: Case) -> float | None:
    """Of a patient."""
    return assess(own, [one])[0].logit


def _roles(runs: Counter[str]) -> dict[str, int]:
    """By role; sessions bear the name of the first pack with their bytes."""
    return {name.rpartition("/")[2]: rows for name, rows in runs.items()}
