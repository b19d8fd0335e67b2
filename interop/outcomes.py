"""Outcomes: answers of an interface that waits until its messages were worked.

Such a message is stored like any other, only its row has no code until it was answered: so a
duplicate, also one after a restart, waits on, or gets the very answer that was given. Whoever
waits on the committing loop is looked for together, in one query on another thread; while nobody
waits nothing runs. Source: reliability.md 4.1 ("or wait by interface policy"); HL7 v2.5.1 2.9.2.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

import structlog
from sqlalchemy import Engine

from interop.errors import InteropError
from interop.ledger import messages
from interop.ledger.messages import Answered, Outcome

log = structlog.get_logger()

Tell = Callable[[bytes | None], None]

_LOOK_S = 0.05
_AGAIN_S = 0.5
_MOST_A_LOOK = 5000  # a statement takes so many parameters, on either database


@dataclass(slots=True, eq=False)
class _Waiting:
    """One message until it is answered, and all who asked for it."""

    accepted: bytes | None
    refused: Callable[[], bytes | None]
    late: asyncio.TimerHandle
    tell: list[Tell] = field(default_factory=list)


class Outcomes:
    """Who waits on one interface, and for which message.

    Everything is called on the committing loop.

    Args:
        engine: The ledger.
        wait_s: Seconds after which a message is answered as accepted, worked or not.
    """

    def __init__(self, engine: Engine, wait_s: float) -> None:
        self._engine, self._wait_s = engine, wait_s
        self._waiting: dict[int, _Waiting] = {}
        self._writing: dict[int, Answered] = {}
        self._told: list[Answered] = []  # late ones, whose rows do not say so yet
        self._looking: asyncio.Task[None] | None = None
        self._stopped = False

    def wait(
        self,
        message: int,
        accepted: bytes | None,
        refused: Callable[[], bytes | None],
        tell: Tell,
    ) -> None:
        """Tell the answer once the message was worked, or when its time is over.

        Args:
            message: Ledger id; the table may not have it yet.
            accepted: The AA.
            refused: Makes the AE for a message that was quarantined or parked.
            tell: Called with the answer, never before this returns.
        """
        if self._stopped:
            return
        waiting = self._waiting.get(message)
        if waiting is None:
            loop = asyncio.get_running_loop()
            late = loop.call_later(self._wait_s, self._late, message)
            waiting = self._waiting[message] = _Waiting(accepted, refused, late)
            if self._looking is None or self._looking.done():
                self._looking = loop.create_task(self._look_on())
        waiting.tell.append(tell)

    async def stop(self) -> None:
        """End; who waits gets no answer, and asks again after connecting again."""
        self._stopped = True
        for waiting in self._waiting.values():
            waiting.late.cancel()
        self._waiting.clear()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _look_on(self) -> None:
        pause = _LOOK_S
        while self._waiting or self._told:
            await asyncio.sleep(pause)
            pause = _LOOK_S
            try:
                await self._look()
            except InteropError as error:
                log.warning("mllp.outcomes_unknown", reason=str(error))
                pause = _AGAIN_S
            finally:
                self._accept_unwritten()

    async def _look(self) -> None:
        """Answer what was worked since the last look; each answer is written before it is told."""
        asked = list(islice(self._waiting, _MOST_A_LOOK))
        found = await asyncio.to_thread(messages.outcomes, self._engine, asked)
        given: dict[int, bytes | None] = {}
        for message, outcome in found.items():
            if (waiting := self._waiting.get(message)) is None:
                continue  # its time ran out meanwhile
            if outcome.code:
                given[message] = outcome.reply
            else:
                self._writing[message] = _answer(message, waiting, outcome)
        told = list(self._told)
        if told or self._writing:
            write = [*told, *self._writing.values()]
            await asyncio.to_thread(messages.answer, self._engine, write)
            del self._told[: len(told)]
        for message, answered in self._writing.items():
            self._tell(message, answered.reply)
        for message, reply in given.items():
            if message in self._waiting:
                self._tell(message, reply)

    def _accept_unwritten(self) -> None:
        """What the ledger did not take is looked for again, or accepted if its time is over."""
        now = asyncio.get_running_loop().time()
        writing, self._writing = self._writing, {}
        for message in writing:
            if message in self._waiting and self._waiting[message].late.when() <= now:
                self._late(message)

    def _late(self, message: int) -> None:
        """Accept what nobody worked in time; its answer may be under way to the ledger already."""
        if message in self._writing:
            return
        accepted = self._waiting[message].accepted
        self._told.append(Answered(message, "AA", accepted))
        self._tell(message, accepted)

    def _tell(self, message: int, reply: bytes | None) -> None:
        waiting = self._waiting.pop(message)
        waiting.late.cancel()
        for tell in waiting.tell:
            tell(reply)


def _answer(message: int, waiting: _Waiting, outcome: Outcome) -> Answered:
    if outcome.state in messages.SET_ASIDE:
        return Answered(message, "AE", waiting.refused())
    return Answered(message, "AA", waiting.accepted)
