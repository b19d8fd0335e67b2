"""Studies: instances as they arrive, and when a study is complete.

Evidence first: the series and counts that an ImagingStudy announced. Silence last, per STOW path.
An instance that comes after the end opens the study again. Source: site rules 7 and 20;
interop.md 6.C.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import Connection

from interop import metrics
from interop.ledger import decisive, images, jobs, messages, persons
from interop.ledger import entries as record_rows
from interop.ledger.engine import reading, writing
from interop.ledger.jobs import Claim, NewJob
from mappings.conversion import Conversion
from mappings.dicom import part10, series_choice, study
from mappings.dicom.pixels import is_image, pixel_digest
from mappings.errors import MappingError
from mappings.persons import claim as claim_of
from mappings.record import Entry, Origin, PatientRecord, Source
from mappings.record_json import when_to_json
from workers.drain import describe
from workers.evidence import Evidence
from workers.parts import Parts

log = structlog.get_logger()

_ANNOUNCED = "announced series are complete"
_LOOK_AGAIN = timedelta(minutes=1)


class Studies:
    """Takes the instances of STOW requests into the record."""

    def __init__(self, parts: Parts, evidence: Evidence) -> None:
        self._parts, self._evidence = parts, evidence

    def arrive(self, claim: Claim, row: Any) -> set[str]:
        """Read the instances of one request and apply them."""
        with reading(self._parts.engine) as connection:
            fresh = images.of_message(connection, row.id)
            known = images.of_study(connection, fresh[0].study_instance_uid) if fresh else []
        if not fresh:
            return self._known_instances(claim, row)
        headers, digests, broken = self._read(fresh)
        origin: Origin = "history" if claim.refs.get("replay") else row.origin
        source = Source(row.interface, row.id, row.received_at, origin)
        found, reason = self._map(headers, row.interface, source)
        with writing(self._parts.engine) as connection:
            return self._apply(connection, claim, row, fresh, known, digests, found, reason, broken)

    def _known_instances(self, claim: Claim, row: Any) -> set[str]:
        """A PACS sent again what we have, byte by byte: nothing follows."""
        with writing(self._parts.engine) as connection:
            messages.mark(connection, row.id, state="applied", reason="known instances")
            jobs.finish(connection, claim, now=self._parts.now(), reason="known instances")
        return set()

    def _read(self, fresh: Sequence[Any]) -> tuple[list[Any], dict[str, str], list[str]]:
        """Headers, pixel digests by SOP instance, and instances that cannot be read."""
        headers, digests, broken = [], {}, []
        for instance in fresh:
            try:
                dataset = part10.read(self._parts.blobs.read(instance.sha256))
                # A report has no pixels to differ in: its newest version counts.
                shown = is_image(dataset)
                digests[instance.sop_instance_uid] = pixel_digest(dataset) if shown else ""
                for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"):
                    if keyword in dataset:
                        delattr(dataset, keyword)
                headers.append(dataset)
            except MappingError as error:
                broken.append(describe(error))
        return headers, digests, broken

    def _map(
        self, headers: list[Any], interface: str, source: Source
    ) -> tuple[Conversion | None, str]:
        site = self._parts.site.sender(interface)
        if not headers:
            return None, "no instance of this request can be read"
        try:
            return study.entries(headers, site=site, source=source), ""
        except MappingError as error:
            return None, describe(error)

    def _apply(
        self,
        connection: Connection,
        claim: Claim,
        row: Any,
        fresh: Sequence[Any],
        known: Sequence[Any],
        digests: Mapping[str, str],
        found: Conversion | None,
        reason: str,
        broken: Sequence[str],
    ) -> set[str]:
        now = self._parts.now()
        now_ms = int(now.timestamp() * 1000)
        uid = fresh[0].study_instance_uid
        before = images.study(connection, uid, lock=True)
        reason = _conflict(fresh, known, digests) or reason
        if found is None or reason:
            self._park(connection, fresh, digests)
            return self._set_aside(connection, claim, row, reason, broken)
        entry = found.entries[0]
        named = record_rows.person_of(connection, found.identifiers)
        if before is not None and before.person not in (None, named):
            self._park(connection, fresh, digests)
            reason = "the study belongs to another patient"
            return self._set_aside(connection, claim, row, reason, broken)
        filed = persons.file(
            connection,
            [claim_of(found)],
            record_rows.rows(self._parts.engine, found.entries, self._parts.ids, now_ms),
            message=row.id,
            ids=self._parts.ids,
            now_ms=now_ms,
            decided=bool(claim.refs.get("decided")),
        )
        if filed.doubt is not None:
            self._park(connection, fresh, digests)
            return self._set_aside(connection, claim, row, filed.doubt.reason, broken)
        person = filed.persons[found.patient]
        self._take(connection, fresh, known, digests)
        record_rows.raise_epoch(connection, person)
        images.put_study(connection, uid, _study_values(entry, before, found, person, row), now=now)
        corrects = row.origin != "history"
        wanted = self._evidence.changed(
            connection, person, found.entries, message=row.id, corrects=corrects
        )
        wanted |= self._complete_or_wait(connection, person, uid, row.interface)
        messages.mark(connection, row.id, state="applied", report=broken)
        jobs.finish(connection, claim, now=now, reason="applied")
        return wanted

    def _set_aside(
        self, connection: Connection, claim: Claim, row: Any, reason: str, broken: Sequence[str]
    ) -> set[str]:
        """Keep the request for a person to look at."""
        messages.mark(connection, row.id, state="parked", reason=reason, report=broken)
        jobs.finish(connection, claim, now=self._parts.now(), reason="parked")
        metrics.quarantined.labels("stow").inc()
        log.warning("study.set_aside", message=row.id, reason=reason)
        return set()

    def _mark(
        self, connection: Connection, instance: Any, state: str, digests: Mapping[str, str]
    ) -> None:
        digest = digests.get(instance.sop_instance_uid, instance.pixel_sha256)
        images.mark(
            connection,
            instance.sop_instance_uid,
            instance.sha256,
            state=state,
            pixel_sha256=digest,
        )

    def _park(
        self, connection: Connection, fresh: Sequence[Any], digests: Mapping[str, str]
    ) -> None:
        """None of a request that was set aside counts for its study."""
        for instance in fresh:
            readable = instance.sop_instance_uid in digests
            self._mark(connection, instance, "parked" if readable else "unreadable", digests)

    def _take(
        self,
        connection: Connection,
        fresh: Sequence[Any],
        known: Sequence[Any],
        digests: Mapping[str, str],
    ) -> None:
        """Same UID, same pixels, other bytes (site rule 20): the newest version counts."""
        for instance in fresh:
            if instance.sop_instance_uid not in digests:
                self._mark(connection, instance, "unreadable", digests)
            elif instance.state != "replaced":  # replayed: a newer version has come since
                self._mark(connection, instance, "current", digests)
                for other in _versions(instance, known):
                    self._mark(connection, other, "replaced", {})

    def _complete_or_wait(
        self, connection: Connection, person: str, uid: str, interface: str
    ) -> set[str]:
        """Complete by evidence at once, else when the path has been silent long enough."""
        now = self._parts.now()
        if self._announced_are_there(connection, person, uid):
            return self._complete(connection, person, uid, evidence=_ANNOUNCED)
        silence = next(p.silence_s for p in self._parts.site.stow.values() if p.name == interface)
        row = images.study(connection, uid)
        assert row is not None
        until = row.last_instance_at + timedelta(seconds=silence)
        key = f"study/{uid}/{row.revision}"
        if not jobs.delay(connection, key, until=until):
            job = NewJob(
                stage="ingest",
                # A lane of its own: it waits, and the instances it waits for must pass it.
                lane=f"settle/{uid}",
                key=key,
                refs={"study": uid, "interface": interface},
                not_before=until,
            )
            jobs.add(connection, [(self._parts.id(), job)], now=now)
        return set()

    def _announced_are_there(self, connection: Connection, person: str, uid: str) -> bool:
        """Whether every announced series has as many distinct instances as announced."""
        expected = self._expected(connection, person, uid)
        have = images.series_counts(connection, uid)
        return bool(expected) and all(have.get(s, 0) >= count for s, count in expected.items())

    def _expected(self, connection: Connection, person: str, uid: str) -> dict[str, int]:
        """Instances per series as an EHR or RIS announced them; our own counts are no evidence."""
        now = self._parts.now()
        versions = decisive.named(connection, person, f"imaging_study/{uid}")
        announced = [e for e in versions if e.path.startswith("ImagingStudy")]
        for entry in PatientRecord.of(announced, as_of=now).of_kind("imaging_study"):
            series = entry.details.get("series") or ()
            counts = {s["uid"]: int(s.get("numberOfInstances") or 0) for s in series if "uid" in s}
            if counts and all(counts.values()):
                return counts
        return {}

    def _complete(
        self, connection: Connection, person: str, uid: str, *, evidence: str
    ) -> set[str]:
        """Close a study: find its phases, and let packs see it as an event."""
        now = self._parts.now()
        row = images.study(connection, uid)
        assert row is not None
        body = {**(row.body or {}), **self._phases(connection, uid)}
        images.put_study(
            connection,
            uid,
            {"state": "complete", "evidence": evidence, "completed_at": now, "body": body},
            now=now,
        )
        record_rows.raise_epoch(connection, person)
        wanted: set[str] = set()
        for protocol in self._parts.protocols:
            wanted |= self._evidence.study_complete(connection, person, protocol, uid, row.revision)
        return wanted

    def _phases(self, connection: Connection, uid: str) -> dict[str, Any]:
        """Which contrast phases the headers tell of, and why the other series do not count."""
        rows = [r for r in images.of_study(connection, uid) if r.state == "current"]
        headers = []
        for instance in rows:
            head = self._parts.blobs.path(instance.sha256)
            headers.append(part10.read(head.read_bytes(), pixels=False))
        chosen, rejected = series_choice.choose(headers)
        return {
            "phases": [c.choice.phase for c in chosen],
            "choices": {c.choice.phase: list(c.choice.reasons) for c in chosen},
            "rejected": rejected,
        }

    def announced(self, connection: Connection, fresh: Sequence[Entry]) -> set[str]:
        """An announcement that came after the instances may complete a study that waits."""
        wanted: set[str] = set()
        for entry in fresh:
            uid = str(entry.details.get("study_instance_uid", ""))
            row = images.study(connection, uid) if entry.kind == "imaging_study" and uid else None
            if row is not None and row.state == "arriving":
                key = f"study/{uid}/{row.revision}"
                if jobs.bring_forward(connection, key, now=self._parts.now()):
                    wanted.add("ingest")
        return wanted

    def settle(self, claim: Claim) -> set[str]:
        """Silence: complete the study unless something came meanwhile."""
        now = self._parts.now()
        uid, interface = claim.refs["study"], claim.refs["interface"]
        with writing(self._parts.engine) as connection:
            row = images.study(connection, uid, lock=True)
            if row is None or row.state == "complete" or row.person is None:
                jobs.finish(connection, claim, now=now, reason="already complete")
                return set()
            if images.unjudged(connection, uid):
                # Received in time, only not read yet: whoever reads them sets the silence anew.
                until = now + _LOOK_AGAIN
                jobs.postpone(connection, claim, until=until, reason="instances are still unread")
                return set()
            if self._announced_are_there(connection, row.person, uid):
                jobs.finish(connection, claim, now=now, reason="by evidence")
                return self._complete(connection, row.person, uid, evidence=_ANNOUNCED)
            silence = next(
                p.silence_s for p in self._parts.site.stow.values() if p.name == interface
            )
            until = row.last_instance_at + timedelta(seconds=silence)
            if until > now:
                jobs.postpone(connection, claim, until=until, reason="instances still arriving")
                return set()
            wanted = self._complete(connection, row.person, uid, evidence="silence")
            jobs.finish(connection, claim, now=now)
        return wanted


def _versions(instance: Any, known: Sequence[Any]) -> list[Any]:
    """The accepted versions of an instance that were stored before."""
    return [
        k
        for k in known
        if k.sop_instance_uid == instance.sop_instance_uid
        and k.sha256 != instance.sha256
        and k.state in ("current", "replaced")
    ]


def _conflict(fresh: Sequence[Any], known: Sequence[Any], digests: Mapping[str, str]) -> str:
    """Why a request must be set aside: other pixels or patient under a known UID, or nothing."""
    for instance in fresh:
        digest = digests.get(instance.sop_instance_uid)
        for other in _versions(instance, known) if digest is not None else ():
            patients = {(i.authority, i.patient) for i in (instance, other)}
            if other.pixel_sha256 != digest or len(patients) > 1:
                return "an instance came again under its UID with other pixels or patient"
    return ""


# What packs ask for; a dose report or key object of the same study must not hide it.
_IMAGES = ("CT", "MR", "SM", "PT")


def _study_values(
    entry: Entry, before: Any | None, found: Conversion, person: str, row: Any
) -> dict[str, Any]:
    """A study's row after a request: what it was, and what this request adds."""
    details = entry.details
    told = {
        "started": when_to_json(entry.effective) if entry.effective else None,
        "description": details.get("description", ""),
        "body_part": next((s["body_part"] for s in details["series"] if s.get("body_part")), ""),
    }
    modality = _modality(details)
    body = dict(before.body or {}) if before is not None else {}
    keep = before is not None and before.modality in _IMAGES and modality not in _IMAGES
    for name, value in told.items():
        if value and not (keep and body.get(name)):
            body[name] = value
    body.pop("phases", None)
    return {
        "person": person,
        # Where patients are parted again, a study goes with the identifier it first came under.
        "authority": before.authority if before is not None else found.patient.authority,
        "patient": before.patient if before is not None else found.patient.value,
        "modality": before.modality if before is not None and keep else modality,
        "state": "arriving",
        "origin": entry.source.origin,
        "last_instance_at": row.received_at,
        "revision": (before.revision + (before.state == "complete")) if before is not None else 0,
        "body": body,
    }


def _modality(details: Mapping[str, Any]) -> str:
    """The modality packs ask for: CT or MR where the study has one, else what it says."""
    sent = str(details.get("modality", "")).split("\\")
    return next((m for m in sent if m in _IMAGES), sent[0])
