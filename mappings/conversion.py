"""What a mapping gives back: entries, and everything it could not map, by field path.

Shared by `hl7v2`, `fhir` and `dicom`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mappings.record import Entry, Identifier

Severity = Literal["information", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something of a message that was not mapped, or only with a reservation.

    Attributes:
        path: Field or element ("OBX[3]-6", "Observation.valueQuantity"); never its content.
        reason: One phrase.
        severity: `information` for what we knowingly leave out, `warning` for what was defaulted,
            `error` for what could not be read and may be missed.
    """

    path: str
    reason: str
    severity: Severity = "warning"


@dataclass(frozen=True, slots=True)
class Conversion:
    """One message or resource as entries of one patient's record.

    Attributes:
        entries: Facts in the order of the message.
        findings: What was not mapped.
        patient: Identifier the entries are filed under, as received.
        identifiers: All identifiers of known authority in the message, `patient` first.
        event: MSH-9.2 of an HL7 message, or an empty string.
    """

    entries: tuple[Entry, ...]
    findings: tuple[Finding, ...]
    patient: Identifier
    identifiers: tuple[Identifier, ...]
    event: str = ""
