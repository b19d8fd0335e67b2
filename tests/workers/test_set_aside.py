"""What was set aside, at the command line: whatever senders wrote, and whatever is asked."""

from __future__ import annotations

import io
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from rich.console import Console
from site_processes import ONCORD
from structlog.testing import capture_logs
from whole_line import Line

from interop.ledger import messages
from workers import replay
from workers.columns import show
from workers.ending import unexpected
from workers.settings import BadSettings
from workers.site_file import read

_ROOT = Path(__file__).parents[2]
_GREEDY = "ADT^A04[/red]\x1b]0;x"


def sent(control_id: str, *, processing: str = "P", kind: str = "ADT^A04", pid: str = "7") -> bytes:
    """A message of the HIS."""
    return (
        f"MSH|^~\\&|HIS|HOSP|ONCORD|HOSP|20260304||{kind}|{control_id}|{processing}|2.5.1\r"
        f"PID|1||{pid}^^^DEMOHOSP^MR||GEHEIM^NAME\r"
    ).encode()


def oncord(line: Line, *words: str) -> tuple[int, str, str]:
    """The command line on the line's ledger: its status, what it wrote, and what it complained."""
    settings = line.parts.settings
    done = subprocess.run(
        [*ONCORD, *words],
        capture_output=True,
        check=False,
        env={
            "ONCORD_DATA_DIR": str(settings.data_dir),
            "ONCORD_DATABASE_URL": settings.database_url,
            "ONCORD_SITE_FILE": str(settings.site_file),
            "PYTHONPATH": str(_ROOT),
        },
        encoding="utf-8",
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def cut_short(line: Line) -> int:
    """Number of a frame that was cut short: nothing of it was kept but its size."""
    with socket.create_connection(("127.0.0.1", line.ports.mllp["his"]), 10) as held:
        held.sendall(b"\x0b" + sent("CUT")[:40])
    deadline = time.monotonic() + 10
    while not (line.commit.settle() and line.inbound("rejected")):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    [row] = line.inbound("rejected")
    return int(row["id"])


def test_what_a_sender_writes_cannot_break_the_list(line: Line):
    """Brackets are no markup, escape codes reach no terminal, and numbers can be cut out."""
    line.send(sent("1", processing="T", kind=_GREEDY))
    line.send(sent("2", processing="T"))
    status, told, _ = oncord(line, "quarantine", "ls")
    rows = [row.split("\t") for row in told.splitlines()]
    assert (0, ["id", "what", "state", "since", "why"]) == (status, rows[0])
    assert ["mllp ADT^A04", "mllp ADT^A04[/red]\\x1b]0;x"] == [row[1] for row in rows[1:]]
    assert [str(row["id"]) for row in line.inbound("rejected")] == [row[0] for row in rows[1:]]
    status, told, rest = oncord(line, "quarantine", "ls", "--limit", "1", "--state", "rejected")
    assert (0, 2, "1 older messages") == (status, len(told.splitlines()), rest[:16])
    assert 1 == len(oncord(line, "quarantine", "ls", "--state", "parked")[1].splitlines())
    assert 2 == oncord(line, "quarantine", "ls", "--state", "applied")[0]


def test_what_a_sender_writes_cannot_break_the_work_list(line: Line):
    """Nor codes, units and words of theirs in `oncord codes unmapped`."""
    line.send(
        b"MSH|^~\\&|LIS|HOSP|ONCORD|HOSP|20260304||ORU^R01^ORU_R01|9|P|2.5.1\r"
        b"PID|1||7^^^DEMOHOSP^MR\r"
        b"OBR|1||A9|X^x^L|||20260301|||||||||||||||20260301|||F\r"
        b"OBX|1|NM|[/red]X^[bold]\x1b[31mx^L||1|[/b]furlong|||||F\r"
    )
    line.settle()
    status, told, _ = oncord(line, "codes", "unmapped")
    rows = [row.split("\t")[:5] for row in told.splitlines()[1:]]
    assert 0 == status
    assert ["his", "L", "[/red]X", "", "[bold]\\x1b[31mx"] in rows
    assert ["his", "unit", "[/b]furlong"] in [row[:3] for row in rows]


def test_what_is_set_aside_is_loud(line: Line):
    """A log line with number and reason, and a gauge by state at /metrics."""
    line.send(sent("1") + sent("3"))
    line.send(sent("2").replace(b"DEMOHOSP^MR", b"NOBODY^MR"))
    with capture_logs() as logs:
        line.settle()
    aside = {row["state"]: row["id"] for row in line.inbound("quarantined", "parked")}
    told = {log["state"]: log["message"] for log in logs if log["event"] == "ingest.set_aside"}
    assert {"quarantined", "parked"} == set(aside)
    assert aside == told
    assert all(log["reason"] and "GEHEIM" not in str(log) for log in logs)
    metrics = httpx.get(f"{line.http}/metrics").text
    for state in aside:
        assert f'oncord_messages{{door="mllp",state="{state}"}} 1.0' in metrics


def test_a_table_on_a_terminal_takes_everything_as_text():
    """And never breaks the column that people copy."""
    screen = io.StringIO()
    number = "912034909411868776"
    show(Console(file=screen, force_terminal=True, width=40), ("id", "what"), [(number, _GREEDY)])
    told = screen.getvalue()
    assert number in told
    assert "\x1b]0;" not in told
    assert "[/red]" in "".join(told.replace("│", "").split())


def test_a_frame_that_was_cut_short_can_be_shown_but_not_replayed(line: Line, cut_short: int):
    """Its sender was not answered and sends it again; there is nothing to map here."""
    status, told, why = oncord(line, "quarantine", "show", str(cut_short))
    assert (1, "") == (status, told)
    assert "only its size was kept, 40 bytes: connection ended inside a frame" in why
    status, told, _ = oncord(line, "quarantine", "show", str(cut_short), "--why")
    assert (0, "rejected: connection ended inside a frame\n") == (status, told)
    status, _, why = oncord(line, "quarantine", "replay", str(cut_short))
    assert (1, True) == (status, "has to send it again" in why)
    assert {} == line.jobs()


@pytest.mark.parametrize(
    ("command", "number", "status"), [("show", "5", 1), ("replay", "9" * 30, 2), ("drop", "-1", 2)]
)
def test_a_number_of_nothing_is_said(line: Line, command: str, number: str, status: int):
    """A message that is not there, and what no ledger can number."""
    found, told, why = oncord(line, "quarantine", command, "--", number)
    assert (status, "") == (found, told)
    assert "of number 5" in why or "Invalid value" in why


def test_a_refused_message_is_replayed_only_when_the_site_takes_it(line: Line):
    """The test system's patients stay out of the record until somebody says they belong there."""
    assert b"|AR|" in line.send(sent("1", processing="T"))
    [row] = line.inbound("rejected")
    with pytest.raises(replay.NotReplayed, match="still refuses it: Processing id"):
        replay.replay_item(line.parts, row["id"])
    assert {} == line.jobs()
    file = line.parts.settings.site_file
    file.write_text(
        file.read_text().replace('name = "his"\n', 'name = "his"\nprocessing_ids = ["T"]\n')
    )
    mended = replace(line.parts, site=read(file))
    assert "message" == replay.replay_item(mended, row["id"])
    line.settle()
    assert 1 == len(line.inbound("applied"))


def test_an_interface_that_is_gone_is_said(line: Line):
    """Nobody could read the message any more."""
    line.send(sent("1", processing="T"))
    [row] = line.inbound("rejected")
    file = line.parts.settings.site_file
    file.write_text(file.read_text().replace('name = "his"\n', 'name = "hospital"\n'))
    with pytest.raises(replay.NotReplayed, match="no interface his"):
        replay.replay_item(replace(line.parts, site=read(file)), row["id"])


def test_a_replay_of_everything_takes_nothing_that_was_refused_or_dropped(
    line: Line, cut_short: int
):
    """A whole day again changes no state: not of test messages, drops, torn frames, envelopes."""
    line.send(sent("1"))
    line.send(sent("2", processing="T", pid="8"))
    line.send(b"BHS|^~\\&|HIS|HOSP\r" + sent("3") + b"BTS|1\r")
    line.send(sent("4", pid="9").replace(b"DEMOHOSP^MR", b"NOBODY^MR"))
    line.settle()
    [parked] = line.inbound("parked")
    assert "message" == replay.drop_item(line.parts, parked["id"])
    states = messages.counts(line.parts.engine)
    everything = replay.selected(line.parts)
    assert 2 == sum(replay.replay_message(line.parts, one) for one in everything)
    line.settle()
    assert states == messages.counts(line.parts.engine)
    assert cut_short not in everything
    for state in ("rejected", "dropped", "nonsense"):
        with pytest.raises(BadSettings, match="one of received, applied"):
            replay.selected(line.parts, states=[state])


def test_a_database_that_is_none_is_one_line(line: Line, tmp_path: Path):
    """Of every command that opens it."""
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"no database at all" * 1000)
    settings = replace(line.parts.settings, database_url=f"sqlite:///{broken}")
    other = replace(line, parts=replace(line.parts, settings=settings))
    for words in (("quarantine", "ls"), ("codes", "unmapped"), ("migrate",), ("serve",)):
        status, told, why = oncord(other, *words)
        assert (1, "") == (status, told)
        assert 1 == len(why.splitlines())
        assert why.startswith("oncord: ")


def test_an_error_nobody_foresaw_is_told_by_class_and_place(capsys: pytest.CaptureFixture[str]):
    """Its text may quote a patient; a report needs where and what."""
    with pytest.raises(SystemExit) as ended, unexpected():
        {}["GEHEIM"]
    told = capsys.readouterr().err
    assert (1, True) == (ended.value.code, "unexpected KeyError at tests/workers/" in told)
    assert "GEHEIM" not in told
