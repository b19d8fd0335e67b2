"""Writing ER7: text in our delimiters, and the PID by which a sender knows its own patient.

Source: HL7 v2.5.1 chapter 2.7 (escape sequences).
"""

from __future__ import annotations

from mappings.errors import MappingError
from mappings.hl7v2 import er7

_ESCAPES = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"}


class NoPid(MappingError):
    """The EHR never told this patient by HL7: there is no PID to answer with."""


def pid_of(raw: bytes, charset: str | None = None, number: int = 1) -> str:
    """A PID of a message the EHR sent, in our delimiters.

    Args:
        raw: The message.
        charset: Python codec that overrules MSH-18 for its sender, or None.
        number: Which PID: a merge or an unlink tells of several patients.

    Raises:
        NoPid: It has none.
        UnreadableMessage: It is no message.
    """
    message = er7.parse(raw, charset)
    segment = next((s for s in message.all("PID") if s.number == number), None)
    if segment is None:
        raise NoPid("PID")
    fields = [
        "~".join(
            "^".join("&".join(map(escape, _subs(message, part))) for part in _parts(message, one))
            for one in message.repetitions(field)
        )
        for field in segment.fields[1:]
    ]
    return "|".join(("PID", *fields)).rstrip("|")


def _parts(message: er7.Message, text: str) -> list[str]:
    mark = message.delimiters.component
    return text.split(mark) if mark else [text]


def _subs(message: er7.Message, text: str) -> list[str]:
    mark = message.delimiters.subcomponent
    found = text.split(mark) if mark else [text]
    return [message.unescape(one) if one != er7.DELETE else one for one in found]


def escape(text: str) -> str:
    """Text with our marks escaped; line ends as formatting commands."""
    escaped = "".join(_ESCAPES.get(c, c) for c in text)
    return escaped.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\\.br\\")
