"""FHIR resources as entries: values, keys, subjects, and elements that cannot be read."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from resources import (
    FILLER,
    LAB,
    MRN,
    SUBJECT,
    WHO,
    Read,
    bundle,
    concept,
    observation,
    one,
    patient,
)

from mappings import fhir
from mappings.errors import MappingError, NoPatientIdentifier, UnmappedStructure
from mappings.record import (
    Attachment,
    Code,
    Coded,
    Interval,
    Quantity,
    Ratio,
    Series,
    Source,
    Text,
    Value,
    When,
)
from mappings.site import Site
from mappings.tables import table


def test_every_mapped_type_is_found_by_its_file_name() -> None:
    """One resource type is one file."""
    assert {
        "Condition",
        "Consent",
        "DiagnosticReport",
        "Encounter",
        "FamilyMemberHistory",
        "ImagingStudy",
        "MedicationAdministration",
        "MedicationRequest",
        "MedicationStatement",
        "Observation",
        "Patient",
        "Procedure",
        "Specimen",
    } == set(fhir.resource_types())


def test_an_unmapped_type_is_said(read: Read) -> None:
    """Well formed, kept, counted."""
    with pytest.raises(UnmappedStructure):
        read({"resourceType": "Basic"})


def test_a_decimal_keeps_its_text(read: Read) -> None:
    """412.50 has two decimals for a reason."""
    body = json.dumps({**observation(), "valueQuantity": {"value": 0, "code": "ng/mL"}})
    data = json.loads(body.replace(": 0,", ": 412.50,"), parse_float=Decimal)
    assert Quantity(Decimal("412.50"), "ng/mL", "412.50", "ng/mL") == one(read(data)).value


@pytest.mark.parametrize(
    ("element", "sent", "value"),
    [
        ("valueString", "positive", Text("positive")),
        ("valueBoolean", True, Text("true")),
        ("valueInteger", 3, Quantity(Decimal(3), "1", "3")),
        ("valueTime", "09:30:00", Text("09:30:00")),
        ("valueDateTime", "2026-11", When(datetime(2026, 11, 1), "month")),
        ("valuePeriod", {"start": "2026-01-01"}, Interval("2026-01-01", None)),
        (
            "valueCodeableConcept",
            {"coding": [{"system": "http://snomed.info/sct", "code": "10828004"}], "text": "pos"},
            Coded((Code("http://snomed.info/sct", "10828004"),), "pos"),
        ),
        (
            "valueRange",
            {"low": {"value": 1, "code": "mg/dL"}, "high": {"value": 2, "code": "mg/dL"}},
            Interval("1", "2", "mg/dL"),
        ),
        (
            "valueRatio",
            {"numerator": {"value": 1}, "denominator": {"value": 128}},
            Ratio(Decimal(1), Decimal(128), "1:128"),
        ),
        (
            "valueSampledData",
            {"origin": {"value": 0, "unit": "mV"}, "data": "1 2 3"},
            Series((("1", "2", "3"),), "mV"),
        ),
        (
            "valueQuantity",
            {"value": 5, "comparator": "<", "unit": "g/lt"},
            Quantity(Decimal(5), None, "5", "g/lt", "<"),
        ),
    ],
)
def test_every_value_type_has_its_value(read: Read, element: str, sent: Any, value: Value) -> None:
    """value[x] by its type."""
    assert value == one(read(observation(**{"valueQuantity": None, element: sent}))).value


@pytest.mark.parametrize(("sent", "status"), sorted(table("fhir_statuses").items()))
def test_every_status_is_mapped(read: Read, sent: str, status: str) -> None:
    """ObservationStatus and DiagnosticReportStatus."""
    assert status == one(read(observation(status=sent))).status


def test_a_filler_number_makes_the_key_of_the_oru(read: Read) -> None:
    """One fact by two doors has one key."""
    assert f"observation/{LAB}|F1/1834-1/" == one(read(observation(identifier=FILLER))).key


def test_versions_of_a_resource_share_a_key(read: Read) -> None:
    """Also when code and clinical time were corrected."""
    first = observation(id="1")
    second = observation(id="1", effectiveDateTime="2026-11-21", code={"text": "other"})
    assert one(read(first)).key == one(read(second)).key


def test_the_reference_is_version_specific(read: Read) -> None:
    """Else the digest of what was received (site rule 14)."""
    versioned = one(read(observation(id="1", meta={"versionId": "3"}))).details
    plain = one(read(observation(id="1"))).details
    assert "Observation/1/_history/3" == versioned["reference"]
    assert ("Observation/1", 64) == (plain["reference"], len(plain["sha256"]))


def test_components_are_facts_of_their_own(read: Read) -> None:
    """Under their own codes and below the key of the whole."""
    parts = [
        {"code": {"coding": [{"system": "http://loinc.org", "code": c}]}, "valueInteger": n}
        for n, c in enumerate(("8480-6", "8462-4"))
    ]
    found = read(observation(valueQuantity=None, component=parts)).entries
    assert [None, "8480-6", "8462-4"] == [
        e.code.code if e.code and e.value else None for e in found
    ]
    assert 3 == len({e.key for e in found})


@pytest.mark.parametrize(
    ("damage", "path"),
    [
        ({"effectiveDateTime": "yesterday"}, "Observation.effectiveDateTime"),
        ({"valueQuantity": {"value": "5", "unit": "ng/mL"}}, "Observation.valueQuantity"),
        ({"status": "wat"}, "Observation.status"),
        ({"note": ["x"]}, "Observation.note"),
        ({"bodySite": {"text": "x"}}, "Observation.bodySite"),
    ],
)
def test_a_bad_element_is_reported_and_the_rest_stands(
    read: Read, damage: dict[str, Any], path: str
) -> None:
    """What we read is always kept, element by element (site rule 19)."""
    found = read(observation(**damage))
    assert path in [f.path for f in found.findings]
    assert "1834-1" == getattr(one(found).code, "code", None)


def test_a_subject_is_found_inside_the_bundle(read: Read, site: Site) -> None:
    """urn:uuid references resolve to the patient's identifier."""
    whole = bundle(patient(id="p"), observation(subject={"reference": "urn:uuid:0"}))
    resolve = fhir.subjects(whole, site=site).get
    found = [read(p.resource, resolve) for p in fhir.split(whole) if p.resource]
    assert [WHO, WHO] == [c.patient for c in found]


def test_a_subject_by_identifier_needs_no_resolver(read: Read) -> None:
    """Reference.identifier says who, with authority."""
    data = observation(subject={"identifier": {"system": MRN, "value": "SYN-9"}})
    assert "SYN-9" == read(data, None).patient.value


def test_a_contained_patient_is_found(read: Read) -> None:
    """`#p` looks inside the resource."""
    data = observation(subject={"reference": "#p"}, contained=[patient(id="p")])
    assert WHO == read(data, None).patient


@pytest.mark.parametrize(
    "subject",
    [None, {}, {"reference": "Patient/x"}, {"identifier": {"value": "1", "system": "urn:x"}}],
)
def test_an_unknown_subject_names_nobody(read: Read, subject: Any) -> None:
    """Nothing is filed under a guess; another server's Patient/p is another person."""
    with pytest.raises(NoPatientIdentifier):
        read(observation(subject=subject), {"Patient/p": WHO}.get)


def test_a_patient_has_an_entry_per_field(read: Read) -> None:
    """As PID has."""
    data = patient(
        name=[
            {"family": "张", "given": ["伟"], "use": "official"},
            {
                "text": "ZHANG WEI",
                "extension": [
                    {
                        "url": "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation",
                        "valueCode": "ABC",
                    }
                ],
            },
        ],
        gender="male",
        birthDate="1970-01",
        deceasedBoolean=False,
        address=[{"city": "上海", "line": ["中山路1号"]}],
    )
    found = {e.key: e for e in read(data).entries}
    assert Text("张伟") == found["patient/name"].value
    assert "ZHANG WEI" == found["patient/name"].details["alphabetic"]
    assert When(datetime(1970, 1, 1), "month") == found["patient/birth_date"].value
    assert Text("false") == found["patient/deceased"].value
    assert {"patient/sex", "patient/address"} < set(found)


def test_a_patient_of_unknown_authority_names_nobody(read: Read) -> None:
    """A value without an authority means nothing."""
    with pytest.raises(NoPatientIdentifier):
        read(patient(identifier=[{"system": "urn:else", "value": "1"}]))


@pytest.mark.parametrize(
    ("verification", "status"),
    [
        ("confirmed", "final"),
        ("provisional", "preliminary"),
        ("refuted", "cancelled"),
        ("entered-in-error", "entered-in-error"),
    ],
)
def test_a_condition_counts_as_it_was_verified(read: Read, verification: str, status: str) -> None:
    """A refuted cancer is no cancer."""
    data = {
        "resourceType": "Condition",
        "subject": SUBJECT,
        "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "C22.0"}]},
        "verificationStatus": {"coding": [{"code": verification}]},
        "onsetDateTime": "2026",
    }
    found = one(read(data))
    assert (status, "C22.0", "2026") == (
        found.status,
        found.code.code if found.code else "",
        found.effective.isoformat() if found.effective else "",
    )


def test_an_imaging_study_is_keyed_by_its_uid(read: Read) -> None:
    """The same key as the images themselves."""
    data = {
        "resourceType": "ImagingStudy",
        "status": "available",
        "subject": SUBJECT,
        "identifier": [
            {"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"},
            {"type": {"coding": [{"code": "ACSN"}]}, "value": "ACC1"},
        ],
        "numberOfInstances": 200,
        "series": [{"uid": "1.2.3.4", "modality": {"code": "CT"}, "numberOfInstances": 200}],
    }
    found = one(read(data))
    assert ("imaging_study/1.2.3", "ACC1", "CT", 200) == (
        found.key,
        found.details["accession"],
        found.details["modality"],
        found.details["numberOfInstances"],
    )
    assert [{"uid": "1.2.3.4", "modality": "CT", "numberOfInstances": 200}] == found.details[
        "series"
    ]


def test_a_report_has_its_sections(read: Read) -> None:
    """From text/html, with its conclusion as the impression where none is headed."""
    html = "<p>检查所见：肝右叶<b>结节</b></p><p>a &lt; b</p>"
    data = {
        "resourceType": "DiagnosticReport",
        "status": "amended",
        "subject": SUBJECT,
        "code": {"coding": [{"system": "http://loinc.org", "code": "18748-4"}]},
        "identifier": FILLER,
        "conclusion": "HCC",
        "presentedForm": [
            {"contentType": "text/html", "data": base64.b64encode(html.encode()).decode()},
            {"contentType": "application/pdf", "data": base64.b64encode(b"%PDF-1.4").decode()},
        ],
    }
    report, document = read(data).entries
    assert ("amended", f"report/{LAB}|F1") == (report.status, report.key)
    assert {"findings": "肝右叶结节\na < b", "impression": "HCC"} == report.details["sections"]
    assert isinstance(document.value, Attachment)
    assert ("application/pdf", 8) == (document.value.content_type, document.value.size)


def test_a_procedure_and_an_encounter_are_read(read: Read) -> None:
    """A resection and the visit it belongs to."""
    procedure = {
        "resourceType": "Procedure",
        "status": "completed",
        "subject": SUBJECT,
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": "107963000"}]},
        "performedPeriod": {"start": "2026-11-01T08:00:00Z"},
    }
    encounter = {
        "resourceType": "Encounter",
        "status": "finished",
        "subject": SUBJECT,
        "class": {"code": "IMP"},
        "identifier": [{"system": MRN, "value": "V1"}],
    }
    assert ("procedure", "final") == (one(read(procedure)).kind, one(read(procedure)).status)
    assert (f"encounter/{MRN}|V1", "finished") == (
        one(read(encounter)).key,
        one(read(encounter)).details["status"],
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["coding", "code", "value", "text", "reference", "low", "unit", "data"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
ELEMENTS = st.sampled_from(
    [
        "id",
        "meta",
        "status",
        "code",
        "identifier",
        "category",
        "valueQuantity",
        "component",
        "note",
        "referenceRange",
        "interpretation",
        "series",
        "presentedForm",
        "name",
        "address",
        "link",
        "conclusion",
        "performedPeriod",
        "period",
        "class",
        "bodySite",
        "stage",
        "valueRange",
        "text",
        "subject",
        "issued",
        "medicationCodeableConcept",
        "medicationReference",
        "contained",
        "dosage",
        "provision",
        "performer",
        "policy",
        "scope",
        "collection",
        "parent",
        "container",
        "relationship",
        "condition",
        "severity",
        "derivedFrom",
        "onsetAge",
    ]
)


@given(st.sampled_from(sorted(fhir.resource_types())), st.dictionaries(ELEMENTS, JSON, max_size=5))
@settings(max_examples=150, deadline=None)
def test_no_json_breaks_the_reading(name: str, fields: dict[str, Any]) -> None:
    """Whatever a server sends is mapped as far as it goes, or a MappingError."""
    site = Site(default_authority=MRN)
    source = Source("ehr", 1, datetime(2026, 1, 1, tzinfo=UTC))
    try:
        fhir.entries({**fields, "resourceType": name}, site=site, source=source, patient=WHO)
    except MappingError:
        return


def test_the_digest_does_not_depend_on_order() -> None:
    """Canonical JSON: sorted names, decimals as written."""
    first = {"a": Decimal("1.00"), "b": [1]}
    assert fhir.digest(first) == fhir.digest({"b": [1], "a": Decimal("1.00")})
    assert fhir.digest(first) != fhir.digest({"a": Decimal("1.0"), "b": [1]})


def test_the_same_lab_by_two_doors_is_one_fact(site: Site, source: Source) -> None:
    """Site rule 10, in each order of arrival, with and without the filler number."""
    from itertools import permutations

    from mappings import hl7v2
    from mappings.record import PatientRecord

    files = Path(__file__).parents[1] / "hl7v2" / "files"
    raw = (files / "oru_r01_labs.hl7").read_bytes()
    lab = [
        e
        for e in hl7v2.entries(raw, site=site, source=source).entries
        if e.key.endswith("F1/1834-1/")
    ]
    who = lab[0].patient
    for identifier in (None, FILLER):
        copy = observation(id="7", identifier=identifier, issued="2026-11-20T10:05:00+08:00")
        better = observation(
            id="7",
            identifier=identifier,
            status="corrected",
            issued="2026-11-20T13:00:00+08:00",
            valueQuantity={"value": Decimal("41.25"), "code": "ng/mL"},
        )
        copies = [
            fhir.entries(r, site=site, source=source, patient=who).entries[0]
            for r in (copy, better)
        ]
        for order in permutations([*lab, *copies]):
            record = PatientRecord.of(
                order, as_of=datetime.max.replace(tzinfo=source.received_at.tzinfo)
            )
            assert ["41.25"] == [getattr(e.value, "text", "") for e in record.coded("1834-1")]


@pytest.mark.parametrize("damage", [{"type": "document"}, {"resourceType": "Patient"}])
def test_only_bundles_of_resources_are_split(damage: dict[str, Any]) -> None:
    """A document is one thing, not a list."""
    with pytest.raises(UnmappedStructure):
        fhir.split({**bundle(patient()), **damage})


def test_an_entry_without_a_resource_keeps_its_request() -> None:
    """DELETE has a url and nothing else."""
    whole = {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [{"request": {"method": "DELETE", "url": "Observation/1"}}, 7],
    }
    (part,) = fhir.split(whole)
    assert (None, "DELETE", "Observation/1") == (part.resource, part.method, part.url)


def test_a_patient_put_by_url_is_known_by_it(site: Site) -> None:
    """PUT Patient/7 without an id inside names Patient/7."""
    whole = bundle(patient())
    whole["entry"][0]["request"] = {"method": "PUT", "url": "Patient/7"}
    assert WHO == fhir.subjects(whole, site=site)["Patient/7"]


def test_an_observation_with_words_and_no_code_is_kept(read: Read) -> None:
    """The words are its local code, and it is reported."""
    found = read(observation(code={"text": "AFP"}))
    assert ("AFP", ["Observation.code"]) == (
        one(found).code.code if one(found).code else "",  # type: ignore[union-attr]
        [f.path for f in found.findings],
    )


def test_a_missing_value_says_why(read: Read) -> None:
    """dataAbsentReason, and the limits and flags that were sent."""
    data = observation(
        valueQuantity=None,
        dataAbsentReason={"coding": [{"code": "error"}]},
        interpretation=[{"coding": [{"code": "H"}]}],
        referenceRange=[{"low": {"value": 0}, "high": {"value": Decimal("7.0")}, "text": "0-7"}],
    )
    details = one(read(data)).details
    assert "error" == details["absent"]
    assert (["H"], {"text": "0-7", "low": "0", "high": "7.0"}) == (
        details["flags"],
        details["range"],
    )


def test_a_condition_tells_how_severe_it_is_and_when_it_was_over(read: Read) -> None:
    """Severity, course, onset as an age and the end of a period."""
    data = {
        "resourceType": "Condition",
        "subject": SUBJECT,
        "code": concept("F03", "http://hl7.org/fhir/sid/icd-10"),
        "severity": concept("24484000"),
        "clinicalStatus": concept("resolved"),
        "verificationStatus": concept("confirmed"),
        "onsetAge": {"value": 61, "unit": "a"},
        "abatementPeriod": {"start": "2025-01", "end": "2025-03"},
        "recordedDate": "2025-04-01",
    }
    found = read(data)
    assert () == found.findings
    assert {
        "severity": ["24484000"],
        "clinical": "resolved",
        "verification": "confirmed",
        "onset": "61 a",
        "abated": "2025-03",
        "recorded": "2025-04-01",
    }.items() <= one(found).details.items()


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"abatementDateTime": "2025-03-01"}, "2025-03-01"),
        ({"abatementAge": {"value": 62, "unit": "a"}}, "62 a"),
        ({"abatementString": "spring"}, "spring"),
        ({"abatementPeriod": {"start": "2025-01"}}, "2025-01"),
        ({}, ""),
    ],
)
def test_the_end_of_a_condition_is_told_in_four_ways(
    read: Read, sent: dict[str, Any], expected: str
) -> None:
    """abatement[x]."""
    data = {"resourceType": "Condition", "subject": SUBJECT, "code": concept("B18.1"), **sent}
    assert expected == one(read(data)).details.get("abated", "")


def test_a_procedure_tells_where_how_and_with_what_outcome(read: Read) -> None:
    """Codes where there are, else the words: a margin may be told as text."""
    data = {
        "resourceType": "Procedure",
        "status": "completed",
        "subject": SUBJECT,
        "code": concept("107963000"),
        "performedPeriod": {"start": "2026-11-01T08:00:00Z", "end": "2026-11-01T12:00:00Z"},
        "bodySite": [concept("10200004"), {"text": "肝Ⅵ段"}],
        "outcome": {"text": "R0"},
        "complication": [concept("131148009")],
        "reasonCode": [concept("C22.0", "http://hl7.org/fhir/sid/icd-10")],
        "category": concept("387713003"),
    }
    found = read(data)
    assert () == found.findings
    assert {
        "body_site": ["10200004", "肝Ⅵ段"],
        "outcome": ["R0"],
        "complication": ["131148009"],
        "reason": ["C22.0"],
        "category": ["387713003"],
        "ended": "2026-11-01T12:00:00Z",
    }.items() <= one(found).details.items()


def test_each_variant_is_a_fact_whatever_names_it(read: Read) -> None:
    """Neither id, nor filler number, nor time makes one variant of two; nor of two genes one."""
    from mappings.record import PatientRecord

    def variant(gene: str, **fields: Any) -> list[Any]:
        components = [
            {"code": concept("48018-6", "http://loinc.org"), "valueCodeableConcept": {"text": name}}
            for name in (gene, "TERT")
        ]
        made = observation(
            code=concept("69548-6", "http://loinc.org"),
            valueQuantity=None,
            component=components,
            **fields,
        )
        return list(read(made).entries)

    for names in ({}, {"id": "1"}):
        other = dict.fromkeys(names, "2")
        both = [*variant("TP53", **names), *variant("KRAS", **other)]
        record = PatientRecord.of(both, as_of=datetime(2027, 1, 1, tzinfo=UTC))
        genes = sorted(getattr(e.value, "text", "") for e in record.coded("48018-6"))
        assert ["KRAS", "TERT", "TERT", "TP53"] == genes
        assert 2 == len(record.coded("69548-6"))


def test_what_an_observation_was_derived_from_is_kept(read: Read) -> None:
    """A significance names the variant it is about."""
    found = read(observation(derivedFrom=[{"reference": "Observation/v1"}]))
    assert (["Observation/v1"], ()) == (one(found).details["derived_from"], found.findings)
