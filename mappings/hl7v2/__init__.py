"""HL7 v2 messages to entries: one file per message structure, found by its name.

`entries` is the door for workers. Reading is lossless in `er7`; what must be known before a
message is stored is in `scan`, answering in `ack`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from mappings.conversion import Conversion
from mappings.errors import UnmappedStructure
from mappings.hl7v2 import er7
from mappings.hl7v2.reading import Reading
from mappings.record import Entry, Source
from mappings.site import Site
from mappings.tables import table

Structure = Callable[[Reading], list[Entry]]


def entries(raw: bytes, *, site: Site, source: Source) -> Conversion:
    """Map one message.

    Args:
        raw: The message without its MLLP frame.
        site: Its sender.
        source: Shared by all its entries.

    Raises:
        UnreadableMessage: No MSH can be read.
        UnmappedStructure: No file of this folder maps its structure.
        NoPatientIdentifier: Nobody to file the entries under.
    """
    message = er7.parse(raw, site.charset)
    reading = Reading.of(message, site, source)
    name = structure(reading)
    read = structures().get(name)
    if read is None:
        raise UnmappedStructure(name)
    made = read(reading)
    return Conversion(tuple(made), reading.closed(), reading.identifiers[0], reading.identifiers)


def structure(reading: Reading) -> str:
    """The message structure by MSH-9.1 and MSH-9.2 (table 0354); MSH-9.3 is only a hint.

    Raises:
        UnmappedStructure: The table does not know the event.
    """
    parts = reading.message.components(reading.message.segments[0].field(9))
    parts = [p.strip().upper() for p in parts] + ["", ""]
    event = f"{parts[0]}^{parts[1]}"
    found = table("hl70354").get(event)
    # An acknowledgement or an underscored MSH-9.1 ("ORU_R01") has no trigger of its own.
    if found is None:
        found = parts[0] if not parts[1] and parts[0].lower() in structures() else None
    if found is None:
        raise UnmappedStructure(event if event.replace("^", "").isalnum() else "this event")
    if parts[2] and parts[2] != found:
        reading.note("MSH[1]-9", f"MSH-9.3 disagrees with table 0354: read as {found}")
    return found


@cache
def structures() -> dict[str, Structure]:
    """Every structure that a file of this folder maps, by HL7's name for it."""
    found: dict[str, Structure] = {}
    for module in iter_modules(__path__):
        event = module.name.rpartition("_")[2]
        if event[1:].isdigit():
            read: Structure = import_module(f"{__name__}.{module.name}").entries
            found[module.name.upper()] = read
    return found
