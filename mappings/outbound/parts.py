"""Elements that every resource of a result shares: meta, identifiers, notes, words."""

from __future__ import annotations

from datetime import datetime
from html import escape
from typing import Any

from mappings.outbound.result import SYNTHETIC_WORDS, Result
from mappings.outbound.terms import AIAST, FILLER_SYSTEM, HTEST, RESULT_SYSTEM, SERIES_SYSTEM
from mappings.record import Code

NOTICE = (
    "AI-generated and not reviewed by a clinician. Decision support, not a diagnosis; "
    "research use only."
)


def meta(result: Result) -> dict[str, Any]:
    """AIAST on everything; HTEST and a tag while the model knows synthetic data only."""
    made: dict[str, Any] = {
        "security": [AIAST],
        "tag": [{"system": f"{result.namespace}/ai-status", "code": "unreviewed"}],
    }
    if result.model.synthetic:
        made["security"] = [AIAST, HTEST]
        made["tag"].append({"system": f"{result.namespace}/training-data", "code": "synthetic"})
    return made


def identifiers(result: Result, role: str) -> list[dict[str, Any]]:
    """Instance key with the role, series key, and on the report the filler number."""
    made = [
        {
            "system": f"{result.namespace}/{RESULT_SYSTEM}",
            "value": f"{result.instance_key}#{role}",
        },
        {
            "system": f"{result.namespace}/{SERIES_SYSTEM}",
            "value": f"{result.series_key}#{role}",
        },
    ]
    if role == "dr":
        made.append({"system": f"{result.namespace}/{FILLER_SYSTEM}", "value": result.filler})
    return made


def concept(code: Code | None, text: str) -> dict[str, Any]:
    """A CodeableConcept; text alone where no verified code exists."""
    made: dict[str, Any] = {"text": text}
    if code is not None:
        made["coding"] = [coding(code)]
    return made


def coding(code: Code) -> dict[str, Any]:
    """A Coding."""
    made = {"system": code.system, "code": code.code}
    if code.display:
        made["display"] = code.display
    return made


def question(result: Result) -> dict[str, Any]:
    """What was asked: local code first, text that begins with "AI:"."""
    return {"coding": [coding(result.question)], "text": f"AI: {result.title}"}


def statements(result: Result) -> list[str]:
    """Sentences that must stand with every result."""
    made = [NOTICE]
    if result.model.synthetic:
        made.append(SYNTHETIC_WORDS)
    made.append(f"Intended use: {result.model.intended_use}")
    made += [f"Missing input: {item}" for item in result.missing]
    made += [f"Caution: {item}" for item in result.warnings]
    return made


def sentence(result: Result) -> str:
    """The result in one sentence."""
    if result.status == "entered-in-error":
        reason = result.correction.reason if result.correction else "withdrawn"
        return f"Withdrawn: {reason}. This result must not be used."
    top = result.headline
    words = f"{top.text}: {result.percent(top.probability)}"
    if top.interval is not None:
        low, high = top.interval
        words += f" ({result.interval_words} {low * 100:.1f} to {high * 100:.1f} %)"
    if top.tier and top.threshold is not None:
        words += f", {top.tier} by the locked threshold of {top.threshold * 100:.1f} %"
    if result.correction and result.correction.was:
        return (
            f"Corrected: was {result.correction.was}, now {result.percent(top.probability)}, "
            f"because {result.correction.reason}. {words}."
        )
    return f"{words}."


def conclusion(result: Result) -> str:
    """Result and limits; never a bare answer."""
    words = f"{sentence(result)} {NOTICE}"
    return f"{words} {SYNTHETIC_WORDS}" if result.model.synthetic else words


def narrative(result: Result) -> dict[str, Any]:
    """Generated narrative: the same sentences, escaped."""
    lines = [sentence(result), *statements(result)]
    body = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{body}</div>'}


def instant(moment: datetime) -> str:
    """A FHIR instant with milliseconds and offset."""
    return moment.isoformat(timespec="milliseconds")


def percent(probability: float) -> float:
    """Probability as the percentage that is written: two decimals everywhere."""
    return round(probability * 100, 2)
