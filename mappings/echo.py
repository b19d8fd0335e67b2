"""Own echoes: recognising what we wrote ourselves when it comes back by any door (site rule 1).

An echo is stored as a sighting of a delivery and is never an entry, a feature or a trigger.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from mappings.conversion import Conversion, Finding
from mappings.hl7v2.groups import Group, Grouping
from mappings.hl7v2.reading import Reading

if TYPE_CHECKING:
    from mappings.hl7v2.er7 import Segment
    from mappings.hl7v2.scan import Header

_AI_ASSERTED = "AIAST"
_DEVICE_ELEMENTS = ("device", "performer", "author", "agent")
# Who orders what we answer writes our question's code, and yet is not our echo.
_PARENTS = (26, 29, 50)  # OBR fields that name the order or result an order came of
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
    own = [_is_own_filler(filler, ours, own_fillers) for filler in _fillers(header)]
    if not any(own):
        return "none"
    # An order without a filler number is nobody's copy that can be told.
    return "all" if all(own) and len(own) == header.orders else "part"


def without_own(
    found: Conversion,
    reading: Reading,
    own_applications: Collection[str],
    own_systems: Collection[str] = (),
    own_fillers: Collection[str] = (),
) -> Conversion | None:
    """An ORU^R01 without the entries of those of its orders that are copies of ours.

    Args:
        found: Its conversion.
        reading: The same message, begun anew.
        own_applications: As for `own_share`.
        own_systems: As for `own_share`.
        own_fillers: As for `own_share`.

    Returns:
        None where nobody can be sure whose an entry is: another structure, an order without a
        filler number, one that came of an order of ours, or an entry that belongs to no order.
    """
    ours = {*own_applications, *own_systems}
    groups = _order_groups(reading)
    mark = reading.message.delimiters.component or "^"
    fillers = [g.obr.field(3).split(mark) if g.obr is not None else [""] for g in groups]
    if not groups or not all(filler[0] for filler in fillers):
        return None
    own = [_is_own_filler(filler, ours, own_fillers) for filler in fillers]
    numbers = [filler[0] for filler, is_ours in zip(fillers, own, strict=True) if is_ours]
    whose: dict[str, bool] = {}
    for group, is_ours in zip(groups, own, strict=True):
        if not is_ours and _came_of(group, numbers):
            return None
        whose |= {f"{s.name}[{s.number}]": is_ours for s in _segments(group)}
    there = [e for e in found.entries if e.kind != "patient"]
    places = [entry.path.partition("-")[0] for entry in there]
    if not all(place in whose for place in places):
        return None
    left_out = {id(e) for e, place in zip(there, places, strict=True) if whose[place]}
    finding = Finding("OBR-3", "orders that are copies of ours were left out", "information")
    return replace(
        found,
        entries=tuple(entry for entry in found.entries if id(entry) not in left_out),
        findings=(*found.findings, finding),
    )


def _order_groups(reading: Reading) -> list[Group]:
    """The groups of an ORU^R01 of one patient, as its mapping makes them; of others none."""
    segments = reading.message.segments
    kind = reading.message.components(segments[0].field(9))
    if [part.strip().upper() for part in kind[:2]] != ["ORU", "R01"]:
        return []
    if sum(segment.name == "PID" for segment in segments) != 1:
        return []
    grouping = Grouping()
    for segment in segments:
        grouping.take(reading, segment)
    return grouping.groups


def _segments(group: Group) -> Iterator[Segment]:
    for segment in (group.obr, group.orc, *group.specimens, *group.beside):
        if segment is not None:
            yield segment
    for segment, _ in group.results:
        yield segment


def _came_of(group: Group, numbers: Collection[str]) -> bool:
    obr = group.obr
    return obr is not None and any(n in obr.field(at) for at in _PARENTS for n in numbers)


def _is_own_filler(filler: list[str], ours: Collection[str], own_fillers: Collection[str]) -> bool:
    """Whether OBR-3 by its components is ours: by its name, or a number known for ours."""
    number, *names = filler
    return number in own_fillers or any(name in ours for name in names[:2] if name)


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
