"""ORU^R01 as a whole: corrections, reports, patients, segments nobody maps."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from feeds import msh, obr, obx, oru

from mappings import hl7v2
from mappings.conversion import Conversion
from mappings.errors import NoPatientIdentifier
from mappings.record import Entry, PatientRecord, Source, Text
from mappings.site import Site

FILES = Path(__file__).parent / "files"
LATER = datetime(2027, 1, 1, tzinfo=UTC)
CT = "18748-4^CT^LN"


@pytest.fixture(name="read")
def read_(site: Site, source: Source) -> Any:
    """Map bytes."""

    def read(raw: bytes) -> Conversion:
        return hl7v2.entries(raw, site=site, source=source)

    return read


def report(conversion: Conversion) -> Entry:
    """The one report."""
    (found,) = (e for e in conversion.entries if e.kind == "report")
    return found


def test_a_corrected_result_replaces_the_first(read: Any) -> None:
    """OBX-11 = C supersedes the entry with the same filler order and OBX-3, in either order."""
    first = read((FILES / "oru_r01_labs.hl7").read_bytes()).entries
    second = read((FILES / "oru_r01_corrected.hl7").read_bytes()).entries
    for entries in ((*first, *second), (*second, *first)):
        found = PatientRecord.of(entries, as_of=LATER).coded("1834-1")
        assert "41.25" in [getattr(e.value, "text", "") for e in found]
        assert "412.50" not in [getattr(e.value, "text", "") for e in found]


@pytest.mark.parametrize("status", ["D", "W"])
def test_a_withdrawn_result_is_gone(read: Any, status: str) -> None:
    """D and W retract what was final."""
    first = read(oru(obr(), obx()))
    gone = read(oru(obr(f22="20261120110000+0800"), obx(f11=status)))
    assert PatientRecord.of((*first.entries, *gone.entries), as_of=LATER).latest("1834-1") is None


def test_an_oru_without_an_adt_brings_its_patient(read: Any) -> None:
    """Lab-only feeds: demographics come with the results (site rule 7)."""
    found = read(oru(obx()).replace(b"HOSP^MR\r", b"HOSP^MR||DOE^JO||1970|F\r"))
    assert ["patient/name", "patient/birth_date", "patient/sex"] == [
        e.key for e in found.entries if e.kind == "patient"
    ]


def test_an_unknown_authority_names_nobody(read: Any) -> None:
    """Nothing is filed under an identifier that could be anybody's."""
    with pytest.raises(NoPatientIdentifier):
        read(oru(obx()).replace(b"^^^HOSP", b"^^^ELSEWHERE"))


def test_a_message_without_pid_names_nobody(read: Any) -> None:
    """Site rule 7: parked."""
    with pytest.raises(NoPatientIdentifier):
        read(f"{msh()}\r{obr()}\r{obx()}\r".encode())


def test_a_second_patient_gets_only_their_own(read: Any) -> None:
    """Nothing of A in B, even in one message."""
    raw = oru(obr(), obx(value="1"), "PID|2||SYN-2^^^HOSP^MR", obr(f3="F2"), obx(value="2"))
    found = [(e.patient.value, getattr(e.value, "text", "")) for e in read(raw).entries]
    assert [("SYN-1", "1"), ("SYN-2", "2")] == found


def test_z_segments_and_unmapped_fields_are_reported(read: Any) -> None:
    """Nothing is lost without a line in the conversion report."""
    found = read(oru(obr(), obx(f16="TECH"), obx(f3="1^x^L", f16="TECH"), "ZLB|1|x"))
    reported = {f.path: f.reason for f in found.findings}
    assert "segment is not mapped" == reported["ZLB[1]"]
    assert "valued but not mapped, 2 times" == reported["OBX-16"]


def test_notes_belong_to_the_segment_before(read: Any) -> None:
    """NTE after OBX stands with that OBX."""
    found = read(oru(obr(), obx(), "NTE|1||one", "NTE|2||two", obx(f3="1^x^L")))
    notes = [e.details.get("notes") for e in found.entries if e.kind == "observation"]
    assert [["one", "two"], None] == notes


def test_the_lines_of_a_radiology_obr_are_one_report(read: Any) -> None:
    """Chinese headings make its sections."""
    found = report(read((FILES / "oru_r01_radiology_gb18030.hl7").read_bytes()))
    assert "考虑肝细胞癌，LI-RADS 5。" == found.details["sections"]["impression"]
    assert ("ACC1", "CT") == (found.details["accession"], found.details["modality"])


def test_sections_are_taken_from_obx_3_where_it_names_them(read: Any) -> None:
    """`&GDT` and `&IMP` are the old way."""
    raw = oru(
        obr(f4=CT, f24="RAD"),
        obx("TX", "a mass", "", f3="71020&GDT^CT^L"),
        obx("TX", "cancer", "", f3="71020&IMP^CT^L"),
    )
    assert {"findings": "a mass", "impression": "cancer"} == report(read(raw)).details["sections"]


def test_numbers_among_the_lines_stay_observations(read: Any) -> None:
    """A measured diameter in a CT report is a fact of its own."""
    raw = oru(
        obr(f4=CT, f24="CT"), obx("TX", "text", "", f3=CT), obx("NM", "32", "mm", f3="33728-7^d^LN")
    )
    assert ["report", "observation"] == [e.kind for e in read(raw).entries]


def test_a_short_qualitative_answer_is_an_observation(read: Any) -> None:
    """One TX line that says Positive is no report."""
    raw = oru(obr(), obx("TX", "Positive", "", f3="5195-3^HBsAg^LN"))
    (found,) = read(raw).entries
    assert ("observation", Text("Positive")) == (found.kind, found.value)


def test_long_text_without_a_section_code_is_a_report(read: Any) -> None:
    """OBR-24 is often empty."""
    lines = [obx("FT", f"line {n}", "", f3="22637-3^Path^LN", f4="1") for n in range(3)]
    assert "line 0\nline 1\nline 2" == report(read(oru(obr(f24=""), *lines))).details["text"]


def test_a_corrected_report_replaces_the_first(read: Any) -> None:
    """One OBR-3 is one report; OBX-11 = C corrects it although OBR-25 says F."""
    first = read(oru(obr(f4=CT, f24="CT"), obx("TX", "IMPRESSION: a", "", f3=CT)))
    second = read(oru(obr(f4=CT, f24="CT"), obx("TX", "IMPRESSION: b", "", f3=CT, f11="C")))
    record = PatientRecord.of((*second.entries, *first.entries), as_of=LATER)
    (found,) = record.of_kind("report")
    assert ("corrected", {"impression": "b"}) == (found.status, found.details["sections"])


def test_two_patients_identifiers_are_aliases(read: Any) -> None:
    """Other identifiers of known authority name the same person."""
    raw = oru(obx()).replace(b"HOSP^MR\r", b"HOSP^MR~77^^^CHINAID^NI\r")
    found = read(raw)
    assert ["https://china.example/ns/id|77"] == [
        str(e.value) for e in found.entries if e.kind == "alias"
    ]
    assert 2 == len(found.identifiers)
