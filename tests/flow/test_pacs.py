"""The PACS: Orthanc takes the study by C-STORE and pushes it on to our STOW door."""

from __future__ import annotations

import subprocess
from pathlib import Path

import httpx
import pytest
from dicomweb_client.api import DICOMwebClient
from peers.servers import Orthanc
from whole_line import Line

from workers.demo import ct, hospital
from workers.demo.hospital import Chart


def files(who: Chart, folder: Path) -> list[Path]:
    """The study as files."""
    made = []
    for number, dataset in enumerate(ct.instances(who)):
        path = folder / f"{number:03d}.dcm"
        path.write_bytes(ct.part10(dataset))
        made.append(path)
    return made


@pytest.mark.peer("orthanc")
@pytest.mark.peer("dcmtk")
def test_a_study_goes_from_modality_to_pacs_to_report(
    line: Line, orthanc: Orthanc, who: Chart, tmp_path: Path
):
    """Storescu to Orthanc, Orthanc's DICOMweb plugin to us, and the result is in the EHR."""
    study = tmp_path / "study"
    study.mkdir()
    files(who, study)
    sent = ["storescu", "-aec", "ORTHANC", "+sd", "127.0.0.1", str(orthanc.dicom_port), str(study)]
    subprocess.run(
        sent, check=True, capture_output=True, env={"TCP_NODELAY": "1", "PATH": "/usr/bin"}
    )
    line.register(who)
    line.send(line.labs(who))
    line.send(hospital.oru_report(who, line.control_id(), line.clock()))
    line.fhir(hospital.fhir_history(who, ct.counts(who)))
    server = {"Url": f"{line.http}/dicomweb/"}
    httpx.put(f"{orthanc.url}/dicom-web/servers/oncord", json=server).raise_for_status()
    [held] = httpx.get(f"{orthanc.url}/studies").json()
    job = {"Resources": [held], "Synchronous": True}
    pushed = httpx.post(f"{orthanc.url}/dicom-web/servers/oncord/stow", json=job, timeout=60)
    assert 200 == pushed.status_code, pushed.text
    line.settle()
    assert ["CONFIRMED"] == [d.state for d in line.deliveries(who)]


@pytest.mark.peer("orthanc")
def test_the_demo_study_is_one_that_a_pacs_takes(orthanc: Orthanc, other_patient: Chart):
    """By dicomweb-client; every instance is found again."""
    client = DICOMwebClient(url=orthanc.dicomweb)
    instances = list(ct.instances(other_patient))[:30]
    answer = client.store_instances(instances)
    assert 30 == len(answer.ReferencedSOPSequence)
    found = client.search_for_studies(search_filters={"StudyInstanceUID": other_patient.study_uid})
    assert 1 == len(found)
    client._session.close()


@pytest.mark.peer("dicom3tools")
def test_the_demo_study_passes_dciodvfy(who: Chart, tmp_path: Path):
    """One instance a series, no error."""
    seen = set()
    for path, dataset in zip(files(who, tmp_path), ct.instances(who), strict=True):
        if dataset.SeriesInstanceUID in seen:
            continue
        seen.add(dataset.SeriesInstanceUID)
        done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        errors = [line for line in done.stderr.splitlines() if line.startswith("Error")]
        assert [] == errors
