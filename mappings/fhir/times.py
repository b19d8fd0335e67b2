"""FHIR date, dateTime and instant as clinical times.

Source: FHIR R4 2.24.0.1 primitive types; site rule 11.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache

from mappings.record import Precision, When
from mappings.zones import local_offset

_SHAPE = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d\d)(?:-(?P<day>\d\d)"
    r"(?:T(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d+))?)?"
    r"(?P<zone>Z|[+-]\d\d:\d\d)?)?)?)?",
    re.ASCII,
)


@lru_cache(maxsize=8192)
def when(text: str, timezone: str) -> When | None:
    """A FHIR time, or None when it is none.

    Args:
        text: As sent.
        timezone: The sender's IANA zone, for servers that leave the zone out; marked as assumed.
    """
    found = _SHAPE.fullmatch(text.strip())
    if found is None:
        return None
    parts = found.groupdict()
    try:
        value = datetime(  # noqa: DTZ001  wall time; its offset stands beside it
            int(parts["year"]),
            int(parts["month"] or 1),
            int(parts["day"] or 1),
            int(parts["hour"] or 0),
            int(parts["minute"] or 0),
            int(parts["second"] or 0),
            int(f"{parts['fraction'] or '0':0<6.6}"),
        )
    except ValueError:
        return None
    precision = _precision(parts)
    if precision in ("year", "month", "day"):
        return When(value, precision)
    zone = parts["zone"]
    if zone is None:
        return When(value, precision, local_offset(value, timezone), assumed_zone=True)
    if zone == "Z":
        return When(value, precision, 0)
    minutes = int(zone[1:3]) * 60 + int(zone[4:6])
    return When(value, precision, minutes if zone[0] == "+" else -minutes)


def _precision(parts: dict[str, str | None]) -> Precision:
    if parts["second"]:
        return "second"
    if parts["hour"]:
        return "minute"
    if parts["day"]:
        return "day"
    return "month" if parts["month"] else "year"
