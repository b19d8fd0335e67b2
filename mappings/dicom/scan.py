"""A bounded element scan of Part 10 bytes: identity of an instance, and bombs, without pydicom.

The STOW door reads no more than this (site rule 24); `part10` uses the same walk to refuse deep or
endless nesting before pydicom recurses into it.
Source: PS3.5 chapter 7, PS3.10 chapter 7; reliability.md A3, A4.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from mappings.errors import NotDicom

PREAMBLE = 132
SCANNED = 1 << 16
DEEPEST = 32
MOST_ELEMENTS = 100_000

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
_REFUSED = {
    "1.2.840.10008.1.2.2": "explicit VR big endian is retired and not taken",
    "1.2.840.10008.1.2.1.99": "deflated transfer syntax is not taken",
    "1.2.840.10008.1.2.4.95": "deflated transfer syntax is not taken",
    "1.2.840.10008.1.2.8.1": "deflated transfer syntax is not taken",
}
_LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV"}) | frozenset(
    {b"UC", b"UN", b"UR", b"UT", b"UV"}
)
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_ITEM_MARK = b"\xfe\xff\x00\xe0"

_TRANSFER_SYNTAX = 0x00020010
_WANTED = {
    0x00080016: "sop_class_uid",
    0x00080018: "sop_instance_uid",
    0x00080050: "accession_number",
    0x00080060: "modality",
    0x00100020: "patient_id",
    0x00100021: "issuer_of_patient_id",
    0x0020000D: "study_instance_uid",
    0x0020000E: "series_instance_uid",
}
_LAST_WANTED = 0x0020000E
_REQUIRED = ("sop_class_uid", "sop_instance_uid", "study_instance_uid", "series_instance_uid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What one instance says it is, as text of its header.

    Attributes:
        transfer_syntax_uid: (0002,0010).
        patient_id: (0010,0020); empty when it was not sent.
        issuer_of_patient_id: (0010,0021); the qualifiers sequence is read in `study`.
    """

    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    patient_id: str = ""
    issuer_of_patient_id: str = ""
    modality: str = ""
    accession_number: str = ""


@dataclass(frozen=True, slots=True)
class Element:
    """Where one data element lies.

    Attributes:
        tag: Group and element as one number.
        start: Offset of its value.
        length: Bytes of its value, or None while undefined.
        depth: 0 at the top level, one more inside each sequence.
    """

    tag: int
    start: int
    length: int | None
    depth: int


def scan(head: bytes) -> Identity:
    """Read the identity of an instance from the first bytes of its file.

    Args:
        head: The first 64 KiB of Part 10 bytes, or all of them if fewer.

    Raises:
        NotDicom: No Part 10, a transfer syntax not taken, or the UIDs are not in these bytes.
    """
    start, syntax = file_meta(head)
    found: dict[str, str] = {}
    for element in walk(head[:SCANNED], start, implicit=syntax == IMPLICIT_LITTLE):
        if element.depth:
            continue
        if element.tag > _LAST_WANTED:
            break
        name = _WANTED.get(element.tag)
        if name is not None and element.length is not None:
            found[name] = _text(head, element.start, element.length)
    missing = [name for name in _REQUIRED if not found.get(name)]
    if missing:
        raise NotDicom(f"{missing[0]} is not in the first {SCANNED} bytes")
    for name in _REQUIRED:
        if not _is_uid(found[name]):
            raise NotDicom(f"{name} is no UID")
    return Identity(transfer_syntax_uid=syntax, **found)


def file_meta(head: bytes) -> tuple[int, str]:
    """Where the data set starts, and its transfer syntax.

    Raises:
        NotDicom: No prefix, no group 2, or a transfer syntax that is not taken.
    """
    if head[128:PREAMBLE] != b"DICM":
        raise NotDicom("no DICM prefix after the preamble")
    syntax, position = "", PREAMBLE
    for element in walk(head[:SCANNED], PREAMBLE, implicit=False):
        if element.tag >> 16 != 2:  # noqa: PLR2004  group 0002 is the file meta information
            break
        if element.length is None:
            raise NotDicom("file meta information has an undefined length")
        if element.tag == _TRANSFER_SYNTAX:
            syntax = _text(head, element.start, element.length)
        position = element.start + element.length
    if not syntax:
        raise NotDicom("no transfer syntax in the file meta information")
    if syntax in _REFUSED:
        raise NotDicom(_REFUSED[syntax])
    if not _is_uid(syntax):
        raise NotDicom("transfer syntax is no UID")
    return position, syntax


def walk(buffer: bytes, position: int, *, implicit: bool) -> Iterator[Element]:
    """Elements in order, those inside sequences too, up to pixel data or the end of the bytes.

    Raises:
        NotDicom: Nested deeper than 32, or more than 100,000 elements.
    """
    nesting = _Nesting()
    size, count = len(buffer), 0
    while position + 8 <= size:
        nesting.leave(position)
        count += 1
        if count > MOST_ELEMENTS:
            raise NotDicom(f"more than {MOST_ELEMENTS} elements")
        group, number = struct.unpack_from("<HH", buffer, position)
        tag = group << 16 | number
        if group == 0xFFFE:  # noqa: PLR2004  items and delimiters have no VR
            length = struct.unpack_from("<I", buffer, position + 4)[0]
            position += 8
            nesting.mark(tag, position, length)
            continue
        header = _header(buffer, position, implicit=implicit)
        if header is None:
            return
        start, length, is_sequence = header
        yield Element(tag, start, None if length == _UNDEFINED else length, nesting.depth)
        if tag in _PIXELS and not nesting.depth:
            return
        if is_sequence:
            nesting.enter(start, length)
        position = start if is_sequence else start + length


class _Nesting:
    """The sequences and items that are open, with the offset where each ends if it is known."""

    __slots__ = ("_ends", "depth")

    def __init__(self) -> None:
        self.depth = 0
        self._ends: list[tuple[bool, int | None]] = []

    def enter(self, start: int, length: int) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise NotDicom(f"sequences nested deeper than {DEEPEST}")
        self._ends.append((True, None if length == _UNDEFINED else start + length))

    def leave(self, position: int) -> None:
        """Close what ended before a position."""
        while self._ends and (end := self._ends[-1][1]) is not None and position >= end:
            self.depth -= self._ends.pop()[0]

    def mark(self, tag: int, position: int, length: int) -> None:
        """An item opens, or a delimiter closes the innermost item or sequence."""
        if tag == _ITEM:
            self._ends.append((False, None if length == _UNDEFINED else position + length))
            return
        while self._ends:
            is_sequence, _ = self._ends.pop()
            self.depth -= is_sequence
            if is_sequence or tag != _SEQUENCE_END:
                return


def _header(buffer: bytes, position: int, *, implicit: bool) -> tuple[int, int, bool] | None:
    """Start and length of a value, and whether elements stand inside it; None at the end."""
    vr = buffer[position + 4 : position + 6]
    if implicit or not vr.isalpha() or not vr.isupper():
        # Some writers put implicit sequences into explicit data sets; a VR is always two capitals.
        start, length = position + 8, struct.unpack_from("<I", buffer, position + 4)[0]
        inside = length == _UNDEFINED or buffer[start : start + 4] == _ITEM_MARK
        return start, length, inside
    if vr in _LONG_VRS:
        if position + 12 > len(buffer):
            return None
        start, length = position + 12, struct.unpack_from("<I", buffer, position + 8)[0]
        inside = vr == b"SQ" or (vr == b"UN" and length == _UNDEFINED)
        return start, length, inside
    return position + 8, struct.unpack_from("<H", buffer, position + 6)[0], False


def _text(buffer: bytes, start: int, length: int) -> str:
    return buffer[start : start + length].replace(b"\0", b"").decode("latin-1").strip()


def _is_uid(text: str) -> bool:
    return len(text) <= 64 and text.replace(".", "").isdecimal() and text.isascii()  # noqa: PLR2004
