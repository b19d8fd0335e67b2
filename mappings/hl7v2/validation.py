"""What hl7apy's validation says of a message: for people who look at one that was set aside.

hl7apy is slow, and takes what it will of time and memory: it runs in a child process of its own
(`workers.explain`) and never where messages are worked. Source: HL7 v2.1 to v2.8.2 structures.
"""

from __future__ import annotations

from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message

from mappings.hl7v2 import er7


def report(raw: bytes, charset: str | None, to: str) -> None:
    """Write hl7apy's complaints, a line each, to the file of a path.

    Raises:
        UnreadableMessage: It is no message.
        Exception: Whatever hl7apy raises; it has no list.
    """
    codec = er7.parse(raw, charset).codec
    text = raw.decode(codec, "replace").replace("\r\n", "\r").replace("\n", "\r")
    parse_message(text, validation_level=VALIDATION_LEVEL.TOLERANT).validate(report_file=to)
