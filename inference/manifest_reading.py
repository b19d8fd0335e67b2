"""pack.toml and features.toml as they are written: read key by key, refused by file, line and key.

Every key is known here or in `protocol_reading`, and every key that must be there is asked for, so
a misspelt one is refused instead of ignored.
"""

from __future__ import annotations

import math
import re
from dataclasses import fields
from datetime import date, datetime

from inference import protocol_reading
from inference.manifest import (
    FORMAT,
    LEXICON,
    MANIFEST,
    ROI,
    Calibration,
    CalibrationMethod,
    CtInput,
    Cues,
    File,
    FindingWords,
    Graph,
    Grid,
    Head,
    HeadKind,
    Intensity,
    Lexicon,
    Manifest,
    Normalisation,
    Output,
    Precision,
    Reference,
    Release,
    ReportAs,
    Resampling,
    Segmenter,
    SlideInput,
    Tiers,
    Tissue,
    TokenInput,
    TrainingData,
    TrainingKind,
    Variant,
    Without,
)
from inference.manifest_checks import agree
from inference.toml_table import Table, document
from mappings.codes import is_loinc

_ROLE = re.compile(r"[a-z][a-z0-9_]*")
_CODED = re.compile(r"[^|]+\|[^|]+")
_UNIT = 1e-3  # figures of a paper are rounded


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
        ct=_ct(doc.table("ct")) if doc.has("ct") else None,
        slides=tuple(_slides(t) for t in doc.tables("slides")) if doc.has("slides") else (),
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


def _ct(t: Table) -> CtInput:
    roi: ROI = t.one_of("roi", ROI)
    grid = _grid(t, _orientation(t), t.one_of("resampling", Resampling))
    made = CtInput(
        phases=t.texts("phases"),
        required=t.texts("required"),
        min_confidence=t.number("min_confidence"),
        grid=grid,
        hu_clip=t.span("hu_clip"),
        intensity=t.one_of("intensity", Intensity),
        roi=roi,
        without=t.one_of("without", Without),
        segments=_segments(t) if roi == "segmentation" else (),
        segmenter=_segmenter(t.table("segmenter"), grid) if roi == "segmenter" else None,
    )
    t.end()
    return made


def _grid(t: Table, orientation: str, resampling: Resampling) -> Grid:
    size, spacing = t.numbers("grid", 3), t.numbers("spacing_mm", 3)
    if any(n < 1 or n != int(n) for n in size):
        raise t.refuse("grid", "whole numbers above 0")
    if min(spacing) <= 0:
        raise t.refuse("spacing_mm", "millimetres above 0")
    return Grid(
        size=(int(size[0]), int(size[1]), int(size[2])),
        spacing_mm=(spacing[0], spacing[1], spacing[2]),
        orientation=orientation,
        resampling=resampling,
    )


def _orientation(t: Table) -> str:
    if not t.has("orientation"):
        return "SPL"
    letters = t.text("orientation")
    axes = [next((axis for axis in ("SI", "PA", "LR") if one in axis), one) for one in letters]
    if sorted(axes) != ["LR", "PA", "SI"]:
        raise t.refuse("orientation", "a letter of S or I, P or A, L or R each, such as SPL or RAS")
    return letters


def _segments(t: Table) -> tuple[str, ...]:
    codes = t.texts("segments")
    if not codes or not all(_CODED.fullmatch(code) for code in codes):
        raise t.refuse("segments", 'property types as "SCHEME|CODE", such as "SCT|10200004"')
    return codes


def _segmenter(t: Table, around: Grid) -> Segmenter:
    made = Segmenter(
        role=_role(t, "role"),
        output=t.text("output"),
        grid=_grid(t, around.orientation, around.resampling),
        threshold=t.number("threshold"),
    )
    t.end()
    return made


def _slides(t: Table) -> SlideInput:
    normalisation: Normalisation = t.one_of("normalisation", Normalisation)
    macenko = normalisation == "macenko"
    made = SlideInput(
        id=_role(t, "id"),
        stain=t.text("stain"),
        mpp=t.number("mpp"),
        tile_px=t.whole("tile_px"),
        overlap_px=t.whole("overlap_px"),
        tissue=t.one_of("tissue", Tissue),
        tissue_mpp=t.number("tissue_mpp"),
        least_tissue=t.number("least_tissue"),
        most_tiles=t.whole("most_tiles"),
        normalisation=normalisation,
        reference_stains=_stains(t) if macenko else (),
        reference_maxima=t.numbers("reference_maxima", 2) if macenko else (),
        without=t.one_of("without", Without),
    )
    if made.mpp <= 0 or made.tissue_mpp < made.mpp:
        raise t.refuse("tissue_mpp", "micrometres per pixel, at least mpp, which is above 0")
    if made.tile_px < 1 or not 0 <= made.overlap_px < made.tile_px:
        raise t.refuse("overlap_px", "less than tile_px, which is at least 1")
    if not 0 <= made.least_tissue <= 1:
        raise t.refuse("least_tissue", "a share between 0 and 1")
    if made.most_tiles < 1:
        raise t.refuse("most_tiles", "at least 1")
    if any(most <= 0 for most in made.reference_maxima):
        raise t.refuse("reference_maxima", "concentrations above 0")
    t.end()
    return made


def _stains(t: Table) -> tuple[tuple[float, float, float], ...]:
    """Two directions in optical density, each of length 1."""
    flat = t.numbers("reference_stains", 6)
    rows = ((flat[0], flat[1], flat[2]), (flat[3], flat[4], flat[5]))
    if any(abs(math.hypot(*row) - 1) > _UNIT for row in rows):
        raise t.refuse("reference_stains", "R, G, B of two stains, each of length 1")
    return rows


def _tokens(t: Table) -> TokenInput:
    made = TokenInput(file=t.text("file"), length=t.whole("length"), pad=t.whole("pad"))
    if made.length < 1:
        raise t.refuse("length", "at least 1")
    t.end()
    return made


def _graph(t: Table) -> Graph:
    feeds = t.table("feeds")
    made = Graph(
        role=_role(t, "role"),
        file=t.text("file"),
        external=t.texts("external") if t.has("external") else (),
        feeds={name: feeds.one_or_more_texts(name) for name in feeds.rest()},
    )
    if not made.feeds:
        raise t.refuse("feeds", "a source for each input of the graph")
    t.end()
    return made


def _role(t: Table, key: str) -> str:
    role = t.text(key)
    if not _ROLE.fullmatch(role):
        raise t.refuse(key, "a name of lower-case letters, digits and underscores")
    return role


def _variant(t: Table) -> Variant:
    made = Variant(
        role=_role(t, "role"),
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
        graph=_role(t, "graph"),
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
