"""The PACS: Orthanc takes the study by C-STORE and pushes it on to our STOW door."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import httpx
import pytest
from dicomweb_client.api import DICOMwebClient
from peers.processes import free_port
from peers.servers import Orthanc
from site_processes import ONCORD, serve, settled
from whole_line import Line

from interop.errors import PeerUnavailable, Refused
from interop.pacs import FoundStudy, Pacs, PacsEndpoint
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


@pytest.mark.peer("orthanc")
def test_a_study_is_pulled_from_the_pacs(line: Line, orthanc: Orthanc, who: Chart):
    """QIDO finds and counts it, WADO's parts go through our STOW door byte by byte, and it counts."""
    DICOMwebClient(url=orthanc.dicomweb).store_instances(list(ct.instances(who)))
    line.register(who)
    line.send(line.labs(who))
    line.send(hospital.oru_report(who, line.control_id(), line.clock()))
    line.fhir(hospital.fhir_history(who, ct.counts(who)))
    with httpx.Client() as client:
        pacs = Pacs(PacsEndpoint(base_url=orthanc.dicomweb), client)
        [found] = pacs.find({"StudyInstanceUID": who.study_uid})
        done = pacs.pull(found, f"{line.http}/dicomweb/studies", None)
    whole = len(list(ct.instances(who)))
    assert (whole, whole, 0, True) == (done.expected, done.stored, done.refused, done.whole)
    line.commit.settle()
    line.settle()
    assert ["CONFIRMED"] == [d.state for d in line.deliveries(who)]


@pytest.mark.peer("orthanc")
def test_what_the_pacs_does_not_have_is_refused(line: Line, orthanc: Orthanc):
    """Not found by QIDO, and refused when it is asked for all the same."""
    with httpx.Client() as client:
        pacs = Pacs(PacsEndpoint(base_url=orthanc.dicomweb), client)
        assert [] == pacs.find({"StudyInstanceUID": "1.2.3.4"})
        with pytest.raises(Refused, match="PACS"):
            pacs.pull(FoundStudy("1.2.3.4", None), f"{line.http}/dicomweb/studies", None)
    assert [] == line.inbound("received", "applied", "quarantined")


def test_a_pacs_that_does_not_answer_holds_nobody(line: Line):
    """A port that takes the connection and stays silent: an error within the time."""
    with socket.create_server(("127.0.0.1", 0)) as silent, httpx.Client() as client:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/dicom-web"
        pacs = Pacs(PacsEndpoint(base_url=url, timeout_s=0.2), client)
        with pytest.raises(PeerUnavailable):
            pacs.find({"StudyInstanceUID": "1.2.3.4"})
        with pytest.raises(PeerUnavailable):
            pacs.pull(FoundStudy("1.2.3.4", None), f"{line.http}/dicomweb/studies", None)


@pytest.mark.peer("orthanc")
def test_the_command_pulls_through_a_running_service(
    tmp_path: Path, sqlite_url: str, orthanc: Orthanc, other_patient: Chart
):
    """`oncord pull` by accession number or UID; what is not there is told by the status."""
    DICOMwebClient(url=orthanc.dicomweb).store_instances(list(ct.instances(other_patient))[:30])
    port = free_port()
    env = settled(tmp_path, ONCORD_DATABASE_URL=sqlite_url, ONCORD_HTTP_PORT=str(port))
    with (tmp_path / "site.toml").open("a") as site:
        site.write(f'\n[pacs]\nbase_url = "{orthanc.dicomweb}"\n')
    with serve(tmp_path, env):
        for uid, status, told in (
            (other_patient.study_uid, 0, "30 stored, 0 refused of 30"),
            ("1.2.3.4", 1, "the PACS does not have it"),
        ):
            done = subprocess.run(
                [*ONCORD, "pull", "--study", uid],
                env={**os.environ, **env}, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert (status, True) == (done.returncode, f"{uid}: {told}" in done.stdout), done.stderr
