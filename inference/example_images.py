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
    CT_PHASES,
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

# Voxels, or pixels of three colours: 1 GB as floats. Ratios of deflate reach a thousand.
_MOST_FIGURES = 1 << 28
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
        made["segments"] = [_segment_to_json(one) for one in study.segments]
    return made


def ct_of_json(body: Mapping[str, Any]) -> CtStudy:
    """Inverse of `ct_to_json`.

    Raises:
        KeyError: a part is missing.
        ValueError, TypeError, zlib.error: a part is of another kind, or larger than examples are.
    """
    voxels = _of_steps(body["row_steps_int16_zlib"], _shape(body["shape"], 4), "<i2")
    z, y, x = _lengths(body["spacing_mm"])
    if any(phase not in CT_PHASES for phase in body["phases"]):
        raise ValueError("an unknown phase")
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
        instances=tuple(_instance(_CT, str(i), v, affine) for i, v in enumerate(voxels, 1)),
        rejected={},
        segments=tuple(segments),
    )


def segment(
    code: str, mask: NDArray[np.bool_], affine: NDArray[np.float64], number: int = 1
) -> Segment:
    """What somebody outlined, an object of its own.

    Args:
        code: `SCHEME|CODE` of the property type.
        mask: (slices, rows, columns).
        affine: 4x4, voxel index (z, y, x, 1) to LPS millimetres; the study's if they share one.
        number: Of the object in the study.
    """
    scheme, _, value = code.partition("|")
    instance = _instance(_SEG, f"100.{number}", mask, affine)
    return Segment(scheme=scheme, code=value, mask=mask, affine=affine, instance=instance)


def slide(stain: str, levels: Sequence[ArrayLevel]) -> Slide:
    """A slide of given levels, finest first, one instance a level."""
    instances = tuple(
        _instance(_SLIDE, f"200.{n}", one.pixels, one.mpp) for n, one in enumerate(levels)
    )
    return Slide(stain=stain, levels=tuple(levels), instances=instances)


def _segment_to_json(one: Segment) -> dict[str, Any]:
    return {
        "scheme": one.scheme,
        "code": one.code,
        "shape": list(one.mask.shape),
        "affine": one.affine.ravel().tolist(),
        "bits_zlib": _packed(np.packbits(one.mask)),
    }


def _segment(body: Mapping[str, Any], number: int) -> Segment:
    shape = _shape(body["shape"], 3)
    bits = _unpacked(body["bits_zlib"], (math.prod(shape) + 7) // 8)
    mask = np.unpackbits(np.frombuffer(bits, np.uint8), count=math.prod(shape))
    affine = np.array(body["affine"], float).reshape(4, 4)
    if not mask.any() or not np.isfinite(affine).all() or not np.linalg.det(affine[:3, :3]):
        raise ValueError("a segment that outlines nothing, or nowhere")
    code = f"{body['scheme']}|{body['code']}"
    return segment(code, mask.view(bool).reshape(shape), affine, number)


def slide_to_json(one: Slide) -> dict[str, Any]:
    """A slide with every level whole: examples are small."""
    return {"stain": one.stain, "levels": [_level_to_json(level) for level in one.levels]}


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
        ValueError, TypeError, zlib.error: a part is of another kind, or larger than examples are.
    """
    return slide(str(body["stain"]), [_level(one) for one in body["levels"]])


def _level(body: Mapping[str, Any]) -> ArrayLevel:
    y, x = _lengths(body["mpp"])
    shape = [3, *_shape(body["shape"], 2)]
    pixels = _of_steps(body["row_steps_uint8_zlib"], shape, "u1")
    return ArrayLevel(pixels=pixels.transpose(1, 2, 0), mpp=(y, x))


def _lengths(given: Sequence[float]) -> list[float]:
    found = [float(one) for one in given if not isinstance(one, str)]
    if not all(0 < one < math.inf for one in found):
        raise ValueError("a length that is none")
    return found


def _shape(given: Sequence[int], axes: int) -> list[int]:
    """Whole numbers above 0, whose product is no more than an example may have."""
    if len(given) != axes or any(isinstance(n, bool) or not isinstance(n, int) for n in given):
        raise ValueError("a shape of other axes")
    if min(given) < 1 or math.prod(given) > _MOST_FIGURES:
        raise ValueError("a shape of nothing, or larger than examples are")
    return list(given)


def _instance(
    sop_class: str, number: str, pixels: NDArray[Any], place: NDArray[Any] | tuple[float, ...]
) -> InstanceRef:
    """An instance by its content: pixels, and where they lie or how large they are."""
    series = f"{_STUDY}.{number}"
    return InstanceRef(
        study_instance_uid=_STUDY,
        series_instance_uid=series,
        sop_instance_uid=f"{series}.1",
        sop_class_uid=sop_class,
        sha256=hashlib.sha256(
            repr((pixels.shape, np.ravel(place).tolist())).encode() + pixels.tobytes()
        ).hexdigest(),
    )


def _steps(stack: NDArray[Any]) -> str:
    """Differences along a row are small numbers, which deflate halves once more."""
    return _packed(np.diff(stack, axis=-1, prepend=np.zeros_like(stack[..., :1])))


def _of_steps(packed: str, shape: Sequence[int], dtype: str) -> NDArray[Any]:
    raw = _unpacked(packed, np.dtype(dtype).itemsize * math.prod(shape))
    made: NDArray[Any] = np.cumsum(np.frombuffer(raw, dtype).reshape(shape), axis=-1, dtype=dtype)
    return made


def _packed(figures: NDArray[Any]) -> str:
    return base64.b64encode(zlib.compress(figures.tobytes(), 9)).decode()


def _unpacked(packed: str, size: int) -> bytes:
    # No more than the shape says, and one byte that tells of it: a few bytes may unfold to many.
    found = zlib.decompressobj().decompress(base64.b64decode(packed, validate=True), size + 1)
    if len(found) != size:
        raise ValueError("not as many figures as the shape says")
    return found
