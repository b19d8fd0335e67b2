"""Inbound messages after intake: read back, marked, listed, replayed. Raw bytes never change."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, case, func, insert, or_, select, update

from interop.ledger.engine import reading, writing
from interop.ledger.prepared import Prepared, among, room, spread
from interop.tables import DeliveryRow, Inbound, Job, PredictionRow, Sighting

_inbound = Inbound.__table__  # type: ignore[attr-defined]
_sighting = Sighting.__table__  # type: ignore[attr-defined]
_prediction = PredictionRow.__table__  # type: ignore[attr-defined]
_delivery = DeliveryRow.__table__  # type: ignore[attr-defined]
_job = Job.__table__  # type: ignore[attr-defined]
_c = _inbound.c

SET_ASIDE = ("quarantined", "parked")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a message, for a sender who waits.

    Attributes:
        state: Of the row, or `parked` where its job was parked.
        code: What it was answered; empty until then.
        reply: The answer it got, if it was answered.
    """

    state: str
    code: str
    reply: bytes | None


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer a waiting message gets: stored for its duplicates."""

    message: int
    code: str
    reply: bytes | None


_MARK = (
    update(_inbound)
    .where(_c.id == bindparam("message"))
    .values(state=bindparam("now"), reason=bindparam("why"))
)
_MARKS = {
    False: Prepared(_MARK), True: Prepared(_MARK.values(report=bindparam("told")))
}  # fmt: skip


@lru_cache(maxsize=16)
def _get(count: int) -> Prepared:
    return Prepared(select(_inbound).where(among(_c.id, "message", count)))


def rows(connection: Connection, messages: Collection[int]) -> dict[int, Any]:
    """The rows of messages by id, of those that are there."""
    if not messages:
        return {}
    found = _get(room(len(messages))).rows(connection, spread("message", messages))
    return {row.id: row for row in found}


def find(connection: Connection, message: int) -> Any | None:
    """The row of one message, or None."""
    return rows(connection, [message]).get(message)


def get(connection: Connection, message: int) -> Any:
    """The row of one message that must be there.

    Raises:
        LookupError: There is none.
    """
    row = find(connection, message)
    if row is None:
        raise LookupError(f"no message {message}")
    return row


def mark(
    connection: Connection,
    message: int,
    *,
    state: str,
    reason: str = "",
    report: Sequence[Any] | None = None,
) -> None:
    """Say what became of a message: applied, ignored, echoed, parked or quarantined."""
    values: dict[str, Any] = {"message": message, "now": state, "why": reason}
    if report is not None:
        values["told"] = list(report)
    _MARKS[report is not None].changed(connection, values)


# The job that a door gives a message has the message's id.
_parked = _job.c.state == "parked"
_answered = _c.code != ""
_OUTCOMES = (
    select(
        _c.id,
        case((_parked, "parked"), else_=_c.state),
        _c.code,
        case((_answered, _c.reply)),
    )
    .outerjoin(_job, _job.c.id == _c.id)
    .where(
        _c.id.in_(bindparam("asked", expanding=True)),
        or_(_c.state != "received", _answered, _parked),
    )
)
_ANSWER = (
    update(_inbound)
    .where(_c.id == bindparam("message"), _c.code == "")
    .values(code=bindparam("said"), reply=bindparam("sent"))
)


def outcomes(engine: Engine, asked: Sequence[int]) -> dict[int, Outcome]:
    """What became of those of these messages that were worked, set aside or answered."""
    with reading(engine) as connection:
        rows = connection.execute(_OUTCOMES, {"asked": list(asked)})
        return {row[0]: Outcome(*row[1:]) for row in rows}


def answer(engine: Engine, answers: Sequence[Answered]) -> None:
    """Store what waiting messages are answered; one that was answered keeps its answer."""
    with writing(engine) as connection:
        connection.execute(
            _ANSWER, [{"message": a.message, "said": a.code, "sent": a.reply} for a in answers]
        )


def listing(engine: Engine, *, states: Sequence[str], limit: int = 100) -> list[dict[str, Any]]:
    """Messages in these states, newest first, without their bytes."""
    columns = (_c.id, _c.door, _c.interface, _c.kind, _c.state, _c.reason, _c.received_at, _c.size)
    query = select(*columns).where(_c.state.in_(tuple(states))).order_by(_c.id.desc()).limit(limit)
    with reading(engine) as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def ids(
    engine: Engine,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    states: Sequence[str] = (),
    kind: str | None = None,
) -> list[int]:
    """Ids of a selection, oldest first."""
    query = select(_c.id).order_by(_c.id)
    if since is not None:
        query = query.where(_c.received_at >= since)
    if until is not None:
        query = query.where(_c.received_at < until)
    if states:
        query = query.where(_c.state.in_(tuple(states)))
    if kind is not None:
        query = query.where(_c.kind == kind)
    with reading(engine) as connection:
        return list(connection.execute(query).scalars())


def counts(engine: Engine) -> dict[tuple[str, str], int]:
    """Messages by (door, state)."""
    query = select(_c.door, _c.state, func.count()).group_by(_c.door, _c.state)
    with reading(engine) as connection:
        return {(door, state): count for door, state, count in connection.execute(query)}


def sight(
    connection: Connection, sighting: int, *, message: int, door: str, reference: str, now: datetime
) -> None:
    """Record that one of our own outputs came back (site rule 1)."""
    connection.execute(
        insert(_sighting),
        {
            "id": sighting,
            "message": message,
            "door": door,
            "reference": reference,
            "seen_at": now,
        },
    )


def sightings(connection: Connection) -> list[Any]:
    """Every sighting, oldest first."""
    return list(connection.execute(select(_sighting).order_by(_sighting.c.id)))


def delivered(connection: Connection, persons: Collection[str]) -> set[str]:
    """`Type/id` of everything that was written to an EHR about these persons."""
    if not persons:
        return set()
    c = _delivery.c
    query = select(c.resources).where(c.person.in_(tuple(persons)), c.resources.is_not(None))
    return {
        reference
        for resources in connection.execute(query).scalars()
        for reference, _version in resources.values()
    }


def predicted(connection: Connection, numbers: Collection[int]) -> set[int]:
    """Those of the numbers that are ids of our predictions."""
    if not numbers:
        return set()
    query = select(_prediction.c.id).where(_prediction.c.id.in_(tuple(numbers)))
    return set(connection.execute(query).scalars())
