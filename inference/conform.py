"""A pack's own test: its examples, run as any case is, must give what the pack says they give.

An example is JSON: entries of a record, images (`example_images`), times, and the expected figures.
It is data of the pack and verified with it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference import example_images, features
from inference.assess import LEFT_OUT, Case, assess, fed, outputs
from inference.errors import PackRefused, UnusableImage
from inference.manifest import CT, Precision
from inference.packs import Pack
from inference.prediction import Outcome, Prediction
from inference.session import Provider
from mappings.record import Code, Entry, Identifier, PatientRecord, Source
from mappings.record_json import to_json, value_from_json, when_from_json

FOLDER = "examples/"
# What a body that is no case makes `case_from_json` raise, but for a key that is missing.
NO_CASE = (ArithmeticError, AttributeError, IndexError, TypeError, ValueError, zlib.error)
HEADLINE = "probability"
FED = "fed/"
TOLERANCE = 1e-4
Figure = float | NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One example's answer.

    Attributes:
        off_by: The largest difference of all figures.
        off: The difference of each figure, from features by graphs to the calibrated probability.
        left_out: Images of the example that were not read, and why.
    """

    example: str
    passed: bool
    off_by: float
    off: Mapping[str, float]
    left_out: tuple[str, ...] = ()


def check(
    pack: Pack, provider: Provider = "cpu", precision: Precision | None = None
) -> tuple[Check, ...]:
    """Run every example of a pack and compare each figure with its author's.

    In a precision of its own only the probability is compared, by the variants' tolerance.

    Raises:
        PackRefused: an example that is not one, whose images the pack cannot read, or that expects
            a figure that nothing gives.
        SessionRefused: a graph that does not load.
    """
    return tuple(
        _checked(pack, name, case, expected, provider, precision)
        for name, (case, expected) in examples(pack).items()
    )


def _checked(
    pack: Pack,
    name: str,
    case: Case,
    expected: Mapping[str, Figure],
    provider: Provider,
    precision: Precision | None,
) -> Check:
    path = f"{FOLDER}{name}.json"
    if HEADLINE not in expected:
        raise PackRefused(f"{path}: expected.{HEADLINE} is missing")
    asked = expected if precision is None else {HEADLINE: expected[HEADLINE]}
    try:
        (made,) = assess(pack, [case], provider, precision)
        got = _got(pack, case, made, asked, precision)
    except UnusableImage as error:
        raise PackRefused(f"{path}: {error}") from error
    off = {}
    for key, wanted in asked.items():
        if key not in got or np.shape(got[key]) != np.shape(wanted):
            raise PackRefused(f"{path}: expected.{key} is no figure of this case")
        off[key] = float(np.abs(np.asarray(got[key]) - np.asarray(wanted)).max(initial=0))
    # numpy's maximum, unlike Python's, is NaN wherever one of them is.
    off_by = float(np.max(list(off.values())))
    return Check(
        example=name,
        passed=off_by <= tolerance(pack, precision),
        off_by=off_by,
        off=off,
        left_out=_left_out(pack, case, made),
    )


def _left_out(pack: Pack, case: Case, made: Prediction) -> tuple[str, ...]:
    """Images that an example holds and that were not read: a figure without them proves little."""
    stains = {slide.stain for slide in case.slides}
    held = {one.id for one in pack.manifest.slides if one.stain in stains}
    held |= {CT} if case.ct is not None else set()
    unread = [m for m in made.missing if m.handling == LEFT_OUT and m.input in held]
    return tuple(f"{m.input}: {m.reason}" for m in unread)


def tolerance(pack: Pack, precision: Precision | None) -> float:
    """How far a figure may lie from its author's."""
    if precision is None:
        return TOLERANCE
    return max(v.tolerance for v in pack.manifest.variants if v.precision == precision)


def _got(
    pack: Pack,
    case: Case,
    made: Prediction,
    asked: Iterable[str],
    precision: Precision | None,
) -> dict[str, Figure]:
    """Every stage of a case: features, images as graphs read them, what each gives, the result."""
    got: dict[str, Figure] = dict(figures(made))
    numbers = features.read(pack.manifest, pack.lexicon, case.record, case.t0, case.as_of)
    got |= {f"feature/{k}": v for k, v in numbers.numbers.items()}
    got |= {f"graph/{k}": v for k, v in outputs(pack, case, precision).items()}
    words = [key.removeprefix(FED) for key in asked if key.startswith(FED)]
    return got | {f"{FED}{k}": v for k, v in fed(pack, case, words, precision).items()}


def figures(prediction: Prediction) -> dict[str, float]:
    """The figures an example pins down."""
    first = prediction.outcomes[0]
    told = {
        HEADLINE: first.probability,
        "low": first.low,
        "high": first.high,
        "logit": prediction.logit,
        **{f"logit/{k}": v for k, v in prediction.contributions_logit.items()},
        **{f"{HEADLINE}/{outcome_name(o)}": o.probability for o in prediction.outcomes},
    }
    return {k: v for k, v in told.items() if v is not None}


def outcome_name(outcome: Outcome) -> str:
    """`CODE`, or `CODE/DAYS` of a risk by a horizon."""
    return outcome.code + (f"/{outcome.horizon_days}" if outcome.horizon_days else "")


def examples(pack: Pack) -> dict[str, tuple[Case, Mapping[str, Figure]]]:
    """Cases and expected figures by name.

    Raises:
        PackRefused: an example that is not one.
    """
    found = {}
    for path in sorted(p for p in pack.contents if p.startswith(FOLDER) and p.endswith(".json")):
        try:
            body = json.loads(pack.contents[path])
            found[path.removeprefix(FOLDER).removesuffix(".json")] = _example(body)
        except KeyError as error:
            raise PackRefused(f"{path} is no example: {error.args[0]} is missing") from error
        except (*NO_CASE, RecursionError) as error:
            raise PackRefused(f"{path} is no example") from error
    return found


def example(pack: Pack, case: Case, expected: Mapping[str, float]) -> dict[str, Any]:
    """What a pack reads of a case, and its author's figures, as an example.

    Of the record only what served an input is kept, without its keys and sources, and of a report
    the one section that is read: a pack travels.

    Raises:
        PackRefused: a figure that nothing gives, or no probability.
    """
    read = features.read(pack.manifest, pack.lexicon, case.record, case.t0, case.as_of)
    served = {used.key for used in read.used}
    entries = [
        replace(entry, key=_key(entry, n), path="", details=_told(pack, entry))
        for n, entry in enumerate((e for e in case.record.entries if e.key in served), 1)
    ]
    kept = replace(case, record=PatientRecord(entries=tuple(entries), as_of=case.as_of))
    known = _got(pack, kept, assess(pack, [kept])[0], expected, None)
    for name in {HEADLINE} - set(expected) or set(expected) - set(known):
        raise PackRefused(
            f"{name} is {'missing' if name == HEADLINE else 'no figure of this case'}"
        )
    return {**case_to_json(kept), "expected": dict(expected)}


def _key(entry: Entry, number: int) -> str:
    """A key without a sender's numbers; who the patient is stays what it is."""
    return entry.key if entry.kind == "patient" else f"{entry.kind}/{number}"


def _told(pack: Pack, entry: Entry) -> dict[str, Any]:
    """Of a report the section that is read: an impression has no business in a pack."""
    told = {k: v for k, v in entry.details.items() if k == "modality"}
    read = {wanted.section for wanted in pack.manifest.of_kind("report")}
    sections = entry.details.get("sections")
    if isinstance(sections, Mapping):
        told["sections"] = {k: v for k, v in sections.items() if k in read}
    return told


def case_to_json(case: Case) -> dict[str, Any]:
    """A case as an example holds it; instances carry no transport facts."""
    return {
        "as_of": case.as_of.isoformat(),
        "t0": case.t0.isoformat(),
        "entries": [_entry_to_json(e) for e in case.record.entries],
        "ct": None if case.ct is None else example_images.ct_to_json(case.ct),
        "slides": [example_images.slide_to_json(slide) for slide in case.slides],
    }


def _example(body: Mapping[str, Any]) -> tuple[Case, Mapping[str, Figure]]:
    return case_from_json(body), {str(k): np.array(v, float) for k, v in body["expected"].items()}


def case_from_json(body: Mapping[str, Any]) -> Case:
    """Inverse of `case_to_json`.

    Raises:
        KeyError: a part is missing.
        NO_CASE: a part is of another kind.
    """
    as_of = _moment(body["as_of"])
    entries = [_entry(e, as_of, i) for i, e in enumerate(body["entries"], 1)]
    return Case(
        record=PatientRecord.of(entries, as_of=as_of),
        ct=example_images.ct_of_json(body["ct"]) if body.get("ct") else None,
        t0=_moment(body["t0"]),
        as_of=as_of,
        slides=tuple(example_images.slide_of_json(one) for one in body.get("slides", ())),
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
