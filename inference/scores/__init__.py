"""Derived scores: formulas, classes and stage groups of published sources, with what they used.

Each score is a pure function of numbers and canonical words, in one module a family; `derive`
checks what goes in, applies it and keeps the keys of the entries it rests on. What is missing,
implausible or undecided gives no value and a reason, never a guess. Which entry serves which input
is decided in `features`; answers in other words become canonical ones in `staging`.
Source: models.md 1.0 (units, plausible ranges); each function names its paper or edition.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from inference.scores import ajcc, laboratory, liver
from inference.scores.undecided import Undecided


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What goes into a score.

    Attributes:
        value: A number in the canonical unit of models.md 1.0, or a canonical word.
        key: Business key of the entry it was read from.
    """

    value: float | str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """A score, or why there is none.

    Attributes:
        name: Its name in `SCORES`.
        value: A number or a category; None with a `reason`.
        unit: UCUM code; empty for categories.
        formula: How, in short, and its source.
        used: Keys of the entries that went in, in the order of the score's inputs.
    """

    name: str
    value: float | str | None
    unit: str
    formula: str
    used: tuple[str, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One score of the registry.

    Attributes:
        unit: UCUM code; empty for categories.
        formula: How, in short, and its source.
        inputs: Id of each input -> argument of `function`.
        function: Of numbers in canonical units and canonical words.
        partial: Whether some inputs alone may decide it: what is not told is None.
        categories: Every word it may answer; empty of numbers.
    """

    unit: str
    formula: str
    inputs: Mapping[str, str]
    function: Callable[..., float | str | Undecided]
    partial: bool = False
    categories: tuple[str, ...] = ()


# Models.md 1.0; of what is counted or staged, what can be.
_PLAUSIBLE: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "age": (0, 120),
        "ALT": (1, 20_000),
        "AST": (1, 20_000),
        "TBIL": (0.05, 60),
        "ALB": (0.5, 7),
        "INR": (0.5, 20),
        "PLT": (1, 3000),
        "NEU": (0, 500),
        "LYM": (0, 500),
        "ECOG": (0, 5),
        "nodules": (0, 100),
        "largest_mm": (0, 500),
    }
)
_WHOLE = frozenset({"ECOG", "nodules"})
_PRESENCE = ("present", "absent")

_WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "ascites": liver.ASCITES,
        "encephalopathy": liver.ENCEPHALOPATHY,
        "macrovascular": _PRESENCE,
        "extrahepatic": _PRESENCE,
        "CHILD_PUGH_CLASS": liver.CLASSES,
        "pT": ajcc.categories("T"),
        "pN": ajcc.categories("N"),
        "pM": ajcc.categories("M"),
    }
)

_ALBI = {"ALB": "alb_g_per_dl", "TBIL": "tbil_mg_per_dl"}
_CHILD_PUGH = {**_ALBI, "INR": "inr", "ascites": "ascites", "encephalopathy": "encephalopathy"}
_TUMOUR = {name: name for name in ("nodules", "largest_mm", "macrovascular", "extrahepatic")}
_TNM = {"pT": "t", "pN": "n", "pM": "m"}

SCORES: Mapping[str, Score] = MappingProxyType(
    {
        "FIB4": Score(
            unit="1",
            formula="age x AST / (PLT x sqrt(ALT)); Sterling 2006",
            inputs={
                "age": "age_years",
                "AST": "ast_u_per_l",
                "ALT": "alt_u_per_l",
                "PLT": "plt_10e9_per_l",
            },
            function=laboratory.fib4,
        ),
        "APRI": Score(
            unit="1",
            formula="100 x (AST / 40 U/L) / PLT; Wai 2003, WHO 2015",
            inputs={"AST": "ast_u_per_l", "PLT": "plt_10e9_per_l"},
            function=laboratory.apri,
        ),
        "ALBI": Score(
            unit="{score}",
            formula="0.66 x log10(TBIL umol/L) - 0.085 x (ALB g/L); Johnson 2015",
            inputs=_ALBI,
            function=laboratory.albi,
        ),
        "ALBI_GRADE": Score(
            unit="",
            formula="ALBI at -2.60 and -1.39; Johnson 2015",
            inputs=_ALBI,
            function=laboratory.albi_grade,
            categories=("1", "2", "3"),
        ),
        "NLR": Score(
            unit="1",
            formula="NEU / LYM; Zahorec 2001",
            inputs={"NEU": "neu_10e9_per_l", "LYM": "lym_10e9_per_l"},
            function=laboratory.nlr,
        ),
        "PLR": Score(
            unit="1",
            formula="PLT / LYM; Smith 2009",
            inputs={"PLT": "plt_10e9_per_l", "LYM": "lym_10e9_per_l"},
            function=laboratory.plr,
        ),
        "CHILD_PUGH": Score(
            unit="{score}",
            formula="points for ALB, TBIL, INR, ascites, encephalopathy; Pugh 1973",
            inputs=_CHILD_PUGH,
            function=liver.child_pugh,
        ),
        "CHILD_PUGH_CLASS": Score(
            unit="",
            formula="A to 6, B to 9, C from 10 points; Pugh 1973",
            inputs=_CHILD_PUGH,
            function=liver.child_pugh_class,
            categories=liver.CLASSES,
        ),
        "BCLC": Score(
            unit="",
            formula="tumour burden, ECOG and Child-Pugh class; BCLC 2022 (Reig 2022)",
            inputs={**_TUMOUR, "ECOG": "ecog", "CHILD_PUGH_CLASS": "child_pugh_class"},
            function=liver.bclc,
            categories=liver.STAGES,
        ),
        "MILAN": Score(
            unit="",
            formula="1 nodule <= 50 mm or 2-3 <= 30 mm, no invasion or spread; Mazzaferro 1996",
            inputs=_TUMOUR,
            function=liver.milan,
            partial=True,
            categories=liver.MILAN,
        ),
        "AJCC8_COLORECTAL": Score(
            unit="", formula="AJCC 8th edition, colon and rectum", inputs=_TNM,
            function=ajcc.ajcc8_colorectal, categories=ajcc.COLORECTAL.answers,
        ),
        "AJCC8_LIVER": Score(
            unit="", formula="AJCC 8th edition, liver", inputs=_TNM,
            function=ajcc.ajcc8_liver, categories=ajcc.LIVER.answers,
        ),
        "AJCC8_BREAST": Score(
            unit="", formula="AJCC 8th edition, breast, anatomic", inputs=_TNM,
            function=ajcc.ajcc8_breast, categories=ajcc.BREAST.answers,
        ),
    }
)  # fmt: skip


def derive(name: str, values: Mapping[str, Measured]) -> Derived:
    """A score of what was measured.

    An input that is a score itself (the Child-Pugh class of BCLC) is derived where it is not told.

    Args:
        name: Of `SCORES`.
        values: Input id -> what was read for it; ids the score does not take are left alone.

    Raises:
        KeyError: No score has this name.
    """
    score = SCORES[name]
    arguments: dict[str, Any] = {}
    used: list[str] = []
    reasons: list[str] = []
    for wanted, argument in score.inputs.items():
        value, keys, reason = _input(wanted, values)
        arguments[argument] = value
        used += keys
        if reason and not (score.partial and wanted not in values):
            reasons.append(reason)
    found = Undecided("; ".join(reasons)) if reasons else score.function(**arguments)
    return Derived(
        name=name,
        value=None if isinstance(found, Undecided) else found,
        unit=score.unit,
        formula=score.formula,
        used=tuple(dict.fromkeys(used)),
        reason=found.reason if isinstance(found, Undecided) else "",
    )


def _input(
    wanted: str, values: Mapping[str, Measured]
) -> tuple[float | str | None, tuple[str, ...], str]:
    """Value of an input, keys it rests on, and why it cannot be used."""
    measured = values.get(wanted)
    if measured is None:
        if wanted not in SCORES:
            return None, (), f"{wanted} is missing"
        inner = derive(wanted, values)
        return inner.value, inner.used, inner.reason
    reason = _wrong(wanted, measured.value)
    return (None if reason else measured.value), (measured.key,), reason


def _wrong(wanted: str, value: float | str) -> str:
    if wanted in _WORDS:
        known = _WORDS[wanted]
        return "" if value in known else f"{wanted} is none of {', '.join(known)}"
    if isinstance(value, (str, bool)) or not math.isfinite(value):
        return f"{wanted} is not a number"
    low, high = _PLAUSIBLE[wanted]
    if not low <= value <= high:
        return f"{wanted} is outside the plausible range {low:g} to {high:g}"
    if wanted in _WHOLE and value != int(value):
        return f"{wanted} is not a whole number"
    return ""
