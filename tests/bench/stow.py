"""STOW-RS of a 200-slice CT by curl, beside Orthanc: the same client, a body of the same bytes but UIDs."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from peers import found, servers
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from rich.console import Console

from tests.bench import machine, site
from tests.bench.table import Measured, Verdict

_SLICES, _SIDE = 200, 512
_TARGET, _MOST_MB = 1.0, 200
BOUNDARY = "oncord-bench-boundary"
_OURS, _ORTHANC = "Oncord", "Orthanc"


@dataclass(frozen=True, slots=True)
class _Sent:
    seconds: float
    megabytes: float
    peak_mb: float

    @property
    def rate(self) -> float:
        return self.megabytes / self.seconds


def run(console: Console, *, rounds: int, seconds: float) -> Measured:
    """One study a turn, never the same UIDs twice."""
    taken: dict[str, list[_Sent]] = {}
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="oncord-bench-")))
        sides: list[tuple[str, str, int]] = []
        stage = stack.enter_context(site.stage(home))
        engine = stack.enter_context(site.ledger(f"sqlite:///{home}/ledger.db"))
        ours = f"http://127.0.0.1:{stage.http}/dicomweb/studies"
        sides.append((_OURS, ours, stage.pid("service")))
        if not found.missing("orthanc"):
            with machine.on(machine.SERVER):
                made = stack.enter_context(servers.orthanc())
            sides.append((_ORTHANC, f"{made.dicomweb}/studies", machine.child("Orthanc")))
        body = home / "body"
        for number in range(rounds + 1):  # the first round warms both and is not counted
            for name, url, pid in sides:
                write(body)
                sent = _post(body, url, pid)
                if number:
                    taken.setdefault(name, []).append(sent)
                console.print(
                    f"round {number or 'to warm'}: {name}: {sent.rate:.0f} MB/s, "
                    f"peak {sent.peak_mb:.0f} MB",
                    style="dim",
                    highlight=False,
                )
                site.wait("our workers", lambda: not _arriving(engine))
                machine.quiet([pid])
        stored = site.one(engine, "SELECT count(*) FROM instance")
        if stored != (rounds + 1) * _SLICES:
            raise AssertionError(f"{stored} instances stored")
    return _measured(taken, rounds)


def _arriving(engine: object) -> bool:
    """Whether a worker still reads pixels of what came."""
    query = "SELECT count(*) FROM job WHERE state = 'leased' OR (state = 'ready' AND key LIKE 'ingest/%')"
    return bool(site.one(engine, query))  # type: ignore[arg-type]


def _post(body: Path, url: str, pid: int) -> _Sent:
    """Send with curl from the client's core."""
    machine.forget_peak(pid)
    kind = f'Content-Type: multipart/related; type="application/dicom"; boundary={BOUNDARY}'
    command = [
        "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{time_total}", "-X", "POST",
        "-H", kind, "-H", "Accept: application/dicom+json", "-H", "Expect:", "-T", str(body), url,
    ]  # fmt: skip
    with machine.on(machine.CLIENT):
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    if told[0] != "200":
        raise AssertionError(f"{url} answered {told[0]}")
    return _Sent(float(told[1]), body.stat().st_size / 1e6, machine.peak_mb(pid))


def write(body: Path, slices: int = _SLICES) -> None:
    """A new study: the same pixels, fresh UIDs."""
    rng = np.random.default_rng(20261121)
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    number = f"SYN-{int(time.time() * 1000) % 10**10:010d}"
    with body.open("wb") as out:
        for index in range(slices):
            out.write(f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode())
            out.write(_slice(rng, index, number, study, series, frame))
            out.write(b"\r\n")
        out.write(f"--{BOUNDARY}--\r\n".encode())
    # What the kernel still has to write must not be paid by the one who is measured.
    subprocess.run(["sync", str(body)], check=True)


def _slice(
    rng: np.random.Generator, index: int, number: str, study: str, series: str, frame: str
) -> bytes:
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, generate_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID, made.FrameOfReferenceUID = study, series, frame
    made.PatientName, made.PatientID, made.IssuerOfPatientID = "SYNTHETIC^CT", number, "DEMOHOSP"
    made.PatientBirthDate, made.PatientSex = "19700101", "O"
    made.StudyDate, made.StudyTime = "20261120", "101112"
    made.AccessionNumber, made.StudyID, made.Modality = "", "1", "CT"
    made.SeriesNumber, made.InstanceNumber = "1", str(index + 1)
    made.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    made.PixelSpacing, made.SliceThickness = ["0.7", "0.7"], "1.5"
    made.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    made.ImagePositionPatient = ["-180", "-180", f"{index * 1.5:g}"]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows = made.Columns = _SIDE
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 12, 11, 0
    made.RescaleIntercept, made.RescaleSlope = "-1024", "1"
    made.PixelData = rng.integers(0, 4095, (_SIDE, _SIDE), dtype=np.uint16).tobytes()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = CTImageStorage
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    buffer = BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _measured(taken: dict[str, list[_Sent]], rounds: int) -> Measured:
    rows = [
        (
            name,
            f"{statistics.median(s.seconds for s in sent):.2f}",
            f"{statistics.median(s.rate for s in sent):.0f}",
            f"{min(s.rate for s in sent):.0f} to {max(s.rate for s in sent):.0f}",
            f"{max(s.peak_mb for s in sent):.0f}",
        )
        for name, sent in taken.items()
    ]
    peak = max(s.peak_mb for s in taken[_OURS])
    verdicts = [
        Verdict(
            target=f"service under {_MOST_MB} MB", measured=f"{peak:.0f} MB", met=peak < _MOST_MB
        )
    ]
    if _ORTHANC in taken:
        pairs = zip(taken[_OURS], taken[_ORTHANC], strict=True)
        ratio = statistics.median(o.rate / t.rate for o, t in pairs)
        verdicts.insert(
            0,
            Verdict(
                target=f"{_TARGET:g}x Orthanc, durable",
                measured=f"{ratio:.2f}x",
                met=ratio >= _TARGET,
            ),
        )
    megabytes = taken[_OURS][0].megabytes
    return Measured(
        name="stow",
        title=f"STOW-RS of {_SLICES} CT slices {_SIDE}x{_SIDE}, one body of {megabytes:.0f} MB",
        head=("server", "seconds", "MB/s", "range", "peak MB"),
        rows=rows,
        verdicts=verdicts,
        notes=(
            (
                f"Medians of {rounds} rounds after one that warms; servers take turns; each study has "
                "fresh UIDs and the same pixels."
            ),
            (
                "Server on core 0 (our workers on either), curl on core 1 with one pre-encoded body "
                "from a file; Orthanc with its DICOMweb plugin and its defaults otherwise."
            ),
            (
                "Peak: VmHWM of the server process, reset before each study. Ours is on disk (every "
                "instance and the ledger row synced) before it is answered; instances are counted."
            ),
        ),
    )
