"""Own echoes: recognising what we wrote ourselves when it comes back by any door (site rule 1).

An echo is stored as a sighting of a delivery and is never an entry, a feature or a trigger.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mappings.hl7v2.scan import Header

_AI_ASSERTED = "AIAST"
_DEVICE_ELEMENTS = ("device", "performer", "author", "agent")


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


def is_own_message(
    header: Header, own_applications: Collection[str], own_systems: Collection[str] = ()
) -> bool:
    """Whether an HL7 message is a copy of one that we sent.

    Args:
        header: As scanned.
        own_applications: Namespaces under which we send (MSH-3) and number (OBR-3).
        own_systems: The same as universal ids or URIs.
    """
    mark = header.delimiters[1:2].decode("latin-1")
    ours = {*own_applications, *own_systems}
    sender = header.sending_application.split(mark) if mark else [header.sending_application]
    if any(name in ours for name in sender[:2] if name):
        return True
    filler = header.filler.decode("utf-8", "replace")
    names = filler.split(mark)[1:3] if mark else []
    return any(name in ours for name in names if name)


def _systems(resource: Mapping[str, Any]) -> Iterator[str]:
    found = resource.get("identifier")
    for identifier in found if isinstance(found, list) else [found]:
        if isinstance(identifier, Mapping) and isinstance(identifier.get("system"), str):
            yield identifier["system"]


def _code_systems(resource: Mapping[str, Any]) -> Iterator[str]:
    """Systems of tags and codes: they stay where an EHR drops identifiers."""
    meta = resource.get("meta")
    groups = [meta.get("tag") if isinstance(meta, Mapping) else None]
    for element in ("code", "method"):
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
    for element in _DEVICE_ELEMENTS:
        found = resource.get(element)
        for item in found if isinstance(found, list) else [found]:
            if not isinstance(item, Mapping):
                continue
            who = item.get("who") if isinstance(item.get("who"), Mapping) else item
            if not isinstance(who, Mapping):
                continue
            reference = str(who.get("reference") or "").partition("/_history/")[0]
            if reference and reference in own_devices:
                return True
            if any(system in own_systems for system in _systems(who)):
                return True
    return False
