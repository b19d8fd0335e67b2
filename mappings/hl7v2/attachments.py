"""ED and RP: documents inside or behind a message, by digest; their bytes stay in the raw message.

Source: HL7 v2.5.1 2.A.24 (ED), 2.A.65 (RP); tables 0191, 0291, 0299.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from mappings.hl7v2.er7 import Segment
from mappings.hl7v2.reading import Reading
from mappings.record import Attachment, Text, Value

_SIGNS = (
    (b"%PDF-", "application/pdf"),
    (b"\x89PNG\r\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"{\\rtf", "application/rtf"),
    (b"PK\x03\x04", "application/zip"),
    (b"<?xml", "application/xml"),
    (b"<html", "text/html"),
    (b"<!DOCTYPE html", "text/html"),
)
_DOCX = "vnd.openxmlformats-officedocument.wordprocessingml.document"
_SUBTYPES = {
    **dict.fromkeys(("msword", "doc"), "application/msword"),
    **dict.fromkeys((_DOCX, "docx"), f"application/{_DOCX}"),
    "pdf": "application/pdf",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "png": "image/png",
    "gif": "image/gif",
    "tiff": "image/tiff",
    "tif": "image/tiff",
    "rtf": "application/rtf",
    "html": "text/html",
    "xml": "application/xml",
    "x-hl7-cda-level-one": "application/xml",
    "dicom": "application/dicom",
    "plain": "text/plain",
    "octet-stream": "application/octet-stream",
}
# Table 0191, the old codes and the words.
_MAJORS = {
    **{word: word for word in ("audio", "image", "text", "video")},
    "au": "audio",
    "im": "image",
    "si": "image",
    "tx": "text",
    "ft": "text",
}
_DICOM_AT = 128


def encapsulated(reading: Reading, obx: Segment, text: str) -> Value | None:
    """ED: what it is, how large, and its SHA-256; text that cannot be decoded is reported."""
    # Base64 has no escapes and can be megabytes: it is unescaped only where it was marked.
    parts = [*reading.message.components(text), "", "", "", "", ""]
    _, kind, subtype, encoding, payload = parts[:5]
    if not payload:
        reading.note(obx.path(5), "no encapsulated data, kept as text", "error")
        return Text(reading.message.unescape(text))
    body = _decoded(payload, encoding)
    if body is None:
        reading.note(obx.path(5), "encapsulated data cannot be decoded as ED.4 says", "error")
        return Attachment(_declared(kind, subtype), None, None)
    return Attachment(
        sniffed(body) or _declared(kind, subtype), len(body), hashlib.sha256(body).hexdigest()
    )


def pointer(reading: Reading, _obx: Segment, text: str) -> Value | None:
    """RP: where the document lies. Nothing ever fetches it (A8)."""
    parts = [*reading.message.components(text), "", "", "", ""]
    address, _, kind, subtype = parts[:4]
    if not address:
        return Text("")
    return Attachment(_declared(kind, subtype), url=address)


def sniffed(body: bytes) -> str | None:
    """Content type by the bytes themselves: senders' labels are "not always accurate"."""
    head = body[:200].lstrip()
    for sign, content_type in _SIGNS:
        if head.lower().startswith(sign.lower()):
            return content_type
    if body[_DICOM_AT : _DICOM_AT + 4] == b"DICM":
        return "application/dicom"
    return None


def _declared(kind: str, subtype: str) -> str:
    whole = next((word for word in (subtype, kind) if "/" in word), "")
    if whole:
        return whole.strip().lower()
    found = _SUBTYPES.get(subtype.lower())
    if found is not None:
        return found
    major = _MAJORS.get(kind.lower())
    if major is not None and subtype.isascii() and subtype.replace("-", "").isalnum():
        return f"{major}/{subtype.lower()}"
    return "text/plain" if kind.upper() in ("TEXT", "TX", "FT") else "application/octet-stream"


def _decoded(payload: str, encoding: str) -> bytes | None:
    packed = "".join(payload.split())
    match encoding.strip().upper():
        case "BASE64" | "B64":
            return _base64(packed)
        case "HEX":
            try:
                return bytes.fromhex(packed)
            except ValueError:
                return None
        case "":
            return _unlabelled(packed) or payload.encode()
        case _:
            return payload.encode()


def _base64(packed: str) -> bytes | None:
    """Some senders leave out the padding, which tells nothing."""
    try:
        return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _unlabelled(packed: str) -> bytes | None:
    """Base64 that ED.4 does not call so: only bytes that show what they are prove it."""
    body = _base64(packed)
    return body if body and sniffed(body) else None
