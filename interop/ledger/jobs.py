"""Jobs: claimed under lease and fence, one at a time per (lane, stage), in order of receipt.

The table is the queue. A doorbell only says that there may be work; losing every ring costs the
time until the sweeper looks (`overdue`). Retries, delays and attempts live here, never in Celery.
Source: architecture.md "The flow"; site rules 4, 21, 22; reliability.md 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnClause,
    Connection,
    Engine,
    Integer,
    String,
    and_,
    bindparam,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.sql.expression import Select

from interop.errors import LostLease
from interop.ledger.engine import insert_ignore, reading, writing
from interop.ledger.prepared import Prepared
from interop.tables import Job

LEASE = timedelta(seconds=45)
MOST_ATTEMPTS = 3
_job = Job.__table__  # type: ignore[attr-defined]
_c = _job.c


@dataclass(frozen=True, slots=True)
class Claim:
    """A job held under lease; `fence` must still be the row's when it is finished.

    Attributes:
        attempts: Runs that nobody came back from, with this one if it is a single one.
        fence: Runs ever, with this one.
        prior: A merge's second lane, once it was taken.
    """

    id: int
    stage: str
    lane: str
    refs: Mapping[str, Any]
    attempts: int
    fence: int
    prior: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to be; a second one of the same key is never made."""

    stage: str
    lane: str
    key: str
    refs: Mapping[str, Any]
    not_before: datetime | None = None


# Written into the statement, not bound: SQLite uses a partial index only for words it can read, and
# without it a claim reads every job there ever was.
_READY: ColumnClause[str] = literal_column("'ready'", String)
_LEASED: ColumnClause[str] = literal_column("'leased'", String)
_OPEN = (_READY, _LEASED)


@lru_cache(maxsize=4)
def _claimable(dialect: str) -> Select[Any]:
    """Heads of lanes whose time has come: ready, or leased by somebody who went silent.

    A merge is in two lanes, and must be the head of both; in the second it waits for who is at work
    there already. Built once: it is asked twice for every batch.
    """
    now: Any = bindparam("now")
    query = (
        select(_c.id)
        .where(
            _c.stage == bindparam("stage"),
            _c.state.in_(_OPEN),
            or_(
                and_(_c.state == _READY, _c.not_before <= now),
                and_(_c.state == _LEASED, _c.lease_until < now),
            ),
            ~_open_before("lane", _c.lane),
            ~_open_before("prior", _c.lane),
            or_(
                _c.prior.is_(None),
                ~_open_before("lane", _c.prior, at_work=True) & ~_open_before("prior", _c.prior),
            ),
        )
        .order_by(_c.id)
        .limit(bindparam("most", type_=Integer))
    )
    if dialect == "postgresql":  # several claim at once, and locked rows are skipped
        return query.with_for_update(skip_locked=True)
    # Elsewhere what was found outside the write lock is looked at again inside.
    return query.where(_c.id.in_(bindparam("seen", expanding=True))) if dialect else query


def _open_before(column: str, lane: Any, *, at_work: bool = False) -> Any:
    """Whether another open job has this lane in a column, and came earlier or is worked on."""
    other = _job.alias()
    before = other.c.id < _c.id
    if at_work:
        before = or_(before, and_(other.c.state == _LEASED, other.c.id != _c.id))
    of_lane = [other.c.stage == _c.stage, other.c[column] == lane, other.c.state.in_(_OPEN)]
    if column == "prior":
        of_lane.append(other.c.prior.is_not(None))  # or SQLite does not see its partial index
    # Not EXISTS: PostgreSQL would make a join of it, and before anybody counted the rows of a burst
    # one of all with all (20,000 jobs: 106 s). A subquery of one row is looked up for each job.
    return select(other.c.id).where(*of_lane, before).limit(1).scalar_subquery().is_not(None)


def claim(
    engine: Engine, stage: str, *, now: datetime, limit: int, lease: timedelta = LEASE
) -> list[Claim]:
    """Take up to `limit` jobs of a stage, at most one per lane.

    A job whose lease ran out is taken alone: only a single run counts as an attempt against it
    (site rule 21), and one that brought workers down `MOST_ATTEMPTS` times is quarantined. In a
    batch nobody knows whose fault a crash is.
    """
    asked: dict[str, Any] = {"stage": stage, "now": now, "most": limit}
    with reading(engine) as connection:  # the search must not be done under the write lock
        seen = list(connection.execute(_claimable(""), asked).scalars())
    if not seen:
        return []
    with writing(engine) as connection:
        _QUARANTINE_REPEATERS.changed(connection, {"of": stage, "now": now})
        dialect = connection.dialect.name
        again = asked if dialect == "postgresql" else asked | {"seen": seen}
        ids = list(connection.execute(_claimable(dialect), again).scalars())
        if not ids:
            return []
        expired = connection.execute(_EXPIRED, {"ids": ids}).scalar()
        if expired is not None:
            ids = [expired]
        taken = {"ids": ids, "now": now, "until": now + lease, "more": 1 if len(ids) == 1 else 0}
        rows = connection.execute(_TAKE, taken).all()
    return sorted((Claim(*row) for row in rows), key=lambda c: c.id)


_EXPIRED = (
    select(_c.id).where(_c.id.in_(bindparam("ids", expanding=True)), _c.state == _LEASED).limit(1)
)
_TAKE = (
    update(_job)
    .where(
        _c.id.in_(bindparam("ids", expanding=True)),
        or_(_c.state == _READY, and_(_c.state == _LEASED, _c.lease_until < bindparam("now"))),
    )
    .values(
        state="leased",
        lease_until=bindparam("until"),
        fence=_c.fence + 1,
        attempts=_c.attempts + bindparam("more", type_=Integer),
    )
    .returning(_c.id, _c.stage, _c.lane, _c.refs, _c.attempts, _c.fence, _c.prior)
)
_QUARANTINE_REPEATERS = Prepared(
    update(_job)
    .where(
        _c.stage == bindparam("of"),
        _c.state == _LEASED,
        _c.lease_until < bindparam("now"),
        _c.attempts >= MOST_ATTEMPTS,
    )
    .values(state="parked", reason="worker lost while working on it", finished_at=bindparam("now"))
)


def renew(engine: Engine, claims: Sequence[Claim], *, now: datetime) -> None:
    """Extend the leases of jobs still held; a job lost meanwhile stays lost."""
    with writing(engine) as connection:
        for held in claims:
            connection.execute(
                update(_job)
                .where(_c.id == held.id, _c.fence == held.fence, _c.state == _LEASED)
                .values(lease_until=now + LEASE)
            )


def still_leased(engine: Engine, claims: Sequence[Claim]) -> list[Claim]:
    """Those of a batch that are not finished and not lost: what is left when it failed half way."""
    query = select(_c.id, _c.fence).where(
        _c.id.in_([claim.id for claim in claims]), _c.state == _LEASED
    )
    with reading(engine) as connection:
        left = {tuple(row) for row in connection.execute(query)}
    return [claim for claim in claims if (claim.id, claim.fence) in left]


def finish(connection: Connection, held: Claim, *, now: datetime, reason: str = "") -> None:
    """Mark a job done inside the transaction that writes its result.

    Raises:
        LostLease: The fence moved on; the caller's transaction must not commit.
    """
    _close(connection, held, state="done", reason=reason, finished_at=now)


def park(connection: Connection, held: Claim, *, now: datetime, reason: str) -> None:
    """Set a job aside for a person to see; its lane goes on.

    Raises:
        LostLease: The fence moved on.
    """
    _close(connection, held, state="parked", reason=reason, finished_at=now)


def postpone(connection: Connection, held: Claim, *, until: datetime, reason: str) -> None:
    """Give a job back for later; it keeps its place in its lane.

    Attempts count workers that were lost over a job, so an orderly return sets them to none.

    Raises:
        LostLease: The fence moved on.
    """
    _close(connection, held, state="ready", reason=reason, not_before=until, attempts=0)


def take_both(connection: Connection, held: Claim, prior: str, *, now: datetime) -> None:
    """Give a merge back until it is the head of a second lane as well, that of MRG-1.

    Raises:
        LostLease: The fence moved on.
    """
    values = {"prior": prior, "not_before": now, "attempts": 0}
    _close(connection, held, state="ready", reason="waits for both its lanes", **values)


def _close(connection: Connection, held: Claim, **values: Any) -> None:
    given = {f"new_{name}": value for name, value in values.items()}
    closing = _closing(tuple(values))
    changed = closing.changed(connection, {"held": held.id, "holder": held.fence, **given})
    if changed != 1:
        raise LostLease(f"{held.stage} job {held.id} was taken over")


@lru_cache(maxsize=16)
def _closing(names: tuple[str, ...]) -> Prepared:
    values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in names}
    ours = (_c.id == bindparam("held"), _c.fence == bindparam("holder"), _c.state == _LEASED)
    return Prepared(update(_job).where(*ours).values(lease_until=None, **values))


def add(connection: Connection, jobs: Sequence[tuple[int, NewJob]], *, now: datetime) -> None:
    """Write follow-on jobs in the caller's transaction; an existing key is left alone."""
    if not jobs:
        return
    rows = [_row(job_id, job, now) for job_id, job in jobs]
    connection.execute(insert_ignore(_job, connection.dialect.name), rows)


def _row(job_id: int, job: NewJob, now: datetime) -> dict[str, Any]:
    return {
        "id": job_id,
        "stage": job.stage,
        "lane": job.lane,
        "key": job.key,
        "state": "ready",
        "attempts": 0,
        "fence": 0,
        "not_before": job.not_before or now,
        "created_at": now,
        "reason": "",
        "refs": dict(job.refs),
    }


def bring_forward(connection: Connection, key: str, *, now: datetime) -> bool:
    """Let a waiting job start at once (evidence came before silence did); whether it waited."""
    changed = connection.execute(
        update(_job)
        .where(_c.key == key, _c.state == _READY, _c.not_before > now)
        .values(not_before=now)
    ).rowcount
    return bool(changed)


def delay(connection: Connection, key: str, *, until: datetime) -> bool:
    """Let a waiting job wait longer; whether it was still waiting."""
    changed = connection.execute(
        update(_job)
        .where(_c.key == key, _c.state == _READY, _c.not_before < until)
        .values(not_before=until)
    ).rowcount
    return bool(changed)


def overdue(engine: Engine, *, now: datetime) -> dict[str, int]:
    """Jobs by stage that somebody should be working on: what the sweeper rings for."""
    query = (
        select(_c.stage, func.count())
        .where(
            or_(
                and_(_c.state == _READY, _c.not_before <= now),
                and_(_c.state == _LEASED, _c.lease_until < now),
            )
        )
        .group_by(_c.stage)
    )
    with reading(engine) as connection:
        return {str(stage): int(count) for stage, count in connection.execute(query)}


def counts(engine: Engine) -> dict[tuple[str, str], int]:
    """Jobs by (stage, state), for metrics and `doctor`."""
    query = select(_c.stage, _c.state, func.count()).group_by(_c.stage, _c.state)
    with reading(engine) as connection:
        return {(stage, state): count for stage, state, count in connection.execute(query)}


def parked(engine: Engine) -> list[dict[str, Any]]:
    """Jobs set aside, oldest first."""
    query = select(_c.id, _c.stage, _c.reason, _c.attempts, _c.finished_at, _c.refs)
    with reading(engine) as connection:
        rows = connection.execute(query.where(_c.state == "parked").order_by(_c.id)).mappings()
        return [dict(row) for row in rows]


def unpark(connection: Connection, job_id: int, *, now: datetime) -> bool:
    """Put a parked job back to work with fresh attempts; whether there was one."""
    changed = connection.execute(
        update(_job)
        .where(_c.id == job_id, _c.state == "parked")
        .values(state="ready", attempts=0, not_before=now, reason="", finished_at=None)
    ).rowcount
    return bool(changed)


def insert_one(connection: Connection, job_id: int, job: NewJob, *, now: datetime) -> None:
    """Write one job; its key must be new."""
    connection.execute(insert(_job), _row(job_id, job, now))


def rekey(connection: Connection, old: str, person: str) -> None:
    """Move the open jobs of one person to another's lane."""
    for job_id, _ in held_by(connection, old):
        relane(connection, job_id, old, person)


def held_by(connection: Connection, person: str) -> list[tuple[int, Mapping[str, Any]]]:
    """Number and refs of the open jobs in a person's lane."""
    query = select(_c.id, _c.refs).where(_c.lane == person, _c.state.in_(_OPEN))
    return [(job_id, refs or {}) for job_id, refs in connection.execute(query)]


def relane(connection: Connection, job_id: int, old: str, person: str) -> None:
    """Move a job to another person's lane; one that is worked on finds its epoch raised."""
    query = select(_c.refs).where(_c.id == job_id)
    refs = connection.execute(query).scalar_one() or {}
    moved = {k: person if v == old else v for k, v in refs.items()}
    connection.execute(update(_job).where(_c.id == job_id).values(lane=person, refs=moved))


def drop(connection: Connection, job_id: int, *, now: datetime) -> bool:
    """Close a parked job for good; whether there was one."""
    changed = connection.execute(
        update(_job)
        .where(_c.id == job_id, _c.state == "parked")
        .values(state="dropped", finished_at=now)
    ).rowcount
    return bool(changed)
