"""STOW-RS over a real server: what PS3.18 says, nothing acknowledged that is not stored."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import Dataset
from whole_line import Line

from interop.blobs import BlobStore
from interop.ledger import images
from interop.ledger.engine import reading
from interop.ledger.intake import GroupCommit
from interop.ledger.received import Received
from interop.stow import StowDoor, StowPath, _Turn
from workers.demo import ct
from workers.demo.hospital import Chart

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
TYPE = 'multipart/related; type="application/dicom"; boundary=cut'


@pytest.fixture(scope="session")
def some(who: Chart) -> list[Dataset]:
    """Three instances of one study."""
    return list(ct.instances(who))[:3]


def post(
    line: Line, body: bytes, kind: str = TYPE, path: str = "", **headers: str
) -> httpx.Response:
    """A raw POST."""
    return httpx.post(
        f"{line.http}/dicomweb/studies{path}", content=body,
        headers={"content-type": kind, **headers},
    )  # fmt: skip


def sequence(answer: httpx.Response, tag: str) -> list[dict[str, Any]]:
    """Items of a sequence of the response."""
    found: list[dict[str, Any]] = answer.json().get(tag, {}).get("Value", [])
    return found


def stored(line: Line, study: str) -> list[Any]:
    """Instance rows of a study."""
    line.commit.settle()
    with reading(line.parts.engine) as connection:
        return images.of_study(connection, study)


def test_a_study_is_stored_and_referenced(line: Line, some: list[Dataset], who: Chart):
    """200, one referenced item each with its RetrieveURL, and the very bytes on disk."""
    answer = line.stow(*some)
    assert (200, "application/dicom+json") == (answer.status_code, answer.headers["content-type"])
    items = sequence(answer, "00081199")
    assert [str(d.SOPInstanceUID) for d in some] == [i["00081155"]["Value"][0] for i in items]
    assert all(who.study_uid in i["00081190"]["Value"][0] for i in items)
    assert [] == sequence(answer, "00081198")
    for row in stored(line, who.study_uid):
        blob = line.parts.blobs.read(row.sha256)
        assert row.sha256 == hashlib.sha256(blob).hexdigest()
    blobs = {row.sha256 for row in stored(line, who.study_uid)}
    assert {hashlib.sha256(ct.part10(d)).hexdigest() for d in some} == blobs


def test_a_part_that_is_not_dicom_fails_alone(line: Line, some: list[Dataset], who: Chart):
    """202; the rest is stored, the bad part is in quarantine with its reason."""
    answer = line.stow(some[0], b"not dicom at all", some[1])
    assert 202 == answer.status_code
    assert (2, 1) == (len(sequence(answer, "00081199")), len(sequence(answer, "00081198")))
    assert [0xC000] == sequence(answer, "00081198")[0]["00081197"]["Value"]
    assert 2 == len(stored(line, who.study_uid))
    [row] = line.inbound("quarantined")
    assert ("stow", "part") == (row["door"], row["kind"])


def test_nothing_usable_is_a_conflict(line: Line):
    """409 when every part failed."""
    answer = line.stow(b"x", b"")
    assert (409, 2) == (answer.status_code, len(sequence(answer, "00081198")))


def test_an_instance_of_another_study_than_the_url_fails(line: Line, some: list[Dataset]):
    """0xA900, with the instance it is about."""
    answer = line.stow(some[0], path="/dicomweb/studies/2.25.9")
    [item] = sequence(answer, "00081198")
    assert (409, [0xA900]) == (answer.status_code, item["00081197"]["Value"])
    assert [str(some[0].SOPInstanceUID)] == item["00081155"]["Value"]


def test_the_identical_request_again_is_success_and_changes_nothing(
    line: Line, some: list[Dataset], who: Chart
):
    """Senders resend: 200, one row an instance."""
    assert [200, 200] == [line.stow(*some).status_code for _ in range(2)]
    assert 3 == len(stored(line, who.study_uid))


@pytest.mark.parametrize(
    ("body", "kind", "headers", "status"),
    [
        (b"x" * 5000, TYPE, {}, 400),
        (b"--cut\r\n\r\nabc", TYPE, {}, 400),
        (b"", TYPE, {}, 400),
        (b"--cut--", "application/dicom", {}, 400),
        (b"--cut--", "multipart/related", {}, 400),
        (b"--cut--", 'multipart/related; type="application/dicom+json"; boundary=cut', {}, 415),
        (b"--cut--", TYPE, {"content-encoding": "gzip"}, 415),
    ],
    ids=["no boundary", "cut short", "empty", "no multipart", "no boundary named", "json", "gzip"],
)
def test_what_is_no_stow_request_is_refused(
    line: Line, body: bytes, kind: str, headers: dict[str, str], status: int
):
    """Nothing of it is kept, and the door serves on."""
    assert status == post(line, body, kind, **headers).status_code
    assert [] == line.inbound("received", "quarantined")
    assert [] == list((line.parts.blobs.root / "incoming").iterdir())


def test_too_many_parts_are_refused(line: Line):
    """413."""
    parts = b"".join(b"--cut\r\n\r\nx\r\n" for _ in range(5001))
    assert 413 == post(line, parts + b"--cut--").status_code
    assert [] == list((line.parts.blobs.root / "incoming").iterdir())


def test_an_unknown_path_is_not_found(line: Line, some: list[Dataset]):
    """Only the site's paths exist."""
    assert 404 == line.stow(some[0], path="/dicomweb/nowhere/studies").status_code


def test_a_named_path_marks_what_it_takes(line: Line, some: list[Dataset], who: Chart):
    """Its own interface name and origin."""
    assert 200 == line.stow(some[0], path="/dicomweb/archive/studies").status_code
    [row] = stored(line, who.study_uid)
    assert ("old-pacs", "history") == (row.path_name, row.origin)


def test_a_ledger_that_cannot_commit_is_503(line: Line, some: list[Dataset]):
    """Retry-After; the sender sends again and it is stored."""
    line.commit.journal.most_waiting_bytes = -1
    answer = line.stow(some[0])
    assert (503, "5") == (answer.status_code, answer.headers["retry-after"])
    line.commit.journal.most_waiting_bytes = 1 << 20
    assert 200 == line.stow(some[0]).status_code


def test_dicomweb_client_stores_a_study(line: Line, some: list[Dataset]):
    """The library's own multipart and its reading of our answer."""
    client = DICOMwebClient(url=f"{line.http}/dicomweb")
    answer = client.store_instances(some)
    assert 3 == len(answer.ReferencedSOPSequence)
    assert not getattr(answer, "FailedSOPSequence", None)
    client._session.close()


@pytest.mark.peer("curl")
def test_curl_stores_a_file(line: Line, some: list[Dataset], tmp_path: Path, who: Chart):
    """A pre-encoded body from a file, with Expect: 100-continue."""
    body = tmp_path / "body"
    body.write_bytes(
        b"--cut\r\nContent-Type: application/dicom\r\n\r\n"
        + ct.part10(some[0])
        + b"\r\n--cut--\r\n"
    )
    url = f"{line.http}/dicomweb/studies"
    sent = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Content-Type: {TYPE}",
            "-H", "Expect: 100-continue", "--data-binary", f"@{body}", url]  # fmt: skip
    done = subprocess.run(sent, capture_output=True, text=True, check=True)
    assert ("200", 1) == (done.stdout, len(stored(line, who.study_uid)))


def test_a_part_without_its_preamble_is_judged_alone(line: Line, some: list[Dataset]):
    """In-memory datasets of some clients lack it: stored by repair or refused, never a 500."""
    answer = line.stow(some[1], ct.part10(some[0])[128:])
    assert answer.status_code in (200, 202)


@pytest.mark.parametrize("senders", [True, False])
def test_a_long_study_gives_way_to_senders_who_wait(
    commit: GroupCommit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, senders: bool
):
    """After each megabyte it rests, if messages were committed meanwhile; otherwise never."""
    rests: list[float] = []

    async def rest(seconds: float) -> None:
        rests.append(seconds)

    monkeypatch.setattr("interop.stow.asyncio.sleep", rest)
    door = StowDoor(
        StowPath(name="pacs"), BlobStore(tmp_path / "blobs"), commit,
        now=lambda: NOW, retrieve_url="http://us",
    )  # fmt: skip

    async def body() -> AsyncIterator[bytes]:
        yield b"--cut\r\ncontent-type: application/dicom\r\n\r\n"
        for number in range(6):
            yield bytes(512 * 1024)
            if senders:
                await commit.durable(a_message(number))
        yield b"\r\n--cut--\r\n"

    made = asyncio.run(door.store(body(), b"cut", study_instance_uid=None))
    assert 409 == made.status  # zeros are no DICOM object, and took their time all the same
    assert (3 if senders else 0) == len(rests)
    assert all(seconds > 0 for seconds in rests)


@pytest.mark.parametrize(("sent", "rest"), [(0, []), (4_000_000, [2.25]), (40_000_000, [9.0])])
def test_a_study_rests_the_more_the_more_senders_write(
    commit: GroupCommit, monkeypatch: pytest.MonkeyPatch, sent: int, rest: list[float]
):
    """Up to nine times as long as it worked, from 16 MB a second on; one second passes here."""
    rests: list[float] = []
    clock = [0.0]

    async def slept(seconds: float) -> None:
        rests.append(seconds)

    async def work() -> None:
        turn = _Turn(commit)
        if sent:
            await commit.durable(a_message(1, sent))
        clock[0] = 1.0
        await turn.took(1024 * 1024)

    monkeypatch.setattr("interop.stow.asyncio.sleep", slept)
    monkeypatch.setattr("interop.stow.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("interop.stow.time.thread_time", lambda: clock[0])
    asyncio.run(work())
    assert rest == pytest.approx(rests, rel=0.01)


def a_message(number: int, size: int = 3) -> Received:
    """What another door takes meanwhile."""
    return Received(
        door="mllp", interface="lab", received_at=NOW, kind="ADT^A04", lane="patient/1", size=size,
        control_key=f"key-{number}", body=b"M" * size, reply=b"AA", code="AA", stage="ingest",
    )  # fmt: skip
