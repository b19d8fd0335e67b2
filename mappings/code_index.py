"""Entries by their codes, so that who asks for one code does not look at every entry."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mappings.record import Entry


class CodeIndex:
    """Places of codes among entries, by the code of any coding; nothing is copied."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries
        self._places: dict[str, list[int]] = defaultdict(list)
        for place, entry in enumerate(entries):
            for code in {c.code for c in (entry.code, *entry.alternates) if c is not None}:
                self._places[code].append(place)

    def of(self, codes: Iterable[str]) -> list[Entry]:
        """Entries of any of these bare codes, in their order."""
        places = {p for code in codes if code in self._places for p in self._places[code]}
        return [self._entries[place] for place in sorted(places)]

    def where(self, fits: Callable[[str], bool]) -> list[Entry]:
        """Entries of any bare code that fits, in their order; each code is asked once."""
        return self.of([code for code in self._places if fits(code)])
