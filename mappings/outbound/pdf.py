"""The report as a PDF, for EHRs that take documents only: the same sentences as the HTML page.

Latin text is set in a font of the PDF standard. Other text is set in a Chinese font that readers
bring along and that is not embedded: a reader without it shows boxes, the figures stay readable.
Source: writeback.md 2.7; models.md 4.4; ISO 32000-1 9.6.2.2 and 9.7.5.2.
"""

from __future__ import annotations

from html import escape
from io import BytesIO

from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.pdfmetrics import registerFont
from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer, Table

from mappings.outbound.parts import sentence, statements
from mappings.outbound.result import Result

_CHINESE = "STSong-Light"
registerFont(UnicodeCIDFont(_CHINESE))
_BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=10, leading=14, spaceAfter=6)
_TITLE = ParagraphStyle("title", parent=_BODY, fontSize=16, leading=20)
_RESULT = ParagraphStyle("result", parent=_BODY, fontSize=12, leading=17)


def pdf(result: Result) -> bytes:
    """One A4 document; the same result gives the same bytes."""
    story = [
        _paragraph(f"AI: {result.title}", _TITLE),
        _paragraph(sentence(result), _RESULT),
        Spacer(1, 4 * mm),
    ]
    rows = [
        [_paragraph(o.text), _paragraph(result.percent(o.probability))] for o in result.outcomes
    ]
    for used in result.inputs:
        when = used.when.isoformat() if used.when else ""
        rows.append([_paragraph(used.label), _paragraph(f"{used.text} {when}".strip())])
    if rows:
        columns = [60 * mm, 110 * mm]
        story += [Table(rows, colWidths=columns, hAlign="LEFT"), Spacer(1, 4 * mm)]
    story += [_paragraph(line) for line in statements(result)]
    model = f"{result.model.name} {result.model.version}, {result.filler}"
    story.append(_paragraph(f"{model}, {result.issued:%Y-%m-%d %H:%M %Z}"))
    out = BytesIO()
    # invariant: no clock and no random id in the file.
    SimpleDocTemplate(out, pagesize=A4, title=f"AI: {result.title}", invariant=1).build(story)
    return out.getvalue()


def _paragraph(text: str, style: ParagraphStyle = _BODY) -> Paragraph:
    if not text.isascii():
        style = ParagraphStyle(style.name, parent=style, fontName=_CHINESE)
    return Paragraph(escape(text).replace("\n", "<br/>"), style)
