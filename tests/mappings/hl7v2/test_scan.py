"""The byte scan before the commit."""

from __future__ import annotations

import time
from hashlib import sha256

import pytest
from feeds import msh, obr, obx, oru
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.errors import UnreadableMessage
from mappings.hl7v2.charsets import split_msh
from mappings.hl7v2.er7 import parse
from mappings.hl7v2.scan import dedup_digest, lane, scan


def test_the_header_is_read() -> None:
    """What the listener needs for its answer."""
    header = scan(oru(obx(), f15="AL", f16="NE"))
    assert ("LAB", "HOSP", "ORU^R01^ORU_R01", "C1", "P", "2.5.1", "AL", True) == (
        header.sending_application,
        header.sending_facility,
        header.message_type,
        header.control_id,
        header.processing_id,
        header.version,
        header.accept_ack,
        header.enhanced,
    )


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
def test_every_identifier_of_a_merge_is_found(end: bytes) -> None:
    """PID-3 and MRG-1 of each group, all repetitions, are the lanes to take."""
    lines = [
        msh("ADT^A40^ADT_A39").encode(),
        b"PID|1||A^^^H~B^^^H",
        b"MRG|C^^^H",
        b"PID|1||D^^^H",
        b"MRG|E^^^H",
    ]
    header = scan(end.join(lines))
    assert (b"A^^^H", b"B^^^H", b"D^^^H") == header.patient_ids
    assert (b"C^^^H", b"E^^^H") == header.prior_ids


def test_the_filler_number_is_found() -> None:
    """OBR-3 tells our own echo."""
    sent = oru(obr(f3="AI-1^ONCORD"), obx(), obr(f3="L2^LAB"), obx())
    assert (b"AI-1^ONCORD", b"L2^LAB") == scan(sent).fillers


@pytest.mark.parametrize("marks", [b"^~&", b"^~ &", b"~\\&", b"^~\\\\&"])
def test_the_lane_is_the_same_whatever_msh_2_lost(marks: bytes) -> None:
    """Two messages of one patient are worked in order though one came by a broken engine."""
    sent = b"MSH|%s|LIS||||20261120||ORU^R01|1\rPID|||7^^^A&1.2^MR~8^^^B\r"
    plain, broken = (scan(sent % m) for m in (b"^~\\&", marks))
    assert "A|7" == broken.lane == plain.lane
    assert plain.delimiters == broken.delimiters


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b"\r\n", b" \t", b"\x0b"])
def test_what_stands_before_msh_is_passed_by(before: bytes) -> None:
    """For the answer and for the mapping alike."""
    sent = before + b"MSH|^~\\&|LIS||||20261120||ADT^A08|1\rPID|||7^^^A\r"
    assert ("ADT^A08", "A|7") == (scan(sent).message_type, scan(sent).lane)
    assert ["MSH", "PID"] == [segment.name for segment in parse(sent).segments]


@pytest.mark.parametrize(
    ("declared", "codec", "hospital"),
    [("BIG5", "big5", "台大醫院"), ("SHIFT-JIS", "cp932", "ポート病院"), ("", "latin-1", "Orlé")],
)
def test_a_bar_that_is_half_of_a_letter_does_not_separate(
    declared: str, codec: str, hospital: str
) -> None:
    """Such a hospital is answered, and sent again its message is known."""
    raw = f"{msh('ADT^A01', f4=hospital, f18=declared)}\rPID|1||1^^^H\r".encode(codec)
    again = raw.replace(scan(raw).stamp, b"20261122000000")
    assert ("ADT^A01", "C1", hospital.encode(codec)) == (
        scan(raw).message_type,
        scan(raw).control_id,
        scan(raw).field(4),
    )
    assert raw != again
    assert dedup_digest(raw) == dedup_digest(again)


def test_two_quotes_ask_for_no_enhanced_mode() -> None:
    """They delete a value; an acknowledgement mode is none."""
    asked = [b"", b'""', b"AL"]
    sent = (b"MSH|^~\\&|L||||20261120||ADT^A08|1|P|2.5|||%s|\rPID|\r" % word for word in asked)
    assert [False, False, True] == [scan(raw).enhanced for raw in sent]


def test_other_delimiters_are_honoured() -> None:
    """The lane keys are split by the sender's own repetition mark."""
    header = scan(b"MSH#*%!@#LAB#H##R#2026##ORU*R01#7#P#2.5\rPID#1##A%B\r")
    assert ("ORU^R01", (b"A", b"B")) == (header.message_type, header.patient_ids)


@pytest.mark.parametrize("raw", [b"", b"\x0b", b"PID|1", b"MSH|", b"MSH|^~\\&|A|B", b"MSHxMSHx"])
def test_an_unreadable_msh_is_said(raw: bytes) -> None:
    """No delimiters or no MSH-9: nothing can be answered."""
    with pytest.raises(UnreadableMessage):
        scan(raw)


def test_a_restamped_copy_has_the_same_digest() -> None:
    """Engines write a new MSH-7 when they send again (site rule 17)."""
    first, again = oru(obx(), f7="20260101"), oru(obx(), f7="20260102030405+0800")
    assert dedup_digest(first) == dedup_digest(again)


def test_another_value_has_another_digest() -> None:
    """One byte outside MSH-7 is another message."""
    assert dedup_digest(oru(obx(value="5"))) != dedup_digest(oru(obx(value="6")))


@pytest.mark.parametrize("stamp", ["20260101", "", "LAB"])
def test_the_digest_is_that_of_the_message_without_its_time(stamp: str) -> None:
    """Also where MSH-7 is empty or says what another field says; stored ones stay comparable."""
    blanked = oru(obx(), f3="LAB", f7="")
    assert sha256(blanked).digest() == dedup_digest(oru(obx(), f3="LAB", f7=stamp))


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
@pytest.mark.parametrize(
    "lines",
    [
        [b"PID|1||A^^^H~B^^^H"],
        [b"PID|1||~B^^^H"],
        [b"PID|1||", b"PID|2||C^^^H"],
        [b"PID|1", b"PID|2||C^^^H"],
        [b"EVN|A04", b"PID|1||7^^^H&1.2&ISO^MR|x"],
        [b"PIDX|1||A"],
        [],
    ],
)
def test_the_lane_is_that_of_the_first_identifier(end: bytes, lines: list[bytes]) -> None:
    """The short look finds what the long one finds."""
    for opening in (
        b"MSH|^~\\&|A|B|C|D|2026||ADT^A04|1|P|2.5",
        b"MSH|^|A|B|C|D|2026||ADT^A04|1|P|2.5",
    ):
        header = scan(end.join([opening, *lines]) + end)
        assert lane(header.patient_ids, header.delimiters) == header.lane


def test_what_a_sender_always_says_is_read_once() -> None:
    """Time and control id differ; another field makes another sender of it; a long one is not kept."""
    one, two = scan(oru(obx(), f7="1", f10="A")), scan(oru(obx(), f7="2", f10="B"))
    assert one.shared is two.shared
    assert (["1", "A"], ["2", "B"]) == tuple([h.text(n) for n in (7, 10)] for h in (one, two))
    assert scan(oru(obx(), f3="OTHER")).shared is not one.shared
    long = oru(obx(), f3="L" * 5000)
    assert scan(long).shared is not scan(long).shared
    assert "L" * 5000 == scan(long).sending_application


@given(st.binary(max_size=200))
@settings(max_examples=150, deadline=None)
def test_arbitrary_bytes_are_scanned_or_unreadable(tail: bytes) -> None:
    """The listener meets nothing but UnreadableMessage."""
    for raw in (tail, b"MSH|^~\\&|" + tail):
        for read in (scan, dedup_digest, lambda sent: scan(sent).lane):
            try:
                read(raw)
            except UnreadableMessage:
                continue


def test_the_scan_does_not_grow_with_the_document() -> None:
    """A five megabyte OBX-5 costs no splitting."""
    raw = oru(obx("ED", "^application^pdf^Base64^" + "A" * 5_000_000))
    begun = time.process_time()
    assert scan(raw).lane
    assert 0.05 > time.process_time() - begun


def test_a_header_of_many_charsets_is_looked_through_but_once() -> None:
    """A pass over the line for each spelling of GBK would take hours, on the loop of all doors."""
    names = "|".join(f"GB{'-' * (n % 50)}K{' ' * (n // 50)}" for n in range(20_000))
    line = f"MSH|^~\\&|{'|' * 40}é|{names}".encode()
    fields = split_msh(line, b"|")
    assert (line, 20_000) == (b"|".join(fields), sum(b"K" in field for field in fields))
