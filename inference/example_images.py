"""Images of a pack's examples as JSON: a CT on a grid, its segments, and slides level by level.

They are small, and lossless: pixels stand as steps along a row, deflated, in base64.
"""

from __future__ import annotations

import base64
import hashlib
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mappings.images import (
    ArrayLevel,
    CtPhase,
    CtStudy,
    InstanceRef,
    PhaseChoice,
    Segment,
    Slide,
    SlideLevel,
    Volume,
)

_STUDY = "2.25.1"
_CT, _SEG, _SLIDE = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2", "66.4", "77.1.6"))


def ct_to_json(study: CtStudy) -> dict[str, Any]:
    """The phases of a study, whole HU on one grid, and what was outlined in it."""
    names = list(study.phases)
    first = study.phases[names[0]]
    stack = np.stack([np.rint(study.phases[n].voxels) for n in names]).astype("<i2")
    made: dict[str, Any] = {
        "phases": names,
        "shape": list(stack.shape),
        "spacing_mm": list(first.spacing_mm),
        "row_steps_int16_zlib": _steps(stack),
    }
    if study.segments:
        made["segments"] = [_segment_to_json(segment) for segment in study.segments]
    return made


def ct_of_json(body: Mapping[str, Any]) -> CtStudy:
    """Inverse of `ct_to_json`.

    Raises:
        KeyError: a part is missing.
        ValueError, TypeError, zlib.error: a part is of another kind.
    """
    voxels = _of_steps(body["row_steps_int16_zlib"], body["shape"], "<i2")
    z, y, x = body["spacing_mm"]
    segments = [_segment(one, n) for n, one in enumerate(body.get("segments", ()), 1)]
    return study(body["phases"], [v.astype(np.float32) for v in voxels], (z, y, x), segments)


def study(
    phases: Sequence[CtPhase],
    voxels: Sequence[NDArray[np.float32]],
    spacing_mm: tuple[float, float, float],
    segments: Sequence[Segment] = (),
) -> CtStudy:
    """An axis-parallel study of given volumes, one series and one instance a phase."""
    z, y, x = spacing_mm
    affine = np.array([[0, 0, x, 0], [0, y, 0, 0], [z, 0, 0, 0], [0, 0, 0, 1]], float)
    return CtStudy(
        study_instance_uid=_STUDY,
        phases={
            p: Volume(voxels=v, spacing_mm=spacing_mm, affine=affine)
            for p, v in zip(phases, voxels, strict=True)
        },
        choices=tuple(
            PhaseChoice(
                phase=p, series_instance_uid=f"{_STUDY}.{i}", confidence=1.0, method="contrast-time"
            )
            for i, p in enumerate(phases, 1)
        ),
        instances=tuple(_instance(_CT, str(i), v) for i, v in enumerate(voxels, 1)),
        rejected={},
        segments=tuple(segments),
    )


def _segment_to_json(segment: Segment) -> dict[str, Any]:
    return {
        "scheme": segment.scheme,
        "code": segment.code,
        "shape": list(segment.mask.shape),
        "affine": segment.affine.ravel().tolist(),
        "bits_zlib": _packed(np.packbits(segment.mask)),
    }


def _segment(body: Mapping[str, Any], number: int) -> Segment:
    shape = [int(n) for n in body["shape"]]
    bits = _unpacked(body["bits_zlib"], (math.prod(shape) + 7) // 8)
    mask = np.unpackbits(np.frombuffer(bits, np.uint8), count=math.prod(shape))
    return Segment(
        scheme=str(body["scheme"]),
        code=str(body["code"]),
        mask=mask.astype(bool).reshape(shape),
        affine=np.array(body["affine"], float).reshape(4, 4),
        instance=_instance(_SEG, f"100.{number}", mask),
    )


def slide_to_json(slide: Slide) -> dict[str, Any]:
    """A slide with every level whole: examples are small."""
    return {"stain": slide.stain, "levels": [_level_to_json(level) for level in slide.levels]}


def _level_to_json(level: SlideLevel) -> dict[str, Any]:
    pixels = level.read(0, 0, *level.shape)
    # Colours first, so that steps are of neighbours of one colour.
    return {
        "mpp": list(level.mpp),
        "shape": list(level.shape),
        "row_steps_uint8_zlib": _steps(np.ascontiguousarray(pixels.transpose(2, 0, 1))),
    }


def slide_of_json(body: Mapping[str, Any]) -> Slide:
    """Inverse of `slide_to_json`.

    Raises:
        KeyError: a part is missing.
        ValueError, TypeError, zlib.error: a part is of another kind.
    """
    levels = tuple(_level(one) for one in body["levels"])
    instances = tuple(_instance(_SLIDE, f"200.{n}", one.pixels) for n, one in enumerate(levels))
    return Slide(stain=str(body["stain"]), levels=levels, instances=instances)


def _level(body: Mapping[str, Any]) -> ArrayLevel:
    y, x = body["mpp"]
    pixels = _of_steps(body["row_steps_uint8_zlib"], (3, *body["shape"]), "u1")
    return ArrayLevel(pixels=pixels.transpose(1, 2, 0), mpp=(float(y), float(x)))


def _instance(sop_class: str, number: str, pixels: NDArray[Any]) -> InstanceRef:
    series = f"{_STUDY}.{number}"
    return InstanceRef(
        study_instance_uid=_STUDY,
        series_instance_uid=series,
        sop_instance_uid=f"{series}.1",
        sop_class_uid=sop_class,
        sha256=hashlib.sha256(pixels.tobytes()).hexdigest(),
    )


def _steps(stack: NDArray[Any]) -> str:
    """Differences along a row are small numbers, which deflate halves once more."""
    return _packed(np.diff(stack, axis=-1, prepend=np.zeros_like(stack[..., :1])))


def _of_steps(packed: str, shape: Sequence[int], dtype: str) -> NDArray[Any]:
    whole = [int(n) for n in shape]
    raw = _unpacked(packed, np.dtype(dtype).itemsize * math.prod(whole))
    made: NDArray[Any] = np.cumsum(np.frombuffer(raw, dtype).reshape(whole), axis=-1, dtype=dtype)
    return made


def _packed(figures: NDArray[Any]) -> str:
    return base64.b64encode(zlib.compress(figures.tobytes(), 9)).decode()


def _unpacked(packed: str, size: int) -> bytes:
    # No more than the shape says, and one byte that tells of it: a few bytes may unfold to many.
    return zlib.decompressobj().decompress(base64.b64decode(packed), size + 1)
