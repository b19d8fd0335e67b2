"""CT studies with SEG objects, as a worker reads them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from instances import STUDY, part10, series
from pydicom import Dataset
from segmentations import FRAME

from mappings.dicom.ct import ct_study
from mappings.dicom.part10 import read
from mappings.dicom.segmentation import segments
from mappings.images import CtStudy, InstanceRef, Segment


def ct(number: int = 1, **fields: Any) -> list[Dataset]:
    """A CT series in the space of the SEGs, whole enough for highdicom."""
    asked = ("PatientBirthDate", "PatientSex", "StudyID", "ReferringPhysicianName")
    made = series(number, **{"FrameOfReferenceUID": FRAME, "SeriesDescription": "平扫", **fields})
    for dataset in made:
        for keyword in (*asked, "PositionReferenceIndicator"):
            setattr(dataset, keyword, "")
    return made


def refs(datasets: Iterable[Dataset]) -> dict[str, InstanceRef]:
    """How the store knows them, after the way through a file."""
    return {
        d.SOPInstanceUID: InstanceRef(
            study_instance_uid=STUDY,
            series_instance_uid=d.SeriesInstanceUID,
            sop_instance_uid=d.SOPInstanceUID,
            sop_class_uid=d.SOPClassUID,
            sha256="",
        )
        for d in datasets
    }


def read_all(*datasets: Dataset, **options: Any) -> tuple[tuple[Segment, ...], dict[str, str]]:
    """As a worker reads them: from their bytes."""
    known = refs(datasets)
    return segments([read(part10(d)) for d in datasets], known, FRAME, **options)


def study_of(*datasets: Dataset) -> CtStudy:
    """The CT study of all of them."""
    return ct_study(datasets, list(refs(datasets).values()))
