"""`oncord demo`: a synthetic patient of each study through every door, told as it happens.

Where a pack is trained up to the amended report (`liver_dx`), elsewhere up to readiness
(`course`); every step is verified by reading back. Who is played is decided in `patients`.
"""

from __future__ import annotations

import json
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import httpx
from rich.console import Console

from mappings.outbound.result import SYNTHETIC_WORDS
from workers.demo import liver_dx
from workers.demo.acts import Course
from workers.demo.course import CoursePlay
from workers.demo.hospital import Chart
from workers.demo.liver_dx import LiverDx
from workers.demo.patients import COURSES
from workers.demo.stage import EhrServer, Stage, StageFailed
from workers.demo.timeline import NotVerified, Timeline
from workers.parts import utc_now

# Which patients are played for a name: of a protocol, or of a study.
PATIENTS: Mapping[str, tuple[str, ...]] = {
    "all": (liver_dx.PACK, *COURSES),
    "liver": (liver_dx.PACK, "liver_px"),
    liver_dx.PACK: (liver_dx.PACK,),
    "hcc_ar_pre": ("hcc",),
    "hcc_ar_post": ("hcc",),
    "crlm_2y": ("crlm",),
    "breast_dm": ("breast",),
    "pan_cancer_now": ("pan",),
    "pan_cancer_1y": ("pan",),
    **{name: (name,) for name in COURSES},
}
_Part: TypeAlias = LiverDx | CoursePlay


class UnknownStudy(ValueError):
    """No patient is played under this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"study {name}: expected one of {', '.join(PATIENTS)}")
        self.name = name


def play(
    console: Console,
    *,
    once: bool,
    report: Path | None,
    seed: int,
    study: str = liver_dx.PACK,
) -> int:
    """Run the demo; the exit status is 0 only if every step of every patient was verified.

    Args:
        console: Where the timeline goes.
        once: Leave when all is verified, instead of staying up.
        report: Where steps, verdicts, times and ids are written as JSON.
        seed: Of the cohorts.
        study: Of `PATIENTS`.

    Raises:
        UnknownStudy: Another name.
    """
    patients = cast(study, seed, utc_now())
    # A demo that is told to end must not leave its processes behind.
    signal.signal(signal.SIGTERM, _interrupted)
    console.rule("Oncord: synthetic patients, every door")
    console.print(SYNTHETIC_WORDS, style="yellow", highlight=False)
    with _folder(once) as folder:
        ehr = EhrServer()
        ehr.start()
        try:
            with Stage(folder, ehr.base_url, protocols=protocols(patients)) as stage:
                return perform(Timeline(console, stage), patients, ehr, once=once, report=report)
        except StageFailed as error:
            console.print(f"[red]not started:[/] {error}", highlight=False)
            return 1
        finally:
            ehr.stop()


def _interrupted(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def cast(study: str, seed: int, now: datetime) -> dict[str, Chart | Course]:
    """Who is played for a name, in order.

    Args:
        study: Of `PATIENTS`.
        seed: Of the cohorts.
        now: Everything that is told happened before it.

    Raises:
        UnknownStudy: Another name.
    """
    if study not in PATIENTS:
        raise UnknownStudy(study)
    return {
        name: COURSES[name](seed, now) if name in COURSES else liver_dx.chart(seed, now)
        for name in PATIENTS[study]
    }


def protocols(patients: Mapping[str, Chart | Course]) -> list[str]:
    """Whose readiness the site must keep for them, beside the trained packs."""
    courses = (one for one in patients.values() if isinstance(one, Course))
    return [protocol for course in courses for protocol in course.protocols]


def perform(
    timeline: Timeline,
    patients: Mapping[str, Chart | Course],
    ehr: EhrServer,
    *,
    once: bool,
    report: Path | None,
) -> int:
    """Play every patient, each though another failed; the exit status."""
    parts: dict[str, _Part] = {
        name: LiverDx(timeline, one, ehr) if isinstance(one, Chart) else CoursePlay(timeline, one)
        for name, one in patients.items()
    }
    stage, console = timeline.stage, timeline.console
    timeline.tell("listening", f"MLLP {stage.mllp}, HTTP {stage.http}, EHR {ehr.port}")
    failure = _unready(timeline)
    told = [] if failure else [_section(timeline, name, part) for name, part in parts.items()]
    failed = [f"{section['study']}: {section['failure']}" for section in told if section["failure"]]
    failure = failure or "; ".join(failed)
    resources = {kind: url for part in parts.values() for kind, url in part.resources.items()}
    if report is not None:
        written = {
            "verified": not failure,
            "failure": failure,
            "steps": timeline.steps,
            "studies": told,
            "resources": {} if failure else resources,
            "words": SYNTHETIC_WORDS,
        }
        report.write_text(json.dumps(written, ensure_ascii=False, indent=2), "utf-8")
    _closing(console, told)
    if failure:
        return 1
    for kind, url in resources.items():
        console.print(f"{kind:<17} {url}", highlight=False)
    for part in parts.values():
        if part.resources:
            page = f"http://127.0.0.1:{ehr.port}/patient/{part.number.lower()}"
            console.print(f"{'What one sees':<17} {page}", highlight=False)
    if not once:
        _stay(console, stage)
    return 0


def _unready(timeline: Timeline) -> str:
    """Why nothing can be played, or an empty string."""
    try:
        findings = timeline.findings()
    except (OSError, httpx.HTTPError) as error:
        findings = [str(error) or type(error).__name__]
    if not findings:
        return ""
    failure = f"the service is not ready: {findings[0]}"
    timeline.console.print(f"[red]not verified:[/] {failure}", highlight=False)
    return failure


def _section(timeline: Timeline, name: str, part: _Part) -> dict[str, Any]:
    """One patient played, and what the report says of it."""
    first, started, failure = len(timeline.steps), timeline.seconds(), ""
    timeline.console.rule(f"{name}, {part.registry}: {part.title}", style="dim")
    try:
        part.run()
    except (NotVerified, OSError, httpx.HTTPError) as error:
        failure = str(error) or type(error).__name__
        timeline.console.print(f"[red]not verified:[/] {failure}", highlight=False)
    return {
        "study": name,
        "registry": part.registry,
        "title": part.title,
        "patient": part.number,
        "verified": not failure,
        "failure": failure,
        "started_s": started,
        "took_s": round(timeline.seconds() - started, 3),
        "readiness": part.readiness,
        "steps": timeline.steps[first:],
    }


def _closing(console: Console, told: Sequence[Mapping[str, Any]]) -> None:
    """One line a study."""
    for section in told:
        answers = [one for one in section["readiness"] if one["state"] != "waiting"]
        states = ", ".join(f"{one['protocol']} {one['state']}" for one in answers)
        mark = "[green]verified[/]" if section["verified"] else "[red]not verified[/]"
        text = f"{section['study']:<9} {section['took_s']:6.2f} s  {states}"
        console.print(f"{text}  {mark}", highlight=False)


def _stay(console: Console, stage: Stage) -> None:
    console.print("It stays up. Ctrl-C ends it.", style="dim")
    try:
        while not stage.dead():
            time.sleep(0.5)
    except KeyboardInterrupt:
        pass


@contextmanager
def _folder(once: bool) -> Iterator[Path]:
    """A folder of its own for each run, gone afterwards when the run leaves by itself."""
    if once:
        with tempfile.TemporaryDirectory(prefix="oncord-demo-") as name:
            yield Path(name)
    else:
        folder = Path("var/demo") / utc_now().strftime("%Y%m%dT%H%M%S")
        folder.mkdir(parents=True)
        yield folder.resolve()
