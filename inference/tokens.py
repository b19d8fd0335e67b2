"""Reports as token ids, by the author's own tokenizer file: a text encoder reads words, not lists.

The file is what the `tokenizers` library writes (`tokenizer.json`); Chinese and English are its
author's business. Source: model-rules 26.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.errors import PackRefused

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """One report.

    Attributes:
        ids, mask: (L,) int64; the mask is 1 where a token is, 0 where the report has ended.
        cut: The report has more tokens than the model takes.
    """

    ids: Ids
    mask: Ids
    cut: bool


def encode(file: bytes, text: str, length: int, pad: int) -> Tokens:
    """A text in exactly `length` tokens.

    Raises:
        PackRefused: the file is no tokenizer, or the extra `text` is not installed.
    """
    found = load(file).encode(text)
    ids = found.ids[:length]
    made = np.full(length, pad, np.int64)
    made[: len(ids)] = ids
    mask = (np.arange(length) < len(ids)).astype(np.int64)
    return Tokens(ids=made, mask=mask, cut=len(found.ids) > length)


@lru_cache(maxsize=8)
def load(file: bytes) -> Any:
    """A tokenizer of its file.

    Raises:
        PackRefused: as `encode`.
    """
    try:
        from tokenizers import Tokenizer  # noqa: PLC0415  an extra that few packs need
    except ImportError as error:
        raise PackRefused("it reads tokens: install the extra `text`") from error
    try:
        made = Tokenizer.from_str(file.decode("utf-8"))
    except Exception as error:  # the library raises bare Exception
        raise PackRefused("its tokenizer file is none") from error
    # Length and padding are the manifest's, whatever the file says.
    made.no_truncation()
    made.no_padding()
    return made
