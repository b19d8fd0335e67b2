"""`oncord pack`: packs begun, looked at, checked, tried and signed before a site runs them.

Only `init`, `seal`, `example` and `sign` write, and only into the pack's folder.
Source: model-rules 26, 27.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from workers.ending import explained, stop
from workers.settings import Settings

if TYPE_CHECKING:
    from inference.assess import Case
    from inference.manifest import Grid, Manifest
    from inference.packs import Pack
    from mappings.record import PatientRecord

app = typer.Typer(no_args_is_help=True, help="Models as folders of data: begin, check, try, sign.")
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_console = Console(soft_wrap=True, highlight=False, markup=False)

Folder = Annotated[Path, typer.Argument(help="Folder with a pack.toml")]
RecordFile = Annotated[Path, typer.Argument(help="Entries as in examples/, FHIR JSON or HL7 v2")]
AsOf = Annotated[datetime | None, typer.Option(help="What was known then (UTC); of a message: now")]
Authority = Annotated[
    list[str] | None, typer.Option(help="Whose patient identifiers a message has, as sent")
]


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder to make; its name is the pack's id")],
    graphs: Annotated[list[Path], typer.Option("--from", help="ONNX graph; repeat in their order")],
    weights: Annotated[
        list[Path] | None, typer.Option(help="File with weights of the last graph, as it names it")
    ] = None,
) -> None:
    """Begin a pack from ONNX graphs: what they tell is filled in, what is not says TODO."""
    from inference import drafting  # noqa: PLC0415

    with explained():
        drafting.begin(folder, graphs, weights or ())
    _console.print(f"{folder}/pack.toml: write what says TODO, then `oncord pack seal {folder}`")


@app.command()
def seal(folder: Folder) -> None:
    """Write size and SHA-256 of every file of the folder into pack.toml."""
    from inference import listing  # noqa: PLC0415

    with explained():
        count = listing.seal(folder)
    _console.print(f"{count} files listed")


@app.command("list")
def list_() -> None:
    """List the packs found in the site's folders, and those refused with the reason."""
    from inference.packs import discover  # noqa: PLC0415

    with explained():
        folders = Settings.from_environment().pack_folders
        found = discover(folders)
    if missing := [folder for folder in folders if not folder.is_dir()]:
        stop(f"ONCORD_PACK_FOLDERS: there is no folder {missing[0]}", 2)
    for pack in found.packs:
        _console.print(f"{_name(pack)}, {pack.manifest.training_data.kind} training data")
    for refusal in found.refusals:
        _console.print(f"REFUSED {refusal.folder}: {refusal.reason}")
    raise typer.Exit(1 if found.refusals else 0)


@app.command()
def show(pack: Annotated[str, typer.Argument(help="Id of a pack in the site's folders")]) -> None:
    """Say what a pack is for, asks, reads and gives."""
    from inference.packs import discover  # noqa: PLC0415

    with explained():
        found = discover(Settings.from_environment().pack_folders)
    one = next((p for p in found.packs if p.manifest.id == pack), None)
    if one is None:
        known = ", ".join(p.manifest.id for p in found.packs) or "none"
        stop(f"no pack {pack}; there is {known}", 2)
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
    yield from _images(m)
    for graph in m.graphs:
        fed = ", ".join(word for words in graph.feeds.values() for word in words)
        yield f"graph {graph.role}: of {fed}"
    for output in m.outputs:
        yield f"output {output.code}: {output.display}{' (positive)' if output.positive else ''}"
    tiers = m.tiers
    yield f"tiers: {tiers.below} below {tiers.threshold}, else {tiers.above}; {tiers.locked}"


def _images(m: Manifest) -> Iterator[str]:
    """What is read of images, and around what."""
    if m.ct is not None:
        phases = ", ".join(p + (" (required)" if p in m.ct.required else "") for p in m.ct.phases)
        around = ", ".join(m.ct.segments) or m.ct.roi
        yield f"input ct: phases {phases}; {_grid(m.ct.grid)}, around {around}"
    if m.ct is not None and m.ct.segmenter is not None:
        yield f"region by {m.ct.segmenter.role}: of {_grid(m.ct.segmenter.grid)}"
    for slides in m.slides:
        tiles = f"{slides.most_tiles} tiles of {slides.tile_px} pixels of {slides.mpp:g} um"
        yield f"input {slides.id}: {slides.stain} slides, at most {tiles}"


def _grid(grid: Grid) -> str:
    """Voxels, millimetres, and where the axes lead."""
    voxels, spacing = (" x ".join(f"{n:g}" for n in of) for of in (grid.size, grid.spacing_mm))
    return f"{voxels} voxels of {spacing} mm ({grid.orientation}, {grid.resampling})"


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
    from inference import drafting, fitting, packs  # noqa: PLC0415
    from inference.errors import PackRefused, SessionRefused  # noqa: PLC0415

    try:
        if open_ends := list(drafting.open_ends(folder)):
            yield from (Line("manifest", False, text) for text in open_ends)
            return
        pack = packs.verified(folder)
    except PackRefused as error:
        yield Line("files", False, str(error))
        return
    yield Line("files", True, f"{len(pack.manifest.files)} files have the listed SHA-256")
    yield Line("manifest", True, _name(pack))
    expires = pack.manifest.release.expires
    if expires is not None:
        over = pack.manifest.release.expired(datetime.now(UTC).date())
        yield Line("release", not over, f"{'expired on' if over else 'good until'} {expires}")
    try:
        for told in fitting.check(pack.manifest, pack.lexicon, pack.graph):
            yield Line("graph", True, told)
    except (SessionRefused, PackRefused) as error:
        yield Line("graph", False, str(error))
        return
    yield from conformed(pack)


@app.command()
def conform(folder: Folder) -> None:
    """Run the pack's examples and compare each figure, from features to the probability."""
    from inference import packs  # noqa: PLC0415

    with explained():
        lines = list(conformed(packs.load(folder), every=True))
    _tell(lines)


def conformed(pack: Pack, *, every: bool = False) -> Iterator[Line]:
    """The examples against their author's figures.

    Args:
        pack: Verified.
        every: A line for each figure, instead of one for each example.
    """
    from inference import conform as own_test  # noqa: PLC0415
    from inference.errors import NoKernel, PackRefused, SessionRefused  # noqa: PLC0415

    for precision in (None, *sorted({v.precision for v in pack.manifest.variants})):
        try:
            found = own_test.check(pack, precision=precision)
        except NoKernel as error:
            # Sound as a pack; who asks for its figures is told that there are none.
            yield Line("example", not every, f"not compared in {precision} here: {error.reason}")
            continue
        except (PackRefused, SessionRefused) as error:
            yield Line("example", False, str(error))
            return
        if not found:
            yield Line("example", False, f"{own_test.FOLDER} has no example: nothing was compared")
        limit = own_test.tolerance(pack, precision)
        for one in found:
            told = one.off if every else {"all figures": one.off_by}
            name = one.example + (f" in {precision}" if precision else "")
            for figure, off in told.items():
                yield Line("example", off <= limit, f"{name}: {figure} differs by {off:.2g}")
            for images in one.left_out:
                yield Line("example", True, f"{name} leaves out its images: {images}")


@app.command()
def example(
    folder: Folder,
    name: Annotated[str, typer.Argument(help="Name of the example")],
    record: RecordFile,
    expect: Annotated[
        list[str], typer.Option(help="FIGURE=NUMBER of your own model; probability must be there")
    ],
    as_of: AsOf = None,
    authority: Authority = None,
) -> None:
    """Keep what the pack reads of a patient's file, with your model's figures, as an example."""
    from inference import conform as own_test  # noqa: PLC0415
    from inference import listing, packs  # noqa: PLC0415
    from workers import patient_file  # noqa: PLC0415

    if not _NAME.fullmatch(name):
        stop(f"{name} is not a plain name of letters, digits, - and _", 2)
    if (folder / own_test.FOLDER / f"{name}.json").exists():
        stop(f"{own_test.FOLDER}{name}.json is there already")
    with explained():
        pack = packs.load(folder)
        known, given, _findings = patient_file.case(record, as_of, authority or ())
        case = given or _case_now(pack, known)
        body = own_test.example(pack, case, _figures(expect))
        file = folder / own_test.FOLDER / f"{name}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(body, ensure_ascii=False, indent=1), encoding="utf-8")
        listing.seal(folder)
    _console.print(f"{file.relative_to(folder)} is kept; look at it before you share the pack")


def _case_now(pack: Pack, known: PatientRecord) -> Case:
    from inference import eligibility  # noqa: PLC0415
    from inference.assess import Case  # noqa: PLC0415

    answer = eligibility.readiness(pack.manifest, known, [], known.as_of)
    if answer.t0 is None:
        index = pack.manifest.index
        if index.on == "study":
            stop(f"the index is {index.text}, which only a file of entries with `ct` can hold")
        stop(f"the file does not tell the index: {index.text}")
    return Case(record=known, ct=None, t0=answer.t0, as_of=known.as_of)


def _figures(words: Sequence[str]) -> dict[str, float]:
    made: dict[str, float] = {}
    for word in words:
        name, _, number = word.rpartition("=")
        if not name or name in made:
            stop(f"--expect {word}: FIGURE=NUMBER, each figure once", 2)
        try:
            made[name] = float(number)
        except ValueError:
            stop(f"--expect {word}: FIGURE=NUMBER", 2)
        if not math.isfinite(made[name]):
            stop(f"--expect {word}: a finite number", 2)
    return made


def _tell(lines: Sequence[Line]) -> None:
    for line in lines:
        _console.print(f"{'ok' if line.ok else 'BAD':<4}{line.part:<9} {line.text}")
    raise typer.Exit(0 if all(line.ok for line in lines) else 1)


@app.command()
def run(
    folder: Folder, record: RecordFile, as_of: AsOf = None, authority: Authority = None
) -> None:
    """Print readiness, features and prediction for one patient's file; writes nothing."""
    from inference import packs  # noqa: PLC0415
    from workers import patient_file  # noqa: PLC0415

    with explained():
        pack = packs.load(folder)
        known, given, findings = patient_file.case(record, as_of, authority or ())
        for found in findings:
            _console.print(f"not mapped {found.path} ({found.severity}): {found.reason}")
        for line in answered(pack, known, given):
            _console.print(line)


def answered(pack: Pack, record: PatientRecord, given: Case | None) -> Iterator[str]:
    """Readiness, features with reasons and, where the rules are met, the prediction."""
    from inference import eligibility, features, heads  # noqa: PLC0415
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
    ct, slides = (given.ct, given.slides) if given else (None, ())
    case = Case(record=record, ct=ct, t0=answer.t0, as_of=record.as_of, slides=slides)
    made = assess(pack, [case])[0]
    for missing in made.missing[len(read.missing) :]:
        yield f"{missing.input}: {missing.reason}; {missing.handling}"
    for one in made.outcomes:
        span = "" if one.low is None else f" ({one.low:.6f} to {one.high:.6f})"
        yield f"{heads.words(pack.manifest, one)}: {one.probability:.6f}{span}"
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
    target: Annotated[Path, typer.Argument(help="Folder of a pack, or a site's recalibration")],
    key: Annotated[Path, typer.Option(help="Ed25519 private key, PEM without a password")],
) -> None:
    """Write pack.sig over pack.toml, which lists every digest; of a recalibration FILE.sig."""
    from inference import packs, recalibration, signing  # noqa: PLC0415
    from inference.manifest import SIGNATURE  # noqa: PLC0415

    with explained():
        if target.is_dir():
            pack = packs.load(target)
            raw, beside, name = pack.raw, target / SIGNATURE, _name(pack)
        else:
            raw, beside = target.read_bytes(), target.with_name(f"{target.name}.sig")
            name = f"{target.name} {recalibration.parse(raw, target.name).version}"
        beside.write_bytes(signing.sign(raw, key.read_bytes()))
    _console.print(f"signed {name}")


@app.command()
def verify(
    folder: Folder,
    key: Annotated[Path, typer.Option(help="Ed25519 public key, PEM")],
) -> None:
    """Say whether pack.sig is of this key and of these very files."""
    from inference import packs, signing  # noqa: PLC0415

    with explained():
        pack = packs.load(folder)
        signing.verify(pack, key.read_bytes())
    _console.print(f"verified {_name(pack)}")


def _name(pack: Pack) -> str:
    return f"{pack.manifest.id} {pack.manifest.version}, {pack.digest[:12]}"
