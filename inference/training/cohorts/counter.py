"""Random numbers as a pure function of (seed, patient, stream): a counter instead of a state.

Philox4x32-10, over all patients at once. The same patient gets the same numbers alone or among
others, in any order; a stream of its own for each thing that is drawn keeps the draws of one from
moving another's.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (Random123 1.14).
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Words = NDArray[np.uint64]

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
_ROUNDS = 10


def philox(counter: tuple[Words, Words, Words, Words], key: tuple[int, int]) -> tuple[Words, ...]:
    """Four 32-bit words for each counter of four 32-bit words, all held in 64 bits."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        p0, p1 = c0 * _M0, c2 * _M1
        c0, c1, c2, c3 = (
            (p1 >> _HALF) ^ c1 ^ np.uint64(k0),
            p1 & _LOW,
            (p0 >> _HALF) ^ c3 ^ np.uint64(k1),
            p0 & _LOW,
        )
        k0, k1 = (k0 + _W0) & 0xFFFFFFFF, (k1 + _W1) & 0xFFFFFFFF
    return c0, c1, c2, c3


def uniforms(seed: int, index: NDArray[np.int64], stream: str, count: int) -> Doubles:
    """(n, count) numbers in (0, 1), 53 bits each, for each patient index."""
    blocks = (count + 1) // 2
    number = np.asarray(index).astype(np.uint64)
    shape = (len(number), blocks)
    counter = (
        np.broadcast_to((number & _LOW)[:, None], shape),
        np.broadcast_to((number >> _HALF)[:, None], shape),
        np.broadcast_to(np.uint64(zlib.crc32(stream.encode())), shape),
        np.broadcast_to(np.arange(blocks, dtype=np.uint64), shape),
    )
    a, b, c, d = philox(counter, (seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF))
    pair = np.stack([_unit(a, b), _unit(c, d)], 2).reshape(len(number), 2 * blocks)
    return pair[:, :count]


def _unit(high: Words, low: Words) -> Doubles:
    # 27 and 26 bits, and half a step, so that neither 0 nor 1 comes out.
    whole = (high >> np.uint64(5)).astype(float) * 2.0**26 + (low >> np.uint64(6)).astype(float)
    made: Doubles = (whole + 0.5) * 2.0**-53
    return made


def normals(seed: int, index: NDArray[np.int64], stream: str, count: int) -> Doubles:
    """(n, count) standard normal numbers (Box and Muller 1958)."""
    pairs = (count + 1) // 2
    u = uniforms(seed, index, stream, 2 * pairs)
    radius, angle = np.sqrt(-2 * np.log(u[:, 0::2])), 2 * np.pi * u[:, 1::2]
    both = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 2)
    return both.reshape(len(u), 2 * pairs)[:, :count]
