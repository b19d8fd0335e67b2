"""pack.toml and features.toml as they are written: read key by key, refused by file, line and key.

Every key is known here, in `image_tables` or in `protocol_reading`, and each that must be there is
asked for, so a misspelt one is refused instead of ignored.
"""

from __future__ import annotations

from dataclasses import fields
from datetime import date, datetime

from inference import image_tables, protocol_reading
from inference.manifest import (
    FORMAT,
    LEXICON,
    MANIFEST,
    Calibration,
    CalibrationMethod,
    Cues,
    File,
    FindingWords,
    Graph,
    Head,
    HeadKind,
    Lexicon,
    Manifest,
    Output,
    Precision,
    Reference,
    Release,
    ReportAs,
    Tiers,
    TokenInput,
    TrainingData,
    TrainingKind,
    Variant,
)
from inference.manifest_checks import agree
from inference.toml_table import Table, document
from mappings.codes import is_loinc


def parse(raw: bytes) -> Manifest:
    """Read pack.toml.

    Raises:
        ManifestRefused: names the key that is missing, unknown, of another type or contradictory.
    """
    doc = document(raw, MANIFEST)
    if doc.whole("format") != FORMAT:
        raise doc.refuse("format", str(FORMAT))
    human = protocol_reading.read(doc)
    manifest = Manifest(
        **{field.name: getattr(human, field.name) for field in fields(human)},
        training_data=_training_data(doc.table("training_data")),
        ct=image_tables.ct(doc.table("ct")) if doc.has("ct") else None,
        slides=tuple(map(image_tables.slides, doc.tables("slides"))) if doc.has("slides") else (),
        tokens=_tokens(doc.table("tokens")) if doc.has("tokens") else None,
        graphs=tuple(_graph(t) for t in doc.tables("graphs")),
        variants=tuple(_variant(t) for t in doc.tables("variants")) if doc.has("variants") else (),
        head=_head(doc.table("head")),
        outputs=tuple(_output(t) for t in doc.tables("outputs")),
        tiers=_tiers(doc.table("tiers")),
        calibration=_calibration(doc.table("calibration")),
        reference=_reference(doc.table("reference")) if doc.has("reference") else None,
        files=tuple(_file(t) for t in doc.tables("files")),
        release=_release(doc.table("release")) if doc.has("release") else Release(),
        report=_report(doc.table("report")) if doc.has("report") else ReportAs(),
    )
    doc.end()
    agree(manifest, doc)
    return manifest


def _training_data(t: Table) -> TrainingData:
    kind: TrainingKind = t.one_of("kind", TrainingKind)
    synthetic = kind == "synthetic"
    if not synthetic and t.has("generator"):
        raise t.refuse("kind", "synthetic, as it names a generator")
    made = TrainingData(
        kind=kind,
        words=t.text("words"),
        generator=t.text("generator") if synthetic else "",
        seed=t.whole("seed") if synthetic else None,
    )
    t.end()
    return made


def _tokens(t: Table) -> TokenInput:
    made = TokenInput(file=t.text("file"), length=t.whole("length"), pad=t.whole("pad"))
    if made.length < 1:
        raise t.refuse("length", "at least 1")
    t.end()
    return made


def _graph(t: Table) -> Graph:
    feeds = t.table("feeds")
    made = Graph(
        role=t.name("role"),
        file=t.text("file"),
        external=t.texts("external") if t.has("external") else (),
        feeds={name: feeds.one_or_more_texts(name) for name in feeds.rest()},
    )
    if not made.feeds:
        raise t.refuse("feeds", "a source for each input of the graph")
    t.end()
    return made


def _variant(t: Table) -> Variant:
    made = Variant(
        role=t.name("role"),
        precision=t.one_of("precision", Precision),
        file=t.text("file"),
        tolerance=t.number("tolerance"),
    )
    if not 0 < made.tolerance < 1:
        raise t.refuse("tolerance", "a difference of probability between 0 and 1")
    t.end()
    return made


def _head(t: Table) -> Head:
    kind: HeadKind = t.one_of("kind", HeadKind)
    survival = kind == "hazards"
    made = Head(
        graph=t.name("graph"),
        kind=kind,
        output=t.text("output"),
        bias=t.text("bias") if kind == "additive_logit" else "",
        interval_ends_days=t.days("interval_ends_days") if survival else (),
        horizons_days=t.days("horizons_days") if survival else (),
    )
    if not set(made.horizons_days) <= set(made.interval_ends_days):
        raise t.refuse("horizons_days", "some of head.interval_ends_days")
    t.end()
    return made


def _output(t: Table) -> Output:
    made = Output(
        code=t.text("code"),
        system=t.text("system"),
        display=t.text("display"),
        positive=t.truth("positive"),
    )
    t.end()
    return made


def _tiers(t: Table) -> Tiers:
    made = Tiers(
        threshold=t.number("threshold"),
        below=t.text("below"),
        above=t.text("above"),
        locked=t.text("locked"),
        horizon_days=t.whole("horizon_days") if t.has("horizon_days") else None,
    )
    if not 0 < made.threshold < 1:
        raise t.refuse("threshold", "a probability between 0 and 1")
    t.end()
    return made


def _calibration(t: Table) -> Calibration:
    method: CalibrationMethod = t.one_of("method", CalibrationMethod)
    platt = method == "platt"
    members = t.whole("members") if t.has("members") else 1
    if members < 1:
        raise t.refuse("members", "at least 1")
    made = Calibration(
        method=method,
        slope=t.one_or_more_numbers("slope") if platt else (1.0,),
        intercept=t.one_or_more_numbers("intercept") if platt else (0.0,),
        words=t.text("words") if not platt else "",
        members=members,
        interval=t.number("interval") if members > 1 else None,
        t_quantile=t.number("t_quantile") if members > 1 else None,
    )
    if min(made.slope) <= 0:
        raise t.refuse("slope", "a number above 0")
    if made.interval is not None and not 0 < made.interval < 1:
        raise t.refuse("interval", "a level between 0 and 1")
    t.end()
    return made


def _reference(t: Table) -> Reference:
    names = t.texts("names")
    hu = t.table("phase_hu") if t.has("phase_hu") else None
    made = Reference(
        names=names,
        centre=t.numbers("centre", len(names)),
        spread=t.numbers("spread", len(names)),
        limit=t.number("limit"),
        phase_hu={k: hu.span(k) for k in hu.rest()} if hu else {},
        min_findings=t.whole("min_findings") if t.has("min_findings") else 0,
    )
    t.end()
    return made


def _file(t: Table) -> File:
    made = File(path=t.text("path"), sha256=t.text("sha256"), size=t.whole("size"))
    t.end()
    return made


def _release(t: Table) -> Release:
    made = Release(
        expires=_day(t) if t.has("expires") else None,
        supersedes=t.text("supersedes") if t.has("supersedes") else None,
        contraindications=t.texts("contraindications") if t.has("contraindications") else (),
        udi=t.text("udi") if t.has("udi") else None,
        pccp=t.text("pccp") if t.has("pccp") else None,
        gpu_memory_mb=t.whole("gpu_memory_mb") if t.has("gpu_memory_mb") else None,
    )
    if made.gpu_memory_mb is not None and made.gpu_memory_mb <= 0:
        raise t.refuse("gpu_memory_mb", "a number above 0")
    t.end()
    return made


def _report(t: Table) -> ReportAs:
    made = ReportAs(
        code=t.text("code"),
        display=t.text("display"),
        category=t.text("category"),
        category_display=t.text("category_display"),
    )
    if not is_loinc(made.code):
        raise t.refuse("code", "a LOINC code")
    t.end()
    return made


def _day(t: Table) -> date:
    value = t.raw("expires", "a date")
    # A TOML date with a time is a date, too, for Python.
    if not isinstance(value, date) or isinstance(value, datetime):
        raise t.refuse("expires", "a date")
    return value


def parse_lexicon(raw: bytes) -> Lexicon:
    """Read features.toml.

    Raises:
        ManifestRefused: as `parse`.
    """
    doc = document(raw, LEXICON)
    findings = []
    for t in doc.tables("findings"):
        identity, display = t.text("id"), t.text("display")
        findings.append(FindingWords(id=identity, display=display, words=_by_language(t)))
    made = Lexicon(
        findings=tuple(findings),
        negation=_cues(doc.table("negation")),
        hedge=_cues(doc.table("hedge")),
        breaks=doc.texts("breaks"),
    )
    doc.end()
    return made


def _by_language(t: Table) -> dict[str, tuple[str, ...]]:
    return {language: t.texts(language) for language in t.rest()}


def _cues(t: Table) -> Cues:
    made = Cues(before=_by_language(t.table("before")), after=_by_language(t.table("after")))
    t.end()
    return made
