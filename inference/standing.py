"""Whether a standing answer holds although more was measured.

An input is served by the usable values of its window, the newest or all of them. So a further
measurement, a fact of its own, takes nothing from an input that something serves already, whatever
it says; of everything else the answer has to be worked out anew.

Source: site rule 22; docs/decisions/0012.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from inference.eligibility import asked, looked_for
from inference.matching import coded_as
from inference.protocol import NotPregnant, Protocol, ScoreIs
from mappings.record import Entry


def holds(protocol: Protocol, answer: Mapping[str, Any], fresh: Sequence[Entry]) -> bool:
    """Whether entries change neither state nor rules nor reasons of an answer.

    What it rests on (`as_of`, `evidence`) stays what it was: still true, and no longer the newest.

    Args:
        protocol: Whose answer it is.
        answer: As `Readiness.to_json` gave it.
        fresh: New entries; none is a version of a fact that was known before.
    """
    told = {state["input"]: state["present"] for state in answer["inputs"]}
    if answer["version"] != protocol.version or told.keys() != {i.id for i in protocol.inputs}:
        return False
    if protocol.index.on == "assessment":
        return False  # its windows end now
    told_at = datetime.fromisoformat(answer["as_of"])
    read = protocol.codes | asked(protocol, told_at, told_at).codes
    served = _served(protocol, told)
    facts = [s for s in looked_for(protocol) if s.kind == "observation"]
    for entry in fresh:
        codes = {c.code for c in ((entry.code, *entry.alternates) if entry.code else ())}
        if entry.kind != "observation" or entry.reading:
            return False
        if not served.issuperset(codes & read) or any(coded_as(entry, f.codes) for f in facts):
            return False
    return True


def _served(protocol: Protocol, told: Mapping[str, bool]) -> set[str]:
    """Codes that are asked for by inputs alone, each of which has its value."""
    # Whose value decides, not only that there is one.
    weighed = {name for i in protocol.inputs if i.kind == "score" for name in i.of}
    weighed |= {r.test.input for r in protocol.rules if isinstance(r.test, ScoreIs)}
    served: set[str] = set()
    open_: set[str] = set()
    for wanted in protocol.inputs:
        # Who has no reference interval at another age loses what a younger self had.
        steady = (
            wanted.kind in ("quantity", "answer")
            and wanted.transform != "zscore_by_age"
            and told[wanted.id]
            and wanted.id not in weighed
        )
        (served if steady else open_).update(wanted.codes)
    for rule in protocol.rules:
        if isinstance(rule.test, NotPregnant):
            open_.add(rule.test.status_code)
    return served - open_
