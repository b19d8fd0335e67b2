"""A message read again: what it says now beside what its last reading said.

Entries are never changed. What a replay maps otherwise (a code map or unit was mended) is written
as a further reading of its place in the message, and the fold takes the last one
(`mappings.record`); what is no longer said is written as unsaid. Whose the entries are, a second
reading does not change. Source: docs/decisions/0011.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
from sqlalchemy import Connection, bindparam, select

from interop.ledger.entries import from_row
from interop.tables import EntryRow
from mappings.conversion import Conversion
from mappings.record import Entry, Source
from mappings.record_json import to_json

_entry = EntryRow.__table__  # type: ignore[attr-defined]
_OF_MESSAGE = (
    select(_entry)
    .where(_entry.c.message == bindparam("message"), _entry.c.kind.not_in(("alias", "move")))
    .order_by(_entry.c.reading)
)


def again(
    connection: Connection, message: int, conversions: Sequence[Conversion]
) -> list[Conversion]:
    """Conversions of a stored message with the number of their reading on each entry.

    What was read before keeps its number, so that it is not written twice. What is said of
    identifiers is left as it is: it has a history of its own.
    """
    rows = connection.execute(_OF_MESSAGE, {"message": message})
    before = {(row.path, row.key): from_row(row) for row in rows}
    made = []
    for found in conversions:
        numbered = [
            entry if entry.kind in ("alias", "move") else _numbered(entry, before)
            for entry in found.entries
        ]
        made.append(replace(found, entries=tuple(numbered)))
    gone = [entry for entry in before.values() if not entry.unsaid]
    for place, found in enumerate(made):
        patients = {entry.patient for entry in found.entries}
        mine = [entry for entry in gone if entry.patient in patients]
        if mine:
            gone = [entry for entry in gone if entry.patient not in patients]
            source = found.entries[0].source
            unsaid = tuple(_unsaid(entry, source) for entry in mine)
            made[place] = replace(found, entries=(*found.entries, *unsaid))
    return made


def _numbered(entry: Entry, before: dict[tuple[str, str], Entry]) -> Entry:
    former = before.pop((entry.path, entry.key), None)
    if former is None:
        return entry
    same = former.patient != entry.patient or _said(former) == _said(entry)
    return replace(entry, reading=former.reading + (not same))


def _said(entry: Entry) -> dict[str, Any]:
    """All that tells two readings apart; who sent it and when is the message's."""
    return {
        "kind": entry.kind,
        "twin": entry.twin,
        "code": (entry.code.system, entry.code.code) if entry.code else None,
        "status": entry.status,
        "body": orjson.loads(orjson.dumps(to_json(entry))),
    }


def _unsaid(entry: Entry, source: Source) -> Entry:
    """The place of an entry in a reading that no longer holds it."""
    return replace(
        entry,
        source=source,
        status="entered-in-error",
        value=None,
        details={"unsaid": True},
        seq=0,
        reading=entry.reading + 1,
    )
