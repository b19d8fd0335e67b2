"""What a mapping must be told about the sender of its bytes.

Workers build a `Site` from `sites/<site>.toml`, one per interface, AE title or STOW path, and hand
it over: no mapping reads a site file. Which door, carrier or pack belongs to a site is not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from mappings.record import Code

_EMPTY: Mapping[str, str] = MappingProxyType({})
_NO_CODES: Mapping[tuple[str, str], Code] = MappingProxyType({})
_NO_UNITS: Mapping[tuple[str, str], str] = MappingProxyType({})
_NO_ANSWERS: Mapping[tuple[str, str, str, str], Code] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Site:
    """One sender as the site file describes it; compared and cached by identity.

    Attributes:
        name: Name of the site, for findings and logs.
        authorities: Every name an identifier authority goes by (HL7 namespace, OID with or without
            `urn:oid:`, URI) to its canonical system URI.
        default_authority: Authority of patient identifiers sent without one (site rule 6).
        identifier_types: Authority of patient identifiers sent without one, by their type (CX.5),
            where it is not the default one.
        filler_authority: Authority of filler numbers sent without one; None keeps them bare.
        timezone: IANA zone of clinical times sent without an offset.
        charset: Python codec that overrules MSH-18, or None.
        unit_aliases: Unit text as this sender writes it, to UCUM; read before our own table.
        code_maps: Local codes, by system URI and code, to the standard code of the same concept.
        default_units: UCUM unit of numbers sent without one, by system URI and code of what was
            asked.
        answer_maps: Local answers to one question, by its system URI and code and their own, to
            the standard code.
        sub_id_is_sequence: OBX-4 only counts lines here and tells no observations apart.
        rank: Trust in this sender where two doors give one fact; the higher wins a tie.
    """

    name: str = ""
    authorities: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    default_authority: str | None = None
    identifier_types: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    filler_authority: str | None = None
    timezone: str = "UTC"
    charset: str | None = None
    unit_aliases: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    code_maps: Mapping[tuple[str, str], Code] = field(default_factory=lambda: _NO_CODES)
    default_units: Mapping[tuple[str, str], str] = field(default_factory=lambda: _NO_UNITS)
    answer_maps: Mapping[tuple[str, str, str, str], Code] = field(
        default_factory=lambda: _NO_ANSWERS
    )
    sub_id_is_sequence: bool = False
    rank: int = 0
