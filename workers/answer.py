"""Answer: application acknowledgements of enhanced mode, sent when a message was worked.

CA said that a message is stored; AA or AE says what became of it, on the return path that the site
file names for the interface. A job in the ledger, so that none is forgotten and each keeps its
MSH-10 until it is taken. Source: HL7 v2.5.1 chapter 2.9.3; reliability.md 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any, Literal

import structlog
from sqlalchemy import Connection

from interop.errors import PeerUnavailable, Refused
from interop.ledger import jobs, messages
from interop.ledger.engine import reading, writing
from interop.ledger.jobs import Claim, NewJob
from interop.mllp_client import MllpClient
from mappings.errors import UnreadableMessage
from mappings.hl7v2.ack import SET_ASIDE, ack
from mappings.hl7v2.scan import scan
from workers.parts import Parts

log = structlog.get_logger()

_WANTED = {"AL": ("AA", "AE"), "ER": ("AE",), "SU": ("AA",)}


def owe(connection: Connection, parts: Parts, claim: Claim, row: Any, fate: str) -> set[str]:
    """Queue the application acknowledgement a message asks for, in the caller's transaction."""
    if row.interface not in parts.site.answers or claim.refs.get("replay"):
        return set()
    code: Literal["AA", "AE"] = "AE" if fate in messages.SET_ASIDE else "AA"
    try:
        wanted = _WANTED.get(scan(row.body).application_ack, ())
    except UnreadableMessage:
        return set()
    if code not in wanted:
        return set()
    refs = {"inbound": row.id, "code": code}
    lane = f"answer/{row.interface}"
    job = NewJob(stage=Answer.name, lane=lane, key=f"answer/{row.id}", refs=refs)
    jobs.add(connection, [(parts.id(), job)], now=parts.now())
    return {Answer.name}


class Answer:
    """The stage `answer`."""

    name = "answer"
    batch = 1

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def work(self, claims: Sequence[Claim]) -> set[str]:
        """Send one acknowledgement; its receiver answers CA or AA."""
        for claim in claims:
            self._send(claim)
        return set()

    def _send(self, claim: Claim) -> None:
        with reading(self._parts.engine) as connection:
            row = messages.get(connection, claim.refs["inbound"])
        code: Literal["AA", "AE"] = claim.refs["code"]
        number = f"A{row.id:X}"
        told = ack(
            scan(row.body),
            code,
            control_id=number,
            now=self._parts.now(),
            error=SET_ASIDE if code == "AE" else None,
            accept=b"AL",
        )
        host, port = self._parts.site.answers[row.interface]
        with closing(MllpClient(host, port)) as client:
            taken = client.exchange(told, number)
        if taken.rejected:
            raise Refused(f"the return path answered {taken.code}", 0)
        if not taken.accepted:
            raise PeerUnavailable(f"the return path answered {taken.code}")
        with writing(self._parts.engine) as connection:
            jobs.finish(connection, claim, now=self._parts.now(), reason=code)
