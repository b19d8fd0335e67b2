"""PID: who the message is about, as one entry per demographic field, and their other identifiers.

An empty field says nothing; `""` deletes (v2.5.1 2.5.3). Merges (MRG) live in their structures.
Source: HL7 v2.5.1 chapter 3.4.2; HL7/v2-to-fhir segment map "PID[Patient]".
"""

from __future__ import annotations

from typing import Any

from mappings import identity
from mappings.errors import NoPatientIdentifier
from mappings.hl7v2.er7 import DELETE, Segment
from mappings.hl7v2.reading import Reading
from mappings.names import written
from mappings.record import Entry, Identifier, Text, Value, When
from mappings.tables import table

_MAPPED = frozenset({1, 2, 3, 4, 5, 7, 8, 11, 29, 30})
_NAME_FORMS = {"I": "ideographic", "P": "phonetic", "A": "alphabetic"}


def read(reading: Reading, pid: Segment, issued: When | None) -> list[Entry]:
    """Turn the reading to this patient and give the entries of PID.

    Args:
        reading: Its `patient` is set; its `identifiers` too, at the first PID of a message.
        pid: The segment.
        issued: When the sender knew this (EVN-2, MSH-7).

    Raises:
        NoPatientIdentifier: No repetition of PID-3 (or PID-2, PID-4) has a known authority.
    """
    found = identifiers(reading, pid)
    chosen = identity.choose(found)
    if chosen is None:
        raise NoPatientIdentifier(pid.path(3))
    reading.patient = chosen
    if not reading.identifiers:
        reading.identifiers = (chosen, *(i for i in found if i != chosen))
    source, number = reading.source, pid.number
    made = [
        Entry(
            "alias",
            f"alias/{other}",
            chosen,
            source,
            f"PID[{number}]-3",
            value=other,
            source_time=issued,
        )
        for other in found
        if other != chosen
    ]
    made += [
        Entry(
            "patient",
            f"patient/{name}",
            chosen,
            source,
            f"PID[{number}]-{at}",
            "deleted" if value is None else "final",
            value=value,
            source_time=issued,
            details=details,
        )
        for name, at, value, details in _demographics(reading, pid)
    ]
    reading.leftovers(pid, _MAPPED)
    return made


def identifiers(reading: Reading, pid: Segment) -> tuple[Identifier, ...]:
    """Identifiers of known authority in PID-3, then PID-2 and PID-4, each once."""
    message, site = reading.message, reading.site
    found: dict[Identifier, None] = {}
    for number in (3, 2, 4):
        for text in message.repetitions(pid.field(number)):
            identifier = cx(reading, text)
            if identifier is not None and identifier.type in identity.OF_A_VISIT:
                reading.note(pid.path(number), "names a visit or account, not a person")
            elif identifier is not None:
                found[identifier] = None
            elif text != DELETE:
                reading.note(pid.path(number), f"authority is not known to {site.name or 'site'}")
    return tuple(found)


def cx(reading: Reading, text: str) -> Identifier | None:
    """A CX, or None when it is blank or its authority is not known."""
    message = reading.message
    parts = text.split(message.delimiters.component) if message.delimiters.component else [text]
    value = message.unescape(parts[0]).strip()
    if not value or value == DELETE:
        return None
    hd = message.subcomponents(parts[3]) if len(parts) > 3 else []  # noqa: PLR2004  CX.4
    hd += [""] * (3 - len(hd))
    type_code = parts[4] if len(parts) > 4 else ""  # noqa: PLR2004  CX.5
    name = identity.authority(reading.site, _named(hd), type_code)
    return None if name is None else Identifier(value, name, type_code)


def _named(hd: list[str]) -> tuple[str, ...]:
    return tuple(n for n in identity.hd_names(hd[0], hd[1], hd[2]) if n and n != DELETE)


def _demographics(
    reading: Reading, pid: Segment
) -> list[tuple[str, int, Value | None, dict[str, Any]]]:
    """Name, field number, value (None deletes) and details of each field sent."""
    made: list[tuple[str, int, Value | None, dict[str, Any]]] = []
    if pid.field(5):
        made.append(("name", 5, *_name(reading, pid.field(5))))
    if pid.field(7) == DELETE:
        made.append(("birth_date", 7, None, {}))
    elif born := reading.when(pid, 7):
        made.append(("birth_date", 7, born, {}))
    if pid.field(8):
        made.append(("sex", 8, *_sex(reading, pid)))
    if pid.field(11):
        made.append(("address", 11, *_address(reading, pid.field(11))))
    deceased = _deceased(reading, pid)
    if deceased is not None:
        made.append(("deceased", *deceased, {}))
    return made


def _sex(reading: Reading, pid: Segment) -> tuple[Value | None, dict[str, Any]]:
    sent = pid.field(8)
    if sent == DELETE:
        return None, {}
    code = reading.part(pid, 8)
    found = table("hl70001").get(code) or table("hl70001").get(code.upper())
    if found is None:
        reading.note(pid.path(8), "sex is not in table 0001")
    return Text(found or "unknown"), {"sent": code}


def _deceased(reading: Reading, pid: Segment) -> tuple[int, Value | None] | None:
    """PID-29, a time, beats PID-30, a yes or no."""
    if DELETE in (pid.field(29), pid.field(30)):
        return (29 if pid.field(29) == DELETE else 30), None
    died = reading.when(pid, 29)
    if died is not None:
        return 29, died
    word = pid.field(30).upper()
    if word in ("Y", "N"):
        return 30, Text("true" if word == "Y" else "false")
    return None


def _name(reading: Reading, text: str) -> tuple[Value | None, dict[str, Any]]:
    """XPN repetitions: the first is the name; other forms and names stand in the details."""
    if text == DELETE:
        return None, {}
    names = [_xpn(reading, part) for part in reading.message.repetitions(text) if part != DELETE]
    legal = [n for n in names if n.get("use") in ("L", "", None)]
    first = (legal or names or [{}])[0]
    details: dict[str, Any] = {k: v for k, v in first.items() if v}
    for other in names:
        form = _NAME_FORMS.get(other.get("form", ""))
        if form and other is not first:
            details[form] = other["text"]
    if len(names) > 1:
        details["all"] = [n["text"] for n in names]
    return Text(str(first.get("text", ""))), details


def _xpn(reading: Reading, text: str) -> dict[str, str]:
    message = reading.message
    parts = text.split(message.delimiters.component) if message.delimiters.component else [text]
    parts = ["" if p == DELETE else p for p in parts] + [""] * (8 - len(parts))
    # FN.1 is the surname; FN.2 to FN.5 repeat its prefix and the partner's.
    family = message.subcomponents(parts[0])[0]
    given, middle, suffix, prefix = (message.unescape(p) for p in parts[1:5])
    return {
        "text": written((family, given, middle)),
        "family": family,
        "given": given,
        "middle": middle,
        "suffix": suffix,
        "prefix": prefix,
        "use": parts[6],
        "form": parts[7],
    }


def _address(reading: Reading, text: str) -> tuple[Value | None, dict[str, Any]]:
    if text == DELETE:
        return None, {}
    message = reading.message
    first = message.repetitions(text)[0]
    parts = first.split(message.delimiters.component) if message.delimiters.component else [first]
    parts = ["" if p == DELETE else p for p in parts] + [""] * (7 - len(parts))
    street = message.subcomponents(parts[0])[0]
    line, city, state, postal, country, use = (message.unescape(p) for p in parts[1:7])
    named = {
        "line": " ".join(p for p in (street, line) if p),
        "city": city,
        "state": state,
        "postal": postal,
        "country": country,
        "use": use,
    }
    whole = ", ".join(v for k, v in named.items() if v and k != "use")
    return Text(whole), {k: v for k, v in named.items() if v}
