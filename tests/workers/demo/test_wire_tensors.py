"""What the wire carries is what the generator emitted: tensors, labs and findings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from inference import findings, matching, packs, tensors
from inference.training import examples, liver
from mappings import hl7v2
from mappings.dicom import part10
from mappings.dicom.ct import ct_study
from mappings.images import InstanceRef
from mappings.record import Entry, Quantity, Source
from mappings.site import Site
from workers.demo import ct, hospital
from workers.demo.hospital import MRN_SYSTEM, Chart

_PACK = Path(packs.__file__).parent / "packs" / "liver_dx"
_T0 = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
_NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
_SITE = Site(name="t", authorities={"DEMOHOSP": MRN_SYSTEM}, timezone="Asia/Shanghai")
# float32 sums of 16 replicated voxels, in HU.
_TOLERANCE_HU = 0.01
_PATIENTS = (2, 3, 5, 8)


@pytest.fixture(scope="module")
def pack() -> packs.Pack:
    """The shipped pack."""
    return packs.load(_PACK)


@pytest.fixture(params=_PATIENTS)
def chart(request: pytest.FixtureRequest) -> Chart:
    """Patients of several sites, languages and sets of phases."""
    return hospital.chart(liver.patient(77, request.param), t0=_T0)


def entries(message: bytes) -> Sequence[Entry]:
    """A message as the line maps it."""
    return hl7v2.entries(message, site=_SITE, source=Source("his", 1, _NOW)).entries


def test_the_tensor_of_the_dicom_objects_is_the_generators(chart: Chart, pack: packs.Pack):
    """Part 10 bytes, series choice, volume and resampling give the generator's voxels back."""
    datasets = [part10.read(ct.part10(instance)) for instance in ct.instances(chart)]
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
    wire = tensors.ct(pack.manifest.ct, ct_study(reversed(datasets), refs))
    own = tensors.ct(pack.manifest.ct, examples.study(chart.synthetic))
    assert own.phases.tolist() == wire.phases.tolist()
    np.testing.assert_allclose(own.voxels, wire.voxels, rtol=0, atol=_TOLERANCE_HU)


def test_labs_through_hl7_are_the_generators(chart: Chart):
    """Every value and UCUM unit survives the sender's own way of writing units."""
    sent = hospital.oru_labs(chart, "1", _NOW, loincs=list(chart.synthetic.labs), filler="L1")
    found = {
        e.code.code: (e.value.value, e.value.unit)
        for e in entries(sent)
        if e.code is not None and isinstance(e.value, Quantity)
    }
    assert dict(chart.synthetic.labs) == found


def test_findings_through_hl7_are_the_generators(chart: Chart, pack: packs.Pack):
    """The findings section is found, whole, and reads to the same states."""
    sent = hospital.oru_report(chart, "1", _NOW)
    [report] = [e for e in entries(sent) if e.kind == "report"]
    said = report.details["sections"]["findings"]
    assert chart.synthetic.findings.split() == said.split()
    lexicon = pack.lexicon
    assert findings.states(lexicon, chart.synthetic.findings) == findings.states(lexicon, said)


def test_sex_and_birth_date_through_hl7_are_the_generators(chart: Chart):
    """PID-7 and PID-8 of the registration, from GB18030 bytes."""
    found = {e.key: e.value for e in entries(hospital.adt_a04(chart, "1", _NOW))}
    low, high = matching.age_years(found["patient/birth_date"], _T0)
    assert chart.synthetic.age_years <= low <= high < chart.synthetic.age_years + 1
    [sex] = [e for e in entries(hospital.adt_a04(chart, "1", _NOW)) if e.key == "patient/sex"]
    assert chart.synthetic.sex == matching.sex(sex)
