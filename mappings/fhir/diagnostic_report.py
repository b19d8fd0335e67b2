"""DiagnosticReport: narrative reports, their text by section; the values are Observations.

Source: FHIR R4 DiagnosticReport; site rule 10 (one report by ORU, MDM and FHIR is one fact).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Any

from mappings import identity, keys
from mappings.fhir.observation import STATUSES
from mappings.fhir.reading import Element, Reading
from mappings.record import Attachment, Entry, Text
from mappings.sections import sections

PATIENT = "subject"
_MAPPED = frozenset(
    {"identifier", "basedOn", "status", "category", "code", "subject", "issued", "conclusion"}
    | {"effectiveDateTime", "effectivePeriod", "result", "imagingStudy", "conclusionCode"}
    | {"presentedForm", "contained", "encounter"}
)
_LARGEST_FORM = 8 * 1024 * 1024
_TAG = re.compile(r"<[^<>]{0,2000}>")
_BREAK = re.compile(r"<\s*(?:br|/p|/div|/tr|/li|/h\d)\b[^<>]{0,200}>", re.IGNORECASE)
_ENTITIES = {"&nbsp;": " ", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'", "&amp;": "&"}


def entries(reading: Reading) -> list[Entry]:
    """The report, and each presented form that is not text as a document."""
    concept = reading.coded(reading.one("code"))
    effective = reading.start("effective")
    filler = reading.filler()
    name = concept.codes[0].code if concept.codes else concept.text
    if filler or (effective is not None and not reading.text("id")):
        key = keys.report(name, filler, effective, reading.issued)
    else:
        key = reading.weak("report")
    status = STATUSES.get(reading.text("status"), "unknown")
    forms = list(reading.all("presentedForm"))
    text = _text(reading, forms)
    found = sections(text)
    conclusion = reading.text("conclusion")
    if conclusion:
        found.setdefault("impression", conclusion)
    details: dict[str, Any] = {
        "text": text or conclusion,
        "sections": found,
        "status": reading.text("status"),
        "category": [c.code for i in reading.all("category") for c in reading.coded(i).codes],
        "conclusion_codes": [
            c.code for i in reading.all("conclusionCode") for c in reading.coded(i).codes
        ],
        "results": reading.references("result"),
        "studies": reading.references("imagingStudy"),
        "accession": _accession(reading),
    }
    reading.leftovers(_MAPPED)
    made = [
        reading.entry(
            "report",
            key,
            "presentedForm" if text else "conclusion",
            status,
            Text(details["text"]) if details["text"] else None,
            concept=concept,
            effective=effective,
            twin=keys.report_twin(name, effective) if name else None,
            details=details,
        )
    ]
    for number, form in enumerate(forms):
        document = _document(reading, form, number)
        if document is not None:
            made.append(
                reading.entry(
                    "document",
                    f"{reading.weak('document')}/{number}",
                    f"presentedForm[{number}]",
                    status,
                    document,
                    concept=concept,
                    effective=effective,
                )
            )
    return made


def _accession(reading: Reading) -> str:
    for identifier in reading.all("identifier"):
        if identity.fhir_type(identifier) == "ACSN":
            return reading.text("value", identifier)
    return ""


def _text(reading: Reading, forms: list[Element]) -> str:
    """Plain text of the first textual form, else of the narrative."""
    for wanted in ("text/plain", "text/html"):
        for form in forms:
            if _type(reading, form) == wanted:
                body = _bytes(reading, form)
                if body:
                    text = body.decode("utf-8", "replace")
                    return text if wanted == "text/plain" else plain(text)
    return plain(reading.text("div", reading.one("text")))


def plain(html: str) -> str:
    """The words of HTML or a narrative, a line per block; never shown again as HTML."""
    text = _TAG.sub("", _BREAK.sub("\n", html))
    for entity, character in _ENTITIES.items():
        text = text.replace(entity, character)
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


def _type(reading: Reading, form: Element) -> str:
    return reading.text("contentType", form).partition(";")[0].strip().lower()


def _bytes(reading: Reading, form: Element) -> bytes | None:
    packed = reading.text("data", form)
    if not packed or len(packed) > _LARGEST_FORM:
        return None
    try:
        return base64.b64decode("".join(packed.split()), validate=True)
    except (binascii.Error, ValueError):
        reading.note("presentedForm", "data is not base64", "error")
        return None


def _document(reading: Reading, form: Element, number: int) -> Attachment | None:
    content_type = _type(reading, form)
    if content_type.startswith("text/"):
        return None
    body = _bytes(reading, form)
    url = reading.text("url", form) or None
    if body is None and url is None:
        reading.note(f"presentedForm[{number}]", "neither readable data nor url")
        return None
    return Attachment(
        content_type or "application/octet-stream",
        len(body) if body is not None else None,
        hashlib.sha256(body).hexdigest() if body is not None else None,
        url,
        reading.text("title", form),
    )
