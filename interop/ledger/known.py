"""What the tables hold under a control id: the answer to give again, or an alarm."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

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
    # "0" follows "/" in ASCII: a range holds every dedup that begins with a key and its slash.
    bounds = tuple(bound for key in keys for bound in (f"{key}/", f"{key}0"))
    cursor.execute(_ranges(dialect, len(keys)), bounds)
    for dedup, row_id, reply in cursor.fetchall():
        found.setdefault(dedup.partition("/")[0], {})[dedup] = (row_id, reply)
    return found


@lru_cache(maxsize=512)
def _ranges(dialect: str, count: int) -> str:
    """One query for the rows of `count` ranges of dedup, each an index range."""
    if dialect == "sqlite":
        pairs = ",".join(["(?,?)"] * count)
        return (
            f"WITH range(low, high) AS (VALUES {pairs}) SELECT dedup, id, reply "  # noqa: S608  marks only
            "FROM range CROSS JOIN inbound ON dedup >= low AND dedup < high"
        )
    pairs = ",".join(["(%s,%s)"] * count)
    return (
        f"WITH range(low, high) AS (VALUES {pairs}) SELECT dedup, id, reply "  # noqa: S608  marks only
        "FROM range JOIN inbound ON dedup >= low AND dedup < high"
    )
