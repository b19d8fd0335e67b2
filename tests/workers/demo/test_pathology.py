"""Synoptic pathology: coded answers that a pack can read, and the text a clinician reads."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import wires
from whole_line import Line

from mappings.codes import is_loinc
from mappings.conversion import Conversion
from mappings.record import Coded, Quantity
from workers.demo import pathology
from workers.demo.pathology import Synoptic
from workers.demo.subject import CannotSend, Language

BREAST = Synoptic(
    organ="breast", histology="8500/3", pt="pT2", pn="pN1a", grade="G2", sizes_mm=(32,),
    nodes_positive=2, nodes_examined=14, lymphovascular=True, margin="R0", er_percent=90,
    pr_percent=0, her2="2+", ki67_percent=30,
)  # fmt: skip
LIVER = Synoptic(
    organ="liver", histology="8170/3", pt="pT2", grade="Edmondson II", sizes_mm=(41, 12, 6),
    mvi="M1", margin="R0",
)  # fmt: skip
COLON = Synoptic(
    organ="colon", histology="8140/3", pt="pT3", pn="pN0", stage="IIA", grade="G2",
    nodes_positive=0, nodes_examined=18, lymphovascular=False, perineural=True, margin="R0",
)  # fmt: skip


def sent(form: Synoptic, language: Language = "zh") -> bytes:
    """The message, four days after the operation."""
    who = wires.somebody(language)
    return pathology.oru_pathology(
        who, form, "P1", wires.NOW, collected=who.t0, issued=who.t0 + timedelta(days=4)
    )


def answers(found: Conversion) -> dict[str, list[str]]:
    """LOINC code to what was answered: code, or number with unit."""
    said: dict[str, list[str]] = {}
    for entry in found.entries:
        if entry.kind == "observation":
            assert entry.code is not None
            match entry.value:
                case Coded(codes):
                    told = codes[0].code
                case Quantity(unit=unit, text=text):
                    told = f"{text} {unit}"
                case other:
                    raise AssertionError(other)
            said.setdefault(entry.code.code, []).append(told)
    return said


def unmapped(found: Conversion) -> list[str]:
    """Questions whose answers are in the form's own codes: all that is reported."""
    assert {"answer in a local code that no map knows"} == {f.reason for f in found.findings}
    asked = {e.path: e.code.code for e in found.entries if e.code}
    return sorted(asked[finding.path] for finding in found.findings)


@pytest.mark.parametrize("language", ["zh", "en"])
def test_answers_of_a_breast_resection(language: Language):
    """Stage, grade, nodes, invasion, margin and receptors under their LOINC codes, in UCUM."""
    found = wires.of_hl7(sent(BREAST, language))
    assert ["33732-9", "85319-2"] == unmapped(found)  # the form's own words for grade and HER2
    assert {
        "59847-4": ["8500/3"],
        "33732-9": ["G2"],
        "21899-0": ["pT2"],
        "21900-6": ["pN1a"],
        "84892-9": ["R0"],
        "85319-2": ["2+"],
        "59544-7": ["LA9633-4"],
        "85337-4": ["LA6576-8"],
        "85329-1": ["90 %"],
        "85339-0": ["LA6577-6"],
        "85325-9": ["0 %"],
        "85330-9": ["30 %"],
        "21893-3": ["2 {#}"],
        "21894-1": ["14 {#}"],
        "21889-1": ["32 mm"],
    } == answers(found)


def test_answers_of_a_liver_resection():
    """Microvascular invasion under LOINC with the form's own code beside; a size for each nodule."""
    found = wires.of_hl7(sent(LIVER))
    assert ["33732-9", "33739-4"] == unmapped(found)  # the form's own words for grade and MVI
    said = answers(found)
    assert (["M1"], ["R0"]) == (said["33739-4"], said["84892-9"])
    assert ["41 mm", "12 mm", "6 mm"] == said["21889-1"]
    [mvi] = [e for e in found.entries if e.has_code("33739-4")]
    assert mvi.has_code("urn:oncord:code:99PATH|MVI")
    assert 3 == len(wires.record(found).coded("21889-1"))


def test_answers_of_a_colon_resection():
    """Stage group; no node of eighteen is a count of zero, and perineural invasion is there."""
    said = answers(wires.of_hl7(sent(COLON)))
    assert ["IIA"] == said["21902-2"]
    assert (["0 {#}"], ["18 {#}"]) == (said["21893-3"], said["21894-1"])
    assert (["LA9634-2"], ["LA9633-4"]) == (said["59544-7"], said["92837-4"])


@pytest.mark.parametrize(
    ("language", "gross", "diagnosis"),
    [
        ("zh", "肝切除标本，肿瘤最大径 41 mm、12 mm、6 mm。", "肝细胞癌，Edmondson II，pT2，R0。"),
        (
            "en",
            "Resection of liver, tumour 41 mm, 12 mm, 6 mm in greatest dimension.",
            "Hepatocellular carcinoma, Edmondson II, pT2, R0.",
        ),
    ],
)
def test_the_narrative_is_one_report_by_sections(language: Language, gross: str, diagnosis: str):
    """Pathology study 11526-1: gross, microscopic and diagnosis; the answers stand apart from it."""
    found = wires.of_hl7(sent(LIVER, language))
    [report] = [e for e in found.entries if e.kind == "report"]
    assert report.code is not None
    assert "11526-1" == report.code.code
    told = report.details["sections"]
    assert {"gross", "microscopic", "diagnosis"} == set(told)
    assert (gross, diagnosis) == (told["gross"], told["diagnosis"])
    assert "M1" in told["microscopic"]


def test_a_report_is_joined_with_its_slides_by_number():
    """The accession number and the resection's number are those that DICOM has."""
    found = wires.of_hl7(sent(BREAST))
    case = wires.somebody().numbered("P")
    [report] = [e for e in found.entries if e.kind == "report"]
    assert case == report.details["accession"]
    assert {f"PATH|{case}"} == {
        specimen["id"]
        for entry in found.entries
        if entry.kind == "observation"
        for specimen in entry.details["order"]["specimens"]
    }


@pytest.mark.parametrize(("share", "status"), [(0, "LA6577-6"), (1, "LA6576-8")])
def test_a_receptor_is_positive_from_one_per_cent(share: int, status: str):
    """ASCO/CAP: at least one nucleus in a hundred."""
    form = Synoptic(organ="breast", histology="8500/3", er_percent=share)
    assert [status] == answers(wires.of_hl7(sent(form)))["85337-4"]


def test_what_was_not_examined_is_not_sent():
    """A form of nothing but its histology: one answer."""
    bare = Synoptic(organ="liver", histology="8160/3")
    assert {"59847-4": ["8160/3"]} == answers(wires.of_hl7(sent(bare)))


def test_every_question_is_a_loinc_code():
    """By the check digit."""
    assert [] == [code for code in pathology.QUESTIONS if not is_loinc(code)]


def test_the_door_takes_it(line: Line):
    """AA, applied, and in the record."""
    assert b"|AA|" in line.send(sent(BREAST))
    line.settle()
    assert ["applied"] == [m["state"] for m in line.inbound("applied")]


@pytest.mark.parametrize(
    "wrong",
    [{"histology": "9999/9"}, {"er_percent": 101}, {"nodes_positive": 3}, {"nodes_positive": -1}],
)
def test_what_no_form_allows_is_refused(wrong: dict[str, Any]):
    """Unknown histology, more than all cells, more positive nodes than examined."""
    right: dict[str, Any] = {"organ": "breast", "histology": "8500/3", "nodes_examined": 2}
    with pytest.raises(CannotSend):
        Synoptic(**(right | wrong))
