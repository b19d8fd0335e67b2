"""Header attributes of a data set as plain values; what is absent or malformed is None or empty."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom import Sequence as DicomSequence

from mappings.record import When
from mappings.zones import local_offset

_OFFSET_LENGTH = 5


def text(dataset: Dataset, keyword: str) -> str:
    """A text attribute, stripped; the values of several joined by backslash."""
    found = raw(dataset, keyword)
    if found is None:
        return ""
    if isinstance(found, (list, tuple)) or type(found).__name__ == "MultiValue":
        return "\\".join(str(part).strip() for part in found).replace("\0", "")
    return str(found).strip().replace("\0", "")


def raw(dataset: Dataset, keyword: str) -> Any:
    """An attribute's value, or None where it is absent or its bytes do not fit its VR."""
    try:
        return dataset.get(keyword)
    except Exception:  # noqa: BLE001  third-party parser of untrusted bytes converts on access
        return None


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; none where it is absent or no sequence."""
    found = raw(dataset, keyword)
    return list(found) if isinstance(found, DicomSequence) else []


def numbers(dataset: Dataset, keyword: str, count: int) -> NDArray[np.float64] | None:
    """A numeric attribute of `count` values, or None."""
    found = raw(dataset, keyword)
    values: Sequence[Any] = found if count > 1 and found is not None else [found]
    try:
        made = np.array([float(v) for v in values], dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return made if made.shape == (count,) and bool(np.isfinite(made).all()) else None


def number(dataset: Dataset, keyword: str) -> float | None:
    """A single number, or None."""
    found = numbers(dataset, keyword, 1)
    return None if found is None else float(found[0])


def seconds(clock: str) -> float | None:
    """A TM as seconds after midnight, or None."""
    digits, _, fraction = clock.replace(":", "").partition(".")
    if not digits.isdecimal() or not digits.isascii() or len(digits) not in (2, 4, 6):
        return None
    hour, minute, second = (int(digits.ljust(6, "0")[i : i + 2]) for i in (0, 2, 4))
    part = float(f"0.{fraction}") if fraction.isdecimal() and fraction.isascii() else 0.0
    return hour * 3600 + minute * 60 + second + part


def moment(dataset: Dataset, date: str, clock: str, timezone: str) -> When | None:
    """A DA and a TM attribute as a clinical time, by (0008,0201) or the sender's zone.

    Args:
        dataset: Header.
        date: Keyword of the DA attribute.
        clock: Keyword of the TM attribute; without it the time is a day.
        timezone: The sender's IANA zone, where the data set names no offset.
    """
    day = text(dataset, date).replace(".", "")
    try:
        value = datetime.strptime(day, "%Y%m%d")  # noqa: DTZ007  wall time; the offset stands beside
    except ValueError:
        return None
    after = seconds(text(dataset, clock))
    if after is None or after >= 86_400:  # noqa: PLR2004  seconds of a day
        return When(value, "day")
    whole, part = divmod(after, 60)
    value = value.replace(
        hour=int(whole) // 60,
        minute=int(whole) % 60,
        second=int(part),
        microsecond=round(part % 1 * 1e6) % 1_000_000,
    )
    offset = _offset(text(dataset, "TimezoneOffsetFromUTC"))
    if offset is not None:
        return When(value, "second", offset)
    return When(value, "second", local_offset(value, timezone), assumed_zone=True)


def _offset(sent: str) -> int | None:
    if len(sent) != _OFFSET_LENGTH or sent[0] not in "+-" or not sent[1:].isdecimal():
        return None
    minutes = int(sent[1:3]) * 60 + int(sent[3:])
    return minutes if sent[0] == "+" else -minutes
