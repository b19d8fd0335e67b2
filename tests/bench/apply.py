"""What a message costs as a patient's record grows, and what readiness and features cost."""

from __future__ import annotations

import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console

from inference import features, protocol_reading
from inference.protocol import Protocol
from interop.ledger import images
from interop.ledger.engine import checkpoint, reading
from tests.bench.patients import FILLED, LONG_AGO, Line, line
from tests.bench.table import Measured, Verdict
from workers.evidence import Evidence, known_of, study_summary

_PATIENTS, _MESSAGES = 16, 4
_SIZES = (500, 20_000, 50_000)
_MOST_GROWTH = 1.5


@dataclass(frozen=True, slots=True)
class _Taken:
    """What one size took: seconds a message, and to judge a protocol."""

    message: float
    judged: dict[str, tuple[float, float]]


def run(console: Console, *, rounds: int, seconds: float) -> Measured:
    """The same messages at several sizes of the patient."""
    taken: dict[int, _Taken] = {}
    # A process for each size, or what one left in memory would be the next one's burden.
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes:
        for size in _SIZES:
            taken[size] = found = processes.submit(_take, size, rounds).result()
            told = f"{size} entries: {found.message * 1000:.2f} ms a message"
            console.print(told, style="dim", highlight=False)
    return _measured(taken, rounds)


def _take(size: int, rounds: int) -> _Taken:
    with (
        tempfile.TemporaryDirectory(prefix="oncord-bench-") as name,
        line(Path(name) / "ours") as ours,
    ):
        everybody = list(range(_PATIENTS))
        for patient in everybody:
            ours.apply([patient], days_ago=LONG_AGO)
            ours.fill(patient, size)
        ours.filled()
        judged = _judge_all(ours, 20 * rounds)  # before the turns, whose panels are many a day
        took = []
        for day in range(8 * rounds, 0, -1):
            sent = everybody * _MESSAGES
            took.append(ours.apply(sent, days_ago=day) / len(sent))
            checkpoint(ours.parts.engine)  # as a service does beside it
    return _Taken(statistics.median(took), judged)


def _judge_all(of: Line, turns: int) -> dict[str, tuple[float, float]]:
    """Protocol to median seconds to judge its readiness, and to find its features."""
    protocols = [of.parts.packs[0].manifest, *protocol_reading.shipped().values()]
    return {one.id: _judge(of, one, turns) for one in protocols}


def _judge(of: Line, one: Protocol, turns: int) -> tuple[float, float]:
    evidence = Evidence(of.parts)
    judged, made = [], []
    for turn in range(turns):
        with reading(of.parts.engine) as connection:
            person = of.person(connection, turn % _PATIENTS)
            began = time.perf_counter()
            answer = evidence.readiness(connection, person, one)
            judged.append(time.perf_counter() - began)
            assert answer.t0 is not None
            began = time.perf_counter()
            now = of.parts.now()
            studies = [study_summary(r) for r in images.studies_of(connection, person)]
            record = known_of(connection, person, one, studies, now)
            features.find_all(one.inputs, record, answer.t0, now)
            made.append(time.perf_counter() - began)
    return statistics.median(judged), statistics.median(made)


def _measured(taken: dict[int, _Taken], rounds: int) -> Measured:
    first, last = taken[_SIZES[0]], taken[_SIZES[-1]]
    growth = last.message / first.message
    least, most = first.judged, last.judged
    readiness, made = (max(most[name][n] / least[name][n] for name in least) for n in (0, 1))
    times = {f"{size} entries of the patient": found.message for size, found in taken.items()}
    rows = [(what, f"{took * 1000:.2f}", f"{1 / took:.0f}") for what, took in times.items()]
    rows += [
        (
            f"{what} of {name}, at 500 and 50000",
            f"{least[name][n] * 1000:.2f} and {most[name][n] * 1000:.2f}",
            f"{1 / least[name][n]:.0f} and {1 / most[name][n]:.0f}",
        )
        for n, what in enumerate(("readiness", "features"))
        for name in least
    ]
    return Measured(
        name="apply",
        title="ORU^R01 (30 OBX) at several sizes of the record",
        head=("what", "ms a message", "messages/s"),
        rows=rows,
        verdicts=(
            Verdict(
                target=f"50,000 entries at most {_MOST_GROWTH:g}x of 500",
                measured=f"{growth:.2f}x",
                met=growth <= _MOST_GROWTH,
            ),
            *(
                Verdict(
                    target=f"{what} of any protocol at 50,000 entries at most {_MOST_GROWTH:g}x of 500",
                    measured=f"{grown:.2f}x",
                    met=grown <= _MOST_GROWTH,
                )
                for what, grown in (("readiness", readiness), ("features", made))
            ),
        ),
        notes=(
            f"Medians of {8 * rounds} turns of {_PATIENTS} patients, {_MESSAGES} messages each; SQLite.",
            FILLED,
            "Messages are judged for the pack liver_dx; protocols alone for all that are shipped.",
            "One process moves, maps, applies and judges readiness.",
        ),
    )
