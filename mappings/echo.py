"""Own echoes: recognising what we wrote ourselves when it comes back by any door (site rule 1).

An echo is stored as a sighting of a delivery and is never an entry, a feature or a trigger.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from mappings.hl7v2.scan import Header

_AI_ASSERTED = "AIAST"
_DEVICE_ELEMENTS = ("device", "performer", "author", "agent")
# Who orders what we answer writes our question's code, and yet is not our echo.
_REQUESTS = frozenset({"ServiceRequest", "Task", "CarePlan", "Appointment"})


def is_own(
    resource: Mapping[str, Any],
    own_systems: Collection[str],
    own_devices: Collection[str] = (),
) -> bool:
    """Whether a FHIR resource is one that we wrote.

    Args:
        resource: As received.
        own_systems: Identifier systems under which we number results, devices and orders.
        own_devices: Literal references of our Device resources on that server.

    An AIAST label alone is not enough: other systems label their results too.
    """
    if any(system in own_systems for system in (*_systems(resource), *_code_systems(resource))):
        return True
    return _labelled(resource) and _by_our_device(resource, own_systems, own_devices)


def own_share(
    header: Header,
    own_applications: Collection[str],
    own_systems: Collection[str] = (),
    own_fillers: Collection[str] = (),
) -> Literal["none", "part", "all"]:
    """How much of an HL7 message is a copy of what we sent.

    Args:
        header: As scanned.
        own_applications: Namespaces under which we send (MSH-3) and number (OBR-3).
        own_systems: The same as universal ids or URIs.
        own_fillers: Those of `filler_numbers` that the ledger knows for ours.
    """
    ours = {*own_applications, *own_systems}
    if any(name in ours for name in _components(header, header.sending_application)[:2] if name):
        return "all"
    own = [
        number in own_fillers or any(name in ours for name in names[:2] if name)
        for number, *names in _fillers(header)
    ]
    if not any(own):
        return "none"
    return "all" if all(own) else "part"


def filler_numbers(header: Header) -> frozenset[str]:
    """OBR-3.1 of every order: an engine's copy may have lost whose numbers they are."""
    return frozenset(number for number, *_ in _fillers(header) if number)


def _fillers(header: Header) -> Iterator[list[str]]:
    for filler in header.fillers:
        yield _components(header, filler.decode("utf-8", "replace"))


def _components(header: Header, text: str) -> list[str]:
    mark = header.delimiters[1:2].decode("latin-1")
    return text.split(mark) if mark else [text]


def _systems(resource: Mapping[str, Any]) -> Iterator[str]:
    found = resource.get("identifier")
    for identifier in found if isinstance(found, list) else [found]:
        if isinstance(identifier, Mapping) and isinstance(identifier.get("system"), str):
            yield identifier["system"]


def _code_systems(resource: Mapping[str, Any]) -> Iterator[str]:
    """Systems of tags and codes: they stay where an EHR drops identifiers."""
    meta = resource.get("meta")
    groups = [meta.get("tag") if isinstance(meta, Mapping) else None]
    for element in ("code", "method") if resource.get("resourceType") not in _REQUESTS else ():
        concept = resource.get(element)
        groups.append(concept.get("coding") if isinstance(concept, Mapping) else None)
    for group in groups:
        for coding in group if isinstance(group, list) else ():
            if isinstance(coding, Mapping) and isinstance(coding.get("system"), str):
                yield coding["system"]


def _labelled(resource: Mapping[str, Any]) -> bool:
    meta = resource.get("meta")
    labels = meta.get("security") if isinstance(meta, Mapping) else None
    return any(
        isinstance(label, Mapping) and label.get("code") == _AI_ASSERTED
        for label in (labels if isinstance(labels, list) else ())
    )


def _by_our_device(
    resource: Mapping[str, Any], own_systems: Collection[str], own_devices: Collection[str]
) -> bool:
    for who in _makers(resource):
        sent = str(who.get("reference") or "").partition("/_history/")[0]
        # A server may give its own address with it.
        if sent and "/".join(sent.split("/")[-2:]) in own_devices:
            return True
        if any(system in own_systems for system in _systems(who)):
            return True
    return False


def _makers(resource: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every Reference to who made a resource, the alternate ones of extensions included."""
    for element in _DEVICE_ELEMENTS:
        found = resource.get(element)
        for item in found if isinstance(found, list) else [found]:
            if not isinstance(item, Mapping):
                continue
            who = item.get("who")
            yield who if isinstance(who, Mapping) else item
            extensions = item.get("extension")
            for extension in extensions if isinstance(extensions, list) else ():
                other = extension.get("valueReference") if isinstance(extension, Mapping) else None
                if isinstance(other, Mapping):
                    yield other
