"""DT, TM, DTM and TS as clinical times that keep their precision and offset.

Source: HL7 v2.5.1 2.A.21 (DT), 2.A.22 (DTM), 2.A.75 (TM), 2.A.77 (TS); site rule 11.
"""

from __future__ import annotations

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
_OFFSET_DIGITS = 4
_MOST_OFFSET = 14 * 60
_PADDING = "00000101000000"


@lru_cache(maxsize=8192)
def when(text: str, message_offset: int | None, timezone: str) -> When | None:
    """A DTM, or None when it is no time (`00000000`, hour 24, HHMM alone, prose).

    Args:
        text: As sent; a TS's second component, its precision, is ignored.
        message_offset: Offset of MSH-7 in minutes, for times sent without one.
        timezone: The sender's IANA zone, for messages without any; marked as assumed.
    """
    digits, offset, fraction = _parts(text.strip())
    precision = _PRECISION.get(len(digits))
    if precision is None or not digits.isdecimal() or not digits.isascii():
        return None
    full = digits + _PADDING[len(digits) :]
    try:
        value = datetime(  # noqa: DTZ001  wall time; its offset stands beside it
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
    if len(digits) <= _DATE_DIGITS:
        return When(value, precision)
    if offset is not None:
        return When(value, precision, offset)
    if message_offset is not None:
        return When(value, precision, message_offset)
    return When(value, precision, local_offset(value, timezone), assumed_zone=True)


def offset_of(text: str) -> int | None:
    """The offset of a DTM in minutes, or None when it carries none."""
    return _parts(text.strip())[1]


def _parts(text: str) -> tuple[str, int | None, str]:
    """Digits, offset in minutes and fraction of a DTM."""
    offset: int | None = None
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
