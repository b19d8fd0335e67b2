"""FHIR R4 resources to entries: one file per resource type, found by its name.

`entries` is the door for workers and never refuses a readable resource; `door.validate` refuses
what is posted to us. Writing resources lives in `mappings.outbound`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from mappings import identity
from mappings.conversion import Conversion
from mappings.errors import NoPatientIdentifier, UnmappedStructure
from mappings.fhir.reading import Reading, Resolver, digest, identifiers, subject
from mappings.record import Identifier, Source
from mappings.site import Site

__all__ = ["Part", "Resolver", "digest", "entries", "resource_types", "split", "subjects"]

_SPLIT = frozenset({"transaction", "batch", "collection", "searchset", "history", "message"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One resource of a Bundle.

    Attributes:
        resource: The resource, or None where the entry only has a request (DELETE).
        full_url: Bundle.entry.fullUrl, or an empty string.
        method: Bundle.entry.request.method, or an empty string.
        url: Bundle.entry.request.url, or an empty string.
    """

    resource: dict[str, Any] | None
    full_url: str = ""
    method: str = ""
    url: str = ""


def entries(
    resource: Mapping[str, Any],
    *,
    site: Site,
    source: Source,
    patient: Identifier | Resolver | None = None,
) -> Conversion:
    """Map one resource.

    Args:
        resource: Parsed JSON, decimals as `Decimal` so that they keep their text.
        site: Its sender.
        source: Shared by all its entries.
        patient: Where the resource has only a literal reference: who it is about, or a resolver
            (`subjects(bundle, site=site).get`).

    Raises:
        UnmappedStructure: No file of this folder maps the type.
        NoPatientIdentifier: Nobody to file the entries under.
    """
    name = resource.get("resourceType")
    module = resource_types().get(name) if isinstance(name, str) else None
    if module is None:
        known = isinstance(name, str) and name.isalnum() and name.isascii()
        raise UnmappedStructure(f"{name}" if known else "this resource")
    if module.PATIENT:
        who = subject(resource, module.PATIENT, site, patient)
        reading = Reading(resource, site, source, who, (who,))
    else:
        found = identifiers(resource, site)
        chosen = identity.choose(found)
        if chosen is None:
            raise NoPatientIdentifier(f"{name}.identifier")
        others = tuple(i for i in found if i != chosen)
        reading = Reading(resource, site, source, chosen, (chosen, *others))
    made = module.entries(reading)
    return Conversion(tuple(made), tuple(reading.findings), reading.patient, reading.identifiers)


def split(bundle: Mapping[str, Any]) -> tuple[Part, ...]:
    """The resources of a Bundle, in its order.

    Raises:
        UnmappedStructure: Not a Bundle, or of a type that is no list of resources (document).
    """
    if bundle.get("resourceType") != "Bundle" or bundle.get("type") not in _SPLIT:
        raise UnmappedStructure("Bundle of this type")
    listed = bundle.get("entry")
    made = []
    for item in listed if isinstance(listed, list) else ():
        if not isinstance(item, dict):
            continue
        request = item.get("request")
        request = request if isinstance(request, dict) else {}
        resource = item.get("resource")
        made.append(
            Part(
                resource=resource if isinstance(resource, dict) else None,
                full_url=str(item.get("fullUrl") or ""),
                method=str(request.get("method") or ""),
                url=str(request.get("url") or ""),
            )
        )
    return tuple(made)


def subjects(bundle: Mapping[str, Any], *, site: Site) -> dict[str, Identifier]:
    """The patients of a Bundle by every reference that may name them inside it.

    Patients without an identifier of known authority are left out.
    """
    found: dict[str, Identifier] = {}
    for part in split(bundle):
        resource = part.resource
        if resource is None or resource.get("resourceType") != "Patient":
            continue
        chosen = identity.choose(identifiers(resource, site))
        if chosen is None:
            continue
        if part.full_url:
            found[part.full_url] = chosen
        if resource.get("id"):
            found[f"Patient/{resource['id']}"] = chosen
        if part.url and "?" not in part.url and part.method == "PUT":
            found[part.url] = chosen
    return found


@cache
def resource_types() -> dict[str, ModuleType]:
    """Every resource type that a file of this folder maps, by FHIR's name for it."""
    found: dict[str, ModuleType] = {}
    for module in iter_modules(__path__):
        loaded = import_module(f"{__name__}.{module.name}")
        if hasattr(loaded, "PATIENT"):
            found["".join(part.title() for part in module.name.split("_"))] = loaded
    return found
