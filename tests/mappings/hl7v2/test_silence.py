"""What one field says beside another that overrules it is in the report, never left out silently."""

from __future__ import annotations

from typing import Any

import pytest
from feeds import PID, obr, obx, reasons, segment

NOT_MAPPED = ["valued but not mapped"]
RADIOLOGY = obr(f4="18748-4^CT^LN", f24="CT")
SCH = segment("SCH", f1="P1", f2="F1", f11="^^^20261120083000+0800")
EARLIER = "20261120083000+0800"
LATER = "20261120093000+0800"


def line(text: str, **fields: str) -> str:
    """A line of a report."""
    return obx("TX", text, "", f3="18748-4^CT^LN", **fields)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("NM", "pos"),
        ("ST", "see below"),
        ("TX", "none"),
        ("CWE", "1^x^L"),
        ("SN", "^1^:^128"),
        ("DT", "20261120"),
        ("NM", ""),
    ],
)
def test_a_unit_beside_no_number_is_reported(read: Any, kind: str, value: str) -> None:
    """OBX-6 has no place in such a value."""
    found = read("ORU^R01", PID, obr(), obx(kind, value, "mg/dL"))
    assert NOT_MAPPED == reasons(found, "OBX-6")


def test_a_unit_beside_a_number_is_mapped(read: Any) -> None:
    """The other half of the rule."""
    assert [] == reasons(read("ORU^R01", PID, obr(), obx("ST", "5", "mg/dL")), "OBX-6")


@pytest.mark.parametrize(
    ("control", "status", "said"),
    [("RE", "", []), ("NW", "", ["ORC-1"]), ("RE", "CM", ["ORC-5"]), ("", "", [])],
)
def test_what_orc_says_beside_results_is_reported(
    read: Any, control: str, status: str, said: list[str]
) -> None:
    """All but RE, which says that they follow: they do."""
    found = read("ORU^R01", PID, segment("ORC", f1=control, f3="F1", f5=status), obr(), obx())
    assert said == [path for path in ("ORC-1", "ORC-5") if reasons(found, path)]


@pytest.mark.parametrize(
    ("sent", "times"), [("A08", 0), ("a08", 0), ("ADT^A08", 0), ("", 0), ("A05", 1)]
)
def test_an_event_of_evn_that_is_not_the_message_s_is_reported(
    read: Any, sent: str, times: int
) -> None:
    """MSH-9.2 counts."""
    found = read("ADT^A08", f"EVN|{sent}|20261120", PID)
    assert times == len(reasons(found, "EVN[1]-1"))


@pytest.mark.parametrize(
    ("evn", "said"),
    [
        ("EVN||20261120||||20261119", NOT_MAPPED),
        ("EVN||20261120||||20261120", []),
        ("EVN||||||20261119", []),
    ],
)
def test_when_a_merge_happened_is_reported_where_it_does_not_count(
    read: Any, evn: str, said: list[str]
) -> None:
    """EVN-2 counts before EVN-6."""
    found = read("ADT^A40", evn, "PID|1||2^^^HOSP^MR", "MRG|1^^^HOSP^MR")
    assert said == reasons(found, "EVN-6")


@pytest.mark.parametrize(("sent", "times"), [("Y", 0), ("", 0), ("N", 1)])
def test_a_death_denied_beside_its_date_is_reported(read: Any, sent: str, times: int) -> None:
    """PID-29 counts."""
    pid = segment("PID", f3="SYN-1^^^HOSP^MR", f29="20261101", f30=sent)
    assert times == len(reasons(read("ADT^A08", pid), "PID[1]-30"))


@pytest.mark.parametrize(("action", "said"), [("G", []), ("L", NOT_MAPPED)])
def test_a_specimen_action_that_is_no_intent_is_reported(
    read: Any, action: str, said: list[str]
) -> None:
    """OBR-11."""
    found = read("ORM^O01", PID, "ORC|NW|P1", segment("OBR", f2="P1", f4="A^a^L", f11=action))
    assert said == reasons(found, "OBR-11")


@pytest.mark.parametrize(("sent", "times"), [("F", 0), ("", 0), ("P", 1), ("QQ", 1)])
def test_a_result_status_that_orc_overrules_is_reported(read: Any, sent: str, times: int) -> None:
    """ORC-5 CM beside OBR-25."""
    found = read("ORM^O01", PID, "ORC|SC|P1|||CM", segment("OBR", f2="P1", f4="A^a^L", f25=sent))
    assert times == len(reasons(found, "OBR[1]-25"))


@pytest.mark.parametrize(("typed", "said"), [(LATER, NOT_MAPPED), ("20261120", []), ("", [])])
def test_when_a_document_was_typed_is_reported_where_it_does_not_count(
    read: Any, typed: str, said: list[str]
) -> None:
    """TXA-8, the last edit, counts before TXA-7."""
    txa = segment("TXA", f2="DI", f7=typed, f8="20261120", f12="D1", f17="LA")
    assert said == reasons(read("MDM^T02", PID, txa, line("a")), "TXA-7")


@pytest.mark.parametrize(
    ("method", "code", "said"),
    [
        ("I9", "C22.0^x^I10", NOT_MAPPED),
        ("I10", "C22.0^x^ICD10", []),
        ("I10", "C22.0^x", []),
    ],
)
def test_a_coding_method_that_the_code_overrules_is_reported(
    read: Any, method: str, code: str, said: list[str]
) -> None:
    """DG1-3.3 counts before DG1-2."""
    assert said == reasons(read("ADT^A01", PID, f"DG1|1|{method}|{code}"), "DG1-2")


@pytest.mark.parametrize(("start", "said"), [("20261120083000+0800", []), (LATER, NOT_MAPPED)])
def test_a_start_of_a_resource_that_is_not_the_appointment_s_is_reported(
    read: Any, start: str, said: list[str]
) -> None:
    """SCH-11 counts before AIS-4."""
    assert said == reasons(read("SIU^S12", SCH, PID, f"AIS|1||OP^x^L|{start}"), "AIS-4")


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        ("20261120083000+0800", "", []),
        (LATER, "", ["TQ1-7"]),
        ("", LATER, []),
        (LATER, LATER, ["TQ1-7"]),
    ],
)
def test_times_of_tq1_that_are_not_the_appointment_s_are_reported(
    read: Any, start: str, end: str, said: list[str]
) -> None:
    """SCH-11 counts before TQ1, which tells the end here."""
    found = read("SIU^S12", SCH, segment("TQ1", f7=start, f8=end), PID)
    assert said == [path for path in ("TQ1-7", "TQ1-8") if reasons(found, path)]


@pytest.mark.parametrize(
    ("moved", "changed", "said"),
    [(LATER, LATER, []), ("", LATER, []), (LATER, "20261120", NOT_MAPPED), (LATER, "", [])],
)
def test_a_time_of_an_order_that_orc_overrules_is_reported(
    read: Any, moved: str, changed: str, said: list[str]
) -> None:
    """ORC-9 counts before OBR-22."""
    order = segment("OBR", f2="P1", f4="A^a^L", f22=changed)
    found = read("ORM^O01", PID, segment("ORC", f1="NW", f2="P1", f9=moved), order)
    assert said == reasons(found, "OBR-22")


@pytest.mark.parametrize(("sent", "said"), [("F", []), ("", []), ("P", NOT_MAPPED)])
def test_a_status_of_a_line_that_txa_overrules_is_reported(
    read: Any, sent: str, said: list[str]
) -> None:
    """TXA-17 counts before OBX-11."""
    txa = segment("TXA", f2="DI", f12="D1", f17="AU")
    assert said == reasons(read("MDM^T02", PID, txa, line("a", f11=sent)), "OBX-11")


@pytest.mark.parametrize(
    ("event", "lines", "said"), [("MDM^T02", [line("a")], []), ("MDM^T01", [], NOT_MAPPED)]
)
def test_a_name_beside_a_status_alone_is_reported(
    read: Any, event: str, lines: list[str], said: list[str]
) -> None:
    """OBR-4: the document keeps the name that came with its content."""
    txa = segment("TXA", f2="DI", f12="D1", f17="AU")
    found = read(event, PID, segment("OBR", f2="P1", f4="18748-4^CT^LN"), txa, *lines)
    assert said == reasons(found, "OBR-4")


def test_times_in_the_unit_of_a_duration_are_reported(read: Any) -> None:
    """SCH-11 one place too early."""
    sch = segment("SCH", f1="P1", f9="30", f10="^^^20261120083000+0800")
    found = read("SIU^S12", sch, PID)
    assert NOT_MAPPED == reasons(found, "SCH-10")
    assert [] == reasons(found, "SCH-9")


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [("", LATER, []), (EARLIER, LATER, []), (LATER, LATER, NOT_MAPPED)],
)
def test_a_time_of_an_order_that_all_its_results_overrule_is_reported(
    read: Any, first: str, second: str, said: list[str]
) -> None:
    """OBX-14 counts before OBR-7."""
    results = obx(f14=first), obx(f3="2039-6^CEA^LN", f14=second)
    found = read("ORU^R01", PID, obr(f7=EARLIER), *results)
    assert said == reasons(found, "OBR-7")


def test_a_resource_without_a_name_is_kept_by_its_kind(read: Any) -> None:
    """AIG-4, where AIG-3 is empty."""
    found = read("SIU^S12", SCH, PID, "AIG|1|||MRT1^MR scanner^L")
    (appointment,) = (e for e in found.entries if e.kind == "appointment")
    assert ["MRT1"] == [resource["code"] for resource in appointment.details["resources"]]


def test_a_filler_status_that_the_event_overrules_is_reported(read: Any) -> None:
    """SCH-25 still says Booked in S15."""
    assert 1 == len(reasons(read("SIU^S15", f"{SCH}{'|' * 14}Booked", PID), "SCH[1]-25"))


def test_the_sub_id_of_a_line_or_file_is_reported(read: Any) -> None:
    """OBX-4 groups observations only."""
    file = obx("ED", "^application^pdf^Base64^JVBERi0xLjQK", "", f4="1")
    txa = segment("TXA", f2="DI", f12="D1", f17="LA")
    assert NOT_MAPPED == reasons(read("MDM^T02", PID, txa, file), "OBX-4")
    found = read("ORU^R01", PID, RADIOLOGY, line("a", f4="1"), line("b", f4="2"))
    assert ["valued but not mapped, 2 times"] == reasons(found, "OBX-4")


@pytest.mark.parametrize(("sent", "times"), [("F", 0), ("", 0), ("P", 1), ("QQ", 1)])
def test_a_line_of_another_status_than_its_report_is_reported(
    read: Any, sent: str, times: int
) -> None:
    """OBR-25 counts before OBX-11."""
    found = read("ORU^R01", PID, RADIOLOGY, line("a"), line("b", f11=sent))
    assert times == len(reasons(found, "OBX[2]-11"))


def test_an_abnormal_flag_that_deletes_is_no_flag(read: Any) -> None:
    """OBX-8 of two quotation marks is none, and nothing to report."""
    found = read("ORU^R01", PID, obr(), obx(f8='""'))
    assert not found.entries[0].details.get("flags")
    assert [] == reasons(found, "OBX[1]-8")
