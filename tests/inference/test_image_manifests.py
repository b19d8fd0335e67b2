"""[ct], [ct.segmenter] and [[slides]] with anything in any key: read, or refused by file and line."""

from __future__ import annotations

import math
import tomllib
from typing import Any

import made_slides
import pytest
import test_region_packs as regions
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from inference.errors import ManifestRefused
from inference.manifest_reading import parse
from mappings.images import CT_PHASES

MACENKO = """normalisation = "macenko"
reference_stains = [0.5626, 0.7201, 0.4062, 0.2159, 0.8012, 0.5581]
reference_maxima = [1.9705, 1.0308]"""

texts = st.sampled_from(
    ["", " ", "ct", "RAS", "SPL", "linear", "hu", "segmenter", "model", "SCT|1", "TODO"]
)
numbers = st.one_of(
    st.integers(), st.floats(), st.sampled_from([0, -1, 1, 10**30, 1e300, 5e-324, float("nan")])
)
scalars = st.one_of(texts, numbers, st.booleans())
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2)
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A manifest that is read with each kind of region, and with slides of a normalised stain."""
    home = tmp_path_factory.mktemp("packs")
    finder = {"segmenter.onnx": regions.finder()}
    slides = made_slides.SLIDES.replace('normalisation = "none"', MACENKO)
    folders = {
        "ct": regions.pack(home / "a", regions.SEGMENTS + 'orientation = "RAS"\n'),
        "segmenter": regions.pack(home / "b", regions.FINDER, way="segmenter", files=finder),
        "slides": made_slides.pack(home / "c", slides),
    }
    return {name: folder.joinpath("pack.toml").read_text() for name, folder in folders.items()}


TABLES = {"ct": "[ct]", "segmenter": "[ct.segmenter]", "slides": "[[slides]]"}
KEYS = {
    "ct": ("phases", "required", "min_confidence", "grid", "spacing_mm", "orientation", "resampling",
           "hu_clip", "roi", "segments", "intensity", "without"),
    "segmenter": ("role", "output", "grid", "spacing_mm", "threshold"),
    "slides": ("id", "stain", "mpp", "tile_px", "overlap_px", "tissue", "tissue_mpp", "least_tissue",
               "most_tiles", "normalisation", "reference_stains", "reference_maxima", "without"),
}  # fmt: skip


def toml(value: Any) -> str:
    """A value as TOML."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case list():
            return f"[{', '.join(map(toml, value))}]"
        case dict():
            return f"{{ {', '.join(f'{k} = {toml(v)}' for k, v in value.items())} }}"
    return repr(value)


def changed(text: str, table: str, key: str, value: Any) -> str:
    """The manifest with another value for one key; without it where that is None."""
    before, header, rest = text.partition(f"\n{TABLES[table]}\n")
    lines = rest.splitlines()
    place = next(n for n, line in enumerate(lines) if line.startswith(f"{key} ="))
    lines[place : place + 1] = [] if value is None else [f"{key} = {toml(value)}"]
    return before + header + "\n".join(lines)


@pytest.mark.parametrize("table", TABLES)
def test_every_key_is_asked_for(manifests: dict[str, str], table: str):
    """As the lists above say, which name all of them; only an orientation may be missing."""
    text = manifests[table]
    body: Any = tomllib.loads(text)
    for part in ("ct", "segmenter") if table != "slides" else ("slides",):
        body = body.get(part, body)
    have = body[0] if table == "slides" else body
    assert set(KEYS[table]) == set(have) - {"segmenter"}
    for key in KEYS[table]:
        if key != "orientation":
            with pytest.raises(ManifestRefused, match=rf"pack\.toml:\d+: .*{key}: expected"):
                parse(changed(text, table, key, None).encode())


@settings(max_examples=600, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(of=st.sampled_from([(t, k) for t, keys in KEYS.items() for k in keys]), value=values)
@example(of=("ct", "phases"), value=[])
@example(of=("ct", "required"), value=[])
@example(of=("ct", "phases"), value=["AP", "AP"])
@example(of=("ct", "phases"), value=["AP", "PVP"])
@example(of=("ct", "min_confidence"), value=1.5)
@example(of=("ct", "grid"), value=[10**9, 10**9, 10**9])
@example(of=("ct", "grid"), value=[1e308, 1, 1])
@example(of=("slides", "tile_px"), value=10**30)
@example(of=("slides", "mpp"), value=5e-324)
@example(of=("slides", "reference_stains"), value=[1e308] * 6)
def test_any_value_is_read_or_refused_by_its_line(
    manifests: dict[str, str], of: tuple[str, str], value: Any
):
    """Never another error; what is read lies within what can be computed."""
    table, key = of
    text = changed(manifests[table], table, key, value)
    line = 1 + next(n for n, one in enumerate(text.splitlines()) if one == f"{key} = {toml(value)}")
    try:
        read = parse(text.encode())
    except ManifestRefused as error:
        assert error.line
        assert error.line <= len(text.splitlines())
        if error.key.endswith(f".{key}"):
            assert error.line == line
        return
    if read.ct is not None:
        assert set() < set(read.ct.required) <= set(read.ct.phases) <= set(CT_PHASES)
        assert 0 <= read.ct.min_confidence <= 1
        finder = read.ct.segmenter
        for grid in (read.ct.grid, *((finder.grid,) if finder else ())):
            assert min(grid.size) >= 1
            assert math.prod(grid.size) <= 512**3
    for one in read.slides:
        assert 0 <= one.overlap_px < one.tile_px <= 4096
        assert one.mpp <= one.tissue_mpp


def test_a_list_of_tables_in_one_line_has_that_line(manifests: dict[str, str]):
    """Inline tables are TOML, too."""
    text = manifests["slides"]
    at = text.index("\n[[slides]]\n")
    end = text.index("\n[[graphs]]", at)
    fields = ", ".join(line for line in text[at:end].splitlines()[2:] if line.strip())
    inline = f"slides = [{{ {fields.replace('least_tissue = 0.5', 'least_tissue = 50')} }}]\n"
    body = inline + text[:at] + text[end:]
    with pytest.raises(ManifestRefused, match=r"pack\.toml:1: slides\[0\]\.least_tissue"):
        parse(body.encode())
