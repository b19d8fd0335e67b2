"""Derived scores: formulas, classes and stage groups of published sources, with what they used.

Each score is a pure function of numbers and canonical words; `derive` checks what goes in, applies
it and keeps the keys of the entries it rests on. What is missing, implausible or undecided gives
no value and a reason, never a guess. Which entry serves which input is decided in `features`;
answers in other words become canonical ones in `staging`.
Source: models.md 1.0 (units, plausible ranges); each function names its paper or edition.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

# WHO takes 40 U/L as the upper limit of normal of AST in APRI, whatever the assay.
AST_UPPER_LIMIT_U_PER_L = 40.0
_BILIRUBIN_UMOL_PER_MG_DL = 17.1

Presence = Literal["present", "absent"]


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


@dataclass(frozen=True, slots=True)
class Undecided:
    """What is known does not decide a score: why."""

    reason: str


def fib4(age_years: float, ast_u_per_l: float, alt_u_per_l: float, plt_10e9_per_l: float) -> float:
    """FIB-4 index of liver fibrosis.

    Below 35 and above 65 years its usual cut-offs (1.45, 3.25) mislead; the number is the same.

    Source: Sterling RK et al. Hepatology 2006;43:1317-25.
    """
    return age_years * ast_u_per_l / (plt_10e9_per_l * math.sqrt(alt_u_per_l))


def apri(
    ast_u_per_l: float,
    plt_10e9_per_l: float,
    upper_limit_u_per_l: float = AST_UPPER_LIMIT_U_PER_L,
) -> float:
    """AST to platelet ratio index.

    Source: Wai CT et al. Hepatology 2003;38:518-26; upper limit of normal as WHO 2015.
    """
    return ast_u_per_l / upper_limit_u_per_l / plt_10e9_per_l * 100


def albi(alb_g_per_dl: float, tbil_mg_per_dl: float) -> float:
    """Albumin-bilirubin score; the formula itself takes g/L and umol/L.

    Source: Johnson PJ et al. J Clin Oncol 2015;33:550-8.
    """
    bilirubin_umol_per_l = tbil_mg_per_dl * _BILIRUBIN_UMOL_PER_MG_DL
    return 0.66 * math.log10(bilirubin_umol_per_l) - 0.085 * (alb_g_per_dl * 10)


def albi_grade(alb_g_per_dl: float, tbil_mg_per_dl: float) -> str:
    """`1` up to -2.60, `2` up to -1.39, `3` above.

    Source: Johnson PJ et al. J Clin Oncol 2015;33:550-8.
    """
    score = albi(alb_g_per_dl, tbil_mg_per_dl)
    return "1" if score <= -2.60 else "2" if score <= -1.39 else "3"


def nlr(neu_10e9_per_l: float, lym_10e9_per_l: float) -> float | Undecided:
    """Neutrophil to lymphocyte ratio.

    Source: Zahorec R. Bratisl Lek Listy 2001;102:5-14.
    """
    return neu_10e9_per_l / lym_10e9_per_l if lym_10e9_per_l else Undecided("LYM is 0: no ratio")


def plr(plt_10e9_per_l: float, lym_10e9_per_l: float) -> float | Undecided:
    """Platelet to lymphocyte ratio.

    Source: Smith RA et al. Am J Surg 2009;197:466-72.
    """
    return plt_10e9_per_l / lym_10e9_per_l if lym_10e9_per_l else Undecided("LYM is 0: no ratio")


def child_pugh(
    alb_g_per_dl: float, tbil_mg_per_dl: float, inr: float, ascites: str, encephalopathy: str
) -> float:
    """Child-Pugh points, 5 to 15.

    Args:
        alb_g_per_dl: More than 3.5 one point, 2.8 to 3.5 two, less three.
        tbil_mg_per_dl: Less than 2 one point, 2 to 3 two, more three.
        inr: Less than 1.7 one point, 1.7 to 2.3 two, more three.
        ascites: `absent`, `slight`, `moderate`.
        encephalopathy: `absent`, `grade 1-2`, `grade 3-4`.

    Source: Pugh RN et al. Br J Surg 1973;60:646-9, with the INR of current practice.
    """
    points = 1 if alb_g_per_dl > 3.5 else 2 if alb_g_per_dl >= 2.8 else 3
    points += 1 if tbil_mg_per_dl < 2 else 2 if tbil_mg_per_dl <= 3 else 3
    points += 1 if inr < 1.7 else 2 if inr <= 2.3 else 3
    points += ASCITES.index(ascites) + 1 + ENCEPHALOPATHY.index(encephalopathy) + 1
    return float(points)


def child_pugh_class(
    alb_g_per_dl: float, tbil_mg_per_dl: float, inr: float, ascites: str, encephalopathy: str
) -> str:
    """`A` for 5 and 6 points, `B` for 7 to 9, `C` from 10; arguments as `child_pugh`.

    Source: Pugh RN et al. Br J Surg 1973;60:646-9.
    """
    points = child_pugh(alb_g_per_dl, tbil_mg_per_dl, inr, ascites, encephalopathy)
    return "A" if points <= 6 else "B" if points <= 9 else "C"


ASCITES = ("absent", "slight", "moderate")
ENCEPHALOPATHY = ("absent", "grade 1-2", "grade 3-4")


def bclc(
    nodules: float,
    largest_mm: float,
    macrovascular: Presence,
    extrahepatic: Presence,
    ecog: float,
    child_pugh_class: str,
) -> str | Undecided:
    """Barcelona Clinic Liver Cancer stage `0`, `A`, `B`, `C` or `D`, edition 2022.

    Preserved liver function is read as Child-Pugh A or B (of stage 0: A), its end as C; whether
    somebody could be transplanted, which keeps them out of D, is not judged here.

    Args:
        nodules: Tumours in the liver.
        largest_mm: Greatest diameter of the largest.
        macrovascular: Invasion of vessels seen on imaging.
        extrahepatic: Spread beyond the liver, nodes included.
        ecog: Performance status 0 to 5.
        child_pugh_class: `A`, `B` or `C`.

    Source: Reig M et al. J Hepatol 2022;76:681-93; models.md 1.4 (stages 0 and A).
    """
    if ecog >= 3 or child_pugh_class == "C":
        return "D"
    if ecog >= 1 or "present" in (macrovascular, extrahepatic):
        return "C"
    if nodules < 1:
        return Undecided("no nodule was counted")
    if nodules == 1:
        return "0" if largest_mm <= 20 and child_pugh_class == "A" else "A"
    return "A" if nodules <= 3 and largest_mm <= 30 else "B"


def milan(
    nodules: float | None,
    largest_mm: float | None,
    macrovascular: Presence | None,
    extrahepatic: Presence | None,
) -> str | Undecided:
    """`within` or `exceeding` the Milan criteria.

    Within: one nodule of at most 50 mm, or two or three of at most 30 mm each, no macrovascular
    invasion and nothing outside the liver. One thing beyond them decides; None is not told.

    Source: Mazzaferro V et al. N Engl J Med 1996;334:693-9; models.md 1.4.
    """
    if "present" in (macrovascular, extrahepatic):
        return "exceeding"
    if nodules is not None and nodules > 3:
        return "exceeding"
    if largest_mm is not None:
        allowed = 30 if nodules is not None and nodules > 1 else 50
        if largest_mm > allowed:
            return "exceeding"
    if nodules is None or largest_mm is None or None in (macrovascular, extrahepatic):
        return Undecided("nothing known exceeds them, and not all is known")
    return "within" if nodules >= 1 else Undecided("no nodule was counted")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Staging:
    """Stage groups of one site.

    Attributes:
        t, n, m: Categories that the table tells apart.
        finer: Subcategories it does not, and to which they belong.
        rows: (group, T categories, N categories, M categories), `*` for any.
    """

    t: tuple[str, ...]
    n: tuple[str, ...]
    m: tuple[str, ...]
    finer: Mapping[str, str]
    rows: tuple[tuple[str, str, str, str], ...]

    def groups(self, t: str, n: str, m: str) -> list[str]:
        """Every group that the categories, each perhaps coarse, may mean, in order of the table."""
        ts, ns, ms = (self._meant(c, known) for c, known in ((t, self.t), (n, self.n), (m, self.m)))
        return [
            group
            for group, in_t, in_n, in_m in self.rows
            if ts & _set(in_t, self.t) and ns & _set(in_n, self.n) and ms & _set(in_m, self.m)
        ]

    def _meant(self, category: str, known: tuple[str, ...]) -> frozenset[str]:
        if category[1:] == "X":
            return frozenset(known)
        category = self.finer.get(category, category)
        if category in known:
            return frozenset((category,))
        return frozenset(k for k in known if k.startswith(category))


def _set(listed: str, known: tuple[str, ...]) -> frozenset[str]:
    return frozenset(known if listed == "*" else listed.split())


# Cells too few to be a metastasis change no group.
_ISOLATED_CELLS = {"N0(i+)": "N0", "N0(mol+)": "N0", "M0(i+)": "M0"}

_COLORECTAL = _Staging(
    t=("T0", "Tis", "T1", "T2", "T3", "T4a", "T4b"),
    n=("N0", "N1a", "N1b", "N1c", "N2a", "N2b"),
    m=("M0", "M1a", "M1b", "M1c"),
    finer=_ISOLATED_CELLS,
    rows=(
        ("0", "Tis", "N0", "M0"),
        ("I", "T1 T2", "N0", "M0"),
        ("IIA", "T3", "N0", "M0"),
        ("IIB", "T4a", "N0", "M0"),
        ("IIC", "T4b", "N0", "M0"),
        ("IIIA", "T1 T2", "N1a N1b N1c", "M0"),
        ("IIIA", "T1", "N2a", "M0"),
        ("IIIB", "T3 T4a", "N1a N1b N1c", "M0"),
        ("IIIB", "T2 T3", "N2a", "M0"),
        ("IIIB", "T1 T2", "N2b", "M0"),
        ("IIIC", "T4a", "N2a", "M0"),
        ("IIIC", "T3 T4a", "N2b", "M0"),
        ("IIIC", "T4b", "N1a N1b N1c N2a N2b", "M0"),
        ("IVA", "*", "*", "M1a"),
        ("IVB", "*", "*", "M1b"),
        ("IVC", "*", "*", "M1c"),
    ),
)
_LIVER = _Staging(
    t=("T0", "T1a", "T1b", "T2", "T3", "T4"),
    n=("N0", "N1"),
    m=("M0", "M1"),
    finer=_ISOLATED_CELLS,
    rows=(
        ("IA", "T1a", "N0", "M0"),
        ("IB", "T1b", "N0", "M0"),
        ("II", "T2", "N0", "M0"),
        ("IIIA", "T3", "N0", "M0"),
        ("IIIB", "T4", "N0", "M0"),
        ("IVA", "*", "N1", "M0"),
        ("IVB", "*", "*", "M1"),
    ),
)
_BREAST = _Staging(
    t=("T0", "Tis", "T1", "T2", "T3", "T4"),
    n=("N0", "N1mi", "N1", "N2", "N3"),
    m=("M0", "M1"),
    finer=MappingProxyType(
        dict.fromkeys(("T1mi", "T1a", "T1b", "T1c"), "T1")
        | dict.fromkeys(("T4a", "T4b", "T4c", "T4d"), "T4")
        | dict.fromkeys(("N1a", "N1b", "N1c"), "N1")
        | dict.fromkeys(("N2a", "N2b"), "N2")
        | dict.fromkeys(("N3a", "N3b", "N3c"), "N3")
        | _ISOLATED_CELLS
    ),
    rows=(
        ("0", "Tis", "N0", "M0"),
        ("IA", "T1", "N0", "M0"),
        ("IB", "T0 T1", "N1mi", "M0"),
        ("IIA", "T0 T1", "N1", "M0"),
        ("IIA", "T2", "N0", "M0"),
        # T2 to T4 with micrometastases only are staged as N1.
        ("IIB", "T2", "N1 N1mi", "M0"),
        ("IIB", "T3", "N0", "M0"),
        ("IIIA", "T0 T1 T2", "N2", "M0"),
        ("IIIA", "T3", "N1 N1mi N2", "M0"),
        ("IIIB", "T4", "N0 N1 N1mi N2", "M0"),
        ("IIIC", "*", "N3", "M0"),
        ("IV", "*", "*", "M1"),
    ),
)


def _stage(staging: _Staging, t: str, n: str, m: str) -> str | Undecided:
    found = list(dict.fromkeys(staging.groups(t, n, m)))
    if len(found) == 1:
        return found[0]
    told = f"{t} {n} {m}"
    if not found:
        return Undecided(f"AJCC 8 has no stage group for {told}")
    numerals = {group.rstrip("ABC") for group in found}
    if len(numerals) == 1:
        return numerals.pop()
    return Undecided(f"{told} may be {' or '.join(found)}")


def ajcc8_colorectal(t: str, n: str, m: str) -> str | Undecided:
    """Stage group of a colorectal carcinoma, `0` to `IVC`.

    A category without its letter (T4, N2, M1) gives the group where all its letters agree, and
    the bare numeral (`II`) where they agree in that; `TX` and `NX` may be any.

    Source: AJCC Cancer Staging Manual, 8th edition (2017), chapter 20.
    """
    return _stage(_COLORECTAL, t, n, m)


def ajcc8_liver(t: str, n: str, m: str) -> str | Undecided:
    """Stage group of a hepatocellular carcinoma, `IA` to `IVB`; T1 without a letter gives `I`.

    Source: AJCC Cancer Staging Manual, 8th edition (2017), chapter 22.
    """
    return _stage(_LIVER, t, n, m)


def ajcc8_breast(t: str, n: str, m: str) -> str | Undecided:
    """Anatomic stage group of a breast carcinoma, `0` to `IV`; no grade, no receptors.

    Source: AJCC Cancer Staging Manual, 8th edition (2017, breast chapter of 2018), chapter 48.
    """
    return _stage(_BREAST, t, n, m)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One score of the registry.

    Attributes:
        unit: UCUM code; empty for categories.
        formula: How, in short, and its source.
        inputs: Id of each input -> argument of `function`.
        function: Of numbers in canonical units and canonical words.
        partial: Whether some inputs alone may decide it: what is not told is None.
    """

    unit: str
    formula: str
    inputs: Mapping[str, str]
    function: Callable[..., float | str | Undecided]
    partial: bool = False


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


def _categories(letter: str) -> tuple[str, ...]:
    """Every category of T, N or M that a table knows, by its digit alone too, and `X`."""
    listed = {
        category
        for staging in (_COLORECTAL, _LIVER, _BREAST)
        for category in (*staging.t, *staging.n, *staging.m, *staging.finer)
        if category.startswith(letter)
    }
    coarse = {category[:2] for category in listed if category[1].isdigit()}
    return tuple(sorted(listed | coarse | {f"{letter}X"}))


_WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "ascites": ASCITES,
        "encephalopathy": ENCEPHALOPATHY,
        "macrovascular": _PRESENCE,
        "extrahepatic": _PRESENCE,
        "CHILD_PUGH_CLASS": ("A", "B", "C"),
        "pT": _categories("T"),
        "pN": _categories("N"),
        "pM": _categories("M"),
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
            function=fib4,
        ),
        "APRI": Score(
            unit="1",
            formula="100 x (AST / 40 U/L) / PLT; Wai 2003, WHO 2015",
            inputs={"AST": "ast_u_per_l", "PLT": "plt_10e9_per_l"},
            function=apri,
        ),
        "ALBI": Score(
            unit="{score}",
            formula="0.66 x log10(TBIL umol/L) - 0.085 x (ALB g/L); Johnson 2015",
            inputs=_ALBI,
            function=albi,
        ),
        "ALBI_GRADE": Score(
            unit="",
            formula="ALBI at -2.60 and -1.39; Johnson 2015",
            inputs=_ALBI,
            function=albi_grade,
        ),
        "NLR": Score(
            unit="1",
            formula="NEU / LYM; Zahorec 2001",
            inputs={"NEU": "neu_10e9_per_l", "LYM": "lym_10e9_per_l"},
            function=nlr,
        ),
        "PLR": Score(
            unit="1",
            formula="PLT / LYM; Smith 2009",
            inputs={"PLT": "plt_10e9_per_l", "LYM": "lym_10e9_per_l"},
            function=plr,
        ),
        "CHILD_PUGH": Score(
            unit="{score}",
            formula="points for ALB, TBIL, INR, ascites, encephalopathy; Pugh 1973",
            inputs=_CHILD_PUGH,
            function=child_pugh,
        ),
        "CHILD_PUGH_CLASS": Score(
            unit="",
            formula="A to 6, B to 9, C from 10 points; Pugh 1973",
            inputs=_CHILD_PUGH,
            function=child_pugh_class,
        ),
        "BCLC": Score(
            unit="",
            formula="tumour burden, ECOG and Child-Pugh class; BCLC 2022 (Reig 2022)",
            inputs={**_TUMOUR, "ECOG": "ecog", "CHILD_PUGH_CLASS": "child_pugh_class"},
            function=bclc,
        ),
        "MILAN": Score(
            unit="",
            formula="1 nodule <= 50 mm or 2-3 <= 30 mm, no invasion or spread; Mazzaferro 1996",
            inputs=_TUMOUR,
            function=milan,
            partial=True,
        ),
        "AJCC8_COLORECTAL": Score(
            unit="", formula="AJCC 8th edition, colon and rectum", inputs=_TNM,
            function=ajcc8_colorectal,
        ),
        "AJCC8_LIVER": Score(
            unit="", formula="AJCC 8th edition, liver", inputs=_TNM, function=ajcc8_liver,
        ),
        "AJCC8_BREAST": Score(
            unit="", formula="AJCC 8th edition, breast, anatomic", inputs=_TNM,
            function=ajcc8_breast,
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
