"""What is asked of a record: a part that can be read without reading all of it.

A patient of many years has tens of thousands of entries; a pack reads a few codes in a window of
days. Who stores entries gives those that may decide what is asked, and the fold of them says the
same of it as the fold of all (docs/decisions/0012).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from mappings.record import Entry, Kind


@dataclass(frozen=True, slots=True)
class Span:
    """Observations of some codes in some clinical time.

    Attributes:
        codes: Bare codes, as first codings have them.
        since: First moment, aware UTC.
        until: Last moment, aware UTC.
    """

    codes: frozenset[str]
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked of one person's record.

    Attributes:
        as_of: Aware UTC; what reached us later decides nothing.
        spans: Observations.
        kinds: Kinds besides `observation` and `patient`, whole.
        demographics: Names of demographic fields ("birth_date").
    """

    as_of: datetime
    spans: tuple[Span, ...] = ()
    kinds: frozenset[Kind] = frozenset()
    demographics: frozenset[str] = frozenset()

    @property
    def codes(self) -> frozenset[str]:
        """Codes of all its observations."""
        return frozenset().union(*(span.codes for span in self.spans))

    def spans_hold(self, entry: Entry) -> bool:
        """Whether an observation lies in a span, by its first coding and clinical time."""
        if entry.code is None or entry.effective is None:
            return False
        moment = entry.effective.earliest
        return any(
            entry.code.code in span.codes and span.since <= moment <= span.until
            for span in self.spans
        )

    def concerns(self, entries: Iterable[Entry]) -> list[Entry]:
        """Those entries that may decide something of it by what they are, whatever their time."""
        codes, keys = self.codes, {f"patient/{name}" for name in self.demographics}
        return [
            e
            for e in entries
            if e.kind in self.kinds
            or e.key in keys
            or (e.kind == "observation" and e.code is not None and e.code.code in codes)
        ]
