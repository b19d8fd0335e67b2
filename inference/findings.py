"""What the findings section of a report says, by the pack's own words (`features.toml`).

Findings are kept, impressions never read: they name the answer (models.md 1.2). Which report is
read is decided in `features`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from inference.manifest import Cues, Lexicon


def states(lexicon: Lexicon, findings: str) -> dict[str, int]:
    """What the findings section says of each finding of the lexicon.

    A cue reaches to the end of its clause. Said twice, presence wins over absence over doubt.

    Returns:
        Finding id -> 1 present, -1 absent, 0 doubtful or not told.
    """
    said: dict[str, set[int]] = {f.id: set() for f in lexicon.findings}
    for clause in _clauses(lexicon.breaks, findings.casefold()):
        for finding in lexicon.findings:
            for word in _words(finding.words):
                at = clause.find(word)
                if at >= 0:
                    said[finding.id].add(_polarity(lexicon, clause[:at], clause[at + len(word) :]))
    return {k: 1 if 1 in v else -1 if -1 in v else 0 for k, v in said.items()}


def _words(by_language: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    return tuple(w.casefold() for words in by_language.values() for w in words)


def _clauses(breaks: Sequence[str], text: str) -> list[str]:
    for mark in breaks:
        text = text.replace(mark, "\n")
    return [c for c in text.split("\n") if c.strip()]


def _polarity(lexicon: Lexicon, before: str, after: str) -> int:
    if _cued(lexicon.hedge, before, after):
        return 0
    return -1 if _cued(lexicon.negation, before, after) else 1


def _cued(cues: Cues, before: str, after: str) -> bool:
    padded = f" {before}"
    return any(w in padded for w in _words(cues.before)) or any(
        w in after for w in _words(cues.after)
    )
