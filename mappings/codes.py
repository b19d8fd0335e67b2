"""Codings: names of code systems as senders write them, as FHIR URIs, and local code maps.

Which codes a study reads is a pack's affair; units are in `units`.
Source: HL7 table 0396; HL7/v2-to-fhir "CodeSystem" maps; terminology.hl7.org.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from urllib.parse import quote

from mappings.record import Code
from mappings.site import Site
from mappings.tables import table

LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
_SNM = "http://terminology.hl7.org/CodeSystem/snm"
ICD10 = "http://hl7.org/fhir/sid/icd-10"
ICD10CM = "http://hl7.org/fhir/sid/icd-10-cm"
UCUM = "http://unitsofmeasure.org"
DICOM = "http://dicom.nema.org/resources/ontology/DCM"

# Questions that no published system names (`tables/questions.csv`).
QUESTION = "urn:oncord:question"

# Systems nobody registered. The name stays in the URI, so that a later code map can find it.
LOCAL = "urn:oncord:code:"

# Published, too: HL7's own, and editions of TNM, whose number is all that tells them apart.
_STANDARD = (
    "http://terminology.hl7.org/", "http://hl7.org/", f"{LOCAL}AJCC", f"{LOCAL}UICC",
)  # fmt: skip

# HL7's own tables, by their number.
_TABLE = re.compile(r"HL7-?(0\d{3})", re.ASCII)

# Which coding of a concept stands first, where several are sent.
_LOINC = re.compile(r"(?:L[A-Z])?\d{1,7}-\d", re.ASCII)
_STANDARDS = {LOINC: 0, SNOMED: 1, ICD10CM: 2, ICD10: 3}


@lru_cache(maxsize=1024)
def system_uri(name: str) -> str:
    """A code system's URI from its table 0396 name, its URI, or a local name.

    Blank and `L` are the sender's own codes; `99xxx` names a local table.
    """
    text = name.strip()
    known = table("code_systems").get(text.upper())
    if known is not None:
        return known
    if (numbered := _TABLE.fullmatch(text.upper())) is not None:
        return f"http://terminology.hl7.org/CodeSystem/v2-{numbered[1]}"
    if ":" in text and " " not in text:
        return text.removesuffix("/") if text.startswith("http") else text
    return LOCAL + quote(text or "L", safe="")


def coding(system: str, code: str, display: str) -> Code:
    """A code of a system as it was named; a SNOMED CT identifier under SNOMED's old name is CT's.

    SNM is the nomenclature by axes (`T-57000`), whose codes mean nothing in SNOMED CT.
    """
    uri = system_uri(system)
    return Code(SNOMED if uri == _SNM and is_snomed(code) else uri, code, display)


def system_name(uri: str) -> str:
    """The name a local system was sent under, or the URI of any other."""
    return uri.removeprefix(LOCAL) if uri.startswith(LOCAL) else uri


def is_standard(uri: str) -> bool:
    """Whether a system is published: its codes mean the same whoever sends them."""
    return uri in _published() or uri.startswith(_STANDARD)


@cache
def _published() -> frozenset[str]:
    return frozenset(table("code_systems").values())


def is_loinc(code: str) -> bool:
    """Whether a text is a LOINC code: digits, a hyphen, and the check digit (mod 10)."""
    number, _, check = code.partition("-")
    return number.isascii() and number.isdigit() and check == _mod10(number)


def is_loinc_answer(code: str) -> bool:
    """Whether a text is the code of a LOINC answer: LA, digits, a hyphen, and the check digit."""
    number, _, check = code.partition("-")
    digits = number.removeprefix("LA")
    whole = number != digits and digits.isascii() and digits.isdigit()
    return whole and check == _mod10(number)


def _mod10(number: str) -> str:
    """Regenstrief's check digit: Luhn's, a letter counting by its place in ASCII after `0`."""
    worth = [ord(letter) - ord("0") for letter in reversed(number)]
    total = sum(w if place % 2 else 2 * w - w // 5 * 9 for place, w in enumerate(worth))
    return str(-total % 10)


# Verhoeff's dihedral group and his permutation, the check of SNOMED CT identifiers.
_TURNS = ("0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
          "5987604321", "6598710432", "7659821043", "8765932104", "9876543210")  # fmt: skip
_PLACES = ("0123456789", "1576283094", "5803796142", "8916043527", "9453126870",
           "4286573901", "2793806415", "7046913258")  # fmt: skip


def is_snomed(code: str) -> bool:
    """Whether a text is the identifier of a SNOMED CT concept: its partition and check digit."""
    if not (code.isascii() and code.isdigit() and 6 <= len(code) <= 18):  # noqa: PLR2004  digits of an SCTID
        return False
    check = 0
    for place, digit in enumerate(reversed(code)):
        check = int(_TURNS[check][int(_PLACES[place % 8][int(digit)])])
    return check == 0 and code[-3:-1] in ("00", "10")


def is_question(code: str) -> bool:
    """Whether a code may stand for what was asked: LOINC, SNOMED CT, or one of our questions."""
    return is_loinc(code) or is_snomed(code) or code in table("questions")


def mapped(code: Code, site: Site) -> Code | None:
    """The standard code that this sender's code map gives for a local one, or None."""
    found = site.code_maps.get((code.system, code.code))
    if found is None or found.display:
        return found
    return Code(found.system, found.code, code.display)


def ranked(codings: Iterable[Code], site: Site) -> tuple[Code, ...]:
    """Codings of one concept, best first: LOINC, SNOMED CT, ICD-10, mapped local, local.

    Order of sending decides among equals; a mapped code comes before those it was made from.
    """
    found: list[Code] = []
    for coding in codings:
        found.append(coding)
        extra = mapped(coding, site)
        if extra is not None:
            found.append(extra)
    return best_first(found)


def best_first(codings: Iterable[Code]) -> tuple[Code, ...]:
    """Each coding once: LOINC, SNOMED CT, ICD-10, then the others as they come."""
    unique = dict.fromkeys(codings)
    return tuple(sorted(unique, key=_rank))


def _rank(code: Code) -> int:
    rank = _STANDARDS.get(code.system, 9)
    # "LN" stands beside many a local code: what cannot be one of LOINC comes before nobody.
    return 9 if rank == 0 and _LOINC.fullmatch(code.code) is None else rank
