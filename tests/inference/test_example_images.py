"""Images of examples that are no images: refused by name, before anything large is made of them."""

from __future__ import annotations

import base64
import json
import math
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_slides import pack, slide
from test_region_packs import scanned

from inference import conform, example_images, listing, packs
from inference.errors import PackRefused

Body = dict[str, Any]
HUGE = base64.b64encode(zlib.compress(bytes(64 << 20), 9)).decode()


def whole() -> Body:
    """A case with a study, a segment and a slide, as JSON."""
    made = conform.case_to_json(scanned((slice(5, 7), slice(7, 9), slice(3, 5))))
    return made | {"slides": [example_images.slide_to_json(slide((1, 1)))]}


def ct(body: Body) -> Body:
    """Its study."""
    return body["ct"]


def segment(body: Body) -> Body:
    """Its one segment."""
    return body["ct"]["segments"][0]


def level(body: Body) -> Body:
    """The one level of its slide."""
    return body["slides"][0]["levels"][0]


IDENTITY = [1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0]
SHAPES: list[Any] = [
    [10**30, 1, 1, 1], [1 << 20, 1 << 20, 1, 1], [-1, -8, 10, 12], [0, 8, 10, 12], [1, 8, 10],
    [1, 8, 10, 12.0], [1, 8, 10, True], [1, 8, 10, math.inf], [math.nan] * 4, "1234", None, 7,
]  # fmt: skip
BROKEN: list[tuple[Callable[[Body], Body], str, Any]] = [
    *((ct, "shape", one) for one in SHAPES),
    *((segment, "shape", one[1:] if isinstance(one, list) else one)
      for one in (*SHAPES[:2], *SHAPES[4:])),
    *((level, "shape", one[2:] if isinstance(one, list) else one)
      for one in (*SHAPES[:4], [1, 1, 0, 5], [1, 1, -1, 1])),
    (segment, "shape", [-3, 5, 1]),
    (segment, "shape", [1 << 16, 1 << 16, 1 << 16]),
    *((segment, "affine", one) for one in ([0] * 16, [math.nan] * 16, IDENTITY[:12], [1e400] * 16,
                                           [*IDENTITY[:15], "x"], None)),
    (segment, "bits_zlib", base64.b64encode(zlib.compress(bytes(120))).decode()),
    (segment, "bits_zlib", "!"),
    *((ct, "spacing_mm", one) for one in ([0, 1, 1], [-1, 1, 1], [math.nan, 1, 1], [1, 1],
                                          [10**400, 1, 1], [math.inf, 1, 1])),
    (ct, "phases", ["AP", "PV"]),
    (ct, "phases", ["PVP"]),
    (ct, "phases", []),
    (ct, "row_steps_int16_zlib", HUGE),
    *((level, "mpp", one) for one in ([0, 1], [-1, 1], [math.nan, 1], [1], "12")),
    (level, "row_steps_uint8_zlib", HUGE),
]  # fmt: skip


@pytest.mark.parametrize(("of", "key", "value"), BROKEN)
def test_images_that_are_none_are_refused(
    tmp_path: Path, of: Callable[[Body], Body], key: str, value: object
):
    """By the file's name, within megabytes: a few bytes may claim to be gigabytes."""
    body = whole()
    of(body)[key] = value
    folder = pack(tmp_path / "p")
    (folder / "examples").mkdir()
    file = folder / "examples" / "one.json"
    file.write_text(json.dumps(body | {"expected": {"probability": 0.5}}))
    own = packs.load(listed(folder))
    tracemalloc.start()
    try:
        with pytest.raises(PackRefused, match=r"examples/one\.json is no example"):
            conform.check(own)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 9), st.data())
def test_any_mask_comes_back(z: int, y: int, x: int, data: st.DataObject):
    """Of sizes that fill no byte, too."""
    bits = data.draw(st.lists(st.booleans(), min_size=z * y * x, max_size=z * y * x).filter(any))
    mask = np.array(bits).reshape(z, y, x)
    study = scanned((slice(5, 7), slice(7, 9), slice(3, 5))).ct
    assert study is not None
    sent = replace(study, segments=(replace(study.segments[0], mask=mask),))
    back = example_images.ct_of_json(example_images.ct_to_json(sent))
    assert np.array_equal(mask, back.segments[0].mask)


def listed(folder: Path) -> Path:
    """A folder whose manifest lists all of its files."""
    listing.seal(folder)
    return folder
