"""[[files]] of a manifest: size and SHA-256 of everything that lies beside it."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from inference.errors import PackRefused
from inference.manifest import MANIFEST, SIGNATURE

_FIRST = re.compile(r"^\[\[\s*files\s*\]\]", re.MULTILINE)
_OTHER = re.compile(r"^\[(?!\[\s*files\s*\]\])", re.MULTILINE)


def files(folder: Path) -> str:
    """[[files]] of everything in a folder but the manifest itself and what signs it."""
    lines = []
    for path in _listed(folder):
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        lines += [
            "",
            "[[files]]",
            f"path = {json.dumps(path.relative_to(folder).as_posix(), ensure_ascii=False)}",
            f'sha256 = "{digest}"',
            f"size = {path.stat().st_size}",
        ]
    return "\n".join(lines) + "\n"


def _listed(folder: Path) -> list[Path]:
    beside = {folder / MANIFEST, folder / SIGNATURE}
    return sorted(p for p in folder.rglob("*") if p.is_file() and p not in beside)


def read_text(file: Path) -> str:
    """A file that people write.

    Raises:
        PackRefused: it is not UTF-8.
    """
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise PackRefused(f"{file.name} is not UTF-8") from error


def seal(folder: Path) -> int:
    """Write [[files]] of a manifest anew; how many files there are.

    Raises:
        PackRefused: pack.toml is missing, is not UTF-8, or has another table below its [[files]].
    """
    file = folder / MANIFEST
    if not file.is_file():
        raise PackRefused(f"{MANIFEST} is missing")
    text = read_text(file)
    first = _FIRST.search(text)
    if first is not None:
        if _OTHER.search(text, first.start()):
            raise PackRefused(f"{MANIFEST}: [[files]] must stand last")
        text = text[: first.start()].rstrip() + "\n"
    file.write_text(text + files(folder), encoding="utf-8")
    return len(_listed(folder))
