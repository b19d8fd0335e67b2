"""The MLLP client: an answer counts only for the message it answers (F20)."""

from __future__ import annotations

import random
import time

import pytest
from peers.processes import free_port
from receiver import receiving

from interop.errors import OutcomeUnknown, PeerUnavailable
from interop.mllp_client import MllpClient


def message(control_id: str) -> bytes:
    """A message of that control id."""
    return f"MSH|^~\\&|ONCORD|H|EHR|H|2026||ORU^R01|{control_id}|P|2.5.1\rPID|1||7\r".encode()


@pytest.mark.parametrize(
    ("code", "accepted", "rejected"),
    [("AA", True, False), ("CA", True, False), ("AE", False, False), ("CE", False, False),
     ("AR", False, True), ("CR", False, True)],
)  # fmt: skip
def test_the_answer_to_a_message_is_read(code: str, accepted: bool, rejected: bool):
    """Table 0008, by MSA-1."""
    with receiving(code) as ehr:
        client = MllpClient("127.0.0.1", ehr.port)
        answer = client.exchange(message("1"), "1")
        client.close()
    assert (code, accepted, rejected) == (answer.code, answer.accepted, answer.rejected)


def test_one_connection_carries_many_messages():
    """Opened once."""
    with receiving() as ehr:
        client = MllpClient("127.0.0.1", ehr.port)
        codes = [client.exchange(message(str(n)), str(n)).code for n in range(20)]
        client.close()
        assert (["AA"] * 20, 1) == (codes, ehr.connections)


@pytest.mark.parametrize("word", ["late", "other", "nothing", "hang up", "garbage"])
def test_no_answer_in_time_or_another_one_ends_the_connection(word: str):
    """The outcome is unknown; the next exchange is on a new connection and gets its own answer."""
    with receiving(word) as ehr:
        client = MllpClient("127.0.0.1", ehr.port, timeout_s=0.2)
        with pytest.raises(OutcomeUnknown):
            client.exchange(message("1"), "1")
        assert "AA" == client.exchange(message("2"), "2").code
        client.close()
        assert (2, ["1", "2"]) == (ehr.connections, ehr.control_ids())


def test_an_answer_given_twice_is_not_credited_to_the_next_message():
    """The second copy may come after the next message was sent: it answers nothing."""
    with receiving("twice") as ehr:
        client = MllpClient("127.0.0.1", ehr.port, timeout_s=1)
        assert "AA" == client.exchange(message("1"), "1").code
        try:
            assert "AA" == client.exchange(message("2"), "2").code
        except OutcomeUnknown:
            assert "AA" == client.exchange(message("2"), "2").code
        client.close()
        assert "2" in ehr.control_ids()


def test_a_receiver_that_hung_up_meanwhile_costs_no_attempt():
    """Engines close idle connections: the next message goes by a new one, not into the old."""
    with receiving("goodbye", "goodbye") as ehr:
        client = MllpClient("127.0.0.1", ehr.port, timeout_s=5)
        for number in range(3):
            assert "AA" == client.exchange(message(str(number)), str(number)).code
            time.sleep(0.05)
        client.close()
        assert (3, ["0", "1", "2"]) == (ehr.connections, ehr.control_ids())


def test_blanks_around_an_answer_are_forgiven():
    """A field of fixed width is an answer all the same; asked for ever it would come for ever."""
    with receiving("padded") as ehr:
        client = MllpClient("127.0.0.1", ehr.port, timeout_s=5)
        assert client.exchange(message("1"), "1").accepted
        client.close()


def test_whatever_answers_come_only_the_right_one_counts():
    """Three hundred messages to a receiver that does what it likes: an AA means it has it."""
    chance = random.Random(20)  # noqa: S311  words, no secrets
    words = [
        chance.choice(["AA", "AE", "other", "hang up", "garbage", "twice"]) for _ in range(300)
    ]
    with receiving(*words) as ehr:
        client = MllpClient("127.0.0.1", ehr.port, timeout_s=1)
        for number in range(300):
            control_id = f"M{number}"
            try:
                answer = client.exchange(message(control_id), control_id)
            except OutcomeUnknown:
                continue
            if answer.accepted:
                assert control_id in ehr.control_ids()
        client.close()


def test_nobody_there_is_told_apart_from_no_answer():
    """Nothing was sent: it may be sent without a second thought."""
    with pytest.raises(PeerUnavailable):
        MllpClient("127.0.0.1", free_port()).exchange(message("1"), "1")
