"""Own echoes: what we wrote comes back through every door and starts nothing (site rule 1)."""

from __future__ import annotations

import json
from datetime import datetime

from whole_line import Line

from interop.ledger import messages
from interop.ledger.engine import reading
from workers.demo.hospital import Chart


def _plain(resource: dict[str, object]) -> dict[str, object]:
    made: dict[str, object] = json.loads(json.dumps(resource, default=float))
    return made


def _oru_copy(
    report: dict[str, object], who: Chart, now: datetime, *, named: str = "^ONCORD", more: str = ""
) -> bytes:
    """The engine's ORU copy of our report, with our filler number."""
    filler = next(
        i["value"]
        for i in report["identifier"]
        if i["system"].endswith("/ai-filler")  # type: ignore[attr-defined]
    )
    stamp = now.strftime("%Y%m%d%H%M%S")
    return (
        f"MSH|^~\\&|ENGINE|DEMOHOSP|LIS|DEMOHOSP|{stamp}||ORU^R01^ORU_R01|E1|P|2.5.1\r"
        f"PID|1||{who.number}^^^DEMOHOSP^MR\r"
        f"OBR|1||{filler}{named}|18748-4^AI^LN|||{stamp}|||||||||||||||{stamp}|||P\r"
        f"OBX|1|NM|1834-1^AFP^LN||31.4|ng/mL|||||P\r{more}"
    ).encode()


def test_every_result_echoed_through_every_door_makes_no_new_job(line: Line, who: Chart):
    """FHIR resource by resource, as a Bundle, and as the engine's ORU: sightings only."""
    line.register(who)
    line.evidence(who)
    line.settle()
    before, entries = line.jobs(), len(line.entries(who))
    written = [
        _plain(resource)
        for kind in ("Device", "Observation", "RiskAssessment", "DiagnosticReport", "Provenance")
        for resource in line.in_ehr(kind)
    ]
    pushes = 0
    for resource in written:
        kind = resource["resourceType"]
        assert 202 == line.fhir(resource, f"/fhir/{kind}/{resource['id']}", "PUT").status_code
        pushes += 1
    bundle = {
        "resourceType": "Bundle", "type": "collection",
        "entry": [{"fullUrl": f"urn:uuid:{r['id']}", "resource": r} for r in written],
    }  # fmt: skip
    assert 202 == line.fhir(bundle).status_code
    [report] = line.in_ehr("DiagnosticReport")
    assert b"|AA|" in line.send(_oru_copy(report, who, line.clock()))
    line.clock.forward(minutes=5)
    line.settle()
    after = line.jobs()
    assert before[("ingest", "done")] + pushes + 2 == after.pop(("ingest", "done"))
    before.pop(("ingest", "done"))
    assert before == after
    assert entries == len(line.entries(who))
    with reading(line.parts.engine) as connection:
        doors = [row.door for row in messages.sightings(connection)]
    assert {"fhir", "mllp"} == set(doors)
    assert 1 == len(line.deliveries(who))


def test_a_persons_own_results_beside_an_echo_still_count(line: Line, who: Chart):
    """A Bundle of our report and a new Condition: the Condition is taken."""
    line.register(who)
    line.evidence(who)
    line.settle()
    [report] = line.in_ehr("DiagnosticReport")
    condition = {
        "resourceType": "Condition", "id": "c9",
        "subject": {"reference": f"Patient/{who.number.lower()}"},
        "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "K74.6"}]},
    }  # fmt: skip
    patient = _plain(line.in_ehr("Patient")[0])
    bundle = {
        "resourceType": "Bundle", "type": "collection",
        "entry": [
            {"fullUrl": f"http://ehr.example/{r['resourceType']}/{r['id']}", "resource": r}
            for r in (patient, _plain(report), condition)
        ],
    }  # fmt: skip
    assert 202 == line.fhir(bundle).status_code
    line.settle()
    assert "K74.6" in {e.code.code for e in line.entries(who) if e.code}
    assert 1 == len(line.deliveries(who))


def test_an_engines_copy_without_our_name_is_known_by_its_number(line: Line, who: Chart):
    """A bare OBR-3 is one of our fillers; beside it another's result counts, ours does not."""
    line.register(who)
    line.evidence(who)
    line.settle()
    [report] = line.in_ehr("DiagnosticReport")
    before = {e.seq for e in line.entries(who)}
    lab = "OBR|2||L7^LIS|1834-1^AFP^LN\rOBX|1|NM|1834-1^AFP^LN||9|ng/mL|||||F\r"
    for more in ("", lab):
        copy = _oru_copy(report, who, line.clock(), named="", more=more)
        assert b"|AA|" in line.send(copy.replace(b"|E1|", b"|E%d|" % len(more)))
    line.settle()
    assert ["echo"] == [m["reason"] for m in line.inbound("ignored") if m["door"] == "mllp"]
    assert [] == line.inbound("parked")
    fresh = [e for e in line.entries(who) if e.seq not in before]
    assert ["OBX[2]-5"] == [e.path for e in fresh if e.kind == "observation"]
    assert {"patient", "observation"} >= {e.kind for e in fresh}
    with reading(line.parts.engine) as connection:
        doors = [row.door for row in messages.sightings(connection)]
    assert ["mllp", "mllp"] == doors


def test_of_an_order_that_may_rest_on_ours_a_person_decides(line: Line, who: Chart):
    """Another's order that names ours as its parent: nothing of the message is taken."""
    line.register(who)
    line.evidence(who)
    line.settle()
    [report] = line.in_ehr("DiagnosticReport")
    entries = len(line.entries(who))
    ours = _oru_copy(report, who, line.clock())
    filler = ours.split(b"OBR|1||")[1].split(b"^")[0].decode()
    child = (
        f"OBR|2||L7^LIS|1834-1^AFP^LN{'|' * 25}^{filler}\rOBX|1|NM|1834-1^AFP^LN||9|ng/mL|||||F\r"
    )
    assert b"|AA|" in line.send(ours + child.encode())
    line.settle()
    [parked] = line.inbound("parked")
    assert "results of ours stand in it beside results of others" == parked["reason"]
    assert entries == len(line.entries(who))


def test_what_an_ehr_has_left_of_our_report_is_known_by_its_id(line: Line, who: Chart):
    """Identifiers, codes and labels are gone: it still stands where we wrote it."""
    line.register(who)
    line.evidence(who)
    line.settle()
    [report] = line.in_ehr("DiagnosticReport")
    entries = len(line.entries(who))
    left = _plain(report)
    for name in ("identifier", "meta", "code", "performer", "extension"):
        left.pop(name)
    left["code"] = {"text": "liver"}
    patient = _plain(line.in_ehr("Patient")[0])
    bundle = {
        "resourceType": "Bundle", "type": "collection",
        "entry": [
            {"fullUrl": f"http://ehr.example/{r['resourceType']}/{r['id']}", "resource": r}
            for r in (patient, left)
        ],
    }  # fmt: skip
    assert 202 == line.fhir(bundle).status_code
    line.settle()
    fresh = line.entries(who)[entries:]
    assert [] == [e.kind for e in fresh if e.kind not in ("patient", "alias")]
    with reading(line.parts.engine) as connection:
        seen = {row.reference for row in messages.sightings(connection)}
    assert f"DiagnosticReport/{report['id']}" in seen
