"""A ledger with its ingest and no doors, and the messages of `chart_model` as ER7 bytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from chart_model import Message, Name, Patient
from pydicom.dataset import Dataset
from sqlalchemy import select
from whole_line import Clock

from interop.ledger import entries, jobs, messages
from interop.ledger.engine import open_ledger, reading
from interop.ledger.images import NewInstance
from interop.ledger.mover import Tables
from interop.ledger.received import Received, Record
from interop.tables import IdentityRow
from mappings.hl7v2.scan import lane, scan
from mappings.record import Entry, Identifier, PatientRecord, Quantity
from workers.demo.ct import part10
from workers.drain import drain
from workers.ingest import Ingest
from workers.parts import Parts, build
from workers.settings import Settings

MRN, CHINAID = "https://hospital.example/mrn", "https://china.example/id"
SITE = f"""
[site]
name = "test"
timezone = "UTC"
namespace = "https://oncord.example/ns"
organization = "Test hospital"

[authorities]
"{MRN}" = ["HOSP"]
"{CHINAID}" = ["CHINAID"]

[[mllp]]
name = "his"

[[stow]]
name = "pacs"
silence_s = 10
"""
_START = datetime(2026, 3, 1, tzinfo=UTC)


def identifier(name: Name) -> Identifier:
    """Names that begin with N were given out by the country, all others by the hospital."""
    return Identifier(name, CHINAID if name.startswith("N") else MRN)


def _cx(name: Name) -> str:
    return f"{name}^^^CHINAID^NI" if name.startswith("N") else f"{name}^^^HOSP^MR"


def _stamp(time: int) -> str:
    return (_START + timedelta(minutes=time)).strftime("%Y%m%d%H%M%S+0000")


def _pid(patient: Patient, number: int, extra: tuple[Name, ...] = ()) -> str:
    names = "~".join(map(_cx, (*patient.names, *extra)))
    sex = patient.sex[:1].upper()
    name = patient.name.replace(" ", "^")
    return f"PID|{number}||{names}||{name}||{patient.born.replace('-', '')}|{sex}"


def er7(message: Message, control_id: str) -> bytes:
    """One message as its sender writes it."""
    first, stamp = message.patients[0], _stamp(message.time)
    if message.labs:
        [lab] = message.labs
        event, body = "ORU^R01", [
            _pid(first, 1),
            *([f"PV1|1|I|{'|' * 16}{lab.visit}"] if lab.visit else []),
            f"OBR|1||{lab.filler}^LIS|1834-1^AFP^LN|||20260301080000+0000{'|' * 15}{stamp}|||F",
            f"OBX|1|NM|1834-1^AFP^LN||{lab.value}|ng/mL|||||{lab.status}",
        ]  # fmt: skip
    elif message.moves:
        [move] = message.moves
        mrg = f"MRG|{_cx(move.left)}||||{move.visit}"
        event, body = "ADT^A45", [_pid(first, 1), mrg, f"PV1|1|I|{'|' * 16}{move.visit}"]
    elif message.words:
        event, body = _said(message)
    else:
        event, body = f"ADT^{'A28' if message.registers else 'A31'}", [_pid(first, 1)]
    head = (
        f"MSH|^~\\&|HIS|HOSP|ONCORD|HOSP|{stamp}||{event}|{control_id}|P|2.5.1||||||UNICODE UTF-8"
    )
    lines = [head, *([f"EVN||{stamp}"] if event.startswith("ADT") else []), *body]
    return ("\r".join(lines) + "\r").encode()


def _said(message: Message) -> tuple[str, list[str]]:
    first, word = message.patients[0], message.words[0]
    if word.says == "unlink":
        return "ADT^A37", [_pid(p, n) for n, p in enumerate(message.patients, 1)]
    if word.moved:
        prior = "~".join(_cx(n) for n in (word.moved, *(w.other for w in message.words[1:])))
        return "ADT^A43", [_pid(first, 1, (word.moved,)), f"MRG|{prior}"]
    groups = zip(message.patients, message.words, strict=True)
    return "ADT^A40", [
        segment
        for n, (patient, merge) in enumerate(groups, 1)
        for segment in (_pid(patient, n), f"MRG|{_cx(merge.other)}")
    ]


class Charts:
    """One ledger and the stage that fills it."""

    def __init__(self, parts: Parts, clock: Clock) -> None:
        self.parts, self.clock = parts, clock
        self._ingest, self._tables = Ingest(parts), Tables(parts.engine)

    def receive(self, raw: bytes) -> int:
        """Store a message as a door does; its id."""
        header = scan(raw)
        number = self.parts.id()
        received = Received(
            door="mllp", interface="his", received_at=self.clock(), kind=header.message_type,
            lane=lane(header.patient_ids, header.delimiters), size=len(raw), body=raw,
        )  # fmt: skip
        self._tables.store([Record(number, received)])
        return number

    def store(self, dataset: Dataset) -> int:
        """Store one instance as the STOW door does; the id of its request."""
        draft = self.parts.blobs.begin()
        draft.write(memoryview(part10(dataset)))
        self.parts.blobs.seal([draft])
        instance = NewInstance(
            sop_instance_uid=dataset.SOPInstanceUID,
            study_instance_uid=dataset.StudyInstanceUID,
            series_instance_uid=dataset.SeriesInstanceUID,
            sop_class_uid=dataset.SOPClassUID,
            modality=dataset.Modality,
            transfer_syntax_uid=dataset.file_meta.TransferSyntaxUID,
            authority=dataset.IssuerOfPatientID,
            patient=dataset.PatientID,
            sha256=draft.sha256,
            size=draft.size,
        )
        number = self.parts.id()
        received = Received(
            door="stow", interface="pacs", received_at=self.clock(), kind="study",
            lane=f"study/{dataset.StudyInstanceUID}", size=draft.size, digest=draft.sha256,
            instances=(instance,),
        )  # fmt: skip
        self._tables.store([Record(number, received)])
        return number

    def settle(self) -> None:
        """Work all that waits."""
        rung: list[str] = []
        while drain(self._ingest, self.parts.engine, now=self.clock, ring=rung.append):
            pass

    def take(self, raw: bytes) -> str:
        """Receive one message and work it; what became of it."""
        number = self.receive(raw)
        self.settle()
        with reading(self.parts.engine) as connection:
            return str(messages.get(connection, number).state)

    def record(self, name: Name, as_of: datetime | None = None) -> dict[str, str]:
        """Value of each result in the record of an identifier's person; by the projection now."""
        who = identifier(name)
        with reading(self.parts.engine) as connection:
            if as_of is not None:
                found = entries.of_identifier(connection, who, as_of=as_of)
            else:
                person = entries.person_of(connection, [who])
                found = entries.of_person(connection, person) if person else []
        record = PatientRecord.of(found, as_of=as_of or self.clock())
        return {_filler(e): _text(e) for e in record.of_kind("observation")}

    def persons(self) -> set[frozenset[Name]]:
        """The identifiers of each person, as the projection has them."""
        c = IdentityRow.__table__.c  # type: ignore[attr-defined]
        groups: dict[str, set[Name]] = {}
        with reading(self.parts.engine) as connection:
            for value, person in connection.execute(select(c.value, c.person)):
                groups.setdefault(person, set()).add(value)
        return {frozenset(group) for group in groups.values()}

    def jobs(self) -> dict[tuple[str, str], int]:
        """Jobs by stage and state."""
        return jobs.counts(self.parts.engine)

    def close(self) -> None:
        """Give the ledger back."""
        self._tables.close()
        self.parts.engine.dispose()


def _filler(entry: Entry) -> str:
    return entry.key.split("/")[1].rpartition("|")[2]


def _text(entry: Entry) -> str:
    assert isinstance(entry.value, Quantity)
    return entry.value.text


@contextmanager
def built(home: Path) -> Iterator[Parts]:
    """A site without packs and EHR; its own ledger is a file that nobody fills."""
    (home / "site.toml").write_text(SITE)
    environment = {
        "ONCORD_DATA_DIR": str(home),
        "ONCORD_SITE_FILE": str(home / "site.toml"),
        "ONCORD_WRITER": "1",
    }
    parts = build(replace(Settings.from_environment(environment), pack_folders=()))
    yield parts
    parts.close()


def opened(parts: Parts, url: str) -> Charts:
    """A ledger with its clock at the end of the month."""
    clock = Clock(_START + timedelta(days=30))
    return Charts(replace(parts, engine=open_ledger(url), now=clock), clock)
