"""A pack's own test: its examples, run as any case is, must give what the pack says they give.

An example is JSON: entries of a record, a CT on a grid, times, and the expected figures. It is
data of the pack and verified with it.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from inference import features
from inference.assess import Case, assess
from inference.errors import PackRefused
from inference.packs import Pack
from inference.prediction import Prediction
from inference.session import Provider
from mappings.images import CtPhase, CtStudy, InstanceRef, PhaseChoice, Volume
from mappings.record import Code, Entry, Identifier, PatientRecord, Source
from mappings.record_json import to_json, value_from_json, when_from_json

FOLDER = "examples/"
TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One example's answer.

    Attributes:
        off_by: The largest difference of all figures.
        off: The difference of each figure, from features to the calibrated probability.
    """

    example: str
    passed: bool
    off_by: float
    off: Mapping[str, float]


def check(pack: Pack, provider: Provider = "cpu") -> tuple[Check, ...]:
    """Run every example of a pack and compare each figure with its author's.

    Raises:
        PackRefused: an example that is not one, or expects a figure that nothing gives.
        SessionRefused: a graph that does not load.
    """
    made = []
    for name, (case, expected) in examples(pack).items():
        got = figures(assess(pack, [case], provider)[0])
        path = f"{FOLDER}{name}.json"
        for key in got:
            if key not in expected:
                raise PackRefused(f"{path}: expected.{key} is missing")
        numbers = features.read(pack.manifest, pack.lexicon, case.record, case.t0, case.as_of)
        got |= {f"feature/{k}": v for k, v in numbers.numbers.items()}
        for key in expected:
            if key not in got:
                raise PackRefused(f"{path}: expected.{key} is no figure of this case")
        off = {k: abs(got[k] - expected[k]) for k in expected}
        passed = all(v <= TOLERANCE for v in off.values())
        made.append(Check(example=name, passed=passed, off_by=max(off.values()), off=off))
    return tuple(made)


def figures(prediction: Prediction) -> dict[str, float]:
    """The figures an example pins down."""
    return {
        "probability": prediction.outcomes[0].probability,
        "low": prediction.outcomes[0].low,
        "high": prediction.outcomes[0].high,
        "logit": prediction.logit,
        **{f"logit/{k}": v for k, v in prediction.contributions_logit.items()},
    }


def examples(pack: Pack) -> dict[str, tuple[Case, Mapping[str, float]]]:
    """Cases and expected figures by name.

    Raises:
        PackRefused: an example that is not one.
    """
    found = {}
    for path in sorted(p for p in pack.contents if p.startswith(FOLDER) and p.endswith(".json")):
        try:
            body = json.loads(pack.contents[path])
            found[path.removeprefix(FOLDER).removesuffix(".json")] = _example(body)
        except (AttributeError, KeyError, TypeError, ValueError, zlib.error) as error:
            raise PackRefused(f"{path} is no example") from error
    return found


def case_to_json(case: Case) -> dict[str, Any]:
    """A case as an example holds it; instances carry no transport facts."""
    return {
        "as_of": case.as_of.isoformat(),
        "t0": case.t0.isoformat(),
        "entries": [_entry_to_json(e) for e in case.record.entries],
        "ct": None if case.ct is None else _ct_to_json(case.ct),
    }


def _example(body: Mapping[str, Any]) -> tuple[Case, Mapping[str, float]]:
    return case_from_json(body), {str(k): float(v) for k, v in body["expected"].items()}


def case_from_json(body: Mapping[str, Any]) -> Case:
    """Inverse of `case_to_json`.

    Raises:
        KeyError, TypeError, ValueError, zlib.error: a part is missing or of another kind.
    """
    as_of = _moment(body["as_of"])
    entries = [_entry(e, as_of, i) for i, e in enumerate(body["entries"], 1)]
    return Case(
        record=PatientRecord.of(entries, as_of=as_of),
        ct=None if body["ct"] is None else _ct(body["ct"]),
        t0=_moment(body["t0"]),
        as_of=as_of,
    )


def _moment(text: str) -> datetime:
    made = datetime.fromisoformat(text)
    if made.tzinfo is None:
        raise ValueError("a time without offset")
    return made


def _entry_to_json(entry: Entry) -> dict[str, Any]:
    code = [entry.code.system, entry.code.code] if entry.code else None
    return {
        "kind": entry.kind,
        "key": entry.key,
        "path": entry.path,
        "status": entry.status,
        "code": code,
        **to_json(entry),
    }


def _entry(body: Mapping[str, Any], as_of: datetime, seq: int) -> Entry:
    return Entry(
        kind=body["kind"],
        key=body["key"],
        patient=Identifier("SYN-EXAMPLE", "example"),
        source=Source("example", 0, as_of),
        path=body["path"],
        status=body["status"],
        code=Code(body["code"][0], body["code"][1], body.get("display", ""))
        if body["code"]
        else None,
        value=value_from_json(body["value"]) if "value" in body else None,
        effective=when_from_json(body["effective"]) if "effective" in body else None,
        details=body.get("details", {}),
        seq=seq,
    )


def _ct_to_json(study: CtStudy) -> dict[str, Any]:
    names = list(study.phases)
    first = study.phases[names[0]]
    stack = np.stack([np.rint(study.phases[n].voxels) for n in names]).astype("<i2")
    # Differences along a row are small numbers, which deflate halves once more.
    steps = np.diff(stack, axis=-1, prepend=np.zeros_like(stack[..., :1]))
    return {
        "phases": names,
        "shape": list(stack.shape),
        "spacing_mm": list(first.spacing_mm),
        "row_steps_int16_zlib": base64.b64encode(zlib.compress(steps.tobytes(), 9)).decode(),
    }


def _ct(body: Mapping[str, Any]) -> CtStudy:
    raw = zlib.decompress(base64.b64decode(body["row_steps_int16_zlib"]))
    steps = np.frombuffer(raw, "<i2").reshape(body["shape"])
    z, y, x = body["spacing_mm"]
    voxels = np.cumsum(steps, axis=-1, dtype=np.int16)
    return study(body["phases"], [v.astype(np.float32) for v in voxels], (z, y, x))


def study(
    phases: Sequence[CtPhase],
    voxels: Sequence[np.typing.NDArray[np.float32]],
    spacing_mm: tuple[float, float, float],
) -> CtStudy:
    """An axis-parallel study of given volumes, one series and one instance a phase."""
    z, y, x = spacing_mm
    affine = np.array([[0, 0, x, 0], [0, y, 0, 0], [z, 0, 0, 0], [0, 0, 0, 1]], float)
    return CtStudy(
        study_instance_uid="2.25.1",
        phases={
            p: Volume(voxels=v, spacing_mm=spacing_mm, affine=affine)
            for p, v in zip(phases, voxels, strict=True)
        },
        choices=tuple(
            PhaseChoice(
                phase=p, series_instance_uid=f"2.25.1.{i}", confidence=1.0, method="contrast-time"
            )
            for i, p in enumerate(phases, 1)
        ),
        instances=tuple(
            InstanceRef(
                study_instance_uid="2.25.1",
                series_instance_uid=f"2.25.1.{i}",
                sop_instance_uid=f"2.25.1.{i}.1",
                sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
                sha256=f"{i:064x}",
            )
            for i, _ in enumerate(phases, 1)
        ),
        rejected={},
    )
