"""Assess: cases in, locked predictions out, by one pack and one batch.

Whether a case may be assessed was decided in `eligibility`; what it rests on is returned with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference import chain, embeddings, features, heads, roi, slides, sources, tensors, tokens
from inference.chain import Given
from inference.errors import UnusableSlide, UnusableVolume
from inference.features import Features, Missing
from inference.heads import Told
from inference.manifest import CT, CtInput, Precision
from inference.packs import Pack
from inference.prediction import Prediction, UsedInstance
from inference.session import Provider, Session
from inference.slides import Bag
from inference.tensors import CtTensor
from inference.tokens import Tokens
from mappings.images import CtStudy, InstanceRef, Segment, Slide
from mappings.record import PatientRecord

Float = NDArray[np.float64]
LEFT_OUT = "left out, and the graphs are told so"
_SPREAD = "evenly spread ones were read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One patient at one moment.

    Attributes:
        record: Folded as of `as_of`.
        ct: The index study, or None: its score is then left out.
        t0: Index time.
        slides: Of any stain.
    """

    record: PatientRecord
    ct: CtStudy | None
    t0: datetime
    as_of: datetime
    slides: tuple[Slide, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    case: Case
    features: Features
    tokens: Tokens | None
    ct: CtTensor | None
    bags: Mapping[str, Bag]
    images: Mapping[str, str]
    missing: tuple[Missing, ...]

    @property
    def given(self) -> Given:
        """As the graphs read it."""
        read = self.features
        return Given(
            numbers=read.numbers,
            findings=read.findings,
            tokens=self.tokens,
            ct=self.ct,
            bags=self.bags,
            images=self.images,
        )


def assess(
    pack: Pack,
    cases: Sequence[Case],
    provider: Provider = "cpu",
    precision: Precision | None = None,
) -> list[Prediction]:
    """Predict a batch of cases, in their order.

    Raises:
        SessionRefused: a graph does not load, not where it was asked to run, or gives no figures.
        UnusableImage: images cannot be read, without which the pack gives no result.
    """
    if not cases:
        return []
    graphs = chain.sessions(pack, provider, precision)
    # Bags of tiles make memory, and a graph that ignores their mask would read how long the other
    # patients' are.
    at_once = 1 if pack.manifest.slides else len(cases)
    return [
        made
        for first in range(0, len(cases), at_once)
        for made in _batch(pack, cases[first : first + at_once], graphs)
    ]


def _batch(pack: Pack, cases: Sequence[Case], graphs: Mapping[str, Session]) -> list[Prediction]:
    prepared = [_prepare(pack, c, graphs) for c in cases]
    made = chain.run(pack, graphs, [p.given for p in prepared])
    told = heads.tell(pack.manifest, made)
    ran_on = graphs[pack.manifest.head.graph].providers[0]
    return [
        _prediction(pack, p, told[i], _strange(pack, p, made, i), ran_on)
        for i, p in enumerate(prepared)
    ]


def outputs(pack: Pack, case: Case, precision: Precision | None = None) -> dict[str, Float]:
    """What each graph gives for one case, by `ROLE.OUTPUT`, without the batch: for parity.

    Raises:
        SessionRefused: as `assess`.
    """
    graphs = chain.sessions(pack, "cpu", precision)
    made = chain.run(pack, graphs, [_prepare(pack, case, graphs).given])
    found = {name: figures[0] for name, figures in made.items()}
    declared = pack.manifest.ct
    if declared is not None and declared.segmenter is not None and case.ct is not None:
        role = declared.segmenter.role
        graph = next(g for g in pack.manifest.graphs if g.role == role)
        figures = roi.figures(declared, declared.segmenter, case.ct, graph, graphs[role])
        found[f"{role}.{declared.segmenter.output}"] = figures
    return found


def fed(
    pack: Pack, case: Case, words: Iterable[str], precision: Precision | None = None
) -> dict[str, NDArray[Any]]:
    """What sources of images give the graphs of one case, without the batch: for parity.

    Words that are no such source are not in it.

    Raises:
        SessionRefused, UnusableImage: as `assess`.
    """
    wanted = {word: sources.parse(word, pack.manifest, ()) for word in words}
    if not any(wanted.values()):
        return {}
    given = _prepare(pack, case, chain.sessions(pack, "cpu", precision)).given
    found = {
        word: chain.image(pack, source, given)
        for word, source in wanted.items()
        if source is not None and source.of in pack.manifest.images
    }
    declared = pack.manifest.ct
    if sources.OVERVIEW in found and declared and declared.segmenter and case.ct is not None:
        whole = tensors.overview(declared, declared.segmenter.grid, case.ct)
        found[sources.OVERVIEW] = whole.voxels
    return found


def _prepare(pack: Pack, case: Case, graphs: Mapping[str, Session]) -> _Prepared:
    read = features.read(pack.manifest, pack.lexicon, case.record, case.t0, case.as_of)
    tensor, seen, missing = _ct(pack, case, graphs)
    bags, unseen = _bags(pack, case)
    words, cut = _tokens(pack, read)
    digests = {name: _digest_of_slides(case, bag) for name, bag in bags.items()}
    return _Prepared(
        case=case,
        features=read,
        tokens=words,
        ct=tensor,
        bags=bags,
        images=digests | ({CT: seen} if tensor is not None else {}),
        missing=(*read.missing, *missing, *unseen, *cut),
    )


def _tokens(pack: Pack, read: Features) -> tuple[Tokens | None, list[Missing]]:
    """The report as tokens, and whether its end was cut off."""
    declared = pack.manifest.tokens
    if declared is None or read.report is None:
        return None, []
    made = tokens.encode(pack.contents[declared.file], read.report, declared.length, declared.pad)
    if not made.cut:
        return made, []
    (report,) = pack.manifest.of_kind("report")
    reason = f"the report has more than {declared.length} tokens"
    return made, [Missing(input=report.id, reason=reason, handling="what follows was not read")]


def _ct(
    pack: Pack, case: Case, graphs: Mapping[str, Session]
) -> tuple[CtTensor | None, str, list[Missing]]:
    """The study on the pack's grid, its digest (`embeddings`), and what of it is not there."""
    declared = pack.manifest.ct
    if declared is None:
        return None, "", []
    try:
        if case.ct is None:
            raise UnusableVolume(CT, "no study that can be read")
        seen = _digest_of_ct(declared, case.ct, graphs)
        around = roi.region(declared, case.ct, pack.manifest.graphs, graphs, seen)
        tensor = tensors.ct(declared, case.ct, around)
    except UnusableVolume as error:
        if declared.without == "no result":
            raise
        reason = error.reason if error.part == CT else str(error)
        return None, "", [Missing(input=CT, reason=reason, handling=LEFT_OUT)]
    masked = [
        Missing(input=f"ct/{phase}", reason=why, handling="channel masked")
        for phase, why in tensor.masked.items()
    ]
    return tensor, seen, masked


def _bags(pack: Pack, case: Case) -> tuple[dict[str, Bag], list[Missing]]:
    """The slides as tiles, and what of them is not there or not read."""
    bags, missing = {}, []
    for declared in pack.manifest.slides:
        try:
            bag = bags[declared.id] = slides.bag(declared, case.slides)
        except UnusableSlide as error:
            if declared.without == "no result":
                raise
            missing.append(Missing(input=declared.id, reason=error.reason, handling=LEFT_OUT))
            continue
        if bag.left_out:
            reason = f"{bag.left_out} tiles beyond {declared.most_tiles}"
            missing.append(Missing(input=declared.id, reason=reason, handling=_SPREAD))
    return bags, missing


def _digest_of_slides(case: Case, bag: Bag) -> str:
    return embeddings.digest(bag.declared, (i.sha256 for i in _of_stain(case, bag)))


def _digest_of_ct(declared: CtInput, study: CtStudy, graphs: Mapping[str, Session]) -> str:
    finder = graphs[declared.segmenter.role].digest if declared.segmenter else ""
    # How sure a phase is decides whether it is masked.
    series = (f"{c.phase} {c.series_instance_uid} {c.confidence}" for c in study.choices)
    outline = roi.digest(roi.outlined(declared, study))
    return embeddings.digest(
        declared, (*(i.sha256 for i in study.instances), *series, outline, finder)
    )


def _of_stain(case: Case, bag: Bag) -> Iterator[InstanceRef]:
    return (i for s in case.slides if s.stain == bag.declared.stain for i in s.instances)


def _strange(pack: Pack, p: _Prepared, made: Mapping[str, Float], row: int) -> tuple[str, ...]:
    """Why a case is unlike the training cohort."""
    reference = pack.manifest.reference
    if reference is None:
        return (_NO_REFERENCE,)
    of_graphs = _given_by_graphs(pack, p.given, made, row, reference.names)
    known = {**p.features.numbers, **of_graphs}
    reasons = [
        f"{name} is far outside what the model was trained on"
        for name, centre, spread in zip(
            reference.names, reference.centre, reference.spread, strict=True
        )
        if name in known and abs(known[name] - centre) > reference.limit * spread
    ]
    for phase, (low, high) in reference.phase_hu.items():
        if p.ct is not None and phase in p.ct.mean_hu and not low <= p.ct.mean_hu[phase] <= high:
            reasons.append(f"mean HU of phase {phase} is unlike liver")
    if p.features.findings is not None and _unread(p, reference.min_findings):
        reasons.append("the report names too few findings that the model knows")
    return tuple(reasons)


def _given_by_graphs(
    pack: Pack, given: Given, made: Mapping[str, Float], row: int, names: Sequence[str]
) -> dict[str, float]:
    """`ROLE.OUTPUT/N`, but for graphs that say nothing of a patient without some images."""
    absent = [images for images in pack.manifest.images if not given.has(images)]
    blank = {role for images in absent for role in sources.blank_without(pack.manifest, images)}
    known = {}
    for name in names:
        output, _, number = name.rpartition("/")
        if output in made and output.partition(".")[0] not in blank:
            found = made[output][row].ravel()
            if int(number) < len(found):
                known[name] = float(found[int(number)])
    return known


_NO_REFERENCE = (
    "the pack does not tell whom it was trained on, so an unlike patient cannot be recognised"
)


def _unread(p: _Prepared, least: int) -> bool:
    return sum(state != 0 for state in (p.features.findings or {}).values()) < least


def _prediction(
    pack: Pack, p: _Prepared, told: Told, strange: tuple[str, ...], ran_on: str
) -> Prediction:
    m = pack.manifest
    above = told.outcomes[0].probability >= m.tiers.threshold
    return Prediction(
        pack=m.id,
        pack_version=m.version,
        pack_digest=pack.digest,
        study=m.study,
        question=m.question,
        t0=p.case.t0,
        as_of=p.case.as_of,
        outcomes=told.outcomes,
        interval=m.calibration.interval,
        tier=m.tiers.above if above else m.tiers.below,
        threshold=m.tiers.threshold,
        threshold_locked=m.tiers.locked,
        logit=told.logit,
        baseline_logit=told.baseline_logit,
        contributions_logit=told.contributions_logit,
        used=p.features.used,
        instances=_instances(p, m.ct),
        missing=p.missing,
        at_range_end=p.features.comparators,
        ood_reasons=strange,
        synthetic=m.synthetic,
        words=m.training_data.words,
        provider=ran_on,
        recalibration=pack.recalibration,
    )


def _instances(p: _Prepared, declared: CtInput | None) -> tuple[UsedInstance, ...]:
    """Instances that were read; without a pixel digest the stored bytes' stands."""
    read: list[InstanceRef] = []
    if p.ct is not None and p.case.ct is not None and declared is not None:
        series = {c.series_instance_uid for c in p.case.ct.choices if c.phase not in p.ct.masked}
        read += [i for i in p.case.ct.instances if not series or i.series_instance_uid in series]
        read += _outlines(roi.outlined(declared, p.case.ct))
    read += [i for bag in p.bags.values() for i in _of_stain(p.case, bag)]
    return tuple(_used(read))


def _outlines(segments: Sequence[Segment]) -> Iterator[InstanceRef]:
    """The objects that outline, with the digest of what of them was read: code, place and mask."""
    for one in dict.fromkeys(s.instance for s in segments):
        read = roi.digest([s for s in segments if s.instance == one])
        yield replace(one, pixel_sha256=read)


def _used(read: Sequence[InstanceRef]) -> Iterator[UsedInstance]:
    return (
        UsedInstance(
            sop_instance_uid=i.sop_instance_uid,
            series_instance_uid=i.series_instance_uid,
            study_instance_uid=i.study_instance_uid,
            sop_class_uid=i.sop_class_uid,
            pixel_sha256=i.pixel_sha256 or i.sha256,
        )
        for i in read
    )
