"""Code maps: each sender's local codes and units, as CSV files beside the site file.

`codes/site.csv` is read for every sender, `codes/<interface>.csv` for one, whose rows come first.
A changed folder is read again between two drains, as a whole or not at all. What a mapping does
with a code stands in `mappings.codes`. Format: docs/reference/site-file.md.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import structlog

from mappings.codes import LOCAL, LOINC, UCUM, is_loinc, is_standard, system_uri
from mappings.record import Code
from mappings.site import Site
from mappings.units import is_ucum
from workers.settings import BadSettings

log = structlog.get_logger()

COLUMNS = ("system", "code", "display", "target_system", "target", "target_display")
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
    """

    codes: Mapping[tuple[str, str], Code]
    units: Mapping[str, str]


_NOTHING = CodeMap(MappingProxyType({}), MappingProxyType({}))


def read(path: Path) -> CodeMap:
    """One file, checked as a whole.

    Raises:
        BadCodeMap: It cannot be read, or a row maps nothing, twice, or to what is no code.
    """
    codes: dict[tuple[str, str], Code] = {}
    units: dict[str, str] = {}
    lines: dict[tuple[str, str], int] = {}
    for line, row in _rows(path):
        code = row["code"]
        system = UNIT if row["system"] == UNIT else system_uri(row["system"])
        if not code or not row["target"]:
            raise BadCodeMap(path.name, line, "code and target are needed")
        if (system, code) in lines:
            told = lines[system, code]
            raise BadCodeMap(path.name, line, f"the code is mapped in line {told} already")
        lines[system, code] = line
        target = _target(row, path.name, line)
        if system == UNIT:
            units[code] = target.code
        elif is_standard(system):
            raise BadCodeMap(path.name, line, "codes of a standard system are not mapped")
        else:
            codes[system, code] = target
    return CodeMap(codes, units)


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
        if tuple(next(reader, ())) != COLUMNS:
            raise BadCodeMap(path.name, 1, f"the columns are {','.join(COLUMNS)}")
        for cells in reader:
            if not any(cells):
                continue
            if len(cells) != len(COLUMNS):
                raise BadCodeMap(path.name, reader.line_num, f"not {len(COLUMNS)} cells")
            stripped = (cell.strip() for cell in cells)
            yield reader.line_num, dict(zip(COLUMNS, stripped, strict=True))
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
    if system == LOINC and not is_loinc(code):
        raise BadCodeMap(file, line, "target is not a LOINC code: its check digit is wrong")
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
        every = maps.get(_EVERY, _NOTHING)
        return {
            name: replace(
                site,
                code_maps={**every.codes, **maps.get(name, _NOTHING).codes},
                unit_aliases={**every.units, **maps.get(name, _NOTHING).units},
            )
            for name, site in self._plain.items()
        }
