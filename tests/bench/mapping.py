"""ORU^R01 to entries with number, unit, code and field path, beside parsers that only parse."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime

import hl7
from hl7apy.parser import parse_message
from rich.console import Console

from mappings import hl7v2
from mappings.record import Quantity, Source
from mappings.site import Site
from tests.bench.messages import feed
from tests.bench.table import Measured, Verdict

_TARGETS = {"hl7apy": 100, "python-hl7": 4}
_OURS = "Oncord: entries"


def run(_console: Console, *, rounds: int, seconds: float) -> Measured:
    """CPU time in this process; each round gives every reader the same bytes in turn."""
    raw = [feed("M").message(n) for n in range(200)]
    text = [m.decode() for m in raw]
    _check(raw[0])
    readers: dict[str, tuple[Callable[[int], object], int]] = {
        "hl7apy: parse_message": (lambda n: parse_message(text[n], find_groups=False), 5),
        "python-hl7: parse": (lambda n: hl7.parse(text[n]), 60),
        _OURS: (lambda n: hl7v2.entries(raw[n], site=_SITE, source=_SOURCE), 200),
    }
    taken: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(max(rounds, 5)):
        for name, (read, count) in readers.items():
            taken[name].append(_cpu_s(read, count))
    ratios = {
        name: statistics.median(t / o for t, o in zip(times, taken[_OURS], strict=True))
        for name, times in taken.items()
    }
    rows = [
        (
            name,
            f"{statistics.median(times) * 1000:.3f}",
            f"{1 / statistics.median(times):.0f}",
            f"{ratios[name]:.1f}",
        )
        for name, times in taken.items()
    ]
    verdicts = []
    for peer, target in _TARGETS.items():
        ratio = next(r for name, r in ratios.items() if name.startswith(peer + ":"))
        verdicts.append(
            Verdict(
                target=f"{target}x {peer} parse alone",
                measured=f"{ratio:.1f}x",
                met=ratio >= target,
            )
        )
    return Measured(
        name="mapping",
        title=f"ORU^R01 with 30 OBX ({len(raw[0])} bytes), CPU time of one process",
        head=("reader", "CPU ms a message", "messages/s", "times ours"),
        rows=rows,
        verdicts=verdicts,
        notes=(
            (
                f"Medians of {max(rounds, 5)} rounds, readers in turns, one process, one thread, no "
                "message twice in a round; ours gives 30 observations with Decimal, UCUM unit, LOINC "
                "and field path."
            ),
            "hl7apy with find_groups=False, its faster way and the one that loses no Z segment.",
        ),
    )


_SITE = Site(name="bench", authorities={"DEMOHOSP": "https://hospital.example/mrn"})
_SOURCE = Source("lis", 1, datetime(2026, 11, 21, tzinfo=UTC), "live", 0)


def _check(raw: bytes) -> None:
    made = hl7v2.entries(raw, site=_SITE, source=_SOURCE).entries
    numbers = [e for e in made if isinstance(e.value, Quantity) and e.code and e.path]
    if len(numbers) != 30 or not all(e.value.unit for e in numbers):
        raise AssertionError(f"{len(numbers)} of 30 observations have number, unit, code and path")


def _cpu_s(read: Callable[[int], object], count: int) -> float:
    before = time.process_time()
    for number in range(count):
        read(number)
    return (time.process_time() - before) / count
