"""Which file maps a message, and ADT and MDM as wholes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from feeds import msh, obr, obx, oru, segment

from mappings import hl7v2
from mappings.conversion import Conversion
from mappings.errors import MappingError, UnmappedStructure
from mappings.record import Attachment, Entry, PatientRecord, Source, Text
from mappings.site import Site
from mappings.tables import rows, table

FILES = Path(__file__).parent / "files"
PID = "PID|1||SYN-1^^^HOSP^MR"


@pytest.fixture(name="read")
def read_(site: Site, source: Source) -> Any:
    """Map segments of one event."""

    def read(event: str, *segments: str, **header: str) -> Conversion:
        raw = "\r".join([msh(event, **header), *segments, ""]).encode()
        return hl7v2.entries(raw, site=site, source=source)

    return read


def test_every_mapped_structure_is_found_by_its_file_name() -> None:
    """One message structure is one file."""
    files = {p.stem.upper() for p in Path(hl7v2.__file__).parent.glob("*_[a-z][0-9][0-9].py")}
    assert files == set(hl7v2.structures())


@pytest.mark.parametrize("event", ["ORU^R01", "ORU^R01^ORU_R01", "oru^r01", "ORU^R01^WRONG"])
def test_the_structure_comes_from_the_event(read: Any, event: str) -> None:
    """MSH-9.3 is a hint; a disagreement is a finding (site rule 18)."""
    found = read(event, PID, obr(), obx())
    assert ["observation"] == [e.kind for e in found.entries]
    assert ("WRONG" in event) == any(f.path == "MSH[1]-9" for f in found.findings)


@pytest.mark.parametrize("event", ["ADT^A60", "SIU^S12", "FOO^BAR", "", "ADT"])
def test_an_event_without_a_file_is_unmapped(read: Any, event: str) -> None:
    """Well formed, so it is kept and counted (site rule 16)."""
    with pytest.raises(UnmappedStructure):
        read(event, PID)


@pytest.mark.parametrize("event", ["A01", "A04", "A08", "A13", "A05", "A28", "A31"])
def test_every_admission_event_brings_demographics(read: Any, event: str) -> None:
    """Their structures are ADT_A01 and ADT_A05."""
    found = read(f"ADT^{event}", "EVN||20261120", f"{PID}||DOE^JO||1970|F")
    assert ["patient/name", "patient/birth_date", "patient/sex"] == [e.key for e in found.entries]


def test_an_update_never_overwrites_the_status_of_a_visit(read: Any) -> None:
    """A08 does not convey status (interop.md section 3)."""
    pv1 = segment("PV1", f1="1", f2="I", f19="V1^^^HOSP^VN", f44="20261119080000")
    admitted = read("ADT^A01", "EVN||20261119080000", PID, pv1)
    updated = read("ADT^A08", "EVN||20261120080000", PID, pv1)
    entries = (*admitted.entries, *updated.entries)
    record = PatientRecord.of(entries, as_of=entries[0].source.received_at)
    states = [e.details["status"] for e in record.of_kind("encounter") if "status" in e.details]
    assert ["in-progress"] == states


def test_two_quotes_delete_a_demographic_field(read: Any) -> None:
    """And an empty field changes nothing."""
    found = read("ADT^A08", "EVN||20261120", f'{PID}||DOE^JO||""|')
    (born,) = (e for e in found.entries if e.key == "patient/birth_date")
    assert ("deleted", None) == (born.status, born.value)
    assert not [e for e in found.entries if e.key == "patient/sex"]


@pytest.mark.parametrize(
    ("death", "indicator", "text"),
    [("20261101", "N", "2026-11-01"), ("", "Y", "true"), ("", "N", "false")],
)
def test_the_date_of_death_beats_the_indicator(
    read: Any, death: str, indicator: str, text: str
) -> None:
    """PID-29 before PID-30."""
    pid = segment("PID", f1="1", f3="SYN-1^^^HOSP^MR", f29=death, f30=indicator)
    (found,) = read("ADT^A08", "EVN||20261120", pid).entries
    shown = found.value.text if isinstance(found.value, Text) else found.value.isoformat()
    assert text == shown


@pytest.mark.parametrize(("sent", "sex"), sorted(table("hl70001").items()))
def test_every_sex_of_the_table_is_mapped(read: Any, sent: str, sex: str) -> None:
    """Chinese feeds write 男, 女 or GB/T 2261 numbers."""
    pid = segment("PID", f1="1", f3="SYN-1^^^HOSP^MR", f8=sent)
    assert Text(sex) == read("ADT^A04", "EVN||20261120", pid, f18="UNICODE UTF-8").entries[0].value


def txa(**fields: str) -> str:
    """A TXA of a legally authenticated report."""
    given = {
        "f1": "1",
        "f2": "DI^Diagnostic Imaging",
        "f4": "20261120100000+0800",
        "f12": "DOC1",
        "f17": "LA",
        "f19": "AV",
        **fields,
    }
    return segment("TXA", **given)


LINE = obx("FT", "FINDINGS: a~IMPRESSION: b", "", f3="18748-4^CT^LN")


def report(conversion: Conversion) -> Entry:
    """The one report."""
    (found,) = (e for e in conversion.entries if e.kind == "report" and e.value is not None)
    return found


def test_a_document_with_text_is_a_report(read: Any) -> None:
    """Keyed by its filler order where it has one, so that ORU and MDM are one report."""
    found = report(read("MDM^T02", PID, txa(f15="R1^LAB"), LINE))
    assert "report/https://hospital.example/ns/lab|R1" == found.key
    assert {"findings": "a", "impression": "b"} == found.details["sections"]


def test_a_document_with_a_file_is_a_document(read: Any) -> None:
    """Its bytes stay in the raw message."""
    body = obx("ED", "^application^pdf^Base64^JVBERi0xLjQK", "", f3="PDF^x^L")
    (found,) = read("MDM^T02", PID, txa(), body).entries
    assert isinstance(found.value, Attachment)
    assert ("document", "document/DOC1/1") == (found.kind, found.key)


@pytest.mark.parametrize(
    ("event", "completion", "availability", "status"),
    [
        ("T02", "LA", "AV", "final"),
        ("T02", "AU", "", "final"),
        ("T02", "DI", "", "preliminary"),
        ("T06", "LA", "", "appended"),
        ("T08", "LA", "", "amended"),
        ("T02", "LA", "CA", "deleted"),
    ],
)
def test_the_status_of_a_document(
    read: Any, event: str, completion: str, availability: str, status: str
) -> None:
    """TXA-17 and TXA-19, changed by the event."""
    assert (
        status
        == report(read(f"MDM^{event}", PID, txa(f17=completion, f19=availability), LINE)).status
    )


def test_a_replacement_takes_its_parent_away(read: Any) -> None:
    """T10: the parent of TXA-13 is gone, the new one stands."""
    first = read("MDM^T02", PID, txa(), LINE)
    second = read("MDM^T10", PID, txa(f12="DOC2", f13="DOC1", f17="LA"), LINE, f7="20261121")
    entries = (*first.entries, *second.entries)
    record = PatientRecord.of(entries, as_of=entries[0].source.received_at)
    assert ["report/DOC2"] == [e.key for e in record.of_kind("report")]


def test_every_row_of_a_status_table_is_a_status_of_entries() -> None:
    """The tables are data; the type checker cannot see into them."""
    from mappings.record import _STATUS_RANK

    for name in ("hl70085", "hl70123", "hl70271", "fhir_statuses", "fhir_events"):
        assert set(_STATUS_RANK) >= {row["to"] for row in rows(name)}


@pytest.mark.parametrize("cut", range(0, 900, 37))
def test_a_message_cut_anywhere_raises_nothing_unexpected(
    cut: int, site: Site, source: Source
) -> None:
    """Half messages map to what is there, or to a MappingError."""
    raw = (FILES / "oru_r01_labs.hl7").read_bytes()[:cut]
    try:
        hl7v2.entries(raw, site=site, source=source)
    except MappingError:
        return


def test_a_sender_that_numbers_lines_in_obx_4_is_understood(source: Source) -> None:
    """A site flag drops OBX-4 from the key."""
    site = Site(default_authority="https://a.example", sub_id_is_sequence=True)
    found = hl7v2.entries(
        oru(obr(), obx(f4="7")).replace(b"^^^HOSP", b""), site=site, source=source
    )
    assert "observation/1834-1/F1/" == found.entries[0].key


def test_an_account_number_names_no_person(read: Any) -> None:
    """Mother and newborn may share one, even from the authority of the record numbers."""
    pid = "PID|1||A77^^^HOSP^AN~100^^^HOSP^MR||DOE^JO||1970|F"
    found = read("ADT^A01", "EVN||20261120", pid)
    assert ["100"] == [identifier.value for identifier in found.identifiers]
