"""How a person's name is written from its parts; names are shown, never matched."""

from __future__ import annotations

from collections.abc import Iterable


def written(parts: Iterable[str]) -> str:
    """Family name first; Chinese, Japanese and Korean names without a space."""
    found = [part for part in parts if part]
    ideographic = any(character > "\u3000" for part in found for character in part)
    return ("" if ideographic else " ").join(found)
