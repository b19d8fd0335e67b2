"""What encoders gave for images, kept for the next assessment of the same images.

A corrected laboratory value runs a pack again, and must not pay for a slide of 4,000 tiles. Kept in
memory only, for the life of the process, by what was read, how, and by which graph.
Source: model-rules 14.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from inference.session import Session

Outputs = Mapping[str, NDArray[np.float32]]
# 20 slides of 4,096 tiles with 384 numbers each.
_MOST_BYTES = 128 * 1024 * 1024


class Embeddings:
    """Outputs by key; what was not asked for longest makes room."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes, self._bytes = most_bytes, 0
        self._kept: OrderedDict[str, Outputs] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> Outputs | None:
        """What was kept under a key."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: str, outputs: Outputs) -> None:
        """Keep outputs, unless they are larger than everything that may be kept."""
        # A row of a batch would keep all of the batch alive.
        outputs = {n: f if f.base is None else f.copy() for n, f in outputs.items()}
        size = _size(outputs)
        if size > self._most_bytes:
            return
        with self._lock:
            self._bytes += size - _size(self._kept.pop(key, {}))
            self._kept[key] = outputs
            while self._bytes > self._most_bytes:
                self._bytes -= _size(self._kept.popitem(last=False)[1])


def _size(outputs: Outputs) -> int:
    return sum(figures.nbytes for figures in outputs.values())


def digest(declared: object, read: Iterable[str]) -> str:
    """Of images: how they are preprocessed, and digests of what was read, in order."""
    return hashlib.sha256("\n".join([repr(declared), *read]).encode()).hexdigest()


def key(session: Session, feeds: Mapping[str, Sequence[str]], images: str) -> str:
    """Of what a session gives for images of that digest, fed so (`Graph.feeds`)."""
    return f"{session.digest}/{session.providers[0]}/{sorted(feeds.items())}/{images}"


kept = Embeddings()
