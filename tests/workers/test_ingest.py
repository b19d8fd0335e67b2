"""Bad input, one test each: answered, kept, shown, and nothing else is lost."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import text
from whole_line import Line

from interop.ledger import images, messages
from interop.ledger.engine import reading, writing
from mappings.record import Quantity
from workers.demo import ct, hospital
from workers.demo.hospital import Chart


def oru(value: str = "412", unit: str = "ng/mL", *, pid: str = "7^^^DEMOHOSP^MR",
        control_id: str = "O1", extra: str = "") -> bytes:  # fmt: skip
    """An AFP."""
    return (
        f"MSH|^~\\&|LIS|DEMOHOSP|ONCORD|DEMOHOSP|20260304120000+0800||ORU^R01^ORU_R01|{control_id}|P|2.5.1\r"
        f"PID|1||{pid}||合成^患者||19701228|M\r"
        "OBR|1||L1^LIS|1834-1^AFP^LN|||20260301080000+0800|||||||||||||||20260301100000+0800|||F\r"
        f"OBX|1|NM|1834-1^AFP^LN||{value}|{unit}|||||F|||20260301080000+0800\r{extra}"
    ).encode()


def taken(line: Line, sent: bytes) -> None:
    """Send, drain."""
    assert b"|AA|" in line.send(sent)
    line.settle()


def afp(line: Line, number: str = "7") -> Quantity:
    """The AFP that was kept."""
    from interop.ledger import entries as record_rows
    from mappings.record import Identifier

    with reading(line.parts.engine) as connection:
        person = record_rows.person_of(
            connection, [Identifier(number, "https://hospital.example/mrn")]
        )
        assert person is not None
        [found] = [e for e in record_rows.of_person(connection, person) if e.kind == "observation"]
    assert isinstance(found.value, Quantity)
    return found.value


def report_of(line: Line) -> list[list[str]]:
    """The conversion report of the newest message."""
    [row] = line.inbound("applied")[:1]
    with reading(line.parts.engine) as connection:
        found: list[list[str]] = messages.get(connection, row["id"]).report
    return found


def test_a_message_of_an_interface_that_is_gone_waits_for_a_person(line: Line):
    """The site file changed between receipt and mapping."""
    assert b"|AA|" in line.send(oru())
    line.commit.settle()
    with writing(line.parts.engine) as connection:
        connection.execute(text("UPDATE inbound SET interface = 'old-lis'"))
    line.settle()
    [row] = line.inbound("parked")
    assert "the site has no interface old-lis any more" == row["reason"]


@pytest.mark.parametrize("unit", ["furlong", "", "ng/ml/ml/", "mmHg?"])
def test_a_wrong_or_blank_unit_is_kept_and_found_but_no_feature(line: Line, unit: str):
    """The raw text stays, the unit is None, and the report says so (site rule 12)."""
    taken(line, oru(unit=unit))
    assert (None, unit, "412") == (afp(line).unit, afp(line).raw_unit, afp(line).text)
    assert [f for f in report_of(line) if "unit" in f[1].lower()]


def test_a_known_spelling_of_a_unit_is_understood(line: Line):
    """`ng/ml` is everyday."""
    taken(line, oru(unit="ng/ml"))
    assert "ng/mL" == afp(line).unit


def test_a_patient_without_an_adt_is_made_by_an_oru(line: Line):
    """An identifier of a known authority is enough (site rule 7)."""
    taken(line, oru())
    assert "applied" == line.inbound("applied")[0]["state"]


def test_a_blank_authority_is_the_sites_default(line: Line):
    """CX.4 is often empty (site rule 6)."""
    taken(line, oru(pid="7^^^^MR"))
    assert "412" == afp(line).text


@pytest.mark.parametrize("pid", ["7^^^NOBODY^MR", ""])
def test_an_identifier_of_no_known_authority_is_parked(line: Line, pid: str):
    """Kept, shown, and mending the site file replays it."""
    taken(line, oru(pid=pid))
    [row] = line.inbound("parked", "quarantined")
    assert row["reason"]
    assert {("ingest", "done"): 1} == line.jobs()


def test_a_type_nobody_maps_is_ignored_with_its_reason(line: Line):
    """Answered AA, counted as unmapped."""
    message = hospital._msh("ADT^A60^ADT_A60", "X1", line.clock(), "UNICODE UTF-8")
    taken(line, f"{message}\rPID|1||7^^^DEMOHOSP^MR\r".encode())
    assert ["ADT_A60 is not mapped"] == [row["reason"] for row in line.inbound("ignored")]


@pytest.mark.parametrize(
    "sent",
    [
        oru(value="not a number"),
        oru(extra="OBX|2|ZZ|1834-1^AFP^LN||x\r"),
        oru(extra="OBX\r"),
        oru(extra="\x00\x01\x02|||\r"),
        oru(pid="7\x00^^^DEMOHOSP^MR"),
        oru(pid="7" * 3000 + "^^^DEMOHOSP^MR"),
        oru(extra="OBX|2|NM|1834\x00-1^AFP^LN||1|ng/mL\r"),
        oru().replace(b"\r", b"\n"),
        oru() + b"\xff\xfe\xfd",
        oru(value="9" * 400),
        oru(value="1e999999999"),
        oru(value="NaN"),
    ],
    ids=["text in NM", "unknown type", "empty OBX", "binary segment", "NUL in PID", "long PID",
         "NUL in code", "LF", "bad bytes", "huge", "exponent", "NaN"],
)  # fmt: skip
def test_a_message_gone_wrong_never_blocks_the_next(either: Line, sent: bytes):
    """Applied, parked or quarantined: one terminal state, and the next message is applied."""
    line = either
    taken(line, sent)
    assert 1 == len(line.inbound("applied", "parked", "quarantined", "ignored"))
    assert {("ingest", "done")} >= set(line.jobs()) - {("ingest", "parked")}
    taken(line, oru(control_id="O2", pid="8^^^DEMOHOSP^MR"))
    assert "412" == afp(line, "8").text


def test_one_bad_message_in_a_batch_does_not_sink_the_others(either: Line):
    """Ten messages, drained at once; nine are applied."""
    line = either
    for number in range(10):
        bad = "\x00" if number == 4 else ""
        assert b"|AA|" in line.send(
            oru(control_id=f"B{number}", pid=f"{number}{bad}^^^DEMOHOSP^MR")
        )
    line.settle()
    assert 9 <= len(line.inbound("applied"))
    assert [] == line.inbound("received")


def test_a_study_of_an_unknown_patient_is_stored_and_waits(line: Line, who: Chart):
    """200; the person is made by the identifier, and no result comes before the rest is known."""
    assert 200 == line.stow(*list(ct.instances(who))[:4]).status_code
    line.settle()
    line.clock.forward(seconds=60)
    line.settle()
    with reading(line.parts.engine) as connection:
        row = images.study(connection, who.study_uid)
    assert row is not None
    assert ("complete", "silence") == (row.state, row.evidence)
    assert ([], []) == (line.current(who), line.deliveries(who))


def test_a_study_of_an_unknown_issuer_is_parked(line: Line, who: Chart):
    """Stored and answered 200; shown to a person."""
    [dataset] = list(ct.instances(who))[:1]
    dataset.IssuerOfPatientID = "NOBODY"
    assert 200 == line.stow(dataset).status_code
    line.settle()
    assert ["stow"] == [row["door"] for row in line.inbound("parked")]


def broken(dataset: Dataset) -> bytes:
    """Part 10 bytes cut inside the pixel data."""
    return ct.part10(dataset)[:-5000]


def test_a_torn_instance_leaves_the_others(line: Line, who: Chart):
    """The instance that cannot be read is told of; the study goes on."""
    one, two, three = list(ct.instances(who))[:3]
    answer = line.stow(ct.part10(one), broken(two), ct.part10(three))
    assert answer.status_code in (200, 202)
    line.settle()
    assert [] == line.inbound("received")


def test_an_instance_with_other_pixels_under_its_uid_is_parked(line: Line, who: Chart):
    """Alarming: the first version stays (site rule 20)."""
    [dataset] = list(ct.instances(who))[:1]
    line.stow(dataset)
    line.settle()
    dataset.PixelData = bytes(len(dataset.PixelData))
    assert 200 == line.stow(dataset).status_code
    line.settle()
    with reading(line.parts.engine) as connection:
        states = [row.state for row in images.of_study(connection, who.study_uid)]
    assert ["current", "parked"] == sorted(states)


def test_an_instance_with_edited_tags_replaces_its_former_version(line: Line, who: Chart):
    """Same pixels, other tags: a version."""
    [dataset] = list(ct.instances(who))[:1]
    line.stow(dataset)
    line.settle()
    dataset.StudyDescription = "corrected"
    line.stow(dataset)
    line.settle()
    with reading(line.parts.engine) as connection:
        states = [row.state for row in images.of_study(connection, who.study_uid)]
    assert ["current", "replaced"] == sorted(states)
