"""Nothing is acknowledged before it is on the disk: seen in the order of system calls."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from site_processes import Site, standing
from trace_oracle import CALLS, Call, calls, judge, read

from workers.demo import ct, hospital
from workers.demo.hospital import Chart
from workers.demo.senders import MllpSender

ACKS = 150
MLLP_IN, MLLP_ACK = r"MSH\|\^~", r"socket:.*MSA\|AA"
JOURNAL = r"/journal/\d+\.journal"
# Zeros are nobody's message: a file made ready ahead, or one given up.
ZEROS = re.compile(r'\.journal>, "(?:\\0){16,}')
# A segment whose first header is blanked will not be recovered.
GIVEN_UP = r'\.journal>, "\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0", 16, 0'


def traced(out: Path, *also: int) -> list[str]:
    """Strace before a command, and attached to other processes."""
    attached = [word for pid in also for word in ("-p", str(pid))]
    return [
        "strace",
        "-I1",
        "-f",
        "-y",
        "-s",
        "400",
        "-e",
        f"trace={CALLS}",
        "-o",
        str(out),
        *attached,
    ]


def send_all(port: int, who: Chart, times: int = ACKS) -> None:
    """Messages, one in flight."""
    with MllpSender("127.0.0.1", port) as sender:
        for number in range(times):
            sent = hospital.adt_a04(who, f"D{number}", datetime.now(UTC))
            assert b"MSA|AA" in sender.send(sent)


def seen(out: Path) -> list[Call]:
    """The calls of a trace, without the blanking of files that hold no message."""
    return [call for call in read(out) if not ZEROS.search(call.text)]


def stop(site: Site) -> None:
    """End the service as an operator would: what was acknowledged is moved first.

    A signal to the whole group may end strace while it holds the service's, which then stays.
    """
    log = site.home / "serve.log"
    started = re.search(r"service\.started.*\bpid=(?:\x1b\[\d+m)*(\d+)", log.read_text("utf-8"))
    assert started is not None
    os.kill(int(started[1]), signal.SIGTERM)
    site.until(lambda: "service.stopped" in log.read_text("utf-8"))


@pytest.mark.peer("strace")
def test_mllp_on_sqlite_acknowledges_nothing_early(tmp_path: Path, sqlite_url: str, who: Chart):
    """Every write to the journal is synced before the answer leaves."""
    out = tmp_path / "trace"
    urls = {"database_url": sqlite_url, "broker_url": f"sqla+sqlite:///{tmp_path}/broker.db"}
    with standing(tmp_path, workers=False, under=traced(out), **urls) as site:
        send_all(site.mllp, who)
        stop(site)
    found = seen(out)
    verdict = judge(found, store=JOURNAL, message=MLLP_IN, ack=MLLP_ACK, strict=True)
    assert (ACKS, [], 0) == (verdict.acks, verdict.unsynced, verdict.without_sync)
    # And what the journal gives up is durable in the database before it does.
    moved = judge(read(out), store=r"ledger\.db-wal", message=MLLP_IN, ack=GIVEN_UP, strict=True)
    assert (True, []) == (moved.acks > 0, moved.unsynced)


@pytest.mark.peer("strace")
@pytest.mark.peer("postgresql")
@pytest.mark.skipif(os.getuid() != 0, reason="tracing another user's server needs root")
def test_mllp_on_postgresql_acknowledges_nothing_early(
    tmp_path: Path, postgresql_database: Callable[[], str], postgresql_pid: int, who: Chart
):
    """The journal before the answer, the server's WAL before the journal gives anything up."""
    out = tmp_path / "trace"
    urls = {
        "database_url": postgresql_database(), "broker_url": f"sqla+sqlite:///{tmp_path}/broker.db",
    }  # fmt: skip
    with standing(tmp_path, workers=False, under=traced(out, postgresql_pid), **urls) as site:
        send_all(site.mllp, who, 50)
        stop(site)
    # The door reads with `read`; what the server receives was moved to it, long answered.
    found = [call for call in seen(out) if call.name != "recvfrom"]
    came = [call for call in found if call.name == "read" and re.search(MLLP_IN, call.text)]
    verdict = judge(found, store=JOURNAL, message=MLLP_IN, ack=MLLP_ACK, strict=True)
    assert (50, [], 0) == (verdict.acks, verdict.unsynced, verdict.without_sync)
    assert 50 == len(came)
    moved = judge(read(out), store=r"/pg_wal/", message=MLLP_IN, ack=GIVEN_UP, strict=False)
    assert (True, 0) == (moved.acks > 0, moved.without_sync)


@pytest.mark.peer("strace")
def test_stow_acknowledges_nothing_early(tmp_path: Path, sqlite_url: str, who: Chart):
    """Blob bytes, their folders and the ledger's WAL are synced before the response."""
    out = tmp_path / "trace"
    urls = {"database_url": sqlite_url, "broker_url": f"sqla+sqlite:///{tmp_path}/broker.db"}
    with standing(tmp_path, workers=False, under=traced(out), **urls) as site:
        kind = {"content-type": 'multipart/related; type="application/dicom"; boundary=cut'}
        datasets = list(ct.instances(who))[:12]
        for dataset in datasets:
            body = b"--cut\r\n\r\n" + ct.part10(dataset) + b"\r\n--cut--"
            assert 200 == site.post("/dicomweb/studies", content=body, headers=kind).status_code
        stop(site)
    found = seen(out)
    verdict = judge(
        found, store=rf"{JOURNAL}|/blobs/incoming/", message=r"POST /dicomweb",
        ack=r"HTTP/1\.1 200", strict=True,
    )  # fmt: skip
    assert (12, [], 0) == (verdict.acks, verdict.unsynced, verdict.without_sync)
    assert [] == unsynced_renames(found)


def unsynced_renames(found: list[Call]) -> list[str]:
    """Responses sent while a renamed blob's folder was not synced yet."""
    open_folders: set[str] = set()
    early = []
    for call in found:
        if call.name.startswith("rename"):
            target = re.findall(r'"([^"]+)"', call.text)[-1]
            open_folders.add(str(Path(target).parent))
        elif call.name == "fsync":
            path = re.match(r"\d+<([^>]*)>", call.text)
            open_folders.discard(path[1] if path else "")
        elif "HTTP/1.1 200" in call.text and open_folders:
            early.append(min(open_folders))
    return early


GOOD = """\
1 recvfrom(9<socket:[1]>, "\\vMSH|^~\\\\&|A"..., 65536, 0, NULL, NULL) = 700
1 pwrite64(7</d/ledger.db-wal>, "x"..., 4096, 32) = 4096
1 fdatasync(7</d/ledger.db-wal>) = 0
1 sendto(9<socket:[1]>, "\\vMSH|..\\rMSA|AA|1"..., 90, 0, NULL, 0) = 90
"""


@pytest.mark.parametrize(
    ("trace", "unsynced", "without_sync"),
    [
        (GOOD, 0, 0),
        (GOOD.replace("1 fdatasync(7</d/ledger.db-wal>) = 0\n", ""), 1, 1),
        (GOOD.replace("fdatasync(7</d/ledger.db-wal>", "fdatasync(8</d/other>"), 1, 1),
        (
            GOOD.replace(
                "1 fdatasync(7</d/ledger.db-wal>) = 0\n",
                "2 fdatasync(7</d/ledger.db-wal> <unfinished ...>\n",
            )
            + "2 <... fdatasync resumed>) = 0\n",
            1,
            1,
        ),
    ],
    ids=["durable", "never synced", "another file synced", "sync finished too late"],
)
def test_the_oracle_finds_what_is_planted(trace: str, unsynced: int, without_sync: int):
    """An oracle that cannot fail proves nothing."""
    verdict = judge(
        calls(trace.splitlines()), store=r"db-wal", message=MLLP_IN, ack=MLLP_ACK, strict=True
    )  # fmt: skip
    assert (1, unsynced, without_sync) == (
        verdict.acks, len(verdict.unsynced), verdict.without_sync,
    )  # fmt: skip
