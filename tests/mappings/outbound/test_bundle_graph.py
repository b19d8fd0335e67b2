"""Rules over the whole of what is written that no validator knows (writeback.md 7)."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from assessed import MODEL, VERSIONS, outcome, result

from mappings.outbound.bundle import role_of, transaction
from mappings.outbound.page import page
from mappings.outbound.result import SYNTHETIC_WORDS, Result
from mappings.record import When

Resource = dict[str, Any]
ALL = [pytest.param(v, s, id=f"{n}-{s}") for n, v in VERSIONS.items() for s in ("put", "post")]


def written(version: Result, strategy: str = "put", **known: dict[str, str]) -> Resource:
    """The transaction."""
    parts = {"versions": {}, "ids": {}} | known
    return transaction(version, "Patient/p1", strategy=strategy, **parts)  # type: ignore[arg-type]


def of(bundle: Resource, kind: str) -> list[Resource]:
    """Resources of a type."""
    return [e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == kind]


def references(node: Any) -> Iterator[str]:
    """Every literal reference anywhere."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "reference" and isinstance(value, str):
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for item in node:
            yield from references(item)


def html(bundle: Resource) -> str:
    """The report's page."""
    [report] = of(bundle, "DiagnosticReport")
    return base64.b64decode(report["presentedForm"][0]["data"]).decode()


@pytest.mark.parametrize(("version", "strategy"), ALL)
def test_every_reference_resolves(version: Result, strategy: str):
    """To an entry of the Bundle, the patient, or an input the EHR gave."""
    bundle = written(version, strategy)
    urls = {e["fullUrl"] for e in bundle["entry"]}
    targets = {e["request"]["url"] for e in bundle["entry"] if e["request"]["method"] == "PUT"}
    known = {"Patient/p1", "Observation/1/_history/3"}
    assert set() == set(references(bundle)) - urls - targets - known


@pytest.mark.parametrize(("version", "strategy"), ALL)
def test_references_point_at_the_right_types(version: Result, strategy: str):
    """Risk by its extension, results to Observations, device to the Device, targets to all."""
    bundle = written(version, strategy)
    kind_of = {}
    for entry in bundle["entry"]:
        kind_of[entry["fullUrl"]] = entry["resource"]["resourceType"]
        kind_of[entry["request"]["url"]] = entry["resource"]["resourceType"]
    [report] = of(bundle, "DiagnosticReport")
    [provenance] = of(bundle, "Provenance")
    [risk] = of(bundle, "RiskAssessment")
    assert ["Observation"] * 2 == [kind_of[r["reference"]] for r in report["result"]]
    assert "RiskAssessment" == kind_of[report["extension"][0]["valueReference"]["reference"]]
    assert "Device" == kind_of[risk["performer"]["reference"]]
    targets = sorted(kind_of[t["reference"]] for t in provenance["target"])
    assert ["DiagnosticReport", "Observation", "Observation", "RiskAssessment"] == targets


@pytest.mark.parametrize(("version", "strategy"), ALL)
def test_the_number_is_the_same_everywhere(version: Result, strategy: str):
    """RiskAssessment in per cent, Observation with UCUM %, and the page."""
    bundle = written(version, strategy)
    [risk] = of(bundle, "RiskAssessment")
    by_text = {p["outcome"]["text"]: p["probabilityDecimal"] for p in risk["prediction"]}
    for made, observation in zip(version.outcomes, of(bundle, "Observation"), strict=True):
        quantity = observation["valueQuantity"]
        assert ("%", "http://unitsofmeasure.org") == (quantity["code"], quantity["system"])
        assert by_text[made.text] == quantity["value"] == round(made.probability * 100, 2)
        if version.status != "entered-in-error":
            assert f"{quantity['value']:.1f} %" in html(bundle)
            assert f"{made.probability * 100:.1f} %" in html(bundle)


def test_the_withdrawal_shows_no_number():
    """What must not be used is not repeated for people."""
    bundle = written(VERSIONS["entered-in-error"])
    [report] = of(bundle, "DiagnosticReport")
    assert "52.0 %" not in html(bundle) + report["conclusion"] + report["text"]["div"]
    assert report["conclusion"].startswith("Withdrawn: ")


@pytest.mark.parametrize("split", [0.31437, 0.5, 1 / 3, 0.99999, 0.000049])
def test_exclusive_classes_sum_to_one_hundred(split: float):
    """Rounding included."""
    version = result(outcomes=(outcome("malignant", split), outcome("benign", 1 - split)))
    [risk] = of(written(version), "RiskAssessment")
    total = sum(p["probabilityDecimal"] for p in risk["prediction"])
    assert total == pytest.approx(100, abs=0.1)


def test_the_fraction_scale_is_a_sites_choice():
    """Then and only then is the decimal a fraction; the twin stays per cent."""
    bundle = written(result(scale="fraction"))
    [risk] = of(bundle, "RiskAssessment")
    assert 0.3144 == risk["prediction"][0]["probabilityDecimal"]
    assert 31.44 == of(bundle, "Observation")[0]["valueQuantity"]["value"]


@pytest.mark.parametrize(("version", "strategy"), ALL)
def test_identifiers_are_there_and_unique(version: Result, strategy: str):
    """Instance key with the role on everything of a result, no two alike."""
    bundle = written(version, strategy)
    seen = []
    for entry in bundle["entry"]:
        resource = entry["resource"]
        if resource["resourceType"] in ("Device", "Provenance"):
            continue
        [key] = [i for i in resource["identifier"] if i["system"].endswith("/ai-result")]
        assert key["value"].startswith(f"{version.instance_key}#")
        seen += [(i["system"], i["value"]) for i in resource["identifier"]]
    assert len(set(seen)) == len(seen)
    assert len({e["fullUrl"] for e in bundle["entry"]}) == len(bundle["entry"])


@pytest.mark.parametrize(("version", "strategy"), ALL)
def test_everything_of_a_result_is_labelled_as_ai(version: Result, strategy: str):
    """AIAST on each; HTEST and the words while the model knows synthetic data only."""
    bundle = written(version, strategy)
    for entry in bundle["entry"]:
        resource = entry["resource"]
        codes = [c["code"] for c in resource.get("meta", {}).get("security", [])]
        if resource["resourceType"] != "Device":
            assert "AIAST" in codes, resource["resourceType"]
        if resource["resourceType"] in ("RiskAssessment", "DiagnosticReport", "Observation"):
            assert "HTEST" in codes
    [report], [risk] = of(bundle, "DiagnosticReport"), of(bundle, "RiskAssessment")
    assert SYNTHETIC_WORDS in report["conclusion"]
    assert SYNTHETIC_WORDS in html(bundle)
    assert SYNTHETIC_WORDS in [n["text"] for n in risk["note"]]


def test_a_model_of_real_data_carries_no_test_label():
    """HTEST would hide a real result."""
    bundle = written(result(model=replace(MODEL, synthetic=False)))
    assert "HTEST" not in json.dumps(bundle)
    assert SYNTHETIC_WORDS not in json.dumps(bundle)


@pytest.mark.parametrize(("version", "strategy"), ALL)
def test_the_status_is_the_same_across_the_set(version: Result, strategy: str):
    """No report says preliminary over a corrected number."""
    bundle = written(version, strategy)
    kinds = ("RiskAssessment", "DiagnosticReport", "Observation")
    assert {version.status} == {r["status"] for kind in kinds for r in of(bundle, kind)}


@pytest.mark.parametrize(("version", "strategy"), ALL)
def test_the_page_is_static_and_of_one_file(version: Result, strategy: str):
    """No script, nothing loaded from elsewhere; size and hash are of the raw bytes."""
    bundle = written(version, strategy)
    [report] = of(bundle, "DiagnosticReport")
    [form] = report["presentedForm"]
    raw = base64.b64decode(form["data"])
    assert (len(raw), "text/html") == (form["size"], form["contentType"])
    assert (
        base64.b64encode(hashlib.sha1(raw, usedforsecurity=False).digest()).decode() == form["hash"]
    )
    text = raw.decode()
    assert not re.search(
        r"<script|<iframe|<link|<img|<object|javascript:|\son\w+=", text, re.IGNORECASE
    )
    assert not re.search(r"""(src|href|action|data)\s*=|url\(|@import""", text, re.IGNORECASE)
    assert "Content-Security-Policy" in text


def test_the_page_of_a_model_without_parts_has_no_table_of_them():
    """An empty one looks like a failure; every row of the classes names its horizon."""
    later = When(datetime(2028, 3, 1), "day")
    alone = replace(
        result(), contributions={},
        outcomes=(
            outcome("recurrence-730", 0.3, text="Recurrence within 2 years", end=later),
            outcome("free-730", 0.7, text="Event-free at 2 years", end=later),
        ),
    )  # fmt: skip
    text = page(alone)
    assert "Contributions" in page(result())
    assert "Contributions" not in text
    assert "interval" not in text
    for row in ("Recurrence within 2 years</td><td>30.0 %", "Event-free at 2 years</td><td>70.0 %"):
        assert row in text


@pytest.mark.parametrize(("version", "strategy"), ALL)
def test_the_bytes_are_the_same_for_every_attempt(version: Result, strategy: str):
    """Ids and urls are derived, never drawn."""
    one, two = (json.dumps(written(version, strategy)) for _ in range(2))
    assert one == two


def test_a_correction_keeps_the_ids_of_what_it_corrects():
    """Same resources in the EHR, new versions of them; the Provenance is another one."""
    first, second = written(VERSIONS["preliminary"]), written(VERSIONS["corrected"])
    for kind in ("RiskAssessment", "DiagnosticReport", "Observation"):
        assert [r["id"] for r in of(first, kind)] == [r["id"] for r in of(second, kind)]
    assert of(first, "Provenance")[0]["id"] != of(second, "Provenance")[0]["id"]
    assert of(first, "Device") == of(second, "Device")


def test_a_correction_says_what_changed():
    """Was, now, because."""
    [report] = of(written(VERSIONS["corrected"]), "DiagnosticReport")
    assert "was 31.4 %, now 52.0 %, because AFP was corrected at its source" in report["conclusion"]
    assert (
        "AFP was corrected at its source"
        == (report["extension"][1]["valueCodeableConcept"]["text"])
    )


def test_an_update_is_guarded_by_the_version_we_wrote():
    """If-Match for each resource of the lineage that the EHR has."""
    ids = {role: f"id-{role}" for role in ("obs-malignant", "obs-benign", "ra", "dr")}
    bundle = written(
        VERSIONS["corrected"], "post", ids=ids, versions=dict.fromkeys(ids, "7")
    )  # fmt: skip
    guarded = {
        role_of(e["resource"]): e["request"] for e in bundle["entry"] if e["request"].get("ifMatch")
    }
    assert set(ids) == set(guarded)
    for role, request in guarded.items():
        assert ("PUT", 'W/"7"') == (request["method"], request["ifMatch"])
        assert request["url"].endswith(f"/id-{role}")


def test_a_post_is_guarded_by_the_key():
    """IfNoneExist on all that have an identifier; our ids are not forced on the server."""
    for entry in written(result(), "post")["entry"]:
        assert "POST" == entry["request"]["method"]
        assert "id" not in entry["resource"]
        if entry["resource"]["resourceType"] != "Provenance":
            assert entry["request"]["ifNoneExist"].startswith("identifier=https://oncord.example")


EVIL = "<script>alert(1)</script>\"'&<img src=x onerror=y>"


def test_strings_of_the_record_cannot_become_markup():
    """Labels, values, warnings and names are escaped in page and narrative (A11)."""
    item = replace(result().inputs[0], label=EVIL, text=EVIL)
    version = result(
        inputs=(item,), warnings=(EVIL,), missing=(EVIL,), organization=EVIL, title=EVIL,
        contributions={EVIL: 1.0}, outcomes=(outcome("malignant", 0.3, text=EVIL),),
        model=replace(MODEL, name=EVIL, intended_use=EVIL, id=EVIL, study=EVIL),
    )  # fmt: skip
    [report] = of(written(version), "DiagnosticReport")
    for text in (page(version), report["text"]["div"], html(written(version))):
        assert "<script" not in text
        assert "<img" not in text


def test_a_role_is_read_back_from_its_resource():
    """Also of a withdrawal, whose key has a mark of its own."""
    for version in VERSIONS.values():
        for strategy in ("put", "post"):
            bundle = written(version, strategy)
            roles = [role_of(e["resource"]) for e in bundle["entry"][:-1]]
            assert ["device", "obs-malignant", "obs-benign", "ra", "dr"] == roles
