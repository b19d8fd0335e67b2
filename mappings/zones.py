"""Offsets of wall times in IANA zones, for clinical times sent without one (site rule 11)."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return None


def local_offset(value: datetime, timezone: str) -> int | None:
    """Offset of a naive wall time in a zone, minutes; None when there is no such zone."""
    zone = _zone(timezone)
    offset = value.replace(tzinfo=zone).utcoffset() if zone else None
    return None if offset is None else int(offset.total_seconds() // 60)
