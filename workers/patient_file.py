"""One patient's file, as `oncord pack` takes it: entries as in examples/, FHIR JSON or HL7 v2.

No site file is read: a trial must give the same on the author's own machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from inference.assess import Case
from inference.conform import NO_CASE, case_from_json
from mappings import fhir, hl7v2
from mappings.conversion import Conversion, Finding
from mappings.errors import MappingError, NoPatientIdentifier
from mappings.fhir import door
from mappings.record import PatientRecord, Source
from mappings.site import Site

_LARGEST = 64 << 20


class BadRecord(MappingError):
    """A file that is no record of one patient; the text says what it lacks, never a value."""


def case(
    file: Path, as_of: datetime | None, authorities: Sequence[str] = ()
) -> tuple[PatientRecord, Case | None, tuple[Finding, ...]]:
    """The record in a file, a case of its own if it is one of entries, and what was not mapped.

    Raises:
        BadRecord: it is none of the three kinds, or of more than one patient.
        MappingError: a message that cannot be read or is of nobody.
        OSError: it cannot be read.
    """
    with file.open("rb") as stream:
        raw = stream.read(_LARGEST + 1)
    if len(raw) > _LARGEST:
        raise BadRecord(f"{file.name}: larger than {_LARGEST >> 20} MiB")
    moment = (as_of or datetime.now(UTC)).replace(tzinfo=UTC)
    site, source = _sender(moment, authorities)
    if raw.startswith(b"MSH"):
        messages = _hl7(raw, site, source)
        left = tuple(f for one in messages for f in one.findings)
        return _folded(messages, file.name, moment), None, left
    try:
        body = json.loads(raw, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"{file.name}: neither JSON nor HL7 v2") from error
    if isinstance(body, dict) and "resourceType" in body:
        resources, unmapped = _fhir(body, site, source)
        left = (*unmapped, *(f for one in resources for f in one.findings))
        return _folded(resources, file.name, moment), None, left
    made = _entries(raw, file.name, as_of)
    return made.record, made, ()


def _entries(raw: bytes, name: str, as_of: datetime | None) -> Case:
    if as_of is not None:
        raise BadRecord(f"{name}: a file of entries says its own as_of")
    try:
        return case_from_json(json.loads(raw))
    except KeyError as error:
        raise BadRecord(f"{name}: {error.args[0]} is missing") from error
    except NO_CASE as error:
        raise BadRecord(f"{name}: no file of entries as in examples/") from error


def _sender(moment: datetime, authorities: Sequence[str]) -> tuple[Site, Source]:
    site = Site(
        name="pack run",
        authorities={name: name for name in authorities},
        default_authority="urn:oncord:pack-run",
    )
    return site, Source("pack run", 0, moment, "history")


def _hl7(raw: bytes, site: Site, source: Source) -> list[Conversion]:
    text = raw.replace(b"\r\n", b"\r").replace(b"\n", b"\r")
    starts = [b"MSH" + part for part in text.removeprefix(b"MSH").split(b"\rMSH")]
    return [hl7v2.entries(one.rstrip(b"\r") + b"\r", site=site, source=source) for one in starts]


def _fhir(
    body: Mapping[str, Any], site: Site, source: Source
) -> tuple[list[Conversion], list[Finding]]:
    door.validate(body)
    if body["resourceType"] != "Bundle":
        body = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": body}]}
    known = fhir.subjects(body, site=site)
    resources = [part.resource for part in fhir.split(body) if part.resource is not None]
    made, left = [], []
    for one in resources:
        try:
            made.append(fhir.entries(one, site=site, source=source, patient=known.get))
        except NoPatientIdentifier:
            raise
        except MappingError as error:
            left.append(Finding(str(one.get("resourceType")), str(error), "information"))
    return made, left


def _folded(found: Sequence[Conversion], name: str, moment: datetime) -> PatientRecord:
    if len({one.patient for one in found}) != 1:
        raise BadRecord(f"{name}: of {len({one.patient for one in found})} patients, not of one")
    entries = [entry for one in found for entry in one.entries]
    return PatientRecord.of(entries, as_of=moment)
