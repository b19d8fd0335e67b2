"""What an entry is of, when it is from and what it says: codes, times, words, age, sex.

Which of them serves an input is decided in `features`, what they mean for a rule in `rules`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from mappings.record import Coded, Entry, Kind, PatientRecord, Text, When

# A clock of unknown zone may show up to 14 hours more than UTC: most DICOM and many HL7 times.
FASTEST_ZONE = timedelta(hours=14)
_DAYS_A_YEAR = 365.2425


def split(modality: str) -> tuple[str, ...]:
    """Modalities of a study, several joined by a backslash as DICOM does."""
    return tuple(m for m in modality.split("\\") if m)


def not_after(when: When, moment: datetime) -> bool:
    """Whether a clinical time may lie at or before a moment; an unknown zone gets the doubt."""
    slack = FASTEST_ZONE if when.offset_minutes is None else timedelta(0)
    return when.earliest - slack <= moment


def words(entry: Entry) -> frozenset[str]:
    """Codes and texts of an answer, case folded; empty where it is no answer."""
    value = entry.value
    told: list[str] = []
    if isinstance(value, Coded):
        told = [*(code.code for code in value.codes), *(c.display for c in value.codes), value.text]
    elif isinstance(value, Text):
        told = [value.text]
    return frozenset(word.strip().casefold() for word in told if word.strip())


def coded_as(entry: Entry, codes: Sequence[str]) -> bool:
    """Whether any coding of an entry is one of the codes, below one, or in a range of ICD-10.

    "1834-1" is itself, "C22*" all below C22, "C18-C20" ICD-10 categories, "*" anything.
    """
    codings = (entry.code, *entry.alternates) if entry.code else entry.alternates
    return "*" in codes or any(below(coding.code, code) for coding in codings for code in codes)


def of_codes(
    record: PatientRecord, kinds: Collection[Kind], codes: Sequence[str]
) -> Sequence[Entry]:
    """Entries of some kinds and any of the codes, as `coded_as` reads them, oldest first."""
    found: Sequence[Entry] = record.entries
    if "*" not in codes:
        found = record.index.where(lambda sent: any(below(sent, code) for code in codes))
    return [entry for entry in found if entry.kind in kinds]


def below(sent: str, code: str) -> bool:
    """Whether a code as sent is one that a protocol names, as `coded_as` reads it."""
    if code.endswith("*"):
        return sent.startswith(code[:-1])
    first, dash, last = code.partition("-")
    # Our own questions have a hyphen, too, and small letters.
    if dash and first[:1].isupper():
        return first <= sent[: len(first)].upper() <= last
    return sent == code


def age_years(birth: When, at: datetime) -> tuple[float, float]:
    """Least and greatest age that a possibly partial birth date allows."""
    seconds = _DAYS_A_YEAR * 86400
    least = (at - birth.latest).total_seconds() / seconds
    greatest = (at - birth.earliest).total_seconds() / seconds
    return least, greatest


def sex(entry: Entry) -> str | None:
    """`male`, `female` or None, of FHIR's word or HL7 table 0001's letter."""
    value = entry.value
    word = ""
    if isinstance(value, Coded):
        word = value.codes[0].code if value.codes else value.text
    elif isinstance(value, Text):
        word = value.text
    return {"male": "male", "m": "male", "female": "female", "f": "female"}.get(word.lower())
