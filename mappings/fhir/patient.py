"""Patient: one entry per demographic field, other identifiers and links as aliases.

Source: FHIR R4 Patient; site rules 6 to 8.
"""

from __future__ import annotations

from typing import Any

from mappings.fhir.reading import Element, Reading
from mappings.names import written
from mappings.record import Entry, Text, Value

PATIENT = ""
_MAPPED = frozenset(
    {"identifier", "active", "name", "gender", "birthDate", "address", "link", "contained"}
    | {"deceasedBoolean", "deceasedDateTime"}
)
_GENDERS = frozenset({"male", "female", "other", "unknown"})
_FORMS = {"IDE": "ideographic", "SYL": "phonetic", "ABC": "alphabetic"}
_REPRESENTATION = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"


def entries(reading: Reading) -> list[Entry]:
    """Demographics and aliases."""
    made = [
        reading.entry("alias", f"alias/{other}", "identifier", "final", other)
        for other in reading.identifiers
        if other != reading.patient
    ]
    made += [
        reading.entry("patient", f"patient/{field}", element, "final", value, details=details)
        for field, element, value, details in _demographics(reading)
    ]
    if any(reading.text("type", link) == "replaced-by" for link in reading.all("link")):
        reading.note("link", "replaced by another patient: the merge comes by its own message")
    reading.leftovers(_MAPPED)
    return made


def _demographics(reading: Reading) -> list[tuple[str, str, Value, dict[str, Any]]]:
    made: list[tuple[str, str, Value, dict[str, Any]]] = []
    names = list(reading.all("name"))
    if names:
        made.append(("name", "name", *_name(reading, names)))
    born = reading.when("birthDate")
    if born is not None:
        made.append(("birth_date", "birthDate", born, {}))
    gender = reading.text("gender")
    if gender:
        if gender not in _GENDERS:
            reading.note("gender", "not an administrative gender")
            gender = "unknown"
        made.append(("sex", "gender", Text(gender), {}))
    addresses = list(reading.all("address"))
    if addresses:
        made.append(("address", "address", *_address(reading, addresses)))
    died = reading.when("deceasedDateTime")
    if died is not None:
        made.append(("deceased", "deceasedDateTime", died, {}))
    elif isinstance(reading.data.get("deceasedBoolean"), bool):
        word = "true" if reading.data["deceasedBoolean"] else "false"
        made.append(("deceased", "deceasedBoolean", Text(word), {}))
    return made


def _name(reading: Reading, names: list[Element]) -> tuple[Value, dict[str, Any]]:
    ranked = sorted(
        names, key=lambda n: {"official": 0, "usual": 1, "old": 9}.get(n.get("use", ""), 2)
    )
    first = ranked[0]
    details: dict[str, Any] = {
        "family": reading.text("family", first),
        "given": " ".join(_given(first)),
        "text": _written(reading, first),
    }
    for other in names:
        form = _form(reading, other)
        if form and other is not first:
            details[form] = _written(reading, other)
    return Text(_written(reading, first)), details


def _given(name: Element) -> list[str]:
    given = name.get("given")
    return [g for g in given if isinstance(g, str)] if isinstance(given, list) else []


def _written(reading: Reading, name: Element) -> str:
    return reading.text("text", name) or written((reading.text("family", name), *_given(name)))


def _form(reading: Reading, name: Element) -> str | None:
    for extension in reading.all("extension", name):
        if extension.get("url") == _REPRESENTATION:
            return _FORMS.get(reading.text("valueCode", extension))
    return None


def _address(reading: Reading, addresses: list[Element]) -> tuple[Value, dict[str, Any]]:
    ranked = sorted(addresses, key=lambda a: {"home": 0, "old": 9}.get(a.get("use", ""), 1))
    first = ranked[0]
    lines = first.get("line")
    listed = [x for x in lines if isinstance(x, str)] if isinstance(lines, list) else []
    details = {
        "line": " ".join(listed),
        "city": reading.text("city", first),
        "state": reading.text("state", first),
        "postal": reading.text("postalCode", first),
        "country": reading.text("country", first),
    }
    whole = reading.text("text", first) or ", ".join(v for v in details.values() if v)
    return Text(whole), details
