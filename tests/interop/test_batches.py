"""Batches at the MLLP door: every message on its own, one batch of answers."""

from __future__ import annotations

import pytest
from doors import Door, message
from sqlalchemy import text

from interop.ledger.engine import reading
from mappings.errors import UnreadableMessage
from mappings.hl7v2.batch import is_batch, split

FHS = b"FHS|^~\\&|LIS|LAB|ONCORD|HOSP|20260304||||F1\r"
BHS = b"BHS|^~\\&|LIS|LAB|ONCORD|HOSP|20260304||||B1\r"


def batch(*messages: bytes, end: bytes = b"\r", declared: int | None = None) -> bytes:
    """A file of one batch."""
    count = len(messages) if declared is None else declared
    made = FHS + BHS + b"".join(messages) + b"BTS|%d\rFTS|1\r" % count
    return made.replace(b"\r", end)


def answered(answer: bytes) -> list[bytes]:
    """Segment names and MSA-1, MSA-2 of a batch of answers."""
    return [
        line if line.startswith((b"MSA", b"BTS", b"FTS")) else line[:3]
        for line in answer.split(b"\r")
        if line
    ]


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"], ids=["CR", "LF", "CRLF"])
def test_a_batch_is_taken_apart_and_answered_as_one(door: Door, end: bytes):
    """Three messages: three rows and jobs, three MSA in one envelope."""
    [answer] = door.ask(batch(message("1"), message("2"), message("3"), end=end))
    expected = [b"FHS", b"BHS"]
    for number in (b"1", b"2", b"3"):
        expected += [b"MSH", b"MSA|AA|" + number]
    assert [*expected, b"BTS|3", b"FTS|1"] == answered(answer)
    kinds = [row[:2] for row in door.rows()]
    assert [("batch", "ignored"), *[("ADT^A04^ADT_A01", "received")] * 3] == kinds


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b"\r\n", b"  ", b"\xef\xbb\xbf\n\t"])
def test_a_batch_begins_behind_a_mark_and_blanks(before: bytes):
    """A file that an editor saved."""
    sent = before + batch(message("1"), message("2"))
    assert is_batch(sent)
    assert (FHS.rstrip(), 2) == (split(sent).envelope[0], len(split(sent).messages))


def test_the_envelope_answers_the_senders_own(door: Door):
    """Names change places, BHS-12 is the sender's BHS-11."""
    [answer] = door.ask(batch(message()))
    fields = next(line for line in answer.split(b"\r") if line.startswith(b"BHS")).split(b"|")
    assert (b"ONCORD", b"LIS", b"B1") == (fields[2], fields[4], fields[11])


def test_one_bad_message_costs_only_itself(door: Door):
    """Rejected, unreadable and good messages of one batch have each their own fate."""
    [answer] = door.ask(
        batch(message("1"), b"MSH|^~\\&|LIS\r", message("2", processing="T"), message("3"))
    )
    said = [line for line in answered(answer) if line.startswith(b"MSA")]
    assert [b"MSA|AA|1", b"MSA|AR|2", b"MSA|AA|3"] == said
    states = [row[1] for row in door.rows()]
    assert ["ignored", "received", "quarantined", "rejected", "received"] == states


def test_a_count_that_does_not_agree_is_said(door: Door):
    """What came is taken; the envelope's row says what is wrong."""
    door.ask(batch(message("1"), declared=2))
    with reading(door.ledger) as connection:
        query = text("SELECT reason FROM inbound WHERE kind = 'batch'")
        assert "BTS-1 says 2 messages, 1 came" == connection.execute(query).scalar()


def test_a_batch_sent_again_is_answered_the_same(door: Door):
    """Exact duplicates within get their stored replies."""
    one, two = door.ask(batch(message("1"), message("2")), batch(message("1"), message("2")))
    stored = [line for line in one.split(b"\r") if line.startswith((b"MSH", b"MSA"))]
    assert stored == [line for line in two.split(b"\r") if line.startswith((b"MSH", b"MSA"))]
    assert 2 == sum(row[1] == "received" for row in door.rows())


def test_a_long_batch_is_answered_in_order(door: Door):
    """More messages than one commit takes."""
    [answer] = door.ask(batch(*(message(str(n)) for n in range(600))))
    said = [line for line in answered(answer) if line.startswith(b"MSA")]
    assert [b"MSA|AA|%d" % n for n in range(600)] == said


def test_a_batch_without_messages_is_kept_and_closes(door: Door):
    """Nobody knows what to answer."""
    assert b"" == door.raw(b"\x0b" + batch() + b"\x1c\r", close=False)
    assert [("", "quarantined")] == [row[:2] for row in door.rows()]


def test_a_message_is_no_batch():
    """And a batch is one whatever stands before its first segment's end."""
    assert not is_batch(message())
    assert is_batch(b"\r\n" + BHS)
    with pytest.raises(UnreadableMessage):
        split(BHS)


def test_every_byte_of_a_batch_is_somewhere():
    """Messages and envelope together are what was sent."""
    raw = batch(message("1"), b"MSH|^~\\&|B\rZZZ|MSH|BTS\r")
    found = split(raw)
    assert (2, 2) == (len(found.messages), found.declared)
    assert sorted(b"".join(found.messages) + b"".join(found.envelope)) == sorted(
        raw.replace(b"|1\rFTS", b"|1FTS")[: -1].replace(FHS, FHS[:-1]).replace(BHS, BHS[:-1])
        .replace(b"BTS|2\r", b"BTS|2")
    )  # fmt: skip
