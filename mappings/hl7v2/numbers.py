"""Numbers as laboratories write them: plain decimals, comparators and reference ranges.

Source: HL7 v2.5.1 2.A.47 (NM), 2.A.70 (SN), chapter 7.4.2.7 (OBX-7).
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

COMPARATORS = ("<=", ">=", "<", ">")
GLYPHS = {"≤": "<=", "≥": ">=", "\uff1c": "<", "\uff1e": ">", "=<": "<=", "=>": ">="}
_DIGITS = frozenset("0123456789.+-eE")
_LARGEST_EXPONENT = 400
_LONGEST = 100
_BETWEEN = re.compile(r"(-?[\d.]+)\s*(?:[-\u2013\u2014~\u81f3]|to)\s*(-?[\d.]+)")


def decimal(text: str) -> Decimal | None:
    """Exact decimal of plain ASCII digits, or None (no NaN, no underscores, no other scripts)."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return (
        number if _DIGITS.issuperset(text) and abs(number.adjusted()) < _LARGEST_EXPONENT else None
    )


def compared(text: str) -> tuple[str, str]:
    """A comparator and what stands behind it; two empty strings where there is none."""
    sent = text.strip()
    if len(sent) > _LONGEST:
        return "", ""
    for glyph, plain in GLYPHS.items():
        sent = sent.replace(glyph, plain)
    found = next((mark for mark in COMPARATORS if sent.startswith(mark)), "")
    return (found, sent[len(found) :].strip()) if found else ("", "")


def limits(text: str) -> dict[str, str]:
    """`low` and `high` of a reference range, as far as they can be read."""
    comparator, limit = compared(text)
    if comparator:
        side = "high" if comparator[0] == "<" else "low"
        return {side: limit} if decimal(limit) is not None else {}
    ends = _BETWEEN.fullmatch(text.strip()) if len(text) <= _LONGEST else None
    low, high = (decimal(ends[1]), decimal(ends[2])) if ends else (None, None)
    if ends is None or low is None or high is None or low > high:
        return {}
    return {"low": ends[1], "high": ends[2]}
