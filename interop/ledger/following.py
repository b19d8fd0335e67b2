"""What is kept under a person's number, when identifiers come to name somebody else.

Studies know the identifier they came under; a prediction belongs to whom its study does, its
deliveries go along; a trigger and a waiting job to whom the message or study behind them names.
Readiness is judged anew by whoever asked for this. Source: docs/decisions/0010.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, delete, or_, select, update
from sqlmodel import SQLModel

from interop.ledger import entries, jobs
from interop.ledger.engine import insert_ignore
from interop.tables import DeliveryRow, EntryRow, PredictionRow, ReadinessRow, StudyRow, UsedInput
from mappings import persons
from mappings.record import Identifier

_study = StudyRow.__table__  # type: ignore[attr-defined]
_prediction = PredictionRow.__table__  # type: ignore[attr-defined]
_used = UsedInput.__table__  # type: ignore[attr-defined]
_delivery = DeliveryRow.__table__  # type: ignore[attr-defined]
_readiness = ReadinessRow.__table__  # type: ignore[attr-defined]
_entry = EntryRow.__table__  # type: ignore[attr-defined]

Names = Mapping[Identifier, str]
_EVENT = re.compile(r"(message|study)/([0-9.]+)")


def follow(connection: Connection, old: str, now: Names) -> None:
    """Move what is kept under a number to whom its identifiers name now.

    Args:
        connection: A transaction that holds the persons' rows.
        old: The number.
        now: Person by each identifier that had the number.
    """
    heirs = set(now.values())
    if len(heirs) == 1:
        _all(connection, old, heirs.pop())
    else:
        _each(connection, old, now)


def _all(connection: Connection, old: str, person: str) -> None:
    for name in ("study", "prediction", "used_input", "delivery"):
        table = SQLModel.metadata.tables[name]
        connection.execute(update(table).where(table.c.person == old).values(person=person))
    for row in _triggers(connection, old):
        _move_trigger(connection, row, person)
    connection.execute(delete(_readiness).where(_readiness.c.person == old))
    jobs.rekey(connection, old, person)


def _each(connection: Connection, old: str, now: Names) -> None:
    """Row by row; what cannot be told stays with the number."""
    s = _study.c
    for uid, authority, patient in connection.execute(
        select(s.study_instance_uid, s.authority, s.patient).where(s.person == old)
    ).all():
        person = now.get(Identifier(patient, authority), old)
        connection.execute(update(_study).where(s.study_instance_uid == uid).values(person=person))
    p = _prediction.c
    for number, body in connection.execute(select(p.id, p.body).where(p.person == old)).all():
        person = now.get(about(connection, number, body), old)
        connection.execute(update(_prediction).where(p.id == number).values(person=person))
        for table in (_used, _delivery):
            rests = table.c.prediction == number
            connection.execute(update(table).where(rests).values(person=person))
    for row in _triggers(connection, old):
        person = _of_event(connection, row.trigger, now) or old
        if person != old:
            _move_trigger(connection, row, person)
            held = (_readiness.c.person == old) & (_readiness.c.pack == row.pack)
            connection.execute(delete(_readiness).where(held))
    for job_id, refs in jobs.held_by(connection, old):
        jobs.relane(connection, job_id, old, _of_job(connection, refs, now) or old)


def parted(connection: Connection, prediction: Any) -> bool:
    """Whether a prediction was made of a record that held what is another patient's by now."""
    who = about(connection, prediction.id, prediction.body)
    said = entries.statements(connection, [who])
    gone = persons.persons(said, as_of=prediction.as_of).of(who) - persons.persons(said).of(who)
    if gone and entries.any_filed(connection, gone):
        return True
    if all(entry.kind != "move" for entry in said):
        return False
    theirs = {entry.seq for entry in entries.of_identifier(connection, who)}
    query = select(_used.c.entry).where(_used.c.prediction == prediction.id, _used.c.entry > 0)
    return not theirs.issuperset(connection.execute(query).scalars())


def about(connection: Connection, number: int, body: Any) -> Identifier:
    """Whom a prediction is about: of whom its study is, else of whom most that it used."""
    for instance in body.get("prediction", {}).get("instances", ()):
        found = _of_study(connection, instance["study_instance_uid"])
        if found is not None:
            return found
    query = (
        select(_entry.c.authority, _entry.c.patient)
        .join(_used, _used.c.entry == _entry.c.id)
        .where(_used.c.prediction == number)
    )
    votes = Counter((authority, patient) for authority, patient in connection.execute(query))
    authority, patient = min(votes, key=lambda name: (-votes[name], name), default=("", ""))
    return Identifier(patient, authority)


def _of_study(connection: Connection, uid: str) -> Identifier | None:
    s = _study.c
    row = connection.execute(
        select(s.authority, s.patient).where(s.study_instance_uid == uid)
    ).first()
    return None if row is None else Identifier(row.patient, row.authority)


def _of_event(connection: Connection, event: str, now: Names) -> str | None:
    """Person of the message or study that an event names; None where it names none of these."""
    found = _EVENT.search(event)
    if found is None:
        return None
    if found[1] == "study":
        name = _of_study(connection, found[2])
        return now.get(name) if name is not None else None
    query = select(_entry.c.authority, _entry.c.patient).where(_entry.c.message == int(found[2]))
    row = connection.execute(query.limit(1)).first()
    return None if row is None else now.get(Identifier(row.patient, row.authority))


def _of_job(connection: Connection, refs: Mapping[str, Any], now: Names) -> str | None:
    """Person of a waiting job, by what it is to correct, to deliver or to judge."""
    for table, key in ((_prediction, "corrects"), (_delivery, "delivery")):
        if key in refs:
            query = select(table.c.person).where(table.c.id == refs[key])
            person: str | None = connection.execute(query).scalar()
            return person
    if refs.get("study"):
        name = _of_study(connection, refs["study"])
        return now.get(name) if name is not None else None
    return _of_event(connection, str(refs.get("event", "")), now)


def _triggers(connection: Connection, person: str) -> list[Any]:
    c = _readiness.c
    query = select(_readiness).where(c.person == person, c.trigger.is_not(None))
    return list(connection.execute(query))


def _move_trigger(connection: Connection, row: Any, person: str) -> None:
    """A trigger that waits must wait on under the new number; of two, the newer one."""
    c = _readiness.c
    # The state is judged anew with the message that regrouped them.
    at = row.triggered_at
    fresh = {"person": person, "pack": row.pack, "state": "waiting", "updated_at": at}
    connection.execute(insert_ignore(_readiness, connection.dialect.name), [fresh])
    connection.execute(
        update(_readiness)
        .where(
            c.person == person,
            c.pack == row.pack,
            or_(c.triggered_at.is_(None), c.triggered_at < at),
        )
        .values(trigger=row.trigger, triggered_at=at)
    )
