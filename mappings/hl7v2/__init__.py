"""HL7 v2 messages to entries: one file per message structure, found by its name.

`entries` is the door for workers. Reading is lossless in `er7`; what must be known before a
message is stored is in `scan`, answering in `ack`.
"""

from __future__ import annotations

import re
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
_STRUCTURE = re.compile(r"[a-z]{3}_[a-z]+\d+")
# Before version 2.2 MSH-9 had one component; these had one event each.
_ONLY_EVENT = {"ORU": "R01", "ORM": "O01"}


def entries(raw: bytes, *, site: Site, source: Source) -> Conversion:
    """Map one message.

    Args:
        raw: The message without its MLLP frame.
        site: Its sender.
        source: Shared by all its entries.

    Raises:
        UnreadableMessage: No MSH can be read, or more than one.
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
    names = reading.identifiers
    return Conversion(tuple(made), reading.closed(), names[0], names, reading.event)


def structure(reading: Reading) -> str:
    """The message structure by MSH-9.1 and MSH-9.2 (table 0354); MSH-9.3 is only a hint.

    Raises:
        UnmappedStructure: The table does not know the event.
    """
    parts = reading.message.components(reading.message.segments[0].field(9))
    kind, sent, hint = ([p.strip().upper() for p in parts] + ["", "", ""])[:3]
    kind = kind.partition("_")[0] if not sent else kind
    event = f"{kind}^{sent or reading.event or _ONLY_EVENT.get(kind, '')}"
    found = table("hl70354").get(event)
    if found is None and not sent and hint in structures():
        found = hint
    if found is None:
        raise UnmappedStructure(event if event.replace("^", "").isalnum() else "this event")
    if not sent:
        reading.note("MSH[1]-9", f"MSH-9.2 is missing: read as {found}")
    elif hint not in ("", found, table("hl70354", value="also").get(event)):
        reading.note("MSH[1]-9", f"MSH-9.3 disagrees with table 0354: read as {found}")
    return found


@cache
def structures() -> dict[str, Structure]:
    """Every structure that a file of this folder maps, by HL7's name for it."""
    found: dict[str, Structure] = {}
    for module in iter_modules(__path__):
        if _STRUCTURE.fullmatch(module.name):
            read: Structure = import_module(f"{__name__}.{module.name}").entries
            found[module.name.upper()] = read
    return found
