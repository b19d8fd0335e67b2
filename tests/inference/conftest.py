"""A synthetic patient's record and study, and the shipped pack."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from inference import packs
from inference.packs import Pack
from inference.rules import StudySummary
from inference.training import examples, liver
from mappings.record import Code, Entry, Identifier, PatientRecord, Quantity, Source, When
from mappings.statuses import Status

PACKS = Path(packs.__file__).parent / "packs"
T0, AS_OF = examples.T0, examples.AS_OF


@pytest.fixture(scope="session")
def pack() -> Pack:
    """The shipped pack, verified."""
    return packs.load(PACKS / "liver_dx")


@pytest.fixture(scope="session")
def patient() -> liver.SyntheticPatient:
    """A patient with all four phases and all nine labs, report in Chinese."""
    return liver.patient(77, 3)


@pytest.fixture
def entries(patient: liver.SyntheticPatient) -> list[Entry]:
    """Everything received of the patient."""
    return examples.entries(patient)


@pytest.fixture
def record_of() -> Callable[[list[Entry]], PatientRecord]:
    """Fold entries as of the usual moment."""
    return lambda entries: PatientRecord.of(entries, as_of=AS_OF)


@pytest.fixture
def lab() -> Callable[..., Entry]:
    """An AFP entry with parts of one's own."""

    def make(
        value: str = "12.5",
        unit: str | None = "ng/mL",
        *,
        code: str = "1834-1",
        days: float = -1,
        status: Status = "final",
        comparator: str | None = None,
        key: str = "observation/X/1834-1/",
        received_days: float = 0,
        origin: str = "live",
        seq: int = 0,
    ) -> Entry:
        at = T0 + timedelta(days=days)
        source = Source("lab", 2, T0 + timedelta(days=received_days), origin=origin)  # type: ignore[arg-type]
        return Entry(
            kind="observation",
            key=key,
            patient=Identifier("SYN-1", "example"),
            source=source,
            path="OBX[1]-5",
            status=status,
            code=Code("http://loinc.org", code),
            value=Quantity(Decimal(value), unit, value, unit or "", comparator),
            effective=When.instant(at),
            seq=seq,
        )

    return make


@pytest.fixture
def study() -> Callable[..., StudySummary]:
    """A complete CT with all phases, with parts of one's own."""

    def make(**changes: object) -> StudySummary:
        parts: dict[str, object] = {
            "study_instance_uid": "2.25.1",
            "modality": "CT",
            "started": When.instant(T0),
            "complete": True,
            "phases": ("NC", "AP", "PV", "DL"),
            "body_part": "ABDOMEN",
        }
        return StudySummary(**(parts | changes))  # type: ignore[arg-type]

    return make
