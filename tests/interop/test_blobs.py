"""Blobs: named by content, stored once, durable when sealed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from interop.blobs import BlobStore, Draft


def drafted(store: BlobStore, *pieces: bytes) -> Draft:
    """A draft of these pieces."""
    draft = store.begin()
    for piece in pieces:
        draft.write(piece)
    return draft


def test_a_blob_is_named_by_its_content(tmp_path: Path):
    """Name and content agree, piece by piece written."""
    store = BlobStore(tmp_path)
    draft = drafted(store, b"one", b"two")
    store.seal([draft])
    assert hashlib.sha256(b"onetwo").hexdigest() == draft.sha256
    assert b"onetwo" == store.read(draft.sha256)


def test_the_same_content_is_stored_once(tmp_path: Path):
    """Sealing again changes nothing and leaves no draft behind."""
    store = BlobStore(tmp_path)
    first, second = drafted(store, b"same"), drafted(store, b"same")
    store.seal([first, second])
    store.seal([drafted(store, b"same")])
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert [store.path(first.sha256)] == files


def test_blobs_are_for_their_owner_only(tmp_path: Path):
    """Patients' images are not world-readable."""
    store = BlobStore(tmp_path)
    draft = drafted(store, b"x")
    store.seal([draft])
    assert 0o600 == store.path(draft.sha256).stat().st_mode & 0o777


def test_an_interrupted_draft_is_swept(tmp_path: Path):
    """What a killed writer left is removed at the next start."""
    store = BlobStore(tmp_path)
    draft = drafted(store, b"half")
    draft.sync()
    assert (1, 0) == (BlobStore(tmp_path).sweep(), BlobStore(tmp_path).sweep())


def test_a_failed_block_discards_its_draft(tmp_path: Path):
    """As a context, a draft does not outlive an error."""
    store = BlobStore(tmp_path)
    with pytest.raises(ZeroDivisionError), store.begin() as draft:
        draft.write(b"x" * (1 // 0))
    assert 0 == store.sweep()


def test_an_absent_blob_is_an_error(tmp_path: Path):
    """Nothing is made up."""
    with pytest.raises(OSError):
        BlobStore(tmp_path).read("0" * 64)
