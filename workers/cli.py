"""The command `oncord`. Every command is documented in docs/reference/cli.md."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from workers.cohort import app as cohort
from workers.columns import show
from workers.ending import errors, explained, stop, unexpected
from workers.pack import app as pack_app
from workers.settings import Settings

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Multimodal cancer AI in the EHR."
)
quarantine = typer.Typer(no_args_is_help=True, help="What was set aside for a person to look at.")
app.add_typer(quarantine, name="quarantine")
codes = typer.Typer(no_args_is_help=True, help="Local codes and units that no map knows.")
app.add_typer(codes, name="codes")
app.add_typer(cohort, name="cohort")
app.add_typer(pack_app, name="pack")
console = Console()

Item = Annotated[int, typer.Argument(min=1, max=(1 << 63) - 1, help="As `quarantine ls` says it")]


def main() -> None:
    """Entry point of the distribution."""
    with unexpected():
        app()


def _settings() -> Settings:
    from workers.log import configure  # noqa: PLC0415  start-up time of `--help`

    with explained():
        settings = Settings.from_environment()
    configure(settings.log_format)
    return settings


@app.command()
def serve() -> None:
    """Open the doors: MLLP, FHIR, STOW-RS, health and metrics."""
    import uvloop  # noqa: PLC0415

    from workers.parts import build  # noqa: PLC0415
    from workers.service import Ports, Service  # noqa: PLC0415

    settings = _settings()

    def started(ports: Ports) -> None:
        # One line on standard output for whoever started us: the ports that were bound.
        print(json.dumps({"http": ports.http, "mllp": ports.mllp}), flush=True)  # noqa: T201

    async def run() -> None:
        await Service(build(settings, migrate=True)).run(started)

    with explained():
        uvloop.run(run())


@app.command()
def worker(
    queue: Annotated[str, typer.Argument(help="ledger (ingest, deliver) or gpu (assess)")],
    nice: Annotated[int, typer.Option(help="Added niceness: answering doors comes first")] = 5,
) -> None:
    """Work one queue; one process per core for `ledger`, one per GPU for `gpu`."""
    if queue not in ("ledger", "gpu"):
        stop("queue is ledger or gpu", 2)
    from workers.site_file import read  # noqa: PLC0415  start-up time of `--help`

    settings = _settings()
    with explained():
        read(settings.site_file)  # said here in a line, not by each of Celery's children
    os.environ["ONCORD_WORKER"] = queue
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.nice(nice)
    from workers.app import app as celery_app  # noqa: PLC0415  the queue had to be named first

    arguments = [
        "worker",
        "-Q",
        queue,
        "-c",
        "1",
        "-l",
        "WARNING",
        "-n",
        f"{queue}-{os.getpid()}@%h",
    ]
    arguments += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    celery_app.worker_main(arguments)


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="Leave when every step is verified")] = False,
    report: Annotated[Path | None, typer.Option(help="Write steps, times and ids as JSON")] = None,
    seed: Annotated[int, typer.Option(help="Which synthetic patient")] = 7,
    study: Annotated[str, typer.Option(help="all, a study or a protocol")] = "liver_dx",
) -> None:
    """Play a synthetic patient of a study, or of all, through the real doors."""
    from workers.demo.play import UnknownStudy, play  # noqa: PLC0415

    try:
        status = play(console, once=once, report=report, seed=seed, study=study)
    except UnknownStudy as error:
        stop(str(error), 2)
    raise typer.Exit(status)


@app.command()
def train(
    pack: Annotated[str, typer.Argument(help="liver_dx")],
    out: Annotated[Path, typer.Option(help="Folder the pack is written to")],
    work: Annotated[Path, typer.Option(help="Folder for cohorts and checkpoints")] = Path(
        "var/train"
    ),
    seed: Annotated[int, typer.Option(help="Seed of cohort and training")] = 20261121,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="One step of everything, worthless")
    ] = False,
) -> None:
    """Make a pack from nothing: cohort, encoders, fusion, calibration, test, card."""
    from rich.progress import Progress, TaskID  # noqa: PLC0415

    if pack != "liver_dx":
        stop("liver_dx is the pack that can be trained", 2)
    try:
        from inference.training.train import train_liver_dx  # noqa: PLC0415
    except ImportError as error:
        stop(f"training needs the extra `train` ({error.name} is missing)", 2)
    with Progress(console=console) as progress:
        tasks: dict[str, TaskID] = {}

        def tell(step: str, done: float) -> None:
            if step not in tasks:
                for earlier in tasks.values():
                    progress.update(earlier, completed=1.0)
                tasks[step] = progress.add_task(step, total=1.0)
            progress.update(tasks[step], completed=done)

        train_liver_dx(out, work=work, seed=seed, progress=tell, scale="smoke" if smoke else "full")
    console.print(f"pack written to {out}")


@app.command()
def pull(
    study: Annotated[list[str] | None, typer.Option(help="StudyInstanceUID")] = None,
    accession: Annotated[list[str] | None, typer.Option(help="AccessionNumber")] = None,
) -> None:
    """Pull studies from the site's PACS through our own STOW door; the service must be up."""
    from rich.progress import track  # noqa: PLC0415

    from workers.pull import Pull  # noqa: PLC0415

    settings = _settings()
    bad = 0
    with explained():
        run = Pull(settings)
        found = run.find(study or (), accession or ())
        for done in track(run.pull(found), "pulling", total=len(found), console=errors):
            bad += not done.whole
            told = done.reason
            if done.pulled is not None:
                counted = "none" if done.pulled.expected is None else done.pulled.expected
                told = f"{done.pulled.stored} stored, {done.pulled.refused} refused of {counted}"
            console.print(f"{done.study_instance_uid}: {told}", highlight=False, soft_wrap=True)
    if bad or not found:
        stop(f"{bad} of {len(found)} did not come whole")


@app.command()
def doctor() -> None:
    """Look at configuration, database, broker, packs, EHR and disk: a line each."""
    from workers.doctor import examine  # noqa: PLC0415

    settings = _settings()
    bad = 0
    for finding in examine(settings):
        mark = "[green]ok[/]" if finding.ok else "[red]BAD[/]"
        bad += not finding.ok
        told = f"{finding.part:<14} {escape(finding.text)}"
        console.print(f"{mark:>5} {told}", highlight=False, soft_wrap=True)
    raise typer.Exit(1 if bad else 0)


@app.command()
def migrate() -> None:
    """Bring the database schema up to date (the service does it at start, too)."""
    from workers.parts import open_database  # noqa: PLC0415

    settings = _settings()
    with explained():
        open_database(settings.database_url, migrate=True)
    console.print("schema is up to date")


@app.command()
def replay(
    since: Annotated[datetime | None, typer.Option(help="Received at or after (UTC)")] = None,
    until: Annotated[datetime | None, typer.Option(help="Received before (UTC)")] = None,
    state: Annotated[list[str] | None, typer.Option(help="Only messages in this state")] = None,
    kind: Annotated[str | None, typer.Option(help="Only this type, such as ORU^R01")] = None,
) -> None:
    """Map a selection of stored messages again; what was mapped before stays as it is."""
    from rich.progress import track  # noqa: PLC0415

    from workers.parts import build  # noqa: PLC0415
    from workers.replay import replay_message, selected  # noqa: PLC0415

    settings = _settings()
    count = 0
    with explained():
        parts = build(settings)
        chosen = selected(
            parts, since=_utc(since), until=_utc(until), states=state or (), kind=kind
        )
        for message in track(chosen, "replaying", console=errors):
            count += replay_message(parts, message)
    console.print(f"{count} messages queued again")


@app.command()
def identity() -> None:
    """Work out anew, from all entries, which identifiers name one person."""
    from interop.ledger import persons  # noqa: PLC0415
    from interop.ledger.engine import writing  # noqa: PLC0415
    from workers.parts import build  # noqa: PLC0415

    settings = _settings()
    with explained(), writing(build(settings).engine) as connection:
        changed = persons.rebuild(connection)
    console.print(f"{changed} identifiers named another person")


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment else None


@quarantine.command("ls")
def quarantine_ls(
    limit: Annotated[int, typer.Option(min=1, help="The newest so many messages")] = 100,
    state: Annotated[list[str] | None, typer.Option(help="Only parked, quarantined …")] = None,
) -> None:
    """List messages and jobs that were set aside, the newest first."""
    from interop.ledger import jobs, messages  # noqa: PLC0415
    from workers.parts import build  # noqa: PLC0415
    from workers.replay import SET_ASIDE  # noqa: PLC0415

    states = tuple(state or SET_ASIDE)
    if unknown := set(states) - set(SET_ASIDE):
        stop(f"--state {min(unknown)}: one of {', '.join(SET_ASIDE)}", 2)
    settings = _settings()
    with explained():
        parts = build(settings)
        found = messages.listing(parts.engine, states=states, limit=limit)
        counted = messages.counts(parts.engine)
        waiting = jobs.parked(parts.engine) if "parked" in states else []
    rows = []
    for row in found:
        since = row["received_at"].isoformat(timespec="seconds")
        what = f"{row['door']} {row['kind']}".strip()
        rows.append((str(row["id"]), what, row["state"], since, row["reason"]))
    for job in waiting:
        since = job["finished_at"].isoformat(timespec="seconds") if job["finished_at"] else ""
        rows.append((str(job["id"]), f"job {job['stage']}", "parked", since, job["reason"]))
    show(console, ("id", "what", "state", "since", "why"), rows)
    left = sum(n for (_, held), n in counted.items() if held in states) - len(found)
    if left > 0:
        errors.print(f"{left} older messages are not shown: --limit")


@quarantine.command("show")
def quarantine_show(
    message: Item,
    why: Annotated[bool, typer.Option("--why", help="The reasons instead of the bytes")] = False,
) -> None:
    """Write the raw bytes of a message to standard output: they hold patient data."""
    from interop.ledger import messages  # noqa: PLC0415
    from interop.ledger.engine import reading  # noqa: PLC0415
    from workers.explain import complaints  # noqa: PLC0415
    from workers.parts import build  # noqa: PLC0415
    from workers.replay import is_metadata  # noqa: PLC0415

    settings = _settings()
    with explained():
        parts = build(settings)
        with reading(parts.engine) as connection:
            row = messages.find(connection, message)
        if row is None:
            stop(f"there is no message of number {message}")
        body = row.body
        if body is None and not is_metadata(row):
            body = parts.blobs.read(row.digest)
    if body is None and not why:
        stop(f"of {message} only its size was kept, {row.size} bytes: {row.reason}")
    if not why:
        sys.stdout.buffer.write(body)
        return
    lines = [f"{row.state}: {row.reason}"]
    lines += [f"{severity}: {path}: {reason}" for path, reason, severity in row.report or ()]
    if row.door == "mllp" and body is not None:
        sender = parts.site.senders.get(row.interface)
        found = complaints(body, sender.charset if sender else None)
        lines += [f"hl7apy: {line}" for line in found or ["no complaint"]]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


@quarantine.command("replay")
def quarantine_replay(
    item: Item,
    same_patient: Annotated[
        bool, typer.Option(help="Its identifiers name whom they always did: apply it")
    ] = False,
) -> None:
    """Work a message or job once more, after its cause was mended."""
    from workers.parts import build  # noqa: PLC0415
    from workers.replay import replay_item  # noqa: PLC0415

    settings = _settings()
    with explained():
        what = replay_item(build(settings), item, same_patient=same_patient)
    if what is None:
        stop(f"nothing of number {item} is set aside")
    console.print(f"{what} {item} queued again")


@quarantine.command("drop")
def quarantine_drop(item: Item) -> None:
    """Close an item for good; the raw bytes are kept, and so is the fact."""
    from workers.parts import build  # noqa: PLC0415
    from workers.replay import drop_item  # noqa: PLC0415

    settings = _settings()
    with explained():
        what = drop_item(build(settings), item)
    if what is None:
        stop(f"nothing of number {item} is set aside")
    console.print(f"{what} {item} dropped")


@codes.command("unmapped")
def codes_unmapped() -> None:
    """List local codes and answers, unknown and missing units of the record."""
    from workers.parts import build  # noqa: PLC0415
    from workers.unmapped import listed  # noqa: PLC0415

    settings = _settings()
    with explained():
        items = listed(build(settings))
    names = ("sender", "system", "code", "of", "text", "why", "times", "last seen")
    rows = [
        (i.sender, i.system, i.code or "(blank)", i.of, i.text,
         "mapped: replay it" if i.mended else i.why,
         str(i.count), i.last.isoformat(timespec="seconds"))
        for i in items
    ]  # fmt: skip
    show(console, names, rows)


@codes.command("replay")
def codes_replay(
    sender: Annotated[str | None, typer.Argument(help="Interface")] = None,
    system: Annotated[str | None, typer.Argument(help="As sent; `unit` for a unit")] = None,
    code: Annotated[str | None, typer.Argument(help="The code, or the unit as sent")] = None,
    of: Annotated[str, typer.Option(help="Only of this question, as listed: `L|AFP`")] = "",
    everything: Annotated[
        bool, typer.Option("--all", help="All that is listed and the maps know now")
    ] = False,
) -> None:
    """Map the messages of one code or unit again, after its map was mended."""
    from workers.parts import build  # noqa: PLC0415
    from workers.unmapped import replay_code, replay_mended  # noqa: PLC0415

    settings = _settings()
    with explained():
        if everything and sender is None:
            count = replay_mended(build(settings))
        elif not everything and sender is not None and system is not None and code is not None:
            count = replay_code(build(settings), sender, system, code, of)
        else:
            stop("name sender, system and code, or --all", 2)
    console.print(f"{count} messages queued again")
