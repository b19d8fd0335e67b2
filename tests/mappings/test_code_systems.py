"""Codes: identifiers of published systems by their check digits, and what stands for a question."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mappings.codes import (
    LOCAL,
    LOINC,
    QUESTION,
    best_first,
    coding,
    is_loinc,
    is_loinc_answer,
    is_question,
    is_snomed,
    is_standard,
    ranked,
    system_uri,
)
from mappings.codes import SNOMED as SNOMED_CT
from mappings.record import Code
from mappings.site import Site
from mappings.tables import table

# Myocardial infarction, ascites, number of tumour nodules; of the core, US and UK modules.
SNOMED = (
    "22298006", "389026000", "405930005", "900000000000207008", "731000124108", "83821000000107",
)  # fmt: skip


@pytest.mark.parametrize("system", ["SNM", "snm"])
@pytest.mark.parametrize(
    ("code", "uri"),
    [("T57000", "http://terminology.hl7.org/CodeSystem/snm"), ("22298006", SNOMED_CT)],
)
def test_the_nomenclature_by_axes_is_not_snomed_ct(system: str, code: str, uri: str) -> None:
    """Unless what stands there is an identifier of SNOMED CT."""
    assert Code(uri, code, "gallbladder") == coding(system, code, "gallbladder")


@pytest.mark.parametrize("code", SNOMED)
def test_concepts_of_snomed_ct_are_known(code: str) -> None:
    """International ones and those of extensions."""
    assert is_snomed(code)
    assert is_question(code)


@pytest.mark.parametrize(
    "code",
    [
        "",
        "22298",
        "22298007",
        "22299006",
        "1834-1",
        "２２２９８００６",
        "754786011",
        "abc",
        "1" * 19,
    ],
)
def test_what_is_no_concept_is_refused(code: str) -> None:
    """Too short, a wrong digit, another system, other digits, a description's identifier."""
    assert not is_snomed(code)


@pytest.mark.parametrize(
    "code", ["LA6576-8", "LA6577-6", "LA9633-4", "LA11883-8", "LA26332-9", "LA14122-8"]
)
def test_answers_of_loinc_are_known(code: str) -> None:
    """Positive, negative, present, not detected and others; no question among them."""
    assert is_loinc_answer(code)
    assert not is_loinc(code)
    assert not is_loinc_answer(code[2:])
    assert not is_loinc_answer(code[:-1] + str((int(code[-1]) + 1) % 10))
    assert not is_loinc_answer(code.partition("-")[0])


@given(st.sampled_from(SNOMED), st.data())
def test_a_mistyped_digit_or_two_exchanged_are_found(code: str, data: st.DataObject) -> None:
    """What a check digit is for."""
    place = data.draw(st.integers(0, len(code) - 1))
    digit = data.draw(st.sampled_from([d for d in "0123456789" if d != code[place]]))
    assert not is_snomed(code[:place] + digit + code[place + 1 :])
    pairs = [n for n in range(len(code) - 1) if code[n] != code[n + 1]]
    n = data.draw(st.sampled_from(pairs))
    assert not is_snomed(code[:n] + code[n + 1] + code[n] + code[n + 2 :])


def test_our_own_questions_are_a_published_system() -> None:
    """A site maps its codes to them as to LOINC; none looks like a code of another system."""
    assert QUESTION == system_uri("ONCORD")
    assert is_standard(QUESTION)
    names = table("questions")
    assert names
    assert all(is_question(name) for name in names)
    assert not any(is_loinc(name) or is_snomed(name) for name in names)
    assert not is_question("microvascular")


@pytest.mark.parametrize("code", ["GLU", "BCUL", "PDF", "IMO0002", "1-2-3"])
def test_a_local_code_that_calls_itself_loinc_comes_before_nobody(code: str) -> None:
    """LN stands beside it, and it is none; the code that the site maps counts."""
    site = Site(code_maps={(f"{LOCAL}L", "K"): Code(LOINC, "2823-3")})
    found = ranked([Code(LOINC, code), Code(f"{LOCAL}L", "K")], site)
    assert ["2823-3", code, "K"] == [coding.code for coding in found]


@pytest.mark.parametrize("code", ["1834-1", "LA4457-3", "LP6464-4", "100000-9"])
def test_codes_of_loinc_come_first(code: str) -> None:
    """Terms, answers and parts alike."""
    found = best_first([Code(SNOMED_CT, "22298006"), Code(LOINC, code)])
    assert code == found[0].code


@pytest.mark.parametrize(
    ("name", "uri"),
    [
        ("HL70162", "http://terminology.hl7.org/CodeSystem/v2-0162"),
        ("hl7-0078", "http://terminology.hl7.org/CodeSystem/v2-0078"),
        ("HL7", "urn:oncord:code:HL7"),
        ("HL79901", "urn:oncord:code:HL79901"),
        ("CPT4", "http://www.ama-assn.org/go/cpt"),
        ("ICD-9-CM", "http://hl7.org/fhir/sid/icd-9-cm"),
        ("CIE-10", "http://hl7.org/fhir/sid/icd-10"),
    ],
)
def test_systems_go_by_many_names(name: str, uri: str) -> None:
    """HL7's tables by their number, others as feeds spell them."""
    assert uri == system_uri(name)
