"""Studies, the choice of CT phases and the volumes made of them."""

from __future__ import annotations

from typing import Any

import pytest
from instances import STUDY, part10, series, slice_
from pydicom import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import RLELossless

from mappings.dicom.ct import ct_study
from mappings.dicom.part10 import read
from mappings.dicom.pixels import pixel_digest
from mappings.dicom.series_choice import choose
from mappings.dicom.study import entries
from mappings.dicom.volume import volume
from mappings.errors import (
    BadField,
    NoPatientIdentifier,
    NotDicom,
    NoUsableSeries,
    UnevenSpacing,
)
from mappings.images import InstanceRef
from mappings.record import Source
from mappings.site import Site

CONTRAST: dict[str, Any] = {"ContrastBolusAgent": "IOHEXOL", "ContrastBolusStartTime": "100000"}


def test_a_study_is_one_entry(site: Site, source: Source) -> None:
    """With its series and counts, under the key that FHIR's ImagingStudy has."""
    found = entries([*series(1), *series(2, 4)], site=site, source=source)
    (entry,) = found.entries
    assert f"imaging_study/{STUDY}" == entry.key
    assert [6, 4] == [s["numberOfInstances"] for s in entry.details["series"]]
    assert (10, "CT", "ACC1") == (
        entry.details["numberOfInstances"],
        entry.details["modality"],
        entry.details["accession"],
    )
    assert "2026-11-20T09:30:00+08:00" == (entry.effective.isoformat() if entry.effective else "")


def test_the_issuer_of_the_patient_id_is_honoured(source: Source) -> None:
    """(0010,0021), then (0010,0024)."""
    item = Dataset()
    item.UniversalEntityID, item.UniversalEntityIDType = "1.2.3", "ISO"
    site = Site(authorities={"HOSP": "https://a", "urn:oid:1.2.3": "https://b"})
    by_issuer = entries([slice_(1, 1, IssuerOfPatientID="HOSP")], site=site, source=source)
    by_item = entries(
        [slice_(1, 1, IssuerOfPatientIDQualifiersSequence=Sequence([item]))],
        site=site,
        source=source,
    )
    assert ["https://a", "https://b"] == [by_issuer.patient.authority, by_item.patient.authority]


def test_a_study_without_an_issuer_and_a_default_names_nobody(source: Source) -> None:
    """It is stored and waits (site rule 7)."""
    with pytest.raises(NoPatientIdentifier):
        entries(series(1), site=Site(), source=source)


@pytest.mark.parametrize("other", [{"PatientID": "SYN-2"}, {"StudyInstanceUID": "1.2.3"}])
def test_two_patients_or_studies_are_refused(
    other: dict[str, Any], site: Site, source: Source
) -> None:
    """Nothing of A in B."""
    with pytest.raises(BadField):
        entries([slice_(1, 1), slice_(1, 2, **other)], site=site, source=source)


@pytest.mark.parametrize(
    ("time", "phase"),
    [("095900", "NC"), ("100030", "AP"), ("100110", "PV"), ("100400", "DL")],
)
def test_the_contrast_time_decides_the_phase(time: str, phase: str) -> None:
    """Whatever the description says."""
    chosen, _ = choose(series(1, AcquisitionTime=time, SeriesDescription="CT", **CONTRAST))
    assert [(phase, "contrast-time")] == [(c.choice.phase, c.choice.method) for c in chosen]


@pytest.mark.parametrize(
    ("description", "phase"),
    [
        ("平扫", "NC"),
        ("上腹部 动脉期 1.0", "AP"),
        ("门静脉期", "PV"),
        ("延迟期 5mm", "DL"),
        ("Abd Late Arterial 1.25", "AP"),
        ("PORTAL_VENOUS", "PV"),
        ("LIVER DELAYED", "DL"),
        ("Non-Contrast", "NC"),
        ("w/o contrast", "NC"),
        ("PV 1.0 B30f", "PV"),
    ],
)
def test_a_description_decides_with_less_confidence(description: str, phase: str) -> None:
    """Chinese and English."""
    chosen, _ = choose(series(1, SeriesDescription=description))
    assert [(phase, "description", 0.75)] == [
        (c.choice.phase, c.choice.method, c.choice.confidence) for c in chosen
    ]


def test_a_contradiction_costs_confidence_and_is_said() -> None:
    """Time wins over words."""
    agreed, _ = choose(
        series(1, AcquisitionTime="100030", SeriesDescription="ARTERIAL", **CONTRAST)
    )
    against, _ = choose(series(1, AcquisitionTime="100030", SeriesDescription="VENOUS", **CONTRAST))
    assert agreed[0].choice.confidence > against[0].choice.confidence
    assert "description says PV" in against[0].choice.reasons


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "image type LOCALIZER"),
        ({"ImageType": ["DERIVED", "SECONDARY", "MPR"]}, "image type MPR"),
        ({"ImageType": ["DERIVED", "SECONDARY"]}, "derived secondary images"),
        ({"BurnedInAnnotation": "YES"}, "burned-in annotation"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.67"}, "not single-frame CT images"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "more than 10 degrees from axial"),
        ({"SeriesDescription": "LIVER"}, "phase unknown by contrast time and description"),
        ({"ImagePositionPatient": None}, "no image plane"),
    ],
)
def test_a_series_that_cannot_serve_is_rejected_with_its_reason(
    fields: dict[str, Any], reason: str
) -> None:
    """The audit list names each."""
    chosen, rejected = choose(series(1, **{"SeriesDescription": "ARTERIAL", **fields}))
    assert ((), {f"{STUDY}.1": reason}) == (chosen, rejected)


def test_a_short_series_is_rejected() -> None:
    """Three slices are no volume."""
    assert "fewer than 4 slices" in choose(series(1, 3, SeriesDescription="NC"))[1].values()


def test_the_thinner_softer_series_of_a_phase_is_preferred() -> None:
    """And the other is named as not preferred."""
    chosen, rejected = choose(
        [
            *series(1, SeriesDescription="ARTERIAL", SliceThickness=5),
            *series(2, SeriesDescription="ARTERIAL", SliceThickness=1.25, ConvolutionKernel="B70f"),
            *series(3, SeriesDescription="ARTERIAL", SliceThickness=1.25, ConvolutionKernel="B30f"),
        ]
    )
    assert [f"{STUDY}.3"] == [c.choice.series_instance_uid for c in chosen]
    assert {f"{STUDY}.1", f"{STUDY}.2"} == set(rejected)


def test_acquisitions_inside_one_series_are_told_apart() -> None:
    """Scanners put two phases into one series."""
    early = [
        slice_(1, n, AcquisitionNumber=1, AcquisitionTime="100030", **CONTRAST) for n in range(5)
    ]
    late = [
        slice_(1, n + 50, z=n * 2.5, AcquisitionNumber=2, AcquisitionTime="100110", **CONTRAST)
        for n in range(5)
    ]
    chosen, _ = choose([*early, *late])
    assert ["AP", "PV"] == [c.choice.phase for c in chosen]


def test_a_volume_is_in_hounsfield_units_with_the_head_last() -> None:
    """Sorted by position, rescaled, spacing (z, y, x)."""
    made = volume(series(1))
    assert (6, 8, 6) == made.voxels.shape
    assert [0, 1, 2, 3, 4, 5] == made.voxels[:, 0, 0].tolist()
    assert (2.5, 0.7, 0.8) == pytest.approx(made.spacing_mm)
    assert [-10, -20, 12.5, 1] == (made.affine @ [5, 0, 0, 1]).tolist()
    assert [-9.2, -19.3, 0] == pytest.approx((made.affine @ [0, 1, 1, 1])[:3].tolist())


def test_a_flipped_series_ends_with_the_head_too() -> None:
    """The normal may point to the feet."""
    flipped = [
        slice_(1, n, z=-n * 2.5, ImageOrientationPatient=[1, 0, 0, 0, -1, 0]) for n in range(5)
    ]
    made = volume(flipped)
    assert [4, 3, 2, 1, 0] == made.voxels[:, 0, 0].tolist()
    assert made.affine[2, 0] > 0


def test_padding_becomes_air() -> None:
    """(0028,0120) up to (0028,0121)."""
    made = volume(series(1, PixelPaddingValue=1026, PixelPaddingRangeLimit=1027))
    assert [0, 1, -1000, -1000, 4, 5] == made.voxels[:, 0, 0].tolist()


def test_slope_and_intercept_are_each_slice_s_own() -> None:
    """PET-like scaling differs by slice."""
    slices = [slice_(1, n, RescaleSlope=n, RescaleIntercept=0) for n in range(1, 5)]
    assert [1025, 2052, 3081, 4112] == volume(slices).voxels[:, 0, 0].tolist()


@pytest.mark.parametrize("heights", [[0, 2.5, 5, 10], [0, 2.5, 2.5, 5], [0, 2.5, 5, 7.6]])
def test_uneven_slices_are_refused(heights: list[float]) -> None:
    """A gap, a double, and more than one per cent."""
    with pytest.raises(UnevenSpacing):
        volume([slice_(1, n, z=z) for n, z in enumerate(heights)])


def test_rounded_positions_are_no_gap() -> None:
    """DS values are rounded when they are written."""
    heights = [round(n * 0.6251, 3) for n in range(8)]
    assert 8 == len(volume([slice_(1, n, z=z) for n, z in enumerate(heights)]).voxels)


@pytest.mark.parametrize(
    "fields",
    [{"Rows": 60000, "Columns": 60000}, {"PixelData": b""}, {"Rows": 9}, {"PixelSpacing": None}],
)
def test_pixels_that_cannot_be_are_refused_before_decoding(fields: dict[str, Any]) -> None:
    """A claim of gigabytes in a few bytes is a bomb."""
    with pytest.raises(NotDicom):
        volume([slice_(1, n, **fields) for n in range(4)])


def test_the_pixel_digest_ignores_tags_and_lossless_recompression() -> None:
    """Only other pixels are another digest (site rule 20)."""
    plain = read(part10(slice_(1, 1)))
    edited = read(part10(slice_(1, 1, PatientID="SYN-2", SOPInstanceUID="1.2.3")))
    packed = read(part10(slice_(1, 1)))
    packed.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    assert pixel_digest(plain) == pixel_digest(edited) == pixel_digest(read(part10(packed)))
    assert pixel_digest(plain) != pixel_digest(read(part10(slice_(1, 2))))


def refs(datasets: list[Dataset]) -> list[InstanceRef]:
    """How the store knows instances."""
    return [
        InstanceRef(
            study_instance_uid=STUDY,
            series_instance_uid=d.SeriesInstanceUID,
            sop_instance_uid=d.SOPInstanceUID,
            sop_class_uid=d.SOPClassUID,
            sha256="",
        )
        for d in datasets
    ]


def test_a_ct_study_holds_its_phases_and_the_instances_they_used() -> None:
    """A localizer and an uneven series stand in the list of rejects."""
    found = [
        *series(1, SeriesDescription="平扫"),
        *series(2, AcquisitionTime="100030", **CONTRAST),
        *series(3, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        *(slice_(4, n, z=n * n, SeriesDescription="门脉期") for n in range(6)),
    ]
    study = ct_study(found, refs(found))
    assert ["NC", "AP"] == list(study.phases)
    assert ["NC", "AP"] == [c.phase for c in study.choices]
    assert 12 == len(study.instances)
    assert {f"{STUDY}.3", f"{STUDY}.4"} == set(study.rejected)


def test_a_study_without_a_usable_series_says_why() -> None:
    """Each series with its reason."""
    found = series(1, SeriesDescription="LIVER")
    with pytest.raises(NoUsableSeries) as caught:
        ct_study(found, refs(found))
    assert {f"{STUDY}.1"} == set(caught.value.reasons)
