"""Observation: laboratory values, vital signs and scores, components as facts of their own.

Source: FHIR R4 Observation; site rules 9, 10 and 12.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from mappings import keys
from mappings.codes import LOCAL, mapped
from mappings.fhir.reading import Element, Reading
from mappings.fhir.values import decimal, value
from mappings.record import Code, Coded, Entry
from mappings.statuses import RETRACTED, Status
from mappings.tables import table

PATIENT = "subject"
_MAPPED = frozenset(
    {"identifier", "status", "category", "code", "subject", "issued", "interpretation", "note"}
    | {"effectiveDateTime", "effectiveInstant", "effectivePeriod", "referenceRange", "component"}
    | {"dataAbsentReason", "method", "specimen", "basedOn", "contained", "encounter"}
    | {"derivedFrom"}
)
# One resource for each variant: neither code and time nor what it is made of tell them apart.
_SEVERAL = frozenset({"69548-6", "53041-0", "53037-8"})
STATUSES: dict[str, Status] = table("fhir_statuses")  # type: ignore[assignment]  # checked by test


def entries(reading: Reading) -> list[Entry]:
    """The observation and one entry per component."""
    data = reading.data
    concept = reading.coded(reading.one("code"))
    code = concept.codes[0] if concept.codes else _uncoded(reading, concept)
    effective = reading.start("effective")
    sent = reading.text("status")
    status = STATUSES.get(sent, "unknown")
    if sent not in STATUSES:
        reading.note("status", "not a status of observations")
    reading.leftovers(_MAPPED | {name for name in data if name.startswith("value")})
    if code is None and status not in RETRACTED:
        return []
    filler = reading.filler()
    name = code.code if code else ""
    dated = effective is not None and not reading.text("id") and name not in _SEVERAL
    if filler or dated:
        key = keys.observation(name, filler, "", effective, None)
    else:
        key = reading.weak("observation")
    details = _details(reading, data)
    found = value(reading, data, "")
    if found is None and "component" not in data and status not in RETRACTED:
        details["absent"] = _absent(reading, data)
    named = Coded((code, *concept.codes[1:]), concept.text) if code else concept
    made = [
        reading.entry(
            "observation",
            key,
            "value[x]",
            status,
            found,
            concept=named,
            effective=effective,
            twin=keys.twin(name, "", effective) if name and name not in _SEVERAL else None,
            details=details | {"derived_from": reading.references("derivedFrom")},
        )
    ]
    told: Counter[str] = Counter()
    for number, component in enumerate(reading.all("component")):
        made += _component(reading, component, number, made[0], told)
    return made


def _component(
    reading: Reading, component: Element, number: int, whole: Entry, told: Counter[str]
) -> list[Entry]:
    """One component under its own code; its key hangs on the key of the whole.

    A list of genes is one code told several times (`told` counts them): each is a fact.
    """
    concept = reading.coded(reading.one("code", component))
    path = f"component[{number}]."
    if not concept.codes:
        reading.note(f"{path}code", "component without a code", "error")
        return []
    name = concept.codes[0].code
    parent = whole.code.code if whole.code else ""
    told[name] += 1
    again = f"/{told[name]}" if told[name] > 1 else ""
    twin = keys.twin(name, f"{parent}{again}", whole.effective)
    return [
        reading.entry(
            "observation",
            f"{whole.key}/{name}{again}",
            f"{path}value[x]",
            whole.status,
            value(reading, component, path),
            concept=concept,
            effective=whole.effective,
            twin=None if parent in _SEVERAL else twin,
            details={
                **_details(reading, component),
                "component_of": parent,
                "derived_from": whole.details.get("derived_from", []),
            },
        )
    ]


def _uncoded(reading: Reading, concept: Coded) -> Code | None:
    if not concept.text:
        reading.note("code", "nothing says what was observed", "error")
        return None
    reading.note("code", "no code, only text")
    local = Code(f"{LOCAL}text", keys.bounded(concept.text), concept.text)
    return mapped(local, reading.site) or local


def _details(reading: Reading, of: Element) -> dict[str, Any]:
    flags = [c.code for i in reading.all("interpretation", of) for c in reading.coded(i).codes]
    details: dict[str, Any] = {"flags": flags}
    for limits in reading.all("referenceRange", of):
        details["range"] = _limits(reading, limits)
        break
    notes = [reading.text("text", n) for n in reading.all("note", of)]
    details["notes"] = [n for n in notes if n]
    category = [c.code for i in reading.all("category", of) for c in reading.coded(i).codes]
    details["category"] = category
    method = reading.coded(reading.one("method", of))
    details["method"] = method.text or (method.codes[0].code if method.codes else "")
    return {name: found for name, found in details.items() if found}


def _limits(reading: Reading, limits: Element) -> dict[str, str]:
    found = {"text": reading.text("text", limits)}
    for end in ("low", "high"):
        number = decimal(reading.one(end, limits).get("value"))
        if number is not None:
            found[end] = str(number)
    return {name: text for name, text in found.items() if text}


def _absent(reading: Reading, data: Element) -> str:
    reason = reading.coded(reading.one("dataAbsentReason", data))
    return reason.codes[0].code if reason.codes else "unknown"
