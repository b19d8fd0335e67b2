"""Which OBX, SPM and sub-ids belong together: genomics, timed samples, specimens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from feeds import PID, obr, obx, reasons, segment

from mappings import hl7v2
from mappings.record import Source
from mappings.site import Site

FILES = Path(__file__).parent / "files"


def observations(found: Any) -> list[Any]:
    """The observations."""
    return [e for e in found.entries if e.kind == "observation"]


def test_the_obx_of_one_variant_are_a_group(site: Site, source: Source) -> None:
    """Gene, change and allele fraction share OBX-4 (HL7 CG LRI)."""
    raw = (FILES / "oru_r01_genomics.hl7").read_bytes()
    found = observations(hl7v2.entries(raw, site=site, source=source))
    variants = {
        group: [e.code.code for e in found if e.details.get("group") == group]
        for group in ("1.a", "1.b", None)
    }
    assert {
        "1.a": ["48018-6", "48004-6", "48005-3", "81258-6"],
        "1.b": ["48018-6", "48004-6", "81258-6"],
        None: ["53577-3", "94076-7"],
    } == variants


@pytest.mark.parametrize(
    ("sent", "groups"),
    [
        (["2a", "2a", "2b"], ["2a", "2a", "2b"]),
        (["1.a", "1.a.1", "1.a.2", "1.b.1"], ["1.a", "1.a", "1.a", "1.b"]),
        (["1^1^1^a", "1^1^2^b", "2^2^1^a"], ["1", "1", "2"]),
        (["1", "2", "3"], [None, None, None]),
        (["1", "1", "1"], [None, None, None]),
        (["", "1", "1"], [None, "1", "1"]),
    ],
)
def test_a_sub_id_names_the_group_it_is_in(read: Any, sent: list[str], groups: list[Any]) -> None:
    """Shared, dotted, or an OG; line numbers group nothing."""
    lines = [obx(f3=f"{n}-1^x^LN", f4=s) for n, s in enumerate(sent)]
    found = read("ORU^R01", PID, obr(), *lines)
    assert groups == [e.details.get("group") for e in observations(found)]


def test_timed_samples_under_one_number_are_facts_of_their_own(read: Any, folded: Any) -> None:
    """Same order, same code: each by its time, and a correction of the last finds the last."""
    times = ("20261120080000+0800", "20261120090000+0800", "20261120100000+0800")
    found = read("ORU^R01", PID, obr(), *(obx(value=str(n), f14=t) for n, t in enumerate(times)))
    fixed = read("ORU^R01", PID, obr(f22="20261121"), obx(value="9", f14=times[2], f11="C"))
    record = folded(found, fixed)
    assert ["0", "1", "9"] == [e.value.text for e in record.of_kind("observation")]


def test_the_same_line_twice_is_kept_once(read: Any) -> None:
    """Word for word: some engines double segments."""
    found = read("ORU^R01", PID, obr(), obx(), obx())
    assert 1 == len(observations(found))
    assert 1 == len(reasons(found, "OBX[2]-5"))


def test_a_code_in_two_panels_of_one_number_is_two_facts(read: Any) -> None:
    """Accession numbers cover several OBR."""
    found = read("ORU^R01", PID, obr(), obx(value="1"), obr(f4="B^b^L"), obx(value="2"))
    assert 2 == len({e.key for e in observations(found)})


def test_a_specimen_stands_with_the_results_of_its_order(read: Any) -> None:
    """SPM: number, type, site, and the time that OBR-7 lacks."""
    spm = segment(
        "SPM",
        f1="1",
        f2="S1^LIS",
        f4="119364003^血清^SCT",
        f8="368208006^左上臂^SCT",
        f17="20261120070000+0800",
    )
    (entry,) = observations(read("ORU^R01", PID, obr(f7=""), obx(), spm, f18="UNICODE UTF-8"))
    assert {
        "id": "LIS|S1",
        "type": {"system": "http://snomed.info/sct", "code": "119364003", "text": "血清"},
        "site": {"system": "http://snomed.info/sct", "code": "368208006", "text": "左上臂"},
        "collected": "2026-11-20T07:00:00+08:00",
    } == entry.details["order"]["specimens"][0]
    assert "2026-11-20T07:00:00+08:00" == entry.effective.isoformat()


@pytest.mark.parametrize(
    ("sent", "number"),
    [("S1", "S1"), ("^S2", "S2"), ("S1&HIS^S2&OUT", "HIS|S1"), ("^S2&OUT", "OUT|S2")],
)
def test_a_specimen_has_the_placer_s_number_else_the_laboratory_s(
    read: Any, sent: str, number: str
) -> None:
    """SPM-2 is an EIP, also where its parts have no authority."""
    found = read("ORU^R01", PID, obr(), obx(), f"SPM|1|{sent}|SER^serum^L")
    (observation,) = (e for e in found.entries if e.kind == "observation")
    assert [number] == [told["id"] for told in observation.details["order"]["specimens"]]


def test_the_specimen_source_of_older_versions_is_read(read: Any) -> None:
    """OBR-15 is what SPM became."""
    (entry,) = observations(
        read("ORU^R01", PID, obr(f15="SER&Serum^^^ARM&Left arm"), obx(), f12="2.3")
    )
    assert [
        {"type": {"code": "SER", "text": "Serum"}, "site": {"code": "ARM", "text": "Left arm"}}
    ] == entry.details["order"]["specimens"]


def test_each_specimen_holds_for_the_orders_below_it(site: Site, source: Source) -> None:
    """OUL^R22: SPM first, ORC behind OBR; OBX right below SPM tell of the specimen."""
    raw = (FILES / "oul_r22_specimens.hl7").read_bytes()
    found = observations(hl7v2.entries(raw, site=site, source=source))
    assert [
        ("20624-3", "LIS|S1", "specimen", None),
        ("1834-1", "LIS|S1", None, "HIS|L901"),
        ("PIVKA", "LIS|S1", None, None),
        ("777-3", "LIS|S2", None, None),
    ] == [
        (
            e.code.code,
            e.details["order"]["specimens"][0]["id"],
            e.details.get("role"),
            e.details["order"].get("placer"),
        )
        for e in found
    ]


def test_obx_behind_the_specimen_of_an_oru_tell_of_the_specimen(read: Any) -> None:
    """Its volume is no result of the patient."""
    found = read("ORU^R01", PID, obr(), obx(), "SPM|1|S1", obx(f3="19153-6^Volume^LN", value="3"))
    assert [None, "specimen"] == [e.details.get("role") for e in observations(found)]


def test_parent_links_are_kept_as_sent(read: Any) -> None:
    """OBR-26 and OBR-29: the guide leaves them open."""
    (entry,) = observations(
        read("ORU^R01", PID, obr(f26="600-7&Bacteria&LN^1", f29="P0^F0"), obx())
    )
    assert ("600-7&Bacteria&LN^1", "P0^F0") == (
        entry.details["order"]["parent_result"],
        entry.details["order"]["parent"],
    )
