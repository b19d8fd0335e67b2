"""Sections of a narrative report, by the headings radiologists and pathologists write.

English and Chinese. A text without headings has no sections; nobody guesses.
Source: RSNA RadReport; GB/T and hospital templates of radiology and pathology reports.
"""

from __future__ import annotations

import re

from mappings.tables import rows

# Longest first: 影像学诊断 before 诊断.
_HEADINGS = {row["heading"].casefold(): row["section"] for row in rows("report_sections")}
_WORDS = "|".join(re.escape(h) for h in sorted(_HEADINGS, key=len, reverse=True))
# At the start of a line with a colon, a bracket, or alone on the line; a heading inside running
# text counts only after a full stop and with a colon.
_HEADING = re.compile(
    rf"(?:(?:^|\n)[ \t\u3000]*[\u3010\[(（]?(?P<line>{_WORDS})[\u3011\])）]?[ \t]*"
    rf"(?:[:：]|(?=\n|$)|(?<=[\u3011\]])))"
    rf"|(?:(?<=[。；;.])\s*(?P<inline>{_WORDS})\s*[:：])",
    re.IGNORECASE,
)
_LONGEST = 200_000


def sections(text: str) -> dict[str, str]:
    """Text by section name (`findings`, `impression`, `technique` …), in order of the report.

    A section that comes twice is joined by a line feed.
    """
    found: dict[str, str] = {}
    marks = list(_HEADING.finditer(text[:_LONGEST]))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    for mark, end in zip(marks, ends, strict=False):
        name = _HEADINGS[(mark["line"] or mark["inline"]).casefold()]
        body = text[mark.end() : end].strip()
        if body:
            found[name] = f"{found[name]}\n{body}" if name in found else body
    return found


def section_named(words: str) -> str | None:
    """The section that a heading or an OBX-3 text names, or None."""
    return _HEADINGS.get(words.strip().strip("【】[]:：").casefold())
