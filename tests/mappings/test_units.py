"""Units as senders write them, and conversion."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.errors import UnknownUnit
from mappings.tables import table
from mappings.units import convert, is_ucum, normalise


@pytest.mark.parametrize(
    ("sent", "ucum"),
    [
        ("mg/dl", "mg/dL"),
        ("MG/DL", "mg/dL"),
        ("K/uL", "10*3/uL"),
        ("K/UL", "10*3/uL"),
        ("10^9/L", "10*9/L"),
        ("×10⁹/L", "10*9/L"),
        ("x 10^9/L", "10*9/L"),
        ("G/L", "10*9/L"),
        ("IU/L", "[IU]/L"),
        ("IU/ML", "[IU]/mL"),
        ("PG/ML", "pg/mL"),
        ("μmol/L", "umol/L"),
        ("µmol/L", "umol/L"),
        ("kg/m²", "kg/m2"),
        ("％", "%"),
        ("mmol/L", "mmol/L"),
        ("nmol/(min.mL)", "nmol/(min.mL)"),
        ("MM", "mm"),
        ("mM", "mmol/L"),
        ("m/uL", "10*6/uL"),
        ("G/l", "10*9/L"),
        ("x10E3/uL", "10*3/uL"),
        ("X10E3/UL", "10*3/uL"),
        ("K/mcL", "10*3/uL"),
        ("/100 WBC", "/100{WBCs}"),
        ("HU", "[hnsf'U]"),
        ("pH", "1"),
        ("°C", "Cel"),
        ("次/分", "/min"),
    ],
)
def test_everyday_spellings_become_ucum(sent: str, ucum: str) -> None:
    """The alias table is read before UCUM, which would read K as kelvin and PG as petagauss."""
    assert ucum == normalise(sent, {})


@pytest.mark.parametrize("sent", ["", "   ", "g/lt", "foo", "见报告", "mg/dL" * 50])
def test_blank_and_unknown_units_are_none(sent: str) -> None:
    """Such a value is kept, never converted and never a feature (site rule 12)."""
    assert normalise(sent, {}) is None


def test_the_alias_of_a_site_comes_first() -> None:
    """One sender's G is another sender's gram."""
    assert "g" == normalise("G", {"G": "g"})


def test_every_alias_leads_to_ucum() -> None:
    """The table holds no unit that UCUM does not know."""
    assert [] == [unit for unit in set(table("units").values()) if not is_ucum(unit)]


@pytest.mark.parametrize(
    ("value", "source", "target", "code", "expected"),
    [
        ("1", "mg/dL", "umol/L", "1975-2", "17.1"),
        ("17.1", "umol/L", "mg/dL", "1975-2", "1"),
        ("1", "mg/dL", "umol/L", "2160-0", "88.4"),
        ("10", "[IU]/mL", "ng/mL", "1834-1", "12.1"),
        ("3.8", "g/dL", "g/L", None, "38"),
        ("400", "ng/mL", "ug/L", None, "400"),
        ("98", "10*3/uL", "10*9/L", None, "98"),
        ("36.6", "Cel", "[degF]", None, "97.88"),
        ("5", "%", "1", None, "0.05"),
        ("7", "foo", "foo", None, "7"),
    ],
)
def test_a_value_in_another_unit(
    value: str, source: str, target: str, code: str | None, expected: str
) -> None:
    """Exact decimals, molar mass by LOINC code."""
    assert Decimal(expected) == convert(Decimal(value), source, target, code=code)


@pytest.mark.parametrize(
    ("source", "target", "code"),
    [
        ("mg/dL", "umol/L", None),
        ("mg/dL", "umol/L", "777-3"),
        ("foo", "mg/dL", None),
        ("mg/dL", "foo", None),
        ("U/L", "[IU]/L", None),
    ],
)
def test_what_is_not_commensurable_is_refused(source: str, target: str, code: str | None) -> None:
    """Nobody guesses a molar mass."""
    with pytest.raises(UnknownUnit):
        convert(Decimal(1), source, target, code=code)


@given(st.text(max_size=60))
@settings(max_examples=60, deadline=None)
def test_no_text_breaks_the_reader_of_units(text: str) -> None:
    """Whatever stands in OBX-6 is a UCUM code or None."""
    found = normalise(text, {})
    assert found is None or is_ucum(found)
