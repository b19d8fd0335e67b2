"""Packs: folders of data that make one model, verified before a byte of them is used.

What the keys of a manifest mean is in `packs/README.md`; running a pack is in `assess`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from inference import manifest
from inference.errors import PackRefused
from inference.manifest import File, GraphRole, Lexicon, Manifest

SIGNATURE = "pack.sig"
_LARGEST_MANIFEST = 1 << 20
_LARGEST_SIGNATURE = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """A verified pack; its bytes stay as they were when their digests were compared.

    Attributes:
        digest: SHA-256 of pack.toml, which lists the digest of every other file.
        codes: Bare codes whose arrival can change whether, or with what, this pack runs.
        contents: File bytes by path.
        raw: The bytes of pack.toml.
        signature: The bytes of pack.sig, or None; `signing` says whose it is.
    """

    manifest: Manifest
    lexicon: Lexicon
    digest: str
    codes: frozenset[str]
    contents: Mapping[str, bytes] = field(repr=False)
    raw: bytes = field(repr=False)
    signature: bytes | None = field(repr=False)

    def graph(self, role: GraphRole) -> bytes:
        """The verified ONNX bytes of a role."""
        return self.contents[next(g.file for g in self.manifest.graphs if g.role == role)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A folder that is no usable pack, and why; `folder` is its name only."""

    folder: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """Every pack found, and every folder refused."""

    packs: tuple[Pack, ...]
    refusals: tuple[Refusal, ...]


def discover(folders: Iterable[Path]) -> Discovery:
    """Load every pack below the given folders; each child with a pack.toml is meant as one."""
    packs: dict[str, Pack] = {}
    refusals = []
    for folder in folders:
        children = sorted(c for c in folder.iterdir() if c.is_dir()) if folder.is_dir() else []
        for child in children:
            if not (child / manifest.MANIFEST).exists():
                continue
            try:
                pack = load(child)
            except PackRefused as error:
                refusals.append(Refusal(folder=child.name, reason=str(error)))
                continue
            if packs.setdefault(pack.manifest.id, pack) is not pack:
                reason = f"pack refused: id {pack.manifest.id} is taken by another folder"
                refusals.append(Refusal(folder=child.name, reason=reason))
    return Discovery(packs=tuple(packs.values()), refusals=tuple(refusals))


def load(folder: Path) -> Pack:
    """Read and verify one pack folder.

    Every file but pack.toml and its signature is listed there with size and SHA-256; links,
    unlisted files and paths out of the folder are refused. Each file is read once, and what was
    verified is kept.

    Raises:
        PackRefused: what is wrong with which file.
    """
    present = _present(folder)
    if manifest.MANIFEST not in present:
        raise PackRefused(f"{manifest.MANIFEST} is missing")
    raw = _read(folder, manifest.MANIFEST, _LARGEST_MANIFEST)
    parsed = manifest.parse(raw)
    listed = {f.path: f for f in parsed.files}
    if len(listed) != len(parsed.files):
        raise PackRefused("a file is listed twice")
    for path in listed:
        _inside(path)
    for path in sorted({manifest.MANIFEST, SIGNATURE} & set(listed)):
        raise PackRefused(f"{path} cannot be listed in {manifest.MANIFEST}")
    for path in sorted(present - set(listed) - {manifest.MANIFEST, SIGNATURE}):
        raise PackRefused(f"{path} is not listed in {manifest.MANIFEST}")
    contents = {path: _verified(folder, file, present) for path, file in listed.items()}
    if manifest.LEXICON not in contents:
        raise PackRefused(f"{manifest.LEXICON} is missing")
    return Pack(
        manifest=parsed,
        lexicon=manifest.parse_lexicon(contents[manifest.LEXICON]),
        digest=hashlib.sha256(raw).hexdigest(),
        codes=parsed.codes,
        contents=contents,
        raw=raw,
        signature=_read(folder, SIGNATURE, _LARGEST_SIGNATURE) if SIGNATURE in present else None,
    )


def _present(folder: Path) -> set[str]:
    """Relative paths of all regular files; anything else but folders is refused."""
    if folder.is_symlink() or not folder.is_dir():
        raise PackRefused("not a folder of its own")
    found = set()
    for here, folders, files in os.walk(folder, followlinks=False):
        for name in (*folders, *files):
            path = Path(here, name)
            shown = path.relative_to(folder).as_posix()
            if path.is_symlink():
                raise PackRefused(f"{shown} is a link")
            if name in files:
                if not path.is_file():
                    raise PackRefused(f"{shown} is not a regular file")
                found.add(shown)
    return found


def _inside(path: str) -> None:
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or "\\" in path or parts.as_posix() != path:
        raise PackRefused(f"{path} is no plain path inside the folder")


def _verified(folder: Path, file: File, present: set[str]) -> bytes:
    if file.path not in present:
        raise PackRefused(f"{file.path} is listed but missing")
    raw = _read(folder, file.path, file.size)
    if len(raw) != file.size:
        raise PackRefused(f"{file.path} is not of the listed size")
    if hashlib.sha256(raw).hexdigest() != file.sha256:
        raise PackRefused(f"{file.path} does not have the listed SHA-256")
    return raw


def _read(folder: Path, path: str, largest: int) -> bytes:
    """At most one byte more than allowed, so that a swollen file costs nothing."""
    try:
        # O_NOFOLLOW: the file may have become a link after it was listed.
        handle = os.open(folder / path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(handle, "rb") as stream:
            raw = stream.read(largest + 1)
    except OSError as error:
        raise PackRefused(f"{path} cannot be read") from error
    if len(raw) > largest:
        raise PackRefused(f"{path} is larger than listed")
    return raw
