"""Synthetic patients as records and studies, without any wire: for a pack's examples and tests.

The same patient as HL7, FHIR and DICOM is made in `workers.demo`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from inference import example_images
from inference.assess import Case
from inference.training.liver import SyntheticPatient
from mappings.images import CtPhase, CtStudy
from mappings.record import Code, Entry, Identifier, PatientRecord, Quantity, Source, Text, When

T0 = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
AS_OF = datetime(2026, 3, 6, 12, 0, tzinfo=UTC)
_LOINC = "http://loinc.org"
_PATIENT = Identifier("SYN-EXAMPLE", "example")


def case(patient: SyntheticPatient) -> Case:
    """The patient as `assess` takes one."""
    return Case(
        record=PatientRecord.of(entries(patient), as_of=AS_OF),
        ct=study(patient),
        t0=T0,
        as_of=AS_OF,
    )


def study(patient: SyntheticPatient) -> CtStudy | None:
    """The rendered CT, or None when the patient was made without."""
    if patient.ct is None:
        return None
    names: tuple[CtPhase, ...] = patient.phases  # type: ignore[assignment]
    order = ("NC", "AP", "PV", "DL")
    voxels = [patient.ct[order.index(n)].astype(np.float32) for n in names]
    return example_images.study(names, voxels, patient.spacing_mm)


def entries(patient: SyntheticPatient) -> list[Entry]:
    """Demographics, labs and the report, all received live before `AS_OF`."""
    source = Source("example", 1, AS_OF - timedelta(days=1))
    # Half a year past the birthday, as the age was trained.
    birth = T0 - timedelta(days=round((patient.age_years + 0.5) * 365.2425))
    made = [
        _demographic(
            source, "birth_date", When(birth.replace(tzinfo=None, hour=0, minute=0), "day")
        ),
        _demographic(source, "sex", Text(patient.sex)),
    ]
    drawn = When.instant(T0 - timedelta(days=2))
    for i, (loinc, (value, unit)) in enumerate(patient.labs.items(), 1):
        made.append(
            Entry(
                kind="observation",
                key=f"observation/LAB-{i}/{loinc}/",
                patient=_PATIENT,
                source=source,
                path=f"OBX[{i}]-5",
                code=Code(_LOINC, loinc),
                value=Quantity(value, unit, str(value), unit),
                effective=drawn,
            )
        )
    made.append(
        Entry(
            kind="report",
            key="report/RAD-1",
            patient=_PATIENT,
            source=source,
            path="OBX[1]-5",
            code=Code(_LOINC, "18748-4"),
            effective=When.instant(T0 + timedelta(hours=3)),
            details={
                "modality": "CT",
                "sections": {"findings": patient.findings, "impression": patient.impression},
            },
        )
    )
    return made


def _demographic(source: Source, name: str, value: When | Text) -> Entry:
    return Entry(
        kind="patient",
        key=f"patient/{name}",
        patient=_PATIENT,
        source=source,
        path="PID-7" if name == "birth_date" else "PID-8",
        value=value,
    )
