"""The contrast CT of a study as packs read it: phases, volumes, segments, instances named.

Source: models.md 6.1; PS3.3 A.3 (CT image).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from pydicom import Dataset

from mappings.dicom.attributes import text
from mappings.dicom.segmentation import is_segmentation, segments
from mappings.dicom.series_choice import Chosen, choose
from mappings.dicom.volume import volume
from mappings.errors import BadField, NotDicom, NoUsableSeries, UnevenSpacing
from mappings.images import CtPhase, CtStudy, InstanceRef, PhaseChoice, Volume


def ct_study(
    datasets: Iterable[Dataset],
    refs: Sequence[InstanceRef],
    codes: Collection[str] | None = None,
) -> CtStudy:
    """Choose the phases of one study and build their volumes.

    Args:
        datasets: All instances of the study with their pixels, any order.
        refs: How the store knows them; those without a dataset are ignored.
        codes: `SCHEME|CODE` of the segments to read; every one by default.

    Raises:
        NoUsableSeries: No series is a usable CT phase; its reasons name each.
        BadField: The instances belong to several studies.
    """
    found = list(datasets)
    studies = {text(d, "StudyInstanceUID") for d in found}
    if len(studies) > 1:
        raise BadField("(0020,000D)", "one Study Instance UID")
    chosen, rejected = choose(found)
    volumes: dict[CtPhase, Volume] = {}
    choices: list[PhaseChoice] = []
    kept: list[Chosen] = []
    for candidate in chosen:
        try:
            volumes[candidate.choice.phase] = volume(candidate.candidate.instances)
        except (UnevenSpacing, NotDicom) as error:
            rejected[candidate.choice.series_instance_uid] = error.reason
            continue
        choices.append(candidate.choice)
        kept.append(candidate)
    if not volumes:
        raise NoUsableSeries("contrast CT", rejected)
    used = {text(d, "SOPInstanceUID") for c in kept for d in c.candidate.instances}
    outlined, unused = segments(
        (d for d in found if is_segmentation(d)),
        {ref.sop_instance_uid: ref for ref in refs},
        _frame_of_reference(kept),
        codes,
    )
    return CtStudy(
        study_instance_uid=next(iter(studies)),
        phases=volumes,
        choices=tuple(choices),
        instances=tuple(
            sorted(
                (ref for ref in refs if ref.sop_instance_uid in used),
                key=lambda ref: ref.sop_instance_uid,
            )
        ),
        rejected=rejected | unused,
        segments=outlined,
    )


def _frame_of_reference(kept: Iterable[Chosen]) -> str:
    """The one patient space of all phases, or an empty string."""
    named = {text(d, "FrameOfReferenceUID") for c in kept for d in c.candidate.instances}
    return named.pop() if len(named) == 1 else ""
