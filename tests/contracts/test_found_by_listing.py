"""What is added by adding a file comes with its example, its test and its words."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from inference import conform, packs
from mappings import hl7v2
from mappings.hl7v2 import er7
from mappings.hl7v2.reading import Reading
from mappings.outbound.result import SYNTHETIC_WORDS
from mappings.record import Source
from mappings.site import Site

_HOUSE = Path(__file__).parents[2]
_EXAMPLES = _HOUSE / "tests" / "mappings" / "hl7v2" / "files"
_PACKS = _HOUSE / "inference" / "packs"
_NAMES = sorted(p.parent.name for p in _PACKS.glob("*/pack.toml"))


def structures() -> list[str]:
    """HL7 v2 message structures that a file maps."""
    return sorted(hl7v2.structures())


@pytest.mark.parametrize("structure", structures())
def test_every_message_structure_has_an_example(structure: str):
    """A message of it among the golden files."""
    assert structure in {structure_of(path.read_bytes()) for path in _EXAMPLES.glob("*.hl7")}


def structure_of(raw: bytes) -> str:
    """The structure an example is read as."""
    source = Source("his", 1, datetime(2026, 11, 21, tzinfo=UTC))
    site = Site(default_authority="https://hospital.example/mrn")
    return hl7v2.structure(Reading.of(er7.parse(raw, site.charset), site, source))


@pytest.mark.parametrize("name", _NAMES)
def test_every_shipped_pack_conforms(name: str):
    """Its examples give the figures it was locked with."""
    checks = conform.check(packs.load(_PACKS / name))
    assert checks
    assert [] == [check for check in checks if not check.passed]


@pytest.mark.parametrize("name", _NAMES)
def test_every_shipped_pack_is_named_on_the_first_page_or_in_the_site_reference(name: str):
    """Nobody finds a model that no page names."""
    pages = (_HOUSE / "README.md", _HOUSE / "docs" / "reference" / "site-file.md")
    assert any(name in page.read_text("utf-8") for page in pages)


def plain(text: str) -> str:
    """Markdown without emphasis, quote marks and line ends."""
    return " ".join(re.sub(r"[*`]|^>", "", text, flags=re.MULTILINE).split())


@pytest.mark.parametrize(
    "page", ["README.md", *(f"inference/packs/{name}/card.md" for name in _NAMES)]
)
def test_pages_with_figures_carry_the_words_on_synthetic_training(page: str):
    """README and card: the words stand wherever a figure stands."""
    words = plain(SYNTHETIC_WORDS)
    assert words in plain((_HOUSE / page).read_text("utf-8"))


@pytest.mark.parametrize("name", _NAMES)
def test_a_synthetic_packs_reports_carry_the_words(name: str):
    """What the writer of reports is given."""
    pack = packs.load(_PACKS / name)
    if pack.manifest.training_data.kind == "synthetic":
        assert plain(SYNTHETIC_WORDS) == plain(pack.manifest.training_data.words)
