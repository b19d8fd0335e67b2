"""Enhanced mode, second half: what became of a message, told on the agreed return path."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from receiver import Receiver, receiving
from whole_line import SITE, Line, opened


@pytest.fixture
def engine() -> Iterator[Receiver]:
    """The sender's end of the return path."""
    with receiving() as made:
        yield made


@pytest.fixture
def line(tmp_path: Path, sqlite_url: str, engine: Receiver) -> Iterator[Line]:
    """The line with a return path for `his`."""
    named = f'name = "his"\nanswers = "127.0.0.1:{engine.port}"\n'
    with opened(tmp_path, sqlite_url, site=SITE.replace('name = "his"\n', named)) as made:
        yield made


def message(control_id: str, asked: str, pid: str = "7^^^DEMOHOSP^MR") -> bytes:
    """An ADT^A04; with a PID-3 of nobody's authority it is parked."""
    return (
        f"MSH|^~\\&|HIS|HOSP|ONCORD|H|20260304120000||ADT^A04^ADT_A01|{control_id}|P|2.5.1{asked}\r"
        f"PID|1||{pid}||合成^患者||19701228|F\r"
    ).encode()


def told(engine: Receiver) -> list[tuple[str, str]]:
    """MSA-1 and MSA-2 of what came."""
    lines = [line.split(b"|") for m in engine.messages for line in m.split(b"\r")]
    return [(f[1].decode(), f[2].decode()) for f in lines if f[0] == b"MSA"]


@pytest.mark.parametrize(
    ("asked", "good", "bad"),
    [("AL", True, True), ("ER", False, True), ("SU", True, False), ("NE", False, False)],
)
def test_what_msh_16_asks_for_follows(
    line: Line, engine: Receiver, asked: str, good: bool, bad: bool
):
    """CA at once, then AA or AE; each only where it is wanted."""
    assert b"MSA|CA|1" in line.send(message("1", f"|||AL|{asked}"))
    assert b"MSA|CA|2" in line.send(message("2", f"|||AL|{asked}", pid="7^^^NOBODY&1.2.3&ISO"))
    line.settle()
    expected = [("AA", "1")] * good + [("AE", "2")] * bad
    assert expected == told(engine)


def test_original_mode_has_no_second_answer(line: Line, engine: Receiver):
    """AA said it all."""
    assert b"MSA|AA|1" in line.send(message("1", ""))
    line.settle()
    assert [] == engine.messages


def test_it_is_sent_until_it_is_taken_under_one_control_id(line: Line, engine: Receiver):
    """The return path was down, then deaf: one acknowledgement, several attempts."""
    engine.script[:] = ["hang up", "AE", "CA"]
    line.send(message("1", "|||AL|AL"))
    for _ in range(5):
        line.clock.forward(minutes=30)
        line.settle()
    assert [("AA", "1")] * 3 == told(engine)
    assert 1 == len(set(engine.control_ids()))
    assert 1 == line.jobs()[("answer", "done")]


def test_a_replay_answers_nobody_again(line: Line, engine: Receiver):
    """What was acknowledged once is not acknowledged when an operator replays it."""
    from workers.replay import replay_message

    line.send(message("1", "|||AL|AL"))
    line.settle()
    [row] = line.inbound("applied")
    replay_message(line.parts, row["id"])
    line.settle()
    assert [("AA", "1")] == told(engine)


def test_the_acknowledgement_is_a_message_of_its_own(line: Line, engine: Receiver):
    """It asks for an accept acknowledgement, and goes back the way the message came."""
    line.send(message("1", "|||AL|AL"))
    line.settle()
    [told_] = engine.messages
    fields = told_.split(b"\r")[0].split(b"|")
    assert (b"ONCORD", b"HIS", b"ACK^A04^ACK", b"AL", b"NE") == (
        fields[2], fields[4], fields[8], fields[14], fields[15],
    )  # fmt: skip
