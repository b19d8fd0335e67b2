"""A CT of any study of the kit reaches the tensor as the generator made it, by way of DICOM."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from numpy.typing import NDArray

from inference import example_images, tensors
from inference.errors import UnusableVolume
from inference.manifest import CtInput, Grid
from inference.tensors import CtTensor
from inference.training.cohorts import studies
from inference.training.cohorts.patients import Patient, patient
from inference.training.cohorts.pictures import Volume
from inference.training.cohorts.study import Picture
from inference.training.cohorts.volume import Anatomy
from mappings.dicom import part10
from mappings.dicom.ct import ct_study
from mappings.images import CT_PHASES, CtStudy, InstanceRef
from workers.demo import ct
from workers.demo.subject import Subject, subject

# Integers in HU come back as integers; what is left is the rounding of a float32 mean.
TOLERANCE_HU = 0.001
_T0 = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
_SEED = 17


def with_ct() -> Iterator[tuple[str, Picture]]:
    """Every declared study with a picture whose channels are phases of a CT."""
    for name in studies.declared():
        for picture in studies.study(name).pictures:
            if isinstance(picture.shows, Anatomy) and set(picture.channels) <= set(ct.PHASES):
                yield name, picture


STUDIES = list(with_ct())
NAMES = [name for name, _ in STUDIES]


def patients_with(
    name: str, picture: Picture, *, exchanged: bool
) -> Iterator[tuple[Patient, Volume]]:
    """Patients who have the picture, its header right or with two tags exchanged."""
    declared = studies.study(name)
    for index in range(600):
        one = patient(declared, _SEED, index)
        if one.has(picture.name):
            made = one.picture(picture.name)
            assert isinstance(made, Volume)
            if (made.tags != made.channels) == exchanged:
                yield one, made


def scanned(one: Patient, made: Volume, days: int) -> ct.CtStudy:
    """The examination as the hospital's scanner has it."""
    who = person(one).at(_T0 + timedelta(days=days))
    return ct.CtStudy(
        who=who, uid=who.uid("ct"), voxels=made.voxels, spacing_mm=made.spacing_mm, phases=made.tags
    )


def person(one: Patient) -> Subject:
    """Who they are on the wire."""
    number = f"SYN-{one.number.replace('SYN-', '').replace('-', '')}"
    sex = "male" if one.sex == "male" else "female"
    return subject(number, sex=sex, age_years=one.age_years, language="zh", t0=_T0)


def through_dicom(scan: ct.CtStudy) -> CtStudy:
    """Part 10 bytes of every instance, read back in another order."""
    datasets = [part10.read(ct.part10(instance)) for instance in ct.instances(scan)]
    refs = [
        InstanceRef(
            study_instance_uid=d.StudyInstanceUID,
            series_instance_uid=d.SeriesInstanceUID,
            sop_instance_uid=d.SOPInstanceUID,
            sop_class_uid=d.SOPClassUID,
            sha256="",
        )
        for d in datasets
    ]
    order = np.random.default_rng(1).permutation(len(datasets))
    return ct_study([datasets[i] for i in order], refs)


def declared(
    phases: tuple[str, ...],
    grid: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
) -> CtInput:
    """What a pack would declare for a volume."""
    return CtInput(
        phases=CT_PHASES,
        required=phases,
        min_confidence=0.5,
        grid=Grid(grid, spacing_mm, "SPL", "area"),
        hu_clip=(-200.0, 300.0),
        intensity="hu",
        without="left out",
        roi="centre of volume",
    )


def generators(made: Volume) -> NDArray[np.float32]:
    """The generator's own voxels in the pack's order, each under the tag it has."""
    out = np.zeros((len(CT_PHASES), *made.voxels.shape[1:]), np.float32)
    for tag, voxels in zip(made.tags, made.voxels, strict=True):
        out[CT_PHASES.index(tag)] = np.clip(voxels, -200, 300)  # type: ignore[arg-type]
    return out


def agree(tensor: CtTensor, made: Volume) -> None:
    """Presence exactly, voxels within the tolerance."""
    assert [float(p in made.tags) for p in CT_PHASES] == tensor.phases.tolist()
    np.testing.assert_allclose(tensor.voxels, generators(made), rtol=0, atol=TOLERANCE_HU)


def test_the_studies_that_have_a_ct_are_these():
    """Found by listing: one that comes later is compared, too."""
    assert {"crlm", "pan", "pan_1y", "liver"} <= set(NAMES)
    assert {1, 4} == {len(picture.channels) for _, picture in STUDIES}


@pytest.mark.parametrize(("name", "picture"), STUDIES, ids=NAMES)
def test_the_tensor_through_dicom_is_the_generators(name: str, picture: Picture):
    """Written, read, its phases chosen, stacked and resampled: the same voxels."""
    found = patients_with(name, picture, exchanged=False)
    for _ in range(3):
        one, made = next(found)
        wire = through_dicom(scanned(one, made, picture.days))
        asked = declared(made.tags, made.voxels.shape[1:], made.spacing_mm)
        assert made.voxels.std() > 10
        agree(tensors.ct(asked, wire), made)


@pytest.mark.parametrize(("name", "picture"), STUDIES, ids=NAMES)
def test_exchanged_tags_stay_exchanged(name: str, picture: Picture):
    """The reader believes the header: voxels stand under the phase that it names."""
    one, made = next(patients_with(name, picture, exchanged=True))
    wire = through_dicom(scanned(one, made, picture.days))
    asked = declared(made.tags, made.voxels.shape[1:], made.spacing_mm)
    agree(tensors.ct(asked, wire), made)
    right = replace(made, tags=made.channels)
    assert not np.allclose(tensors.ct(asked, wire).voxels, generators(right), atol=1)
    if missing := set(made.channels) - set(made.tags):
        with pytest.raises(UnusableVolume, match="not in the study"):
            tensors.ct(replace(asked, required=tuple(missing)), wire)


@pytest.mark.parametrize("spacing_mm", [(7.5, 2.5, 3.2), (5.0, 2.96875, 2.734376)])
@pytest.mark.parametrize(("name", "picture"), STUDIES, ids=NAMES)
def test_anisotropic_voxels_come_back_where_they_were(
    name: str, picture: Picture, spacing_mm: tuple[float, float, float]
):
    """Another spacing along each axis; on its own grid, and on the isotropic one of a pack."""
    one, made = next(patients_with(name, picture, exchanged=False))
    thick = replace(made, spacing_mm=spacing_mm)
    wire = through_dicom(scanned(one, thick, picture.days))
    z, y, x = spacing_mm
    assert {(z, y / ct.REPLICATION, x / ct.REPLICATION)} == {
        v.spacing_mm for v in wire.phases.values()
    }
    own = declared(made.tags, made.voxels.shape[1:], thick.spacing_mm)
    agree(tensors.ct(own, wire), thick)
    even = replace(own, grid=Grid((24, 48, 48), (4.0, 4.0, 4.0), "SPL", "area"))
    voxels = [v.astype(np.float32) for v in thick.voxels]
    direct = example_images.study(thick.tags, voxels, thick.spacing_mm)  # type: ignore[arg-type]
    np.testing.assert_allclose(
        tensors.ct(even, wire).voxels, tensors.ct(even, direct).voxels, rtol=0, atol=TOLERANCE_HU
    )


@pytest.mark.parametrize(("name", "picture"), STUDIES, ids=NAMES)
def test_a_slice_in_the_wrong_place_does_not_agree(name: str, picture: Picture):
    """The comparison has power: head and feet exchanged, or one voxel a little off."""
    one, made = next(patients_with(name, picture, exchanged=False))
    asked = declared(made.tags, made.voxels.shape[1:], made.spacing_mm)
    turned = replace(made, voxels=made.voxels[:, ::-1])
    off = replace(made, voxels=made.voxels.copy())
    off.voxels[0, 11, 20, 20] += 1
    for other in (turned, off):
        tensor = tensors.ct(asked, through_dicom(scanned(one, other, picture.days)))
        with pytest.raises(AssertionError):
            agree(tensor, made)
