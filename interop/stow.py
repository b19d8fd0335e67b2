"""STOW-RS: DICOM studies taken in, part by part to disk, answered as PS3.18 says.

The door reads a bounded element scan only (site rule 24); no pydicom here. Blobs are durable and
their rows committed before the response. Source: PS3.18 10.5; PS3.18 Annex I.2 (failure reasons).
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from interop import metrics
from interop.blobs import BlobStore, Draft
from interop.errors import LedgerUnavailable, NotMultipart, TooLarge
from interop.ledger.images import NewInstance
from interop.ledger.intake import GroupCommit
from interop.ledger.received import Received
from interop.multipart import MultipartReader, PartBegin, PartBytes
from mappings.dicom.scan import Identity
from mappings.dicom.scan import scan as scan_part10
from mappings.errors import NotDicom

log = structlog.get_logger()

_HEAD = 64 * 1024
# A study may take longer, who waits for an ACK may not: after so many bytes the door looks what
# senders wrote meanwhile, and rests so many times as long as it worked where that is heavy load
# (bytes a second, some half of what one core takes), less where it is less.
_LOOK_BYTES = 1024 * 1024
_GIVE_WAY = 9.0
_HEAVY = 16_000_000
# PS3.18 table I.2-2
CANNOT_UNDERSTAND = 0xC000
WRONG_STUDY = 0xA900


@dataclass(frozen=True, slots=True, kw_only=True)
class StowPath:
    """One STOW path as the site file describes it.

    Attributes:
        name: Interface name.
        most_part: Most bytes of one instance.
        most_parts: Most instances of one request.
        origin: `history` for a backfill path.
        silence_s: How long nothing must come before silence counts as the end of a study.
    """

    name: str
    most_part: int = 2 * 1024**3
    most_parts: int = 5000
    origin: str = "live"
    silence_s: float = 20.0


@dataclass(slots=True)
class _Part:
    """One part of the request while and after it is written."""

    draft: Draft
    content_type: str
    head: bytearray = field(default_factory=bytearray)
    scanned: Identity | None = None
    failure: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True)
class StowResult:
    """HTTP status and the DICOM JSON dataset of the response."""

    status: int
    dataset: dict[str, Any]


class _Turn:
    """How a long request gives way to senders who wait for answers."""

    def __init__(self, commit: GroupCommit) -> None:
        self._journal, self._bytes = commit.journal, 0
        self._began, self._looked = time.thread_time(), time.monotonic()
        self._seen = self._journal.appended_bytes

    async def took(self, size: int) -> None:
        """Say that so much more was read; rests if it is time to."""
        self._bytes += size
        if self._bytes < _LOOK_BYTES:
            return
        worked, looked, seen = time.thread_time(), time.monotonic(), self._journal.appended_bytes
        load = min((seen - self._seen) / ((looked - self._looked) * _HEAVY), 1.0)
        if load:
            await asyncio.sleep(_GIVE_WAY * load * (worked - self._began))
        self._bytes, self._seen, self._looked = 0, seen, looked
        self._began = time.thread_time()


class StowDoor:
    """Takes the instances of one STOW path.

    Args:
        path: What the site file says.
        blobs: Where instances lie.
        commit: Where their rows become durable.
        now: Aware UTC clock.
        retrieve_url: Base for RetrieveURL (0008,1190).
    """

    def __init__(
        self,
        path: StowPath,
        blobs: BlobStore,
        commit: GroupCommit,
        *,
        now: Callable[[], datetime],
        retrieve_url: str,
    ) -> None:
        self._path, self._blobs, self._commit = path, blobs, commit
        self._now, self._retrieve_url = now, retrieve_url

    async def store(
        self, body: AsyncIterator[bytes], boundary: bytes, *, study_instance_uid: str | None
    ) -> StowResult:
        """Store one request.

        Args:
            body: Pieces of the multipart body.
            boundary: Its boundary.
            study_instance_uid: The study of the URL; other studies' instances fail.

        Raises:
            NotMultipart: The body is not what it says; nothing of it is kept.
            TooLarge: A part or the number of parts is over the cap.
            LedgerUnavailable: Nothing could be committed; the sender shall send again.
        """
        parts: list[_Part] = []
        sealed = False
        try:
            reader = MultipartReader(boundary, most_parts=self._path.most_parts)
            await self._read(body, reader, parts, study_instance_uid)
            try:
                await asyncio.to_thread(self._blobs.seal, [part.draft for part in parts])
            except OSError as error:
                raise LedgerUnavailable(f"blob store: {type(error).__name__}") from error
            sealed = True
            await self._record(parts)
        finally:
            if not sealed:
                for part in parts:
                    part.draft.discard()
        metrics.stored_bytes.labels("stow").inc(sum(part.draft.size for part in parts))
        return self._response(parts)

    async def _read(
        self,
        body: AsyncIterator[bytes],
        reader: MultipartReader,
        parts: list[_Part],
        study_instance_uid: str | None,
    ) -> None:
        turn = _Turn(self._commit)
        async for piece in body:
            await turn.took(len(piece))
            for event in reader.feed(piece):
                match event:
                    case PartBegin(content_type):
                        parts.append(_Part(self._blobs.begin(), content_type))
                    case PartBytes(content):
                        self._write(parts[-1], content)
                    case _:
                        # Start the write-back now, so that the sync at the end finds less to do.
                        parts[-1].draft.flush_soon()
                        # Here, where it counts as work to rest from, not all at the end.
                        self._judge(parts[-1], study_instance_uid)
        if not reader.complete:
            raise NotMultipart("body ends before its closing boundary")

    def _write(self, part: _Part, content: memoryview) -> None:
        if part.draft.size + len(content) > self._path.most_part:
            raise TooLarge("an instance is larger than this door takes")
        if len(part.head) < _HEAD:
            part.head += content[: _HEAD - len(part.head)]
        part.draft.write(content)

    def _judge(self, part: _Part, study_instance_uid: str | None) -> None:
        """Scan the head; a part that is no DICOM object fails alone."""
        if part.content_type != "application/dicom":
            part.failure, part.why = CANNOT_UNDERSTAND, "part is not application/dicom"
            return
        try:
            part.scanned = scan_part10(bytes(part.head))
        except NotDicom as error:
            part.failure, part.why = CANNOT_UNDERSTAND, error.reason
            return
        if study_instance_uid and part.scanned.study_instance_uid != study_instance_uid:
            part.failure, part.why = WRONG_STUDY, "instance is of another study than the URL"

    async def _record(self, parts: Sequence[_Part]) -> None:
        """One inbound row and job per study of the request, one quarantined row for bad parts."""
        now = self._now()
        studies: dict[str, list[_Part]] = {}
        for part in parts:
            if part.scanned is not None and not part.failure:
                studies.setdefault(part.scanned.study_instance_uid, []).append(part)
        items = [self._received(uid, held, now) for uid, held in studies.items()]
        items += [self._quarantined(part, now) for part in parts if part.failure]
        for fate in await asyncio.gather(*(self._commit.durable(item) for item in items)):
            metrics.received.labels("stow", fate.seen).inc()

    def _received(self, uid: str, held: Sequence[_Part], now: datetime) -> Received:
        instances = [self._instance(part) for part in held]
        name, origin = self._path.name, self._path.origin
        digest = hashlib.sha256("".join(sorted(i.sha256 for i in instances)).encode()).hexdigest()
        return Received(
            door="stow",
            interface=name,
            received_at=now,
            kind="study",
            lane=f"study/{uid}",
            digest=digest,
            size=sum(i.size for i in instances),
            code="stored",
            origin=origin,
            instances=tuple(instances),
        )

    def _instance(self, part: _Part) -> NewInstance:
        found = part.scanned
        assert found is not None
        return NewInstance(
            sop_instance_uid=found.sop_instance_uid,
            study_instance_uid=found.study_instance_uid,
            series_instance_uid=found.series_instance_uid,
            sop_class_uid=found.sop_class_uid,
            modality=found.modality,
            transfer_syntax_uid=found.transfer_syntax_uid,
            authority=found.issuer_of_patient_id,
            patient=found.patient_id,
            sha256=part.draft.sha256,
            size=part.draft.size,
        )

    def _quarantined(self, part: _Part, now: datetime) -> Received:
        log.warning("stow.part_refused", path=self._path.name, why=part.why)
        metrics.quarantined.labels("stow").inc()
        return Received(
            door="stow",
            interface=self._path.name,
            received_at=now,
            kind="part",
            lane=f"quarantine/{self._path.name}",
            digest=part.draft.sha256,
            size=part.draft.size,
            state="quarantined",
            reason=part.why,
            stage=None,
        )

    def _response(self, parts: Sequence[_Part]) -> StowResult:
        """PS3.18 10.5.3: 200 all stored, 202 some, 409 none."""
        good = [p for p in parts if not p.failure]
        bad = [p for p in parts if p.failure]
        dataset: dict[str, Any] = {}
        studies = {p.scanned.study_instance_uid for p in good if p.scanned}
        if len(studies) == 1:
            dataset["00081190"] = {
                "vr": "UR",
                "Value": [f"{self._retrieve_url}/studies/{studies.pop()}"],
            }
        if bad:
            dataset["00081198"] = {"vr": "SQ", "Value": [_failed(p) for p in bad]}
        if good:
            items = [_referenced(p, self._retrieve_url) for p in good]
            dataset["00081199"] = {"vr": "SQ", "Value": items}
        status = 409 if not good else 202 if bad else 200
        return StowResult(status, dataset)


def _reference(found: Identity | None) -> dict[str, Any]:
    if found is None:
        return {}
    return {
        "00081150": {"vr": "UI", "Value": [found.sop_class_uid]},
        "00081155": {"vr": "UI", "Value": [found.sop_instance_uid]},
    }


def _failed(part: _Part) -> dict[str, Any]:
    return _reference(part.scanned) | {"00081197": {"vr": "US", "Value": [part.failure]}}


def _referenced(part: _Part, base: str) -> dict[str, Any]:
    found = part.scanned
    assert found is not None
    url = (
        f"{base}/studies/{found.study_instance_uid}/series/{found.series_instance_uid}"
        f"/instances/{found.sop_instance_uid}"
    )
    return _reference(found) | {"00081190": {"vr": "UR", "Value": [url]}}
