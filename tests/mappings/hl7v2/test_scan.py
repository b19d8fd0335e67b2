"""The byte scan before the commit."""

from __future__ import annotations

import time

import pytest
from feeds import msh, obr, obx, oru
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.errors import UnreadableMessage
from mappings.hl7v2.scan import dedup_digest, scan


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


@given(st.binary(max_size=200))
@settings(max_examples=150, deadline=None)
def test_arbitrary_bytes_are_scanned_or_unreadable(tail: bytes) -> None:
    """The listener meets nothing but UnreadableMessage."""
    for raw in (tail, b"MSH|^~\\&|" + tail):
        for read in (scan, dedup_digest):
            try:
                read(raw)
            except UnreadableMessage:
                continue


def test_the_scan_does_not_grow_with_the_document() -> None:
    """A five megabyte OBX-5 costs no splitting."""
    raw = oru(obx("ED", "^application^pdf^Base64^" + "A" * 5_000_000))
    begun = time.process_time()
    scan(raw)
    assert 0.05 > time.process_time() - begun
