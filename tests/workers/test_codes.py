"""Code maps: checked as a whole, read again when they change; the work list and its replay."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from code_maps import HEAD, queued, written
from structlog.testing import capture_logs
from whole_line import Line

from interop.ledger import entries as record_rows
from interop.ledger import results
from interop.ledger.engine import reading
from mappings.record import Code, Entry, PatientRecord, Quantity
from mappings.site import Site
from workers import unmapped
from workers.codes import BadCodeMap, Senders, read
from workers.demo import ct, hospital
from workers.demo.hospital import AFP, Chart

AFP_ROW = "L,AFP,甲胎蛋白,LN,1834-1,AFP\n"


@pytest.mark.parametrize(
    ("rows", "line", "reason"),
    [
        (("L,AFP,,NOBODY,1,\n",), 2, "target_system is not known"),
        (("L,AFP,,,1834-1,\n",), 2, "target_system is not known"),
        ((AFP_ROW, "L,CEA,,LN,2039-6,\n", AFP_ROW), 4, "the code is mapped in line 2 already"),
        (("unit,furlong,,UCUM,furlong,\n",), 2, "target is not a UCUM unit"),
        (("L,AFP,,UCUM,ng/mL,\n",), 2, "units, and nothing else, are mapped to UCUM"),
        (("unit,u,,LN,1834-1,\n",), 2, "units, and nothing else, are mapped to UCUM"),
        (("L,AFP,,LN,1834-2,\n",), 2, "target is not a LOINC code: its check digit is wrong"),
        (("LN,1834-1,,LN,1834-1,\n",), 2, "codes of a standard system are not mapped"),
        (("L,,,LN,1834-1,\n",), 2, "code and target are needed"),
        (("unit,,,UCUM,ng/mL,\n",), 2, "code and target are needed"),
        ((AFP_ROW, "L,CEA\n"), 3, "not 6 cells"),
        ((AFP_ROW, 'L,"CE"A,,LN,2039-6,\n'), 3, "not CSV"),
        ((AFP_ROW, "L,CEA,,LN,2039-6,"), 3, "the last line does not end"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named_by_file_and_line(
    tmp_path: Path, rows: tuple[str, ...], line: int, reason: str
):
    """And nothing of the file is used."""
    path = written(tmp_path, "his.csv", *rows)
    with pytest.raises(BadCodeMap) as caught:
        read(path)
    assert ("his.csv", line, reason) == (caught.value.file, caught.value.line, caught.value.reason)


def test_other_columns_and_other_encodings_are_refused(tmp_path: Path):
    """The first line names the columns; a byte that is not UTF-8 is named by its line."""
    path = written(tmp_path, "his.csv", head="system,code\n")
    with pytest.raises(BadCodeMap, match="line 1: the columns are"):
        read(path)
    path.write_bytes((HEAD + AFP_ROW).encode("gb18030"))
    with pytest.raises(BadCodeMap, match="line 2: not UTF-8"):
        read(path)


def test_a_spreadsheets_file_is_read(tmp_path: Path):
    """Byte order mark, CRLF, quotes, blank rows at the end."""
    path = tmp_path / "his.csv"
    text = HEAD + 'L,"A,FP",,LN,1834-1,AFP\nunit,万/ml,,UCUM,10*4/mL,\n,,,,,\n'
    path.write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    found = read(path)
    assert {("urn:oncord:code:L", "A,FP"): Code("http://loinc.org", "1834-1", "AFP")} == found.codes
    assert {"万/ml": "10*4/mL"} == found.units


@pytest.fixture
def senders(tmp_path: Path) -> Senders:
    """Two interfaces with a map for all and one for the first."""
    written(tmp_path, "site.csv", AFP_ROW, "L,CEA,,LN,2039-6,\n", "unit,u1,,UCUM,ng/mL,\n")
    written(tmp_path, "his.csv", "L,AFP,,LN,1751-7,\n")
    return Senders({"his": Site(name="t"), "ris": Site(name="t")}, tmp_path / "codes")


def target(senders: Senders, interface: str, code: str) -> str | None:
    """What a local code becomes."""
    found = senders[interface].code_maps.get(("urn:oncord:code:L", code))
    return found.code if found else None


def test_a_senders_own_row_comes_before_the_sites(senders: Senders):
    """The others stay as they are for all."""
    assert ("1751-7", "1834-1") == (target(senders, "his", "AFP"), target(senders, "ris", "AFP"))
    assert ("2039-6", "2039-6") == (target(senders, "his", "CEA"), target(senders, "ris", "CEA"))
    assert "ng/mL" == senders["ris"].unit_aliases["u1"]


def test_a_changed_map_is_read_again(senders: Senders, tmp_path: Path):
    """Changed, added, removed; untouched files are not read."""
    assert not senders.refresh()
    written(tmp_path, "his.csv", "L,AFP,,LN,1834-1,\n")
    assert (True, "1834-1") == (senders.refresh(), target(senders, "his", "AFP"))
    (tmp_path / "codes" / "site.csv").unlink()
    assert (True, None) == (senders.refresh(), target(senders, "his", "CEA"))


def test_a_broken_map_changes_nothing_and_alarms(senders: Senders, tmp_path: Path):
    """Never half a map: not even a sound file beside the broken one is taken."""
    written(tmp_path, "site.csv", "L,CEA,,LN,1834-1,\n")
    written(tmp_path, "his.csv", "L,AFP,,LN,1834-7,\n")
    with capture_logs() as logs:
        assert not senders.refresh()
        assert not senders.refresh()
    assert [("codes.broken", "error", "his.csv", 2)] == [
        (told["event"], told["log_level"], told["file"], told["line"]) for told in logs
    ]
    assert (True, "2039-6") == (senders.broken, target(senders, "his", "CEA"))
    written(tmp_path, "his.csv", AFP_ROW)
    assert (True, False) == (senders.refresh(), senders.broken)
    assert "1834-1" == target(senders, "his", "CEA")


def test_a_map_of_no_interface_is_refused(tmp_path: Path):
    """A misspelt file name would do nothing, quietly."""
    written(tmp_path, "hiss.csv", AFP_ROW)
    with pytest.raises(BadCodeMap, match="no interface has this name"):
        Senders({"his": Site()}, tmp_path / "codes")


def local_afp(line: Line, who: Chart, *, unit: str = "ng/mL", filler: str = "L7") -> bytes:
    """An order of one AFP under the laboratory's own code."""
    sent = line.labs(who, loincs=[AFP], filler=filler)
    shown = who.synthetic.labs[AFP][1]
    return sent.replace("1834-1^甲胎蛋白^LN".encode(), "AFP^甲胎蛋白^L".encode()).replace(
        f"|{shown}|".encode(), f"|{unit}|".encode()
    )


def record(line: Line, who: Chart) -> PatientRecord:
    """The patient's record now."""
    return PatientRecord.of(line.entries(who), as_of=line.clock())


def measured(line: Line, who: Chart) -> list[tuple[str, str | None]]:
    """Code and unit of every number in the record."""
    return [
        (entry.code.code, entry.value.unit)
        for entry in record(line, who).of_kind("observation")
        if entry.code and isinstance(entry.value, Quantity)
    ]


def has_afp(line: Line, who: Chart) -> bool:
    """Whether liver_dx sees an AFP."""
    with reading(line.parts.engine) as connection:
        row = results.readiness(connection, line.person(who), "liver_dx")
    assert row is not None
    [found] = [i["present"] for i in row.body["inputs"] if i["input"] == "AFP"]
    return bool(found)


def test_a_mended_code_becomes_the_record(either: Line, who: Chart):
    """AFP under a local code: listed, mapped, replayed alone; the record and liver_dx follow."""
    line = either
    line.send(line.labs(who, loincs=["1751-7"], filler="L1"))  # T1: another code
    line.send(local_afp(line, who))  # T2
    line.stow(*ct.instances(who))
    line.settle()
    line.clock.forward(seconds=60)
    line.settle()
    assert ["1751-7", "AFP"] == sorted(code for code, _ in measured(line, who))
    assert not has_afp(line, who)
    [item] = unmapped.listed(line.parts)
    assert ("his", "L", "AFP", "甲胎蛋白", 1, False) == (
        item.sender, item.system, item.code, item.text, item.count, item.mended,
    )  # fmt: skip
    written(line.parts.settings.data_dir, "his.csv", AFP_ROW)
    assert 0 == unmapped.replay_mended(line.parts)  # nobody has read the new map yet
    line.settle()
    assert [True] == [item.mended for item in unmapped.listed(line.parts)]
    assert 1 == unmapped.replay_code(line.parts, "his", "L", "AFP")
    assert ["T2"] == queued(line)
    line.settle()
    assert ["1751-7", "1834-1"] == sorted(code for code, _ in measured(line, who))
    assert has_afp(line, who)
    assert [] == unmapped.listed(line.parts)


def test_a_mended_unit_becomes_the_record(either: Line, who: Chart):
    """A unit nobody knows: listed under `unit`, mapped, replayed alone; the number has it now."""
    line = either
    folder = line.parts.settings.data_dir
    written(folder, "site.csv", AFP_ROW)
    line.send(local_afp(line, who, unit="纳_克"))  # T1
    line.send(local_afp(line, who, unit="纳x克", filler="L8"))  # T2: as LIKE would read T1's
    line.settle()
    assert [("1834-1", None)] * 2 == measured(line, who)
    assert [("unit", "纳_克", "1834-1", 1), ("unit", "纳x克", "1834-1", 1)] == [
        (item.system, item.code, item.text, item.count) for item in unmapped.listed(line.parts)
    ]
    written(folder, "site.csv", AFP_ROW, "unit,纳_克,,UCUM,ng/mL,\n")
    line.settle()
    assert 1 == unmapped.replay_mended(line.parts)
    assert ["T1"] == queued(line)
    line.settle()
    assert {("1834-1", "ng/mL"), ("1834-1", None)} == set(measured(line, who))
    assert ["纳x克"] == [item.code for item in unmapped.listed(line.parts)]


def test_a_result_that_rests_on_a_wrong_unit_is_corrected(line: Line, who: Chart):
    """The map is mended, the message replayed, and what was delivered is said anew."""
    folder = line.parts.settings.data_dir
    written(folder, "his.csv", AFP_ROW, "unit,u9,,UCUM,ng/mL,\n")
    line.settle()
    line.register(who)
    line.send(line.labs(who, loincs=[code for code in who.synthetic.labs if code != AFP]))
    line.send(local_afp(line, who, unit="u9"))
    line.send(hospital.oru_report(who, line.control_id(), line.clock()))
    line.fhir(hospital.fhir_history(who, ct.counts(who)))
    line.stow(*ct.instances(who))
    line.settle()
    assert ["CONFIRMED"] == [row.state for row in line.deliveries(who)]
    written(folder, "his.csv", AFP_ROW, "unit,u9,,UCUM,ug/mL,\n")
    line.settle()
    assert 1 == unmapped.replay_code(line.parts, "his", "unit", "u9")
    line.settle()
    assert ["corrected"] == [report["status"] for report in line.in_ehr("DiagnosticReport")]


def rows(line: Line, who: Chart) -> list[Entry]:
    """Every stored entry."""
    with reading(line.parts.engine) as connection:
        return record_rows.of_person(connection, line.person(who))


def test_a_mapping_that_is_taken_back_and_given_again_holds(either: Line, who: Chart):
    """Mapped wrongly, not at all, rightly: each replay's reading counts, and only once."""
    line = either
    line.send(local_afp(line, who))
    folder = line.parts.settings.data_dir
    for row, expected in (
        (AFP_ROW, "1834-1"), ("L,AFP,,LN,1751-7,\n", "1751-7"), ("", "AFP"), (AFP_ROW, "1834-1"),
    ):  # fmt: skip
        written(folder, "his.csv", row)
        line.settle()
        unmapped.replay_code(line.parts, "his", "L", "AFP")
        line.settle()
        assert [expected] == [code for code, _ in measured(line, who)]
    before = len(rows(line, who))
    assert 1 == unmapped.replay_code(line.parts, "his", "L", "AFP")
    line.settle()
    assert before == len(rows(line, who))


def test_a_replayed_message_does_not_overtake_a_later_one(either: Line, who: Chart):
    """Two versions with the same issue time: the later message stays the newest."""
    line = either
    line.send(local_afp(line, who))
    written(line.parts.settings.data_dir, "site.csv", AFP_ROW)
    later = local_afp(line, who)
    value = str(who.synthetic.labs[AFP][0])
    line.settle(("assess",))
    line.send(later.replace(f"||{value}|".encode(), b"||77|"))
    line.settle()
    written(line.parts.settings.data_dir, "site.csv", "L,AFP,,LN,1751-7,\n")
    line.settle()
    assert 2 == unmapped.replay_code(line.parts, "his", "L", "AFP")
    line.settle()
    [entry] = record(line, who).of_kind("observation")
    assert isinstance(entry.value, Quantity)
    assert ("1751-7", "77") == (entry.code.code if entry.code else None, entry.value.text)


def oncord(line: Line, *words: str) -> tuple[int, str]:
    """The command line on the line's ledger: its status and what it wrote."""
    settings = line.parts.settings
    program = Path(sys.executable).with_name("oncord")
    done = subprocess.run(
        [program, *words],
        capture_output=True,
        check=False,
        env={
            "ONCORD_DATA_DIR": str(settings.data_dir),
            "ONCORD_DATABASE_URL": settings.database_url,
            "ONCORD_SITE_FILE": str(settings.site_file),
            "COLUMNS": "200",
        },
        encoding="utf-8",
        timeout=60,
    )
    return done.returncode, done.stdout


def test_the_command_line_lists_and_replays(line: Line, who: Chart):
    """`codes unmapped`, `codes replay SENDER SYSTEM CODE`, `codes replay --all`."""
    line.send(local_afp(line, who))
    line.settle()
    status, told = oncord(line, "codes", "unmapped")
    assert (0, True) == (status, "AFP" in told and "his" in told and "replay it" not in told)
    written(line.parts.settings.data_dir, "his.csv", AFP_ROW)
    assert "mapped: replay it" in oncord(line, "codes", "unmapped")[1]
    assert (0, "1 messages queued again\n") == oncord(line, "codes", "replay", "--all")
    assert (0, "1 messages queued again\n") == oncord(line, "codes", "replay", "his", "L", "AFP")
    assert 2 == oncord(line, "codes", "replay", "nobody", "L", "AFP")[0]
    assert 2 == oncord(line, "codes", "replay", "his")[0]


def test_the_command_line_names_the_question(line: Line, who: Chart):
    """`codes unmapped` says of what and why; `codes replay ... --of` takes one question."""
    line.send(local_afp(line, who, unit=""))
    line.settle()
    told = oncord(line, "codes", "unmapped")[1]
    assert all(part in told for part in ("(blank)", "L|AFP", "no unit sent"))
    replay = ("codes", "replay", "his", "unit", "", "--of")
    assert (0, "1 messages queued again\n") == oncord(line, *replay, "L|AFP")
    assert (0, "0 messages queued again\n") == oncord(line, *replay, "L|CEA")
    assert 2 == oncord(line, *replay, "AFP")[0]
