"""Code maps of one question: units of bare numbers and local answers; their work list and replay."""

from __future__ import annotations

from pathlib import Path

import code_maps
import pytest
from whole_line import Line

from mappings.record import Coded, PatientRecord, Quantity
from workers import unmapped
from workers.codes import COLUMNS, BadCodeMap, Senders, read
from workers.demo.hospital import AFP, Chart
from workers.settings import BadSettings
from workers.site_file import Site

HEAD = ",".join((*COLUMNS, "of")) + "\n"
AFP_UNIT = "unit,,,UCUM,ng/mL,,LN|1834-1\n"
POSITIVE = "L,1,阳性,LN,LA6576-8,Positive,LN|5195-3\n"
L, LOINC = "urn:oncord:code:L", "http://loinc.org"


def written(folder: Path, *rows: str, name: str = "site.csv") -> Path:
    """A code map with the column of questions."""
    return code_maps.written(folder, name, *rows, head=HEAD)


@pytest.mark.parametrize(
    ("rows", "line", "reason"),
    [
        (("unit,u,,UCUM,ng/mL,,L|AFP\n",), 2, "the unit of one question is of numbers without"),
        (("unit,,,UCUM,ng/mL,,\n",), 2, "code and target are needed"),
        (("L,,,LN,LA6576-8,,L|HBSAG\n",), 2, "code and target are needed"),
        (("L,1,,LN,LA6576-8,,HBSAG\n",), 2, "of is the system and code of a question"),
        (("L,1,,LN,LA6576-8,,L|\n",), 2, "of is the system and code of a question"),
        (("L,1,,LN,LA6576-9,,L|HBSAG\n",), 2, "target is not a LOINC code"),
        (("L,1,,SCT,22298007,,L|HBSAG\n",), 2, "target is not a SNOMED CT concept"),
        (("L,MVI,,ONCORD,micro,,\n",), 2, "target is none of macrovascular-invasion, extrahepatic"),
        (("LN,LA6576-8,,SCT,10828004,,L|HBSAG\n",), 2, "codes of a standard system are not mapped"),
        ((POSITIVE, POSITIVE), 3, "the code is mapped in line 2 already"),
        ((AFP_UNIT, AFP_UNIT), 3, "the code is mapped in line 2 already"),
        ((AFP_UNIT, "L,1,,LN,LA6576-8,\n"), 3, "not 7 cells"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(
    tmp_path: Path, rows: tuple[str, ...], line: int, reason: str
):
    """Nothing of a file with a bad row is taken."""
    with pytest.raises(BadCodeMap, match=f"line {line}: {reason}"):
        read(written(tmp_path, *rows))


def test_one_answer_may_mean_much(tmp_path: Path):
    """A code of a question is no code of another; a sender's own row comes before the site's."""
    grade = "L,1,,SCT,255604002,,SCT|13920009\n"
    written(tmp_path, POSITIVE, grade, AFP_UNIT, "L,1,,LN,LA9633-4,,\n")
    written(tmp_path, "unit,,,UCUM,ug/L,,LN|1834-1\n", name="his.csv")
    found = Senders({"his": Site(), "lab": Site()}, tmp_path / "codes")
    answers = found["lab"].answer_maps
    assert "LA6576-8" == answers[LOINC, "5195-3", L, "1"].code
    assert "255604002" == answers["http://snomed.info/sct", "13920009", L, "1"].code
    assert "LA9633-4" == found["lab"].code_maps[L, "1"].code
    assert ("ug/L", "ng/mL") == tuple(
        found[name].default_units[LOINC, "1834-1"] for name in ("his", "lab")
    )


def bare_afp(line: Line, who: Chart, *, loinc: str = AFP, filler: str = "L7") -> bytes:
    """An order of one value without a unit."""
    sent = line.labs(who, loincs=[loinc], filler=filler)
    shown = who.synthetic.labs[loinc][1]
    assert f"|{shown}|".encode() in sent
    return sent.replace(f"|{shown}|".encode(), b"||")


def answer(line: Line, who: Chart, question: str, code: str, *, filler: str) -> bytes:
    """An order with one answer in the laboratory's own code."""
    head, _, _ = line.labs(who, loincs=[AFP], filler=filler).partition(b"OBX|")
    return head + f"OBX|1|CWE|{question}||{code}||||||F\r".encode()


def observed(line: Line, who: Chart) -> list[Quantity | Coded]:
    """Numbers and answers of the record."""
    record = PatientRecord.of(line.entries(who), as_of=line.clock())
    values = [e.value for e in record.of_kind("observation")]
    return [value for value in values if isinstance(value, Quantity | Coded)]


def listed(line: Line) -> list[tuple[str, str, str, str, bool]]:
    """System, code, question, reason and whether it is mended, of each line of the work list."""
    items = unmapped.listed(line.parts)
    return [(item.system, item.code, item.of, item.why, item.mended) for item in items]


def test_a_number_without_a_unit_gets_the_one_that_is_declared(either: Line, who: Chart):
    """Listed by question with its reason; declared, only its own messages are read again."""
    line = either
    line.send(bare_afp(line, who))  # T1
    line.send(bare_afp(line, who, loinc="1751-7", filler="L8"))  # T2: an albumin, no AFP
    line.settle()
    assert {
        ("unit", "", f"{LOINC}|1834-1", "no unit sent", False),
        ("unit", "", f"{LOINC}|1751-7", "no unit sent", False),
    } == set(listed(line))
    written(line.parts.settings.data_dir, AFP_UNIT)
    line.settle()
    assert ("unit", "", f"{LOINC}|1834-1", "no unit sent", True) in listed(line)
    assert 1 == unmapped.replay_mended(line.parts)
    assert ["T1"] == code_maps.queued(line)
    line.settle()
    assert {"ng/mL", None} == {v.unit for v in observed(line, who) if isinstance(v, Quantity)}
    assert [("unit", "", f"{LOINC}|1751-7", "no unit sent", False)] == listed(line)


def test_an_answer_is_mapped_for_its_question_alone(either: Line, who: Chart):
    """`1` of HBsAg and `1` of an encephalopathy: two lines of the list, one of them mended."""
    line = either
    surface, brain = "5195-3^HBsAg^LN", "13920009^肝性脑病^SCT"
    line.send(answer(line, who, surface, "1^阳性^L", filler="A1"))  # T1
    line.send(answer(line, who, brain, "1^一级^L", filler="A2"))  # T2
    line.send(answer(line, who, surface, "LA6577-6^Negative^LN", filler="A3"))  # T3: understood
    line.settle()
    why = "answer without a map"
    assert {
        ("L", "1", f"{LOINC}|5195-3", why, False),
        ("L", "1", "http://snomed.info/sct|13920009", why, False),
    } == set(listed(line))
    written(line.parts.settings.data_dir, POSITIVE)
    line.settle()
    assert 1 == unmapped.replay_mended(line.parts)
    assert ["T1"] == code_maps.queued(line)
    line.settle()
    assert [("L", "1", "http://snomed.info/sct|13920009", why, False)] == listed(line)
    found = {v.codes[0].code for v in observed(line, who) if isinstance(v, Coded)}
    assert {"LA6576-8", "1", "LA6577-6"} == found
    assert 1 == unmapped.replay_code(line.parts, "his", "L", "1", "LN|5195-3")
    assert 2 == unmapped.replay_code(line.parts, "his", "L", "1")
    with pytest.raises(BadSettings, match="HBSAG is no question"):
        unmapped.replay_code(line.parts, "his", "L", "1", "HBSAG")


def test_a_local_answer_to_a_local_question_is_known_by_what_was_sent(line: Line, who: Chart):
    """The map of the question changes its code; the row of its answer holds on."""
    line.send(answer(line, who, "HBSAG^乙肝表面抗原^L", "P^阳性^L", filler="A1"))
    line.settle()
    written(line.parts.settings.data_dir, "L,HBSAG,,LN,5195-3,,\n", "L,P,,LN,LA6576-8,,L|HBSAG\n")
    line.settle()
    assert 1 == unmapped.replay_mended(line.parts)
    line.settle()
    assert [] == listed(line)
    [value] = observed(line, who)
    assert isinstance(value, Coded)
    assert "LA6576-8" == value.codes[0].code
