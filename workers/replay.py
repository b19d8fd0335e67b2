"""Replay: stored messages mapped again. Idempotent: what is read as before is not written again.

What a site mended meanwhile (an authority, a code map) takes effect: the last reading of a message
counts (docs/decisions/0011-a-message-read-again.md). Entries made so are history: they correct
what rests on them, and trigger nothing (docs/decisions/0007-corrections-and-history.md).
"""

from __future__ import annotations

from typing import Literal

from sqlalchemy import Connection
from sqlalchemy.exc import NoResultFound

from interop.ledger import jobs, messages, persons
from interop.ledger.engine import writing
from interop.ledger.jobs import NewJob
from workers.parts import Parts

SET_ASIDE = ("quarantined", "parked", "rejected")


def replay_message(parts: Parts, message: int, *, same_patient: bool = False) -> None:
    """Queue a message for mapping once more.

    `same_patient`: somebody looked, and its identifiers name whom they always did, however else it
    describes them (docs/decisions/0010-who-is-who.md).
    """
    with writing(parts.engine) as connection:
        row = messages.get(connection, message)
        job_id = parts.id()
        job = NewJob(
            stage="ingest",
            lane=row.lane,
            key=f"ingest/{message}/replay/{job_id}",
            refs={"inbound": message, "replay": True, "decided": same_patient},
        )
        jobs.insert_one(connection, job_id, job, now=parts.now())


def replay_item(
    parts: Parts, item: int, *, same_patient: bool = False
) -> Literal["message", "job"] | None:
    """Work a set-aside message or parked job again; None if there is none of that number."""
    with writing(parts.engine) as connection:
        if jobs.unpark(connection, item, now=parts.now()):
            return "job"
        if not _is_set_aside(connection, item):
            return None
    replay_message(parts, item, same_patient=same_patient)
    return "message"


def drop_item(parts: Parts, item: int) -> Literal["message", "job"] | None:
    """Close a set-aside message or parked job; None if there is none of that number."""
    with writing(parts.engine) as connection:
        if jobs.drop(connection, item, now=parts.now()):
            return "job"
        if not _is_set_aside(connection, item):
            return None
        messages.mark(connection, item, state="dropped", reason="dropped by an operator")
        persons.decide(connection, item)
    return "message"


def _is_set_aside(connection: Connection, item: int) -> bool:
    try:
        return bool(messages.get(connection, item).state in SET_ASIDE)
    except NoResultFound:
        return False
