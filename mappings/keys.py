"""Business keys: under which key the same fact is found again, whatever door it came by.

Two doors agree on a key where both carry the filler number; where one lacks it, the clinical time
stands in ("@") and the twin joins them (site rule 10, `record.PatientRecord`).
"""

from __future__ import annotations

import hashlib

from mappings.record import When

# An index of the ledger holds no longer text; a number or name beyond this is known by its digest.
_LONGEST = 240


def bounded(text: str) -> str:
    """A text that may stand in a key: itself, or its start and digest when it is very long."""
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST // 2]}#{hashlib.sha256(text.encode()).hexdigest()}"


def stamp(when: When) -> str:
    """A clinical time for a key: its date, or its UTC minute."""
    known = _stamps.get(id(when))
    if known is not None:
        return known[1]
    if when.precision in ("year", "month", "day"):
        text = when.isoformat()
    else:
        text = when.earliest.strftime("%Y-%m-%dT%H:%MZ")
    if len(_stamps) >= _MOST_STAMPS:
        _stamps.clear()
    _stamps[id(when)] = (when, text)
    return text


# By identity: the results of an order share one time, and to hash it costs more than to write it.
# What is held here cannot lend its id to another.
_stamps: dict[int, tuple[When, str]] = {}
_MOST_STAMPS = 4096


def observation(
    code: str, filler: str, sub_id: str, effective: When | None, issued: When | None
) -> str:
    """Key of an observation; without a filler number, the weak key by time.

    The order stands before the code: what is written together lies together in the index by key.
    """
    if filler:
        return f"observation/{filler}/{code}/{sub_id}"
    if effective is not None:
        return f"observation/@{stamp(effective)}/{code}/{sub_id}"
    # No order, no clinical time: at least a later message must not overwrite this one.
    return f"observation/@issued {stamp(issued) if issued else ''}/{code}/{sub_id}"


def twin(code: str, sub_id: str, effective: When | None) -> str | None:
    """The key by code and clinical time, or None where no time is known."""
    return None if effective is None else f"{code}@{stamp(effective)}/{sub_id}"


def report(code: str, filler: str, effective: When | None, issued: When | None) -> str:
    """Key of a narrative report."""
    if filler:
        return f"report/{filler}"
    when = effective or issued
    return f"report/{bounded(code)}/@{stamp(when) if when else ''}"


def report_twin(code: str, effective: When | None) -> str | None:
    """The key of a report by code and clinical time, or None where no time is known."""
    return None if effective is None else f"report {bounded(code)}@{stamp(effective)}"


def apart(key: str, mark: str) -> str:
    """A weak key for one of several facts that a message files under the same number.

    Its twin joins it with a later message that speaks of that one alone, under the plain key.
    """
    return f"{key}/@{bounded(mark)}"


def sub_id(sent: str) -> str:
    """OBX-4 for a key: 0 and 1 mean the only one, and FHIR has no such number."""
    if len(sent) == 1:
        return "" if sent in "01" else sent
    return sent if len(sent) <= _LONGEST else bounded(sent)


def imaging_study(study_instance_uid: str) -> str:
    """Key of a study, by whatever door."""
    return f"imaging_study/{study_instance_uid}"


def condition(code: str) -> str:
    """Key of a diagnosis: one per code and patient, whoever states it."""
    return f"condition/{bounded(code)}"


def procedure(code: str, number: str, done: When | None) -> str:
    """Key of a procedure: its own number, else, weakly, its code and time."""
    if number:
        return f"procedure/{number}"
    return f"procedure/{bounded(code)}/@{stamp(done) if done else ''}"


def immunization(code: str, filler: str, given: When | None) -> str:
    """Key of a vaccination: its filler number, else, weakly, its vaccine and time."""
    if filler:
        return f"immunization/{filler}"
    return f"immunization/{bounded(code)}/@{stamp(given) if given else ''}"


def dated(kind: str, code: str, moment: When) -> str:
    """Weak key of what has no number: what and when (a drug, a specimen, a consent)."""
    return f"{kind}/{bounded(code)}/@{stamp(moment)}"


def appointment(placer: str, filler: str, start: When | None) -> str:
    """Key of an appointment: its filler number, else, weakly, its placer number or its start."""
    if filler:
        return f"appointment/{filler}"
    return f"appointment/@{placer or (stamp(start) if start else '')}"


def order(placer: str, filler: str, code: str, moved: When | None) -> str:
    """Key of an order: its filler number, else, weakly, its placer number, else what and when."""
    if filler:
        return f"order/{filler}"
    if placer:
        return f"order/@{placer}"
    return f"order/{bounded(code)}/@{stamp(moved) if moved else ''}"


def order_twin(placer: str) -> str | None:
    """The key of an order by its placer number, under which it is known before it has a filler's.

    Not by what is ordered: placer and filler call it by codes of their own.
    """
    return f"order {placer}" if placer else None


def resource(kind: str, interface: str, reference: str) -> str:
    """Weak key of a resource without a business identifier: its id on the server it came from.

    Every version of the resource shares it, also when code or clinical time were corrected.
    """
    return f"{kind}/@{interface}/{reference}"
