"""Blobs: immutable files named by the SHA-256 of their content, durable before they count.

Written to a temporary name, synced, renamed, directory synced (reliability.md F2). A name never
comes from the data (A1); the very same content is stored once.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from interop.disk import sync_folder

_MODE = 0o600


class BlobStore:
    """A folder of blobs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._incoming = root / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True, mode=0o700)

    def path(self, sha256: str) -> Path:
        """Where the blob of a digest lies or would lie."""
        return self.root / sha256[:2] / sha256

    def read(self, sha256: str) -> bytes:
        """Content of a blob.

        Raises:
            OSError: It is not there.
        """
        return self.path(sha256).read_bytes()

    def begin(self) -> Draft:
        """A blob to be, written piece by piece."""
        return Draft(self)

    def sweep(self) -> int:
        """Remove what an interrupted writer left behind; how many. Only at service start."""
        left = list(self._incoming.iterdir())
        for stale in left:
            stale.unlink()
        return len(left)

    def seal(self, drafts: Iterable[Draft]) -> None:
        """Make drafts durable blobs: sync each, rename, then sync each folder once.

        Raises:
            OSError: The disk refused; nothing of these may be acknowledged.
        """
        folders: set[Path] = set()
        for draft in drafts:
            target = self.path(draft.sha256)
            if target.parent not in folders and not target.parent.exists():
                target.parent.mkdir(mode=0o700)
                folders.add(self.root)
            draft.sync()
            if target.exists():
                draft.discard()
                # It may be another request's, renamed but not synced yet: sync its folder too.
            else:
                draft.path.rename(target)
            folders.add(target.parent)
        for folder in folders:
            sync_folder(folder)


class Draft:
    """A blob being written; its digest grows with it."""

    def __init__(self, store: BlobStore) -> None:
        self.path = store.root / "incoming" / os.urandom(16).hex()
        self.size = 0
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
        self._hash = hashlib.sha256()

    def write(self, piece: bytes | memoryview) -> None:
        """Append a piece."""
        self._hash.update(piece)
        self.size += len(piece)
        view = memoryview(piece)
        while view:
            view = view[os.write(self._file, view) :]

    def flush_soon(self) -> None:
        """Ask the kernel to begin writing back, without waiting for it."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)

    @property
    def sha256(self) -> str:
        """Digest of what was written."""
        return self._hash.hexdigest()

    def sync(self) -> None:
        """Flush to the disk and close."""
        if self._file >= 0:
            os.fdatasync(self._file)
            os.close(self._file)
            self._file = -1

    def discard(self) -> None:
        """Throw the draft away."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        """Use as a context to discard on error."""
        return self

    def __exit__(self, kind: object, *_rest: object) -> None:
        """Discard when the block failed."""
        if kind is not None:
            self.discard()
