"""Ingest: raw bytes to entries, readiness and follow-on work, in the order of receipt.

Mapping is pure and happens before the transaction; everything that changes the ledger happens in
one, together with the end of the job. Source: architecture.md "The flow"; site rules 1 to 3, 7.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import structlog
from sqlalchemy import Connection

from interop import metrics
from interop.ledger import entries as record_rows
from interop.ledger import jobs, messages, persons, rereading
from interop.ledger.engine import reading, writing
from interop.ledger.jobs import Claim
from mappings import fhir, hl7v2
from mappings.conversion import Conversion, Finding
from mappings.echo import filler_numbers, is_own, own_share, without_own
from mappings.errors import (
    MappingError,
    NoPatientIdentifier,
    UnmappedStructure,
    UnreadableMessage,
)
from mappings.fhir.door import parse
from mappings.hl7v2 import er7
from mappings.hl7v2.reading import Reading
from mappings.hl7v2.scan import Header, lane, scan
from mappings.persons import Claim as Said
from mappings.record import Entry, Origin, Source
from workers import answer
from workers.drain import describe
from workers.evidence import Evidence, Foreseen
from workers.parts import Parts
from workers.studies import Studies

log = structlog.get_logger()

# Messages to a transaction: SQLite's write lock is held against the doors for as long as it takes.
_A_TRANSACTION = 8

# No more digits than an id of the ledger has bits for.
_OUR_FILLER = re.compile(r"AI[0-9A-F]{1,15}|AI[0-7][0-9A-F]{15}")

Fate = Literal["applied", "unmapped", "echo", "parked", "quarantined"]


@dataclass(slots=True)
class Mapped:
    """One message after mapping: what to write, or why there is nothing to write."""

    fate: Fate = "applied"
    reason: str = ""
    conversions: list[Conversion] = field(default_factory=list)
    references: list[str] = field(default_factory=list)  # of FHIR conversions, one each
    findings: list[Finding] = field(default_factory=list)
    echoes: list[str] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)  # of the conversions, one each
    entries: list[Entry] = field(default_factory=list)  # of all conversions
    rows: record_rows.Rows = ()  # theirs
    foreseen: Foreseen | None = None


class Ingest:
    """The stage `ingest`."""

    name = "ingest"
    batch = 32  # a second worker finds nothing to do beside a first that claimed every lane

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._own_devices = parts.own_devices
        self._evidence = Evidence(parts)
        self._studies = Studies(parts, self._evidence)

    def work(self, claims: Sequence[Claim]) -> set[str]:
        """Map and apply a batch; studies one by one, since their pixels are read."""
        wanted: set[str] = set()
        asked = [claim.refs["inbound"] for claim in claims if "inbound" in claim.refs]
        with reading(self._parts.engine) as connection:
            rows = messages.rows(connection, asked)
        plain = [(c, rows[c.refs["inbound"]] if "inbound" in c.refs else None) for c in claims]
        plain = [(claim, row) for claim, row in plain if not self._waits(claim, row)]
        texts = [(claim, row) for claim, row in plain if row is not None and row.door != "stow"]
        for start in range(0, len(texts), _A_TRANSACTION):
            some = self._prepared(texts[start : start + _A_TRANSACTION])
            with writing(self._parts.engine) as connection:
                for claim, row, made in some:
                    wanted |= self._apply(connection, claim, row, made)
        for claim, row in plain:
            if row is None:
                wanted |= self._studies.settle(claim)
            elif row.door == "stow":
                wanted |= self._studies.arrive(claim, row)
        return wanted

    def _prepared(self, texts: Sequence[tuple[Claim, Any]]) -> list[tuple[Claim, Any, Mapped]]:
        """All that can be done with some messages before the write lock is taken."""
        known = self._parts.site.senders
        some = [
            (claim, row, self._map(claim, row) if row.interface in known else _of_nobody(row))
            for claim, row in texts
        ]
        with reading(self._parts.engine) as connection:
            for claim, _, made in some:
                _set_echoes_aside(connection, made)
                if claim.refs.get("replay"):
                    made.conversions = rereading.again(
                        connection, claim.refs["inbound"], made.conversions
                    )
                heard = [persons.unheard(connection, found) for found in made.conversions]
                made.conversions = [found for found, _ in heard]
                made.said = [said for _, said in heard]
                made.entries = [entry for found in made.conversions for entry in found.entries]
                made.foreseen = self._evidence.foresee(connection, made.conversions, made.entries)
                made.rows = self._rows(made.entries)
        return some

    def _rows(self, entries: Sequence[Entry]) -> record_rows.Rows:
        now_ms = int(self._parts.now().timestamp() * 1000)
        return record_rows.rows(self._parts.engine, entries, self._parts.ids, now_ms)

    def _waits(self, claim: Claim, row: Any | None) -> bool:
        """Whether a merge was given back until it is alone in both its patients' lanes (rule 5)."""
        if row is None or row.door != "mllp" or claim.prior is not None or b"MRG" not in row.body:
            return False
        try:
            header = scan(row.body)
        except UnreadableMessage:
            return False  # mapping will say so
        prior = lane(header.prior_ids, header.delimiters)
        if prior in ("", claim.lane):
            return False
        with writing(self._parts.engine) as connection:
            jobs.take_both(connection, claim, prior, now=self._parts.now())
        return True

    def _map(self, claim: Claim, row: Any) -> Mapped:
        site = self._parts.site.sender(row.interface)
        origin: Origin = "history" if claim.refs.get("replay") else row.origin
        source = Source(row.interface, row.id, row.received_at, origin, site.rank)
        try:
            if row.door == "mllp":
                return self._map_hl7(row.body, source)
            return self._map_fhir(row.body, source)
        except UnmappedStructure as error:
            return Mapped("unmapped", str(error))
        except NoPatientIdentifier as error:
            return Mapped("parked", str(error))
        except (UnreadableMessage, MappingError) as error:
            return Mapped("quarantined", str(error))
        except Exception as error:  # noqa: BLE001  third-party parsers of untrusted bytes
            return Mapped("quarantined", describe(error))

    def _map_hl7(self, body: bytes, source: Source) -> Mapped:
        site = self._parts.site
        header = scan(body)
        fillers = self._own_fillers(header)
        share = own_share(header, site.applications, site.own_systems, fillers)
        if share == "all":
            return Mapped("echo", echoes=[header.control_id])
        sender = site.sender(source.interface)
        made = hl7v2.entries(body, site=sender, source=source)
        if share == "none":
            return Mapped(conversions=[made], findings=list(made.findings))
        again = Reading.of(er7.parse(body, sender.charset), sender, source)
        theirs = without_own(made, again, site.applications, site.own_systems, fillers)
        if theirs is None:
            reason = "results of ours stand in it beside results of others"
            return Mapped("parked", reason, echoes=[header.control_id])
        echoes, findings = [header.control_id], list(theirs.findings)
        return Mapped(conversions=[theirs], findings=findings, echoes=echoes)

    def _own_fillers(self, header: Header) -> frozenset[str]:
        """Filler numbers that are ours although no name says so: `AI` and a prediction's id."""
        numbers = {
            filler: int(filler.removeprefix("AI"), base=16)
            for filler in filler_numbers(header)
            if _OUR_FILLER.fullmatch(filler)
        }
        if not numbers:
            return frozenset()
        with reading(self._parts.engine) as connection:
            known = messages.predicted(connection, set(numbers.values()))
        return frozenset(filler for filler, number in numbers.items() if number in known)

    def _map_fhir(self, body: bytes, source: Source) -> Mapped:
        data = parse(body)
        site = self._parts.site.sender(source.interface)
        made = Mapped()
        if data.get("resourceType") != "Bundle":
            data = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": data}]}
        subjects = fhir.subjects(data, site=site)
        for part in fhir.split(data):
            resource = part.resource
            if resource is None:
                made.findings.append(Finding(f"Bundle {part.method}", "request without resource"))
            elif is_own(resource, self._parts.site.own_systems, self._own_devices):
                made.echoes.append(f"{resource['resourceType']}/{resource.get('id', '')}")
            else:
                self._map_resource(resource, subjects, source, made)
        if made.echoes and not made.conversions:
            made.fate = "echo"
        elif not made.conversions:
            made.fate = "parked" if made.reason else "unmapped"
        return made

    def _map_resource(
        self, resource: dict[str, Any], subjects: dict[str, Any], source: Source, made: Mapped
    ) -> None:
        """One resource of a Bundle; what cannot be mapped is reported, the rest goes on."""
        name = str(resource.get("resourceType"))
        site = self._parts.site.sender(source.interface)
        try:
            found = fhir.entries(resource, site=site, source=source, patient=subjects.get)
        except NoPatientIdentifier as error:
            made.reason = str(error)
            made.findings.append(Finding(name, str(error), "error"))
        except MappingError as error:
            made.findings.append(Finding(name, str(error), "information"))
        else:
            made.conversions.append(found)
            made.references.append(f"{name}/{resource.get('id', '')}")
            made.findings += found.findings

    def _apply(self, connection: Connection, claim: Claim, row: Any, made: Mapped) -> set[str]:
        """Write one message's entries, what follows from them, and the end of its job."""
        now = self._parts.now()
        wanted: set[str] = set()
        for reference in made.echoes:
            messages.sight(
                connection,
                self._parts.id(),
                message=row.id,
                door=row.door,
                reference=reference,
                now=now,
            )
        if made.conversions:
            wanted = self._file(connection, claim, row, made)
        state = "ignored" if made.fate in ("unmapped", "echo") else made.fate
        messages.mark(
            connection,
            row.id,
            state=state,
            reason=made.reason or ("" if made.fate == "applied" else made.fate),
            report=[[f.path, f.reason, f.severity] for f in made.findings],
        )
        jobs.finish(connection, claim, now=now, reason=made.fate)
        wanted |= answer.owe(connection, self._parts, claim, row, made.fate)
        if made.fate in ("quarantined", "parked"):
            metrics.quarantined.labels(row.door).inc()
            log.warning("ingest.set_aside", message=row.id, state=made.fate, reason=made.reason)
        return wanted

    def _file(self, connection: Connection, claim: Claim, row: Any, made: Mapped) -> set[str]:
        """Write the entries under whom they are about, unless that is in doubt."""
        filed = persons.file(
            connection,
            made.said,
            made.rows,
            message=row.id,
            ids=self._parts.ids,
            now_ms=int(self._parts.now().timestamp() * 1000),
            decided=bool(claim.refs.get("decided")),
        )
        if filed.doubt is not None:
            made.fate, made.reason = "parked", filed.doubt.reason
            return set()
        if claim.refs.get("decided"):
            persons.decide(connection, row.id)
        corrects = row.origin != "history"
        wanted: set[str] = set()
        if filed.regrouped:
            log.warning("ingest.persons_regrouped", message=row.id, count=len(filed.regrouped))
            wanted = self._evidence.regrouped(
                connection, filed.regrouped, message=row.id, corrects=corrects
            )
        by_person: dict[str, list[Entry]] = {who: [] for who in filed.persons.values()}
        for entry in made.entries:
            by_person[filed.persons[entry.patient]].append(entry)
        for who, theirs in by_person.items():
            epoch = record_rows.raise_epoch(connection, who)
            wanted |= self._evidence.changed(
                connection,
                who,
                theirs,
                message=row.id,
                corrects=corrects,
                foreseen=_still(made, who, epoch),
            )
            wanted |= self._studies.announced(connection, theirs)
        return wanted


def _of_nobody(row: Any) -> Mapped:
    """How its interface writes is not known any more."""
    return Mapped("parked", f"the site has no interface {row.interface} any more")


def _set_echoes_aside(connection: Connection, made: Mapped) -> None:
    """What an EHR gives back under the id under which we wrote it, whatever it has left of it."""
    if not made.references:
        return
    names = [name for found in made.conversions for name in found.identifiers]
    written = messages.delivered(connection, record_rows.persons_of(connection, names))
    pairs = list(zip(made.references, made.conversions, strict=True))
    made.echoes += [reference for reference, _ in pairs if reference in written]
    made.conversions = [found for reference, found in pairs if reference not in written]
    made.references = [reference for reference in made.references if reference not in written]
    if not made.conversions:
        made.fate = "echo"


def _still(made: Mapped, person: str, epoch: int) -> Foreseen | None:
    """What was foreseen of a person, unless the record grew meanwhile."""
    seen = made.foreseen
    if seen is None or epoch != seen.epoch or seen.person not in (None, person):
        return None
    return seen
