"""What the tests of the demo's wires send: people, a liver in six sequences, a piece of tissue."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from whole_line import Line

from interop.ledger import images
from interop.ledger.engine import reading
from mappings import fhir, hl7v2
from mappings.conversion import Conversion
from mappings.errors import UnmappedStructure
from mappings.fhir.door import parse, validate
from mappings.record import Entry, PatientRecord, Source
from mappings.site import Site
from workers.demo import ct, history
from workers.demo.hospital import MRN_SYSTEM
from workers.demo.molecular import LAB_SYSTEM
from workers.demo.subject import Language, Sex, Subject, subject
from workers.demo.tissue import Tissue

T0 = datetime(2026, 3, 2, 1, 30, tzinfo=UTC)
NOW = datetime(2026, 3, 20, 4, 0, tzinfo=UTC)
SITE = Site(
    name="demo",
    authorities={"DEMOHOSP": MRN_SYSTEM, MRN_SYSTEM: MRN_SYSTEM, "GENLAB": LAB_SYSTEM},
    default_authority=MRN_SYSTEM,
    timezone="Asia/Shanghai",
)
LOINC = "http://loinc.org"


def somebody(language: Language = "zh", sex: Sex = "female") -> Subject:
    """A patient of 55 years."""
    return subject("SYN-52613603", sex=sex, age_years=55, language=language, t0=T0)


def liver() -> NDArray[np.int16]:
    """(6, 24, 48, 48): a body with a lesion that shows differently in each sequence."""
    z, y, x = np.indices((24, 48, 48))
    body = ((y - 24) / 20) ** 2 + ((x - 24) / 22) ** 2 < 1
    lesion = ((z - 9) * 1.6) ** 2 + (y - 18) ** 2 + (x - 30) ** 2 < 36
    levels = ((180, -40), (230, 90), (320, -50), (300, -60), (140, 120), (90, 110))
    grain = np.random.default_rng(5).integers(-9, 10, (6, 24, 48, 48))
    made = [body * (level + lesion * more) + 12 for level, more in levels]
    # Feet are darker than head: an order turned round would show.
    return (np.stack(made) + grain + z).clip(0, None).astype(np.int16)


def tissue() -> tuple[NDArray[np.uint8], dict[str, NDArray[np.bool_]]]:
    """Classes (4, 4) and positive tiles by marker."""
    classes = np.array([[0, 1, 1, 0], [1, 2, 2, 1], [1, 2, 2, 3], [0, 1, 1, 1]], np.uint8)
    epithelium = classes >= Tissue.NEST
    left = np.arange(4)[None, :] < 2
    infiltrated = np.zeros((4, 4), np.bool_)
    infiltrated[0, 1:3] = True
    positive = {"Pan-CK": epithelium, "CD3": infiltrated, "CD20": np.roll(infiltrated, 3, axis=0)}
    positive |= {"ER": epithelium, "HER2": epithelium & left, "Ki-67": epithelium & ~left}
    return classes, positive


def written(datasets: Iterable[Dataset], folder: Path) -> list[Path]:
    """Each instance as a file."""
    made = []
    for number, dataset in enumerate(datasets):
        path = folder / f"{number:03}.dcm"
        path.write_bytes(ct.part10(dataset))
        made.append(path)
    return made


def complaints(path: Path) -> list[str]:
    """What dciodvfy calls an error; the file must be of an IOD it knows."""
    told = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    lines = told.stderr.splitlines()
    assert lines, path
    assert "Image" in lines[0], lines
    return [line for line in lines if line.startswith("Error")]


def of_hl7(raw: bytes, message: int = 1) -> Conversion:
    """A message as our reader takes it."""
    return hl7v2.entries(raw, site=SITE, source=Source("lis", message, NOW))


def of_fhir(bundle: dict[str, Any], message: int = 2) -> tuple[list[Conversion], list[str]]:
    """The resources of a valid Bundle as our reader takes them, and the types it does not."""
    data = parse(json.dumps(bundle).encode())
    validate(data)
    subjects = fhir.subjects(data, site=SITE)
    made, unread = [], []
    for part in fhir.split(data):
        assert part.resource is not None
        try:
            source = Source("ehr-events", message, NOW)
            made.append(fhir.entries(part.resource, site=SITE, source=source, patient=subjects.get))
        except UnmappedStructure:
            unread.append(part.resource["resourceType"])
    return made, unread


def record(*conversions: Conversion) -> PatientRecord:
    """What is known once all of it has come."""
    entries: list[Entry] = []
    for conversion in conversions:
        for entry in conversion.entries:
            entries.append(replace(entry, seq=len(entries) + 1))
    return PatientRecord.of(entries, as_of=datetime(2027, 1, 1, tzinfo=UTC))


def stored(line: Line, study: str, modality: str, counts: dict[str, int], datasets: Any) -> Any:
    """A study announced and pushed at the doors: its row, once everything is worked."""
    who = somebody()
    announced = history.imaging_study(who, study, modality, "Demo", counts)
    told = history.fhir_history(who, history.History(), [announced])
    answer = line.fhir(told)
    assert 200 == answer.status_code, answer.text
    answer = line.stow(*datasets)
    assert (200, None) == (answer.status_code, answer.json().get("00081198"))
    line.settle()
    assert [] == line.inbound("parked", "quarantined")
    with reading(line.parts.engine) as connection:
        return images.study(connection, study)
