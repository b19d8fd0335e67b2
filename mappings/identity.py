"""Identifiers with their authority, across HL7 CX, FHIR Identifier and DICOM issuer.

A value means nothing without its authority, and an authority has one canonical name per site
(site rule 6). Persons are never matched by name here or anywhere else.
Source: HL7 v2.5.1 2.A.14 (CX), 2.A.36 (HD); v2-to-FHIR data type map "HD"; PS3.3 C.7.1.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from mappings.record import Identifier
from mappings.site import Site

# Table 0203: numbers of a visit, an account, a register, an insurer, a licence or a state. With an
# empty CX.4 they must not fall under the site's default authority, which names its medical record
# numbers.
_NOT_OF_THE_SITE = frozenset({
    "SS", "DL", "PPN", "NI", "NH", "AN", "VN", "TAX", "PC", "MC", "MA", "BC", "HC", "ANON", "SR",
    "LR", "RR", "RRI", "DFN", "BR", "BRN", "CC", "CY", "DR", "EI", "EN", "JHN", "MB", "MCD",
    "MCR", "MI", "MS", "NII", "NIIP", "NPI", "PE", "PEN", "PHC", "PRC", "PRN", "RI", "SB", "SL",
    "SN", "USID", "VS", "WC",
})  # fmt: skip
# What the default authority is of: types of table 0203, and how some spell it.
_MEDICAL_RECORD = frozenset({"", "MR", "MRN", "MRT", "PI", "PN", "PT", "U"})
_LONGEST_TYPE = 40
# NNxxx, the national person identifier of a country by its ISO 3166 code.
_NATIONAL = re.compile(r"NN[A-Z]{3}")
# Numbers of a visit or an account: mother and newborn may share one, whoever gave it out.
OF_A_VISIT = frozenset({"AN", "ANC", "AND", "ANT", "VN"})
_PREFERRED = ("MR", "PI", "PT", "")


def canonical(site: Site, *names: str) -> str | None:
    """The canonical system of the first name the site knows, or None.

    Args:
        site: Sender.
        names: Ways the authority was named (namespace, OID, URI), best first; blanks are skipped.
    """
    known = site.authorities
    for name in names:
        if not name:
            continue
        found = known.get(name) or known.get(f"urn:oid:{name}")
        if found is not None:
            return found
        if name == site.default_authority or name in known.values():
            return name
    return None


def authority(site: Site, names: tuple[str, ...], type_code: str = "") -> str | None:
    """Canonical authority of a patient identifier; of one sent without any, what the site says.

    The default authority is that of medical record numbers. A type that table 0203 does not have is
    somebody's own (`PatientNO`, `IDCard`): its numbers are counted apart, since two registers of a
    hospital may give out one number to two patients.
    """
    if any(names):
        return canonical(site, *names)
    if type_code in site.identifier_types:
        return site.identifier_types[type_code]
    default = site.default_authority
    if default is None or type_code in _MEDICAL_RECORD:
        return default
    if type_code in _NOT_OF_THE_SITE or _NATIONAL.fullmatch(type_code):
        return None
    return f"{default}#{quote(type_code)}" if len(type_code) <= _LONGEST_TYPE else None


def hd_names(namespace: str, universal_id: str, universal_type: str) -> tuple[str, ...]:
    """The names of an HD, namespace first: ISO becomes `urn:oid:`, UUID `urn:uuid:`."""
    match universal_type.upper():
        case "ISO":
            return (namespace, f"urn:oid:{universal_id}" if universal_id else "", universal_id)
        case "UUID" | "GUID":
            return (namespace, f"urn:uuid:{universal_id.lower()}" if universal_id else "")
        case _:
            return (namespace, universal_id)


def order_number(site: Site, value: str, names: tuple[str, ...], *, filler: bool = True) -> str:
    """A filler or placer number for a business key, `authority|value`; bare if none is known.

    Unlike patients' identifiers, an unmapped authority is kept as sent: two laboratories may count
    alike, and both belong to one patient. The site's default is that of filler numbers.
    """
    if not value:
        return ""
    given = next((name for name in names if name), "")
    name = canonical(site, *names) or given or (site.filler_authority if filler else "") or ""
    return f"{name}|{value}" if name else value


def of_fhir(identifier: Mapping[str, Any], site: Site) -> Identifier | None:
    """A FHIR Identifier, or None when it has no value or no known authority."""
    value, system = identifier.get("value"), identifier.get("system") or ""
    if not isinstance(value, str) or not value.strip() or not isinstance(system, str):
        return None
    if identifier.get("use") == "old":
        return None
    type_code = fhir_type(identifier)
    if type_code in OF_A_VISIT:
        return None
    name = authority(site, (system,), type_code)
    return None if name is None else Identifier(value.strip(), name, type_code)


def fhir_type(identifier: Mapping[str, Any]) -> str:
    """Table 0203 code of a FHIR Identifier, or an empty string."""
    kind = identifier.get("type")
    codings = kind.get("coding") if isinstance(kind, dict) else None
    for coding in codings if isinstance(codings, list) else ():
        if isinstance(coding, dict) and isinstance(coding.get("code"), str):
            code: str = coding["code"]
            return code
    return ""


def of_dicom(patient_id: str, issuer: str, universal_id: str, site: Site) -> Identifier | None:
    """(0010,0020) with (0010,0021) or (0010,0024), or None when its authority is not known."""
    value = patient_id.strip()
    if not value:
        return None
    names = tuple(name.strip() for name in (issuer, universal_id))
    name = authority(site, names)
    return None if name is None else Identifier(value, name)


def choose(identifiers: Iterable[Identifier]) -> Identifier | None:
    """The identifier to file a patient's entries under: MR first, then order of the message."""
    found = list(identifiers)
    for type_code in _PREFERRED:
        for identifier in found:
            if identifier.type == type_code:
                return identifier
    return found[0] if found else None
