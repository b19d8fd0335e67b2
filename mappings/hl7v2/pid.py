"""PID: who the message is about, as one entry per demographic field, and their other identifiers.

An empty field says nothing; `""` deletes (v2.5.1 2.5.3). Merges (MRG) live in their structures.
Source: HL7 v2.5.1 chapter 3.4.2; HL7/v2-to-fhir segment map "PID[Patient]".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mappings import identity
from mappings.errors import NoPatientIdentifier
from mappings.hl7v2.er7 import DELETE, Segment
from mappings.hl7v2.reading import Reading
from mappings.keys import bounded
from mappings.names import written
from mappings.record import Entry, Identifier, Source, Text, Value, When
from mappings.tables import table

_MAPPED = frozenset({1, 2, 3, 4, 5, 7, 8, 11, 18, 19, 29, 30})
# The ledger's indexes take no longer values, and nobody numbers patients with more.
_LONGEST_VALUE = 200
_NOTHING = Text("")
_NAME_FORMS = {"I": "ideographic", "P": "phonetic", "A": "alphabetic"}


def read(
    reading: Reading,
    pid: Segment,
    issued: When | None,
    names: Sequence[Identifier] | None = None,
) -> list[Entry]:
    """Turn the reading to this patient and give the entries of PID.

    Args:
        reading: Its `patient` is set, and the visit of its `source`; its `identifiers` too, at the
            first PID of a message.
        pid: The segment.
        issued: When the sender knew this (EVN-2, MSH-7).
        names: The patient's identifiers where they are not simply those of PID.

    Raises:
        NoPatientIdentifier: No repetition of PID-3 (or PID-2, PID-4) has a known authority.
    """
    found = identifiers(reading, pid) if names is None else names
    chosen = identity.choose(found)
    if chosen is None:
        raise NoPatientIdentifier(pid.path(3))
    reading.patient = chosen
    if not reading.identifiers:
        reading.identifiers = (chosen, *(i for i in found if i != chosen))
    # Who a patient is does not go with their visit.
    source, number = _at_visit(reading, "", ""), pid.number
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
    reading.source = _at_visit(reading, *_visit(reading, pid))
    return made


def identifiers(
    reading: Reading, segment: Segment, fields: tuple[int, ...] = (3, 2, 4)
) -> tuple[Identifier, ...]:
    """Identifiers of known authority in PID-3, then PID-2 and PID-4, each once.

    The site's default authority is that of PID-3: what PID-2 and PID-4 hold belongs to others,
    and counts only with an authority beside it.
    """
    message, site = reading.message, reading.site
    found: dict[Identifier, None] = {}
    for number in fields:
        path = segment.path(number)
        for text in message.repetitions(segment.field(number)):
            identifier = cx(reading, text, default=number == fields[0])
            if identifier is not None and identifier.type in identity.OF_A_VISIT:
                reading.note(path, "names a visit or account, not a person")
            elif identifier is not None:
                found[identifier] = None
            elif text != DELETE:
                reading.note(path, f"authority is not known to {site.name or 'site'}")
    return tuple(found)


def _visit(reading: Reading, pid: Segment) -> tuple[str, str]:
    """Numbers of the visit and the account that what follows this PID belongs to."""
    account, here = visit_number(reading, pid.field(18)), False
    for segment in reading.message.segments:
        if segment.name == "PID":
            here = segment is pid
        elif here and segment.name == "PV1":
            return visit_number(reading, segment.field(19)), account
    return "", account


def _at_visit(reading: Reading, visit: str, account: str) -> Source:
    source = reading.source
    if (source.visit, source.account) == (visit, account):
        return source
    return replace(source, visit=visit, account=account)


def visit_number(reading: Reading, text: str) -> str:
    """Number of a visit or account (PV1-19, PID-18), with its authority where one was sent."""
    if not text:
        return ""
    value, names, _ = _cx(reading, reading.message.repetitions(text)[0])
    return bounded(identity.order_number(reading.site, value, names, filler=False))


def cx(reading: Reading, text: str, *, default: bool = True) -> Identifier | None:
    """A CX, or None when it is blank or its authority is not known.

    Args:
        reading: The message.
        text: One repetition, as sent.
        default: Whether the site's default authority serves where CX.4 is empty.
    """
    value, names, type_code = _cx(reading, text)
    if not value or len(value) > _LONGEST_VALUE or not (names or default):
        return None
    name = identity.authority(reading.site, names, type_code)
    return None if name is None else Identifier(value, name, type_code)


def _cx(reading: Reading, text: str) -> tuple[str, tuple[str, ...], str]:
    """CX.1, the names of CX.4 and CX.5."""
    message = reading.message
    parts = text.split(message.delimiters.component) if message.delimiters.component else [text]
    value = message.unescape(parts[0]).strip()
    hd = message.subcomponents(parts[3]) if len(parts) > 3 else []  # noqa: PLR2004  CX.4
    hd += [""] * (3 - len(hd))
    type_code = parts[4] if len(parts) > 4 else ""  # noqa: PLR2004  CX.5
    return "" if value == DELETE else value, _named(hd), type_code


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
    if pid.field(19):
        made.append(("ss", 19, *_ss(reading, pid)))
    deceased = _deceased(reading, pid)
    if deceased is not None:
        made.append(("deceased", *deceased, {}))
    # A field of nothing but delimiters says as little as an empty one.
    return [field for field in made if field[2] != _NOTHING]


def _sex(reading: Reading, pid: Segment) -> tuple[Value | None, dict[str, Any]]:
    sent = pid.field(8)
    if sent == DELETE:
        return None, {}
    code = reading.part(pid, 8)
    found = table("hl70001").get(code) or table("hl70001").get(code.upper())
    if found is None:
        reading.note(pid.path(8), "sex is not in table 0001")
    return Text(found or "unknown"), {"sent": code}


def _ss(reading: Reading, pid: Segment) -> tuple[Value | None, dict[str, Any]]:
    """PID-19, of type SS: kept, and never a name to file under or to match by."""
    if pid.field(19) == DELETE:
        return None, {}
    authority = identity.canonical(reading.site, "SS") or ""
    return Identifier(reading.part(pid, 19)[:_LONGEST_VALUE], authority, "SS"), {}


def _deceased(reading: Reading, pid: Segment) -> tuple[int, Value | None] | None:
    """PID-29, a time, beats PID-30, a yes or no."""
    if DELETE in (pid.field(29), pid.field(30)):
        return (29 if pid.field(29) == DELETE else 30), None
    died = reading.when(pid, 29)
    word = reading.part(pid, 30).strip().upper()
    if died is not None:
        if word not in ("", "Y", "YES"):
            reading.note(pid.path(30), "PID-29 says when the patient died, and counts")
        return 29, died
    if word in ("Y", "N", "YES", "NO"):
        return 30, Text("true" if word[0] == "Y" else "false")
    if word:
        reading.note(pid.path(30), "death indicator is not in table 0136")
    return None


def _name(reading: Reading, text: str) -> tuple[Value | None, dict[str, Any]]:
    """XPN repetitions: the first is the name; other forms and names stand in the details."""
    if text == DELETE:
        return None, {}
    parts = reading.message.repetitions(text)
    names = [_xpn(reading, part) for part in parts if part and part != DELETE]
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
    found = [_xad(reading, part) for part in reading.message.repetitions(text) if part != DELETE]
    whole, named = found[0] if found else ("", {})
    if len(found) > 1:
        named["all"] = [other for other, _ in found]
    return Text(whole), named


def _xad(reading: Reading, text: str) -> tuple[str, dict[str, Any]]:
    message = reading.message
    parts = text.split(message.delimiters.component) if message.delimiters.component else [text]
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
    return whole, {k: v for k, v in named.items() if v}
