"""The sandbox EHR as a clinician sees it: problem list, results, reports with their page."""

from __future__ import annotations

from html import escape
from typing import Any

from workers.demo.ehr_store import Resource, Store

_STYLE = """
*{box-sizing:border-box}body{font:15px/1.5 system-ui,"Noto Sans CJK SC",sans-serif;margin:0;
color:#1b2430;background:#f4f6f9}header{background:#1d3f72;color:#fff;padding:.9rem 1.5rem}
header h1{font-size:1.2rem;margin:0}header p{margin:.15rem 0 0;opacity:.85}
main{max-width:64rem;margin:0 auto;padding:1rem 1.5rem;display:grid;gap:1rem}
section{background:#fff;border:1px solid #d5dbe3;border-radius:6px;padding:.9rem 1.1rem}
h2{font-size:1rem;margin:0 0 .5rem}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.3rem .5rem;border-bottom:1px solid #e3e8ef}th{font-weight:600}
.tag{display:inline-block;border:1px solid #8a5a00;color:#6b4600;background:#fff7e0;
border-radius:4px;padding:0 .4rem;font-size:.85em}
.corrected{border-color:#8c1c1c;color:#8c1c1c;background:#fdeaea}
iframe{width:100%;height:46rem;border:1px solid #d5dbe3;border-radius:4px;background:#fff}
.muted{color:#4b5867}a{color:#1d3f72}
"""


def index_page(store: Store) -> str:
    """All patients."""
    rows = "".join(
        f'<tr><td><a href="/patient/{escape(p["id"])}">{_name(p)}</a></td>'
        f"<td>{escape(p.get('birthDate', ''))}</td></tr>"
        for p in store.search("Patient", [])
    )
    return _page(
        "Sandbox EHR",
        "Pretend hospital. Synthetic patients only.",
        f"<section><h2>Patients</h2><table><tr><th>Name</th><th>Born</th></tr>{rows}</table></section>",
    )


def patient_page(store: Store, patient_id: str) -> str:
    """One patient.

    Raises:
        Rejected: No such patient.
    """
    patient = store.read("Patient", patient_id)
    about = [("patient", patient_id)]
    return _page(
        _name(patient),
        f"{escape(patient.get('gender', ''))}, born {escape(patient.get('birthDate', '?'))}. "
        "Synthetic patient of the sandbox EHR.",
        _problems(store.search("Condition", about))
        + _reports(store, store.search("DiagnosticReport", about))
        + _labs(store.search("Observation", about)),
    )


def _problems(conditions: list[Resource]) -> str:
    items = "".join(f"<li>{_concept(c.get('code'))}</li>" for c in conditions)
    return f"<section><h2>Problem list</h2><ul>{items or '<li>none</li>'}</ul></section>"


def _labs(observations: list[Resource]) -> str:
    rows = "".join(
        f"<tr><td>{_concept(o.get('code'))}</td><td>{_value(o)}</td>"
        f"<td>{escape(o.get('effectiveDateTime', ''))}</td><td>{_status(o)}</td></tr>"
        for o in observations
    )
    return (
        "<section><h2>Results</h2><table><tr><th>Test</th><th>Value</th><th>Time</th>"
        f"<th>Status</th></tr>{rows}</table></section>"
    )


def _reports(store: Store, reports: list[Resource]) -> str:
    made = []
    for report in reports:
        versions = len(store.history("DiagnosticReport", report["id"]))
        form = next(
            (f for f in report.get("presentedForm", ()) if f.get("contentType") == "text/html"),
            None,
        )
        shown = (
            f'<iframe sandbox="" title="Report" src="data:text/html;charset=utf-8;base64,'
            f'{escape(form["data"])}"></iframe>'
            if form
            else f"<p>{escape(report.get('conclusion', ''))}</p>"
        )
        made.append(
            f"<section><h2>{_concept(report.get('code'))} {_status(report)}</h2>"
            f'<p class="muted">Issued {escape(report.get("issued", ""))}, version {versions}</p>'
            f"{shown}</section>"
        )
    return "".join(made)


def _status(resource: Resource) -> str:
    status = escape(str(resource.get("status", "")))
    kind = "tag corrected" if status in ("corrected", "amended", "entered-in-error") else "tag"
    return f'<span class="{kind}">{status}</span>'


def _value(observation: Resource) -> str:
    quantity = observation.get("valueQuantity")
    if quantity:
        comparator = escape(str(quantity.get("comparator", "")))
        number, unit = (escape(str(quantity.get(part, ""))) for part in ("value", "unit"))
        return f"{comparator}{number} {unit}"
    return escape(str(observation.get("valueString", ""))) or _concept(
        observation.get("valueCodeableConcept")
    )


def _concept(concept: Any) -> str:
    if not isinstance(concept, dict):
        return ""
    coding: Resource = next(iter(concept.get("coding") or ()), {})
    return escape(str(concept.get("text") or coding.get("display") or coding.get("code") or ""))


def _name(patient: Resource) -> str:
    name: Resource = next(iter(patient.get("name") or ()), {})
    text = name.get("text") or " ".join([*name.get("given", ()), name.get("family", "")])
    return escape(str(text).strip() or "unnamed")


def _page(title: str, subtitle: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body><header><h1>{title}</h1><p>{subtitle}</p></header>"
        f"<main>{body}</main></body></html>"
    )
