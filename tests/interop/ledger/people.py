"""Words on identifiers for the ledger's tests, as the mappings make them, and predictions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine

from interop.ledger import entries, persons, results
from interop.ledger.engine import WRITERS, Ids, writing
from interop.ledger.persons import Filed
from interop.ledger.results import NewPrediction
from mappings.conversion import Conversion
from mappings.persons import claim
from mappings.record import Entry, Identifier, Source, Text, When

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
_NOW_MS = 1_800_000_000_000
_IDS = Ids(1)
_NUMBERS: Iterator[int] = iter(range(1, 10**6))


def said(
    *names: Identifier, born: str = "", sex: str = "", name: str = "", event: str = ""
) -> Conversion:
    """A message of one patient with these identifiers in PID-3, and maybe a description."""
    source = Source("his", next(_NUMBERS), NOW)
    first, *others = names
    made = [
        Entry("alias", f"alias/{other}", first, source, "PID[1]-3", value=other) for other in others
    ]
    told: dict[str, Any] = {}
    if born:
        told["birth_date"] = When(datetime.fromisoformat(born), "day")
    if sex:
        told["sex"] = Text(sex)
    if name:
        told["name"] = Text(name)
    made += [
        Entry("patient", f"patient/{key}", first, source, f"PID[1]-{key}", value=value)
        for key, value in told.items()
    ]
    return Conversion(tuple(made), (), first, names, event)


def word(one: Identifier, other: Identifier, says: str = "merge", **changes: Any) -> Conversion:
    """A merge of `other` into `one`, or what else `says`; `hours` after noon at its source."""
    source = Source("his", next(_NUMBERS), NOW)
    issued = When.instant(NOW + timedelta(hours=changes.pop("hours", 0)))
    status = "entered-in-error" if says == "unlink" else "final"
    details = {"says": says, **changes}
    entry = Entry(
        "alias", f"alias/{other}", one, source, "MRG[1]-1", status,  # type: ignore[arg-type]
        value=other, source_time=issued, details=details,
    )  # fmt: skip
    return Conversion((entry,), (), one, (one,), "A40")


def file(ledger: Engine, found: Conversion, *, decided: bool = False) -> Filed:
    """File one message as ingest does."""
    with writing(ledger) as connection:
        return file_in(connection, found, decided=decided)


def file_in(connection: Connection, found: Conversion, *, decided: bool = False) -> Filed:
    """File one message in a transaction under way."""
    message = found.entries[0].source.message if found.entries else next(_NUMBERS)
    return persons.file(
        connection, [claim(found)], entries.rows(connection.engine, found.entries, _IDS, _NOW_MS),
        message=message, ids=_IDS, now_ms=_NOW_MS, decided=decided,
    )  # fmt: skip


def person(ledger: Engine, *names: Identifier) -> str:
    """The person of a message with these identifiers."""
    return file(ledger, said(*names)).persons[names[0]]


def prediction(number: int, key: str, **changes: Any) -> NewPrediction:
    """A prediction that used one fact."""
    parts: dict[str, Any] = {
        "id": number, "person": "p", "pack": "liver_dx", "pack_version": "1", "pack_digest": "d",
        "question": "q", "instance_key": key, "series_key": "s", "lineage": "k1", "revision": 1,
        "supersedes": None, "why": "trigger", "as_of": NOW, "body": {"n": number},
        "used": {"observation/1834-1/L1": ("digest-1", 5)},
    }  # fmt: skip
    return NewPrediction(**(parts | changes))


def lock(ledger: Engine, made: NewPrediction) -> str | None:
    """Write a prediction at the end of the chain."""
    with writing(ledger) as connection:
        head = results.chain_head(connection, made.id % WRITERS)
        return results.add_prediction(connection, made, head=head, now=NOW)
