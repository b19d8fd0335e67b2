"""Genomics by HL7 and by FHIR: our own doors read what the molecular laboratory sends."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import wires
from whole_line import Line

from mappings.codes import LOCAL, is_loinc
from mappings.conversion import Conversion
from mappings.record import Code, Coded, Entry, Quantity, Text
from workers.demo import molecular
from workers.demo.molecular import GenomicReport, Variant
from workers.demo.results import Answer, coded, obr, obx
from workers.demo.subject import CannotSend, Language, oru

TP53 = Variant(
    gene="TP53", c_hgvs="NM_000546.6:c.747G>T", p_hgvs="p.Arg249Ser", significance="pathogenic",
    allele_fraction=Decimal("0.38"),
)  # fmt: skip
TERT = Variant(gene="TERT", c_hgvs="NM_198253.3:c.-124C>T", significance="likely pathogenic")


def somatic(language: Language = "zh", **more: Any) -> GenomicReport:
    """A tumour with two variants, a gene without, and both figures."""
    who = wires.somebody(language)
    parts: dict[str, Any] = {
        "variants": (TP53, TERT), "unchanged": ("CTNNB1",), "msi": "MSS", "tmb": Decimal("8.2"),
    }  # fmt: skip
    issued = who.t0 + timedelta(days=9)
    return GenomicReport(
        who=who, source="somatic", collected=who.t0, issued=issued, **(parts | more)
    )


def germline() -> GenomicReport:
    """Blood, one inherited variant."""
    who = wires.somebody("en")
    found = Variant(gene="BRCA1", c_hgvs="NM_007294.4:c.68_69del", significance="pathogenic")
    issued = who.t0 + timedelta(days=20)
    return GenomicReport(
        who=who, source="germline", collected=who.t0, issued=issued, variants=(found,)
    )


def by_hl7(report: GenomicReport) -> Conversion:
    """The message as our reader takes it."""
    return wires.of_hl7(molecular.oru_genomics(report, "G1", wires.NOW))


def by_fhir(report: GenomicReport) -> list[Conversion]:
    """The Bundle as our reader takes it."""
    made, unread = wires.of_fhir(molecular.fhir_genomics(report))
    assert [] == unread
    return made


def answer(entry: Entry) -> str:
    """A code, a number with its unit, or words."""
    match entry.value:
        case Coded(codes):
            return codes[0].code
        case Quantity(unit=unit, text=text):
            return f"{text} {unit}"
        case _:
            return ""


def grouped(entries: Any, group: Any) -> dict[str, dict[str, str]]:
    """What each variant says, by group."""
    found: dict[str, dict[str, str]] = {}
    for entry in entries:
        if entry.kind == "observation":
            found.setdefault(group(entry), {})[entry.code.code] = answer(entry)
    return found


VARIANTS = {
    "2a": {
        "69548-6": "LA9633-4",
        "48018-6": "HGNC:11998",
        "48004-6": "NM_000546.6:c.747G>T",
        "48005-3": "p.Arg249Ser",
        "48002-0": "LA6684-0",
        "53037-8": "LA6668-3",
        "81258-6": "0.38 1",
    },
    "2b": {
        "69548-6": "LA9633-4",
        "48018-6": "HGNC:11730",
        "48004-6": "NM_198253.3:c.-124C>T",
        "48002-0": "LA6684-0",
        "53037-8": "LA26332-9",
    },
    "2c": {"69548-6": "LA9634-2", "48018-6": "HGNC:2514", "48002-0": "LA6684-0"},
    "": {"51968-6": "LA6576-8", "81695-9": "LA14122-8", "94076-7": "8.2 1/1000000{Base}"},
}


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_variant_is_a_group_of_obx(language: Language):
    """OBX-4 holds gene, change, source, significance and fraction together; nothing is lost."""
    found = by_hl7(somatic(language))
    assert () == found.findings
    assert VARIANTS == grouped(found.entries, lambda e: e.details.get("group", ""))
    assert {"http://loinc.org"} == {e.code.system for e in found.entries if e.code}


def test_every_variant_is_an_observation_with_components():
    """FHIR says the same of each variant and of the sample as HL7 does."""
    said = {}
    for conversion in by_fhir(somatic()):
        assert () == conversion.findings
        first = conversion.entries[0]
        if first.kind == "observation":
            name = first.key.split("/")[-3] if first.code.code == "69548-6" else ""
            said.setdefault(name, {}).update(grouped(conversion.entries, lambda _: "")[""])
    assert VARIANTS == said


def test_both_doors_tell_of_one_sample_once():
    """State, burden, conclusion and narrative have the same keys and twins, and fold into one."""
    hl7, bundle = by_hl7(somatic()), by_fhir(somatic())
    whole = ("51968-6", "81695-9", "94076-7", "51969-4")
    keys = [
        {(e.key, e.twin) for c in door for e in c.entries if e.code and e.code.code in whole}
        for door in ([hl7], bundle)
    ]
    assert 4 == len(keys[0])
    assert keys[0] == keys[1]
    record = wires.record(hl7, *bundle)
    assert [1, 1, 1, 1] == [len(record.coded(code)) for code in whole]


@pytest.mark.parametrize(
    ("language", "line"),
    [
        ("zh", "TP53 NM_000546.6:c.747G>T p.Arg249Ser 致病"),
        ("en", "TP53 NM_000546.6:c.747G>T p.Arg249Ser Pathogenic"),
    ],
)
def test_the_narrative_is_one_report(language: Language, line: str):
    """Its lines in the hospital's language, the same by both doors."""
    doors = (by_hl7(somatic(language)), *by_fhir(somatic(language)))
    reports = [e for c in doors for e in c.entries if e.kind == "report"]
    first, second = (e.value for e in reports)
    assert isinstance(first, Text)
    assert first == second
    assert line in first.text.splitlines()


def test_inherited_and_acquired_are_told_apart():
    """Another source class, another filler number; a lone variant is still a group."""
    found = by_hl7(germline())
    assert () == found.findings
    said = grouped(found.entries, lambda e: e.details.get("group", ""))
    assert ("LA6683-2", "HGNC:1100") == (said["2a"]["48002-0"], said["2a"]["48018-6"])
    kinds = [
        {e.key.split("|")[1][0] for e in c.entries if e.code} for c in (found, by_hl7(somatic()))
    ]
    assert [{"G"}, {"S"}] == kinds


def test_what_was_read_without_a_variant_is_negative():
    """No variant: the overall answer says so, and the genes are there as absent."""
    found = by_hl7(somatic(variants=(), unchanged=("TP53", "KRAS")))
    said = grouped(found.entries, lambda e: e.details.get("group", ""))
    assert "LA6577-6" == said[""]["51968-6"]
    assert {"LA9634-2"} == {said[group]["69548-6"] for group in ("2a", "2b")}


def test_what_a_generator_says_in_words_is_sent():
    """Answers without a code, and marks of HL7 in words and codes, come back as they were."""
    who, question = wires.somebody(), Code(wires.LOINC, "48018-6", "Gene studied")
    said = (
        Answer(code=question, value=Coded((), "BCR|ABL1^p190 & more"), sub_id="1"),
        Answer(code=question, value=Coded((), "TP53"), sub_id="2"),
        Answer(code=question, value=coded(f"{LOCAL}99LAB", "A^1", "a|b & ~c"), sub_id="3"),
    )
    panel = Code(wires.LOINC, "81247-9", "Panel")
    head = obr(1, "X1^LAB", panel, done="20260302", issued="20260303", section="GE")
    found = wires.of_hl7(oru(who, "LAB", "X1", wires.NOW, [head, *obx(said)]))
    reported = [(f.path, f.reason) for f in found.findings]
    assert [("OBX[3]-5", "answer in a local code that no map knows")] == reported
    told = [e.value for e in found.entries if e.kind == "observation"]
    assert [a.value for a in said] == told


def test_every_question_is_a_loinc_code():
    """By the check digit."""
    assert [] == [code for code in molecular.QUESTIONS if not is_loinc(code)]


def test_the_doors_take_both(line: Line):
    """AA by MLLP, 200 by FHIR; everything applied, nothing set aside."""
    report = somatic()
    assert b"|AA|" in line.send(molecular.oru_genomics(report, line.control_id(), wires.NOW))
    assert 200 == line.fhir(molecular.fhir_genomics(report)).status_code
    line.settle()
    assert ["applied", "applied"] == [m["state"] for m in line.inbound("applied")]
    assert [] == line.inbound("parked", "quarantined", "ignored")


@pytest.mark.parametrize(
    "wrong",
    [
        {"unchanged": ("BRCA3",)},
        {"unchanged": ("KRAS",) * 26},
        {"source": "germline"},
    ],
)
def test_what_no_laboratory_reports_is_refused(wrong: dict[str, Any]):
    """A gene nobody knows, more groups than letters, a tumour's figures from blood."""
    who = wires.somebody("zh", "male")
    right: dict[str, Any] = {"source": "somatic", "variants": (TP53,), "msi": "MSS"}
    with pytest.raises(CannotSend):
        GenomicReport(who=who, collected=who.t0, issued=who.t0, **(right | wrong))
