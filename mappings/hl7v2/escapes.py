"""Escape sequences: delimiters, line ends, formatting, bytes and shifts of character set.

Source: HL7 v2.5.1 and v2.8.2 chapter 2.7; ISO 2022 for the shifts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

# Reads JIS X 0201, 0208 and 0212 alike: G0 may be switched to any of them in the midst of a field.
ISO_2022 = "iso2022_jp_ext"


@dataclass(frozen=True, slots=True)
class Delimiters:
    """MSH-1 and MSH-2 of one message; a character that was not sent is an empty string."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"
    truncation: str = ""


# What a sender's own program made of the usual marks: a backslash that was read as an escape, a
# caret that a command line ate.
_LOST = dict.fromkeys(("^~&", "^~ &", "~\\&"), "^~\\&")


def meant(marks: str) -> str:
    """MSH-2 as its sender meant it."""
    if marks.count("\\") == 2:  # noqa: PLR2004  escaped once more by whoever copied it
        marks = marks.replace("\\\\", "\\")
    return _LOST.get(marks, marks)


_PLAIN = {
    ".br": "\n",
    ".BR": "\n",
    ".ce": "\n",
    ".sp": "\n",
    ".fi": "",
    ".nf": "",
    "H": "",
    "N": "",
}
_FORMATTING = re.compile(r"\.(?P<name>sp|in|ti|sk)(?P<count>[+-]?\d{1,3})\Z")
_HEX = re.compile(r"X(?P<digits>(?:[0-9A-Fa-f]{2})+)\Z")
# A shift of character set: the bytes that follow ESC in ISO 2022.
_SHIFT = re.compile(r"(?:C(?P<single>[0-9A-Fa-f]{4})|M(?P<multi>(?:[0-9A-Fa-f]{2}){2,3}))\Z")
# Longer runs between two escape characters are text with a backslash at each end.
_LONGEST_SEQUENCE = 2_000


@lru_cache(maxsize=64)
def _plain(delimiters: Delimiters) -> dict[str, str]:
    """Sequences that stand for one text; marks that MSH-2 left out mean the usual ones."""
    return {
        **_PLAIN,
        "F": delimiters.field,
        "S": delimiters.component or "^",
        "T": delimiters.subcomponent or "&",
        "R": delimiters.repetition or "~",
        "E": delimiters.escape,
        "P": delimiters.truncation or "#",
    }


def unescape(text: str, delimiters: Delimiters, codec: str) -> str:
    """Text with its escape sequences resolved; unknown ones, and bare escapes, stay.

    Args:
        text: A component, subcomponent or text, split already.
        delimiters: What the sequences stand for.
        codec: Python codec of the message, for bytes sent in hexadecimal.
    """
    mark = delimiters.escape
    plain = _plain(delimiters)
    out: list[str] = []
    at = 0
    while True:
        opening = text.find(mark, at)
        closing = text.find(mark, opening + 1) if opening >= 0 else -1
        if closing < 0:
            out.append(text[at:])
            return "".join(out)
        sequence = text[opening + 1 : closing]
        resolved, end = plain.get(sequence), closing + 1
        if resolved is None:
            resolved, end = _sequence(text, opening, closing, mark, codec)
        if resolved is None:
            # Not an escape: the next mark may open one ("C:\temp\.br\").
            out.append(text[at:closing])
            at = closing
        else:
            out.append(text[at:opening])
            out.append(resolved)
            at = end


def _sequence(
    text: str, opening: int, closing: int, mark: str, codec: str
) -> tuple[str | None, int]:
    """The meaning of a sequence with an argument, or None, and where reading goes on."""
    sequence = text[opening + 1 : closing]
    if not sequence or len(sequence) > _LONGEST_SEQUENCE:
        return None, closing
    if _HEX.match(sequence) is not None:
        return _hex(text, opening, mark, codec)
    if _SHIFT.match(sequence) is not None:
        return _shifted(text, opening, mark)
    found = _FORMATTING.match(sequence)
    if found is None:
        return None, closing
    sign = {"sp": "\n", "sk": " "}.get(found["name"], "")
    return sign * min(abs(int(found["count"])), 100), closing + 1


def _hex(text: str, opening: int, mark: str, codec: str) -> tuple[str, int]:
    r"""The text of `\Xdd..\`, neighbours included: a character may be cut between two of them."""
    body = b""
    while text.startswith(mark + "X", opening):
        closing = text.find(mark, opening + 1)
        found = _HEX.match(text[opening + 1 : closing]) if closing >= 0 else None
        if found is None:
            break
        body += bytes.fromhex(found["digits"])
        opening = closing + 1
    read = body.decode(codec, "replace").replace("\0", "\ufffd")
    return read.replace("\r\n", "\n").replace("\r", "\n"), opening


def _shifted(text: str, opening: int, mark: str) -> tuple[str | None, int]:
    r"""The run that `\Mxxyyzz\` or `\Cxxyy\` opens, read by ISO 2022 up to the last shift.

    A run that is none is left as it was sent.
    """
    body = b""
    at = opening
    while at < len(text):
        closing = text.find(mark, at + 1) if text.startswith(mark, at) else -1
        found = _SHIFT.match(text[at + 1 : closing]) if closing >= 0 else None
        if found is not None:
            body += b"\x1b" + bytes.fromhex(found["single"] or found["multi"])
            at = closing + 1
            continue
        if text.startswith(mark, at) or not text[at].isascii():
            break
        body += text[at].encode()
        at += 1
    for codec in ("iso2022_jp_2", ISO_2022):
        try:
            return body.decode(codec), at
        except UnicodeDecodeError:
            continue
    return None, text.find(mark, opening + 1)
