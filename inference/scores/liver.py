"""Scores of the diseased liver and of its tumours: Child-Pugh, BCLC, Milan."""

from __future__ import annotations

from typing import Literal

from inference.scores.undecided import Undecided

Presence = Literal["present", "absent"]
ASCITES = ("absent", "slight", "moderate")
ENCEPHALOPATHY = ("absent", "grade 1-2", "grade 3-4")
# What Child-Pugh, BCLC and the Milan criteria answer.
CLASSES = ("A", "B", "C")
STAGES = ("0", "A", "B", "C", "D")
MILAN = ("within", "exceeding")


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
