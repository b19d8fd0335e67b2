"""A pack that reads slides, and slides for it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from made_packs import case, lab, made, onnx_graph
from onnx import helper

from inference.assess import Case
from mappings.images import ArrayLevel, InstanceRef, Slide

EDGE = 4
GLASS, DARK = (250, 250, 250), (120, 40, 140)
SLIDES = """
[[slides]]
id = "he"
stain = "H&E"
mpp = 0.5
tile_px = 4
overlap_px = 0
tissue = "otsu of saturation"
tissue_mpp = 1.0
least_tissue = 0.5
most_tiles = 100
normalisation = "none"
without = "left out"
"""
TILE_GRAPH = """
[[graphs]]
role = "tile_encoder"
file = "tile_encoder.onnx"
feeds = { tiles = "he.tiles" }
"""


def tile_encoder() -> bytes:
    """Embedding (n, 2) of a tile: mean of red, mean of green."""
    nodes = [
        helper.make_node("ReduceMean", ["tiles"], ["rgb"], axes=[2, 3], keepdims=0),
        helper.make_node("Gather", ["rgb", "two"], ["embedding"], axis=1),
    ]
    weights = {"two": np.array([0, 1])}
    takes = {"tiles": ["n", 3, EDGE, EDGE]}
    return onnx_graph(nodes, takes, {"embedding": ["n", 2]}, weights)


def pool() -> bytes:
    """Logit = mean red of the tiles that are there + 10 x their number + 100 x mean y of them."""
    nodes = [
        helper.make_node("Gather", ["embedding", "first"], ["red"], axis=2),
        helper.make_node("Squeeze", ["red", "last"], ["reds"]),
        helper.make_node("Mul", ["reds", "mask"], ["seen"]),
        helper.make_node("ReduceSum", ["seen", "one"], ["sum"], keepdims=1),
        helper.make_node("ReduceSum", ["mask", "one"], ["count"], keepdims=1),
        helper.make_node("Max", ["count", "least"], ["some"]),
        helper.make_node("Div", ["sum", "some"], ["mean"]),
        helper.make_node("Gather", ["position", "second"], ["y"], axis=2),
        helper.make_node("Squeeze", ["y", "last"], ["ys"]),
        helper.make_node("ReduceSum", ["ys", "one"], ["ysum"], keepdims=1),
        helper.make_node("Div", ["ysum", "some"], ["ymean"]),
        helper.make_node("Mul", ["ymean", "hundred"], ["place"]),
        helper.make_node("Mul", ["count", "ten"], ["number"]),
        helper.make_node("Sum", ["mean", "number", "place"], ["logit"]),
    ]
    weights: dict[str, Any] = {
        "first": np.array([0]), "second": np.array([1]), "last": np.array([2]),
        "one": np.array([1]), "least": 1.0, "ten": 10.0, "hundred": 100.0,
    }  # fmt: skip
    takes = {"embedding": ["n", "t", 2], "mask": ["n", "t"], "position": ["n", "t", 3]}
    return onnx_graph(nodes, takes, {"logit": ["n", 1]}, weights)


FEEDS = 'embedding = "tile_encoder.embedding"\nmask = "he.tile_mask"\nposition = "he.tile_position"'


def pack(
    folder: Path, slides: str = SLIDES, graphs: str = TILE_GRAPH, feeds: str = FEEDS,
    encoder: bytes | None = None, head: bytes | None = None,
) -> Path:  # fmt: skip
    """The pack of `made` with slides and an encoder of their tiles."""
    files = {"tile_encoder.onnx": encoder or tile_encoder()}
    made(folder, head or pool(), head='kind = "logit"\noutput = "logit"', feeds=feeds, files=files)
    text = (folder / "pack.toml").read_text()
    text = text.replace('modalities = ["labs"]', 'modalities = ["he", "labs"]')
    text = text.replace("\n[[graphs]]", f"{slides}{graphs}\n[[graphs]]", 1)
    (folder / "pack.toml").write_text(text)
    return folder


def slide(*tiles: tuple[int, int], stain: str = "H&E") -> Slide:
    """8 x 8 tiles of glass, of which some (row, column) are tissue."""
    pixels = np.full((8 * EDGE, 8 * EDGE, 3), GLASS, np.uint8)
    for row, column in tiles:
        pixels[row * EDGE :, column * EDGE :][:EDGE, :EDGE] = DARK
    return scanned(pixels, stain)


def scanned(pixels: np.ndarray, stain: str = "H&E") -> Slide:
    """A slide of one level."""
    uid = "2.25.9.1"
    ref = InstanceRef(
        study_instance_uid="2.25.9", series_instance_uid=uid, sop_instance_uid=f"{uid}.1",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.77.1.6", sha256=hashlib.sha256(pixels).hexdigest(),
    )  # fmt: skip
    return Slide(stain=stain, levels=(ArrayLevel(pixels=pixels, mpp=(0.5, 0.5)),), instances=(ref,))


def seen(*slides: Slide) -> Case:
    """A patient with slides."""
    return replace(case(lab("CEA", "2")), slides=slides)
