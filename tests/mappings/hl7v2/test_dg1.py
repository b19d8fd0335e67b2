"""Diagnoses: one per code, sets that replace each other, action codes row by row."""

from __future__ import annotations

from typing import Any

import pytest
from feeds import PID, segment

from mappings.record import Code

PV1 = segment("PV1", f1="1", f2="I", f19="V1^^^HOSP^VN")
HCC, HBV, CYST = "C22.000^肝细胞癌^I10", "B18.101^慢性乙型病毒性肝炎^I10", "K76.806^肝囊肿^I10"


def dg1(code: str, **fields: str) -> str:
    """A final diagnosis."""
    return segment("DG1", f1="1", **{"f3": code, "f6": "F", **fields})


@pytest.fixture(name="told")
def told_(read: Any) -> Any:
    """An admission message of a day with these segments."""

    def told(day: str, *segments: str, event: str = "A08", pv1: str = PV1, **header: str) -> Any:
        evn = f"EVN||{day}080000+0800"
        return read(f"ADT^{event}", evn, PID, pv1, *segments, f18="UNICODE UTF-8", **header)

    return told


def codes(record: Any) -> list[str]:
    """The diagnoses that stand."""
    return sorted(e.code.code for e in record.of_kind("condition") if e.code)


def test_without_action_codes_the_later_set_replaces_the_earlier(told: Any, folded: Any) -> None:
    """A snapshot tells all diagnoses of the visit (v2.5.1 2.10.4), in either order of arrival."""
    first, second = told("20261118", dg1(CYST), dg1(HBV)), told("20261120", dg1(HBV), dg1(HCC))
    assert ["B18.101", "C22.000"] == codes(folded(first, second))
    assert ["B18.101", "C22.000"] == codes(folded(second, first))


def test_a_message_without_dg1_leaves_the_set_alone(told: Any, folded: Any) -> None:
    """A segment that was not sent says nothing."""
    assert ["C22.000"] == codes(folded(told("20261118", dg1(HCC)), told("20261119")))


def test_two_quotes_empty_the_set(told: Any, folded: Any) -> None:
    """`""` in DG1-3: there are no diagnoses any more."""
    found = folded(told("20261118", dg1(HCC)), told("20261119", dg1('""', f6="")))
    assert [] == codes(found)


def test_sets_of_other_visits_and_other_senders_stand(told: Any, folded: Any) -> None:
    """A broken arm takes no cancer away."""
    arm = "S52.500^桡骨远端骨折^I10"
    other = segment("PV1", f1="1", f2="E", f19="V2^^^HOSP^VN")
    here = told("20261118", dg1(HCC))
    found = folded(
        here, told("20261119", dg1(arm), pv1=other), told("20261120", dg1(HBV), f3="EMR")
    )
    assert ["B18.101", "C22.000", "S52.500"] == codes(found)


def test_a_visit_without_number_has_no_set(told: Any, folded: Any) -> None:
    """What cannot be told apart is added, never taken away."""
    nowhere = segment("PV1", f1="1", f2="I")
    found = folded(told("20261118", dg1(HCC), pv1=nowhere), told("20261119", dg1(HBV), pv1=nowhere))
    assert ["B18.101", "C22.000"] == codes(found)


def test_action_codes_apply_row_by_row(told: Any, folded: Any) -> None:
    """D deletes this one, A and U state it, X changes nothing."""
    first = told("20261118", dg1(HCC, f21="A"), dg1(CYST, f21="A"))
    second = told("20261119", dg1(CYST, f21="D"), dg1(HBV, f21="U"), dg1(HCC, f21="X"))
    assert ["B18.101", "C22.000"] == codes(folded(first, second))
    assert ["DG1[3]"] == [f.path for f in second.findings if "nothing changed" in f.reason]


@pytest.mark.parametrize(
    ("kind", "status"), [("A", "preliminary"), ("W", "preliminary"), ("F", "final")]
)
def test_admitting_and_working_diagnoses_are_hypotheses(told: Any, kind: str, status: str) -> None:
    """Table 0052."""
    found = told("20261118", dg1(HCC, f6=kind))
    assert [status] == [e.status for e in found.entries if e.kind == "condition"]


def test_one_code_told_twice_is_one_diagnosis_and_the_final_one_counts(told: Any) -> None:
    """Admitting and final diagnosis are often the same."""
    found = told("20261118", dg1(HCC, f6="F"), dg1(HCC, f6="A"))
    assert [("C22.000", "final")] == [
        (e.code.code, e.status) for e in found.entries if e.kind == "condition"
    ]


def test_the_coding_system_may_stand_in_dg1_2(told: Any) -> None:
    """Versions before 2.3, and many Chinese feeds: DG1-2 system, DG1-3 bare code, DG1-4 words."""
    found = told("20261118", segment("DG1", f1="1", f2="I10", f3="C22.000", f4="肝细胞癌", f6="F"))
    (condition,) = (e for e in found.entries if e.kind == "condition")
    assert Code("http://hl7.org/fhir/sid/icd-10", "C22.000", "肝细胞癌") == condition.code


def test_a_diagnosis_without_a_name_is_reported(told: Any) -> None:
    """And every field of it with the segment."""
    found = told("20261118", dg1("", f5="20261118"))
    assert [("DG1[1]", "error")] == [
        (f.path, f.severity) for f in found.findings if "diagnosis without" in f.reason
    ]


def test_an_operation_is_a_procedure(told: Any) -> None:
    """PR1, known by its code and time where it has no number."""
    pr1 = segment("PR1", f1="1", f3="50.2201^肝部分切除术^I9C", f5="20261120093000+0800")
    (found,) = (e for e in told("20261121", pr1).entries if e.kind == "procedure")
    assert "procedure/50.2201/@2026-11-20T01:30Z" == found.key
