"""Statuses of facts: which outranks which, which take a fact back, which are settled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Status = Literal[
    "registered",
    "preliminary",
    "final",
    "corrected",
    "amended",
    "appended",
    "cancelled",
    "entered-in-error",
    "deleted",
    "unknown",
]

# Site rule 9: C over F over P; a retraction of the same moment wins over everything.
STATUS_RANK: Mapping[str, int] = {
    "unknown": 0,
    "registered": 1,
    "preliminary": 2,
    "final": 3,
    "appended": 4,
    "amended": 4,
    "corrected": 4,
    "cancelled": 5,
    "deleted": 5,
    "entered-in-error": 6,
}
RETRACTED = frozenset({"entered-in-error", "cancelled", "deleted"})
# What changes only by a correction; anything else may still change on its own.
SETTLED = frozenset({"final", "corrected", "amended", "appended"})
