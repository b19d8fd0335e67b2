"""Poison among a feed: set aside with its reasons, and nobody else waits for it."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from whole_line import SITE, Line, opened

from interop.ledger.engine import reading
from interop.tables import Inbound
from workers import explain
from workers.demo.feed import INTERFACES, feed
from workers.demo.senders import MllpSender

_SITE = SITE.replace(
    '[[mllp]]\nname = "archive"\norigin = "history"\n',
    "".join(f'[[mllp]]\nname = "{name}"\n' for name in INTERFACES if name != "his"),
)
_EVERY = 100


@pytest.fixture
def line(tmp_path: Path, sqlite_url: str) -> Iterator[Line]:
    """The line with the interfaces of a feed."""
    with opened(tmp_path, sqlite_url, site=_SITE) as made:
        yield made


def poison(message: bytes, number: int) -> bytes:
    """An unlink of a patient of the feed from themselves: nobody can say what it means."""
    lines = message.splitlines()
    head = lines[0].split(b"|")
    head[8], head[9] = b"ADT^A37", b"POISON%d" % number
    pid = next(line for line in lines if line.startswith(b"PID|"))
    return b"\r".join((b"|".join(head), b"EVN|A37|20260301", pid, pid)) + b"\r"


def test_one_per_cent_of_poison_holds_up_nobody(line: Line):
    """In the lanes of its patients; every other message is applied, and the poison is shown."""
    sent = list(feed(21, 4, 20))
    poisoned = [poison(one.message, n) for n, one in enumerate(sent) if n % _EVERY == _EVERY // 2]
    for number, one in enumerate(sent):
        line.clock.moment = one.at
        with MllpSender("127.0.0.1", line.ports.mllp[one.interface]) as sender:
            if number % _EVERY == _EVERY // 2:
                assert b"|AA|" in sender.send(poisoned[number // _EVERY])
            assert b"|AA|" in sender.send(one.message)
    assert line.commit.settle()
    line.settle()
    with reading(line.parts.engine) as connection:
        c = Inbound.__table__.c
        rows = list(connection.execute(select(c.body, c.state, c.reason)))
    aside = [row for row in rows if row.state not in ("applied", "ignored")]
    assert sorted(poisoned) == sorted(row.body for row in aside)
    assert {"quarantined"} == {row.state for row in aside}
    assert all(row.reason for row in aside)
    stored = sum(one.fate != "duplicate" for one in sent)
    assert (stored, len(poisoned)) == (len(rows) - len(aside), len(aside))


_HEAD = b"MSH|^~\\&|HIS|DEMOHOSP|ONCORD|DEMOHOSP|20260301||ADT^A37^ADT_A37|Q1|P|2.5\r"
_PID = b"PID|1||7^^^DEMOHOSP^MR||GEHEIM^NAME||19701228|M\r"


def why(line: Line, message: bytes) -> str:
    """What the command line says of a message that was set aside."""
    assert b"|AA|" in line.send(message)
    line.settle()
    [row] = line.inbound("quarantined", "parked")
    settings = line.parts.settings
    done = subprocess.run(
        [Path(sys.executable).with_name("oncord"), "quarantine", "show", str(row["id"]), "--why"],
        capture_output=True,
        check=True,
        env={
            "ONCORD_DATA_DIR": str(settings.data_dir),
            "ONCORD_DATABASE_URL": settings.database_url,
            "ONCORD_SITE_FILE": str(settings.site_file),
        },
        encoding="utf-8",
        timeout=90,
    )
    return done.stdout


def test_a_quarantined_message_is_explained(line: Line):
    """Our reason and hl7apy's complaints, and no value of the message."""
    told = why(line, _HEAD + _PID + _PID)
    assert told.startswith("quarantined: ")
    assert "hl7apy: Error: " in told
    assert "GEHEIM" not in told


def test_two_messages_in_one_frame_are_set_aside_with_both_control_ids(line: Line):
    """Neither is applied by halves; sent again, each in its own frame, both are."""
    event = _HEAD.replace(b"ADT^A37^ADT_A37|Q1", b"ADT^A04^ADT_A01|%b") + _PID
    first, second = event % b"Q1", event.replace(b"||7^^^", b"||8^^^") % b"Q2"
    told = why(line, first + second)
    assert told.startswith(
        "quarantined: message cannot be read: 2 messages in one frame, MSH-10 Q1, Q2: "
    )
    assert [] == line.inbound("applied")
    assert all(b"|AA|" in line.send(message) for message in (first, second))
    line.settle()
    assert 2 == len(line.inbound("applied"))


def test_what_hl7apy_cannot_read_is_said():
    """A version it does not know, and bytes that are no message."""
    assert ["hl7apy cannot read it: UnsupportedVersion"] == explain.complaints(
        _HEAD.replace(b"|2.5\r", b"|2.1x\r") + _PID
    )
    assert ["hl7apy cannot read it: UnreadableMessage"] == explain.complaints(b"no message")


def test_hl7apy_is_bounded():
    """A message it does not get through in time costs a child and nothing else."""
    assert ["hl7apy did not come to an end"] == explain.complaints(_HEAD + _PID, wall_s=0.01)


_RESULT = _HEAD.replace(b"ADT^A37^ADT_A37", b"ORU^R01^ORU_R01") + _PID + b"OBR|1||F1|X\r"


def bounds() -> list[tuple[int, int]]:
    """What this process may use."""
    return [resource.getrlimit(k) for k in (resource.RLIMIT_AS, resource.RLIMIT_CPU)]


@pytest.mark.parametrize(
    ("raw", "limit", "told"),
    [
        (
            _RESULT + b"OBX|1|NM|X||GEHEIM||||||F\r" * 20_000,
            {"cpu_s": 1},
            "hl7apy used its processor time up",
        ),
        (
            _RESULT + b"NTE|1||" + b"x" * 60_000_000 + b"\r",
            {"memory": 160 * 1024 * 1024},
            "hl7apy used its memory up",
        ),
    ],
    ids=["processor", "memory"],
)
def test_a_message_that_takes_too_much_ends_its_child_alone(
    raw: bytes, limit: dict[str, int], told: str
):
    """It says which limit it was; the caller is as it was and explains the next one."""
    before = bounds()
    began = time.monotonic()
    assert [told] == explain.complaints(raw, **limit)
    assert 30 > time.monotonic() - began
    assert before == bounds()
    assert any(line.startswith("Error: ") for line in explain.complaints(_HEAD + _PID + _PID))


def test_the_limits_are_of_use_for_a_message_as_they_come():
    """Within what the memory test gives, an everyday message is explained."""
    found = explain.complaints(_HEAD + _PID + _PID, memory=160 * 1024 * 1024, cpu_s=5)
    assert "Error: Child limit exceeded ADT_A37.PID" in found


def test_a_message_with_countless_faults_tells_so_many_and_no_values():
    """Fifty lines and how many more: what the child says cannot fill the caller."""
    found = explain.complaints(_RESULT + b"OBX|1|NM|X||GEHEIM|||GEHEIM||||\r" * 200)
    assert 51 == len(found)
    assert found[-1].endswith(" more")
    assert 100 < int(found[-1].split()[0])
    assert "GEHEIM" not in "".join(found)


def test_hl7apy_is_no_part_of_a_worker_or_the_service():
    """Neither imports it: it runs in its child alone."""
    code = (
        "import sys, workers.worker, workers.service, workers.cli, workers.explain\n"
        "sys.exit('hl7apy' in sys.modules)"
    )
    assert 0 == subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode
