"""MRG and the linked PIDs: what each event of the family says, as alias and move entries."""

from __future__ import annotations

from typing import Any

import pytest
from feeds import msh, obr, obx

from mappings import hl7v2
from mappings.conversion import Conversion
from mappings.errors import BadField, NoPatientIdentifier, UnmappedStructure
from mappings.record import Entry, Identifier, Source
from mappings.site import Site

MRN, CHINAID = "https://hospital.example/ns/mrn", "https://china.example/ns/id"
PID = "PID|1||2^^^HOSP^MR||LI^LEI||19700102|M"
MRG = "MRG|1^^^HOSP^MR"
EVN = "EVN|A40|20261120080000+0800||||20261119080000+0800"
SURVIVOR, PRIOR = Identifier("2", MRN), Identifier("1", MRN)


@pytest.fixture(name="read")
def read_(site: Site, source: Source) -> Any:
    """Map segments of one event."""

    def read(event: str, *segments: str, **header: str) -> Conversion:
        raw = "\r".join([msh(f"ADT^{event}", **header), *segments, ""]).encode()
        return hl7v2.entries(raw, site=site, source=source)

    return read


def said(found: Conversion) -> list[tuple[str, str, str, str]]:
    """What is said, of whom, with whom, and whether it is taken back."""
    return [
        (e.details["says"], e.patient.value, e.value.value, e.status)
        for e in found.entries
        if e.kind == "alias" and "says" in e.details and isinstance(e.value, Identifier)
    ]


def moves(found: Conversion) -> list[dict[str, Any]]:
    """What is said of visits and accounts."""
    return [dict(e.details) for e in found.entries if e.kind == "move"]


@pytest.mark.parametrize("event", ["A18", "A30", "A34", "A36", "A39", "A40"])
def test_a_merge_makes_both_identifiers_one_patients(read: Any, event: str) -> None:
    """PID survives, MRG-1 is the prior; the survivor's demographics are applied."""
    found = read(event, EVN, PID, MRG)
    assert [("merge", "2", "1", "final")] == said(found)
    assert (SURVIVOR, (SURVIVOR,)) == (found.patient, found.identifiers)
    assert {"patient/birth_date", "patient/sex", "patient/name"} < {e.key for e in found.entries}


@pytest.mark.parametrize("event", ["A46", "A47", "A48"])
def test_a_changed_identifier_names_the_same_patient(read: Any, event: str) -> None:
    """The old one still comes in late results."""
    assert [("change", "2", "1", "final")] == said(read(event, PID, MRG))


@pytest.mark.parametrize(
    ("evn", "time"),
    [
        ("EVN|A40|20261120080000+0800||||20261119080000+0800", "2026-11-20T00:00:00+00:00"),
        ("EVN|A40|||||20261119080000+0800", "2026-11-19T00:00:00+00:00"),
        ("EVN|A40", "2026-11-20T02:11:12+00:00"),
        ("ZZZ|1", "2026-11-20T02:11:12+00:00"),
    ],
)
def test_its_time_is_when_the_sender_recorded_it(read: Any, evn: str, time: str) -> None:
    """EVN-2, else EVN-6, else MSH-7."""
    [entry] = [e for e in read("A40", evn, PID, MRG).entries if e.kind == "alias"]
    assert entry.source_time is not None
    assert time == entry.source_time.earliest.isoformat()


@pytest.mark.parametrize("event", ["A40", "A24"])
def test_what_is_not_read_is_reported(read: Any, event: str) -> None:
    """By field; whole segments by name."""
    found = read(event, "EVN|A40|20261120080000+0800||01", PID, "PD1|||X", MRG, OTHER)
    paths = {finding.path for finding in found.findings}
    assert {"EVN-4", "PD1[1]"} <= paths


def test_groups_repeat(read: Any) -> None:
    """Each PID with the MRG after it; entries are filed under their own survivor."""
    found = read("A40", PID, MRG, "PID|2||4^^^HOSP^MR||HAN^MEI", "MRG|3^^^HOSP^MR")
    assert [("merge", "2", "1", "final"), ("merge", "4", "3", "final")] == said(found)
    names = {e.patient.value: e for e in found.entries if e.key == "patient/name"}
    assert {"2", "4"} == set(names)


def test_a_patient_without_mrg_is_reported(read: Any) -> None:
    """The other groups are read."""
    found = read("A40", PID, MRG, "PID|2||4^^^HOSP^MR")
    assert [("merge", "2", "1", "final")] == said(found)
    assert ["PID[2]"] == [f.path for f in found.findings if f.severity == "error"]


def test_every_prior_identifier_is_merged(read: Any) -> None:
    """MRG-1 repeats; MRG-4 holds the external one of old versions."""
    found = read("A40", PID, "MRG|1^^^HOSP^MR~31010^^^CHINAID^NI|||9^^^HOSP")
    assert ["1", "31010", "9"] == [other for _, _, other, _ in said(found)]


def test_a_pid_that_repeats_the_prior_is_not_filed_under_it(read: Any) -> None:
    """Some senders list both in PID-3, the prior first."""
    found = read("A40", "PID|1||1^^^HOSP^MR~2^^^HOSP^MR", MRG)
    assert ((SURVIVOR,), [("merge", "2", "1", "final")]) == (found.identifiers, said(found))


def test_a_patient_merged_into_themselves_is_refused(read: Any) -> None:
    """Nobody goes on: a person must look."""
    with pytest.raises(BadField):
        read("A40", "PID|1||1^^^HOSP^MR", MRG)


@pytest.mark.parametrize("segments", [(PID,), (MRG, PID), (PID, "MRG|1^^^NOBODY")])
def test_a_merge_that_names_nobody_to_merge_is_refused(read: Any, segments: Any) -> None:
    """No MRG, one before its PID, or of an authority nobody knows."""
    with pytest.raises(NoPatientIdentifier):
        read("A40", *segments)


def test_a_moved_identifier_goes_over_to_the_target(read: Any) -> None:
    """A43: the same value in PID-3 and MRG-1 is moved, the others say from whom to whom."""
    found = read(
        "A43",
        "PID|1||2^^^HOSP^MR~31010^^^CHINAID^NI||LI^LEI",
        "MRG|31010^^^CHINAID^NI~1^^^HOSP^MR",
    )
    assert [("move", "2", "31010", "final"), ("move", "31010", "1", "entered-in-error")] == (
        said(found)
    )
    assert ((SURVIVOR,), f"{CHINAID}|31010") == (
        found.identifiers, next(e for e in found.entries if e.kind == "alias").details["moved"],
    )  # fmt: skip


def test_in_old_versions_the_patients_stand_in_the_external_fields(read: Any) -> None:
    """PID-2 and MRG-4 (v2.3 3.2.43)."""
    found = read("A43", "PID|1|E2^^^CHINAID|1^^^HOSP", "MRG|1^^^HOSP|||E1^^^CHINAID")
    assert [("move", "E2", "1", "final"), ("move", "1", "E1", "entered-in-error")] == said(found)


def test_without_a_shared_identifier_all_of_mrg_is_moved(read: Any) -> None:
    """As senders write it who do not tell a move from a merge."""
    assert [("move", "2", "1", "final")] == said(read("A43", PID, MRG))


ACCOUNT = f"{PID}{'|' * 10}P2^^^HOSP^AN"


@pytest.mark.parametrize(
    ("event", "segments", "scope", "number", "becomes"),
    [
        ("A44", (f"{PID}{'|' * 10}P1^^^HOSP^AN", f"{MRG}||P1^^^HOSP^AN"), "account", "P1", "P1"),
        ("A45", (PID, f"{MRG}||||V1^^^HOSP^VN", "PV1|1|I" + "|" * 17 + "V1^^^HOSP^VN"),
         "visit", "V1", "V1"),
        ("A45", (PID, f"{MRG}||||V1^^^HOSP^VN", "PV1|1|I" + "|" * 17 + "V2^^^HOSP^VN"),
         "visit", "V1", "V2"),
        ("A45", (PID, MRG, "PV1|1|I" + "|" * 17 + "V1^^^HOSP^VN"), "visit", "V1", "V1"),
    ],
)  # fmt: skip
def test_a_moved_visit_or_account_belongs_to_the_patient_of_pid(
    read: Any, event: str, segments: Any, scope: str, number: str, becomes: str
) -> None:
    """By its number in MRG, else in PV1; it may get another."""
    found = read(event, *segments)
    [move] = moves(found)
    assert (scope, f"{MRN}|{number}", f"{MRN}|{becomes}", str(SURVIVOR)) == (
        move["scope"], move["number"], move["becomes"], move["to"],
    )  # fmt: skip
    [entry] = [e for e in found.entries if e.kind == "move"]
    assert (SURVIVOR, PRIOR, []) == (entry.patient, entry.value, said(found))


def test_both_names_of_the_structure_of_a44_are_known(read: Any) -> None:
    """ADT_A43 until version 2.6, ADT_A44 since."""
    account = (f"{PID}{'|' * 10}P1", f"{MRG}||P1")
    for name in ("ADT_A43", "ADT_A44"):
        found = read(f"A44^{name}", *account)
        assert [] == [f for f in found.findings if f.path == "MSH[1]-9"]


def test_visits_of_one_message_move_each(read: Any) -> None:
    """A45 repeats MRG and PV1 below one PID."""
    found = read("A45", PID, f"{MRG}||||V1", "PV1|1|I", f"{MRG}||||V2", "PV1|2|I")
    assert ["V1", "V2"] == [move["number"] for move in moves(found)]
    assert 1 == len([e for e in found.entries if e.key == "patient/name"])


@pytest.mark.parametrize(
    ("event", "segments", "scope"),
    [
        ("A35", (ACCOUNT, "MRG|2^^^HOSP^MR||P1^^^HOSP^AN"), "account"),
        ("A36", (ACCOUNT, f"{MRG}||P1^^^HOSP^AN"), "account"),
        ("A41", (ACCOUNT, "MRG|2^^^HOSP^MR||P1^^^HOSP^AN"), "account"),
        ("A49", (ACCOUNT, "MRG|2^^^HOSP^MR||P1^^^HOSP^AN"), "account"),
        ("A42", (PID, "MRG|2^^^HOSP^MR||||P1^^^HOSP^VN", "PV1|1|I" + "|" * 17 + "P2^^^HOSP^VN"),
         "visit"),
        ("A50", (PID, "MRG|2^^^HOSP^MR||||P1^^^HOSP^VN", "PV1|1|I" + "|" * 17 + "P2^^^HOSP^VN"),
         "visit"),
    ],
)  # fmt: skip
def test_a_renumbered_visit_or_account_stays_with_its_patient(
    read: Any, event: str, segments: Any, scope: str
) -> None:
    """Merged or changed: a later move by the new number must find what came under the old."""
    found = read(event, *segments)
    [entry] = [e for e in found.entries if e.kind == "move"]
    assert (SURVIVOR, SURVIVOR) == (entry.patient, entry.value)
    assert (scope, f"{MRN}|P1", f"{MRN}|P2") == tuple(
        entry.details[name] for name in ("scope", "number", "becomes")
    )


def test_a_visit_moved_between_accounts_of_one_patient_says_nothing(read: Any) -> None:
    """Whose it is does not change."""
    found = read("A45", PID, "MRG|2^^^HOSP^MR||||V1", "PV1|1|I" + "|" * 17 + "V1")
    assert ([], []) == (said(found), moves(found))


def test_a_move_without_a_number_is_a_finding(read: Any) -> None:
    """Nothing is guessed."""
    found = read("A45", PID, MRG, "PV1|1|I")
    assert [] == moves(found)
    assert any("which visit" in f.reason and f.severity == "error" for f in found.findings)


def test_an_alternate_visit_id_is_not_mapped(read: Any) -> None:
    """A51: nothing of ours is found by it."""
    with pytest.raises(UnmappedStructure):
        read("A51", PID, MRG, "PV1|1|I")


OTHER = "PID|2||1^^^HOSP^MR||LI^LEI||19700103|M"


def test_linked_patients_are_one(read: Any) -> None:
    """A24: each keeps identifiers and demographics of their own."""
    found = read("A24", PID, "PV1|1|I", OTHER)
    assert [("link", "2", "1", "final")] == said(found)
    births = {e.patient.value for e in found.entries if e.key == "patient/birth_date"}
    assert {"1", "2"} == births


def test_unlinked_patients_are_two(read: Any) -> None:
    """A37 retracts every alias between them."""
    found = read("A37", PID.replace("MR|", "MR~31010^^^CHINAID^NI|"), OTHER)
    assert [
        ("unlink", "2", "1", "entered-in-error"), ("unlink", "31010", "1", "entered-in-error"),
    ] == said(found)  # fmt: skip


def test_an_identifier_in_both_lists_of_an_unlink_tells_nothing(read: Any) -> None:
    """It cannot name both, and which of them it names nobody says."""
    shared = "~31010^^^CHINAID^NI|"
    found = read("A37", PID.replace("MR|", f"MR{shared}"), OTHER.replace("MR|", f"MR{shared}"))
    assert [("unlink", "2", "1", "entered-in-error")] == said(found)
    assert "31010" not in {e.value.value for e in found.entries if isinstance(e.value, Identifier)}


@pytest.mark.parametrize("event", ["A24", "A37"])
@pytest.mark.parametrize("second", ["ZZZ|1", "PID|2||1^^^NOBODY", f"{OTHER}\r{OTHER}"])
def test_a_link_needs_two_patients(read: Any, event: str, second: str) -> None:
    """Of known authorities."""
    with pytest.raises(NoPatientIdentifier):
        read(event, PID, second)


def test_patients_who_are_the_same_cannot_be_unlinked(read: Any) -> None:
    """The same identifier twice."""
    with pytest.raises(BadField):
        read("A37", PID, PID)


def test_results_know_their_visit_and_account(site: Site, source: Source) -> None:
    """PV1-19 and PID-18 of their own patient; who a patient is does not go with the visit."""
    raw = "\r".join(
        [msh(), ACCOUNT, "PV1|1|O" + "|" * 17 + "V1", obr(), obx(),
         "PID|2||9^^^HOSP^MR", obr(f3="F2"), obx(), ""]
    ).encode()  # fmt: skip
    found = hl7v2.entries(raw, site=site, source=source).entries
    visits = {(e.patient.value, e.kind): (e.source.visit, e.source.account) for e in found}
    assert {
        ("2", "patient"): ("", ""),
        ("2", "observation"): ("V1", f"{MRN}|P2"),
        ("9", "observation"): ("", ""),
    } == {key: visits[key] for key in visits if key[1] in ("patient", "observation")}


def test_an_entry_is_filed_under_the_identifier_it_came_under(read: Any) -> None:
    """Site rule 6: a merge moves nothing."""
    found: list[Entry] = list(read("A40", PID, MRG).entries)
    assert {"2"} == {e.patient.value for e in found}
