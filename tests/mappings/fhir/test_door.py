"""What is refused when it is posted to us."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from resources import SUBJECT, bundle, observation, patient

from mappings.errors import InvalidResource
from mappings.fhir.door import outcome, parse, validate
from mappings.tables import rows

DRUG = {"subject": SUBJECT, "medicationCodeableConcept": {"text": "x"}}
MAPPED: dict[str, dict[str, Any]] = {
    "MedicationAdministration": {**DRUG, "status": "completed", "effectiveDateTime": "2026-01-01"},
    "MedicationStatement": {**DRUG, "status": "active"},
    "MedicationRequest": {**DRUG, "status": "active", "intent": "order"},
    "Consent": {
        "status": "active", "scope": {"text": "x"}, "category": [{"text": "x"}], "patient": SUBJECT,
    },
    "Specimen": {"status": "available", "type": {"text": "x"}, "subject": SUBJECT},
    "FamilyMemberHistory": {
        "status": "completed", "patient": SUBJECT, "relationship": {"text": "mother"},
    },
}  # fmt: skip
for _name, _resource in MAPPED.items():
    _resource["resourceType"] = _name


def issues(data: dict[str, Any]) -> dict[str, str]:
    """Expression to code of what is refused."""
    with pytest.raises(InvalidResource) as caught:
        validate(data)
    return {issue.expression: issue.code for issue in caught.value.issues}


@pytest.mark.parametrize(
    "data",
    [
        patient(id="p", gender="male", birthDate="1970"),
        observation(),
        bundle(patient(), observation(subject={"reference": "urn:uuid:0"})),
        {"resourceType": "Basic", "code": {"text": "x"}},
    ],
)
def test_a_valid_resource_passes(data: dict[str, Any]) -> None:
    """Also of types that we do not map."""
    validate(data)


@pytest.mark.parametrize(
    ("damage", "expression", "code"),
    [
        ({"status": "wat"}, "Observation.status", "code-invalid"),
        ({"status": None}, "Observation.status", "value"),
        ({"code": None}, "Observation.code", "required"),
        ({"foo": 1}, "Observation.foo", "structure"),
        ({"effectiveDateTime": "2026-11-20T09:30"}, "Observation.effectiveDateTime", "value"),
        ({"id": "a b"}, "Observation.id", "value"),
        ({"id": "a" * 100}, "Observation.id", "value"),
        ({"subject": {"reference": "Observation/1"}}, "Observation.subject.reference", "value"),
        ({"subject": {}}, "Observation.subject", "required"),
        ({"dataAbsentReason": {"text": "x"}}, "Observation", "invariant"),
        ({"valueString": "x"}, "Observation", "value"),
        (
            {"valueQuantity": {"value": 1, "code": "mg"}},
            "Observation.valueQuantity",
            "invariant",
        ),
        (
            {"text": {"status": "generated", "div": "<div><script>x</script></div>"}},
            "Observation.text.div",
            "invariant",
        ),
        (
            {"valueQuantity": {"value": 1, "comparator": "~"}},
            "Observation.valueQuantity.comparator",
            "code-invalid",
        ),
    ],
)
def test_a_bad_element_is_named(damage: dict[str, Any], expression: str, code: str) -> None:
    """Where and what kind, as OperationOutcome wants it."""
    assert code == issues(observation(**damage)).get(expression)


@pytest.mark.parametrize(
    ("name", "fields", "expression", "code"),
    [
        ("MedicationAdministration", {"status": "given"}, "status", "code-invalid"),
        ("MedicationAdministration", {"subject": None}, "subject", "required"),
        (
            "MedicationAdministration",
            {"request": {"reference": "Task/1"}},
            "request.reference",
            "value",
        ),
        ("MedicationStatement", {"status": "taken"}, "status", "code-invalid"),
        ("MedicationRequest", {"intent": "wish"}, "intent", "code-invalid"),
        ("Consent", {"status": "final"}, "status", "code-invalid"),
        ("Consent", {"provision": {"type": "maybe"}}, "provision.type", "code-invalid"),
        ("Consent", {"performer": [{"reference": "Device/1"}]}, "performer[0].reference", "value"),
        ("Specimen", {"status": "gone"}, "status", "code-invalid"),
        ("Specimen", {"parent": [{"reference": "Patient/1"}]}, "parent[0].reference", "value"),
        ("FamilyMemberHistory", {"status": "active"}, "status", "code-invalid"),
        ("FamilyMemberHistory", {"relationship": None}, "relationship", "required"),
    ],
)
def test_the_door_takes_every_mapped_type_and_names_its_faults(
    name: str, fields: dict[str, Any], expression: str, code: str
) -> None:
    """Drugs, consents, specimens and families: a valid one passes, a bad element is named."""
    validate(MAPPED[name])
    damaged = {k: v for k, v in {**MAPPED[name], **fields}.items() if v is not None}
    assert code == issues(damaged).get(f"{name}.{expression}")


def test_a_gender_outside_the_value_set_is_refused() -> None:
    """fhir.resources lets it pass."""
    assert {"Patient.gender": "code-invalid"} == issues(patient(gender="wat"))


@pytest.mark.parametrize("name", ["Nope", "HumanName", "", None, 3, "../etc"])
def test_an_unknown_type_is_refused_wherever_it_stands(name: Any) -> None:
    """Inside a Bundle fhir.resources raises a bare KeyError."""
    bad = {"resourceType": name}
    assert {"$this": "structure"} == issues(bad)
    assert {"Bundle.entry[1].resource": "structure"} == issues(bundle(patient(), bad))


def test_an_unknown_contained_type_is_refused() -> None:
    """The bare KeyError becomes an issue."""
    assert "structure" in issues(observation(contained=[{"resourceType": "Nope"}])).values()


def test_issues_inside_a_bundle_have_their_place() -> None:
    """The expression leads to the entry."""
    found = issues(bundle(patient(), observation(status="wat")))
    assert {"Bundle.entry[1].resource.status": "code-invalid"} == found


def test_a_transaction_entry_needs_a_request() -> None:
    """bdl-3."""
    data = bundle(patient())
    del data["entry"][0]["request"]
    assert "required" == issues(data)["Bundle.entry[0].request"]


def test_a_full_url_given_twice_is_refused() -> None:
    """A resource may stand once in a transaction."""
    data = bundle(patient(), patient())
    data["entry"][1]["fullUrl"] = "urn:uuid:0"
    assert {"Bundle.entry[1].fullUrl": "duplicate"} == issues(data)


def test_too_many_entries_are_refused_unread() -> None:
    """A million entries cost nothing."""
    data = {"resourceType": "Bundle", "type": "batch", "entry": [{}] * 5001}
    assert {"Bundle.entry": "too-costly"} == issues(data)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'{"a":NaN}', b"\xff", b"[" * 100_000, b'{"a":' * 80 + b"1" + b"}" * 80],
)
def test_a_body_that_is_no_resource_is_refused(body: bytes) -> None:
    """No JSON, no object, or nested without end."""
    with pytest.raises(InvalidResource):
        parse(body)


def test_text_that_no_database_stores_is_replaced() -> None:
    """NUL and lone surrogates are valid JSON and nothing else; pairs stay."""
    body = rb'{"a": ["x\u0000y", "\ud800", "\ud83d\ude00"]}'
    assert {"a": ["x\ufffdy", "\ufffd", "\U0001f600"]} == parse(body)


def test_an_outcome_repeats_no_value() -> None:
    """Neither the bad value nor an unknown element's odd name comes back."""
    canary = "SYN-4711 Doe"
    damage: dict[str, Any] = {
        canary: 1,
        "status": canary,
        "effectiveDateTime": canary,
        "id": canary,
        "subject": {"reference": canary, "display": [canary]},
    }
    with pytest.raises(InvalidResource) as caught:
        validate(observation(**damage))
    assert canary not in json.dumps(outcome(caught.value))
    assert canary not in str(caught.value)


def test_every_binding_names_a_type_and_codes() -> None:
    """The table is whole."""
    assert all(r["path"].count(".") and r["codes"] for r in rows("fhir_bindings"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.sampled_from(["Observation", "Patient", "DiagnosticReport", "Condition", "Bundle"]),
    st.dictionaries(
        st.sampled_from(
            ["id", "status", "code", "subject", "entry", "identifier", "text", "contained", "name"]
        ),
        JSON,
        max_size=4,
    ),
)
@settings(max_examples=60, deadline=None)
def test_no_json_breaks_the_door(name: str, fields: dict[str, Any]) -> None:
    """Whatever is posted is valid or InvalidResource."""
    with suppress(InvalidResource):
        validate({"resourceType": name, **fields})
