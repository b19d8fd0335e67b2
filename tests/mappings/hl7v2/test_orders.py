"""Orders: status by ORC-5 and ORC-1, numbers, and what joins them with results and images."""

from __future__ import annotations

from typing import Any

import pytest
from feeds import PID, obr, obx, reasons, segment

from mappings.record import Entry
from mappings.tables import rows, table

CT = "30628-9^CT Liver W contrast^LN^CTLIV^上腹部增强CT^HIS"


def orc(control: str = "NW", **fields: str) -> str:
    """An ORC of placer order P1."""
    return segment("ORC", f1=control, **{"f2": "P1^HIS", "f9": "20261118105500+0800", **fields})


def asked(**fields: str) -> str:
    """An OBR of a contrast CT."""
    return segment("OBR", f1="1", **{"f2": "P1^HIS", "f4": CT, "f24": "CT", **fields})


def order(found: Any) -> Entry:
    """The one order."""
    (entry,) = (e for e in found.entries if e.kind == "order")
    return entry


@pytest.mark.parametrize(("control", "status"), sorted(table("hl70119").items()))
def test_every_order_control_of_the_table_gives_its_status(
    read: Any, control: str, status: str
) -> None:
    """ORC-1, where ORC-5 says nothing."""
    assert status == order(read("ORM^O01", PID, orc(control), asked())).details["status"]


@pytest.mark.parametrize(("sent", "status"), sorted(table("hl70038").items()))
def test_order_status_beats_order_control(read: Any, sent: str, status: str) -> None:
    """ORC-5 before ORC-1."""
    assert status == order(read("ORM^O01", PID, orc("NW", f5=sent), asked())).details["status"]


def test_order_status_a_leaves_it_to_order_control(read: Any) -> None:
    """Some results available: the guide has no row for it."""
    found = read("ORM^O01", PID, orc("HR", f5="A"), asked())
    assert "on-hold" == order(found).details["status"]
    assert 1 == len(reasons(found, "ORC[1]-5"))


@pytest.mark.parametrize("control", ["CA", "HD"])
def test_a_request_to_cancel_or_hold_leaves_the_order_active(
    read: Any, folded: Any, control: str
) -> None:
    """It is a request until CR, OC or HR answer it."""
    new = read("ORM^O01", PID, orc(), asked())
    request = read("ORM^O01", PID, orc(control, f9="20261118120000+0800"), asked())
    assert ["active"] == [e.details["status"] for e in folded(new, request).of_kind("order")]


@pytest.mark.parametrize("control", ["CR", "OC", "DR", "UA"])
def test_a_cancelled_order_is_no_longer_in_the_record(read: Any, folded: Any, control: str) -> None:
    """Readiness reads the record: an order that was cancelled is gone from it, and its entry tells."""
    new = read("ORM^O01", PID, orc(), asked())
    gone = read("ORM^O01", PID, orc(control, f3="F1^LAB", f9="20261118145900+0800"), asked())
    assert ("cancelled", "revoked") == (order(gone).status, order(gone).details["status"])
    assert () == folded(new, gone).of_kind("order")
    assert () == folded(gone, new).of_kind("order")


@pytest.mark.parametrize("control", ["XO", "RP", "SC", "SN", "RE", "ZZ"])
def test_an_order_control_without_a_row_overwrites_no_status(
    read: Any, folded: Any, control: str
) -> None:
    """It is kept as a snapshot, and reported."""
    done = read("ORM^O01", PID, orc("SC", f5="CM", f3="F1^LAB"), asked())
    later = read("ORM^O01", PID, orc(control, f3="F1^LAB", f9="20261119+0800"), asked())
    states = [e.details.get("status") for e in folded(done, later).of_kind("order")]
    assert "completed" in states
    assert "unknown" == order(later).status
    assert 1 == len(reasons(later, "ORC[1]-1"))


def test_an_order_is_one_before_and_after_its_filler_has_numbered_it(
    read: Any, folded: Any
) -> None:
    """The placer number is a weak key; the code may differ between the two systems."""
    new = read("ORM^O01", PID, orc(), asked())
    taken = read("ORM^O01", PID, orc("OK", f3="F1^LAB"), asked(f4="RAD77^CT Leber^RIS"))
    assert 1 == len(folded(new, taken).of_kind("order"))
    assert ["order/@HIS|P1", "order/https://hospital.example/ns/lab|F1"] == [
        order(new).key,
        order(taken).key,
    ]


def test_an_order_without_any_number_is_known_by_service_and_time(read: Any) -> None:
    """Two of them must not be one."""
    orders = [
        order(read("ORM^O01", PID, orc(f2="", f9=f"2026111{n}105500+0800"), asked(f2=""))).key
        for n in (7, 8)
    ]
    assert ["order/30628-9/@2026-11-17T02:55Z", "order/30628-9/@2026-11-18T02:55Z"] == orders


def test_two_orders_under_one_placer_number_are_two(read: Any) -> None:
    """A requisition that repeats its number: the service tells them apart."""
    found = read("OML^O21", PID, orc(), asked(f4="A^a^L"), orc(), asked(f4="B^b^L"))
    assert ["order/@HIS|P1/@A", "order/@HIS|P1/@B"] == [
        e.key for e in found.entries if e.kind == "order"
    ]


def test_placer_filler_and_accession_join_an_order_with_its_results_and_images(read: Any) -> None:
    """The same numbers stand in order, observation and report; ZDS names the study."""
    zds = "ZDS|1.2.840.1^RIS^Application^DICOM"
    placed = order(read("ORM^O01", PID, orc(f3="F1^LAB"), asked(f18="ACC1"), zds))
    found = read("ORU^R01", PID, obr(f2="P1^HIS", f3="F1^LAB", f18="ACC1"), obx(), zds)
    result = found.entries[-1].details["order"]
    names = ("placer", "filler", "accession", "study_instance_uid")
    assert [placed.details[n] for n in names] == [result[n] for n in names]


def test_ipc_names_accession_study_and_modality(read: Any) -> None:
    """OMG^O19 of later versions; it beats OBR-3."""
    ipc = "IPC|ACC9^RIS|RP1|1.2.840.9^RIS|SPS1|MR"
    found = order(read("OMG^O19", PID, orc(), asked(f3="F9", f24=""), ipc)).details
    assert ("ACC9", "1.2.840.9", "MR") == (
        found["accession"],
        found["study_instance_uid"],
        found["modality"],
    )


@pytest.mark.parametrize(
    "segments",
    [
        (orc(), "TQ1|1||||||20261119083000+0800||S", asked()),
        (orc(f7="1^^^20261119083000+0800^^S"), asked()),
        (orc(), asked(f27="1^^^20261119083000+0800^^S")),
        (orc(), asked(f5="S", f6="20261119083000+0800")),
        (orc(), asked(f5="S", f36="20261119083000+0800")),
    ],
)
def test_timing_is_read_wherever_a_version_puts_it(read: Any, segments: tuple[str, ...]) -> None:
    """TQ1, TQ in ORC-7 or OBR-27, OBR-36, OBR-5 and OBR-6."""
    found = order(read("ORM^O01", PID, *segments))
    assert ("stat", "2026-11-19T08:30:00+08:00") == (
        found.details["priority"],
        found.details["requested"],
    )


def test_what_was_observed_when_an_order_was_placed_is_no_result(read: Any) -> None:
    """OBX below an order stand by it, under keys that no result has."""
    placed = read("ORM^O01", PID, orc(f3="F1^LAB"), asked(), obx("NM", "400"))
    (told,) = (e for e in placed.entries if e.kind == "observation")
    (measured,) = read("ORU^R01", PID, obr(f3="F1^LAB"), obx("NM", "12")).entries
    assert ("supporting", None) == (told.details["role"], told.twin)
    assert told.key != measured.key


def test_reasons_and_comments_of_an_order_are_kept_with_it(read: Any) -> None:
    """DG1 and OBR-31 are why it was placed, and no diagnosis of the patient."""
    found = read(
        "ORM^O01",
        PID,
        orc(),
        asked(f13="AFP升高", f31="R77.2^甲胎蛋白异常^I10"),
        "NTE|1||请三期扫描",
        "DG1|1||C22.000^肝细胞癌^I10|||W",
        f18="UNICODE UTF-8",
    )
    details = order(found).details
    assert ["C22.000", "R77.2"] == [r["code"] for r in details["reason"]]
    assert ("AFP升高", ["请三期扫描"]) == (details["clinical"], details["notes"])
    assert [] == [e for e in found.entries if e.kind == "condition"]


def test_results_sent_along_with_an_order_are_results(read: Any) -> None:
    """ORC-1 = PR: previous results, for comparison."""
    found = read(
        "OML^O21", PID, orc(), asked(), orc("PR", f2="", f3="F0^LAB"), obr(f3="F0^LAB"), obx()
    )
    (result,) = (e for e in found.entries if e.kind == "observation")
    assert ("observation/https://hospital.example/ns/lab|F0/1834-1/", None) == (
        result.key,
        result.details.get("role"),
    )


def test_a_drug_order_is_an_order_too(read: Any) -> None:
    """RXO instead of OBR."""
    found = order(read("ORM^O01", PID, orc(), "RXO|L01XX^奥沙利铂^ATC|85||mg", f18="UNICODE UTF-8"))
    assert "L01XX" == found.code.code


def test_an_order_placed_is_authored_and_one_answered_is_not(read: Any) -> None:
    """ORC-9 is the moment of ordering only with NW."""
    new, taken = (order(read("ORM^O01", PID, orc(c), asked())).details for c in ("NW", "OK"))
    assert ("2026-11-18T10:55:00+08:00", None) == (new.get("authored"), taken.get("authored"))


@pytest.mark.parametrize(
    "sent",
    ["P1&HIS^F1&LAB", "P1^HIS", "^P1&HIS", "P1^HIS&1.2&ISO"],
)
def test_an_entity_identifier_is_read_at_either_level(read: Any, sent: str) -> None:
    """ORC-4 is an EI, later an EIP; some write an HD into the second component."""
    assert "HIS|P1" == order(read("ORM^O01", PID, orc(f4=sent), asked())).details["requisition"]


def test_different_numbers_in_orc_and_obr_are_reported(read: Any) -> None:
    """OBR's counts: one ORC may stand above several OBR."""
    found = read("ORM^O01", PID, orc(f3="F1"), asked(f3="F2"))
    assert "F2" == order(found).details["filler"]
    assert 1 == len(set(reasons(found, "ORC[1]-3")))


def test_the_statuses_of_the_tables_are_fhir_s() -> None:
    """ServiceRequest.status; the tables are data that no type checker sees."""
    allowed = {"active", "on-hold", "revoked", "completed", "entered-in-error"}
    assert {row["to"] for name in ("hl70038", "hl70119") for row in rows(name)} <= allowed


def test_an_order_control_holds_for_each_obr_up_to_the_next(read: Any) -> None:
    """One ORC, several OBR: each is an order of that status, and none a snapshot of the first."""
    found = read("ORM^O01", PID, orc("CA"), asked(), asked(f4="AFP^x^L"), orc("NW", f2="P2"))
    orders = [e for e in found.entries if e.kind == "order"]
    assert ["CA", "CA", "NW"] == [e.details["control"] for e in orders]
    assert 3 == len({e.key for e in orders})
    assert not any(e.key.endswith("snapshot") for e in orders)


def test_an_obr_before_any_orc_has_none(read: Any) -> None:
    """ORC holds for what stands below it."""
    first, second = (e for e in read("ORM^O01", PID, asked(), orc("CR"), asked(f4="A^a^L")).entries)
    assert ("", "CR") == (first.details.get("control", ""), second.details["control"])
