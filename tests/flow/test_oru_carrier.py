"""An EHR without FHIR: results by ORU^R01, corrected, answered late, and echoed back."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from receiver import Receiver, receiving
from whole_line import SITE, Line, opened

from workers.demo import ct, hospital
from workers.demo.hospital import Chart


@pytest.fixture
def his() -> Iterator[Receiver]:
    """The hospital's system."""
    with receiving() as made:
        yield made


@pytest.fixture
def line(tmp_path: Path, sqlite_url: str, his: Receiver) -> Iterator[Line]:
    """The line with `[oru]` instead of `[ehr]`."""
    head = SITE[: SITE.index("[ehr]")]
    site = head + (
        f'[oru]\nhost = "127.0.0.1"\nport = {his.port}\napplication = "HIS"\n'
        'facility = "DEMOHOSP"\ntimeout_s = 0.3\n'
    )
    with opened(tmp_path, sqlite_url, site=site) as made:
        yield made


def assess(line: Line, who: Chart) -> None:
    """The patient with all evidence, but no EHR by FHIR."""
    assert b"|AA|" in line.send(hospital.adt_a04(who, line.control_id(), line.clock()))
    line.evidence(who)
    line.settle()


def told(message: bytes) -> dict[str, str]:
    """OBX-3.1 to OBX-5."""
    lines = message.decode().split("\r")
    return {
        line.split("|")[3].split("^")[0]: line.split("|")[5]
        for line in lines
        if line.startswith("OBX")
    }


def fields(message: bytes, segment: str) -> list[str]:
    """Fields of the first segment of a name."""
    return next(s for s in message.decode().split("\r") if s.startswith(segment)).split("|")


def test_a_result_and_its_correction_reach_the_his(line: Line, his: Receiver, who: Chart):
    """The same OBR-3 with C, other figures, the PID as the HIS had sent it."""
    assess(line, who)
    assert ["CONFIRMED"] == [d.state for d in line.deliveries(who)]
    line.send(line.labs(who, status="C", values={"1834-1": Decimal(5000)}))
    line.settle()
    first, second = his.messages
    assert fields(first, "OBR")[3] == fields(second, "OBR")[3]
    assert ("P", "C") == (fields(first, "OBX")[11], fields(second, "OBX")[11])
    assert told(first)["conclusion"] != told(second)["conclusion"]
    assert f"{who.number}^^^DEMOHOSP^MR" in fields(first, "PID")[3]
    assert ["CONFIRMED", "CONFIRMED"] == [d.state for d in line.deliveries(who)]


def test_no_answer_is_sent_again_under_the_same_control_id(line: Line, his: Receiver, who: Chart):
    """Until it is answered; the receiver tells duplicates by MSH-10."""
    his.script[:] = ["nothing", "hang up", "AE"]
    assess(line, who)
    for _ in range(6):
        line.clock.forward(minutes=30)
        line.settle()
    assert ["CONFIRMED"] == [d.state for d in line.deliveries(who)]
    assert 4 == len(his.messages)
    assert 1 == len(set(his.control_ids()))


def test_a_rejection_parks_the_result(line: Line, his: Receiver, who: Chart):
    """AR: a person has to look."""
    his.script[:] = ["AR"]
    assess(line, who)
    line.clock.forward(hours=1)
    line.settle()
    assert (["PARKED"], 1) == ([d.state for d in line.deliveries(who)], len(his.messages))


def test_our_own_message_coming_back_starts_nothing(line: Line, his: Receiver, who: Chart):
    """The engine's copy of what we sent is a sighting (site rule 1)."""
    assess(line, who)
    before = line.jobs()
    assert b"|AA|" in line.send(his.messages[0])
    line.settle()
    after = line.jobs()
    assert 1 == after[("ingest", "done")] - before[("ingest", "done")]
    assert {k: v for k, v in before.items() if k[0] != "ingest"} == {
        k: v for k, v in after.items() if k[0] != "ingest"
    }


def test_a_patient_the_his_never_told_is_parked(line: Line, his: Receiver, who: Chart):
    """Known by FHIR and DICOM only: there is no PID to answer with."""
    assert 200 == line.fhir(hospital.fhir_history(who, ct.counts(who))).status_code
    assert 202 == line.fhir(hospital.fhir_patient(who), "/fhir/Patient").status_code
    line.stow(*ct.instances(who))
    line.settle()
    assert [] == his.messages


def adt(line: Line, event: str, *segments: str) -> None:
    """An ADT message of this moment."""
    line.clock.forward(seconds=1)
    stamp = line.clock().strftime("%Y%m%d%H%M%S+0000")
    head = (
        f"MSH|^~\\&|HIS|DEMOHOSP|ONCORD|DEMOHOSP|{stamp}||ADT^{event}|{line.control_id()}|P|2.5.1"
    )
    assert b"|AA|" in line.send(("\r".join([head, f"EVN||{stamp}", *segments]) + "\r").encode())
    line.settle()


def test_a_result_of_two_patients_is_taken_back_from_whom_it_was_told(
    line: Line, his: Receiver, who: Chart
):
    """Under the PID of the merged patient; the new one under the patient's own.

    The newest message that tells them, the unlink, names another patient first.
    """
    own = f"PID|1||{who.number}^^^DEMOHOSP^MR||{who.name[0]}^{who.name[1]}"
    other = "PID|1||SYN-2^^^DEMOHOSP^MR||OTHER^NUMBER"
    line.send(hospital.adt_a04(who, line.control_id(), line.clock()))
    adt(line, "A28", other)
    adt(line, "A40", other, f"MRG|{who.number}^^^DEMOHOSP^MR")
    line.evidence(who)
    line.send(
        line.labs(who, values={"1834-1": Decimal(5000)}, status="C").replace(
            f"{who.number}^".encode(), b"SYN-2^"
        )
    )
    line.settle()
    before = len(his.messages)
    adt(line, "A37", other, own)
    back, anew = his.messages[before:]
    assert ("W", "P") == (fields(back, "OBX")[11], fields(anew, "OBX")[11])
    assert fields(his.messages[before - 1], "PID")[3] == fields(back, "PID")[3]
    assert f"{who.number}^^^DEMOHOSP^MR" == fields(anew, "PID")[3]
    assert fields(back, "OBR")[3] != fields(anew, "OBR")[3]
