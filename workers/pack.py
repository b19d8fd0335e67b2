"""`oncord pack`: packs looked at, checked, tried and signed before a site runs them.

Nothing here writes anywhere but `sign`, and that only pack.sig. Source: model-rules 26, 27.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from workers.settings import BadSettings, Settings

if TYPE_CHECKING:
    from inference.assess import Case
    from inference.packs import Pack
    from mappings.conversion import Conversion, Finding
    from mappings.record import PatientRecord, Source
    from mappings.site import Site

app = typer.Typer(no_args_is_help=True, help="Models as folders of data: check, try, sign.")
_console = Console(soft_wrap=True, highlight=False, markup=False)
_errors = Console(stderr=True, soft_wrap=True, highlight=False)
_LARGEST_RECORD = 64 << 20

Folder = Annotated[Path, typer.Argument(help="Folder with a pack.toml")]


class BadRecord(ValueError):
    """A file that is no record of one patient; the text says what it lacks, never a value."""


def _stop(reason: str, status: int = 1) -> NoReturn:
    _errors.print("[red]oncord:[/] ", end="")
    _errors.print(reason, markup=False)
    raise typer.Exit(status)


@contextmanager
def _explained() -> Iterator[None]:
    """Errors of ours as one line and a status, not as a traceback."""
    from inference.errors import InferenceError  # noqa: PLC0415  start-up time of `--help`
    from mappings.errors import MappingError  # noqa: PLC0415

    try:
        yield
    except BadSettings as error:
        _stop(str(error), 2)
    except (InferenceError, MappingError, BadRecord) as error:
        _stop(str(error))
    except OSError as error:
        _stop(f"{error.filename}: {error.strerror}" if error.filename else str(error))


@app.command("list")
def list_() -> None:
    """List the packs found in the site's folders, and those refused with the reason."""
    from inference.packs import discover  # noqa: PLC0415

    with _explained():
        found = discover(Settings.from_environment().pack_folders)
    for pack in found.packs:
        _console.print(f"{_name(pack)}, {pack.manifest.training_data.kind} training data")
    for refusal in found.refusals:
        _console.print(f"REFUSED {refusal.folder}: {refusal.reason}")
    raise typer.Exit(1 if found.refusals else 0)


@app.command()
def show(pack: Annotated[str, typer.Argument(help="Id of a pack in the site's folders")]) -> None:
    """Say what a pack is for, asks, reads and gives."""
    from inference.packs import discover  # noqa: PLC0415

    with _explained():
        found = discover(Settings.from_environment().pack_folders)
    one = next((p for p in found.packs if p.manifest.id == pack), None)
    if one is None:
        known = ", ".join(p.manifest.id for p in found.packs) or "none"
        _stop(f"no pack {pack}; there is {known}", 2)
    for line in described(one):
        _console.print(line)


def described(pack: Pack) -> Iterator[str]:
    """What people decided and training measured, a line each."""
    m = pack.manifest
    yield _name(pack)
    yield f"title: {m.title}"
    yield f"intended use: {m.intended_use}"
    yield f"not for: {m.not_for}"
    yield f"study: {m.study}; licence: {m.licence}"
    yield f"training data: {m.training_data.kind}. {m.training_data.words}"
    yield f"signed: {'yes, whose is for `pack verify` to say' if pack.signature else 'no'}"
    for name, value in asdict(m.release).items():
        if value:
            yield f"{name}: {'; '.join(value) if isinstance(value, tuple) else value}"
    for rule in m.rules:
        yield f"rule {rule.id} ({rule.scope}): {rule.text} [{rule.source}]"
    for wanted in m.inputs:
        need = "required" if wanted.required else "optional"
        yield f"input {wanted.id} ({wanted.kind}, {need}): {wanted.display}"
    for output in m.outputs:
        yield f"output {output.code}: {output.display}{' (positive)' if output.positive else ''}"
    tiers = m.tiers
    yield f"tiers: {tiers.below} below {tiers.threshold}, else {tiers.above}; {tiers.locked}"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing looked at, whether it is sound, and a sentence."""

    part: str
    ok: bool
    text: str


@app.command()
def check(folder: Folder) -> None:
    """Check folder, manifest, digests, graphs and examples, a line each; status 1 if one is bad."""
    _tell(list(checked(folder)))


def checked(folder: Path) -> Iterator[Line]:
    """Everything that `packs.load` and the pack's own examples ask; ends at what hides the rest."""
    from inference import packs, session  # noqa: PLC0415
    from inference.errors import PackRefused, SessionRefused  # noqa: PLC0415

    try:
        pack = packs.load(folder)
    except PackRefused as error:
        yield Line("files", False, str(error))
        return
    yield Line("files", True, f"{len(pack.contents)} files have the listed SHA-256")
    yield Line("manifest", True, _name(pack))
    expires = pack.manifest.release.expires
    if expires is not None:
        over = datetime.now(UTC).date() > expires
        yield Line("release", not over, f"{'expired on' if over else 'good until'} {expires}")
    loads = True
    for graph in pack.manifest.graphs:
        try:
            session.warm(graph.file, pack.graph(graph.role))
        except SessionRefused as error:
            loads = False
            yield Line("graph", False, str(error))
        else:
            yield Line("graph", True, f"{graph.role} loads")
    if loads:
        yield from conformed(pack)


@app.command()
def conform(folder: Folder) -> None:
    """Run the pack's examples and compare each figure, from features to the probability."""
    from inference import packs  # noqa: PLC0415
    from inference.errors import SessionRefused  # noqa: PLC0415

    with _explained():
        pack = packs.load(folder)
        try:
            lines = list(conformed(pack, every=True))
        except SessionRefused as error:
            lines = [Line("graph", False, str(error))]
    _tell(lines)


def conformed(pack: Pack, *, every: bool = False) -> Iterator[Line]:
    """The examples against their author's figures.

    Args:
        pack: Verified.
        every: A line for each figure, instead of one for each example.

    Raises:
        SessionRefused: a graph does not load.
    """
    from inference import conform as own_test  # noqa: PLC0415
    from inference.errors import PackRefused  # noqa: PLC0415

    try:
        found = own_test.check(pack)
    except PackRefused as error:
        yield Line("example", False, str(error))
        return
    if not found:
        yield Line("example", False, f"{own_test.FOLDER} has no example: nothing was compared")
    for one in found:
        told = one.off if every else {"all figures": one.off_by}
        for figure, off in told.items():
            text = f"{one.example}: {figure} differs by {off:.2g}"
            yield Line("example", off <= own_test.TOLERANCE, text)


def _tell(lines: Sequence[Line]) -> None:
    for line in lines:
        _console.print(f"{'ok' if line.ok else 'BAD':<4}{line.part:<9} {line.text}")
    raise typer.Exit(0 if all(line.ok for line in lines) else 1)


@app.command()
def run(
    folder: Folder,
    record: Annotated[Path, typer.Argument(help="Entries as in examples/, FHIR JSON or HL7 v2")],
    as_of: Annotated[
        datetime | None, typer.Option(help="What was known then (UTC); of a message: now")
    ] = None,
    authority: Annotated[
        list[str] | None, typer.Option(help="Whose patient identifiers a message has, as sent")
    ] = None,
) -> None:
    """Print readiness, features and prediction for one patient's file; writes nothing."""
    from inference import packs  # noqa: PLC0415

    with _explained():
        pack = packs.load(folder)
        known, given, findings = case(record, as_of, authority or ())
        for found in findings:
            _console.print(f"not mapped {found.path} ({found.severity}): {found.reason}")
        for line in answered(pack, known, given):
            _console.print(line)


def case(
    file: Path, as_of: datetime | None, authorities: Sequence[str] = ()
) -> tuple[PatientRecord, Case | None, tuple[Finding, ...]]:
    """The record in a file, a case of its own if it is one of entries, and what was not mapped.

    Raises:
        BadRecord: it is none of the three kinds, or of more than one patient.
        MappingError: a message that cannot be read or is of nobody.
        OSError: it cannot be read.
    """
    with file.open("rb") as stream:
        raw = stream.read(_LARGEST_RECORD + 1)
    if len(raw) > _LARGEST_RECORD:
        raise BadRecord(f"{file.name}: larger than {_LARGEST_RECORD >> 20} MiB")
    moment = (as_of or datetime.now(UTC)).replace(tzinfo=UTC)
    site, source = _sender(moment, authorities)
    if raw.startswith(b"MSH"):
        messages = _hl7(raw, site, source)
        left = tuple(f for one in messages for f in one.findings)
        return _folded(messages, file.name, moment), None, left
    try:
        body = json.loads(raw, parse_float=Decimal)
    except ValueError as error:
        raise BadRecord(f"{file.name}: neither JSON nor HL7 v2") from error
    if isinstance(body, dict) and "resourceType" in body:
        resources, unmapped = _fhir(body, site, source)
        left = (*unmapped, *(f for one in resources for f in one.findings))
        return _folded(resources, file.name, moment), None, left
    made = _entries(raw, file.name, as_of)
    return made.record, made, ()


def _entries(raw: bytes, name: str, as_of: datetime | None) -> Case:
    from inference.conform import case_from_json  # noqa: PLC0415

    if as_of is not None:
        raise BadRecord(f"{name}: a file of entries says its own as_of")
    try:
        return case_from_json(json.loads(raw))
    except KeyError as error:
        raise BadRecord(f"{name}: {error.args[0]} is missing") from error
    except (AttributeError, IndexError, TypeError, ValueError, zlib.error) as error:
        raise BadRecord(f"{name}: no file of entries as in examples/") from error


def _sender(moment: datetime, authorities: Sequence[str]) -> tuple[Site, Source]:
    from mappings.record import Source  # noqa: PLC0415
    from mappings.site import Site  # noqa: PLC0415

    # No site file is read: the trial must give the same on the author's own machine.
    site = Site(
        name="pack run",
        authorities={name: name for name in authorities},
        default_authority="urn:oncord:pack-run",
    )
    return site, Source("pack run", 0, moment, "history")


def _hl7(raw: bytes, site: Site, source: Source) -> list[Conversion]:
    from mappings import hl7v2  # noqa: PLC0415

    text = raw.replace(b"\r\n", b"\r").replace(b"\n", b"\r")
    starts = [b"MSH" + part for part in text.removeprefix(b"MSH").split(b"\rMSH")]
    return [hl7v2.entries(one.rstrip(b"\r") + b"\r", site=site, source=source) for one in starts]


def _fhir(
    body: Mapping[str, Any], site: Site, source: Source
) -> tuple[list[Conversion], list[Finding]]:
    from mappings import fhir  # noqa: PLC0415
    from mappings.conversion import Finding  # noqa: PLC0415
    from mappings.errors import MappingError, NoPatientIdentifier  # noqa: PLC0415
    from mappings.fhir import door  # noqa: PLC0415

    door.validate(body)
    if body["resourceType"] != "Bundle":
        body = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": body}]}
    known = fhir.subjects(body, site=site)
    resources = [part.resource for part in fhir.split(body) if part.resource is not None]
    made, left = [], []
    for one in resources:
        try:
            made.append(fhir.entries(one, site=site, source=source, patient=known.get))
        except NoPatientIdentifier:
            raise
        except MappingError as error:
            left.append(Finding(str(one.get("resourceType")), str(error), "information"))
    return made, left


def _folded(found: Sequence[Conversion], name: str, moment: datetime) -> PatientRecord:
    from mappings.record import PatientRecord  # noqa: PLC0415

    if len({one.patient for one in found}) != 1:
        raise BadRecord(f"{name}: of {len({one.patient for one in found})} patients, not of one")
    entries = [entry for one in found for entry in one.entries]
    return PatientRecord.of(entries, as_of=moment)


def answered(pack: Pack, record: PatientRecord, given: Case | None) -> Iterator[str]:
    """Readiness, features with reasons and, where the rules are met, the prediction."""
    from inference import eligibility, features  # noqa: PLC0415
    from inference.assess import Case, assess  # noqa: PLC0415

    studies = [] if given is None or given.ct is None else [_summary(given)]
    answer = eligibility.readiness(pack.manifest, record, studies, record.as_of)
    yield f"readiness: {answer.state} as of {record.as_of.isoformat()}"
    for rule in answer.rules:
        yield f"rule {rule.rule} ({rule.scope}): {rule.verdict}, {rule.reason}"
    if answer.t0 is None:
        yield "no index time: no features, no prediction"
        return
    read = features.read(pack.manifest, pack.lexicon, record, answer.t0, record.as_of)
    for identity, number in read.numbers.items():
        yield f"feature {identity}: {number:.6g}"
    for missing in read.missing:
        yield f"feature {missing.input}: missing, {missing.reason}; {missing.handling}"
    if answer.state != "ready":
        yield "no prediction: the rules are not met"
        return
    ct = given.ct if given else None
    made = assess(pack, [Case(record=record, ct=ct, t0=answer.t0, as_of=record.as_of)])[0]
    for one in made.outcomes:
        yield f"{one.display}: {one.probability:.6f} ({one.low:.6f} to {one.high:.6f})"
    yield f"tier: {made.tier}"
    for reason in made.ood_reasons:
        yield f"unlike the training cohort: {reason}"
    yield made.words


def _summary(given: Case) -> Any:
    from inference.rules import StudySummary  # noqa: PLC0415
    from mappings.record import When  # noqa: PLC0415

    assert given.ct is not None
    return StudySummary(
        study_instance_uid=given.ct.study_instance_uid,
        modality="CT",
        started=When.instant(given.t0),
        complete=True,
        phases=tuple(given.ct.phases),
    )


@app.command()
def sign(
    folder: Folder,
    key: Annotated[Path, typer.Option(help="Ed25519 private key, PEM without a password")],
) -> None:
    """Write pack.sig: an Ed25519 signature over pack.toml, which lists every digest."""
    from inference import packs, signing  # noqa: PLC0415

    with _explained():
        pack = packs.load(folder)
        made = signing.sign(pack, key.read_bytes())
        folder.joinpath(packs.SIGNATURE).write_bytes(made)
    _console.print(f"signed {_name(pack)}")


@app.command()
def verify(
    folder: Folder,
    key: Annotated[Path, typer.Option(help="Ed25519 public key, PEM")],
) -> None:
    """Say whether pack.sig is of this key and of these very files."""
    from inference import packs, signing  # noqa: PLC0415

    with _explained():
        pack = packs.load(folder)
        signing.verify(pack, key.read_bytes())
    _console.print(f"verified {_name(pack)}")


def _name(pack: Pack) -> str:
    return f"{pack.manifest.id} {pack.manifest.version}, {pack.digest[:12]}"
