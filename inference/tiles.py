"""Bags of tiles in a chain: a graph that runs on tiles, and what the next reads of a batch of bags.

Bags are of different length. Side by side they are as long as the longest, and 0 behind their end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.session import Session
from inference.slides import Bag

Float = NDArray[np.float32]
# 64 tiles of 256 pixels are 50 MB of floats.
_PIXELS_AT_ONCE = 64 * 256 * 256


def embed(session: Session, bag: Bag) -> dict[str, NDArray[Any]]:
    """Every output of a graph that runs on tiles, (tiles, ...).

    Raises:
        SessionRefused: a graph gives an output without a row for each tile.
    """
    at_once = max(_PIXELS_AT_ONCE // bag.declared.tile_px**2, 1)
    parts = [
        _run(session, bag.pixels(first, min(first + at_once, bag.count)))
        for first in range(0, bag.count, at_once)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def blank(session: Session, tile_px: int) -> dict[str, NDArray[Any]]:
    """No tile at all: (0, ...) of each output, to tell how wide it is where nobody has a slide."""
    one = _run(session, np.zeros((1, 3, tile_px, tile_px), np.float32))
    return {name: figures[:0] for name, figures in one.items()}


def laid(found: Sequence[Mapping[str, NDArray[Any]]], length: int) -> dict[str, NDArray[Any]]:
    """Outputs of several bags side by side, (B, length, ...), 0 behind the end of each."""
    made = {}
    for name in found[0]:
        one = found[0][name]
        whole = np.zeros((len(found), length, *one.shape[1:]), one.dtype)
        for row, of in enumerate(found):
            whole[row, : len(of[name])] = of[name]
        made[name] = whole
    return made


def _run(session: Session, pixels: Float) -> dict[str, NDArray[Any]]:
    ((name, port),) = session.inputs.items()
    return session.figures(len(pixels), **{name: np.ascontiguousarray(pixels, dtype=port.dtype)})


def mask(bags: Sequence[Bag | None]) -> Float:
    """(B, tiles), 1 where a tile is."""
    counts = np.array([bag.count if bag else 0 for bag in bags])
    made: Float = (np.arange(longest(bags)) < counts[:, None]).astype(np.float32)
    return made


def position(bags: Sequence[Bag | None]) -> Float:
    """(B, tiles, 3) as `Bag.position`."""
    made = np.zeros((len(bags), longest(bags), 3), np.float32)
    for row, bag in enumerate(bags):
        if bag is not None:
            made[row, : bag.count] = bag.position
    return made


def longest(bags: Sequence[Bag | None]) -> int:
    """Tiles of the longest bag, at least 1: many graphs cannot take an axis without any element."""
    return max([1, *(bag.count for bag in bags if bag is not None)])
