"""Business keys: under which key the same fact is found again, whatever door it came by.

Two doors agree on a key where both carry the filler number; where one lacks it, the clinical time
stands in ("@") and the twin joins them (site rule 10, `record.PatientRecord`).
"""

from __future__ import annotations

from functools import lru_cache

from mappings.record import When


@lru_cache(maxsize=4096)
def stamp(when: When) -> str:
    """A clinical time for a key: its date, or its UTC minute."""
    if when.precision in ("year", "month", "day"):
        return when.isoformat()
    return when.earliest.strftime("%Y-%m-%dT%H:%MZ")


def observation(
    code: str, filler: str, sub_id: str, effective: When | None, issued: When | None
) -> str:
    """Key of an observation; without a filler number, the weak key by time."""
    if filler:
        return f"observation/{code}/{filler}/{sub_id}"
    if effective is not None:
        return f"observation/{code}/@{stamp(effective)}/{sub_id}"
    # No order, no clinical time: at least a later message must not overwrite this one.
    return f"observation/{code}/@issued {stamp(issued) if issued else ''}/{sub_id}"


def twin(code: str, sub_id: str, effective: When | None) -> str | None:
    """The key by code and clinical time, or None where no time is known."""
    return None if effective is None else f"{code}@{stamp(effective)}/{sub_id}"


def report(code: str, filler: str, effective: When | None, issued: When | None) -> str:
    """Key of a narrative report."""
    if filler:
        return f"report/{filler}"
    when = effective or issued
    return f"report/{code}/@{stamp(when) if when else ''}"


def report_twin(code: str, effective: When | None) -> str | None:
    """The key of a report by code and clinical time, or None where no time is known."""
    return None if effective is None else f"report {code}@{stamp(effective)}"


def sub_id(sent: str) -> str:
    """OBX-4 for a key: 0 and 1 mean the only one, and FHIR has no such number."""
    return "" if sent in ("0", "1") else sent


def imaging_study(study_instance_uid: str) -> str:
    """Key of a study, by whatever door."""
    return f"imaging_study/{study_instance_uid}"


def condition(code: str) -> str:
    """Key of a diagnosis: one per code and patient, whoever states it."""
    return f"condition/{code}"


def resource(kind: str, interface: str, reference: str) -> str:
    """Weak key of a resource without a business identifier: its id on the server it came from.

    Every version of the resource shares it, also when code or clinical time were corrected.
    """
    return f"{kind}/@{interface}/{reference}"
