"""Readiness, predictions, what they used, and how they were delivered.

A prediction is written once and never edited; a correction is a further one in its lineage. The
`used_input` index finds the results that an incoming version of a fact overtakes.
Source: architecture.md "Results never outlive their inputs"; writeback.md 2.2 and 3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, bindparam, insert, or_, select, update

from interop.ledger.engine import WRITERS, insert_ignore, upsert
from interop.ledger.prepared import Prepared
from interop.tables import DeliveryRow, PredictionRow, ReadinessRow, UsedInput

_readiness = ReadinessRow.__table__  # type: ignore[attr-defined]
_prediction = PredictionRow.__table__  # type: ignore[attr-defined]
_used = UsedInput.__table__  # type: ignore[attr-defined]
_delivery = DeliveryRow.__table__  # type: ignore[attr-defined]


_STANDING = Prepared(
    select(_readiness).where(
        _readiness.c.person == bindparam("of"), _readiness.c.pack == bindparam("by")
    )
)


def readiness(connection: Connection, person: str, pack: str) -> Any | None:
    """The standing answer for a person and a pack, or None."""
    return _STANDING.first(connection, {"of": person, "by": pack})


_JUDGED = Prepared(
    select(_readiness.c.updated_at).where(
        _readiness.c.person == bindparam("of"), _readiness.c.pack == bindparam("by")
    )
)


def judged_at(connection: Connection, person: str, pack: str) -> datetime | None:
    """When the standing answer for a person and a pack was worked out; None where there is none."""
    found = _JUDGED.first(connection, {"of": person, "by": pack})
    return found.updated_at if found is not None else None


def readiness_of(connection: Connection, person: str) -> list[Any]:
    """The standing answers of every pack for a person."""
    return list(connection.execute(select(_readiness).where(_readiness.c.person == person)))


def put_readiness(
    connection: Connection,
    person: str,
    pack: str,
    *,
    state: str,
    body: Mapping[str, Any],
    trigger: str | None,
    triggered_at: datetime | None,
    now: datetime,
) -> None:
    """Replace the standing answer."""
    row = {
        "person": person,
        "pack": pack,
        "state": state,
        "body": dict(body),
        "trigger": trigger,
        "triggered_at": triggered_at,
        "updated_at": now,
    }
    connection.execute(upsert(_readiness, connection.dialect.name), [row])


def reopen(connection: Connection, person: str, pack: str, trigger: str, *, now: datetime) -> None:
    """Put a trigger back that opened an assessment which could not run after all."""
    c = _readiness.c
    connection.execute(
        update(_readiness)
        .where(c.person == person, c.pack == pack, c.trigger.is_(None))
        .values(trigger=trigger, triggered_at=now)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPrediction:
    """A locked prediction and the digests of what it used (key → value digest, entry id)."""

    id: int
    person: str
    pack: str
    pack_version: str
    pack_digest: str
    question: str
    instance_key: str
    series_key: str
    lineage: str
    revision: int
    supersedes: int | None
    why: str
    as_of: datetime
    body: Mapping[str, Any]
    used: Mapping[str, tuple[str, int]]


def add_prediction(
    connection: Connection, made: NewPrediction, *, head: str, now: datetime
) -> str | None:
    """Write a prediction and its index; the new chain head, or None when the key is known.

    Args:
        connection: The transaction that also finishes the job.
        made: The prediction.
        head: Hash of the previous link of this writer's chain (site rule 23).
        now: Aware UTC.
    """
    known = connection.execute(
        select(_prediction.c.id).where(_prediction.c.instance_key == made.instance_key)
    ).first()
    if known is not None:
        return None
    body = dict(made.body)
    content = orjson.dumps([head, made.instance_key, body], option=orjson.OPT_SORT_KEYS)
    digest = hashlib.sha256(content).hexdigest()
    connection.execute(
        insert(_prediction),
        {
            "id": made.id,
            "person": made.person,
            "pack": made.pack,
            "pack_version": made.pack_version,
            "pack_digest": made.pack_digest,
            "question": made.question,
            "instance_key": made.instance_key,
            "series_key": made.series_key,
            "lineage": made.lineage,
            "revision": made.revision,
            "supersedes": made.supersedes,
            "why": made.why,
            "as_of": made.as_of,
            "created_at": now,
            "state": "current",
            "body": body,
            "previous_hash": head,
            "hash": digest,
        },
    )
    if made.supersedes is not None:
        set_state(connection, made.supersedes, "superseded")
    rows = [
        {
            "prediction": made.id,
            "key": key,
            "person": made.person,
            "digest": value_digest,
            "entry": entry,
        }
        for key, (value_digest, entry) in made.used.items()
    ]
    if rows:
        connection.execute(insert(_used), rows)
    return digest


def set_state(connection: Connection, prediction: int, state: str) -> None:
    """Mark a prediction superseded or withdrawn."""
    connection.execute(
        update(_prediction).where(_prediction.c.id == prediction).values(state=state)
    )


def prediction(connection: Connection, prediction_id: int) -> Any:
    """One prediction's row."""
    return connection.execute(select(_prediction).where(_prediction.c.id == prediction_id)).one()


def by_instance_key(connection: Connection, key: str) -> Any | None:
    """The prediction of an instance key, or None."""
    return connection.execute(select(_prediction).where(_prediction.c.instance_key == key)).first()


def current(connection: Connection, person: str, pack: str | None = None) -> list[Any]:
    """The predictions that stand for a person, oldest first."""
    c = _prediction.c
    query = select(_prediction).where(c.person == person, c.state == "current").order_by(c.id)
    if pack is not None:
        query = query.where(c.pack == pack)
    return list(connection.execute(query))


# A withdrawn result without a successor waits to be said again when its inputs return.
_OPEN_TO_CORRECTION = ("current", "withdrawn")


_STANDS = Prepared(
    select(_prediction.c.id)
    .where(
        _prediction.c.person == bindparam("of"),
        or_(*(_prediction.c.state == state for state in _OPEN_TO_CORRECTION)),
    )
    .limit(1)
)


def stands(connection: Connection, person: str) -> bool:
    """Whether a person has any prediction that a correction may concern."""
    return _STANDS.first(connection, {"of": person}) is not None


def using(connection: Connection, person: str, keys: Collection[str]) -> list[Any]:
    """Predictions open to correction that used any of these inputs, with what they used."""
    if not keys:
        return []
    p, u = _prediction.c, _used.c
    query = (
        select(p.id, p.pack, p.state, p.body, u.key, u.digest, u.entry)
        .join(_used, u.prediction == p.id)
        .where(u.person == person, u.key.in_(tuple(keys)), p.state.in_(_OPEN_TO_CORRECTION))
        .order_by(p.id)
    )
    return list(connection.execute(query))


def chain_head(connection: Connection, writer: int) -> str:
    """Hash of a writer's newest prediction, or an empty string: where its next link hangs.

    One chain per writer process (site rule 23): two that hang links from one head would fork it.
    """
    c = _prediction.c
    mine = c.id.op("&")(WRITERS - 1) == writer
    query = select(c.hash).where(mine).order_by(c.id.desc()).limit(1)
    return connection.execute(query).scalar() or ""


def add_delivery(connection: Connection, row: Mapping[str, Any]) -> None:
    """Put a result in the outbox of a carrier, once per instance key."""
    connection.execute(insert_ignore(_delivery, connection.dialect.name), [dict(row)])


def delivery(connection: Connection, delivery_id: int) -> Any:
    """One delivery's row."""
    return connection.execute(select(_delivery).where(_delivery.c.id == delivery_id)).one()


def deliveries_of_lineage(connection: Connection, lineage: str, carrier: str) -> list[Any]:
    """Deliveries of one chain of corrections to a carrier, oldest first."""
    c = _delivery.c
    query = select(_delivery).where(c.lineage == lineage, c.carrier == carrier).order_by(c.id)
    return list(connection.execute(query))


def deliveries_of(connection: Connection, person: str) -> list[Any]:
    """Every delivery about a person, oldest first."""
    c = _delivery.c
    return list(connection.execute(select(_delivery).where(c.person == person).order_by(c.id)))


def set_delivery(connection: Connection, delivery_id: int, *, now: datetime, **values: Any) -> None:
    """Change a delivery's state; the outbox row is never removed."""
    connection.execute(
        update(_delivery).where(_delivery.c.id == delivery_id).values(updated_at=now, **values)
    )


def delivery_states(connection: Connection) -> list[tuple[str, str]]:
    """(carrier, state) of every delivery, for metrics."""
    rows = connection.execute(select(_delivery.c.carrier, _delivery.c.state))
    return [(carrier, state) for carrier, state in rows]
