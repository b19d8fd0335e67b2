"""The report as a page: static HTML of one file, no script, nothing loaded from elsewhere.

Source: writeback.md 4.3. Every string of an input is escaped; meaning never hangs on colour alone.
"""

from __future__ import annotations

from html import escape

from mappings.outbound.parts import NOTICE, sentence, statements
from mappings.outbound.result import SYNTHETIC_WORDS, Result

_STYLE = """
body{font:15px/1.5 system-ui,"Noto Sans CJK SC",sans-serif;color:#1b2430;margin:0 auto;
max-width:46rem;padding:1.25rem}
h1{font-size:1.35rem;margin:0 0 .25rem}h2{font-size:1rem;margin:1.5rem 0 .4rem}
.notice{border:2px solid #8a5a00;background:#fff7e0;padding:.6rem .8rem;margin:.8rem 0}
.withdrawn{border-color:#8c1c1c;background:#fdeaea}
.big{font-size:2rem;font-weight:650}.muted{color:#4b5867}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .5rem;
border-bottom:1px solid #d5dbe3;vertical-align:top}th{font-weight:600}
.bar{background:#e3e8ef;height:.8rem;position:relative}
.bar i{position:absolute;top:0;bottom:0;background:#9db4d3}
.bar b{position:absolute;top:-.2rem;bottom:-.2rem;width:3px;background:#1d3f72}
.icons{letter-spacing:.12em;line-height:1.25;font-family:monospace}
@media print{body{max-width:none}}
"""


def page(result: Result) -> str:
    """The whole document."""
    title = escape(f"AI: {result.title}")
    body = [
        f"<h1>{title}</h1>",
        f'<p class="muted">{escape(_meta(result))}</p>',
        *_notices(result),
    ]
    if result.status != "entered-in-error":
        body += [*_number(result), *_inputs(result), *_contributions(result)]
    body += ["<h2>Limits</h2>", "<ul>"]
    body += [f"<li>{escape(line)}</li>" for line in statements(result)]
    body += ["</ul>"]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">"
        f"<title>{title}</title><style>{_STYLE}</style></head><body>"
        + "".join(body)
        + "</body></html>"
    )


def _meta(result: Result) -> str:
    model = result.model
    return (
        f"Status: {result.status}, not reviewed. Model {model.id} {model.version}, study "
        f"{model.study}. Released {result.issued.isoformat(timespec='minutes')}. "
        f"Number {result.filler}."
    )


def _notices(result: Result) -> list[str]:
    made = [f'<p class="notice"><strong>{escape(NOTICE)}</strong></p>']
    if result.correction is not None:
        kind = "notice withdrawn" if result.status == "entered-in-error" else "notice"
        made.insert(0, f'<p class="{kind}"><strong>{escape(sentence(result))}</strong></p>')
    if result.model.synthetic:
        made.append(f'<p class="notice">{escape(SYNTHETIC_WORDS)}</p>')
    return made


def _number(result: Result) -> list[str]:
    top = result.headline
    made = [
        "<h2>Result</h2>",
        f'<p><span class="big">{result.percent(top.probability)}</span> {escape(top.text)}',
    ]
    if top.tier and top.threshold is not None:
        made.append(f" &middot; {escape(top.tier)} (locked threshold {top.threshold * 100:.1f} %)")
    made.append("</p>")
    if top.interval is not None:
        low, high = (round(v * 100, 1) for v in top.interval)
        made.append(
            f'<div class="bar" role="img" aria-label="{result.interval_words} {low} to {high} %">'
            f'<i style="left:{low}%;width:{max(high - low, 0.5):.1f}%"></i>'
            f'<b style="left:{top.probability * 100:.1f}%"></b></div>'
            f'<p class="muted">{result.interval_words} {low} to {high} %</p>'
        )
    made.append(_icons(top.probability))
    rows = "".join(
        f"<tr><td>{escape(o.text)}</td><td>{result.percent(o.probability)}</td></tr>"
        for o in result.outcomes
    )
    made.append(f"<table><tr><th>Class</th><th>Probability</th></tr>{rows}</table>")
    return made


def _icons(probability: float) -> str:
    """100 patients like this one: filled and open circles, twenty a row."""
    filled = round(probability * 100)
    marks = "●" * filled + "○" * (100 - filled)
    rows = "<br>".join(marks[i : i + 20] for i in range(0, 100, 20))
    return f'<p class="icons" aria-label="{filled} of 100">{rows}</p><p>{filled} of 100</p>'


def _inputs(result: Result) -> list[str]:
    made = ["<h2>Inputs used</h2><table><tr><th>Input</th><th>Value</th><th>Time</th></tr>"]
    for item in result.inputs:
        when = item.when.isoformat() if item.when else ""
        made.append(
            f"<tr><td>{escape(item.label)}</td><td>{escape(item.text)}</td><td>{when}</td></tr>"
        )
    studies = len(result.study_instance_uids)
    if studies:
        word = "study" if studies == 1 else "studies"
        made.append(f"<tr><td>Imaging</td><td>{studies} {word}</td><td></td></tr>")
    made.append("</table>")
    if result.missing:
        made.append("<p>Missing: " + escape("; ".join(result.missing)) + "</p>")
    return made


def _contributions(result: Result) -> list[str]:
    if not result.contributions:
        return []  # only an additive model has some; an empty table would look like a failure
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{value:+.2f}</td></tr>"
        for name, value in sorted(result.contributions.items(), key=lambda i: -abs(i[1]))
    )
    return [
        "<h2>Contributions (logit)</h2>",
        f"<table><tr><th>Modality</th><th>Contribution</th></tr>{rows}</table>",
    ]
