"""Which CT series of a study serves as which contrast phase, with the reasons (models.md 6.1).

By contrast timing first, by description second: descriptions mislead, so they earn less
confidence. Judging by the image itself (HU of the aorta) is not done here.
Source: PS3.3 C.7.6.4 (contrast/bolus), C.7.6.1.1.2 (image type), C.7.6.2 (image plane).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
from pydicom import Dataset

from mappings.dicom.attributes import number, numbers, seconds, text
from mappings.dicom.segmentation import is_segmentation
from mappings.images import CT_PHASES, CtPhase, PhaseChoice
from mappings.tables import rows

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
_FEWEST_SLICES = 4
_MOST_TILT_DEGREES = 10.0
_REFUSED_TYPES = frozenset(
    {"LOCALIZER", "MPR", "MIP", "MINIP", "VRT", "REFORMATTED", "PROJECTION IMAGE", "DOSE_INFO"}
    | {"SCREEN SAVE", "SUBTRACTION", "CSA MPR", "CSAPARALLEL", "POSDISP"}
)
_USEFUL_MM = (1.0, 5.0)
_SHARP_KERNEL = re.compile(r"(?i)bone|lung|sharp|edge|(?:^|\D)[bhiqu]r?([5-9]\d)")

# Seconds from contrast start: beginning, end and confidence inside.
_TIMES: tuple[tuple[float, float, CtPhase, float], ...] = (
    (-3600.0, 5.0, "NC", 0.9),
    (5.0, 20.0, "AP", 0.6),
    (20.0, 45.0, "AP", 0.95),
    (45.0, 58.0, "PV", 0.55),
    (58.0, 95.0, "PV", 0.95),
    (95.0, 120.0, "PV", 0.55),
    (120.0, 900.0, "DL", 0.9),
)
_BY_DESCRIPTION = 0.75
_BY_ABSENCE = 0.7
_CONTRADICTED = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """The instances of a series that make one acquisition.

    Attributes:
        series_instance_uid: Its series.
        acquisition: (0020,0012) where the series holds several, else an empty string.
        instances: Headers or whole instances.
    """

    series_instance_uid: str
    acquisition: str
    instances: tuple[Dataset, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A phase with the instances that serve as it."""

    choice: PhaseChoice
    candidate: Candidate


def choose(datasets: Iterable[Dataset]) -> tuple[tuple[Chosen, ...], dict[str, str]]:
    """Choose at most one acquisition per phase.

    Args:
        datasets: All instances of one study, any order.

    Returns:
        The chosen in the order of `CT_PHASES`, and series UID to the reason it was not used.
    """
    rejected: dict[str, str] = {}
    usable: list[Candidate] = []
    for candidate in _candidates(datasets):
        reason = _unusable(candidate)
        if reason is None:
            usable.append(candidate)
        else:
            rejected.setdefault(candidate.series_instance_uid, reason)
    marks_contrast = any(text(c.instances[0], "ContrastBolusAgent") for c in usable)
    by_phase: dict[CtPhase, list[Chosen]] = defaultdict(list)
    for candidate in usable:
        choice = _phase(candidate, marks_contrast=marks_contrast)
        if choice is None:
            rejected.setdefault(
                candidate.series_instance_uid, "phase unknown by contrast time and description"
            )
        else:
            by_phase[choice.phase].append(Chosen(choice=choice, candidate=candidate))
    chosen = []
    for phase in CT_PHASES:
        ranked = sorted(by_phase[phase], key=_rank)
        chosen += ranked[:1]
        for other in ranked[1:]:
            uid = other.candidate.series_instance_uid
            rejected.setdefault(uid, f"{phase}: another series was preferred")
    used = {c.candidate.series_instance_uid for c in chosen}
    return tuple(chosen), {uid: reason for uid, reason in rejected.items() if uid not in used}


def _candidates(datasets: Iterable[Dataset]) -> list[Candidate]:
    """Series, and where slices share positions, the acquisitions inside them."""
    series: dict[str, list[Dataset]] = defaultdict(list)
    for dataset in datasets:
        if not is_segmentation(dataset):  # outlines of a series, never one to choose
            series[text(dataset, "SeriesInstanceUID")].append(dataset)
    made: list[Candidate] = []
    for uid, instances in sorted(series.items()):
        places = [text(d, "ImagePositionPatient") for d in instances]
        parts: dict[str, list[Dataset]] = defaultdict(list)
        if len(set(places)) < len(places):
            for dataset in instances:
                parts[text(dataset, "AcquisitionNumber")].append(dataset)
        else:
            parts[""] = instances
        made += [
            Candidate(series_instance_uid=uid, acquisition=name, instances=tuple(found))
            for name, found in sorted(parts.items())
        ]
    return made


def _unusable(candidate: Candidate) -> str | None:
    """Why a candidate cannot be an axial CT volume, or None."""
    if len(candidate.instances) < _FEWEST_SLICES:
        return f"fewer than {_FEWEST_SLICES} slices"
    for dataset in candidate.instances:
        reason = _unusable_image(dataset)
        if reason is not None:
            return reason
    return _unusable_plane(candidate)


def _unusable_image(dataset: Dataset) -> str | None:
    image_type = {part.strip().upper() for part in text(dataset, "ImageType").split("\\")}
    reasons = {
        "not single-frame CT images": text(dataset, "SOPClassUID") != CT_IMAGE_STORAGE,
        f"image type {min(image_type & _REFUSED_TYPES, default='')}": image_type & _REFUSED_TYPES,
        "derived secondary images": {"DERIVED", "SECONDARY"} <= image_type,
        "burned-in annotation": text(dataset, "BurnedInAnnotation").upper() == "YES",
        "not MONOCHROME2": text(dataset, "PhotometricInterpretation") not in ("MONOCHROME2", ""),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _unusable_plane(candidate: Candidate) -> str | None:
    orientation = numbers(candidate.instances[0], "ImageOrientationPatient", 6)
    if orientation is None or any(
        numbers(d, "ImagePositionPatient", 3) is None for d in candidate.instances
    ):
        return "no image plane"
    normal = np.cross(orientation[:3], orientation[3:])
    length = float(np.linalg.norm(normal))
    if length == 0 or abs(float(normal[2])) / length < np.cos(np.radians(_MOST_TILT_DEGREES)):
        return f"more than {_MOST_TILT_DEGREES:.0f} degrees from axial"
    return None


def _phase(candidate: Candidate, *, marks_contrast: bool) -> PhaseChoice | None:
    """The phase of a candidate, its confidence, method and reasons; None when unknown."""
    first = candidate.instances[0]
    described = _described(first)
    timed = _timed(candidate)
    reasons: list[str] = []
    if timed is not None:
        phase, confidence, after = timed
        reasons.append(f"acquired {after:.0f} s after contrast start")
        method = "contrast-time"
        if described is not None and described[0] != phase:
            reasons.append(f"description says {described[0]}")
            confidence -= _CONTRADICTED
        elif described is not None:
            confidence = min(confidence + 0.04, 0.99)
            reasons.append("description agrees")
    elif described is not None:
        phase, word = described
        confidence, method = _BY_DESCRIPTION, "description"
        reasons.append(f"description contains {word!r}")
        if phase != "NC" and marks_contrast and not text(first, "ContrastBolusAgent"):
            confidence -= _CONTRADICTED
            reasons.append("but names no contrast agent")
    elif marks_contrast and not text(first, "ContrastBolusAgent"):
        phase, confidence, method = "NC", _BY_ABSENCE, "contrast-time"
        reasons.append("no contrast agent, while other series of the study name one")
    else:
        return None
    return PhaseChoice(
        phase=phase,
        series_instance_uid=candidate.series_instance_uid,
        confidence=round(confidence, 2),
        method=method,
        reasons=(*reasons, *_quality(candidate)),
    )


def _timed(candidate: Candidate) -> tuple[CtPhase, float, float] | None:
    """Phase, confidence and seconds from contrast start to the first slice, or None."""
    first = candidate.instances[0]
    if not text(first, "ContrastBolusAgent"):
        return None
    started = seconds(text(first, "ContrastBolusStartTime"))
    times = [
        t
        for d in candidate.instances
        if (t := seconds(text(d, "AcquisitionTime") or text(d, "ContentTime"))) is not None
    ]
    if started is None or not times:
        return None
    after = min(times) - started
    if after < -43_200:  # noqa: PLR2004  past midnight
        after += 86_400
    for beginning, end, phase, confidence in _TIMES:
        if beginning <= after < end:
            return phase, confidence, after
    return None


@cache
def _words() -> tuple[tuple[re.Pattern[str], str, CtPhase], ...]:
    made = []
    for row in sorted(rows("ct_phases"), key=lambda r: -len(r["word"])):
        word = re.escape(row["word"])
        pattern = word if not row["word"].isascii() else rf"(?<![A-Z]){word}(?![A-Z])"
        phase: CtPhase = next(p for p in CT_PHASES if p == row["phase"])
        made.append((re.compile(pattern), row["word"], phase))
    return tuple(made)


def _described(dataset: Dataset) -> tuple[CtPhase, str] | None:
    """Phase and word of the first description that names one: series, then protocol."""
    for keyword in ("SeriesDescription", "ProtocolName"):
        said = text(dataset, keyword).upper().replace("_", " ")
        for pattern, word, phase in _words():
            if pattern.search(said):
                return phase, word
    return None


def _quality(candidate: Candidate) -> tuple[str, ...]:
    first = candidate.instances[0]
    thickness = number(first, "SliceThickness")
    kernel = text(first, "ConvolutionKernel")
    return tuple(
        part
        for part in (
            f"{len(candidate.instances)} slices",
            f"{thickness:g} mm" if thickness else "",
            f"kernel {kernel}" if kernel else "",
        )
        if part
    )


def _rank(chosen: Chosen) -> tuple[float, bool, float, bool, float, str, str]:
    """Best first: confidence, useful thickness, thinner, softer, longer, then by UID."""
    candidate = chosen.candidate
    first = candidate.instances[0]
    thickness = number(first, "SliceThickness") or 99.0
    sharp = _SHARP_KERNEL.search(text(first, "ConvolutionKernel")) is not None
    heights = [
        float(p[2])
        for d in candidate.instances
        if (p := numbers(d, "ImagePositionPatient", 3)) is not None
    ]
    return (
        -round(chosen.choice.confidence, 1),
        not _USEFUL_MM[0] <= thickness <= _USEFUL_MM[1],
        thickness,
        sharp,
        -(max(heights) - min(heights)),
        candidate.series_instance_uid,
        candidate.acquisition,
    )
