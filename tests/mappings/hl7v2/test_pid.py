"""PID: identifiers with their authority, names in two scripts, what deletes and what leaves."""

from __future__ import annotations

from typing import Any

import pytest
from feeds import obr, obx, reasons, segment

from mappings.record import Entry, Identifier, Text
from mappings.tables import table

PID = "PID|1||SYN-1^^^HOSP^MR"


def pid(**fields: str) -> str:
    """A PID of the one patient."""
    return segment("PID", f1="1", **{"f3": "SYN-1^^^HOSP^MR", **fields})


def field(found: Any, name: str) -> Entry | None:
    """One demographic field."""
    return next((e for e in found.entries if e.key == f"patient/{name}"), None)


def test_every_cx_of_known_authority_names_the_patient(read: Any) -> None:
    """PID-3 with all its repetitions; PID-2 and PID-4 where an authority stands beside the number."""
    sent = pid(f2="77^^^CHINAID", f3="SYN-1^^^HOSP^MR~88^^^&1.2.3.4&ISO^PI", f4="99^^^LAB")
    found = read("ADT^A08", "EVN||20261120", sent)
    assert ["SYN-1", "88", "77", "99"] == [i.value for i in found.identifiers]


@pytest.mark.parametrize("number", ["f2", "f4"])
def test_an_external_number_without_authority_names_nobody(read: Any, number: str) -> None:
    """The site's default authority is that of PID-3: another's number must not join two persons."""
    found = read("ADT^A08", "EVN||20261120", pid(**{number: "4711"}))
    assert ["SYN-1"] == [i.value for i in found.identifiers]
    assert 1 == len(reasons(found, f"PID[1]-{number[1:]}"))


def test_the_social_security_number_is_kept_and_names_nobody(read: Any) -> None:
    """PID-19 is of type SS: no alias, and nothing is filed under it."""
    found = read("ADT^A08", "EVN||20261120", pid(f19="310101196503081234"))
    assert Identifier("310101196503081234", "", "SS") == field(found, "ss").value
    assert ("SYN-1",) == tuple(i.value for i in found.identifiers)
    assert [] == [e for e in found.entries if e.kind == "alias"]


def test_a_number_longer_than_any_index_takes_is_no_identifier(read: Any) -> None:
    """The ledger must be able to file under it."""
    found = read("ADT^A08", "EVN||20261120", pid(f3=f"SYN-1^^^HOSP~{'9' * 5000}^^^HOSP"))
    assert ["SYN-1"] == [i.value for i in found.identifiers]


def test_an_account_number_names_no_person(read: Any) -> None:
    """Mother and newborn may share one, even from the authority of the record numbers."""
    found = read("ADT^A01", "EVN||20261120", pid(f3="A77^^^HOSP^AN~100^^^HOSP^MR"))
    assert ["100"] == [identifier.value for identifier in found.identifiers]


def test_a_name_is_kept_in_each_of_its_scripts(read: Any) -> None:
    """XPN.8: ideographic, phonetic, alphabetic."""
    sent = pid(f5="张^伟^^^^^L^I~ㄓㄤ^ㄨㄟˇ^^^^^L^P~ZHANG^WEI^^^^^L^A")
    name = field(read("ADT^A08", "EVN||20261120", sent, f18="UNICODE UTF-8"), "name")
    assert Text("张伟") == name.value
    assert ("ㄓㄤㄨㄟˇ", "ZHANG WEI") == (name.details["phonetic"], name.details["alphabetic"])


def test_a_name_of_subcomponents_is_the_surname_alone(read: Any) -> None:
    """FN.2 to FN.5 repeat the prefix and the partner's name."""
    name = field(read("ADT^A08", "EVN||20261120", pid(f5="Vogel&von&Vogel^Anna")), "name")
    assert Text("Vogel Anna") == name.value


def test_every_address_is_kept(read: Any) -> None:
    """The first is the address, all stand beside it."""
    sent = pid(f11="中山路1号^^上海^^200001^CHN^H~淮海路2号^^上海^^200020^CHN^B")
    address = field(read("ADT^A08", "EVN||20261120", sent, f18="UNICODE UTF-8"), "address")
    assert "中山路1号, 上海, 200001, CHN" == address.value.text
    assert 2 == len(address.details["all"])


def test_two_quotes_delete_a_demographic_field(read: Any) -> None:
    """And an empty field changes nothing."""
    found = read("ADT^A08", "EVN||20261120", f'{PID}||DOE^JO||""|')
    assert ("deleted", None) == (
        field(found, "birth_date").status,
        field(found, "birth_date").value,
    )
    assert field(found, "sex") is None


def test_two_quotes_delete_the_part_they_stand_in(read: Any) -> None:
    """A component or repetition of `""` is gone; the rest of the field stands."""
    sent = pid(f5='DOE^""^B~""', f11='""^Floor 2^Town')
    found = read("ADT^A08", "EVN||20261120", sent)
    assert Text("DOE B") == field(found, "name").value
    assert "Floor 2, Town" == field(found, "address").value.text


@pytest.mark.parametrize("sent", ["^^^^", "", "~"])
def test_a_field_of_delimiters_changes_nothing(read: Any, sent: str) -> None:
    """It says as little as an empty one."""
    assert field(read("ADT^A08", "EVN||20261120", pid(f5=sent)), "name") is None


def test_a_birth_date_keeps_the_time_that_was_sent(read: Any) -> None:
    """More than eight digits are a moment; six are a month."""
    at = field(read("ADT^A08", "EVN||20261120", pid(f7="20261119231500+0800")), "birth_date")
    month = field(read("ADT^A08", "EVN||20261120", pid(f7="196503")), "birth_date")
    assert ("2026-11-19T23:15:00+08:00", "1965-03") == (
        at.value.isoformat(),
        month.value.isoformat(),
    )


@pytest.mark.parametrize("sent", ["00000000", "19650230", "0830", "unknown"])
def test_a_date_that_is_none_is_left_out_and_reported(read: Any, sent: str) -> None:
    """The field is refused, not the message."""
    found = read("ADT^A08", "EVN||20261120", pid(f5="DOE", f7=sent))
    assert ["patient/name"] == [e.key for e in found.entries]
    assert ["not a date or time"] == reasons(found, "PID[1]-7")


@pytest.mark.parametrize(
    ("death", "indicator", "text"),
    [
        ("20261101", "N", "2026-11-01"),
        ("", "Y", "true"),
        ("", "N", "false"),
        ("", "No", "false"),
        ("00000000", "Y", "true"),
    ],
)
def test_the_date_of_death_beats_the_indicator(
    read: Any, death: str, indicator: str, text: str
) -> None:
    """PID-29 before PID-30; what cannot be read beats nothing."""
    found = field(read("ADT^A08", "EVN||20261120", pid(f29=death, f30=indicator)), "deceased")
    shown = found.value.text if isinstance(found.value, Text) else found.value.isoformat()
    assert text == shown


def test_a_death_indicator_of_no_table_is_reported(read: Any) -> None:
    """Nobody is declared dead, or alive, by a word we do not know."""
    found = read("ADT^A08", "EVN||20261120", pid(f30="?"))
    assert field(found, "deceased") is None
    assert 1 == len(reasons(found, "PID[1]-30"))


@pytest.mark.parametrize(("sent", "sex"), sorted(table("hl70001").items()))
def test_every_sex_of_the_table_is_mapped(read: Any, sent: str, sex: str) -> None:
    """Chinese feeds write 男, 女 or GB/T 2261 numbers."""
    found = read("ADT^A04", "EVN||20261120", pid(f8=sent), f18="UNICODE UTF-8")
    assert Text(sex) == found.entries[0].value


def test_comments_on_the_patient_are_kept(read: Any) -> None:
    """NTE right below PID speak of the patient."""
    found = read("ORU^R01", PID, "NTE|1||青霉素过敏", "NTE|2||听力障碍", obr(), obx())
    assert Text("青霉素过敏\n听力障碍") == field(found, "note").value
