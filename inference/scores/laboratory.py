"""Scores of laboratory values alone: fibrosis, liver function, ratios of blood cells."""

from __future__ import annotations

import math

from inference.scores.undecided import Undecided

# WHO takes 40 U/L as the upper limit of normal of AST in APRI, whatever the assay.
AST_UPPER_LIMIT_U_PER_L = 40.0
_BILIRUBIN_UMOL_PER_MG_DL = 17.1


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
