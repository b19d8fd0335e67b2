"""Every setting, command, option and key is in the docs, found by listing the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from workers.cli import app

_HOUSE = Path(__file__).parents[2]
_REFERENCE = _HOUSE / "docs" / "reference"
_PACKAGES = ("mappings", "inference", "interop", "workers")
# Set by `oncord worker` for the process it becomes, never by a person.
_INTERNAL = {"ONCORD_WORKER"}


def settings() -> list[str]:
    """Names of environment variables anywhere in the packages and in compose.yaml."""
    sources = [p for name in _PACKAGES for p in (_HOUSE / name).rglob("*.py")]
    found = {
        word
        for path in [*sources, _HOUSE / "compose.yaml"]
        for word in re.findall(r"\bONCORD_[A-Z_]+\b", path.read_text("utf-8"))
    }
    return sorted(found - _INTERNAL)


def commands(command: Any, words: tuple[str, ...] = ("oncord",)) -> Iterator[tuple[str, Any]]:
    """Every command that can be called, with the words that call it."""
    # Typer has a click of its own, so its classes are told by what they have.
    children = getattr(command, "commands", None)
    if children:
        for name, child in children.items():
            yield from commands(child, (*words, name))
    else:
        yield " ".join(words), command


def keys(path: Path, readers: set[str]) -> list[str]:
    """Constant first arguments of calls of these methods: the keys a parser reads."""
    calls = (n for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Call))
    found = {
        call.args[0].value
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and call.func.attr in readers
        and call.args
        and isinstance(call.args[0], ast.Constant)
        and isinstance(call.args[0].value, str)
    }
    return sorted(found)


_COMMANDS = dict(commands(typer.main.get_command(app)))
_PACK_READERS = {
    "text", "name", "number", "whole", "truth", "one_of", "texts", "numbers", "span", "table", "tables",
    "raw", "has", "day", "moment", "days", "one_or_more_numbers", "one_or_more_texts",
}  # fmt: skip
_SITE_READERS = {"take", "table", "tables", "texts", "number", "count"}
_SITE_KEYS = sorted(
    {
        *(
            key
            for name in ("site_file.py", "site_doors.py")
            for key in keys(_HOUSE / "workers" / name, _SITE_READERS)
        ),
        *keys(_HOUSE / "inference" / "recalibration.py", _PACK_READERS),
    }
)
_PACK_KEYS = sorted(
    {
        key
        for name in ("manifest_reading.py", "image_tables.py", "protocol_reading.py")
        for key in keys(_HOUSE / "inference" / name, _PACK_READERS)
    }
)


def mentioned(key: str, text: str) -> bool:
    """As a whole word: `name` is not in `filename`."""
    return re.search(rf"(?<![\w-]){re.escape(key)}(?![\w-])", text) is not None


@pytest.mark.parametrize("setting", settings())
def test_every_setting_is_documented(setting: str):
    """docs/reference/settings.md."""
    assert mentioned(setting, (_REFERENCE / "settings.md").read_text("utf-8"))


@pytest.mark.parametrize("words", _COMMANDS)
def test_every_command_and_option_is_documented(words: str):
    """docs/reference/cli.md, options by each of their names."""
    text = (_REFERENCE / "cli.md").read_text("utf-8")
    options = [
        name
        for parameter in _COMMANDS[words].params
        if parameter.param_type_name == "option"
        for name in parameter.opts
        if name != "--help"
    ]
    assert [] == [name for name in (words, *options) if not mentioned(name, text)]


@pytest.mark.parametrize("key", _SITE_KEYS)
def test_every_site_file_key_is_documented(key: str):
    """docs/reference/site-file.md."""
    assert mentioned(key, (_REFERENCE / "site-file.md").read_text("utf-8"))


@pytest.mark.parametrize("key", _PACK_KEYS)
def test_every_pack_key_is_documented(key: str):
    """inference/packs/README.md."""
    assert mentioned(key, (_HOUSE / "inference" / "packs" / "README.md").read_text("utf-8"))


def test_the_listing_finds_what_there_is():
    """A contract over an empty list would hold for nothing."""
    assert {"ONCORD_DATABASE_URL", "ONCORD_SECRET"} <= set(settings())
    assert {"oncord serve", "oncord demo", "oncord quarantine ls"} <= set(_COMMANDS)
    assert {"timezone", "write_back", "base_url", "stow", "in_flight", "frame_s", "peers"} <= set(
        _SITE_KEYS
    )
    assert {"threshold", "window_days", "hu_clip", "sha256"} <= set(_PACK_KEYS)
