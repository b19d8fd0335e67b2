"""multipart/related, streamed: parts come out whole however the body was split."""

from __future__ import annotations

import pytest

from interop.errors import NotMultipart, TooLarge
from interop.multipart import MultipartReader, PartBegin, PartBytes, PartEnd, boundary_of

BODY = (
    b"--cut\r\nContent-Type: application/dicom\r\n\r\none\r\n--cu not yet\r\n"
    b"--cut\r\ncontent-type: Text/Plain; charset=utf-8\r\nX: y\r\n\r\n\r\n--cut--\r\nepilogue"
)
PARTS = [("application/dicom", b"one\r\n--cu not yet"), ("text/plain", b"")]


def parts(*pieces: bytes, boundary: bytes = b"cut", most: int = 9) -> list[tuple[str, bytes]]:
    """What a reader makes of pieces of a body, which must be complete."""
    reader = MultipartReader(boundary, most_parts=most)
    made: list[tuple[str, bytes]] = []
    ended = 0
    for piece in pieces:
        for event in reader.feed(piece):
            match event:
                case PartBegin(kind):
                    made.append((kind, b""))
                case PartBytes(content):
                    made[-1] = (made[-1][0], made[-1][1] + content)
                case PartEnd():
                    ended += 1
    assert (True, len(made)) == (reader.complete, ended)
    return made


def test_every_cut_of_a_body_gives_its_parts():
    """Two reads, cut at each byte offset."""
    for at in range(len(BODY) + 1):
        assert PARTS == parts(BODY[:at], BODY[at:]), at


def test_byte_by_byte_gives_its_parts():
    """The slowest sender."""
    assert PARTS == parts(*(bytes([b]) for b in BODY))


def test_a_preamble_is_skipped():
    """RFC 2046 allows words before the first boundary."""
    assert PARTS == parts(b"This is a message.\r\n" + BODY)


def test_a_part_without_headers_is_dicom():
    """A sender that leaves the header out means the type of the whole."""
    assert [("application/dicom", b"x")] == parts(b"--cut\r\n\r\nx\r\n--cut--")


def test_white_space_after_the_boundary_is_allowed():
    """Transport padding (RFC 2046 5.1.1)."""
    assert [("application/dicom", b"x")] == parts(b"--cut \t\r\n\r\nx\r\n--cut--")


@pytest.mark.parametrize(
    "body",
    [
        b"x" * 3000,
        b"--cutother\r\n\r\nx\r\n--cut--",
        b"--cut\r\n" + b"A: " + b"b" * 9000,
        b"--cut" + b" " * 9000,
    ],
    ids=["no boundary", "longer boundary", "endless header", "endless boundary line"],
)
def test_a_body_that_breaks_the_format_is_refused(body: bytes):
    """Bounded before anything is kept."""
    with pytest.raises(NotMultipart):
        parts(body)


def test_more_parts_than_taken_are_refused():
    """Counted as they open."""
    with pytest.raises(TooLarge):
        parts(b"--cut\r\n\r\n1\r\n--cut\r\n\r\n2\r\n--cut--", most=1)


def test_a_body_cut_short_is_not_complete():
    """No closing boundary: nothing may be acknowledged."""
    reader = MultipartReader(b"cut")
    reader.feed(BODY[:-20])
    assert not reader.complete


def test_a_quoted_boundary_is_understood():
    """Quoted parameters, as the standard's own examples have them."""
    kind = 'multipart/related; type="application/dicom"; boundary="a b=c"'
    assert (b"a b=c", "application/dicom") == boundary_of(kind)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "application/dicom",
        "multipart/form-data; boundary=x",
        "multipart/related",
        "multipart/related; boundary=" + "x" * 201,
        'multipart/related; boundary=""',
    ],
)
def test_other_content_types_are_refused(header: str):
    """Only multipart/related with a boundary of 1 to 200 characters."""
    with pytest.raises(NotMultipart):
        boundary_of(header)


def test_the_boundary_of_orthanc_is_taken():
    """73 characters, against RFC 2046: what PACS out there send is what counts."""
    boundary = "-".join(["409d1fd7-eca7-4123-9036-02c4c2c0fcbf"] * 2)
    assert boundary.encode() == boundary_of(f"multipart/related; boundary={boundary}")[0]
