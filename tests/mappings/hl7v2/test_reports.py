"""Narrative reports: which lines belong together, and which of them are facts of their own."""

from __future__ import annotations

from typing import Any

import pytest
from feeds import PID, obr, obx, reasons

from mappings.record import Coded, Entry, Text

SYNOPTIC = "60568-3^Pathology Synoptic report^LN"


def kinds(found: Any) -> list[str]:
    """What the message became, demographics aside."""
    return [e.kind for e in found.entries if e.kind not in ("patient", "alias")]


def report(found: Any) -> Entry:
    """The one report."""
    (entry,) = (e for e in found.entries if e.kind == "report")
    return entry


def test_coded_answers_of_a_synoptic_report_are_facts_and_lines(read: Any) -> None:
    """Histology as SNOMED CT, and in the text with its question."""
    histology = obx("CWE", "25370001^肝细胞癌^SCT", "", f3="44638-5^组织学类型^LN")
    found = read(
        "ORU^R01",
        PID,
        obr(f4=SYNOPTIC, f24="SP"),
        obx("TX", "灰黄色结节", "", f3="22634-0^肉眼所见^LN"),
        histology,
        f18="UNICODE UTF-8",
    )
    assert ["report", "observation"] == kinds(found)
    assert "灰黄色结节\n组织学类型: 肝细胞癌" == report(found).value.text
    assert isinstance(found.entries[-1].value, Coded)


def test_a_short_answer_to_a_standard_question_is_a_fact(read: Any) -> None:
    """PT as ST under its LOINC code; a line under a local name is prose."""
    stage, prose = (
        obx("ST", "pT2", "", f3="21899-0^pT^LN"),
        obx("ST", "切缘阴性", "", f3="L1^行1^L"),
    )
    found = read("ORU^R01", PID, obr(f4=SYNOPTIC, f24="SP"), stage, prose, f18="UNICODE UTF-8")
    assert [("observation", Text("pT2"))] == [
        (e.kind, e.value) for e in found.entries if e.kind == "observation"
    ]


def test_only_coded_answers_make_no_report(read: Any) -> None:
    """There is no text to read."""
    answers = [
        obx("CWE", "A^a^L", "", f3="44638-5^x^LN"),
        obx("CWE", "B^b^L", "", f3="33732-9^y^LN"),
    ]
    found = read("ORU^R01", PID, obr(f4=SYNOPTIC, f24="SP"), *answers)
    assert ["observation", "observation"] == kinds(found)


def test_what_lines_are_called_is_kept(read: Any) -> None:
    """OBX-3 of a line that is neither the report's name nor a fact."""
    found = read("ORU^R01", PID, obr(f4=SYNOPTIC, f24="SP"), obx("TX", "x", "", f3="Q7^特殊染色^L"))
    assert [{"system": "urn:oncord:code:L", "code": "Q7", "text": "特殊染色"}] == report(
        found
    ).details["questions"]


def test_two_studies_under_one_accession_number_are_two_reports(read: Any) -> None:
    """Chest and abdomen read together: OBR-4 tells them apart."""
    chest, abdomen = "24627-2^CT chest^LN", "30628-9^CT liver^LN"
    found = read(
        "ORU^R01",
        PID,
        obr(f3="A1", f4=chest, f24="CT"),
        obx("TX", "IMPRESSION: nodule", "", f3=chest),
        obr(f3="A1", f4=abdomen, f24="CT"),
        obx("TX", "IMPRESSION: mass", "", f3=abdomen),
    )
    assert ["report/A1/@24627-2", "report/A1/@30628-9"] == [e.key for e in found.entries]


def test_a_correction_of_one_of_two_reports_finds_its_own(read: Any, folded: Any) -> None:
    """It comes alone, under the bare number; code and time join it with the right one."""
    chest, abdomen = "24627-2^CT chest^LN", "30628-9^CT liver^LN"
    line = {c: obx("TX", f"IMPRESSION: {c[:2]}", "", f3=c) for c in (chest, abdomen)}
    both = read(
        "ORU^R01",
        PID,
        obr(f3="A1", f4=chest, f24="CT"),
        line[chest],
        obr(f3="A1", f4=abdomen, f24="CT"),
        line[abdomen],
    )
    fixed = obx("TX", "IMPRESSION: corrected", "", f3=abdomen, f11="C")
    one = read("ORU^R01", PID, obr(f3="A1", f4=abdomen, f24="CT", f22="20261121"), fixed)
    found = {
        e.code.code: e.details["sections"]["impression"]
        for e in folded(both, one).of_kind("report")
    }
    assert {"24627-2": "24", "30628-9": "corrected"} == found


def test_a_report_sent_as_comments_on_its_order_is_a_report(read: Any) -> None:
    """NTE below OBR, no OBX at all."""
    found = read(
        "ORU^R01",
        PID,
        obr(f4="30628-9^CT^LN", f24="RAD"),
        "NTE|1||FINDINGS: a",
        "NTE|2||IMPRESSION: b",
    )
    assert {"findings": "a", "impression": "b"} == report(found).details["sections"]


@pytest.mark.parametrize(
    ("sent", "kind", "status"),
    [("I", "order", "registered"), ("X", "order", "cancelled"), ("F", "order", "final")],
)
def test_an_obr_without_results_tells_of_its_order(
    read: Any, sent: str, kind: str, status: str
) -> None:
    """In process, cancelled, or done with results to come."""
    found = read("ORU^R01", PID, obr(f25=sent))
    assert [(kind, status)] == [(e.kind, e.status) for e in found.entries]


def test_comments_on_an_order_stand_with_each_of_its_results(read: Any) -> None:
    """Sample haemolysed: it concerns them all."""
    found = read(
        "ORU^R01", PID, obr(), "NTE|1||标本溶血", obx(), obx(f3="1975-2^x^LN"), f18="UNICODE UTF-8"
    )
    notes = [e.details["order"]["notes"] for e in found.entries if e.kind == "observation"]
    assert [["标本溶血"], ["标本溶血"]] == notes


def test_a_comment_on_a_diagnosis_is_not_taken_for_an_observation_s(read: Any) -> None:
    """ADT: OBX, DG1 and then a comment."""
    found = read("ADT^A01", PID, obx(), "DG1|1||C22.0^x^I10", "NTE|1||about DG1")
    (entry,) = (e for e in found.entries if e.kind == "observation")
    assert "notes" not in entry.details
    assert "NTE[1]" in {f.path for f in found.findings}


def test_a_comment_on_a_segment_nobody_reads_is_not_taken_for_another_s(read: Any) -> None:
    """NTE belongs to the segment before it."""
    found = read("ORU^R01", PID, obr(), obx(), "ZLB|1|x", "NTE|1||about Z")
    assert "notes" not in found.entries[-1].details
    assert "NTE[1]" in {f.path for f in found.findings}


@pytest.mark.parametrize("kind", ["TX", "FT", "ST"])
def test_short_lines_under_headings_are_a_report(read: Any, kind: str) -> None:
    """Findings and impression, one OBX each, of an order that names no section."""
    lines = (
        obx("TX", "No focal lesion.", "", f3="FINDINGS^Findings^L"),
        obx(kind, "Normal liver.", "", f3="IMPRESSION^Impression^L"),
    )
    found = read("ORU^R01", PID, obr(f24=""), *lines)
    assert ["report"] == kinds(found)
    assert {"findings": "No focal lesion.", "impression": "Normal liver."} == report(found).details[
        "sections"
    ]


@pytest.mark.parametrize("name", ["", "^^L"])
def test_a_line_that_nothing_names_is_the_report_of_its_order(read: Any, name: str) -> None:
    """However short, and beside links and numbers that have names of their own."""
    link = obx("RP", "http://pacs/1", "", f3="URL^image^L")
    found = read("ORU^R01", PID, obr(f24=""), obx("FT", "No change", "", f3=name), link)
    assert ["report", "observation"] == kinds(found)
    assert Text("No change") == report(found).value
    assert "24323-8" == getattr(report(found).code, "code", None)


def test_a_line_is_no_report_where_nothing_names_that(read: Any) -> None:
    """Neither OBX-3 nor OBR-4."""
    found = read("ORU^R01", PID, obr(f4="", f24=""), obx("FT", "No change", "", f3=""))
    assert [] == [kind for kind in kinds(found) if kind == "report"]
    assert 1 == len(reasons(found, "OBX[1]-3"))


def test_two_short_answers_are_no_report(read: Any) -> None:
    """Their questions are no headings."""
    lines = (obx("TX", "yellow", "", f3="COL^Colour^L"), obx("TX", "clear", "", f3="CLA^Clarity^L"))
    assert ["observation", "observation"] == kinds(read("ORU^R01", PID, obr(f24=""), *lines))


@pytest.mark.parametrize("sent", ["D", "W", "X"])
def test_a_line_that_was_withdrawn_is_not_in_the_text(read: Any, sent: str) -> None:
    """The others stand."""
    lines = (obx("TX", text, "", f3="18748-4^CT^LN", f11=status)
             for text, status in (("liver normal", "F"), ("mass in S8", sent), ("ascites", "C")))  # fmt: skip
    found = read("ORU^R01", PID, obr(f24="CT"), *lines)
    assert ("liver normal\nascites", "corrected") == (
        report(found).value.text,
        report(found).status,
    )
    assert 1 == len(reasons(found, "OBX[2]"))
