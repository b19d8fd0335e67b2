"""The whole line in one process: patient in, result in the EHR, corrections, echoes."""

from __future__ import annotations

from decimal import Decimal

from line import Line

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
