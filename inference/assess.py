"""Assess: cases in, locked predictions out, by one pack and one batch.

Whether a case may be assessed was decided in `eligibility`; what it rests on is returned with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from inference import calibrate, explain, features, session, tensors
from inference.errors import UnusableVolume
from inference.features import Features, Missing
from inference.packs import Pack
from inference.prediction import Outcome, Prediction, UsedInstance
from inference.session import Provider, Session
from inference.tensors import CtTensor
from mappings.images import CtStudy
from mappings.record import PatientRecord

Float = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One patient at one moment.

    Attributes:
        record: Folded as of `as_of`.
        ct: The index study, or None: its score is then left out.
        t0: Index time.
    """

    record: PatientRecord
    ct: CtStudy | None
    t0: datetime
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    case: Case
    features: Features
    ct: CtTensor | None
    missing: tuple[Missing, ...]


def sessions(pack: Pack, provider: Provider = "cpu") -> dict[str, Session]:
    """The pack's graphs, warm, by role."""
    return {
        g.role: session.warm(f"{pack.manifest.id}/{g.role}", pack.graph(g.role), provider)
        for g in pack.manifest.graphs
    }


def assess(pack: Pack, cases: Sequence[Case], provider: Provider = "cpu") -> list[Prediction]:
    """Predict a batch of cases, in their order.

    Raises:
        SessionRefused: a graph does not load, or not where it was asked to run.
    """
    if not cases:
        return []
    prepared = [_prepare(pack, c) for c in cases]
    graphs = sessions(pack, provider)
    ct = _embed_ct(pack, graphs["volume_encoder"], prepared)
    text = _embed_text(pack, graphs["text_encoder"], prepared)
    feeds = {"ct": ct, "text": text, **_record_feeds(pack, prepared)}
    made = graphs["fusion"].run(**feeds)
    by_member = made["contributions"].astype(float)
    bias = made["bias"].astype(float)
    parts = explain.contributions(pack.manifest, by_member, bias)
    members = bias + by_member.sum(2)
    low, high = calibrate.interval(pack.manifest.calibration, members)
    logits = calibrate.logit(pack.manifest.calibration, members)
    return [
        _prediction(
            pack,
            p,
            float(logits[i]),
            (float(low[i]), float(high[i])),
            parts[i],
            _strange(pack, p, ct[i]),
            graphs["fusion"].providers[0],
        )
        for i, p in enumerate(prepared)
    ]


def _prepare(pack: Pack, case: Case) -> _Prepared:
    read = features.read(pack.manifest, pack.lexicon, case.record, case.t0, case.as_of)
    missing = list(read.missing)
    tensor = None
    if case.ct is not None:
        try:
            tensor = tensors.ct(pack.manifest.ct, case.ct)
            missing += [
                Missing(input=f"ct/{phase}", reason=why, handling="channel masked")
                for phase, why in tensor.masked.items()
            ]
        except UnusableVolume as error:
            missing.append(Missing(input="ct", reason=str(error), handling=_LEFT_OUT))
    else:
        missing.append(Missing(input="ct", reason="no study", handling=_LEFT_OUT))
    return _Prepared(case=case, features=read, ct=tensor, missing=tuple(missing))


_LEFT_OUT = "the image score is left out; the weights fitted without images are used"


def _embed_ct(pack: Pack, graph: Session, prepared: Sequence[_Prepared]) -> Float:
    """(B, E) embeddings; 0 where there is no study, which the fusion graph does not read."""
    rows = [i for i, p in enumerate(prepared) if p.ct is not None]
    tensors_ = [p.ct for p in prepared if p.ct is not None]
    if not tensors_:
        grid = pack.manifest.ct.grid
        blank = np.zeros((1, len(pack.manifest.ct.phases), *grid), np.float32)
        width = graph.run(volume=blank, phases=np.ones(blank.shape[:2], np.float32))[
            "embedding"
        ].shape[1]
        return np.zeros((len(prepared), width), np.float32)
    made = graph.run(
        volume=np.stack([t.voxels for t in tensors_]), phases=np.stack([t.phases for t in tensors_])
    )["embedding"]
    out = np.zeros((len(prepared), made.shape[1]), np.float32)
    out[rows] = made
    return out


def finding_vector(pack: Pack, said: Features) -> Float:
    """(F,) states in the lexicon's order; zeros without a report."""
    found = said.findings or {}
    return np.array([found.get(f.id, 0) for f in pack.lexicon.findings], np.float32)


def _embed_text(pack: Pack, graph: Session, prepared: Sequence[_Prepared]) -> Float:
    states = np.stack([finding_vector(pack, p.features) for p in prepared])
    return graph.run(states=states)["embedding"]


def _record_feeds(pack: Pack, prepared: Sequence[_Prepared]) -> dict[str, Float]:
    """Numbers with masks, and which modalities are there at all."""
    feeds: dict[str, Float] = {}
    for modality in ("labs", "demographics"):
        ids = [i.id for i in pack.manifest.inputs if i.modality == modality]
        rows = [[p.features.numbers.get(i, np.nan) for i in ids] for p in prepared]
        values = np.array(rows, np.float32)
        feeds[modality], feeds[f"{modality}_mask"] = values, (~np.isnan(values)).astype(np.float32)
    present = [
        [p.ct is not None, bool(feeds["labs_mask"][i].any()), p.features.findings is not None]
        for i, p in enumerate(prepared)
    ]
    return {**feeds, "presence": np.array(present, np.float32)}


def _strange(pack: Pack, p: _Prepared, embedding: Float) -> tuple[str, ...]:
    """Why a case is unlike the training cohort."""
    reference = pack.manifest.reference
    values = dict(p.features.numbers)
    if p.ct is not None:
        values |= {f"ct/{i}": float(v) for i, v in enumerate(embedding)}
    reasons = [
        f"{name} is far outside what the model was trained on"
        for name, centre, spread in zip(
            reference.names, reference.centre, reference.spread, strict=True
        )
        if name in values and abs(values[name] - centre) > reference.limit * spread
    ]
    for phase, (low, high) in reference.phase_hu.items():
        if p.ct is not None and phase in p.ct.mean_hu and not low <= p.ct.mean_hu[phase] <= high:
            reasons.append(f"mean HU of phase {phase} is unlike liver")
    if p.features.findings is not None and _unread(pack, p):
        reasons.append("the report names too few findings that the model knows")
    return tuple(reasons)


def _unread(pack: Pack, p: _Prepared) -> bool:
    told = sum(state != 0 for state in (p.features.findings or {}).values())
    return told < pack.manifest.reference.min_findings


def _prediction(
    pack: Pack,
    p: _Prepared,
    logit: float,
    interval: tuple[float, float],
    parts: tuple[float, object],
    strange: tuple[str, ...],
    provider: str,
) -> Prediction:
    m = pack.manifest
    probability = float(calibrate.probability(logit))
    first = Outcome(
        code=m.positive.code,
        system=m.positive.system,
        display=m.positive.display,
        probability=probability,
        low=interval[0],
        high=interval[1],
    )
    other = next(o for o in m.outputs if not o.positive)
    second = replace(
        first,
        code=other.code,
        system=other.system,
        display=other.display,
        probability=1 - probability,
        low=1 - interval[1],
        high=1 - interval[0],
    )
    base, contributions = parts
    assert isinstance(contributions, dict)
    return Prediction(
        pack=m.id,
        pack_version=m.version,
        pack_digest=pack.digest,
        study=m.study,
        question=m.question,
        t0=p.case.t0,
        as_of=p.case.as_of,
        outcomes=(first, second),
        interval=m.calibration.interval,
        tier=m.tiers.above if probability >= m.tiers.threshold else m.tiers.below,
        threshold=m.tiers.threshold,
        threshold_locked=m.tiers.locked,
        logit=logit,
        baseline_logit=base,
        contributions_logit=contributions,
        used=p.features.used,
        instances=_instances(p),
        missing=p.missing,
        at_range_end=p.features.comparators,
        ood_reasons=strange,
        synthetic=m.synthetic,
        words=m.training_data.words,
        provider=provider,
    )


def _instances(p: _Prepared) -> tuple[UsedInstance, ...]:
    """Instances of the phases that were read; without a pixel digest the stored bytes' stands."""
    if p.ct is None or p.case.ct is None:
        return ()
    read = {c.series_instance_uid for c in p.case.ct.choices if c.phase not in p.ct.masked}
    return tuple(
        UsedInstance(
            sop_instance_uid=i.sop_instance_uid,
            series_instance_uid=i.series_instance_uid,
            study_instance_uid=i.study_instance_uid,
            sop_class_uid=i.sop_class_uid,
            pixel_sha256=i.pixel_sha256 or i.sha256,
        )
        for i in p.case.ct.instances
        if not read or i.series_instance_uid in read
    )
