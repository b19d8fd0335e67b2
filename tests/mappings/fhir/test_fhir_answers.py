"""value[x] as a sender declared it: bare numbers and local answers, by question."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from resources import WHO, concept, observation, one

from mappings import fhir
from mappings.codes import LOINC
from mappings.conversion import Conversion
from mappings.record import Code, Coded, Quantity, Source
from mappings.site import Site

Read = Callable[..., Conversion]
OURS = "https://hospital.example/codes"
POSITIVE = Code(LOINC, "LA6576-8", "Positive")


@pytest.fixture(name="read")
def read_(site: Site, source: Source) -> Read:
    """Map an Observation of a sender with more maps."""

    def read(resource: dict[str, Any], **maps: object) -> Conversion:
        sender = replace(site, **maps)  # type: ignore[arg-type]
        return fhir.entries(resource, site=sender, source=source, patient=WHO)

    return read


def reasons(conversion: Conversion) -> list[str]:
    """Why something was reported."""
    return [finding.reason for finding in conversion.findings]


def test_a_bare_number_has_the_unit_that_its_sender_declared(read: Read) -> None:
    """As by HL7: reported, and never without a declaration."""
    bare = observation(valueQuantity={"value": 5})
    declared = read(bare, default_units={(LOINC, "1834-1"): "ng/mL"})
    value = one(declared).value
    assert isinstance(value, Quantity)
    assert ("ng/mL", "") == (value.unit, value.raw_unit)
    assert ["no unit given, the site's for this code is taken"] == reasons(declared)
    plain = read(bare, default_units={(LOINC, "2039-6"): "ng/mL"})
    value = one(plain).value
    assert isinstance(value, Quantity)
    assert (None, ["no unit given"]) == (value.unit, reasons(plain))


def test_a_component_is_a_question_of_its_own(read: Read) -> None:
    """Its unit is not that of the whole."""
    parts = [{"code": concept("CEA", OURS), "valueQuantity": {"value": 3}}]
    found = read(
        observation(valueQuantity={"value": 5}, component=parts),
        default_units={(OURS, "CEA"): "ug/L"},
    )
    values = [entry.value for entry in found.entries]
    assert [None, "ug/L"] == [value.unit for value in values if isinstance(value, Quantity)]


def test_a_local_answer_means_what_its_sender_declared(read: Read) -> None:
    """For this question; else it stays local and is reported."""
    answer = observation(valueQuantity=None, valueCodeableConcept=concept("1", OURS, "阳性"))
    maps = {"answer_maps": {(LOINC, "1834-1", OURS, "1"): POSITIVE}}
    found = read(answer, **maps)
    value = one(found).value
    assert isinstance(value, Coded)
    assert [(LOINC, "LA6576-8"), (OURS, "1")] == [(c.system, c.code) for c in value.codes]
    assert [] == reasons(found)
    assert ["answer in a local code that no map knows"] == reasons(read(answer))
