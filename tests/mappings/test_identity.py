"""Identifiers with their authority, whatever standard names it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mappings import codes, identity
from mappings.record import Code, Identifier
from mappings.sections import sections
from mappings.site import Site

MRN = "https://hospital.example/ns/mrn"
WHO = Identifier("1", MRN)


@pytest.mark.parametrize("system", [MRN, "urn:oid:1.2.3.4", "", "HOSP"])
def test_one_person_by_fhir_and_dicom_whatever_the_authority_is_called(
    system: str, site: Site
) -> None:
    """Namespace, OID, URI and nothing at all are one authority here."""
    assert WHO == identity.of_fhir({"system": system, "value": " 1 "}, site)
    assert WHO == identity.of_dicom("1 ", system, "", site)


def test_the_universal_entity_serves_where_the_issuer_is_blank(site: Site) -> None:
    """(0010,0024) with an OID."""
    assert WHO == identity.of_dicom("1", "", "urn:oid:1.2.3.4", site)


@pytest.mark.parametrize("system", ["urn:oid:9.9", "ELSEWHERE"])
def test_an_unknown_authority_is_not_the_default_one(system: str, site: Site) -> None:
    """The default is for identifiers sent without any."""
    assert identity.of_fhir({"system": system, "value": "1"}, site) is None
    assert identity.of_dicom("1", system, "", site) is None


def test_without_a_default_a_bare_number_names_nobody() -> None:
    """Site rule 6: the item is parked."""
    assert identity.of_dicom("1", "", "", Site()) is None


@pytest.mark.parametrize("kind", ["SS", "DL", "VN", "AN", "SR", "LR", "NNCHN", "NNNLD", "PHC"])
def test_a_number_of_another_kind_never_falls_under_the_default(kind: str, site: Site) -> None:
    """A visit number is no medical record number."""
    sent = {"value": "1", "type": {"coding": [{"code": kind}]}}
    assert identity.of_fhir(sent, site) is None


@pytest.mark.parametrize("kind", ["MR", "PI", "PT", "MRN", "U", ""])
def test_a_medical_record_number_falls_under_the_default(kind: str, site: Site) -> None:
    """And so does what is sent without a type."""
    assert identity.authority(site, (), kind) == MRN


def test_registers_of_the_senders_own_are_counted_apart(site: Site) -> None:
    """An outpatient's number may be an inpatient's of somebody else."""
    found = {identity.authority(site, (), kind) for kind in ("PatientNO", "Outpatient", "住院号")}
    assert 3 == len(found - {MRN, None})
    assert f"{MRN}#PatientNO" in found
    assert identity.authority(site, (), "x" * 41) is None
    assert identity.authority(Site(), (), "PatientNO") is None


@pytest.mark.parametrize("kind", ["PatientNO", "NNCHN"])
def test_the_site_says_whose_a_type_of_number_is(kind: str, site: Site) -> None:
    """Only where the number came without an authority."""
    told = replace(site, identifier_types={kind: "urn:here"})
    assert ("urn:here", MRN) == tuple(identity.authority(told, n, kind) for n in ((), ("HOSP",)))
    sent = {"value": "1", "type": {"coding": [{"code": kind}]}}
    assert Identifier("1", "urn:here") == identity.of_fhir(sent, told)


def test_a_medical_record_number_is_preferred() -> None:
    """Then the order of the message."""
    first, second = Identifier("1", "a", "PI"), Identifier("2", "a", "MR")
    assert second == identity.choose([first, second])
    assert identity.choose([]) is None


def test_persons_are_equal_by_value_and_authority_only() -> None:
    """The type of an identifier does not make another person."""
    assert Identifier("1", MRN, "MR") == Identifier("1", MRN, "PI")
    assert Identifier("1", MRN) != Identifier("1", "urn:else")


@pytest.mark.parametrize(
    ("name", "uri"),
    [
        ("LN", "http://loinc.org"),
        ("loinc", "http://loinc.org"),
        ("http://loinc.org/", "http://loinc.org"),
        ("I10", "http://hl7.org/fhir/sid/icd-10"),
        ("", "urn:oncord:code:L"),
        ("99 LAB", "urn:oncord:code:99%20LAB"),
        ("urn:oid:1.2", "urn:oid:1.2"),
    ],
)
def test_a_code_system_has_one_uri(name: str, uri: str) -> None:
    """By its table 0396 name, its URI, or as a local one."""
    assert uri == codes.system_uri(name)


def test_a_mapped_local_code_stands_first(site: Site) -> None:
    """And the local one stays as an alternate."""
    local = Code(codes.system_uri("L"), "AFP", "afp")
    assert (Code("http://loinc.org", "1834-1", "afp"), local) == codes.ranked([local], site)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("FINDINGS: a\nIMPRESSION: b", {"findings": "a", "impression": "b"}),
        ("Findings\na\n\nImpression\nb", {"findings": "a", "impression": "b"}),
        ("检查所见：a。诊断意见：b", {"findings": "a。", "impression": "b"}),
        ("【影像所见】a\n【印象】b", {"findings": "a", "impression": "b"}),
        ("the impression is unchanged", {}),
        ("", {}),
        ("IMPRESSION: a\nIMPRESSION: b", {"impression": "a\nb"}),
        ("IMPRESSION:", {}),
    ],
)
def test_headings_make_sections(text: str, found: dict[str, str]) -> None:
    """English and Chinese; running text is no heading."""
    assert found == sections(text)
