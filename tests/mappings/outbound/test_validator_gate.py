"""Everything we write passes three validators that share no code, but for what is listed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from assessed import VERSIONS, result
from expected_issues import is_expected
from peers import servers

from mappings.errors import InvalidResource
from mappings.fhir.door import validate
from mappings.outbound.bundle import transaction

STRATEGIES = ("put", "post")
KNOWN = {role: f"known-{role}" for role in ("obs-malignant", "obs-benign", "ra", "dr")}
Resource = dict[str, Any]


def bundles() -> dict[str, Resource]:
    """The transaction of each version, by each strategy, as a first and as a later version."""
    made = {}
    for name, version in VERSIONS.items():
        for strategy in STRATEGIES:
            made[f"{name}/{strategy}"] = transaction(
                version, "Patient/p1", strategy=strategy, versions={}, ids={}
            )
            made[f"{name}/{strategy}/update"] = transaction(
                version, "Patient/p1", strategy=strategy, ids=KNOWN,
                versions=dict.fromkeys(KNOWN, "4"),
            )  # fmt: skip
    return made


def judged(resources: list[Resource]) -> list[list[dict[str, str]]]:
    """Issues of both Node validators for each resource."""
    servers.node_modules()
    done = subprocess.run(
        ["node", "--experimental-websocket", str(servers.NODE / "validate.mjs")],
        input="\n".join(json.dumps(r) for r in resources), capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def parts(bundle: Resource) -> list[Resource]:
    """Every resource of a Bundle."""
    return [entry["resource"] for entry in bundle["entry"]]


@pytest.mark.peer("node")
def test_every_bundle_and_resource_passes_both_node_validators():
    """@medplum/core for invariants, `fhir` for bindings and reference targets."""
    named = bundles()
    subjects = [(n, b) for n, b in named.items()]
    subjects += [(f"{n}/{r['resourceType']}", r) for n, b in named.items() for r in parts(b)]
    found = judged([resource for _, resource in subjects])
    assert len(subjects) == len(found)
    unexpected = [
        (name, issue)
        for (name, _), issues in zip(subjects, found, strict=True)
        for issue in issues
        if not is_expected(issue)
    ]
    assert [] == unexpected[:10]


@pytest.mark.peer("node")
@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("RiskAssessment", {"prediction": [{"probabilityDecimal": 162}]}),
        ("RiskAssessment", {"status": "wat"}),
        ("RiskAssessment", {"subject": None}),
        ("Observation", {"performer": [{"reference": "Device/1"}]}),
        ("DiagnosticReport", {"result": [{"reference": "RiskAssessment/1"}]}),
        ("DiagnosticReport", {"performer": [{"reference": "Device/1"}]}),
        ("DiagnosticReport", {"unknown": "x"}),
    ],
)
def test_the_gate_catches_a_planted_defect(kind: str, change: Resource):
    """Each rule has something that fails it."""
    bundle = bundles()["preliminary/put"]
    resource = next(r for r in parts(bundle) if r["resourceType"] == kind)
    broken = {k: v for k, v in (resource | change).items() if v is not None}
    [issues] = judged([broken])
    assert [i for i in issues if not is_expected(i)]


@pytest.mark.parametrize("name", sorted(bundles()))
def test_every_bundle_passes_our_own_door(name: str):
    """fhir.resources R4B and the door's rules, as an EHR of our making would check."""
    bundle = bundles()[name]
    try:
        validate(bundle)
        for resource in parts(bundle):
            validate(resource)
    except InvalidResource as error:
        pytest.fail(str([vars(i) if hasattr(i, "__dict__") else i for i in error.issues]))


def test_the_gate_sees_every_type_we_write():
    """A new resource type must enter the gate."""
    seen = {r["resourceType"] for b in bundles().values() for r in parts(b)}
    assert {"Device", "Observation", "RiskAssessment", "DiagnosticReport", "Provenance"} == seen


def test_node_is_not_needed_to_read_the_gate():
    """The scripts lie beside their lock file, which names no registry."""
    lock = (Path(servers.NODE) / "package-lock.json").read_text("utf-8")
    assert '"resolved"' not in lock
    assert result().lineage
