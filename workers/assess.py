"""Assess: patients whose packs are ready, in batches, to locked predictions in the ledger.

The record is read, the pack run, and the prediction written only if nobody changed the record
meanwhile (site rule 4). A correction keeps its lineage; a result whose inputs no longer suffice is
withdrawn. Source: architecture.md "Results never outlive their inputs"; writeback.md 3.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

import structlog
from sqlalchemy import Connection

from inference import assess as assessing
from inference import chain, eligibility
from inference.assess import Case
from inference.errors import PackRefused, SessionRefused
from inference.manifest import Precision
from inference.packs import Pack
from inference.prediction import Prediction
from inference.session import Provider
from interop.ledger import entries as record_rows
from interop.ledger import images, jobs, results
from interop.ledger.engine import reading, writing
from interop.ledger.jobs import Claim, NewJob
from interop.ledger.results import NewPrediction
from mappings.dicom import part10
from mappings.dicom.ct import ct_study
from mappings.dicom.segmentation import STORAGES
from mappings.errors import ImageError
from mappings.images import CtStudy
from mappings.record import Coded, Entry, PatientRecord, Quantity, Text, When
from mappings.record_json import when_to_json
from workers.evidence import known_of, study_of, study_summary
from workers.parts import Parts

log = structlog.get_logger()

_AGAIN = timedelta(milliseconds=50)
_STUDY_OPEN = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Read:
    """What was read for one claim."""

    claim: Claim
    epoch: int
    as_of: datetime
    answer: eligibility.Readiness
    case: Case | None


class Assess:
    """The stage `assess`."""

    name = "assess"
    batch = 16

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        for pack in parts.packs:
            self._warm(pack)

    def _warm(self, pack: Pack) -> None:
        """Load a pack's graphs: the first patient must not pay for it.

        What does not load here, on this provider, parks its own jobs and stops no other pack.
        """
        provider = cast(Provider, self._parts.settings.provider)
        try:
            chain.sessions(pack, provider, self._precision(pack))
        except (PackRefused, SessionRefused) as error:
            log.error("assess.pack_does_not_load", pack=pack.manifest.id, reason=str(error))  # noqa: TRY400

    def _precision(self, pack: Pack) -> Precision | None:
        return self._parts.site.packs[pack.manifest.id].precision

    def work(self, claims: Sequence[Claim]) -> set[str]:
        """Run a batch, pack by pack; every claim is finished, postponed or parked."""
        by_pack: dict[str, list[Claim]] = defaultdict(list)
        for claim in claims:
            by_pack[claim.refs["pack"]].append(claim)
        wanted: set[str] = set()
        for name, held in by_pack.items():
            pack = self._parts.pack(name)
            if pack is None:
                self._park(held, f"pack {name} is not there or refused")
            elif pack.manifest.release.expired(self._parts.now().date()):
                self._park(held, f"pack {name} expired on {pack.manifest.release.expires}")
            else:
                wanted |= self._run(pack, held)
        return wanted

    def _park(self, claims: Sequence[Claim], reason: str) -> None:
        with writing(self._parts.engine) as connection:
            for claim in claims:
                jobs.park(connection, claim, now=self._parts.now(), reason=reason)

    def _run(self, pack: Pack, claims: Sequence[Claim]) -> set[str]:
        # Four phases of 400 slices are 1.7 GB: those of a whole batch are not held at once.
        at_once = 1 if pack.manifest.images else len(claims)
        wanted: set[str] = set()
        for first in range(0, len(claims), at_once):
            wanted |= self._run_together(pack, claims[first : first + at_once])
        return wanted

    def _run_together(self, pack: Pack, claims: Sequence[Claim]) -> set[str]:
        read = [self._read(pack, claim) for claim in claims]
        cases = [r.case for r in read if r.case is not None]
        provider = cast(Provider, self._parts.settings.provider)
        made = iter(assessing.assess(pack, cases, provider, self._precision(pack)))
        wanted: set[str] = set()
        for item in read:
            prediction = next(made) if item.case is not None else None
            with writing(self._parts.engine) as connection:
                wanted |= self._record(connection, pack, item, prediction)
        return wanted

    def _read(self, pack: Pack, claim: Claim) -> Read:
        """Record, readiness and images of one person, as of now."""
        person = claim.refs["person"]
        with reading(self._parts.engine) as connection:
            epoch = record_rows.epoch_of(connection, person)
            now = self._parts.now()
            studies = [
                study_summary(row)
                for row in images.studies_of(connection, person)
                if row.study_instance_uid == claim.refs["study"]
            ]
            at = _moment(claim.refs.get("t0"))
            record = known_of(connection, person, pack.manifest, studies, now, at=at)
            answer = eligibility.readiness(pack.manifest, record, studies, now, at)
            uid = answer.study_instance_uid
            rows = images.of_study(connection, uid) if uid else []
        if answer.state != "ready" or answer.t0 is None:
            return Read(claim, epoch, now, answer, None)
        case = Case(record=record, ct=self._ct(pack, rows), t0=answer.t0, as_of=now)
        return Read(claim, epoch, now, answer, case)

    def _ct(self, pack: Pack, rows: Sequence[Any]) -> CtStudy | None:
        """Volumes of the index study, or None when no series of it can be used.

        With the segments that the pack asks for; where it asks for none, no SEG is read.
        """
        codes = pack.manifest.ct.segments if pack.manifest.ct is not None else ()
        current = [
            row
            for row in rows
            if row.state == "current" and (codes or row.sop_class_uid not in STORAGES)
        ]
        datasets = [part10.read(self._parts.blobs.read(row.sha256)) for row in current]
        try:
            found = ct_study(datasets, images.refs(current), codes)
        except ImageError as error:
            log.warning("assess.no_usable_series", error=type(error).__name__)
            return None
        if codes and not found.segments:
            log.warning("assess.no_segment", reason="; ".join(sorted(found.rejected.values())))
        return found

    def _record(
        self, connection: Connection, pack: Pack, item: Read, prediction: Prediction | None
    ) -> set[str]:
        """Lock a prediction, or withdraw the one it should have corrected."""
        now = self._parts.now()
        claim, person = item.claim, item.claim.refs["person"]
        if record_rows.epoch_of(connection, person, lock=True) != item.epoch:
            # The record grew while the pack ran: what was computed is stale before it is written.
            jobs.postpone(connection, claim, until=now + _AGAIN, reason="record changed meanwhile")
            return {"assess"}
        corrects = self._corrected(connection, item, pack)
        wanted: set[str] = set()
        if claim.refs["why"] == "parted":
            # It stands on a chart that is not its patient's: gone there before it is said anew.
            if corrects is not None:
                wanted = self._withdraw(connection, corrects, "misfiled")
            corrects = next(iter(self._of_episode(connection, item, pack)), None)
        if prediction is None:
            return wanted | self._not_run(connection, item, corrects)
        grounds = prediction.instance_key(self._parts.settings.secret, person)
        known = results.by_instance_key(connection, grounds)
        stands = corrects if corrects is not None and corrects.state == "current" else known
        if stands is not None and stands.state == "current" and self._same(stands, person, grounds):
            jobs.finish(connection, claim, now=now, reason="the same grounds, the same result")
            return wanted
        # Grounds that held once, were corrected and hold again make a new version all the same.
        key = grounds if known is None else _again(grounds, corrects.id if corrects else claim.id)
        made = self._new(pack, prediction, key, corrects, item)
        head = results.chain_head(connection, self._parts.ids.writer)
        results.add_prediction(connection, made, head=head, now=now)
        wanted |= self._hand_over(connection, made, "corrected" if corrects else "preliminary")
        jobs.finish(connection, claim, now=now, reason="predicted")
        log.info("assess.predicted", pack=made.pack, prediction=made.id, why=made.why)
        return wanted

    def _same(self, stands: Any, person: str, grounds: str) -> bool:
        """Whether a stored prediction rests on these grounds, whatever number its person had."""
        stored = Prediction.from_json(stands.body["prediction"])
        return stored.instance_key(self._parts.settings.secret, person) == grounds

    def _not_run(self, connection: Connection, item: Read, corrects: Any | None) -> set[str]:
        """The pack cannot run on what is known now: wait, withdraw, or leave the trigger open."""
        now, claim = self._parts.now(), item.claim
        study = images.study(connection, claim.refs["study"] or "")
        if study is not None and study.state != "complete":
            jobs.postpone(connection, claim, until=now + _STUDY_OPEN, reason="study re-opened")
            return set()
        wanted: set[str] = set()
        if claim.refs["why"] in ("correction", "merge"):
            if corrects is not None and corrects.state == "current":
                wanted = self._withdraw(connection, corrects)
        else:
            person, pack = claim.refs["person"], claim.refs["pack"]
            results.reopen(connection, person, pack, claim.refs["event"], now=now)
        jobs.finish(connection, claim, now=now, reason=f"not run: {item.answer.state}")
        return wanted

    def _corrected(self, connection: Connection, item: Read, pack: Pack) -> Any | None:
        """The result this run replaces: the one the job names, else the one of the same episode."""
        claim = item.claim
        named = claim.refs.get("corrects")
        if named is not None:
            row = results.prediction(connection, named)
            # Two corrections in a row name the same result; the second replaces the first's.
            newer = [
                r for r in self._of_episode(connection, item, pack) if r.lineage == row.lineage
            ]
            if newer or row.state != "misfiled" or claim.refs["why"] == "parted":
                return newer[-1] if newer else row if row.state == "withdrawn" else None
        return next(iter(self._of_episode(connection, item, pack)), None)

    def _of_episode(self, connection: Connection, item: Read, pack: Pack) -> list[Any]:
        """Standing results of the job's study, or of the same index time where it has none."""
        refs = item.claim.refs
        t0 = _moment(refs.get("t0")) or item.answer.t0
        return [
            row
            for row in results.current(connection, refs["person"], pack.manifest.id)
            if _is_of(row.body, refs["study"], t0)
        ]

    def _new(
        self,
        pack: Pack,
        prediction: Prediction,
        key: str,
        corrects: Any | None,
        item: Read,
    ) -> NewPrediction:
        person = item.claim.refs["person"]
        refs = item.claim.refs
        why = refs["why"]
        used = {u.key: (u.digest, u.seq) for u in prediction.used}
        used |= {
            f"instance/{i.sop_instance_uid}": (i.pixel_sha256, 0) for i in prediction.instances
        }
        assert item.case is not None
        return NewPrediction(
            id=self._parts.id(),
            person=person,
            pack=prediction.pack,
            pack_version=prediction.pack_version,
            pack_digest=prediction.pack_digest,
            question=prediction.question,
            instance_key=key,
            series_key=prediction.series_key(
                self._parts.settings.secret, person, item.answer.study_instance_uid or ""
            ),
            lineage=corrects.lineage if corrects else key,
            revision=corrects.revision + 1 if corrects else 1,
            supersedes=corrects.id if corrects else None,
            why=why,
            as_of=item.as_of,
            body={
                "prediction": prediction.to_json(),
                "study": item.answer.study_instance_uid,
                "inputs": _inputs(pack, item.case.record, prediction),
                "changed": refs.get("changed", ""),
            },
            used=used,
        )

    def _withdraw(
        self, connection: Connection, corrects: Any, state: str = "withdrawn"
    ) -> set[str]:
        """The inputs no longer suffice: what stands in the EHR becomes entered-in-error."""
        results.set_state(connection, corrects.id, state)
        log.warning("assess.withdrawn", pack=corrects.pack, prediction=corrects.id)
        if self._parts.carrier is None:
            return set()
        name = self._parts.carrier.name
        if not results.deliveries_of_lineage(connection, corrects.lineage, name):
            return set()  # nothing was ever to be written, so there is nothing to take back
        key = _again(corrects.instance_key, "withdrawn")
        return self._queue(connection, corrects, "entered-in-error", key)

    def _hand_over(self, connection: Connection, made: NewPrediction, status: str) -> set[str]:
        """Write-back is off until a site switches it on, per pack (site rule 3)."""
        if not self._parts.site.packs[made.pack].write_back or self._parts.carrier is None:
            return set()
        return self._queue(connection, made, status, made.instance_key)

    def _queue(self, connection: Connection, made: Any, status: str, key: str) -> set[str]:
        if self._parts.carrier is None:
            return set()
        now = self._parts.now()
        delivery = self._parts.id()
        results.add_delivery(
            connection,
            {
                "id": delivery,
                "prediction": made.id,
                "person": made.person,
                "instance_key": key,
                "lineage": made.lineage,
                "carrier": self._parts.carrier.name,
                "status": status,
                "state": "PENDING",
                "attempt": 0,
                "bundle_digest": "",
                "reason": "",
                "created_at": now,
                "updated_at": now,
            },
        )
        job = NewJob(
            stage="deliver",
            lane=made.person,
            key=f"deliver/{self._parts.carrier.name}/{key}",
            refs={"delivery": delivery},
        )
        jobs.add(connection, [(self._parts.id(), job)], now=now)
        return {"deliver"}


def _is_of(body: Mapping[str, Any], study: str | None, t0: datetime | None) -> bool:
    if study is not None:
        return study_of(body) == study
    return t0 is not None and datetime.fromisoformat(body["prediction"]["t0"]) == t0


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _again(key: str, salt: object) -> str:
    """A further key for the same grounds."""
    return hashlib.sha256(f"{key}/{salt}".encode()).hexdigest()


def _inputs(pack: Pack, record: PatientRecord, prediction: Prediction) -> list[Mapping[str, Any]]:
    """What the report says of each input used: words and references, frozen with the prediction."""
    by_key = {entry.key: entry for entry in record.entries}
    display = {i.id: i.display for i in pack.manifest.inputs}
    return [
        {
            "key": used.key,
            "label": display.get(used.used_as, used.used_as),
            "text": _text(entry),
            "when": when_to_json(entry.effective) if entry.effective else None,
            "reference": entry.details.get("reference"),
            "kind": _fhir_type(entry),
            "digest": used.digest,
        }
        for used in prediction.used
        if (entry := by_key.get(used.key)) is not None
    ]


_FHIR_TYPE = {
    "patient": "Patient",
    "report": "DiagnosticReport",
    "condition": "Condition",
    "procedure": "Procedure",
    "family_history": "FamilyMemberHistory",
}


def _fhir_type(entry: Entry) -> str:
    """The resource type that an entry is in an EHR."""
    if entry.kind == "medication":
        return f"Medication{str(entry.details.get('act') or 'statement').capitalize()}"
    return _FHIR_TYPE.get(entry.kind, "Observation")


def _text(entry: Entry) -> str:
    """A value for people; a narrative is named, not repeated."""
    value = entry.value
    if isinstance(value, Quantity):
        return f"{value.comparator or ''}{value.text} {value.unit or value.raw_unit}".strip()
    if isinstance(value, When):
        return value.isoformat()
    if isinstance(value, Coded):
        return value.text or next((c.display or c.code for c in value.codes), "")
    if isinstance(value, Text) and entry.kind != "report":
        return value.text
    return "findings section" if entry.kind == "report" else ""
