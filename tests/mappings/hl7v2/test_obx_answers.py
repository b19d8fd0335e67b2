"""OBX-5 and OBX-6 as a sender declared them: bare numbers and local answers, by question."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from feeds import obr, obx, oru, reasons

from mappings import hl7v2
from mappings.codes import LOINC, SNOMED
from mappings.conversion import Conversion
from mappings.record import Code, Coded, Entry, Interval, Quantity, Series, Source
from mappings.site import Site

Read = Callable[..., Conversion]
L = "urn:oncord:code:L"
POSITIVE = Code(LOINC, "LA6576-8", "Positive")
MILD = Code(SNOMED, "255604002", "Mild")


@pytest.fixture(name="read")
def read_(site: Site, source: Source) -> Read:
    """Map segments as one ORU of a sender with more maps."""

    def read(*segments: str, **maps: object) -> Conversion:
        sender = replace(site, **maps)  # type: ignore[arg-type]
        return hl7v2.entries(oru(obr(), *segments), site=sender, source=source)

    return read


def first(conversion: Conversion) -> Entry:
    """The first observation."""
    return next(e for e in conversion.entries if e.kind == "observation")


def unit(conversion: Conversion) -> tuple[str | None, str]:
    """The first number's unit, and as sent."""
    value = first(conversion).value
    assert isinstance(value, Quantity)
    return value.unit, value.raw_unit


LOCAL = {"f3": "AFP2^甲胎蛋白^L"}
DECLARED = {"default_units": {(L, "AFP2"): "ng/mL"}}


def test_a_bare_number_has_the_unit_that_its_sender_declared(read: Read) -> None:
    """Reported as such; a unit that was sent, known or not, is never replaced."""
    found = read(obx(value="5", unit="", **LOCAL), **DECLARED)
    assert ("ng/mL", "") == unit(found)
    assert ["no unit given, the site's for this code is taken"] == reasons(found, "OBX[1]-6")
    assert ("ug/L", "ug/L") == unit(read(obx(value="5", unit="ug/L", **LOCAL), **DECLARED))
    furlongs = read(obx(value="5", unit="furlong", **LOCAL), **DECLARED)
    assert (None, "furlong") == unit(furlongs)
    assert ["unit is not known, value never converted"] == reasons(furlongs, "OBX[1]-6")


def test_the_unit_of_one_question_is_no_others(read: Read) -> None:
    """Nor is it taken without a declaration."""
    other = read(obx(value="5", unit="", f3="CEA2^^L"), **DECLARED)
    plain = read(obx(value="5", unit="", **LOCAL))
    assert (None, "") == unit(other) == unit(plain)
    assert ["no unit given"] == reasons(other, "OBX[1]-6") == reasons(plain, "OBX[1]-6")


@pytest.mark.parametrize(
    ("question", "key"),
    [
        ("1834-1^AFP^LN", (LOINC, "1834-1")),
        ("AFP^甲胎蛋白^L", (LOINC, "1834-1")),  # by what the code map makes of it
        ("AFP^甲胎蛋白^L", (L, "AFP")),
        ("1834-1^AFP^LN^AFP2^甲胎蛋白^L", (L, "AFP2")),
        ("^甲胎蛋白", ("urn:oncord:code:text", "甲胎蛋白")),
    ],
)
def test_a_question_is_known_by_each_of_its_codes(
    read: Read, question: str, key: tuple[str, str]
) -> None:
    """As sent, as mapped, or by its words."""
    found = read(obx(value="5", unit="", f3=question), default_units={key: "ng/mL"})
    assert ("ng/mL", "") == unit(found)


def test_ranges_and_rows_of_bare_numbers_have_it_too(read: Read) -> None:
    """NR and NA."""
    between = first(read(obx("NR", "3^7", "", **LOCAL), **DECLARED)).value
    row = first(read(obx("NA", "3^7", "", **LOCAL), **DECLARED)).value
    assert isinstance(between, Interval)
    assert isinstance(row, Series)
    assert "ng/mL" == between.unit == row.unit


def codes(conversion: Conversion) -> list[tuple[str, str]]:
    """Codings of the first answer, best first."""
    value = first(conversion).value
    assert isinstance(value, Coded)
    return [(code.system, code.code) for code in value.codes]


SURFACE = {"answer_maps": {(LOINC, "5195-3", L, "1"): POSITIVE}}


def test_a_local_answer_means_what_its_sender_declared(read: Read) -> None:
    """`1` of HBsAg is positive; the sender's code stays beside it, and words if it has none."""
    found = read(obx("CWE", "1^阳性^L", "", f3="5195-3^HBsAg^LN"), **SURFACE)
    assert [(LOINC, "LA6576-8"), (L, "1")] == codes(found)
    assert [] == reasons(found, "OBX[1]-5")
    nameless = {"answer_maps": {(LOINC, "5195-3", L, "1"): replace(POSITIVE, display="")}}
    value = first(read(obx("CWE", "1^阳性^L", "", f3="5195-3^HBsAg^LN"), **nameless)).value
    assert isinstance(value, Coded)
    assert "阳性" == value.codes[0].display


def test_an_answer_to_another_question_is_another(read: Read) -> None:
    """The same code stays local there, and is reported."""
    found = read(obx("CWE", "1^一级^L", "", f3="13920009^肝性脑病^SCT"), **SURFACE)
    assert [(L, "1")] == codes(found)
    assert ["answer in a local code that no map knows"] == reasons(found, "OBX[1]-5")


@pytest.mark.parametrize("kind", ["IS", "ID", "CE", "CWE"])
def test_a_bare_answer_is_mapped(read: Read, kind: str) -> None:
    """A code of a table that the message does not name is the sender's own."""
    found = read(obx(kind, "1", "", f3="5195-3^HBsAg^LN"), **SURFACE)
    assert (LOINC, "LA6576-8") == codes(found)[0]
    anywhere = read(obx(kind, "1", "", f3="5195-3^HBsAg^LN"), code_maps={(L, "1"): MILD})
    assert (SNOMED, "255604002") == codes(anywhere)[0]


def test_what_it_means_here_stands_for_what_it_means_anywhere(read: Read) -> None:
    """Two meanings would be none."""
    found = read(
        obx("CWE", "1^阳性^L", "", f3="5195-3^HBsAg^LN"), code_maps={(L, "1"): MILD}, **SURFACE
    )
    assert [(LOINC, "LA6576-8"), (L, "1")] == codes(found)


def test_an_answer_that_others_understand_is_not_reported(read: Read) -> None:
    """By a code of its own, or in words alone."""
    for answer in ("LA6576-8^Positive^LN", "1^^L^LA6576-8^^LN", "^阳性", "pT2^pT2^AJCC8"):
        assert [] == reasons(read(obx("CWE", answer, "")), "OBX[1]-5")


@pytest.mark.parametrize(
    ("sent", "unit", "raw"),
    [
        ("CD:289^mg/dL", "mg/dL", "mg/dL"),
        ("1024^milligrams^99LAB^mg/dL^^UCUM", "mg/dL", "mg/dL"),
        ("mg/dL^grams^99LAB", "mg/dL", "mg/dL"),
        ("CD:289^spoonfuls", None, "CD:289"),
        ("100", None, "100"),
        ("1", "1", "1"),
    ],
)
def test_a_unit_may_stand_beside_a_number_of_the_sender_s_own(
    sent: str, unit: str | None, raw: str, site: Site, source: Source
) -> None:
    """OBX-6.1 counts, then the alternate code, then the words."""
    value = hl7v2.entries(oru(obr(), obx(unit=sent)), site=site, source=source).entries[0].value
    assert isinstance(value, Quantity)
    assert (unit, raw) == (value.unit, value.raw_unit)


@pytest.mark.parametrize(
    ("sent", "low", "high"),
    [("35-150^35^150", "35", "150"), (">40^>40", "40", None), ("see note^35^150", None, None)],
)
def test_a_range_in_components_is_read_by_its_first(
    sent: str, low: str | None, high: str | None, site: Site, source: Source
) -> None:
    """OBX-7 keeps its whole text."""
    made = hl7v2.entries(oru(obr(), obx(f7=sent)), site=site, source=source).entries[0]
    told = made.details["range"]
    assert (sent, low, high) == (told["text"], told.get("low"), told.get("high"))
