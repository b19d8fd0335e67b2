"""Stored instances and the arrival of studies. Source: site rules 7 and 20; interop.md 6.C."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

from interop.ledger.engine import insert_ignore
from interop.tables import InstanceRow, StudyRow
from mappings.images import InstanceRef

_instance = InstanceRow.__table__  # type: ignore[attr-defined]
_study = StudyRow.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewInstance:
    """One SOP instance whose blob is durable already."""

    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    modality: str
    transfer_syntax_uid: str
    authority: str
    patient: str
    sha256: str
    size: int


# Columns of an instance row in the order in which intake writes them.
INSTANCE_COLUMNS = (
    "sop_instance_uid",
    "sha256",
    "study_instance_uid",
    "series_instance_uid",
    "sop_class_uid",
    "modality",
    "transfer_syntax_uid",
    "authority",
    "patient",
    "size",
    "pixel_sha256",
    "path_name",
    "state",
    "origin",
    "received_at",
    "message",
)


def of_message(connection: Connection, message: int) -> list[Any]:
    """Instance rows a STOW request brought."""
    query = select(_instance).where(_instance.c.message == message)
    return list(connection.execute(query.order_by(_instance.c.sop_instance_uid)))


def of_study(connection: Connection, study_instance_uid: str) -> list[Any]:
    """Every stored version of every instance of a study, oldest first."""
    c = _instance.c
    query = select(_instance).where(c.study_instance_uid == study_instance_uid)
    return list(connection.execute(query.order_by(c.received_at, c.sop_instance_uid)))


def series_counts(connection: Connection, study_instance_uid: str) -> dict[str, int]:
    """Distinct instances per series of a study, of those that were read and accepted."""
    c = _instance.c
    query = (
        select(c.series_instance_uid, func.count(func.distinct(c.sop_instance_uid)))
        .where(c.study_instance_uid == study_instance_uid, c.state == "current")
        .group_by(c.series_instance_uid)
    )
    return {str(series): int(count) for series, count in connection.execute(query)}


def mark(
    connection: Connection, sop_instance_uid: str, sha256: str, *, state: str, pixel_sha256: str
) -> None:
    """Say what a version of an instance is: current, replaced, parked or unreadable."""
    connection.execute(
        update(_instance)
        .where(_instance.c.sop_instance_uid == sop_instance_uid, _instance.c.sha256 == sha256)
        .values(state=state, pixel_sha256=pixel_sha256)
    )


def unjudged(connection: Connection, study_instance_uid: str) -> bool:
    """Whether a study has instances that ingest has not read yet."""
    c = _instance.c
    query = select(c.sha256).where(c.study_instance_uid == study_instance_uid, c.state == "arrived")
    return connection.execute(query.limit(1)).first() is not None


def study(connection: Connection, study_instance_uid: str, *, lock: bool = False) -> Any | None:
    """The study's row, or None; locked, nobody else changes it before this transaction ends."""
    query = select(_study).where(_study.c.study_instance_uid == study_instance_uid)
    if lock and connection.dialect.name == "postgresql":
        query = query.with_for_update()
    return connection.execute(query).first()


# Asked for every message: built once, since building costs more than the database's answer.
_STUDIES = (
    select(_study).where(_study.c.person == bindparam("of")).order_by(_study.c.last_instance_at)
)


def studies_of(connection: Connection, person: str) -> list[Any]:
    """Studies of a person, oldest first."""
    return list(connection.execute(_STUDIES, {"of": person}))


def put_study(
    connection: Connection, study_instance_uid: str, values: Mapping[str, Any], *, now: datetime
) -> None:
    """Create or change a study's row."""
    fresh = {
        "study_instance_uid": study_instance_uid,
        "authority": "",
        "patient": "",
        "modality": "",
        "state": "arriving",
        "origin": "live",
        "evidence": "",
        "last_instance_at": now,
        "revision": 0,
    }
    connection.execute(insert_ignore(_study, connection.dialect.name), [fresh])
    connection.execute(
        update(_study).where(_study.c.study_instance_uid == study_instance_uid).values(**values)
    )


def refs(rows: Sequence[Any]) -> tuple[InstanceRef, ...]:
    """Current instance rows as the values the other rooms know."""
    return tuple(
        InstanceRef(
            study_instance_uid=row.study_instance_uid,
            series_instance_uid=row.series_instance_uid,
            sop_instance_uid=row.sop_instance_uid,
            sop_class_uid=row.sop_class_uid,
            sha256=row.sha256,
            pixel_sha256=row.pixel_sha256,
        )
        for row in rows
        if row.state == "current"
    )
