"""A result as ORU^R01, for EHRs that take no FHIR: all of it, with the document in ED.

PID is the one the EHR itself sent; identifiers are not ours to rewrite.
Source: writeback.md 1.4 and 2.7; HL7 v2.5.1 chapter 7.3.1, 2.7 (escapes), 2.15.9 (MSH-18).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from datetime import datetime

from mappings.outbound.er7 import escape
from mappings.outbound.page import page
from mappings.outbound.parts import conclusion, percent, statements
from mappings.outbound.pdf import pdf
from mappings.outbound.receiver import Receiver
from mappings.outbound.result import Outcome, Result

# Result status to (OBX-11, OBR-25): tables 0085 and 0123.
_STATUS = {
    "preliminary": ("P", "P"),
    "final": ("F", "F"),
    "corrected": ("C", "C"),
    "amended": ("C", "C"),
    "entered-in-error": ("W", "X"),
}
_SYSTEMS = {"http://loinc.org": "LN", "http://snomed.info/sct": "SCT"}
_PERCENT = "%^percent^UCUM"
_ID_LENGTH = 20  # MSH-10 in every version


def control_id(result: Result) -> str:
    """MSH-10: the same for every attempt at one version of a result."""
    told = f"{result.instance_key}/{result.revision}/{result.status}"
    return hashlib.sha256(told.encode()).hexdigest()[:_ID_LENGTH].upper()


def oru_r01(result: Result, receiver: Receiver, pid: str, *, now: datetime) -> bytes:
    """The message, UTF-8, without its frame.

    Args:
        result: What to tell.
        receiver: Whom.
        pid: As `er7.pid_of` gives it.
        now: Aware time for MSH-7.
    """
    code, report = _STATUS[result.status]
    lines = [
        _msh(result, receiver, now),
        pid,
        "|".join(("ORC", "RE", "", f"{result.filler}^{escape(receiver.sender)}")),
        _obr(result, receiver, report),
        *(_nte(n, text) for n, text in enumerate(statements(result), 1)),
        *_observations(result, receiver, code),
    ]
    return ("\r".join(lines) + "\r").encode()


def _msh(result: Result, receiver: Receiver, now: datetime) -> str:
    stamp = now.strftime("%Y%m%d%H%M%S%z")
    structure = "ORU^R01^ORU_R01" if receiver.version >= "2.3.1" else "ORU^R01"
    fields = (
        "MSH",
        "^~\\&",
        escape(receiver.sender),
        escape(result.organization)[:180],
        escape(receiver.application),
        escape(receiver.facility),
        stamp,
        "",
        structure,
        control_id(result),
        "P",
        receiver.version,
        *[""] * 5,
        "UNICODE UTF-8",
    )
    return "|".join(fields)


def _obr(result: Result, receiver: Receiver, status: str) -> str:
    asked = _coded(result.question.code, f"AI: {result.title}", "99ONCORD")
    alternate = _coded(result.report_code.code, result.report_code.display, "LN")
    fields = [""] * 26
    fields[0], fields[1] = "OBR", "1"
    fields[3] = f"{result.filler}^{escape(receiver.sender)}"
    fields[4] = f"{asked}^{alternate}"
    fields[7] = _stamp(result)
    fields[22] = result.issued.strftime("%Y%m%d%H%M%S%z")
    fields[25] = status
    return "|".join(fields)


def _observations(result: Result, receiver: Receiver, status: str) -> Iterator[str]:
    lines: list[tuple[str, str, str, str]] = []
    for outcome in result.outcomes:
        lines.append(
            ("NM", _outcome_code(outcome), f"{percent(outcome.probability)}", "%^percent^UCUM")
        )
        if outcome.interval is not None:
            low, high = (percent(bound) for bound in outcome.interval)
            words = f"{result.interval_words}: {outcome.text}"
            code = _coded(f"{outcome.local}.interval", words, "99ONCORD")
            lines.append(("SN", code, f"^{low}^-^{high}", _PERCENT))
        if outcome.tier:
            code = _coded(f"{outcome.local}.tier", f"Tier: {outcome.text}", "99ONCORD")
            lines.append(("ST", code, escape(outcome.tier), ""))
    said = _coded("conclusion", "AI: conclusion", "99ONCORD")
    lines.append(("TX", said, escape(conclusion(result)), ""))
    if receiver.document != "none":
        made = pdf(result) if receiver.document == "pdf" else page(result).encode()
        held = base64.b64encode(made).decode()
        code = _coded("report", f"AI: {result.title}", "99ONCORD")
        lines.append(("ED", code, f"{receiver.layout}^{held}", ""))
    device = escape(f"{result.model.id}^{result.model.version}^{result.model.digest[:16]}")
    for number, (kind, code, value, unit) in enumerate(lines, 1):
        fields = [""] * 19
        fields[:7] = ["OBX", str(number), kind, code, "", value, unit]
        fields[11], fields[14] = status, _stamp(result)
        fields[17] = _coded("AI", "Artificial Intelligence asserted", "99ONCORD")
        fields[18] = device
        yield "|".join(fields)


def _outcome_code(outcome: Outcome) -> str:
    local = _coded(outcome.local, f"AI: probability of {outcome.text}", "99ONCORD")
    if outcome.code is None or outcome.code.system not in _SYSTEMS:
        return local
    code = outcome.code
    return f"{local}^{_coded(code.code, code.display or outcome.text, _SYSTEMS[code.system])}"


def _coded(code: str, text: str, system: str) -> str:
    return f"{escape(code)}^{escape(text)}^{system}"


def _nte(number: int, text: str) -> str:
    return "|".join(("NTE", str(number), "L", escape(text)))


def _stamp(result: Result) -> str:
    when = result.effective
    layout = {"year": "%Y", "month": "%Y%m", "day": "%Y%m%d", "minute": "%Y%m%d%H%M"}
    text = when.value.strftime(layout.get(when.precision, "%Y%m%d%H%M%S"))
    if when.offset_minutes is None or when.precision not in ("minute", "second"):
        return text
    hours, minutes = divmod(abs(when.offset_minutes), 60)
    return f"{text}{'-' if when.offset_minutes < 0 else '+'}{hours:02d}{minutes:02d}"
