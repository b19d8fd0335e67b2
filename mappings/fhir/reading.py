"""One resource being read: its patient, its elements, and what could not be mapped.

What we read from a server is always kept: each element is read by itself, and a bad one is
reported and left out (site rule 19). Refusing belongs to `door`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias

from mappings import codes, identity, keys
from mappings.conversion import Finding, Severity
from mappings.errors import NoPatientIdentifier
from mappings.fhir.times import when
from mappings.record import Code, Coded, Entry, Identifier, Kind, Source, Value, When
from mappings.site import Site
from mappings.statuses import Status

Resolver: TypeAlias = Callable[[str], Identifier | None]
Element: TypeAlias = Mapping[str, Any]

_SILENT = frozenset({"resourceType", "id", "meta", "text", "implicitRules", "language"})


@dataclass(slots=True)
class Reading:
    """A resource, its sender and the state of reading it.

    Attributes:
        data: The resource as parsed, decimals as `Decimal`.
        site: Its sender.
        source: Shared by its entries.
        patient: Whom its entries are filed under.
        identifiers: Identifiers of known authority that it gives that person.
        findings: What was not mapped, so far.
    """

    data: Element
    site: Site
    source: Source
    patient: Identifier
    identifiers: tuple[Identifier, ...] = ()
    findings: list[Finding] = field(default_factory=list)

    @property
    def type(self) -> str:
        """ResourceType."""
        return str(self.data.get("resourceType", ""))

    def note(self, path: str, reason: str, severity: Severity = "warning") -> None:
        """Record an element that was not mapped, or only with a reservation."""
        self.findings.append(Finding(f"{self.type}.{path}", reason, severity))

    def leftovers(self, mapped: frozenset[str]) -> None:
        """Report elements that the mapping does not read."""
        for name in self.data:
            if name not in mapped and name not in _SILENT and not name.startswith("_"):
                self.note(_safe(name), "element is not mapped", "information")

    def all(self, name: str, of: Element | None = None) -> Iterator[Element]:
        """The objects of a list element; anything else in it is reported."""
        found = (self.data if of is None else of).get(name)
        if found is None:
            return
        for item in found if isinstance(found, list) else [found]:
            if isinstance(item, Mapping):
                yield item
            else:
                self.note(_safe(name), "expected an object", "error")

    def one(self, name: str, of: Element | None = None) -> Element:
        """An object element, or an empty one."""
        return next(self.all(name, of), {})

    def text(self, name: str, of: Element | None = None) -> str:
        """A string element, or an empty string."""
        found = (self.data if of is None else of).get(name)
        if found is None or isinstance(found, str):
            return found or ""
        self.note(_safe(name), "expected a string", "error")
        return ""

    def when(self, name: str, of: Element | None = None) -> When | None:
        """A date, dateTime or instant, or None; one that cannot be read is reported."""
        text = self.text(name, of)
        found = when(text, self.site.timezone) if text else None
        if text and found is None:
            self.note(_safe(name), "not a date or time", "error")
        return found

    def start(self, name: str) -> When | None:
        """`<name>DateTime`, `<name>Instant` or the start of `<name>Period`."""
        return (
            self.when(f"{name}DateTime")
            or self.when(f"{name}Instant")
            or self.when("start", self.one(f"{name}Period"))
        )

    def coded(self, element: Element) -> Coded:
        """A CodeableConcept with its codings ranked and mapped."""
        made: list[Code] = []
        for coding in self.all("coding", element):
            code = self.text("code", coding)
            if code:
                system = codes.system_uri(self.text("system", coding))
                made.append(Code(system, code, self.text("display", coding)))
        text = self.text("text", element)
        ranked = codes.ranked(made, self.site)
        return Coded(ranked, text or (ranked[0].display if ranked else ""))

    def references(self, name: str) -> list[str]:
        """Literal references of a list element."""
        return [r for item in self.all(name) if (r := self.text("reference", item))]

    def filler(self) -> str:
        """The filler number (identifier of type FILL) for business keys, or an empty string."""
        for identifier in self.all("identifier"):
            if identity.fhir_type(identifier) == "FILL" and identifier.get("value"):
                value = str(identifier["value"]).strip()
                return identity.order_number(self.site, value, (self.text("system", identifier),))
        return ""

    def words(self, name: str, of: Element | None = None) -> list[str]:
        """Codes of a CodeableConcept or a list of them; the words of one that has no code."""
        found: list[str] = []
        for item in self.all(name, of):
            concept = self.coded(item)
            found += [c.code for c in concept.codes] or ([concept.text] if concept.text else [])
        return found

    def measured(self, name: str, of: Element | None = None) -> str:
        """A Quantity as number and unit as sent, for details; an empty string without a number."""
        element = self.one(name, of)
        number = element.get("value")
        if isinstance(number, bool) or not isinstance(number, (int, float, Decimal)):
            return ""
        unit = self.text("code", element) or self.text("unit", element)
        return f"{number} {unit}".strip()

    def number(self, identifier: Element) -> str:
        """An Identifier as `authority|value`, as numbers stand in keys and details; or empty."""
        value, system = self.text("value", identifier), self.text("system", identifier)
        return identity.order_number(self.site, value, (system,), filler=False)

    def named(self, reference: Element) -> str:
        """What a Reference names: its logical identifier, else its literal reference."""
        return self.number(self.one("identifier", reference)) or self.text("reference", reference)

    def business(self) -> str:
        """The first identifier that has a system, as `authority|value`, or an empty string."""
        for identifier in self.all("identifier"):
            if self.text("value", identifier) and self.text("system", identifier):
                return self.number(identifier)
        return ""

    def key(self, kind: str) -> str:
        """A key by first business identifier, else by id on its server, else by content."""
        number = self.business()
        return f"{kind}/{number}" if number else self.weak(kind)

    def dated(self, kind: str, code: str, moment: When | None) -> str:
        """As `key`; what has no id on a server is known by what and when before its content."""
        if self.business() or self.text("id") or not code or moment is None:
            return self.key(kind)
        return keys.dated(kind, code, moment)

    def weak(self, kind: str) -> str:
        """A key by id on the server it came from, else by content."""
        name = self.text("id")
        reference = f"{self.type}/{name}" if name else digest(self.data)[:16]
        return keys.resource(kind, self.source.interface, reference)

    @property
    def issued(self) -> When | None:
        """When the source made this version: issued, else meta.lastUpdated."""
        return self.when("issued") or self.when("lastUpdated", self.one("meta"))

    def origin(self) -> dict[str, Any]:
        """Version-specific reference for the basis of a result, or reference and digest."""
        name, version = self.text("id"), self.text("versionId", self.one("meta"))
        if name and version:
            return {"reference": f"{self.type}/{name}/_history/{version}"}
        found = {"sha256": digest(self.data)}
        return {"reference": f"{self.type}/{name}", **found} if name else found

    def entry(
        self,
        kind: Kind,
        key: str,
        path: str,
        status: Status,
        value: Value | None,
        *,
        concept: Coded | None = None,
        effective: When | None = None,
        twin: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> Entry:
        """An entry of this resource; its origin is added to the details."""
        codings = concept.codes if concept else ()
        kept = {name: found for name, found in (details or {}).items() if found not in ("", [], {})}
        return Entry(
            kind,
            key,
            self.patient,
            self.source,
            f"{self.type}.{path}",
            status,
            codings[0] if codings else None,
            codings[1:],
            value,
            effective,
            self.issued,
            twin,
            {**self.origin(), **kept},
        )


def subject(
    data: Element, name: str, site: Site, patient: Identifier | Resolver | None
) -> Identifier:
    """The patient that `subject` or `patient` names.

    Args:
        data: The resource.
        name: The element.
        site: Its sender.
        patient: What to file under where the resource has only a literal reference: a resolver of
            references, or the patient itself when the caller read the resource by patient.

    Raises:
        NoPatientIdentifier: Neither an identifier of known authority nor a resolvable reference.
    """
    element = data.get(name)
    element = element if isinstance(element, Mapping) else {}
    logical = element.get("identifier")
    if isinstance(logical, Mapping):
        found = identity.of_fhir(logical, site)
        if found is not None:
            return found
    reference = element.get("reference")
    if isinstance(reference, str) and reference.startswith("#"):
        found = _contained(data, reference[1:], site)
    elif isinstance(reference, str) and callable(patient):
        found = patient(reference) or patient(reference.partition("/_history/")[0])
    else:
        found = None
    if found is None and isinstance(patient, Identifier):
        found = patient
    if found is None:
        raise NoPatientIdentifier(f"{data.get('resourceType')}.{name}")
    return found


def _contained(data: Element, name: str, site: Site) -> Identifier | None:
    contained = data.get("contained")
    for resource in contained if isinstance(contained, list) else ():
        if isinstance(resource, Mapping) and resource.get("id") == name:
            return identity.choose(identifiers(resource, site))
    return None


def identifiers(patient: Element, site: Site) -> tuple[Identifier, ...]:
    """Identifiers of known authority of a Patient resource, each once."""
    listed = patient.get("identifier")
    found: Sequence[Any] = listed if isinstance(listed, list) else []
    made = (identity.of_fhir(i, site) for i in found if isinstance(i, Mapping))
    return tuple(dict.fromkeys(i for i in made if i is not None))


def digest(resource: Element) -> str:
    """SHA-256 of a resource's canonical JSON (site rule 14), in hex.

    Decimals count as they were written, so parse with `parse_float=Decimal`.
    """
    text = json.dumps(
        resource, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain
    )
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _plain(value: object) -> str:
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(type(value).__name__)


def _safe(name: str) -> str:
    """An element's name for a finding; anything that is no name could be content."""
    return name if name.isascii() and name.isalnum() and len(name) <= 64 else "?"  # noqa: PLR2004
