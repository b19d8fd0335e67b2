"""What a bench measured: shown with rich, and written between markers into performance.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "performance.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One target and what was measured of it."""

    target: str
    measured: str
    met: bool

    def __str__(self) -> str:
        """One line."""
        return f"{'met' if self.met else 'MISSED'}: {self.target}; measured {self.measured}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One bench's table.

    Attributes:
        name: Bench name; also its marker in performance.md.
        rows: Cells as text, one tuple a row.
        notes: What was pinned where, what was checked.
    """

    name: str
    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    verdicts: Sequence[Verdict]
    notes: Sequence[str]

    def show(self, console: Console) -> None:
        """Print it."""
        table = Table(*self.head, title=self.title, title_justify="left")
        for row in self.rows:
            table.add_row(*row)
        console.print(table)
        for verdict in self.verdicts:
            console.print(str(verdict), style="green" if verdict.met else "red", highlight=False)
        for note in self.notes:
            console.print(note, style="dim", highlight=False)

    def markdown(self, when: str) -> str:
        """The same for the page."""
        lines = [
            "| " + " | ".join(self.head) + " |",
            "|" + " --- |" * len(self.head),
            *("| " + " | ".join(row) + " |" for row in self.rows),
            "",
            *(f"- {verdict}." for verdict in self.verdicts),
            *(f"- {note}" for note in self.notes),
            f"- Measured {when}.",
        ]
        return "\n".join(lines)


def write(name: str, text: str, page: Path = PAGE) -> None:
    """Replace what stands between a name's markers.

    Raises:
        LookupError: The page has no such markers.
    """
    opening, closing = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    whole = page.read_text("utf-8")
    before, found, rest = whole.partition(opening)
    _old, ended, after = rest.partition(closing)
    if not found or not ended:
        raise LookupError(f"performance.md has no markers {opening} … {closing}")
    page.write_text(f"{before}{opening}\n{text}\n{closing}{after}", "utf-8")


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """Nearest-rank percentile of values in rising order."""
    return sorted_values[min(int(len(sorted_values) * share), len(sorted_values) - 1)]
