"""The command: `python -m tests.bench [NAME...] [--write] [--rounds N] [--seconds S]`."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from rich.console import Console

sys.path.append(str(Path(__file__).parents[1]))  # the tests' peers

from tests.bench import machine
from tests.bench.table import write

NAMES = (
    "mapping", "record", "apply", "cohort", "mllp", "idle", "pressure", "large", "stow", "line"
)  # fmt: skip


def main() -> int:
    """Run the benches one after another; status 0 whatever they measured."""
    asked = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    asked.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    asked.add_argument("--write", action="store_true", help="rewrite docs/reference/performance.md")
    asked.add_argument("--rounds", type=int, default=3, help="turns that each server takes")
    asked.add_argument("--seconds", type=float, default=3.0, help="of load in a turn (mllp)")
    asked.add_argument(
        "--date", default=f"{datetime.now(UTC):%Y-%m-%d}", help="written on the page"
    )
    given = asked.parse_args()
    if unknown := set(given.names) - set(NAMES):
        asked.error(f"no bench is called {min(unknown)}")
    console = Console()
    facts = machine.describe()
    console.print(", ".join(f"{name} {value}" for name, value in facts), highlight=False)
    if given.write:
        write("machine", "\n".join(f"- {name}: {value}" for name, value in facts))
    for name in given.names or NAMES:
        bench = import_module(f"tests.bench.{name}")
        measured = bench.run(console, rounds=given.rounds, seconds=given.seconds)
        measured.show(console)
        if given.write:
            write(name, measured.markdown(given.date))
    return 0


if __name__ == "__main__":
    sys.exit(main())
