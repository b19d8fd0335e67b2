"""ED and RP: what a document is, by its bytes before its labels."""

from __future__ import annotations

import pytest
from feeds import obr, obx, oru

from mappings import hl7v2
from mappings.hl7v2.attachments import sniffed
from mappings.record import Attachment, Source
from mappings.site import Site


@pytest.mark.parametrize(
    ("sent", "content_type", "size"),
    [
        ("^application^pdf^Base64^JVBERi0xLjQK", "application/pdf", 9),
        ("^Image^jpeg^Hex^FFD8FFE0", "image/jpeg", 4),
        ("^Image^jpeg^Hex^zz", "image/jpeg", None),
        ("^TEXT^^A^plain words", "text/plain", 11),
        ("^text^html^A^<html>x", "text/html", 7),
        ("^application^x-unknown^A^words", "application/octet-stream", 5),
        ("^multipart^application/cda+xml^A^words", "application/cda+xml", 5),
        ("^application^msword^Base64^0M8R4KGxGuE=", "application/msword", 8),
        ("^text/plain^^Base64^d29yZHM=", "text/plain", 5),
        ("^text/plain^^Base64^d29yZHM", "text/plain", 5),
        ("^text/plain^^Base64^d29yZ", "text/plain", None),
        ("^^^^JVBERi0xLjQK", "application/pdf", 9),
        ("^TEXT^^^words", "text/plain", 5),
    ],
)
def test_an_encapsulated_document_has_type_and_size(
    sent: str, content_type: str, size: int | None, site: Site, source: Source
) -> None:
    """Decoded by ED.4, typed by its first bytes, else by ED.3 and ED.2.

    Without ED.4 only base64 of bytes that show what they are is taken for base64.
    """
    raw = oru(obr(), obx("ED", sent, ""))
    value = hl7v2.entries(raw, site=site, source=source).entries[0].value
    assert isinstance(value, Attachment)
    assert (content_type, size) == (value.content_type, value.size)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"{\\rtf1", "application/rtf"),
        (bytes(128) + b"DICM", "application/dicom"),
        (b"words", None),
    ],
)
def test_bytes_say_what_they_are(body: bytes, content_type: str | None) -> None:
    """By signature; unknown ones are left to the label."""
    assert content_type == sniffed(body)
