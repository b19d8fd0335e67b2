"""Packs whose graphs read slides tile by tile (model-rules 14 and 26)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_slides import DARK, EDGE, FEEDS, GLASS, SLIDES, TILE_GRAPH, pack, scanned, seen, slide

from inference import conform, embeddings, packs, tiles
from inference.assess import Case, assess
from inference.errors import ManifestRefused, UnusableSlide
from inference.packs import Pack, PackRefused
from inference.session import Session
from mappings.images import ArrayLevel

MACENKO = """normalisation = "macenko"
reference_stains = [0.5626, 0.7201, 0.4062, 0.2159, 0.8012, 0.5581]
reference_maxima = [1.9705, 1.0308]"""


def logits(own: Pack, *cases: Case) -> list[float]:
    """Of a batch."""
    return [float(found.logit or 0) for found in assess(own, cases)]


def golden(rows: list[int]) -> float:
    """What `pool` makes of tiles in these rows of a slide."""
    y_mm = np.mean([(row + 0.5) * EDGE * 0.5 / 1000 for row in rows])
    return float(DARK[0] / 255 + 10 * len(rows) + 100 * y_mm)


def test_a_graph_runs_on_tiles_and_the_next_on_bags(tmp_path: Path):
    """Three tiles with their place; the order of columns does not matter here."""
    own = packs.load(pack(tmp_path / "p"))
    (found,) = logits(own, seen(slide((1, 2), (1, 5), (6, 0))))
    assert pytest.approx(golden([1, 1, 6]), abs=1e-5) == found


def test_bags_of_different_length_share_a_batch(tmp_path: Path):
    """Behind a bag's end there is nothing, neither of a neighbour nor of nobody's slide."""
    own = packs.load(pack(tmp_path / "p"))
    cases = [
        seen(slide((2, 2))),
        seen(),
        seen(slide(*((r, c) for r in range(8) for c in range(7)))),
    ]
    together = logits(own, *cases)
    alone = [logits(own, one)[0] for one in cases]
    assert pytest.approx(alone, abs=1e-5) == together
    assert pytest.approx([golden([2]), 0], abs=1e-5) == together[:2]


def test_more_tiles_than_run_at_once_are_all_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Seven tiles of 4 x 4 pixels a run, the last one fewer."""
    monkeypatch.setattr(tiles, "_PIXELS_AT_ONCE", 7 * EDGE**2 + 3)
    monkeypatch.setattr(embeddings, "kept", embeddings.Embeddings())
    taken = []
    run = Session.figures

    def counting(self: Session, rows: int, **feeds: Any) -> dict[str, Any]:
        taken.append(rows)
        return run(self, rows, **feeds)

    monkeypatch.setattr(Session, "figures", counting)
    big = np.full((10 * EDGE, 10 * EDGE, 3), DARK, np.uint8)
    big[:EDGE] = GLASS
    own = packs.load(pack(tmp_path / "p"))
    rows = [row for row in range(1, 10) for _ in range(10)]
    assert pytest.approx(golden(rows), abs=1e-4) == logits(own, seen(scanned(big)))[0]
    assert [*[7] * 12, 6, 1] == taken


def test_without_a_slide_of_the_stain_the_graphs_are_told_so(tmp_path: Path):
    """And the reader; a slide of another stain is none."""
    own = packs.load(pack(tmp_path / "p"))
    found = assess(own, [seen(slide((1, 1), stain="CD3")), seen(slide((1, 1)))])
    assert [["no slide of stain H&E"], []] == [
        [m.reason for m in one.missing if m.input == "he"] for one in found
    ]
    assert [0, 1] == [len(one.instances) for one in found]


def test_a_pack_of_slides_may_give_no_result_without_them(tmp_path: Path):
    """Its job is set aside then."""
    folder = pack(tmp_path / "p", SLIDES.replace('"left out"', '"no result"'))
    with pytest.raises(UnusableSlide, match="he: no slide of stain H&E"):
        assess(packs.load(folder), [seen()])


def test_tiles_beyond_the_most_are_told(tmp_path: Path):
    """Five of nine."""
    own = packs.load(pack(tmp_path / "p", SLIDES.replace("100", "5")))
    one = slide(*((r, c) for r in (0, 2, 4) for c in (0, 2, 4)))
    (found,) = assess(own, [seen(one)])
    assert [("4 tiles beyond 5", "evenly spread ones were read")] == [
        (m.reason, m.handling) for m in found.missing if m.input == "he"
    ]


def test_a_normalised_stain_is_another_picture(tmp_path: Path):
    """By the reference of the manifest."""
    plain = packs.load(pack(tmp_path / "p"))
    folder = pack(tmp_path / "q", SLIDES.replace('normalisation = "none"', MACENKO))
    random = np.random.default_rng(2)
    pixels = random.integers(40, 230, (40 * EDGE, 40 * EDGE, 3), np.uint8)
    pixels[..., 1] //= 2
    one = seen(scanned(pixels))
    assert abs(logits(plain, one)[0] - logits(packs.load(folder), one)[0]) > 0.01


def test_an_example_keeps_every_pixel_and_passes(tmp_path: Path):
    """A slide of two levels; the pack's own test runs on it."""
    fine = slide((1, 2), (3, 4)).levels[0]
    coarse = ArrayLevel(pixels=fine.read(0, 0, *fine.shape)[::4, ::4].copy(), mpp=(2.0, 2.0))
    one = seen(replace(slide((1, 2)), levels=(fine, coarse)))
    own = packs.load(pack(tmp_path / "p"))
    (expected,) = assess(own, [one])
    body = conform.example(own, one, {"probability": expected.outcomes[0].probability})
    back = conform.case_from_json(body)
    for sent, got in zip(one.slides[0].levels, back.slides[0].levels, strict=True):
        assert (sent.mpp, sent.shape) == (got.mpp, got.shape)
        shape = sent.shape
        assert np.array_equal(sent.read(0, 0, *shape), got.read(0, 0, *shape))
    assert logits(own, one) == logits(own, back)


@pytest.mark.parametrize(
    ("sent", "wanted", "key"),
    [
        ("tile_px = 4", "tile_px = 0", r"slides\[0\]\.tile_px"),
        ("tile_px = 4", "tile_px = 5000", r"slides\[0\]\.tile_px"),
        ("overlap_px = 0", "overlap_px = 4", r"slides\[0\]\.overlap_px"),
        ("mpp = 0.5", "mpp = 0", r"slides\[0\]\.tissue_mpp"),
        ("tissue_mpp = 1.0", "tissue_mpp = 0.1", r"slides\[0\]\.tissue_mpp"),
        ("least_tissue = 0.5", "least_tissue = 50", r"slides\[0\]\.least_tissue"),
        ("most_tiles = 100", "most_tiles = 0", r"slides\[0\]\.most_tiles"),
        ('tissue = "otsu of saturation"', 'tissue = "by eye"', r"slides\[0\]\.tissue"),
        ('"none"', '"reinhard"', r"slides\[0\]\.normalisation"),
        ('"none"', '"macenko"', r"slides\[0\]\.reference_stains"),
        ('"none"', '"none"\nreference_maxima = [1, 1]', r"slides\[0\]\.reference_maxima"),
        ('normalisation = "none"', MACENKO.replace("0.5626", "0.9"), r"reference_stains"),
        ('normalisation = "none"', MACENKO.replace("1.9705", "0"), r"reference_maxima"),
        ('id = "he"', 'id = "labs"', r"slides\[0\]\.id"),
        ('id = "he"', 'id = "ihc"', r"slides\[0\]\.id"),
    ],
)  # fmt: skip
def test_slides_that_cannot_be_cut_are_refused(tmp_path: Path, sent: str, wanted: str, key: str):
    """By file, line and key."""
    assert sent in SLIDES
    with pytest.raises(ManifestRefused, match=rf"pack\.toml:\d+: .*{key}"):
        packs.load(pack(tmp_path / "p", SLIDES.replace(sent, wanted)))


@pytest.mark.parametrize(
    ("graphs", "feeds", "key"),
    [
        (TILE_GRAPH, FEEDS.replace("he.tile_mask", "labs.mask"), r"graphs\[1\]\.feeds.*he\.tile_mask"),
        (TILE_GRAPH.replace('"he.tiles"', '["he.tiles", "he.tile_mask"]'), FEEDS,
         r"graphs\[0\]\.feeds: expected he\.tiles alone"),
        ("", 'embedding = "he.tiles"', r"graphs\[0\]\.feeds: expected he\.tiles alone"),
        (TILE_GRAPH.replace("he.tiles", "cd3.tiles"), FEEDS, r"cd3\.tiles is none"),
    ],
)  # fmt: skip
def test_feeds_of_tiles_are_checked(tmp_path: Path, graphs: str, feeds: str, key: str):
    """Tiles are no patients, and zeros are no embedding."""
    with pytest.raises(ManifestRefused, match=key):
        packs.load(pack(tmp_path / "p", graphs=graphs, feeds=feeds))


def test_a_graph_of_tiles_must_take_tiles(tmp_path: Path):
    """Of their size; and the next one bags, not patients."""
    folder = pack(tmp_path / "p", SLIDES.replace("tile_px = 4", "tile_px = 5"))
    with pytest.raises(PackRefused, match=r"input tiles has shape \(3, 4, 4\)"):
        packs.load(folder)
    folder = pack(tmp_path / "q", feeds=FEEDS.replace("tile_encoder.embedding", "labs.values"))
    with pytest.raises(PackRefused, match="input embedding has shape"):
        packs.load(folder)


def test_a_model_of_slides_alone_reads_nothing_else(tmp_path: Path):
    """No [[inputs]] at all, as of a CT alone."""
    folder = pack(tmp_path / "p")
    text = (folder / "pack.toml").read_text().replace('["he", "labs"]', '["he"]')
    text = text.replace('test = "inputs"\ninputs = ["CEA"]', 'test = "age"\nyears = [0, 120]')
    first, end = text.index("[[inputs]]"), text.index("[[slides]]")
    (folder / "pack.toml").write_text(text[:first] + text[end:])
    own = packs.load(folder)
    assert () == own.manifest.inputs
    assert pytest.approx(golden([1]), abs=1e-5) == logits(own, seen(slide((1, 1))))[0]


def test_the_first_tile_is_no_reference(tmp_path: Path):
    """Which tile is the first says nothing of a patient: the flag would be of chance."""
    folder = pack(tmp_path / "p")
    more = '\n[reference]\nnames = ["tile_encoder.embedding/0"]\ncentre = [0]\nspread = [1]\nlimit = 3\n'
    text = (folder / "pack.toml").read_text().replace("\n[[files]]", f"{more}\n[[files]]", 1)
    (folder / "pack.toml").write_text(text)
    with pytest.raises(ManifestRefused, match=r"tile_encoder\.embedding/0 is none"):
        packs.load(folder)
