"""Deliver: locked predictions to the site's carrier, exactly once by key, in each person's order.

The outbox row says SENDING before anything leaves; a row found SENDING or UNKNOWN is looked up in
the EHR before it is sent again. Source: writeback.md 2.2; site rules 4 and 8.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import structlog
from sqlalchemy import Connection

from inference import heads
from inference.conform import outcome_name
from inference.manifest import Manifest
from inference.packs import Pack
from inference.prediction import Prediction
from interop import metrics
from interop.ehr import Receipt, Subject, Written
from interop.errors import PeerUnavailable, Permanent, ReadBackDiffers
from interop.ledger import decisive, following, jobs, messages, results
from interop.ledger import entries as record_rows
from interop.ledger.engine import writing
from interop.ledger.jobs import Claim
from mappings.outbound.er7 import pid_of
from mappings.outbound.result import Correction, Input, Outcome, Result, ResultStatus
from mappings.record import Code, Entry, Identifier, PatientRecord, When
from mappings.record_json import when_from_json
from mappings.wanted import Wanted
from workers.parts import Parts

log = structlog.get_logger()

_LOINC = "http://loinc.org"
_CATEGORIES = "http://terminology.hl7.org/CodeSystem/v2-0074"


class Deliver:
    """The stage `deliver`."""

    name = "deliver"
    batch = 1

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def work(self, claims: Sequence[Claim]) -> set[str]:
        """Deliver one result."""
        for claim in claims:
            self._deliver(claim)
        return set()

    def _deliver(self, claim: Claim) -> None:
        carrier = self._parts.carrier
        delivery_id = claim.refs["delivery"]
        if carrier is None:
            raise Permanent("this site has no carrier")
        with writing(self._parts.engine) as connection:
            row = results.delivery(connection, delivery_id)
            if row.state in ("CONFIRMED", "OVERTAKEN"):
                jobs.finish(connection, claim, now=self._parts.now(), reason="settled before")
                return
            previous = self._previous(connection, row)
            overtaken = self._overtaken(connection, row, previous)
            if overtaken and row.attempt == 0:
                self._pass_over(connection, claim, delivery_id)
                return
            result = self._result(connection, row)
            subject = self._subject(connection, row)
            results.set_delivery(
                connection,
                delivery_id,
                now=self._parts.now(),
                state="SENDING",
                attempt=row.attempt + 1,
            )
        receipt: Receipt | None
        try:
            if overtaken:
                receipt = carrier.look(result, subject, previous=previous)
            else:
                # Whatever an earlier attempt believed of its outcome: look before sending again.
                tried = row.attempt > 0
                receipt = carrier.deliver(result, subject, previous=previous, uncertain=tried)
        except Exception as error:
            self._failed(row, error)
            raise
        if receipt is None:
            with writing(self._parts.engine) as connection:
                self._pass_over(connection, claim, delivery_id)
        else:
            self._confirm(claim, delivery_id, receipt)

    def _overtaken(self, connection: Connection, row: Any, previous: Mapping[str, Written]) -> bool:
        """Whether this must not be written any more (site rule 4: checked before the end).

        A result that was superseded or withdrawn meanwhile is not published; a withdrawal is
        nothing where nothing was written.
        """
        if row.status == "entered-in-error":
            return not previous
        return bool(results.prediction(connection, row.prediction).state != "current")

    def _pass_over(self, connection: Connection, claim: Claim, delivery_id: int) -> None:
        now = self._parts.now()
        results.set_delivery(connection, delivery_id, now=now, state="OVERTAKEN")
        jobs.finish(connection, claim, now=now, reason="overtaken before it was written")

    def _failed(self, row: Any, error: BaseException) -> None:
        """Keep in the outbox what is known of the outcome; the job itself is settled by `drain`.

        Only an error that came before anything was sent leaves a delivery PENDING, and only if no
        earlier attempt was left in doubt.
        """
        values: dict[str, Any] = {"state": "UNKNOWN", "reason": ""}
        if isinstance(error, Permanent):
            values = {"state": "PARKED", "reason": error.reason}
        elif isinstance(error, PeerUnavailable) and row.state not in ("SENDING", "UNKNOWN"):
            values["state"] = "PENDING"
        if isinstance(error, ReadBackDiffers):
            values["resources"] = {role: list(place) for role, place in error.written.items()}
        metrics.deliveries.labels(row.carrier, values["state"]).inc()
        with writing(self._parts.engine) as connection:
            results.set_delivery(connection, row.id, now=self._parts.now(), **values)

    def _confirm(self, claim: Claim, delivery_id: int, receipt: Receipt) -> None:
        now = self._parts.now()
        resources = {role: [w.reference, w.version] for role, w in receipt.written.items()}
        digest = hashlib.sha256(repr(sorted(resources.items())).encode()).hexdigest()
        with writing(self._parts.engine) as connection:
            results.set_delivery(
                connection,
                delivery_id,
                now=now,
                state="CONFIRMED",
                resources=resources,
                bundle_digest=digest,
                reason="",
            )
            jobs.finish(connection, claim, now=now, reason="confirmed")
        name = self._parts.carrier.name if self._parts.carrier else ""
        metrics.deliveries.labels(name, "CONFIRMED").inc()
        log.info("deliver.confirmed", carrier=name, id=delivery_id)

    def _previous(self, connection: Connection, row: Any) -> dict[str, Written]:
        """What earlier versions of the lineage wrote: ids are kept, versions matched."""
        written: dict[str, Written] = {}
        for other in results.deliveries_of_lineage(connection, row.lineage, row.carrier):
            if other.id != row.id:
                written |= {role: Written(*pair) for role, pair in (other.resources or {}).items()}
        # A Device and a Provenance are written once each and never amended.
        return {r: w for r, w in written.items() if r != "device" and "provenance" not in r}

    def _subject(self, connection: Connection, row: Any) -> Subject:
        names = tuple(record_rows.identifiers(connection, row.person))
        entries = self._told(connection, row)
        record = PatientRecord.of(entries, as_of=self._parts.now())
        birth = record.demographic("birth_date")
        date = birth.value.isoformat()[:10] if birth and isinstance(birth.value, When) else None
        return Subject(
            identifiers=tuple(Identifier(n.value, n.authority) for n in names),
            birth_date=date,
            pid=self._pid(connection, entries),
        )

    def _told(self, connection: Connection, row: Any) -> list[Entry]:
        """What tells whom a result is about; to take it back, whom it was said to be about."""
        stored = results.prediction(connection, row.prediction)
        if stored.state != "misfiled" and self._parts.site.oru is None:
            wanted = Wanted(as_of=self._parts.now(), demographics=frozenset({"birth_date"}))
            return decisive.of_person(connection, row.person, wanted).entries
        if stored.state != "misfiled":  # an ORU repeats the PID that was told last, of all
            return record_rows.of_person(connection, row.person)
        said = results.deliveries_of_lineage(connection, row.lineage, row.carrier)
        when = max((d.updated_at for d in said if d.state == "CONFIRMED"), default=stored.as_of)
        who = following.about(connection, stored.id, stored.body)
        return record_rows.of_identifier(connection, who, as_of=when)

    def _pid(self, connection: Connection, entries: Sequence[Entry]) -> str | None:
        """PID of the newest HL7 message that told the patient; None where nobody asks."""
        if self._parts.site.oru is None:
            return None
        told = [e for e in entries if e.kind == "patient" and e.path.startswith("PID")]
        if not told:
            return None
        newest = max(told, key=lambda entry: entry.source.message)
        row = messages.get(connection, newest.source.message)
        charset = self._parts.site.sender(newest.source.interface).charset
        number = newest.path.removeprefix("PID[").partition("]")[0]
        return pid_of(row.body, charset, int(number))

    def _result(self, connection: Connection, row: Any) -> Result:
        stored = results.prediction(connection, row.prediction)
        earlier = None
        if stored.supersedes is not None:
            earlier = results.prediction(connection, stored.supersedes)
        pack = self._parts.pack(stored.pack)
        if pack is None:
            raise Permanent(f"pack {stored.pack} is not there or refused")
        first = results.by_instance_key(connection, stored.lineage)
        return self.result(pack, row, stored, earlier, first.id if first else stored.id)

    def result(self, pack: Pack, row: Any, stored: Any, earlier: Any | None, first: int) -> Result:
        """A stored prediction as the value every carrier writes.

        `first` is the id of the first of its lineage: a correction keeps the number of what it
        corrects.
        """
        prediction = Prediction.from_json(stored.body["prediction"])
        site, report = self._parts.site, pack.manifest.report
        inputs = tuple(_input(item) for item in stored.body["inputs"])
        times = [i.when for i in inputs if i.when is not None and i.kind != "Patient"]
        t0 = When.instant(prediction.t0)
        return Result(
            instance_key=row.instance_key,
            series_key=stored.series_key,
            lineage=stored.lineage,
            revision=stored.revision + (row.status == "entered-in-error"),
            filler=f"AI{first:X}",
            status=cast(ResultStatus, row.status),
            question=Code(
                f"{site.namespace}/ai-question", prediction.question, pack.manifest.title
            ),
            title=pack.manifest.title,
            report_code=Code(_LOINC, report.code, report.display),
            category=Code(_CATEGORIES, report.category, report.category_display),
            issued=row.created_at,
            effective=max([t0, *times], key=lambda when: when.earliest),
            outcomes=_outcomes(pack.manifest, prediction),
            inputs=inputs,
            contributions=dict(prediction.contributions_logit),
            missing=tuple(f"{m.input}: {m.reason}; {m.handling}" for m in prediction.missing),
            warnings=(*prediction.ood_reasons, *_recalibrated(prediction)),
            model=self._parts.model(pack),
            study_instance_uids=tuple(sorted({i.study_instance_uid for i in prediction.instances})),
            namespace=site.namespace,
            organization=site.organization,
            correction=_correction(row.status, stored, earlier),
            scale=site.scale,
            interval_level=prediction.interval or 0.9,
        )


def _outcomes(manifest: Manifest, prediction: Prediction) -> tuple[Outcome, ...]:
    """The classes; the tier and the locked threshold belong to the positive one."""
    day = When(prediction.t0.replace(tzinfo=None), "day")
    return tuple(
        Outcome(
            code=Code(o.system, o.code, o.display) if o.system else None,
            text=heads.words(manifest, o),
            local=outcome_name(o).replace("/", "-"),
            probability=o.probability,
            interval=None if o.low is None or o.high is None else (o.low, o.high),
            tier=prediction.tier if number == 0 else None,
            threshold=prediction.threshold if number == 0 else None,
            start=day,
            end=_later(day, o.horizon_days),
        )
        for number, o in enumerate(prediction.outcomes)
    )


def _recalibrated(prediction: Prediction) -> Sequence[str]:
    """Nobody shall take a site's own figures for the maker's."""
    if not prediction.recalibration:
        return ()
    return (f"the probability was recalibrated at this site: version {prediction.recalibration}",)


def _later(day: When, days: int | None) -> When:
    return replace(day, value=day.value + timedelta(days=days)) if days else day


def _input(item: Mapping[str, Any]) -> Input:
    return Input(
        label=item["label"],
        text=item["text"],
        when=when_from_json(item["when"]) if item["when"] else None,
        reference=item["reference"],
        kind=item["kind"],
        digest=item["digest"],
    )


def _correction(status: str, stored: Any, earlier: Any | None) -> Correction | None:
    if status == "entered-in-error" and stored.state == "misfiled":
        return Correction(reason="it was made of the record of more than one patient", was="")
    if status == "entered-in-error":
        return Correction(reason="an input was withdrawn and what remains does not suffice", was="")
    if earlier is None:
        return None
    before = Prediction.from_json(earlier.body["prediction"])
    changed = stored.body.get("changed", "")
    label = next((i["label"] for i in stored.body["inputs"] if i["key"] == changed), "an input")
    was = before.outcomes[0]
    reason = f"{label} was corrected at its source" if changed else "the study was extended"
    if stored.why == "merge":
        reason = "two records of the patient became one"
    return Correction(
        reason=reason,
        was=f"{was.probability * 100:.1f} %",
    )
