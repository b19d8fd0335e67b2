"""Acknowledgements in the sender's own delimiters, charset and version."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from feeds import obx, oru

from mappings.hl7v2.ack import AckCode, AckError, ack
from mappings.hl7v2.er7 import parse
from mappings.hl7v2.scan import scan

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ERROR = AckError(code="207", text="cannot store now", location=("PID", 1, 3))


@pytest.mark.parametrize("code", ["AA", "AE", "AR", "CA", "CE", "CR"])
def test_msa_carries_the_code_and_the_control_id(code: AckCode) -> None:
    """MSA-2 is the sender's MSH-10."""
    answer = parse(ack(scan(oru(obx())), code, control_id="A1", now=NOW))
    msa = answer.segments[1]
    assert (code, "C1") == (msa.field(1), msa.field(2))


def test_sender_and_receiver_change_places() -> None:
    """And the trigger stays in MSH-9."""
    header = parse(ack(scan(oru(obx())), "AA", control_id="A1", now=NOW)).segments[0]
    assert ["ONCORD", "HOSP", "LAB", "HOSP"] == [header.field(n) for n in (3, 4, 5, 6)]
    assert ("ACK^R01^ACK", "A1", "P", "2.5.1") == tuple(header.field(n) for n in (9, 10, 11, 12))


@pytest.mark.parametrize(
    ("kind", "version", "answered"),
    [
        ("ORU^R01^ORU_R01", "2.3.1", "ACK^R01^ACK"),
        ("ORU^R01", "2.3", "ACK^R01"),
        ("ORU^R01", "2.9^CHN", "ACK^R01^ACK"),
        ("ORU", "2.1", "ACK"),
        ("ACK", "2.5.1", "ACK"),
        ("ORU^^ORU_R01", "2.5.1", "ACK"),
    ],
)
def test_the_type_of_an_answer_is_of_the_senders_version(
    kind: str, version: str, answered: str
) -> None:
    """The event in MSH-9.2 is the sender's or none, never `ACK`; the structure is since 2.3.1."""
    raw = f"MSH|^~\\&|LAB|H|R|F|2026||{kind}|7|P|{version}\r".encode()
    header = parse(ack(scan(raw), "AA", control_id="A1", now=NOW)).segments[0]
    assert answered == header.field(9)


def test_an_error_names_its_place() -> None:
    """ERR-2 is the location, ERR-3 the code, ERR-4 the severity."""
    answer = ack(scan(oru(obx())), "AE", control_id="A1", now=NOW, error=ERROR)
    err = parse(answer).segments[2]
    assert ("PID^1^3", "207^cannot store now^HL70357", "E") == tuple(
        err.field(n) for n in (2, 3, 4)
    )


def test_an_old_version_gets_an_old_error() -> None:
    """Before 2.5 place and code stand together in ERR-1."""
    answer = ack(scan(oru(obx(), f12="2.3.1")), "AE", control_id="A1", now=NOW, error=ERROR)
    assert "PID^1^3^207&cannot store now&HL70357" == parse(answer).segments[2].field(1)


def test_the_answer_uses_the_delimiters_of_the_message() -> None:
    """A sender that writes # and * reads # and *."""
    header = scan(b"MSH#*%!@#LAB#H#R#F#2026##ORU*R01#7#P#2.5\rPID#1\r")
    assert ack(header, "AA", control_id="A1", now=NOW).startswith(b"MSH#*%!@#R#F#LAB#H#")


def test_the_charset_is_answered() -> None:
    """MSH-18 and the names in their own bytes."""
    raw = oru(obx(), f4="医院", f18="GB 18030-2000").decode().encode("gb18030")
    answer = ack(scan(raw), "AA", control_id="A1", now=NOW)
    header = parse(answer).segments[0]
    assert ("医院", "GB 18030-2000") == (header.field(6), header.field(18))


def test_an_echoed_field_cannot_end_the_frame() -> None:
    """Control characters of the sender do not come back (A14)."""
    answer = ack(scan(oru(obx(), f10="C\x1c\x0b1")), "AA", control_id="A1", now=NOW)
    assert b"MSA|AA|C1\r" in answer
