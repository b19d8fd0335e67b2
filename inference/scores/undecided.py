"""What a score answers where it has no value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Undecided:
    """What is known does not decide a score: why."""

    reason: str
