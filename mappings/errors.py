"""Errors of the mappings, one tree.

MappingError
├── UnreadableMessage      bytes that are not HL7 v2, FHIR JSON or DICOM
├── UnmappedStructure      well formed, but no file of ours maps it
├── BadField               one field or element that cannot be read; the rest stands
├── InvalidResource        a FHIR resource refused at our door, with its OperationOutcome issues
├── UnknownUnit            a unit UCUM does not define, or not convertible as asked
├── NoPatientIdentifier    nothing that names the patient with an authority
└── ImageError
    ├── NoUsableSeries     no series of the study fits what was asked for
    ├── UnevenSpacing      slice gaps differ too much for a volume
    └── NotDicom           bytes that are no DICOM Part 10 object

Texts say what, where and what was expected; never a patient's name, identifier or value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class MappingError(Exception):
    """Anything the mappings refuse."""


class UnreadableMessage(MappingError):
    """Bytes from which no message can be read at all."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"message cannot be read: {reason}")
        self.reason = reason


class UnmappedStructure(MappingError):
    """A well-formed message or resource of a type that no file of ours maps."""

    def __init__(self, structure: str) -> None:
        super().__init__(f"{structure} is not mapped")
        self.structure = structure


class BadField(MappingError):
    """One field or element that cannot be read."""

    def __init__(self, at: str, expected: str) -> None:
        super().__init__(f"{at}: expected {expected}")
        self.at, self.expected = at, expected


class Issue(NamedTuple):
    """One OperationOutcome issue: FHIRPath, code of the issue-type value set, fixed words."""

    expression: str
    code: str
    diagnostics: str


class InvalidResource(MappingError):
    """A FHIR resource that was posted to us and is not valid."""

    def __init__(self, issues: Sequence[Issue]) -> None:
        first = issues[0]
        super().__init__(f"{first.expression}: {first.diagnostics} ({len(issues)} issues)")
        self.issues = tuple(issues)


class UnknownUnit(MappingError):
    """A unit UCUM does not define, or that cannot become the one asked for."""

    def __init__(self, unit: str, at: str) -> None:
        super().__init__(f"{at}: unit {unit!r} is not UCUM, or not convertible as asked")
        self.unit, self.at = unit, at


class NoPatientIdentifier(MappingError):
    """No identifier with a known authority: nobody to file the entries under."""

    def __init__(self, at: str) -> None:
        super().__init__(f"{at}: no identifier whose assigning authority is known to this site")
        self.at = at


class ImageError(MappingError):
    """Anything about images that the mappings refuse."""


class NoUsableSeries(ImageError):
    """No series of a study fits; `reasons` names each series and why not."""

    def __init__(self, wanted: str, reasons: dict[str, str]) -> None:
        super().__init__(f"no series is usable as {wanted}: {len(reasons)} looked at")
        self.wanted, self.reasons = wanted, reasons


class UnevenSpacing(ImageError):
    """Slice gaps differ by more than the tolerance."""

    def __init__(self, series_instance_uid: str, reason: str) -> None:
        super().__init__(f"series {series_instance_uid}: {reason}")
        self.series_instance_uid, self.reason = series_instance_uid, reason


class NotDicom(ImageError):
    """Bytes that are no DICOM Part 10 object."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"not a DICOM object: {reason}")
        self.reason = reason
