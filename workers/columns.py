"""Lists of the command line: a table for a person, tab-separated lines for a program.

Cells hold what senders wrote: no markup and no control character of theirs reaches a terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

_LONGEST = 200


def show(console: Console, names: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under their names; the first column is never broken: people copy it."""
    told = [[_plain(cell) for cell in row] for row in rows]
    if not console.is_terminal:
        for row in (names, *told):
            console.file.write("\t".join(row) + "\n")
        return
    table = Table()
    for number, name in enumerate(names):
        table.add_column(name, no_wrap=number == 0, overflow="fold")
    for row in told:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def _plain(cell: str) -> str:
    cut = cell if len(cell) <= _LONGEST else f"{cell[:_LONGEST]}…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
