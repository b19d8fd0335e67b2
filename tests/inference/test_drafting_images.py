"""Packs of images from nothing but ONNX graphs: what `init` drafts, finished as an author would."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_packs import onnx_graph
from made_slides import slide, tile_encoder
from onnx import helper
from study_facts import born
from test_image_packs import added
from test_region_packs import finder, scanned
from typer.testing import CliRunner

from inference import conform
from workers.pack import app

OPEN = "TODO"
ANSWERS: dict[str, str] = {
    "title": '"t"', "study": '"none"', "question": '"q"', "intended_use": '"u"', "not_for": '"n"',
    "licence": '"MIT"', "kind": '"clinical"', "words": '"nobody"', "source": '"s"', "text": '"t"',
    "years": "[0, 120]", "phases": '["AP"]', "required": '["AP"]', "spacing_mm": "[1, 1, 1]",
    "orientation": '"SPL"', "resampling": '"area"', "hu_clip": "[-200, 300]", "intensity": '"hu"',
    "roi": '"centre of volume"', "without": '"left out"', "threshold": "0.5", "stain": '"H&E"',
    "mpp": "0.5", "least_tissue": "0.5", "most_tiles": "100", "normalisation": '"none"',
    "system": '"urn:t"', "display": '"d"', "locked": '"l"',
}  # fmt: skip
FEEDS = {"present": "ct.present", "mask": "he.tile_mask", "position": "he.tile_position"}


def begun(home: Path, **graphs: bytes) -> Path:
    """A pack that `init` drafts of graphs in their order."""
    words = []
    for name, raw in graphs.items():
        (home / f"{name}.onnx").write_bytes(raw)
        words += ["--from", str(home / f"{name}.onnx")]
    told = CliRunner().invoke(app, ["init", str(home / "p"), *words])
    assert 0 == told.exit_code, told.output
    return home / "p"


def fusion() -> bytes:
    """Logit = mean HU + share of the region + red of the tiles, where there is a study."""
    nodes = [
        helper.make_node("ReduceMean", ["volume"], ["hu"], axes=[1, 2, 3, 4], keepdims=0),
        helper.make_node("ReduceMean", ["region"], ["share"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("ReduceSum", ["embedding", "both"], ["red"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "one"], ["count"], keepdims=0),
        helper.make_node("ReduceSum", ["position", "both"], ["place"], keepdims=0),
        helper.make_node("Sum", ["hu", "share", "red", "count", "place"], ["flat"]),
        helper.make_node("Unsqueeze", ["flat", "one"], ["column"]),
        helper.make_node("Mul", ["column", "present"], ["whole"]),
        helper.make_node("Mul", ["whole", "small"], ["logit"]),
    ]
    takes = {"volume": ["n", 1, 2, 2, 2], "region": ["n", 2, 2, 2], "present": ["n", 1],
             "embedding": ["n", "t", 2], "mask": ["n", "t"], "position": ["n", "t", 3]}  # fmt: skip
    weights: dict[str, Any] = {"both": np.array([1, 2]), "one": np.array([1]), "small": 0.01}
    return onnx_graph(nodes, takes, {"logit": ["n", 1]}, weights)


def finished(text: str) -> str:
    """A draft whose open ends are written."""
    lines = []
    for line in text.splitlines():
        key, _, value = line.partition(" = ")
        if OPEN not in value:
            lines.append(line)
        elif key.strip('"') in FEEDS:
            assert FEEDS[key.strip('"')] in value  # among what it proposes
            lines.append(f'{key} = "{FEEDS[key.strip(chr(34))]}"')
        else:
            number = re.search(r"class-(\d)", value)
            lines.append(f"{key} = {f'{chr(34)}c{number[1]}{chr(34)}' if number else ANSWERS[key]}")
    return "\n".join(lines) + "\n"


def test_shapes_tell_volumes_tiles_and_the_graph_that_finds_the_region(tmp_path: Path):
    """Grids, edges and feeds are filled in; of two that fit both are proposed."""
    folder = begun(tmp_path, segmenter=finder(), he_encoder=tile_encoder(), fusion=fusion())
    body = tomllib.loads((folder / "pack.toml").read_text())
    assert ["ct", "he"] == body["pack"]["modalities"]
    assert "inputs" not in body
    ct, (he,) = body["ct"], body["slides"]
    assert ([2, 2, 2], "segmenter") == (ct["grid"], ct["roi"])
    assert ("segmenter", "likely", [4, 5, 6]) == tuple(
        ct["segmenter"][key] for key in ("role", "output", "grid")
    )
    assert ("he", 4) == (he["id"], he["tile_px"])
    first, tiles, last = (graph["feeds"] for graph in body["graphs"])
    assert ({"volume": "ct.overview"}, {"tiles": "he.tiles"}) == (first, tiles)
    assert ("ct.volume", "ct.region") == (last["volume"], last["region"])
    assert {"embedding": "he_encoder.embedding", "position": "he.tile_position"} == {
        key: last[key] for key in ("embedding", "position")
    }
    assert "TODO: ct.phases or ct.present or he.present, or a source" in last["present"]


def test_numbers_beside_a_study_are_drafted_as_inputs(tmp_path: Path):
    """Two rows of one width, of which the study can be one."""
    nodes = [helper.make_node("ReduceMean", ["volume"], ["flat"], axes=[1, 2, 3, 4], keepdims=0),
             helper.make_node("Unsqueeze", ["flat", "one"], ["hu"]),
             helper.make_node("Sum", ["hu", "labs", "labs_mask", "here"], ["logit"])]  # fmt: skip
    takes = {"volume": ["n", 1, 2, 2, 2], **{k: ["n", 1] for k in ("labs", "labs_mask", "here")}}
    graph = onnx_graph(nodes, takes, {"logit": ["n", 1]}, {"one": np.array([1])})
    body = tomllib.loads((begun(tmp_path, model=graph) / "pack.toml").read_text())
    assert ["ct", "labs", "demographics"] == body["pack"]["modalities"]
    assert [OPEN] == [one["id"] for one in body["inputs"]]


def test_a_table_of_numbers_has_no_images(tmp_path: Path):
    """As ever."""
    body = tomllib.loads((begun(tmp_path, model=added(3)) / "pack.toml").read_text())
    assert ["labs", "demographics"] == body["pack"]["modalities"]
    assert not {"ct", "slides"} & set(body)


@pytest.mark.parametrize("slides", [True, False])
def test_an_author_of_images_comes_from_graphs_to_a_checked_pack(tmp_path: Path, *, slides: bool):
    """Init, TODO, seal, run, example, check and conform, a slide or none beside the study."""
    folder = begun(tmp_path, segmenter=finder(), he_encoder=tile_encoder(), fusion=fusion())
    manifest = folder / "pack.toml"
    text = finished(manifest.read_text())
    manifest.write_text(text.replace("tissue_mpp = 8.0", "tissue_mpp = 1.0"))
    (folder / "card.md").write_text("# nothing\n")
    one = scanned()
    one = replace(one, slides=(slide((1, 1), (2, 2)),) if slides else (),
                  record=replace(one.record, entries=tuple(born())))  # fmt: skip
    record = tmp_path / "case.json"
    record.write_text(json.dumps(conform.case_to_json(one)))
    call = CliRunner().invoke
    assert 0 == call(app, ["seal", str(folder)]).exit_code
    told = call(app, ["run", str(folder), str(record)]).output
    assert ("he: no slide of stain H&E; left out" in told) is not slides
    found = re.search(r"d: (\d\.\d+)", told)
    assert found, told
    kept = call(app, ["example", str(folder), "one", str(record), "--expect",
                      f"probability={found[1]}"])  # fmt: skip
    assert 0 == kept.exit_code, kept.output
    for command in ("check", "conform"):
        done = call(app, [command, str(folder)])
        assert (0, False) == (done.exit_code, "leaves out" in done.output), done.output
