"""Character sets by MSH-18, and MSH split in sets whose second bytes look like its marks.

Source: HL7 v2.5.1 chapter 2.15.9.18 and table 0211, with the names that senders give besides.
"""

from __future__ import annotations

import re
from functools import lru_cache

from mappings.hl7v2.escapes import ISO_2022

# MSH-18 where MSH is split but its separator is not yet counted as a field.
MSH18 = 17
_LONGEST = 200  # characters of MSH-18 that are remembered
_MOST_PUSHED = 16  # marks that are halves of characters before it; more are looked for in vain
# As senders spell them; blanks, hyphens, strokes and underscores do not count.
_CODECS = {
    "": "",
    "ASCII": "ascii",
    "USASCII": "ascii",
    "ISOIR6": "ascii",
    "UNICODEUTF8": "utf-8",
    "UNICODE": "utf-8",
    "UTF8": "utf-8",
    # Bytes that open with a readable MSH are in none of these two, whatever MSH-18 says.
    **dict.fromkeys(("UNICODEUTF16", "UNICODEUTF32"), ""),
    **dict.fromkeys(("GB180302000", "GB18030", "GB2312", "GBK", "CP936", "EUCCN"), "gb18030"),
    # With the characters of names that plain Big5 lacks.
    **dict.fromkeys(("BIG5", "BIG5HKSCS", "CP950"), "big5hkscs"),
    **dict.fromkeys(("ISOIR14", "ISOIR87", "ISOIR159"), ISO_2022),
    **dict.fromkeys(("SHIFTJIS", "SJIS", "CP932", "WINDOWS31J"), "cp932"),
    **dict.fromkeys(("KSX1001", "KSC5601", "EUCKR"), "euc_kr"),
    **dict.fromkeys(("CP874", "WINDOWS874", "TIS620"), "cp874"),
    **{
        f"{prefix}125{page}": f"cp125{page}"
        for page in range(9)
        for prefix in ("CP", "WINDOWS", "WIN", "ANSI")
    },
    "KOI8R": "koi8_r",
    "LATIN1": "iso8859-1",
    **{
        f"{prefix}8859{part}": f"iso8859-{part}"
        for part in (*range(1, 12), *range(13, 17))
        for prefix in ("", "ISO")
    },
}
_SPELLING = str.maketrans("", "", " -/_.")
# Characters of more than one byte of which a later one may be a mark: in Big5 the "|" is half of a
# word for hospital.
_WIDE: dict[str | None, re.Pattern[bytes]] = {
    **dict.fromkeys(("big5hkscs", "gb18030"), re.compile(rb"[\x81-\xfe][^\r\n]")),
    "cp932": re.compile(rb"[\x81-\x9f\xe0-\xfc][^\r\n]"),
    ISO_2022: re.compile(rb"\x1b\$(?:[@AB]|\([@D])[^\x1b\r\n]*"),
}


def split_msh(line: bytes, separator: bytes) -> list[bytes]:
    """MSH at its separators, in the character set that its MSH-18 names."""
    fields = line.split(separator)
    if line.isascii() and b"\x1b" not in line:
        return fields
    repetition = line[5:6].decode("latin-1") or "~"
    # Halves of characters can only have pushed MSH-18 to the right.
    near = fields[MSH18 : MSH18 + _MOST_PUSHED]
    for wide in dict.fromkeys(_wide(declared, repetition) for declared in near):
        if wide is None:
            continue
        masked = wide.sub(lambda whole: b"\x80" * len(whole[0]), line).split(separator)
        if any(_wide(declared, repetition) is wide for declared in masked[MSH18 : MSH18 + 1]):
            return _as_long_as(line, masked)
    return fields


def _wide(declared: bytes, repetition: str) -> re.Pattern[bytes] | None:
    """The characters of several bytes in what may be MSH-18, if it names a set with such."""
    found = codecs(declared.decode("ascii", "replace"), repetition)
    return next((_WIDE[codec] for codec in found if codec in _WIDE), None)


def _as_long_as(line: bytes, parts: list[bytes]) -> list[bytes]:
    """The line in pieces of the lengths of `parts`, a separator between two."""
    found, at = [], 0
    for part in parts:
        found.append(line[at : at + len(part)])
        at += len(part) + 1
    return found


def codecs(declared: str, repetition: str) -> tuple[str | None, ...]:
    """The codec of each repetition of MSH-18; None for one we do not know."""
    return _codecs(declared[:_LONGEST], repetition)


@lru_cache(maxsize=256)
def _codecs(declared: str, repetition: str) -> tuple[str | None, ...]:
    names = (name.translate(_SPELLING).upper() for name in declared.split(repetition))
    return tuple(_CODECS.get(name) for name in names)
