"""Codings: names of code systems as senders write them, as FHIR URIs, and local code maps.

Which codes a study reads is a pack's affair; units are in `units`.
Source: HL7 table 0396; HL7/v2-to-fhir "CodeSystem" maps; terminology.hl7.org.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, lru_cache
from urllib.parse import quote

from mappings.record import Code
from mappings.site import Site
from mappings.tables import table

LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
ICD10 = "http://hl7.org/fhir/sid/icd-10"
ICD10CM = "http://hl7.org/fhir/sid/icd-10-cm"
UCUM = "http://unitsofmeasure.org"
DICOM = "http://dicom.nema.org/resources/ontology/DCM"

# Systems nobody registered. The name stays in the URI, so that a later code map can find it.
LOCAL = "urn:oncord:code:"

# Which coding of a concept stands first, where several are sent.
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
    if ":" in text and " " not in text:
        return text.removesuffix("/") if text.startswith("http") else text
    return LOCAL + quote(text or "L", safe="")


def system_name(uri: str) -> str:
    """The name a local system was sent under, or the URI of any other."""
    return uri.removeprefix(LOCAL) if uri.startswith(LOCAL) else uri


def is_standard(uri: str) -> bool:
    """Whether a system is published: its codes mean the same whoever sends them."""
    return uri in _published() or uri.startswith(("http://terminology.hl7.org/", "http://hl7.org/"))


@cache
def _published() -> frozenset[str]:
    return frozenset(table("code_systems").values())


def is_loinc(code: str) -> bool:
    """Whether a text is a LOINC code: digits, a hyphen, and the check digit (mod 10)."""
    number, _, check = code.partition("-")
    if not (number.isascii() and number.isdigit() and check in set("0123456789")):
        return False
    doubled = [int(digit) * (2 - place % 2) for place, digit in enumerate(reversed(number))]
    return (sum(n // 10 + n % 10 for n in doubled) + int(check)) % 10 == 0


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
    unique = dict.fromkeys(found)
    return tuple(sorted(unique, key=lambda c: _STANDARDS.get(c.system, 9)))
