"""Which file maps a message, and what the structures of admissions have in common."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from feeds import PID, obr, obx, oru, reasons, segment

from mappings import hl7v2
from mappings.errors import MappingError, UnmappedStructure
from mappings.record import Source
from mappings.site import Site
from mappings.tables import rows, table

FILES = Path(__file__).parent / "files"


def test_every_mapped_structure_is_found_by_its_file_name() -> None:
    """One message structure is one file."""
    found = (p.stem.upper() for p in Path(hl7v2.__file__).parent.glob("*.py"))
    files = {name for name in found if re.fullmatch(r"[A-Z]{3}_[A-Z]+\d+", name)}
    assert files == set(hl7v2.structures())


def test_every_structure_of_a_cancer_pathway_is_mapped() -> None:
    """The events of issue 3, and nothing of theirs is left to chance."""
    events = [*(f"ADT^A{n:02}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 28, 31))]
    events += ["ORM^O01", "OML^O21", "OMG^O19", "ORU^R01", "OUL^R22", "VXU^V04"]
    events += [*(f"MDM^T{n:02}" for n in range(1, 12)), *(f"PPR^PC{n}" for n in (1, 2, 3))]
    events += [f"SIU^S{n}" for n in (*range(12, 23), 26)]
    unmapped = [e for e in events if table("hl70354").get(e) not in hl7v2.structures()]
    assert [] == unmapped


@pytest.mark.parametrize("event", ["ORU^R01", "ORU^R01^ORU_R01", "oru^r01", "ORU^R01^WRONG"])
def test_the_structure_comes_from_the_event(read: Any, event: str) -> None:
    """MSH-9.3 is a hint; a disagreement is a finding (site rule 18)."""
    found = read(event, PID, obr(), obx())
    assert ["observation"] == [e.kind for e in found.entries]
    assert ("WRONG" in event) == any(f.path == "MSH[1]-9" for f in found.findings)


@pytest.mark.parametrize(
    ("sent", "kind"),
    [("ORU", "observation"), ("ORU_R01", "observation"), ("ORU^^ORU_R01", "observation")],
)
def test_a_message_type_without_its_event_is_read_where_there_is_one_meaning(
    read: Any, sent: str, kind: str
) -> None:
    """Versions 2.1 and 2.2 had one component in MSH-9."""
    found = read(sent, PID, obr(), obx(), f12="2.1")
    assert [kind] == [e.kind for e in found.entries]
    assert ["MSH[1]-9"] == [f.path for f in found.findings if "MSH-9.2" in f.reason]


def test_the_event_of_version_2_1_stands_in_evn(read: Any) -> None:
    """EVN-1 is what MSH-9.2 became."""
    pv1 = segment("PV1", f1="1", f2="I", f19="V1")
    found = read("ADT", "EVN|A03|20261120", PID, pv1, f12="2.1")
    assert ["finished"] == [e.details["status"] for e in found.entries if e.kind == "encounter"]


@pytest.mark.parametrize(("version", "hint"), [("2.4", "ADT_A09"), ("2.5.1", "ADT_A12")])
def test_the_structure_of_another_version_is_no_disagreement(
    read: Any, version: str, hint: str
) -> None:
    """A12 is ADT_A09 in version 2.4."""
    found = read(f"ADT^A12^{hint}", "EVN||20261120", f"{PID}||DOE^JO", f12=version)
    assert [] == [f for f in found.findings if f.path == "MSH[1]-9"]


@pytest.mark.parametrize(
    "event",
    ["ADT^A60", "ADT^A29", "SIU^S23", "BAR^P01", "DFT^P03", "ORL^O22", "FOO^BAR", "", "ADT"],
)
def test_an_event_without_a_file_is_unmapped(read: Any, event: str) -> None:
    """Well formed, so it is kept and counted (site rule 16)."""
    with pytest.raises(UnmappedStructure):
        read(event, PID)


@pytest.mark.parametrize(
    "event",
    [
        "A01",
        "A02",
        "A03",
        "A04",
        "A05",
        "A06",
        "A07",
        "A08",
        "A11",
        "A12",
        "A13",
        "A14",
        "A28",
        "A31",
    ],
)
def test_every_admission_event_brings_demographics(read: Any, event: str) -> None:
    """Whatever its structure."""
    found = read(f"ADT^{event}", "EVN||20261120", f"{PID}||DOE^JO||1970|F")
    assert ["patient/name", "patient/birth_date", "patient/sex"] == [e.key for e in found.entries]


@pytest.mark.parametrize(
    "line",
    [
        "PD1||||W",
        "NK1|1|W",
        "PV2|||W",
        "AL1|1|DA|^碘造影剂",
        "IN1|1|W",
        "GT1|1|W",
        "ROL|1|W",
        "ZPI|1|W",
    ],
)
@pytest.mark.parametrize("event", ["ADT^A01", "ORU^R01", "ORM^O01", "MDM^T02", "SIU^S12"])
def test_a_segment_that_nobody_maps_is_reported(read: Any, event: str, line: str) -> None:
    """Allergies, next of kin, insurance and Z segments: kept in the raw message, and listed."""
    found = read(event, f"{PID}||DOE^JO", line, f18="UNICODE UTF-8")
    assert "segment is not mapped" in reasons(found, f"{line[:3]}[1]")


def test_every_row_of_a_status_table_is_a_status_of_entries() -> None:
    """The tables are data; the type checker cannot see into them."""
    from mappings.statuses import STATUS_RANK

    for name in ("hl70085", "hl70123", "hl70271", "fhir_statuses", "fhir_events"):
        assert set(STATUS_RANK) >= {row["to"] for row in rows(name)}


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
    assert "observation/F1/1834-1/" == found.entries[0].key
