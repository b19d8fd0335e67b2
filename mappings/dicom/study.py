"""A DICOM study as an entry: that it exists, what series it holds, how many instances.

Pixels, phases and volumes are `ct`'s; storing is interop's.
Source: PS3.3 C.7.1.1 (patient), C.7.2.1 (study), C.7.3.1 (series).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydicom import Dataset

from mappings import identity, keys
from mappings.codes import system_uri
from mappings.conversion import Conversion, Finding
from mappings.dicom.attributes import items, moment, text
from mappings.errors import BadField, NoPatientIdentifier
from mappings.record import Code, Entry, Identifier, Source
from mappings.site import Site


def entries(datasets: Iterable[Dataset], *, site: Site, source: Source) -> Conversion:
    """Map the headers of one study.

    Args:
        datasets: Headers of its instances, any order; pixels are not looked at.
        site: The AE title or STOW path they came by; its `default_authority` names patients whose
            issuer was left out.
        source: Shared by all entries.

    Raises:
        NoPatientIdentifier: No (0010,0020), or nobody knows who issued it.
        BadField: Several studies, or several patients in one study.
    """
    found = list(datasets)
    if not found:
        raise BadField("(0020,000D)", "at least one instance")
    studies = {text(d, "StudyInstanceUID") for d in found}
    if len(studies) != 1 or "" in studies:
        raise BadField("(0020,000D)", "one Study Instance UID")
    patients = {patient(d, site) for d in found}
    if None in patients:
        raise NoPatientIdentifier("(0010,0020)")
    if len(patients) > 1:
        raise BadField("(0010,0020)", "one patient in a study")
    who = next(p for p in patients if p is not None)
    findings: list[Finding] = []
    effective = moment(found[0], "StudyDate", "StudyTime", site.timezone)
    if effective is None:
        findings.append(Finding("(0008,0020)", "no study date that can be read"))
    uid = next(iter(studies))
    entry = Entry(
        "imaging_study",
        keys.imaging_study(uid),
        who,
        source,
        "(0020,000D)",
        code=_procedure(found),
        effective=effective,
        details=_details(uid, found),
    )
    return Conversion((entry,), tuple(findings), who, (who,))


def patient(dataset: Dataset, site: Site) -> Identifier | None:
    """(0010,0020) with its issuer, or None."""
    universal = ""
    for item in items(dataset, "IssuerOfPatientIDQualifiersSequence"):
        names = identity.hd_names(
            "", text(item, "UniversalEntityID"), text(item, "UniversalEntityIDType")
        )
        universal = next((name for name in names if name), "")
    return identity.of_dicom(
        text(dataset, "PatientID"), text(dataset, "IssuerOfPatientID"), universal, site
    )


def _procedure(found: list[Dataset]) -> Code | None:
    for item in items(found[0], "ProcedureCodeSequence"):
        code, scheme = text(item, "CodeValue"), text(item, "CodingSchemeDesignator")
        if code:
            return Code(system_uri(scheme), code, text(item, "CodeMeaning"))
    return None


def _details(uid: str, found: list[Dataset]) -> dict[str, Any]:
    series: dict[str, dict[str, Any]] = {}
    instances: dict[str, set[str]] = {}
    for dataset in found:
        name = text(dataset, "SeriesInstanceUID")
        instances.setdefault(name, set()).add(text(dataset, "SOPInstanceUID"))
        series.setdefault(
            name,
            {
                "uid": name,
                "modality": text(dataset, "Modality"),
                "description": text(dataset, "SeriesDescription"),
                "body_part": text(dataset, "BodyPartExamined"),
            },
        )
    listed = [
        {
            key: value
            for key, value in {**facts, "numberOfInstances": len(instances[name])}.items()
            if value
        }
        for name, facts in sorted(series.items())
    ]
    details = {
        "study_instance_uid": uid,
        "accession": text(found[0], "AccessionNumber"),
        "modality": "\\".join(sorted({s["modality"] for s in listed if s.get("modality")})),
        "description": text(found[0], "StudyDescription"),
        "series": listed,
        "numberOfInstances": sum(len(uids) for uids in instances.values()),
    }
    return {key: value for key, value in details.items() if value}
