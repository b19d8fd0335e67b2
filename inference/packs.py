"""Packs: folders of data that make one model, verified before a byte of them is used.

What the keys of a manifest mean is in `packs/README.md`; running a pack is in `assess`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from io import BufferedReader
from pathlib import Path, PurePosixPath

from inference import fitting, manifest, manifest_reading, tokens
from inference.errors import PackRefused, SessionRefused
from inference.manifest import SIGNATURE, File, Lexicon, Manifest, Precision
from inference.session import Onnx

_LARGEST_MANIFEST = 1 << 20
_LARGEST_SIGNATURE = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """A verified pack; its bytes stay as they were when their digests were compared.

    Attributes:
        digest: SHA-256 of pack.toml, which lists the digest of every other file.
        lexicon: How its report is read, or None where it reads none.
        codes: Bare codes whose arrival can change whether, or with what, this pack runs.
        contents: File bytes by path, but for weights outside of their graph: these are read and
            verified again when a session is made, and may be of gigabytes.
        raw: The bytes of pack.toml.
        signature: The bytes of pack.sig, or None; `signing` says whose it is.
        recalibration: Version and digest of the site's own, where it has one (`recalibration`).
    """

    manifest: Manifest
    lexicon: Lexicon | None
    digest: str
    codes: frozenset[str]
    folder: Path = field(repr=False)
    contents: Mapping[str, bytes] = field(repr=False)
    raw: bytes = field(repr=False)
    signature: bytes | None = field(repr=False)
    recalibration: str = ""

    def graph(self, role: str, precision: Precision | None = None) -> Onnx:
        """The verified graph of a role; in a precision where the pack has such a variant of it."""
        graph = next(g for g in self.manifest.graphs if g.role == role)
        chosen = (v for v in self.manifest.variants if (v.role, v.precision) == (role, precision))
        variant = next(chosen, None)
        if variant is not None:
            graph = replace(graph, file=variant.file, external=())
        listed = {f.path: f for f in self.manifest.files}
        parts = [listed[path] for path in (graph.file, *graph.external)]
        return Onnx(
            digest="/".join(part.sha256 for part in parts),
            raw=self.contents[graph.file],
            external={part.path: partial(_verified, self.folder, part) for part in parts[1:]},
        )


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
    verified is kept. Graphs are loaded once, and must take and give what the manifest says; those
    with weights of their own files are only when a session is wanted.

    Raises:
        PackRefused: what is wrong with which file.
    """
    pack = verified(folder)
    if any(graph.external for graph in pack.manifest.graphs):
        return pack
    if pack.manifest.tokens is not None:
        tokens.load(pack.contents[pack.manifest.tokens.file])
    try:
        for _role in fitting.check(pack.manifest, pack.lexicon, pack.graph):
            pass
    except SessionRefused as error:
        raise PackRefused(str(error)) from error
    return pack


def verified(folder: Path) -> Pack:
    """One pack folder, of which nothing was loaded into ONNX Runtime yet.

    Raises:
        PackRefused: what is wrong with which file.
    """
    present = _present(folder)
    if manifest.MANIFEST not in present:
        raise PackRefused(f"{manifest.MANIFEST} is missing")
    raw = _read(folder, manifest.MANIFEST, _LARGEST_MANIFEST)
    parsed = manifest_reading.parse(raw)
    listed = _listed(parsed, present)
    outside = {path for graph in parsed.graphs for path in graph.external}
    contents = {}
    for path, file in listed.items():
        if path not in present:
            raise PackRefused(f"{path} is listed but missing")
        if path in outside:
            _same(folder, file)
        else:
            contents[path] = _verified(folder, file)
    words = contents.get(manifest.LEXICON)
    return Pack(
        manifest=parsed,
        lexicon=manifest_reading.parse_lexicon(words) if words is not None else None,
        digest=hashlib.sha256(raw).hexdigest(),
        codes=parsed.codes,
        folder=folder,
        contents=contents,
        raw=raw,
        signature=_read(folder, SIGNATURE, _LARGEST_SIGNATURE) if SIGNATURE in present else None,
    )


def _listed(parsed: Manifest, present: set[str]) -> dict[str, File]:
    """The files of the manifest by path; the list and the folder must agree."""
    listed = {f.path: f for f in parsed.files}
    if len(listed) != len(parsed.files):
        raise PackRefused("a file is listed twice")
    for path in listed:
        _inside(path)
    for path in sorted({manifest.MANIFEST, SIGNATURE} & set(listed)):
        raise PackRefused(f"{path} cannot be listed in {manifest.MANIFEST}")
    for path in sorted(present - set(listed) - {manifest.MANIFEST, SIGNATURE}):
        raise PackRefused(f"{path} is not listed in {manifest.MANIFEST}")
    return listed


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


def _verified(folder: Path, file: File) -> bytes:
    raw = _read(folder, file.path, file.size)
    if len(raw) != file.size:
        raise PackRefused(f"{file.path} is not of the listed size")
    if hashlib.sha256(raw).hexdigest() != file.sha256:
        raise PackRefused(f"{file.path} does not have the listed SHA-256")
    return raw


def _same(folder: Path, file: File) -> None:
    """Compare a large file with its digest without holding it."""
    try:
        with _opened(folder, file.path) as stream:
            size = os.fstat(stream.fileno()).st_size
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise PackRefused(f"{file.path} cannot be read") from error
    if size != file.size:
        raise PackRefused(f"{file.path} is not of the listed size")
    if found != file.sha256:
        raise PackRefused(f"{file.path} does not have the listed SHA-256")


def _opened(folder: Path, path: str) -> BufferedReader:
    # O_NOFOLLOW: the file may have become a link after it was listed.
    return os.fdopen(os.open(folder / path, os.O_RDONLY | os.O_NOFOLLOW), "rb")


def _read(folder: Path, path: str, largest: int) -> bytes:
    """At most one byte more than allowed, so that a swollen file costs nothing."""
    try:
        with _opened(folder, path) as stream:
            raw = stream.read(largest + 1)
    except OSError as error:
        raise PackRefused(f"{path} cannot be read") from error
    if len(raw) > largest:
        raise PackRefused(f"{path} is larger than listed, or than it may be")
    return raw
