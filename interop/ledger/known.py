"""What the tables hold under a control id: the answer to give again, or an alarm."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy.engine.interfaces import DBAPICursor

Known = dict[str, dict[str, tuple[int, bytes | None]]]


def known(cursor: DBAPICursor, dialect: str, control_keys: Iterable[str]) -> Known:
    """What is stored under control ids: control key, then dedup, then (id, reply).

    Args:
        cursor: The driver's.
        dialect: `sqlite` or `postgresql`.
        control_keys: As in `Received`.
    """
    found: Known = {}
    keys = list(set(control_keys))
    if not keys:
        return found
    cursor.execute(*asked(dialect, keys))
    for dedup, row_id, reply in cursor.fetchall():
        found.setdefault(dedup.partition("/")[0], {})[dedup] = (row_id, reply)
    return found


def asked(dialect: str, keys: Sequence[str]) -> tuple[str, tuple[Any, ...]]:
    """The statement, and what is bound to it."""
    return _sqlite(keys) if dialect == "sqlite" else _postgresql(keys)


# "0" follows "/" in ASCII: a range holds every dedup that begins with a key and its slash.
def _sqlite(keys: Sequence[str]) -> tuple[str, tuple[Any, ...]]:
    bounds = [bound for key in keys for bound in (key + "/", key + "0")]
    return _ranges(len(keys)), tuple(bounds)


@lru_cache(maxsize=512)
def _ranges(count: int) -> str:
    """One query for `count` ranges of dedup, each an index range."""
    pairs = ",".join(["(?,?)"] * count)
    return (
        f"WITH range(low, high) AS (VALUES {pairs}) SELECT dedup, id, reply "  # noqa: S608  marks only
        "FROM range CROSS JOIN inbound ON dedup >= low AND dedup < high"
    )


_ONE = "SELECT dedup, id, reply FROM inbound WHERE dedup >= %s AND dedup < %s"
# OFFSET 0 keeps the planner from joining the ranges in one pass over the whole table.
_EACH = (
    "SELECT found.* FROM unnest(%s::text[]) AS key CROSS JOIN LATERAL ("
    "SELECT dedup, id, reply FROM inbound WHERE dedup >= key || '/' AND dedup < key || '0' "
    "ORDER BY dedup OFFSET 0) AS found"
)


def _postgresql(keys: Sequence[str]) -> tuple[str, tuple[Any, ...]]:
    if len(keys) == 1:
        return _ONE, (keys[0] + "/", keys[0] + "0")
    return _EACH, (list(keys),)
