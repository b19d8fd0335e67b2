"""The ack contract, cell by cell and in both modes, where `test_listener` has one of them.

Source: reliability.md 4.1; site rules 15 to 17.
"""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from doors import Door, Open, message, msa
from sqlalchemy import text
from structlog.testing import capture_logs

from interop.ledger import jobs
from interop.ledger.engine import reading
from workers.demo.senders import MllpSender

MODES = pytest.mark.parametrize(("tail", "letter"), [("", "A"), ("|||AL|NE", "C")])


def err(answer: bytes) -> list[str]:
    """Location, code and severity of an answer's ERR."""
    segment = next(s for s in answer.split(b"\r") if s.startswith(b"ERR"))
    fields = segment.decode().split("|")
    return [fields[2], fields[3].split("^")[0], fields[4]]


@MODES
def test_an_exact_duplicate_is_answered_the_same_and_counted(door: Door, tail: str, letter: str):
    """The stored bytes, also for a copy with another MSH-7; the row counts both."""
    answers = door.ask(
        message(tail=tail), message(tail=tail), message(tail=tail, stamp="20260304130000+0100")
    )
    assert [(letter + "A", "1")] == [msa(a) for a in {*answers}]
    with reading(door.ledger) as connection:
        assert [2] == list(connection.execute(text("SELECT resent FROM inbound")).scalars())


@MODES
def test_a_reused_control_id_is_accepted_kept_and_alarms(door: Door, tail: str, letter: str):
    """And each of the two is a duplicate of itself from then on."""
    one, other = message(tail=tail), message(tail=tail, pid="8")
    with capture_logs() as logs:
        first, second, again, other_again = door.ask(one, other, one, other)
    assert [(letter + "A", "1")] * 2 == [msa(first), msa(second)]
    assert (first, second) == (again, other_again)
    assert first != second
    assert ["mllp.control_id_reused"] == [line["event"] for line in logs]
    assert {("ingest", "ready"): 2} == jobs.counts(door.ledger)


@pytest.mark.parametrize("other", [b"|LIS|HOSP|", b"|HIS|WEST|"], ids=["MSH-3", "MSH-4"])
def test_a_control_id_is_of_its_sender(door: Door, other: bytes):
    """Two systems behind one engine count alike: neither is the other's duplicate."""
    first, second = door.ask(message(), message().replace(b"|HIS|HOSP|", other, 1))
    assert first != second
    assert {("ingest", "ready"): 2} == jobs.counts(door.ledger)


def test_a_control_id_is_of_its_interface(open_door: Open):
    """The same bytes by another port are another message."""
    his, test = open_door(), open_door(name="other")
    his.ask(message())
    test.ask(message())
    assert {("ingest", "ready"): 2} == jobs.counts(his.ledger)


@MODES
@pytest.mark.parametrize("kind", ["ADT^A60^ADT_A60", "ZZZ^Z99", "BAR^P01", "DFT^P03"])
def test_a_type_nobody_maps_is_accepted_in_both_modes(
    door: Door, kind: str, tail: str, letter: str
):
    """Kept, with a job that says that it is not mapped."""
    assert [(letter + "A", "1")] == [msa(a) for a in door.ask(message(kind=kind, tail=tail))]
    assert [(kind, "received", letter + "A")] == door.rows()


@MODES
@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        (b"|P|2.5.1", b"|T|2.5.1", ["MSH^1^11", "202", "E"]),
        (b"|P|2.5.1", b"||2.5.1", ["MSH^1^11", "202", "E"]),
        (b"|P|2.5.1", b"|P|3.0", ["MSH^1^12", "203", "E"]),
        (b"|HIS|HOSP|", b"|HIS|WEST|", ["MSH^1^3", "207", "E"]),
    ],
    ids=["MSH-11", "no MSH-11", "MSH-12", "sender"],
)
def test_what_the_site_refuses_is_rejected_with_its_place(
    open_door: Open, tail: str, letter: str, old: bytes, new: bytes, place: list[str]
):
    """AR or CR and where; the bytes are kept, nobody works them, a duplicate is refused alike."""
    door = open_door(senders=frozenset({"HIS|HOSP"}))
    sent = message(tail=tail).replace(old, new, 1)
    answer, again = door.ask(sent, sent)
    assert (letter + "R", "1") == msa(answer)
    assert (place, answer) == (err(answer), again)
    assert [("rejected", letter + "R")] == [row[1:] for row in door.rows()]
    with reading(door.ledger) as connection:
        assert [sent] == list(connection.execute(text("SELECT body FROM inbound")).scalars())
    assert {} == jobs.counts(door.ledger)


@pytest.mark.parametrize(
    ("version", "code"),
    [("2.1", "AA"), ("2.9", "AA"), ("2.9.1^CHN", "AA"), ("", "AA"), ("3.0", "AR"), ("V2", "AR")],
)
def test_versions_2_are_taken(door: Door, version: str, code: str):
    """All of them, those to come too; a blank one is nobody's error."""
    sent = message().replace(b"|2.5.1", b"|" + version.encode())
    assert [(code, "1")] == [msa(a) for a in door.ask(sent)]


@pytest.mark.parametrize("processing", ["P", "T"])
@pytest.mark.parametrize("wanted", ["NE", "ER", "SU"])
def test_an_answer_that_nobody_wants_is_still_on_record(door: Door, wanted: str, processing: str):
    """The row says what would have been sent (MSH-15)."""
    sent = message("1", processing=processing, tail=f"|||{wanted}|NE")
    with MllpSender("127.0.0.1", door.port) as sender, socket.create_connection(
        ("127.0.0.1", door.port), 10
    ) as held:  # fmt: skip
        held.sendall(b"\x0b" + sent + b"\x1c\r")
        held.shutdown(socket.SHUT_WR)
        while held.recv(65536):
            pass
        sender.send(message("2"))
    fate = {"P": ("received", "CA"), "T": ("rejected", "CR")}[processing]
    assert [fate, ("received", "AA")] == [row[1:] for row in door.rows()]


@MODES
def test_without_a_control_id_nothing_is_a_duplicate(door: Door, tail: str, letter: str):
    """Two with equal bytes are two; neither names the other's."""
    answers = door.ask(message("", tail=tail), message("", tail=tail))
    assert [(letter + "A", "")] * 2 == [msa(a) for a in answers]
    assert {("ingest", "ready"): 2} == jobs.counts(door.ledger)


def test_a_batch_answers_each_in_its_own_mode(door: Door):
    """CA among AA, an ERR with its message, and who wants none has none; BTS counts what is in."""
    parts = (message("1"), message("2", tail="|||AL|NE"), message("3", tail="|||NE|NE"),
             message("4", processing="T"))  # fmt: skip
    [answer] = door.ask(b"BHS|^~\\&|LIS|LAB\r" + b"".join(parts) + b"BTS|4\r")
    lines = [line for line in answer.split(b"\r") if line[:3] in (b"MSA", b"ERR", b"BTS")]
    assert [b"MSA|AA|1", b"MSA|CA|2", b"MSA|AR|4"] == [s for s in lines if s.startswith(b"MSA")]
    assert ([b"ERR", b"BTS"], b"BTS|3") == ([line[:3] for line in lines[-2:]], lines[-1])
    assert 4 == sum(row[0] != "batch" for row in door.rows())


def test_a_connection_that_a_firewall_forgot_is_probed(door: Door):
    """Half-open ones would take every place in a month: the kernel's keep-alive timer runs."""
    with MllpSender("127.0.0.1", door.port) as sender:
        sender.send(message())
        port = f":{door.port:04X}"
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        ours = [row for row in rows if row[1].endswith(port) and row[3] == "01"]
        assert ["02"] == [row[5].partition(":")[0] for row in ours]
