"""The whole line in one process: patient in, result in the EHR, corrections, echoes."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from peers.servers import FhirPeer
from whole_line import Line, opened

from workers.demo import hospital
from workers.demo.hospital import AFP, Chart


def test_a_patient_becomes_a_report_in_the_ehr(line: Line, who: Chart):
    """Registration, labs, report, history and CT give one preliminary result, read back."""
    line.register(who)
    line.evidence(who)
    line.settle()
    [delivery] = line.deliveries(who)
    assert ("CONFIRMED", "preliminary") == (delivery.state, delivery.status), delivery.reason
    [report] = line.in_ehr("DiagnosticReport")
    [risk] = line.in_ehr("RiskAssessment")
    assert "preliminary" == report["status"] == risk["status"]
    assert f"Patient/{who.number.lower()}" == report["subject"]["reference"]
    assert 1 == len(line.in_ehr("Provenance"))


def test_a_corrected_lab_amends_the_result(line: Line, who: Chart):
    """OBX-11 = C of an input re-runs the pack and corrects the same resources."""
    line.register(who)
    line.evidence(who)
    line.settle()
    [before] = line.in_ehr("RiskAssessment")
    line.clock.forward(hours=1)
    line.send(line.labs(who, loincs=[AFP], status="C", values={AFP: Decimal("2400.0")}))
    line.settle()
    [after] = line.in_ehr("RiskAssessment")
    assert (before["id"], "corrected") == (after["id"], after["status"])
    assert before["prediction"] != after["prediction"]
    assert ["CONFIRMED", "CONFIRMED"] == [d.state for d in line.deliveries(who)]
    assert ["corrected"] == [r["status"] for r in line.in_ehr("DiagnosticReport")]


@pytest.mark.peer("node")
@pytest.mark.parametrize("strategy", ["put", "post"])
def test_an_ehr_nobody_here_wrote_takes_result_and_correction(
    tmp_path: Path, sqlite_url: str, fhir_peer: FhirPeer, who: Chart, strategy: str
):
    """The whole line against the FHIR server on Node, with each strategy."""
    fhir_peer.put(hospital.fhir_patient(who))
    made = opened(
        tmp_path, sqlite_url, ehr_url=fhir_peer.url, strategy=f'strategy = "{strategy}"'
    )  # fmt: skip
    with made as line:
        line.send(hospital.adt_a04(who, line.control_id(), line.clock()))
        line.evidence(who)
        line.settle()
        line.clock.forward(hours=1)
        line.send(line.labs(who, loincs=[AFP], status="C", values={AFP: Decimal("2400.0")}))
        line.settle()
        assert ["CONFIRMED"] * 2 == [d.state for d in line.deliveries(who)]
    [report] = fhir_peer.all("DiagnosticReport")
    [_risk] = fhir_peer.all("RiskAssessment")
    assert ("corrected", 1) == (report["status"], len(fhir_peer.all("Device")))
