"""OBX: every OBX-2 type, every OBX-11, comparators, units and times."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from feeds import msh, obr, obx, oru

from mappings import hl7v2
from mappings.conversion import Conversion
from mappings.record import (
    Attachment,
    Code,
    Coded,
    Entry,
    Interval,
    Quantity,
    Ratio,
    Series,
    Source,
    Text,
    Value,
    When,
)
from mappings.site import Site
from mappings.tables import table


@pytest.fixture(name="read")
def read_(site: Site, source: Source) -> Any:
    """Map segments as one ORU."""

    def read(*segments: str, **header: str) -> Conversion:
        return hl7v2.entries(oru(*segments, **header), site=site, source=source)

    return read


def first(conversion: Conversion) -> Entry:
    """The first observation or report."""
    return next(e for e in conversion.entries if e.kind in ("observation", "report"))


def reasons(conversion: Conversion, path: str) -> list[str]:
    """Why something at a path was reported."""
    return [f.reason for f in conversion.findings if f.path == path]


def local(code: str, display: str = "") -> Code:
    """A code of the sender's own."""
    return Code("urn:oncord:code:L", code, display)


QUANTITY = Quantity(Decimal("5.10"), "ng/mL", "5.10", "ng/mL")


@pytest.mark.parametrize(
    ("kind", "sent", "value"),
    [
        ("NM", "5.10", QUANTITY),
        ("NM", " 5.10 ", QUANTITY),
        ("NM", "-0.5", Quantity(Decimal("-0.5"), "ng/mL", "-0.5", "ng/mL")),
        ("NM", "<5", Quantity(Decimal(5), "ng/mL", "5", "ng/mL", "<")),
        ("NM", "≥ 60000", Quantity(Decimal(60000), "ng/mL", "60000", "ng/mL", ">=")),
        ("NM", "pos", Text("pos")),
        ("NM", "NaN", Text("NaN")),
        ("NM", "1_000", Text("1_000")),
        ("NM", "５", Text("５")),
        ("NM", "5.10^^hexokinase", QUANTITY),
        ("NM", "<5^(low)", Quantity(Decimal(5), "ng/mL", "5", "ng/mL", "<")),
        ("NM", "<low^x", Text("<low^x")),
        ("NM", "120^80", Text("120^80")),
        ("NM", "1^:^x", Text("1^:^x")),
        ("SN", "^5.10", QUANTITY),
        ("SN", ">=^90", Quantity(Decimal(90), "ng/mL", "90", "ng/mL", ">=")),
        ("SN", "^1^:^128", Ratio(Decimal(1), Decimal(128), "1:128")),
        ("SN", "^1^/^2", Ratio(Decimal(1), Decimal(2), "1/2", "/")),
        ("SN", "^10^-^20", Interval("10", "20", "ng/mL")),
        ("SN", "^2^+", Text("2+")),
        ("SN", "<>^5", Text("<>5")),
        ("SN", "≥^5", Quantity(Decimal(5), "ng/mL", "5", "ng/mL", ">=")),
        ("SN", "5.10", QUANTITY),
        ("SN", ">^1^:^128", Ratio(Decimal(1), Decimal(128), ">1:128")),
        ("nm", "5.10", QUANTITY),
        ("ST", r"a \T\ b", Text("a & b")),
        ("ST", "5.10", QUANTITY),
        ("ST", "positive", Text("positive")),
        ("TX", "line one~~line three", Text("line one\n\nline three")),
        ("FT", r"a\.br\b", Text("a\nb")),
        ("CE", "5.10", QUANTITY),
        ("CE", "5.10^x^L", Coded((local("5.10", "x"),), "x")),
        ("CE", "POS^positive^L", Coded((local("POS", "positive"),), "positive")),
        (
            "CWE",
            "P^pos^L^10828004^Positive^SCT",
            Coded(
                (Code("http://snomed.info/sct", "10828004", "Positive"), local("P", "pos")), "pos"
            ),
        ),
        ("CWE", "^only words", Coded((), "only words")),
        ("CNE", "A^a^L", Coded((local("A", "a"),), "a")),
        ("CF", "A^a^L", Coded((local("A", "a"),), "a")),
        ("IS", "A", Coded((local("A"),), "A")),
        ("ID", "Y", Coded((local("Y"),), "Y")),
        ("IS", "A^a^L", Coded((local("A", "a"),), "a")),
        ("CWE", '""^words', Coded((), "words")),
        ("CWE", "^^L", None),
        ("DT", "20261120", When(datetime(2026, 11, 20), "day")),
        ("DT", "202611", When(datetime(2026, 11, 1), "month")),
        (
            "DTM",
            "20261120093000.5-0500",
            When(datetime(2026, 11, 20, 9, 30, 0, 500000), "second", -300),
        ),
        ("TS", "202611200930^M", When(datetime(2026, 11, 20, 9, 30), "minute", 480)),
        ("TM", "0930", Text("09:30")),
        ("TM", "093015.25+0800", Text("09:30:15.25")),
        ("DR", "20260101^20260201", Interval("2026-01-01", "2026-02-01")),
        ("NR", "1^5", Interval("1", "5", "ng/mL")),
        ("NA", "1^2~3^4", Series((("1", "2"), ("3", "4")), "ng/mL")),
        ("RP", "http://pacs/1^PACS^AP^PDF", Attachment("application/pdf", url="http://pacs/1")),
        ("VR", "1^2", Text("1^2")),
        ("EI", "1^HOSP", Text("1^HOSP")),
        ("HD", "HOSP^1.2^ISO", Text("HOSP^1.2^ISO")),
        ("XTN", "^PRN^PH^^^555", Text("^PRN^PH^^^555")),
        ("TN", "555-1234", Text("555-1234")),
        ("CX", "1^^^HOSP", Text("1^^^HOSP")),
        ("XAD", "street^^city", Text("street^^city")),
        ("ZZ", "what^ever", Text("what^ever")),
        ("", "words", Text("words")),
    ],
)
def test_every_type_has_its_value(read: Any, kind: str, sent: str, value: Value | None) -> None:
    """OBX-5 by OBX-2, numbers to the digit."""
    found = first(read(obr(), obx(kind, sent))).value
    assert value == found


@pytest.mark.parametrize(
    ("kind", "sent"),
    [("NM", "pos"), ("DTM", "00000000"), ("DTM", "20261120240000"), ("TM", "25"), ("ZZ", "x")],
)
def test_a_value_that_is_not_of_its_type_is_kept_as_text_and_reported(
    read: Any, kind: str, sent: str
) -> None:
    """The field is refused, not the message."""
    found = read(obr(), obx(kind, sent))
    assert Text(sent) == first(found).value
    assert [f for f in found.findings if f.path.startswith("OBX[1]-")]


def test_an_encapsulated_document_is_kept_by_digest(read: Any) -> None:
    """The bytes say what they are, whatever ED.3 says."""
    value = first(read(obr(), obx("ED", "^text^plain^Base64^JVBERi0xLjQK", ""))).value
    assert isinstance(value, Attachment)
    assert ("application/pdf", 9, 64) == (value.content_type, value.size, len(value.sha256 or ""))


def test_a_document_that_cannot_be_decoded_is_reported(read: Any) -> None:
    """Its digest is unknown, its place is known."""
    found = read(obr(), obx("ED", "^application^pdf^Base64^***", ""))
    assert Attachment("application/pdf") == first(found).value
    assert ["encapsulated data cannot be decoded as ED.4 says"] == reasons(found, "OBX[1]-5")


@pytest.mark.parametrize(("sent", "status"), sorted(table("hl70085").items()))
def test_every_status_of_table_0085_is_mapped(read: Any, sent: str, status: str) -> None:
    """And the raw code stays in the details."""
    entry = first(read(obr(), obx(f11=sent)))
    assert (status, sent) == (entry.status, entry.details["status"])


def test_a_missing_status_is_the_order_s(read: Any) -> None:
    """OBR-25 speaks for OBX that say nothing."""
    assert "preliminary" == first(read(obr(f25="P"), obx(f11=""))).status
    assert "unknown" == first(read(obr(f25=""), obx(f11=""))).status


@pytest.mark.parametrize("unit", ["", "g/lt"])
def test_a_blank_or_unknown_unit_is_kept_raw_and_reported(read: Any, unit: str) -> None:
    """Site rule 12: never converted, in the work list."""
    found = read(obr(), obx(unit=unit))
    value = first(found).value
    assert isinstance(value, Quantity)
    assert (None, unit) == (value.unit, value.raw_unit)
    assert 1 == len(reasons(found, "OBX[1]-6"))


def test_a_power_of_ten_with_its_caret_unescaped_is_still_a_unit(read: Any) -> None:
    """`10^9/L` is everyday in OBX-6, though ^ separates components there."""
    value = first(read(obr(), obx(unit="10^9/L"))).value
    assert ("10*9/L", "10^9/L") == (value.unit, value.raw_unit)


def test_the_unit_of_a_coded_element_is_read(read: Any) -> None:
    """OBX-6 is a CE: its first component is the unit."""
    value = first(read(obr(), obx(unit="mg/dl^milligram per decilitre^L"))).value
    assert "mg/dL" == getattr(value, "unit", None)


@pytest.mark.parametrize("unit", ["", "grade"])
def test_a_number_sent_as_a_code_is_one_without_a_unit(read: Any, unit: str) -> None:
    """A grade is no quantity."""
    assert Coded((local("2"),), "") == first(read(obr(), obx("CE", "2", unit))).value


def test_what_stands_behind_a_number_is_reported(read: Any) -> None:
    """NM has no components; receivers pass by those that they do not know (v2.5.1 2.8)."""
    found = read(obr(), obx("NM", "5.10^^hexokinase"))
    assert ["a remark behind the number is left out"] == reasons(found, "OBX[1]-5")


def test_two_quotes_delete_a_value(read: Any) -> None:
    """`""` in OBX-5 withdraws what was stored."""
    entry = first(read(obr(), obx(value='""')))
    assert ("deleted", None) == (entry.status, entry.value)


@pytest.mark.parametrize("value", ['""~""', '""~'])
def test_two_quotes_in_every_repetition_delete_the_value(read: Any, value: str) -> None:
    """Nothing is left of it."""
    assert "deleted" == first(read(obr(), obx("CWE", value, ""))).status


def test_two_quotes_in_one_repetition_delete_that_one(read: Any) -> None:
    """The others stand."""
    entry = first(read(obr(), obx("CWE", 'A^a^L~""', "")))
    assert ("final", Coded((local("A", "a"),), "a")) == (entry.status, entry.value)


def test_an_empty_value_changes_nothing(read: Any) -> None:
    """U and addenda come without the result they speak of."""
    entry = first(read(obr(), obx(value="", f11="U")))
    assert ("final", None, True) == (entry.status, entry.value, entry.details["value_as_before"])


def test_loinc_stands_first_whatever_triplet_it_is_in(read: Any) -> None:
    """The other codings are alternates."""
    entry = first(read(obr(), obx(f3="AFPX^afp^L^1834-1^AFP^LN")))
    assert (Code("http://loinc.org", "1834-1", "AFP"), (local("AFPX", "afp"),)) == (
        entry.code,
        entry.alternates,
    )


def test_a_local_code_is_mapped_by_the_site(read: Any) -> None:
    """Site.code_maps makes L|AFP LOINC's."""
    assert "1834-1" == getattr(first(read(obr(), obx(f3="AFP^afp^L"))).code, "code", None)


def test_an_obx_without_a_name_is_reported(read: Any) -> None:
    """Nothing says what was observed, so nothing is filed."""
    found = read(obr(), obx(f3=""))
    assert [] == [e for e in found.entries if e.kind == "observation"]
    assert ["OBX-3 is empty: nothing says what was observed"] == reasons(found, "OBX[1]-3")


def test_repetitions_are_kept(read: Any) -> None:
    """The first is the value, all stand in the details."""
    entry = first(read(obr(), obx("CWE", "A^a^L~B^b^L", "")))
    assert Coded((local("A", "a"),), "a") == entry.value
    assert 2 == len(entry.details["repetitions"])


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ("0-7", {"text": "0-7", "low": "0", "high": "7"}),
        ("0.2 – 1.2", {"text": "0.2 – 1.2", "low": "0.2", "high": "1.2"}),
        ("<5", {"text": "<5", "high": "5"}),
        (">=60", {"text": ">=60", "low": "60"}),
        ("-5-5", {"text": "-5-5", "low": "-5", "high": "5"}),
        ("-5--2", {"text": "-5--2", "low": "-5", "high": "-2"}),
        ("4.3 to 6.2", {"text": "4.3 to 6.2", "low": "4.3", "high": "6.2"}),
        ("3.5至9.5", {"text": "3.5至9.5", "low": "3.5", "high": "9.5"}),
        ("7-0", {"text": "7-0"}),
        ("70_105", {"text": "70_105"}),
        ("0-7 ng/mL", {"text": "0-7 ng/mL"}),
        ("阴性", {"text": "阴性"}),
    ],
)
def test_a_reference_range_keeps_its_text(read: Any, sent: str, found: dict[str, str]) -> None:
    """Low and high only where they can be read."""
    assert found == first(read(obr(), obx(f7=sent))).details["range"]


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ("H", ["H"]),
        ("L~A", ["L", "A"]),
        ("h", ["H"]),
        ("H>", ["HU"]),
        ("H^High^HL70078", ["H"]),
        ("↑", ["H"]),
        ("偏低", ["L"]),
        ("AC", ["AC"]),
    ],
)
def test_an_abnormal_flag_is_read_by_table_0078(read: Any, sent: str, found: list[str]) -> None:
    """As v3-ObservationInterpretation; codes inactive there stay v2's."""
    conversion = read(obr(), obx(f8=sent), f18="UNICODE UTF-8")
    assert (found, []) == (first(conversion).details["flags"], reasons(conversion, "OBX[1]-8"))


def test_a_flag_of_no_table_is_kept_and_reported(read: Any) -> None:
    """Each time it comes."""
    found = read(obr(), obx(f8="??"), obx(f3="1^x^L", f8="??"))
    assert ["??"] == first(found).details["flags"]
    assert 1 == len(reasons(found, "OBX[1]-8")) == len(reasons(found, "OBX[2]-8"))


@pytest.mark.parametrize(("sent", "absent"), [("N", "not-asked"), ("X", "not-performed")])
def test_why_there_is_no_value_is_told(read: Any, sent: str, absent: str) -> None:
    """FHIR's data-absent-reason."""
    assert absent == first(read(obr(), obx(value="", f11=sent))).details["absent"]


@pytest.mark.parametrize(
    ("sent", "role"), [("QST", "supporting"), ("SCI", "supporting"), ("RSLT", None), ("", None)]
)
def test_an_answer_to_the_order_s_question_is_no_result(
    read: Any, sent: str, role: str | None
) -> None:
    """OBX-29: it stands by the order, and no door takes it for a measurement."""
    entry = first(read(obr(), obx(f29=sent)))
    assert (role, role is None) == (entry.details.get("role"), entry.twin is not None)


def test_method_and_site_of_an_observation_are_kept(read: Any) -> None:
    """OBX-17 and OBX-20."""
    details = first(read(obr(), obx(f17="ECL^电化学发光^L", f20="LIV^肝^L"))).details
    assert ("ECL", "LIV") == (details["method"]["code"], details["site"]["code"])


def test_the_time_of_analysis_is_kept_beside_the_time_of_release(read: Any) -> None:
    """OBX-19 beside OBR-22."""
    entry = first(read(obr(), obx(f19="20261119100000+0800")))
    assert "2026-11-19T10:00:00+08:00" == entry.details["analysed"]


@pytest.mark.parametrize(("sent", "status"), sorted(table("hl70123").items()))
def test_every_status_of_table_0123_serves_obx_without_their_own(
    read: Any, sent: str, status: str
) -> None:
    """OBR-25."""
    assert status == first(read(obr(f25=sent), obx(f11=""))).status


@pytest.mark.parametrize("sent", ["Y", "Z", ""])
def test_an_order_status_that_is_no_result_status_is_reported(read: Any, sent: str) -> None:
    """Y and Z speak of orders; an empty OBR-25 is an error of the sender."""
    found = read(obr(f25=sent), obx())
    assert ["error"] == [f.severity for f in found.findings if f.path == "OBR[1]-25"]


def test_a_code_longer_than_any_index_takes_is_prose(read: Any) -> None:
    """The ledger must be able to file under it, and the words are not lost."""
    entry = first(read(obr(), obx("ST", "x", "", f3="A" * 3000)))
    assert (True, "A" * 3000) == (len(entry.key) < 500, entry.code.display)


def test_the_clinical_time_is_the_nearest_one_sent(read: Any) -> None:
    """OBX-14, else OBR-7, else SPM-17."""
    by_obx = first(read(obr(), obx(f14="20261119080000+0800"))).effective
    by_order = first(read(obr(), obx())).effective
    specimen = "SPM|1||||||||||||||||20261118070000+0800"
    by_specimen = first(read(obr(f7=""), obx(), specimen)).effective
    days = [w.value.day for w in (by_obx, by_order, by_specimen) if w]
    assert [19, 20, 18] == days


def test_the_source_time_is_when_it_was_issued(read: Any) -> None:
    """OBR-22, else OBX-19, else MSH-7."""
    times = [
        first(read(obr(), obx(f19="20261119100000+0800"))).source_time,
        first(read(obr(f22=""), obx(f19="20261119100000+0800"))).source_time,
        first(read(obr(f22=""), obx())).source_time,
    ]
    assert [
        "2026-11-20T10:00:00+08:00",
        "2026-11-19T10:00:00+08:00",
        "2026-11-20T10:11:12+08:00",
    ] == [t.isoformat() for t in times if t]


def test_a_zone_that_was_not_sent_is_marked(read: Any) -> None:
    """MSH-7's zone counts as sent; the site's does not."""
    sent = first(read(obr(f7="20261120093000"), obx())).effective
    assumed = first(read(obr(f7="20261120093000"), obx(), f7="20261120100000")).effective
    assert [(480, False), (480, True)] == [
        (w.offset_minutes, w.assumed_zone) for w in (sent, assumed) if w
    ]


def test_the_path_names_the_field(read: Any) -> None:
    """Segment by number, so that a person finds it."""
    found = read(obr(), obx(), obx(f3="1975-2^x^LN"))
    assert ["OBX[1]-5", "OBX[2]-5"] == [e.path for e in found.entries if e.kind == "observation"]


def test_a_key_without_filler_number_is_weak(read: Any) -> None:
    """It carries @ and the clinical time."""
    entry = first(read(obr(f3=""), obx()))
    assert "observation/@2026-11-20T01:30Z/1834-1/" == entry.key
    assert "1834-1@2026-11-20T01:30Z/" == entry.twin


def test_the_filler_number_of_orc_serves_where_obr_has_none(read: Any) -> None:
    """ORC-3 before the OBR."""
    assert "observation/F9/1834-1/" == first(read("ORC|RE||F9", obr(f3=""), obx())).key


def test_the_same_obx_twice_is_two_facts(read: Any) -> None:
    """Neither overwrites the other, and it is reported."""
    found = read(obr(), obx(value="1"), obx(value="2"))
    keys = [e.key for e in found.entries if e.kind == "observation"]
    assert 2 == len(set(keys))


def test_a_message_without_a_date_in_msh_is_read(site: Site, source: Source) -> None:
    """MSH-7 is often bad; the results are not."""
    raw = "\r".join([msh(f7="now"), "PID|1||SYN-1^^^HOSP^MR", obr(f22=""), obx(), ""]).encode()
    assert first(hl7v2.entries(raw, site=site, source=source)).source_time is None
