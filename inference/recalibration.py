"""A site's own recalibration of a pack: a file beside the site file, never an edit of the pack.

It moves the calibrated logit, is versioned and signed for itself, and holds for one digest of the
pack only. Source: model-rules 26.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from inference.errors import PackRefused
from inference.manifest import Calibration, Manifest
from inference.packs import Pack
from inference.toml_table import document

FORMAT = 1
_CLASSES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalibration:
    """One file.

    Attributes:
        pack_digest: SHA-256 of the pack.toml it was fitted for.
        slope, intercept: New logit = slope x the pack's calibrated logit + intercept, one pair for
            each horizon or one for all.
        threshold: Tier threshold on the new probability; locked: how it was found.
        words: On whom it was fitted, when and how.
        digest: SHA-256 of the file.
    """

    pack_digest: str
    version: str
    slope: tuple[float, ...]
    intercept: tuple[float, ...]
    threshold: float
    locked: str
    words: str
    digest: str


def parse(raw: bytes, file: str) -> Recalibration:
    """Read a recalibration.

    Raises:
        ManifestRefused: names file, line and key of what is missing, unknown or of another type.
    """
    doc = document(raw, file)
    if doc.whole("format") != FORMAT:
        raise doc.refuse("format", str(FORMAT))
    made = Recalibration(
        pack_digest=doc.text("pack_digest"),
        version=doc.text("version"),
        slope=doc.one_or_more_numbers("slope"),
        intercept=doc.one_or_more_numbers("intercept"),
        threshold=doc.number("threshold"),
        locked=doc.text("locked"),
        words=doc.text("words"),
        digest=hashlib.sha256(raw).hexdigest(),
    )
    if len(made.slope) != len(made.intercept) or min(made.slope) <= 0:
        raise doc.refuse("slope", "numbers above 0, each with an intercept")
    if not 0 < made.threshold < 1:
        raise doc.refuse("threshold", "a probability between 0 and 1")
    doc.end()
    return made


def applied(pack: Pack, own: Recalibration) -> Pack:
    """The pack as the site runs it; its digest stays, and results name the recalibration.

    Raises:
        PackRefused: it was fitted for other bytes, or does not fit the pack's figures.
    """
    m = pack.manifest
    if own.pack_digest != pack.digest:
        raise PackRefused("the recalibration was fitted for another digest of this pack")
    if m.head.kind == "probabilities" and len(m.outputs) != _CLASSES:
        raise PackRefused("a recalibration is of two classes, or of hazards")
    figures = max(1, len(m.head.horizons_days))
    if len(own.slope) not in (1, figures):
        raise PackRefused(f"the recalibration has {len(own.slope)} pairs, the pack {figures}")
    tiers = replace(m.tiers, threshold=own.threshold, locked=own.locked)
    changed = replace(m, calibration=_composed(m, own, figures), tiers=tiers)
    return replace(pack, manifest=changed, recalibration=f"{own.version} {own.digest[:16]}")


def _composed(m: Manifest, own: Recalibration, figures: int) -> Calibration:
    """One Platt after the other is one Platt."""
    before = m.calibration
    slopes, intercepts = _stretched(own.slope, figures), _stretched(own.intercept, figures)
    first, offset = _stretched(before.slope, figures), _stretched(before.intercept, figures)
    return replace(
        before,
        method="platt",
        slope=tuple(a * b for a, b in zip(slopes, first, strict=True)),
        intercept=tuple(a * b + c for a, b, c in zip(slopes, offset, intercepts, strict=True)),
    )


def _stretched(pairs: tuple[float, ...], figures: int) -> tuple[float, ...]:
    return pairs * figures if len(pairs) == 1 else pairs
