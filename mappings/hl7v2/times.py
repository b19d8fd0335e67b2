"""DT, TM, DTM and TS as clinical times that keep their precision and offset.

Source: HL7 v2.5.1 2.A.21 (DT), 2.A.22 (DTM), 2.A.75 (TM), 2.A.77 (TS); site rule 11.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache

from mappings.record import Precision, When
from mappings.zones import local_offset

# Digits of a DTM to its precision. Hours alone count as a minute: the record knows no hour, and
# FHIR none either.
_PRECISION: dict[int, Precision] = {
    4: "year",
    6: "month",
    8: "day",
    10: "minute",
    12: "minute",
    14: "second",
}
_DATE_DIGITS = 8
# Milliseconds and the like without their point, as programs print them.
_RUN_ON = range(15, 19)
_OFFSET_DIGITS = 4
_MOST_OFFSET = 14 * 60
_PADDING = "00000101000000"
# Four digits outside these are an hour and minute; a patient or a result of another time is none.
_FIRST_YEAR, _LAST_YEAR = 1850, 2199
_ISO_8601 = re.compile(
    r"(\d{4})([-/]?)(\d\d)\2(\d\d)"
    r"(?:[T ](\d\d):?(\d\d)(?::?(\d\d)(\.\d+)?)?([+-]\d\d:?\d\d|Z)?)?\Z",
    re.ASCII,
)
# TS.2, the degree of precision of versions before 2.6: digits that it leaves.
_DEGREES = {"Y": 4, "L": 6, "D": 8, "H": 10, "M": 12, "S": 14}


@lru_cache(maxsize=8192)
def when(text: str, message_offset: int | None, timezone: str) -> When | None:
    """A DTM, or None when it is no time (`00000000`, hour 24, HHMM alone, prose).

    Args:
        text: As sent; ISO 8601 with its hyphens and colons is understood too.
        message_offset: Offset of MSH-7 in minutes, for times sent without one.
        timezone: The sender's IANA zone, for messages without any; marked as assumed.
    """
    value, _, degree = text.partition("^")
    digits, offset, fraction = _parts(value.strip())
    if degree in _DEGREES and len(digits) > _DEGREES[degree]:
        digits, fraction = digits[: _DEGREES[degree]], ""
    if len(digits) in _RUN_ON and not fraction:
        digits, fraction = digits[:14], digits[14:]
    precision = _PRECISION.get(len(digits))
    if precision is None or not digits.isdecimal() or not digits.isascii():
        return None
    moment = _wall(digits + _PADDING[len(digits) :], fraction)
    if moment is None or len(digits) <= _DATE_DIGITS:
        return When(moment, precision) if moment else None
    if offset is None:
        offset = message_offset
    if offset is not None:
        return When(moment, precision, offset)
    return When(moment, precision, local_offset(moment, timezone), assumed_zone=True)


def _wall(full: str, fraction: str) -> datetime | None:
    """Wall time of fourteen digits, or None where there is no such moment."""
    if not _FIRST_YEAR <= int(full[:4]) <= _LAST_YEAR:
        return None
    try:
        return datetime(  # noqa: DTZ001  wall time; its offset stands beside it
            int(full[:4]),
            int(full[4:6]),
            int(full[6:8]),
            int(full[8:10]),
            int(full[10:12]),
            int(full[12:14]),
            int(f"{fraction:0<6.6}") if fraction else 0,
        )
    except ValueError:
        return None


def offset_of(text: str) -> int | None:
    """The offset of a DTM in minutes, or None when it carries none."""
    return _parts(text.strip())[1]


def _parts(text: str) -> tuple[str, int | None, str]:
    """Digits, offset in minutes and fraction of a DTM."""
    if not text[:14].isdecimal() and (found := _ISO_8601.match(text)) is not None:
        year, _, *rest, fraction, zone = found.groups(default="")
        text = "".join((year, *rest, fraction, "+0000" if zone == "Z" else zone))
    offset: int | None = None
    if text.endswith("Z"):
        text = text.removesuffix("Z") + "+0000"
    for sign in "+-":
        head, mark, tail = text.rpartition(sign)
        if mark:
            zone = tail.replace(":", "")
            if len(zone) != _OFFSET_DIGITS or not zone.isdecimal():
                return "", None, ""
            minutes = int(zone[:2]) * 60 + int(zone[2:])
            if minutes > _MOST_OFFSET:
                return "", None, ""
            offset, text = (minutes if sign == "+" else -minutes), head
            break
    digits, dot, fraction = text.partition(".")
    if dot and not fraction.isdecimal():
        return "", None, ""
    return digits, offset, fraction


def clock(text: str) -> str | None:
    """A TM as HH:MM[:SS[.f]], its offset dropped, or None."""
    digits, _, fraction = _parts(text.strip())
    if len(digits) not in (4, 6) or not digits.isdecimal():
        return None
    parts = [digits[i : i + 2] for i in range(0, len(digits), 2)]
    if parts[0] > "23" or any(p > "59" for p in parts[1:]):
        return None
    return ":".join(parts) + (f".{fraction}" if fraction else "")
