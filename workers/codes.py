"""Code maps: each sender's local codes, answers and units, as CSV files beside the site file.

`codes/site.csv` is read for every sender, `codes/<interface>.csv` for one, whose rows come first.
A changed folder is read again between two drains, as a whole or not at all. What a mapping does
with a code stands in `mappings.codes`. Format: docs/reference/site-file.md.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from mappings.codes import (
    LOCAL,
    LOINC,
    QUESTION,
    SNOMED,
    UCUM,
    is_loinc,
    is_loinc_answer,
    is_snomed,
    is_standard,
    system_uri,
)
from mappings.record import Code
from mappings.site import Site
from mappings.tables import table
from mappings.units import is_ucum
from workers.settings import BadSettings

log = structlog.get_logger()

COLUMNS = ("system", "code", "display", "target_system", "target", "target_display")
# The question whose bare numbers or whose answers a row is of; the column may be left out.
OF = "of"
# The name under which units stand in the system column, and in the work list.
UNIT = "unit"
_EVERY = "site"


class BadCodeMap(BadSettings):
    """A code map that cannot be used; `file` and `line` say where."""

    def __init__(self, file: str, line: int, reason: str) -> None:
        super().__init__(f"codes/{file}, line {line}: {reason}")
        self.file, self.line, self.reason = file, line, reason


@dataclass(frozen=True, slots=True)
class CodeMap:
    """One file.

    Attributes:
        codes: Local codes, by system URI and code, to standard ones.
        units: Unit text as sent, to UCUM.
        default_units: UCUM unit of numbers without one, by system URI and code of the question.
        answers: Local answers by system URI and code of the question, then their own.
    """

    codes: dict[tuple[str, str], Code] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    default_units: dict[tuple[str, str], str] = field(default_factory=dict)
    answers: dict[tuple[str, str, str, str], Code] = field(default_factory=dict)


def read(path: Path) -> CodeMap:
    """One file, checked as a whole.

    Raises:
        BadCodeMap: It cannot be read, or a row maps nothing, twice, or to what is no code.
    """
    made = CodeMap()
    lines: dict[tuple[str, str, str], int] = {}
    for line, row in _rows(path):
        system = UNIT if row["system"] == UNIT else system_uri(row["system"])
        place = (row[OF], system, row["code"])
        if place in lines:
            told = lines[place]
            raise BadCodeMap(path.name, line, f"the code is mapped in line {told} already")
        lines[place] = line
        _put(made, system, row, path.name, line)
    return made


def _put(made: CodeMap, system: str, row: Mapping[str, str], file: str, line: int) -> None:
    """One row where it belongs.

    Raises:
        BadCodeMap: It maps nothing, or to what is no code.
    """
    code, of = row["code"], row[OF]
    bare = system == UNIT and bool(of)
    if not row["target"] or not (code or bare):
        raise BadCodeMap(file, line, "code and target are needed")
    if bare and code:
        raise BadCodeMap(file, line, "the unit of one question is of numbers without a unit")
    target = _target(row, file, line)
    if system == UNIT and not of:
        made.units[code] = target.code
        return
    if is_standard(system):
        raise BadCodeMap(file, line, "codes of a standard system are not mapped")
    if not of:
        made.codes[system, code] = target
        return
    asked = question(of)
    if asked is None:
        raise BadCodeMap(file, line, "of is the system and code of a question: L|AFP")
    if bare:
        made.default_units[asked] = target.code
    else:
        made.answers[*asked, system, code] = target


def question(text: str) -> tuple[str, str] | None:
    """System URI and code of `L|AFP` or `LN|1834-1`; None where it is neither."""
    system, bar, code = text.rpartition("|")
    return (system_uri(system), code.strip()) if bar and code.strip() else None


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells of each row that is not blank."""
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise BadCodeMap(path.name, 1, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadCodeMap(path.name, line, "not UTF-8") from error
    if not text.endswith("\n"):
        # An editor or a copy may be half way.
        raise BadCodeMap(path.name, text.count("\n") + 1, "the last line does not end")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = tuple(next(reader, ()))
        if columns not in (COLUMNS, (*COLUMNS, OF)):
            raise BadCodeMap(path.name, 1, f"the columns are {','.join(COLUMNS)}, and {OF}")
        for cells in reader:
            if not any(cells):
                continue
            if len(cells) != len(columns):
                raise BadCodeMap(path.name, reader.line_num, f"not {len(columns)} cells")
            stripped = (cell.strip() for cell in cells)
            yield reader.line_num, {OF: "", **dict(zip(columns, stripped, strict=True))}
    except csv.Error as error:
        raise BadCodeMap(path.name, reader.line_num, "not CSV") from error


def _target(row: Mapping[str, str], file: str, line: int) -> Code:
    system, code = system_uri(row["target_system"]), row["target"]
    if not row["target_system"] or system.startswith(LOCAL) or not is_standard(system):
        raise BadCodeMap(file, line, "target_system is not known")
    if (system == UCUM) != (row["system"] == UNIT):
        raise BadCodeMap(file, line, "units, and nothing else, are mapped to UCUM")
    if system == UCUM and not is_ucum(code):
        raise BadCodeMap(file, line, "target is not a UCUM unit")
    if system == LOINC and not (is_loinc(code) or is_loinc_answer(code)):
        raise BadCodeMap(file, line, "target is not a LOINC code: its check digit is wrong")
    if system == SNOMED and not is_snomed(code):
        raise BadCodeMap(file, line, "target is not a SNOMED CT concept: its check digit is wrong")
    if system == QUESTION and code not in table("questions"):
        raise BadCodeMap(file, line, f"target is none of {', '.join(table('questions'))}")
    return Code(system, code, row["target_display"])


class Senders(Mapping[str, Site]):
    """How each interface's words are read, with the code maps as they lie in their folder.

    Args:
        plain: Senders as the site file describes them, by interface name.
        folder: Where the code maps lie; it need not be there.

    Raises:
        BadCodeMap: A file cannot be used, or is named after no interface.
    """

    def __init__(self, plain: Mapping[str, Site], folder: Path) -> None:
        self._plain, self._folder = dict(plain), folder
        self._seen = self._state()
        self._sites = self._read()
        self.broken = False

    def __getitem__(self, interface: str) -> Site:
        """One sender."""
        return self._sites[interface]

    def __iter__(self) -> Iterator[str]:
        """Names of the interfaces."""
        return iter(self._sites)

    def __len__(self) -> int:
        """How many interfaces there are."""
        return len(self._sites)

    def refresh(self) -> bool:
        """Read the maps again if a file changed; whether other maps hold now.

        Maps that cannot be used change nothing and are logged: the former ones hold on, all of
        them, until the folder is mended.
        """
        state = self._state()
        if state == self._seen:
            return False
        self._seen = state
        try:
            self._sites = self._read()
        except BadCodeMap as error:
            self.broken = True
            log.error(  # noqa: TRY400  its sentence says all
                "codes.broken", file=error.file, line=error.line, reason=error.reason
            )
            return False
        self.broken = False
        log.info("codes.read", count=len(state))
        return True

    def _state(self) -> tuple[tuple[str, int, int, int], ...]:
        """What changes when a file does."""
        found = []
        for path in sorted(self._folder.glob("*.csv")):
            try:
                stat = path.stat()
            except FileNotFoundError:  # replaced this moment: another state, next time
                continue
            found.append((path.name, stat.st_mtime_ns, stat.st_size, stat.st_ino))
        return tuple(found)

    def _read(self) -> dict[str, Site]:
        maps = {path.stem: read(path) for path in sorted(self._folder.glob("*.csv"))}
        for name in maps:
            if name != _EVERY and name not in self._plain:
                raise BadCodeMap(f"{name}.csv", 1, "no interface has this name")
        every = maps.get(_EVERY, CodeMap())
        return {
            name: _knowing(site, every, maps.get(name, CodeMap()))
            for name, site in self._plain.items()
        }


def _knowing(site: Site, every: CodeMap, own: CodeMap) -> Site:
    """A sender with the maps of all and its own, which come first."""
    return replace(
        site,
        code_maps={**every.codes, **own.codes},
        unit_aliases={**every.units, **own.units},
        default_units={**every.default_units, **own.default_units},
        answer_maps={**every.answers, **own.answers},
    )
