"""What new entries mean for packs: readiness, triggers, and results they overtake.

New data alone starts nothing (site rule 2): a trigger that the pack declares opens an assessment,
which runs as soon as the pack is ready; a corrected input re-runs what used it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import Connection

from inference import eligibility
from inference.eligibility import Readiness, StudySummary
from inference.features import value_digest
from inference.packs import Pack
from interop.ledger import entries as record_rows
from interop.ledger import images, jobs, results
from interop.ledger.jobs import NewJob
from mappings.record import Entry, PatientRecord, when_from_json
from workers.parts import Parts

log = structlog.get_logger()


class Evidence:
    """Judges what changed for a person."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def changed(
        self, connection: Connection, person: str, fresh: Sequence[Entry], *, message: int
    ) -> set[str]:
        """After entries were appended: follow-on jobs; the stages that now have work."""
        wanted: set[str] = set()
        # A study is an event when it is complete (`study_complete`), not when it is announced.
        live = [e for e in fresh if e.source.origin == "live" and e.kind != "imaging_study"]
        wanted |= self._overtaken(connection, person, fresh, message)
        codes = {c.code for e in fresh for c in ((e.code, *e.alternates) if e.code else ())}
        for pack in self._parts.packs:
            fired = eligibility.fired(pack.manifest, live) if live else None
            concerns = bool(codes & pack.codes) or any(e.kind != "observation" for e in fresh)
            if fired is not None or concerns:
                event = f"message/{message}"
                wanted |= self.judge(connection, person, pack, fired.text if fired else None, event)
        return wanted

    def study_complete(
        self, connection: Connection, person: str, pack: Pack, uid: str, revision: int
    ) -> set[str]:
        """After a study's end: its trigger, if the pack has one for it."""
        row = images.study(connection, uid)
        fired = eligibility.fired(pack.manifest, study_summary(row))
        event = f"study/{uid}/{revision}"
        return self.judge(connection, person, pack, fired.text if fired else None, event)

    def judge(
        self, connection: Connection, person: str, pack: Pack, trigger: str | None, event: str
    ) -> set[str]:
        """Store readiness anew; start the assessment that a trigger opened once it can run."""
        now = self._parts.now()
        answer = self.readiness(connection, person, pack)
        standing = results.readiness(connection, person, pack.manifest.id)
        opened = f"{trigger} ({event})" if trigger else (standing.trigger if standing else None)
        opened_at = now if trigger else (standing.triggered_at if standing else None)
        wanted: set[str] = set()
        if opened and answer.state == "ready":
            if self._too_soon(connection, person, pack):
                log.info("evidence.minimum_interval", pack=pack.manifest.id)
            else:
                self._start(connection, person, pack, why="trigger", event=opened)
                wanted = {"assess"}
            opened = opened_at = None
        results.put_readiness(
            connection,
            person,
            pack.manifest.id,
            state=answer.state,
            body=answer.to_json(),
            trigger=opened,
            triggered_at=opened_at,
            now=now,
        )
        return wanted

    def readiness(self, connection: Connection, person: str, pack: Pack) -> Readiness:
        """What the pack says of the person now."""
        now = self._parts.now()
        entries = record_rows.of_person(connection, person, codes=pack.codes)
        record = PatientRecord.of(entries, as_of=now)
        studies = [study_summary(row) for row in images.studies_of(connection, person)]
        return eligibility.readiness(pack.manifest, record, studies, now)

    def _overtaken(
        self, connection: Connection, person: str, fresh: Sequence[Entry], message: int
    ) -> set[str]:
        """Re-run every standing result that used a fact of which another version now holds."""
        keys = {e.key for e in fresh} | {e.twin for e in fresh if e.twin}
        versions = record_rows.versions(connection, person, keys)
        cluster = {e.key for e in versions}
        used = results.using(connection, person, cluster)
        if not used:
            return set()
        held = PatientRecord.of(versions, as_of=self._parts.now())
        digests = {value_digest(e) for e in held.entries}
        overtaken = {row.id: row for row in used if row.digest not in digests}
        for row in overtaken.values():
            pack = self._parts.pack(row.pack)
            if pack is not None:
                self._start(
                    connection,
                    person,
                    pack,
                    why="correction",
                    event=f"message/{message}",
                    corrects=row.id,
                    changed=row.key,
                )
        return {"assess"} if overtaken else set()

    def _start(
        self,
        connection: Connection,
        person: str,
        pack: Pack,
        *,
        why: str,
        event: str,
        corrects: int | None = None,
        changed: str = "",
    ) -> None:
        refs: dict[str, Any] = {"person": person, "pack": pack.manifest.id, "why": why}
        if corrects is not None:
            refs |= {"corrects": corrects, "changed": changed}
        key = f"assess/{person}/{pack.manifest.id}/{why}/{corrects or ''}/{event}"
        job = NewJob(stage="assess", lane=person, key=key, refs=refs)
        jobs.add(connection, [(self._parts.id(), job)], now=self._parts.now())

    def _too_soon(self, connection: Connection, person: str, pack: Pack) -> bool:
        interval = self._parts.site.packs[pack.manifest.id].min_interval_h
        newest = results.current(connection, person, pack.manifest.id)
        if not newest or not interval:
            return False
        return bool(newest[-1].created_at > self._parts.now() - timedelta(hours=interval))


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
