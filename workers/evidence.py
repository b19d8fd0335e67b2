"""What new entries mean for packs: readiness, triggers, and results they overtake.

New data alone starts nothing (site rule 2): a trigger that the pack declares opens an assessment,
which runs as soon as the pack is ready; a corrected input re-runs what used it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Connection

from inference import eligibility
from inference.eligibility import Readiness
from inference.features import value_digest
from inference.protocol import Protocol
from inference.rules import StudySummary
from inference.standing import holds
from interop.ledger import decisive, following, images, jobs, results
from interop.ledger import entries as record_rows
from interop.ledger.jobs import NewJob
from mappings.conversion import Conversion
from mappings.record import Entry, PatientRecord
from mappings.record_json import when_from_json
from mappings.wanted import Wanted
from workers.parts import Parts

log = structlog.get_logger()
_AFTER_ALL_STORED = 1 << 62


@dataclass(frozen=True, slots=True)
class Foreseen:
    """Readiness worked out before the write lock is taken, as it will be if nobody else writes.

    Attributes:
        epoch: The person's epoch it was worked out for, this message counted.
        news: The message's entries that tell anything new.
        answers: Protocol → readiness and its JSON, of those whom the news concern.
        holding: Protocol → when its standing answer was worked out, of those whom the news concern
            and whose answer they cannot change.
    """

    person: str | None
    epoch: int
    news: Sequence[Entry]
    answers: Mapping[str, tuple[Readiness, dict[str, Any]]]
    holding: Mapping[str, datetime] = field(default_factory=dict)


class Evidence:
    """Judges what changed for a person."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def foresee(
        self, connection: Connection, found: Sequence[Conversion], fresh: Sequence[Entry]
    ) -> Foreseen | None:
        """What `changed` will find, from a read transaction: the write lock is everybody's.

        None where the message is of several persons or joins some. `fresh` are all its entries.
        """
        persons = {
            tuple(record_rows.persons_of(connection, conversion.identifiers))
            for conversion in found
        }
        if len(persons) != 1 or len(known := next(iter(persons))) > 1:
            return None
        person = known[0] if known else None
        epoch = record_rows.epoch_of(connection, person) if person else 0
        reader = decisive.Reader(connection, person) if person is not None else None
        news = _news(reader, fresh, self._parts.now())
        concerned = [p for p in self._parts.protocols if _concerns(p, news)]
        holding = {}
        if person is not None and reader is not None:
            holding = _holding(connection, person, reader, concerned, news)
        answers = {}
        for protocol in concerned:
            if protocol.id not in holding:
                answer = self.readiness(connection, person, protocol, fresh, reader)
                answers[protocol.id] = (answer, answer.to_json())
        return Foreseen(person, epoch + 1, news, answers, holding)

    def changed(
        self,
        connection: Connection,
        person: str,
        fresh: Sequence[Entry],
        *,
        message: int,
        corrects: bool = True,
        foreseen: Foreseen | None = None,
    ) -> set[str]:
        """After entries were appended: follow-on jobs; the stages that now have work.

        `corrects` is False for a backfill, which may neither trigger nor amend (site rule 3).
        """
        wanted: set[str] = set()
        # A study is an event when it is complete (`study_complete`), not when it is announced.
        live = [e for e in fresh if e.source.origin == "live" and e.kind != "imaging_study"]
        if corrects:
            wanted |= self._overtaken(connection, person, fresh, message)
        news = fresh if foreseen is None else foreseen.news
        for protocol in self._parts.protocols:
            fired = eligibility.fired(protocol, live) if live else None
            if fired is None and _still_holds(connection, person, protocol, foreseen):
                continue
            if fired is not None or _concerns(protocol, news):
                event = f"message/{message}"
                text = fired.text if fired else None
                known = foreseen.answers.get(protocol.id) if foreseen is not None else None
                wanted |= self.judge(connection, person, protocol, text, event, known)
        return wanted

    def study_complete(
        self, connection: Connection, person: str, protocol: Protocol, uid: str, revision: int
    ) -> set[str]:
        """After a study's end: its trigger, if the pack has one for it."""
        row = images.study(connection, uid)
        fired = eligibility.fired(protocol, study_summary(row))
        event = f"study/{uid}/{revision}"
        return self.judge(connection, person, protocol, fired.text if fired else None, event)

    def regrouped(
        self, connection: Connection, persons: Collection[str], *, message: int, corrects: bool
    ) -> set[str]:
        """After identifiers came to name other persons, or visits to belong to them.

        What stands for these persons was made of records that are no longer theirs: run again where
        the record only grew, and where it held another patient's, first withdrawn (writeback.md 3).
        """
        wanted: set[str] = set()
        for person in sorted(persons):
            if not record_rows.identifiers(connection, person):
                continue  # joined to another, and nothing is kept of it
            for row in results.current(connection, person) if corrects else ():
                parted = following.parted(connection, row)
                if parted:
                    log.warning("evidence.parted", prediction=row.id, message=message)
                self._again(connection, person, row, "parted" if parted else "merge", message)
                wanted.add("assess")
            for protocol in self._parts.protocols:
                wanted |= self.judge(connection, person, protocol, None, f"message/{message}")
        return wanted

    def judge(
        self,
        connection: Connection,
        person: str,
        protocol: Protocol,
        trigger: str | None,
        event: str,
        known: tuple[Readiness, dict[str, Any]] | None = None,
    ) -> set[str]:
        """Store readiness anew; start the assessment that a trigger opened once it can run."""
        now = self._parts.now()
        if known is None:
            found = self.readiness(connection, person, protocol)
            known = found, found.to_json()
        answer, body = known
        standing = results.readiness(connection, person, protocol.id)
        opened = f"{trigger} ({event})" if trigger else (standing.trigger if standing else None)
        opened_at = now if trigger else (standing.triggered_at if standing else None)
        wanted: set[str] = set()
        if opened and answer.state == "ready" and self._parts.pack(protocol.id) is not None:
            if self._too_soon(connection, person, protocol):
                log.info("evidence.minimum_interval", pack=protocol.id)
            else:
                study = answer.study_instance_uid
                name = protocol.id
                self._start(connection, person, name, why="trigger", event=opened, study=study)
                wanted = {"assess"}
            opened = opened_at = None
        results.put_readiness(
            connection,
            person,
            protocol.id,
            state=answer.state,
            body=body,
            trigger=opened,
            triggered_at=opened_at,
            now=now,
        )
        return wanted

    def readiness(
        self,
        connection: Connection,
        person: str | None,
        protocol: Protocol,
        fresh: Sequence[Entry] = (),
        reader: decisive.Reader | None = None,
    ) -> Readiness:
        """What the pack says of the person now, with entries that are about to be stored."""
        now = self._parts.now()
        rows = images.studies_of(connection, person) if person is not None else []
        studies = [study_summary(row) for row in rows]
        record = known_of(connection, person, protocol, studies, now, fresh, reader=reader)
        return eligibility.readiness(protocol, record, studies, now)

    def _overtaken(
        self, connection: Connection, person: str, fresh: Sequence[Entry], message: int
    ) -> set[str]:
        """Re-run every result that used a fact of which another value now holds."""
        if not results.stands(connection, person):
            return set()
        versions = decisive.facts(connection, person, fresh)
        used = results.using(connection, person, {e.key for e in versions})
        overtaken = {row.id: row for row in used if self._differs(row, versions)}
        for row in overtaken.values():
            if self._parts.pack(row.pack) is not None:
                self._again(connection, person, row, "correction", message, changed=row.key)
        return {"assess"} if overtaken else set()

    def _again(
        self,
        connection: Connection,
        person: str,
        row: Any,
        why: str,
        message: int,
        changed: str = "",
    ) -> None:
        """Queue a standing result to be made anew."""
        self._start(
            connection,
            person,
            row.pack,
            why=why,
            event=f"message/{message}",
            study=study_of(row.body),
            more={"corrects": row.id, "changed": changed, "t0": row.body["prediction"]["t0"]},
        )

    def _differs(self, row: Any, versions: Sequence[Entry]) -> bool:
        """Whether a used fact now has another value, or none (writeback.md 3).

        Another status of the same value is a new basis, no correction. A withdrawn result is tried
        again whenever something it used is told anew.
        """
        if row.state == "withdrawn":
            return True
        twins = {e.twin for e in versions if e.key == row.key and e.twin}
        fact = [e for e in versions if e.key == row.key or (e.twin and e.twin in twins)]
        held = PatientRecord.of(fact, as_of=self._parts.now()).entries
        before = next((e for e in versions if e.seq == row.entry), None)
        if before is None:
            return row.digest not in {value_digest(e) for e in held}
        return _value(before) not in {_value(e) for e in held}

    def _start(
        self,
        connection: Connection,
        person: str,
        pack: str,
        *,
        why: str,
        event: str,
        study: str | None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """Queue an assessment of one study: the one whose event or result this is."""
        refs = {
            "person": person,
            "pack": pack,
            "why": why,
            "event": event,
            "study": study,
            **(more or {}),
        }
        key = f"assess/{person}/{pack}/{why}/{refs.get('corrects', '')}/{event}"
        job = NewJob(stage="assess", lane=person, key=key, refs=refs)
        jobs.add(connection, [(self._parts.id(), job)], now=self._parts.now())

    def _too_soon(self, connection: Connection, person: str, protocol: Protocol) -> bool:
        interval = self._parts.site.packs[protocol.id].min_interval_h
        newest = results.current(connection, person, protocol.id)
        if not newest or not interval:
            return False
        return bool(newest[-1].created_at > self._parts.now() - timedelta(hours=interval))


def _news(reader: decisive.Reader | None, fresh: Sequence[Entry], now: datetime) -> list[Entry]:
    """Entries but those that repeat who the patient is and which visit this is.

    Every result of a laboratory does, and nothing follows from it.
    """
    repeated = [e for e in fresh if e.kind in ("patient", "encounter")]
    if reader is None or not repeated:
        return list(fresh)
    stored = reader.newest({e.key for e in repeated}, now)
    told = [replace(e, seq=_AFTER_ALL_STORED + n) for n, e in enumerate(repeated)]
    before, after = (
        {e.key: (e.status, e.code, e.value, e.effective, e.details) for e in record.entries}
        for record in (
            PatientRecord.of(stored, as_of=now),
            PatientRecord.of([*stored, *told], as_of=now),
        )
    )
    same = {key for key, said in after.items() if before.get(key) == said}
    return [e for e in fresh if e.kind not in ("patient", "encounter") or e.key not in same]


def _holding(
    connection: Connection,
    person: str,
    reader: decisive.Reader,
    protocols: Sequence[Protocol],
    news: Sequence[Entry],
) -> dict[str, datetime]:
    """Protocols whose standing answer the news cannot change, and when it was worked out."""
    found: dict[str, datetime] = {}
    for protocol in protocols:
        row = results.readiness(connection, person, protocol.id)
        # An assessment that was opened and waits is looked at each time.
        if row is not None and not row.trigger and holds(protocol, row.body or {}, news):
            found[protocol.id] = row.updated_at
    if not found:
        return found
    asked = frozenset().union(*(protocol.codes for protocol in protocols))
    read = [entry for entry in news if not asked.isdisjoint(_codes(entry))]
    return {} if reader.met(read) else found


def _still_holds(
    connection: Connection, person: str, protocol: Protocol, foreseen: Foreseen | None
) -> bool:
    """Whether the standing answer is the one that was foreseen to hold."""
    if foreseen is None or protocol.id not in foreseen.holding:
        return False
    return results.judged_at(connection, person, protocol.id) == foreseen.holding[protocol.id]


def _concerns(protocol: Protocol, fresh: Sequence[Entry]) -> bool:
    """Whether the pack reads any of these entries' codes, or what is no observation (rule 22)."""
    codes = protocol.codes
    return any(e.kind != "observation" or not codes.isdisjoint(_codes(e)) for e in fresh)


def _codes(entry: Entry) -> set[str]:
    """Bare codes of all codings of an entry."""
    return {c.code for c in ((entry.code, *entry.alternates) if entry.code else ())}


def _value(entry: Entry) -> str:
    """Digest of what an entry says, whatever its status."""
    return value_digest(replace(entry, status="final"))


def known_of(
    connection: Connection,
    person: str | None,
    protocol: Protocol,
    studies: Sequence[StudySummary],
    now: datetime,
    fresh: Sequence[Entry] = (),
    at: datetime | None = None,
    reader: decisive.Reader | None = None,
) -> PatientRecord:
    """What of a person's record a pack reads, as of now; with entries about to be stored.

    `at` is the index time of an assessment that is made anew, `reader` one who was asked before.
    """
    if reader is None and person is not None:
        reader = decisive.Reader(connection, person)
    study = eligibility.index_study(protocol, studies, now)
    record = PatientRecord(entries=(), as_of=now)
    if protocol.index.on == "procedure":
        record = _read(reader, eligibility.asked(protocol, None, now), fresh)
    t0 = eligibility.index_time(protocol, record, study, now, at)
    record = _read(reader, eligibility.asked(protocol, t0, now, whole=()), fresh)
    if t0 is None:
        return record
    whole = eligibility.unserved(protocol, record, t0, now)
    if not whole:
        return record
    return _read(reader, eligibility.asked(protocol, t0, now, whole=whole), fresh)


def _read(reader: decisive.Reader | None, wanted: Wanted, fresh: Sequence[Entry]) -> PatientRecord:
    found = decisive.Found([]) if reader is None else reader.of(wanted, fresh)
    told = [
        replace(entry, seq=_AFTER_ALL_STORED + number)
        for number, entry in enumerate(wanted.concerns(fresh))
    ]
    return PatientRecord.of([*found.entries, *told], as_of=wanted.as_of, elsewhere=found.elsewhere)


def study_of(body: Mapping[str, Any]) -> str | None:
    """The index study of a stored result; its images may have been left out.

    Results of before 2026-11-21 tell it by the instances that they read.
    """
    instances = body["prediction"]["instances"]
    return body.get("study") or next((i["study_instance_uid"] for i in instances), None)


def study_summary(row: Any) -> StudySummary:
    """A study's row as packs read it."""
    body = row.body or {}
    return StudySummary(
        study_instance_uid=row.study_instance_uid,
        modality=row.modality,
        started=when_from_json(body["started"]) if body.get("started") else None,
        complete=row.state == "complete",
        phases=tuple(body["phases"]) if "phases" in body else None,
        body_part=body.get("body_part", ""),
        description=body.get("description", ""),
        origin=row.origin,
    )
