"""The MLLP listener over real sockets and a real ledger: each cell of the ack contract."""

from __future__ import annotations

import socket
import time

import pytest
from doors import NOW, Door, Open, message, msa, until
from prometheus_client import REGISTRY
from sqlalchemy import text

from interop.ledger import jobs, messages
from interop.ledger.engine import reading, writing
from workers.demo.senders import MllpSender


def test_what_is_stored_is_accepted(door: Door):
    """AA with the sender's control id, and the bytes are in the ledger with their job."""
    assert [("AA", "1")] == [msa(a) for a in door.ask(message())]
    assert [("ADT^A04^ADT_A01", "received", "AA")] == door.rows() or [("received", "AA")] == [
        row[1:] for row in door.rows()
    ]
    [claim] = jobs.claim(door.ledger, "ingest", now=NOW, limit=9)
    with reading(door.ledger) as connection:
        assert message() == messages.get(connection, claim.refs["inbound"]).body
    assert "DEMOHOSP|7" == claim.lane


def test_enhanced_mode_is_answered_with_a_commit_accept(door: Door):
    """CA when MSH-15 or 16 is set."""
    assert [("CA", "1")] == [msa(a) for a in door.ask(message(tail="|||AL|NE"))]


def test_an_exact_duplicate_gets_the_stored_answer(door: Door):
    """Byte for byte the first answer, restamped MSH-7 or not; one job."""
    first, again, restamped = door.ask(message(), message(), message(stamp="20260304130000"))
    assert first == again == restamped
    assert {("ingest", "ready"): 1} == jobs.counts(door.ledger)


def test_a_duplicate_on_another_connection_too(door: Door):
    """A sender that reconnected asks again."""
    assert door.ask(message()) == door.ask(message())


def test_a_reused_control_id_with_other_bytes_is_kept(door: Door):
    """AA, two messages, two jobs, and an alarm."""
    before = REGISTRY.get_sample_value(
        "oncord_received_total", {"door": "mllp", "seen": "reused"}
    ) or 0  # fmt: skip
    answers = door.ask(message(), message(pid="8"))
    assert [("AA", "1")] * 2 == [msa(a) for a in answers]
    assert {("ingest", "ready"): 2} == jobs.counts(door.ledger)
    counted = REGISTRY.get_sample_value(
        "oncord_received_total", {"door": "mllp", "seen": "reused"}
    )  # fmt: skip
    assert before + 1 == counted


@pytest.mark.parametrize(("tail", "code"), [("", "AE"), ("|||AL|NE", "CE")])
def test_what_cannot_be_stored_is_not_accepted(door: Door, tail: str, code: str):
    """AE or CE while the ledger cannot commit; the same message is taken afterwards."""
    with writing(door.ledger) as connection:
        connection.execute(text("ALTER TABLE inbound RENAME TO gone"))
    assert [(code, "1")] == [msa(a) for a in door.ask(message(tail=tail))]
    with writing(door.ledger) as connection:
        connection.execute(text("ALTER TABLE gone RENAME TO inbound"))
    accepted = {"AE": "AA", "CE": "CA"}[code]
    assert [(accepted, "1")] == [msa(a) for a in door.ask(message(tail=tail))]


@pytest.mark.parametrize(("tail", "code"), [("", "AR"), ("|||AL|AL", "CR")])
def test_a_wrong_processing_id_is_rejected_and_kept(door: Door, tail: str, code: str):
    """AR or CR, raw as rejected, and no work comes of it."""
    assert [(code, "1")] == [msa(a) for a in door.ask(message(processing="T", tail=tail))]
    assert [("rejected", code)] == [row[1:] for row in door.rows()]
    assert {} == jobs.counts(door.ledger)


def test_a_type_nobody_maps_is_accepted(door: Door):
    """One stray A60 answered AR halts a hospital's outbound queue (site rule 16)."""
    assert [("AA", "1")] == [msa(a) for a in door.ask(message(kind="ADT^A60^ADT_A60"))]
    assert [("received", "AA")] == [row[1:] for row in door.rows()]


@pytest.mark.parametrize(
    "sent", [b"PID|1||7\r", b"", b"MSH", b"\xff\xfe\x00garbage", b"MSH|^~\\&\r"]
)
def test_an_unreadable_msh_closes_after_storing(door: Door, sent: bytes):
    """No answer, raw bytes kept in quarantine, and the listener serves on."""
    assert b"" == door.raw(b"\x0b" + sent + b"\x1c\r", close=False)
    assert [("quarantined", "")] == [row[1:] for row in door.rows()]
    with reading(door.ledger) as connection:
        [row] = messages.listing(door.ledger, states=["quarantined"])
        assert sent == messages.get(connection, row["id"]).body
    assert [("AA", "1")] == [msa(a) for a in door.ask(message())]


def test_a_truncated_frame_leaves_metadata_only(door: Door):
    """No answer and no bytes: when, where and how much, for whoever looks (site rule 15)."""
    name = {"why": "connection ended inside a frame"}
    before = REGISTRY.get_sample_value("oncord_mllp_truncated_total", name) or 0
    assert b"" == door.raw(b"\x0b" + message()[:40])
    until(lambda: door.rows() == [("", "rejected", "")])
    [row] = messages.listing(door.ledger, states=["rejected"])
    with reading(door.ledger) as connection:
        kept = messages.get(connection, row["id"])
    assert (None, 40, name["why"]) == (kept.body, kept.size, kept.reason)
    assert before + 1 == REGISTRY.get_sample_value("oncord_mllp_truncated_total", name)


def test_a_message_over_the_cap_closes(open_door: Open):
    """No answer, metadata only, and others are served."""
    door = open_door(cap=500)
    assert b"" == door.raw(b"\x0b" + b"x" * 501, close=False)
    assert [("", "rejected", "")] == door.rows()
    assert [("AA", "1")] == [msa(a) for a in door.ask(message())]


def test_a_slow_frame_closes(open_door: Open):
    """Silence inside a frame ends the connection; silence between frames does not."""
    door = open_door(inter_byte_s=0.1)
    with MllpSender("127.0.0.1", door.port) as sender:
        sender.send(message())
        started = time.monotonic()
        assert b"" == door.raw(b"\x0bMSH", close=False)
        assert 2 > time.monotonic() - started
        assert ("AA", "2") == msa(sender.send(message("2")))


def test_a_dripping_frame_closes(open_door: Open):
    """A byte now and then does not keep a frame alive for ever."""
    door = open_door(inter_byte_s=0.2, frame_s=0.3)
    with socket.create_connection(("127.0.0.1", door.port), 5) as held:
        held.sendall(b"\x0b")
        with pytest.raises(OSError):
            for _ in range(60):
                held.sendall(b"x")
                held.settimeout(0.05)
                try:
                    if held.recv(1) == b"":
                        raise ConnectionResetError
                except TimeoutError:
                    continue


def test_pipelined_messages_are_answered_in_order(door: Door):
    """Two hundred frames in one write."""
    sent = b"".join(b"\x0b" + message(str(n)) + b"\x1c\r" for n in range(200))
    with socket.create_connection(("127.0.0.1", door.port), 10) as held:
        held.sendall(sent)
        got = b""
        while got.count(b"\x1c\r") < 200:
            got += held.recv(65536)
    answers = [a for a in got.split(b"\x1c\r") if a]
    assert [("AA", str(n)) for n in range(200)] == [msa(a) for a in answers]


@pytest.mark.parametrize(
    ("wanted", "processing", "answered"),
    [("NE", "P", 0), ("ER", "P", 0), ("ER", "T", 1), ("SU", "P", 1), ("SU", "T", 0)],
)
def test_msh_15_says_whether_an_answer_is_wanted(
    door: Door, wanted: str, processing: str, answered: int
):
    """The next message tells whether one came."""
    first = message("1", processing=processing, tail=f"|||{wanted}|NE")
    sent = b"".join(b"\x0b" + m + b"\x1c\r" for m in (first, message("2")))
    with socket.create_connection(("127.0.0.1", door.port), 10) as held:
        held.sendall(sent)
        got = b""
        while b"|2\r" not in got and b"|2|" not in got:
            got += held.recv(65536)
    assert answered + 1 == got.count(b"\x0b")


def test_connections_over_the_limit_are_closed(open_door: Open):
    """A flood does not take the memory."""
    door = open_door(most_connections=1)
    with MllpSender("127.0.0.1", door.port) as first:
        first.send(message())
        assert b"" == door.raw(b"", close=False)
        assert ("AA", "2") == msa(first.send(message("2")))


def test_a_history_interface_marks_what_it_takes(open_door: Open):
    """Origin is the door's, whatever the message says (site rule 3)."""
    door = open_door(name="archive", origin="history")
    door.ask(message())
    with reading(door.ledger) as connection:
        assert "history" == connection.execute(text("SELECT origin FROM inbound")).scalar()


@pytest.mark.parametrize("pid", ["7\0", "\udcff", "7" * 5000], ids=["NUL", "no text", "long"])
def test_bytes_no_database_takes_as_text_are_stored_all_the_same(door: Door, pid: str):
    """Answered AE it would come again for ever, and with it all that share its commit."""
    sent = message().replace(b"||7^", b"||" + pid.encode("utf-8", "surrogateescape") + b"^")
    assert [("AA", "1")] == [msa(a) for a in door.ask(sent)]


def test_a_start_block_in_a_text_costs_nobody_a_message(door: Door):
    """Kept as it came, with its neighbours: the sender could not send it otherwise."""
    sent = message().replace("合成".encode(), b"two\x0blines")
    assert [("AA", "1"), ("AA", "2")] == [msa(a) for a in door.ask(sent, message("2"))]
    assert [("received", "AA")] * 2 == [row[1:] for row in door.rows()]


def test_a_sender_that_closes_its_half_is_answered(door: Door):
    """As `nc -N` does; a frame that it left unfinished leaves its metadata."""
    sent = b"".join(b"\x0b" + message(str(n)) + b"\x1c\r" for n in range(200))
    got = door.raw(sent + b"\x0bMSH")
    assert [("AA", str(n)) for n in range(200)] == [msa(a) for a in got.split(b"\x1c\r") if a]
    assert [("rejected", "")] == [row[1:] for row in door.rows() if row[1] != "received"]


def test_our_answers_have_control_ids_of_their_own(door: Door):
    """MSH-10 of each answer is new."""
    answers = door.ask(message("1"), message("2"))
    assert 2 == len({a.split(b"|")[9] for a in answers})
