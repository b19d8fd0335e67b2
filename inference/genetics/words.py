"""What genomics reports write, as terms: classes, origins, genes, changes; by code or in words.

English and Chinese. What is not understood is no term, and several terms that differ are none.
Source: LOINC answers of 53037-8, 69548-6, 48002-0; HGVS; HGNC.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, TypeVar

from mappings.record import Coded, Entry, Text, Value
from mappings.record_json import value_from_json

Significance = Literal[
    "pathogenic", "likely pathogenic", "uncertain significance", "likely benign", "benign"
]
Origin = Literal["germline", "somatic"]
State = Literal["present", "absent"]

HARMFUL: frozenset[Significance] = frozenset({"pathogenic", "likely pathogenic"})

_SYMBOL = re.compile(r"C\d+orf\d+|[A-Z][A-Z0-9]{1,9}(?:-[A-Z0-9]+)?")
_HGNC = re.compile(r"HGNC:\d+")
_CODING = re.compile(r"[cgnm]\.[0-9A-Za-z_+\-*>=?]+")
_ACID = re.compile(r"p\.\(?([A-Za-z0-9_*=?>]+)\)?")
_SHORT_ACID = re.compile(r"([A-Z])(\d+)([A-Z*])")
_SEPARATORS = re.compile(r"[,、;/\s]+")
_ACIDS = {
    "A": "Ala", "C": "Cys", "D": "Asp", "E": "Glu", "F": "Phe", "G": "Gly", "H": "His",
    "I": "Ile", "K": "Lys", "L": "Leu", "M": "Met", "N": "Asn", "P": "Pro", "Q": "Gln",
    "R": "Arg", "S": "Ser", "T": "Thr", "V": "Val", "W": "Trp", "Y": "Tyr", "*": "Ter",
}  # fmt: skip


def _plain(words: str) -> str:
    """Words without case, width, brackets and endings that change no meaning."""
    text = unicodedata.normalize("NFKC", words).casefold()
    text = re.sub(r"\([^()]*\)", "", text).replace("_", " ")
    text = re.sub(r"(?:性|变异|突变|variant)", "", text)
    return " ".join(text.split())


_Term = TypeVar("_Term", bound=str)


def _terms(words: Mapping[_Term, Sequence[str]]) -> dict[str, _Term]:
    made: dict[str, _Term] = {}
    for term, spellings in words.items():
        for word in (str(term), *spellings):
            made[_plain(word)] = term
    return made


SIGNIFICANCES: dict[str, Significance] = _terms(
    {
        "pathogenic": ("LA6668-3", "致病", "P"),
        "likely pathogenic": (
            "LA26332-9", "可能致病", "疑似致病", "LP", "pathogenic/likely pathogenic",
        ),
        "uncertain significance": (
            "LA26333-7", "意义未明", "意义不明", "临床意义未明", "临床意义不明", "VUS",
            "variant of uncertain significance", "of uncertain significance",
            "unknown significance",
        ),
        "likely benign": (
            "LA26334-5", "可能良性", "疑似良性", "LB", "benign/likely benign",
        ),
        "benign": ("LA6675-8", "良性", "B"),
    }
)  # fmt: skip
ORIGINS: dict[str, Origin] = _terms(
    {
        "germline": ("LA6683-2", "胚系", "种系"),
        "somatic": ("LA6684-0", "体细胞", "体系"),
    }
)
STATES: dict[str, State] = _terms(
    {
        "present": ("LA9633-4", "LA6576-8", "detected", "positive", "检出", "检测到", "阳性"),
        "absent": (
            "LA9634-2", "LA6577-6", "LA11883-8", "not detected", "negative", "not present",
            "未检出", "未检测到", "未见", "阴性",
        ),
    }
)  # fmt: skip


def significance(entries: Sequence[Entry]) -> Significance | None:
    """The one class told; pathogenic beside likely pathogenic is likely pathogenic."""
    found = {_term(v, SIGNIFICANCES) for e in entries for v in values(e)}
    if len(found) == 1:
        return found.pop()
    return "likely pathogenic" if found and found <= HARMFUL else None


def one(entries: Sequence[Entry], terms: Mapping[str, _Term]) -> _Term | None:
    """The one term that the entries agree on."""
    found = {_term(v, terms) for e in entries for v in values(e)}
    return found.pop() if len(found) == 1 else None


def _term(value: Value | None, terms: Mapping[str, _Term]) -> _Term | None:
    return next((terms[w] for w in map(_plain, spellings(value)) if w in terms), None)


def values(entry: Entry) -> list[Value | None]:
    """Its value, or all of a field that repeats."""
    repeated = entry.details.get("repetitions")
    return [value_from_json(v) for v in repeated] if repeated else [entry.value]


def spellings(value: Value | None) -> list[str]:
    """Codes, their displays and the text of an answer."""
    if isinstance(value, Coded):
        codings = [word for c in value.codes for word in (c.code, c.display)]
        return [word for word in (*codings, value.text) if word]
    return [value.text] if isinstance(value, Text) else []


def worded(entries: Sequence[Entry]) -> str:
    """The first answer that names a change, code before text."""
    words = [w for e in entries for v in values(e) for w in spellings(v)]
    shaped = (w for w in words if _CODING.search(_width(w)) or _ACID.search(_width(w)))
    return next(shaped, "")


def _width(text: str) -> str:
    """Full-width letters and signs of Chinese forms as ASCII."""
    return unicodedata.normalize("NFKC", text)


def coding(text: str) -> str:
    """A change as HGVS writes it, `c.747G>T`, without its transcript; empty where there is none."""
    found = _CODING.search(_width(text))
    return found[0] if found else ""


def acid(text: str) -> str:
    """An amino acid change in three letters, without brackets."""
    found = _ACID.search(_width(text))
    if found is None:
        return ""
    body = found[1]
    short = _SHORT_ACID.fullmatch(body)
    if short and short[1] in _ACIDS:
        body = f"{_ACIDS[short[1]]}{short[2]}{_ACIDS.get(short[3], short[3])}"
    return f"p.{body}"


def genes(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    """Symbol and HGNC number of each gene, either may be empty."""
    found = []
    for entry in entries:
        for value in values(entry):
            words = spellings(value)
            number = next((n[0] for w in words if (n := _HGNC.search(w))), "")
            symbols = (s for w in words if (s := _symbol(w)))
            found.append((next(symbols, ""), number))
    return list(dict.fromkeys(pair for pair in found if any(pair)))


def _symbol(text: str) -> str:
    """The gene symbol of `TP53`, `TP53基因` or `BRCA1 gene`, or an empty string."""
    found = _SYMBOL.search(_HGNC.sub("", _width(text)))
    return found[0] if found else ""


def listed(value: Value | None) -> Iterator[str]:
    """Every gene of a list: symbols and HGNC numbers."""
    for words in spellings(value):
        if coding(words):
            continue
        yield from (n for part in _SEPARATORS.split(_width(words)) if (n := _symbol(part)))
        yield from _HGNC.findall(words)
