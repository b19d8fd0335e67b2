"""Replay: stored messages mapped again. Idempotent: what is read as before is not written again.

What a site mended meanwhile (an authority, a code map) takes effect: the last reading of a message
counts (docs/decisions/0011-a-message-read-again.md). Entries made so are history: they correct
what rests on them, and trigger nothing (docs/decisions/0007-corrections-and-history.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from interop.errors import Permanent
from interop.ledger import jobs, messages, persons
from interop.ledger.engine import writing
from interop.ledger.jobs import NewJob
from interop.mllp import refusal
from mappings.hl7v2.scan import scan
from workers.parts import Parts
from workers.settings import BadSettings

SET_ASIDE = ("quarantined", "parked", "rejected")
# What a door refused and what a person dropped is in no selection of many.
REPLAYED = ("received", "applied", "ignored", "parked", "quarantined")


class NotReplayed(Permanent):
    """A message that cannot, or may not, be mapped again."""


def selected(
    parts: Parts,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    states: Sequence[str] = (),
    kind: str | None = None,
) -> list[int]:
    """Ids of the messages of a selection, oldest first.

    Raises:
        BadSettings: A state that there is not, or whose messages are not replayed in numbers.
    """
    for state in states:
        if state not in REPLAYED:
            raise BadSettings(f"--state {state}: one of {', '.join(REPLAYED)}")
    return messages.ids(
        parts.engine, since=since, until=until, states=tuple(states) or REPLAYED, kind=kind
    )


def replay_message(parts: Parts, message: int, *, same_patient: bool = False) -> bool:
    """Queue a message for mapping once more; not the envelope of a batch, which holds none.

    `same_patient`: somebody looked, and its identifiers name whom they always did, however else it
    describes them (docs/decisions/0010-who-is-who.md).
    """
    with writing(parts.engine) as connection:
        row = messages.get(connection, message)
        if (row.door, row.kind) == ("mllp", "batch"):
            return False
        job_id = parts.id()
        job = NewJob(
            stage="ingest",
            lane=row.lane,
            key=f"ingest/{message}/replay/{job_id}",
            refs={"inbound": message, "replay": True, "decided": same_patient},
        )
        jobs.insert_one(connection, job_id, job, now=parts.now())
    return True


def replay_item(
    parts: Parts, item: int, *, same_patient: bool = False
) -> Literal["message", "job"] | None:
    """Work a set-aside message or parked job again; None if there is none of that number.

    Raises:
        NotReplayed: Nothing of it was kept, or its interface refuses it as it did.
    """
    with writing(parts.engine) as connection:
        if jobs.unpark(connection, item, now=parts.now()):
            return "job"
        row = messages.find(connection, item)
        if row is None or row.state not in SET_ASIDE:
            return None
    _may_be_replayed(parts, row)
    replay_message(parts, item, same_patient=same_patient)
    return "message"


def drop_item(parts: Parts, item: int) -> Literal["message", "job"] | None:
    """Close a set-aside message or parked job; None if there is none of that number."""
    with writing(parts.engine) as connection:
        if jobs.drop(connection, item, now=parts.now()):
            return "job"
        row = messages.find(connection, item)
        if row is None or row.state not in SET_ASIDE:
            return None
        messages.mark(connection, item, state="dropped", reason="dropped by an operator")
        persons.decide(connection, item)
    return "message"


def is_metadata(row: Any) -> bool:
    """Whether only size and reason of a frame were kept (site rule 15)."""
    return bool(row.door == "mllp" and row.body is None)


def _may_be_replayed(parts: Parts, row: Any) -> None:
    """What was answered AR is judged by the site file as it is now.

    Raises:
        NotReplayed: As `replay_item` says.
    """
    if is_metadata(row):
        raise NotReplayed(f"of {row.id} only its size was kept: its sender has to send it again")
    if row.door != "mllp" or row.state != "rejected":
        return
    interface = next((one for one in parts.site.mllp if one.name == row.interface), None)
    if interface is None:
        raise NotReplayed(f"the site has no interface {row.interface} any more")
    if (error := refusal(interface, scan(row.body).shared)) is not None:
        raise NotReplayed(f"interface {row.interface} still refuses it: {error.text}")
