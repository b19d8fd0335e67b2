"""The repository as a whole: no machine of ours in it, and no swallowed error without its reason."""

from __future__ import annotations

import ast
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

_HOUSE = Path(__file__).parents[2]
_PACKAGES = ("mappings", "inference", "interop", "workers")
_NOT_TEXT = {".onnx", ".png", ".hl7", ".dcm", ".gz", ".npz", ".pdf"}
# Spelled apart, so that this file does not break its own rule.
_HERE = re.compile(
    r"(?<![\w.])/(?:wor" r"k|ro" r"ot|ho" r"me)/\w"
    r"|py" r"pi\.org|files\.python" r"hosted|registry\.np" r"mjs|index" r"-url|dev" r"pi|artif" r"actory"
)  # fmt: skip
# How many broad excepts there are: a new one is a decision, and this number its signature.
_BROAD = {"mappings": 6, "inference": 3, "interop": 3, "workers": 7}


def tracked() -> list[Path]:
    """Text files that git holds or would hold."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=_HOUSE,
        capture_output=True,
        text=True,
        check=True,
    )
    found = (_HOUSE / name for name in listed.stdout.splitlines())
    return [p for p in found if p.is_file() and p.suffix not in _NOT_TEXT]


def broad() -> Iterator[tuple[str, str, str]]:
    """(package, place, line) of each bare or broad except that does not just tidy up and raise."""
    for package in _PACKAGES:
        for path in sorted((_HOUSE / package).rglob("*.py")):
            text = path.read_text("utf-8")
            lines = text.splitlines()
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.ExceptHandler) and _is_broad(node.type):
                    if _raises_again(node):
                        continue
                    place = f"{path.relative_to(_HOUSE)}:{node.lineno}"
                    yield package, place, lines[node.lineno - 1]


def _is_broad(kind: ast.expr | None) -> bool:
    names = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return any(
        n is None or (isinstance(n, ast.Name) and n.id in ("Exception", "BaseException"))
        for n in names
    )


def _raises_again(node: ast.ExceptHandler) -> bool:
    last = node.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def test_no_file_names_a_machine_or_a_registry():
    """Paths of the machine it was made on, or hosts that packages come from."""
    found = [
        f"{path.relative_to(_HOUSE)}: {match[0]}"
        for path in tracked()
        for match in _HERE.finditer(path.read_text("utf-8", "replace"))
    ]
    assert [] == found


def test_broad_excepts_are_counted():
    """Only where the rules allow one (a door's reply, third-party parsers, the task boundary)."""
    counted = Counter(package for package, _, _ in broad())
    assert _BROAD == {package: counted[package] for package in _PACKAGES}


@pytest.mark.parametrize(("place", "line"), [(place, line) for _, place, line in broad()])
def test_every_broad_except_says_why(place: str, line: str):
    """A comment with its reason on the line itself."""
    reason = line.partition("#")[2].removeprefix(" noqa: BLE001").strip()
    assert len(reason.split()) >= 2, place
