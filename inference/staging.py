"""Answers of pathology forms as canonical words: TNM, stage, grade, margins, invasion, receptors.

English and Chinese, by code or in words, whole answers only; what is doubtful, was not examined, is
of another edition or is not understood has no value and a reason. Prose of narratives is read in
`features`; what scores make of the words is in `scores`.
Source: AJCC 8th edition (TNM, R, grade); CAP and ICCR protocols; Chinese HCC guideline (MVI M0-M2);
LOINC answers; models.md 1.0.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from mappings.record import Coded, Quantity, Text, Value

_EDITION = "8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A canonical word, or why there is none.

    Attributes:
        value: Word of the reader's list; None with a `reason`.
        prefix: Of TNM and stages as sent in small letters: `p`, `c`, `yp`, `r`; else empty.
    """

    value: str | None
    reason: str = ""
    prefix: str = ""


_Reader = Callable[[str], Answer | None]

_DOUBTFUL = Answer(value=None, reason="doubtful")
_NOT_ASSESSED_WORDS = re.compile(
    r"未查|未检(?!出|测到)|未做|未评估|未送检|不适用|无法评估|不能评估|"
    r"not (?:assessed|examined|applicable|performed|evaluated|tested)|cannot be (?:assessed|"
    r"determined)|\bn/?a\b|unknown|不详|未知"
)
_DOUBTFUL_WORDS = re.compile(
    r"可疑|疑似|疑|不除外|不能排除|待排|suspicious|suspected|possible|probable|equivocal|"
    r"indeterminate|cannot be excluded|不确定"
)


def read(kind: str, value: Value | None) -> Answer:
    """The canonical word of an answer.

    Code, display and text are all read: where they name two things, there is no value.

    Args:
        kind: Of `READERS`.
        value: What the record holds.

    Raises:
        KeyError: No reader has this name.
    """
    reader = READERS[kind]
    words, systems = _words(value)
    if not words:
        return Answer(value=None, reason="no answer in words or codes")
    editions = {
        e for text in (*words, *systems) for e in re.findall(r"(?:ajcc|uicc)\D{0,9}(\d)", text)
    }
    if editions - {_EDITION}:
        return Answer(value=None, reason=f"of edition {', '.join(sorted(editions))}")
    found = [answer for word in words if (answer := reader(word)) is not None]
    if any(_DOUBTFUL_WORDS.search(word) for word in words):
        return _DOUBTFUL
    told = {answer.value: answer for answer in found if answer.value is not None}
    if told.keys() & _GRADED:
        told.pop("present", None)
    if len(told) == 1:
        return next(iter(told.values()))
    return Answer(value=None, reason=_why(words, found))


# Beside a grade, that it is there says nothing else.
_GRADED = frozenset({"M1", "M2"})


def _why(words: list[str], found: list[Answer]) -> str:
    """Why several answers, or none, give no value."""
    told = sorted({answer.value for answer in found if answer.value is not None})
    if told:
        return f"code and words disagree: {', '.join(told)}"
    if any(_NOT_ASSESSED_WORDS.search(word) for word in words):
        return "not assessed"
    return next((answer.reason for answer in found), "answer is not understood")


def _words(value: Value | None) -> tuple[list[str], list[str]]:
    """Codes, displays and text, folded; and the code systems."""
    if isinstance(value, Coded):
        sent = [w for c in value.codes for w in (c.code, c.display)] + [value.text]
        systems = [_folded(c.system) for c in value.codes]
    else:
        sent = [value.text] if isinstance(value, (Text, Quantity)) else []
        systems = []
    return list(dict.fromkeys(f for word in sent if (f := _folded(word)))), systems


def _folded(text: str) -> str:
    """Without width, case and outer spaces; Roman numerals of one sign as letters."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(folded.replace("−", "-").replace("–", "-").split())


_T = r"t(?P<t>x|is|0|[1-4](?:mi|[a-d])?)(?:\((?:dcis|lcis|paget|m|\d+)\))?"
_N = r"n(?P<n>x|0(?:\((?:i|mol)\+\))?|[1-3](?:mi|[a-c])?)(?:\((?:sn|f|i-|mol-)\))?"
_M = r"m(?P<m>x|0(?:\(i\+\))?|1[a-c]?)"
_TNM = re.compile(
    rf"(?P<pt>[rya]{{0,2}}[cp]?)(?:{_T})?,?(?P<pn>[rya]{{0,2}}[cp]?)(?:{_N})?"
    rf",?(?P<pm>[rya]{{0,2}}[cp]?)(?:{_M})?"
)


def _category(letter: str) -> _Reader:
    """T, N or M alone or of a whole `ypT2N1aM0`."""

    def category(word: str) -> Answer | None:
        text = re.sub(r"\((?:ajcc|uicc)[^()]*\)", "", word.rpartition(":")[2]).removesuffix("期")
        found = _TNM.fullmatch("".join(text.split()))
        told = found[letter] if found else None
        if found is None or told is None:
            return None
        prefix = found[f"p{letter}"] or found["pt"]
        return Answer(value=letter.upper() + told.replace("x", "X"), prefix=prefix)

    return category


_STAGE = re.compile(
    r"(?P<prefix>[rya]{0,2}[cp]?)(?:stage|期别|分期)?(?P<numeral>0|iv|i{1,3}|[1-4])(?P<letter>[abc]?)期?"
)
_ROMAN = {"1": "I", "2": "II", "3": "III", "4": "IV"}


def _stage(word: str) -> Answer | None:
    """`IIIB` of `Ⅲb期`, `Stage 3B`, `pIIIB`."""
    text = re.sub(r"\((?:ajcc|uicc)[^()]*\)|(?:ajcc|uicc|tnm|pathologic(?:al)?|clinical)", "", word)
    found = _STAGE.fullmatch("".join(text.rpartition(":")[2].split()))
    if found is None:
        return None
    numeral = _ROMAN.get(found["numeral"], found["numeral"].upper())
    return Answer(value=numeral + found["letter"].upper(), prefix=found["prefix"])


_DIFFERENTIATION = {
    "高": "G1", "中": "G2", "低": "G3", "未": "G4",
    "well": "G1", "moderately": "G2", "poorly": "G3", "un": "G4",
}  # fmt: skip
_DIFFERENTIATED = re.compile(
    r"(?P<zh>[高中低未](?:[-~至到、/][高中低未])?)分化(?:腺?癌)?|"
    r"(?P<en>well|moderately|poorly|un)[- ]?differentiated"
)
_LEVEL = r"(?P<level>x|iv|i{1,3}|[1-4])(?P<to>\s?[-~至到/]\s?(?:iv|i{1,3}|[1-4]))?"
_GRADE = re.compile(
    rf"(?:组织学|核|histologic(?:al)? ?)?(?:nottingham|sbr)?\s?(?:g|grade|分级)?\s?{_LEVEL}\s?级?"
)
_EDMONDSON = re.compile(rf"(?:edmondson(?:[- ]steiner)?)?\s?(?:g|grade|分级)?\s?{_LEVEL}\s?级?")
_ARABIC = {"i": "1", "ii": "2", "iii": "3", "iv": "4"}
_BETWEEN = Answer(value=None, reason="between two grades")


def _grade(word: str) -> Answer | None:
    """`G1` to `G4`; a grade of Edmondson and Steiner is another scale."""
    if "edmondson" in word:
        return Answer(value=None, reason="graded by Edmondson and Steiner")
    told = _DIFFERENTIATED.fullmatch(word)
    if told is not None:
        listed = re.findall(r"[高中低未]", told["zh"]) if told["zh"] else [told["en"]]
        return Answer(value=_DIFFERENTIATION[listed[0]]) if len(listed) == 1 else _BETWEEN
    return _level(_GRADE, word, "G")


def _edmondson(word: str) -> Answer | None:
    """`1` to `4` of Edmondson and Steiner."""
    return _level(_EDMONDSON, word, "")


def _level(shape: re.Pattern[str], word: str, letter: str) -> Answer | None:
    found = shape.fullmatch(word)
    if found is None:
        return None
    if found["to"]:
        return _BETWEEN
    level = found["level"]
    return Answer(value=letter + _ARABIC.get(level, level.upper()))


_LABEL = re.compile(
    r"^[^:]*:|(?:脉管|神经|微血管|淋巴管|血管|切缘|内)*(?:癌栓|侵犯|累及|浸润)?$|"
    r"\b(?:lymphovascular|perineural|microvascular|vascular|macrovascular)? ?invasion\b"
)
_ABSENT = re.compile(
    r"la9634-2|la6577-6|la11883-8|-|\(-\)|阴性|无|未见|未检出|未查见|未发现|否|absent|negative|none|no|"
    r"not (?:identified|detected|seen|present)|no evidence of|[lv]0|pn0|neg"
)
_PRESENT = re.compile(
    r"la9633-4|la6576-8|\+|\(\+\)|弱?阳性|有|见|可见|检出|查见|是|present|positive|identified|"
    r"detected|seen|yes|[lv][12]|pn1|pos"
)
_FILLER = re.compile(r"明确|明显|确切|definite|definitely")


def _core(word: str) -> str:
    """The answer without what it is the answer to: `脉管癌栓(-)` is `(-)`."""
    text = _FILLER.sub("", word.rpartition(":")[2]).strip()
    sign = re.search(r"\(([+-])\)$", text)
    if sign:
        return sign[1]
    tail = re.search(r"(弱?阳性|阴性)$", text)
    if tail:
        return tail[1]
    return _LABEL.sub("", text).strip()


def _presence(word: str) -> Answer | None:
    """`present` or `absent`; doubt and what was not examined are neither."""
    if _NOT_ASSESSED_WORDS.search(word) or _DOUBTFUL_WORDS.search(word):
        return None
    core = _core(word)
    if _ABSENT.fullmatch(core):
        return Answer(value="absent")
    return Answer(value="present") if _PRESENT.fullmatch(core) else None


def _renamed(present: str, absent: str) -> _Reader:
    """Presence under other names."""

    def renamed(word: str) -> Answer | None:
        found = _presence(word)
        if found is None:
            return None
        return Answer(value=present if found.value == "present" else absent)

    return renamed


def _margin(word: str) -> Answer | None:
    """`R0`, `R1`, `R2`, `RX`; `R+` where a margin is positive and nobody says how far."""
    found = re.fullmatch(r"r([012x])(?:切除|resection)?", "".join(word.rpartition(":")[2].split()))
    if found is not None:
        return Answer(value=f"R{found[1].upper()}")
    if re.fullmatch(r"切缘(?:净|干净)|(?:margins? )?(?:clear|uninvolved|free)", word):
        return Answer(value="R0")
    return _renamed("R+", "R0")(re.sub(r"^(?:surgical )?margins?(?: is| are)? ", "", word))


def _mvi(word: str) -> Answer | None:
    """`M0`, `M1`, `M2`; `present` where it is there without a grade."""
    found = re.fullmatch(r"(?:mvi)?(?:分级)?[:=]?(m[012])级?", "".join(word.split()))
    if found is not None:
        return Answer(value=found[1].upper())
    return _renamed("present", "M0")(re.sub(r"^mvi ?", "", word))


def _her2(word: str) -> Answer | None:
    """`0`, `1+`, `2+`, `3+`; `positive` or `negative` where no score is told."""
    found = re.fullmatch(r"(?:her-?2|c-?erbb-?2)?[:(]?(0|[123]\+)\)?", "".join(word.split()))
    if found is not None:
        return Answer(value=found[1])
    return _renamed("positive", "negative")(re.sub(r"^(?:her-?2|c-?erbb-?2) ?", "", word))


def _ascites(word: str) -> Answer | None:
    """`absent`, `slight`, `moderate` as Child and Pugh take it; how much must be told."""
    if _DOUBTFUL_WORDS.search(word):
        return _DOUBTFUL
    core = re.sub(r"(?:腹水|腹腔积液|ascites)", "", word).strip()
    if re.fullmatch(r"少量|微量|轻度|slight|mild|small|trace", core):
        return Answer(value="slight")
    if re.fullmatch(r"中等?量|大量|中度|重度|中-重度|moderate|severe|large|massive|tense", core):
        return Answer(value="moderate")
    found = _presence(core or word)
    if found is not None and found.value == "present":
        return Answer(value=None, reason="how much is not told")
    return found


def _encephalopathy(word: str) -> Answer | None:
    """`absent`, `grade 1-2`, `grade 3-4` (West Haven)."""
    core = re.sub(r"(?:肝性脑病|(?:hepatic )?encephalopathy)", "", word).strip()
    if core in ("0", "0级", "grade 0"):
        return Answer(value="absent")
    found = re.fullmatch(rf"(?:grade|west haven)?\s?{_LEVEL}\s?[级期度]?", core)
    if found is not None and found["level"] != "x":
        ends = re.findall(r"iv|i{1,3}|[1-4]", found[0])
        sides = {_ARABIC.get(end, end) in ("1", "2") for end in ends}
        if len(sides) > 1:
            return _BETWEEN
        return Answer(value="grade 1-2" if sides.pop() else "grade 3-4")
    presence = _presence(core or word)
    if presence is not None and presence.value == "present":
        return Answer(value=None, reason="its grade is not told")
    return presence


_RECEPTOR = _renamed("positive", "negative")

READERS: Mapping[str, _Reader] = MappingProxyType(
    {
        "pT": _category("t"),
        "pN": _category("n"),
        "pM": _category("m"),
        "stage": _stage,
        "grade": _grade,
        "edmondson": _edmondson,
        "margin": _margin,
        "MVI": _mvi,
        "LVI": _presence,
        "PNI": _presence,
        "macrovascular": _presence,
        "extrahepatic": _presence,
        "ER": _RECEPTOR,
        "PR": _RECEPTOR,
        "HER2": _her2,
        "ascites": _ascites,
        "encephalopathy": _encephalopathy,
    }
)
