"""scores: published examples and tables, boundaries, what is missing, and what must never fall."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import inference
from inference.scores import SCORES, Derived, Measured, derive, liver
from inference.scores.undecided import Undecided


def measured(**values: float | str) -> dict[str, Measured]:
    """Each value under a key that names it."""
    return {name: Measured(value=value, key=f"k/{name}") for name, value in values.items()}


def value(name: str, **values: float | str) -> float | str | None:
    """The score's value."""
    return derive(name, measured(**values)).value


LIVER: dict[str, float | str] = {
    "ALB": 3.8,
    "TBIL": 1.0,
    "INR": 1.1,
    "ascites": "absent",
    "encephalopathy": "absent",
}
TUMOUR: dict[str, float | str] = {
    "nodules": 1, "largest_mm": 40, "macrovascular": "absent", "extrahepatic": "absent", "ECOG": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "given_", "expected", "places"),
    [
        # droracle.ai, "How to calculate FIB-4": (50 x 40) / (200 x sqrt(36)) = 1.67.
        ("FIB4", {"age": 50, "AST": 40, "ALT": 36, "PLT": 200}, 1.67, 0.005),
        # lawyerfree.ru/health, APRI calculator, example: 65 / 40 / 458 x 100 = 0.35.
        ("APRI", {"AST": 65, "PLT": 458}, 0.35, 0.005),
        # calculator.city, ALBI: albumin 3.5 g/dL, bilirubin 1.2 mg/dL (20.52 umol/L): -2.10.
        ("ALBI", {"ALB": 3.5, "TBIL": 1.2}, -2.10, 0.01),
        # By the definition: ratios of counts of one sample.
        ("NLR", {"NEU": 4.2, "LYM": 1.4}, 3.0, 1e-12),
        ("PLR", {"PLT": 210, "LYM": 1.5}, 140.0, 1e-12),
    ],
)
def test_worked_examples_come_out(
    name: str, given_: dict[str, float], expected: float, places: float
) -> None:
    """Numbers that somebody else computed."""
    assert pytest.approx(expected, abs=places) == value(name, **given_)


@pytest.mark.parametrize(
    ("alb", "tbil", "grade"),
    [
        # At 10 umol/L the logarithm is 1: the score is 0.66 - 0.085 x ALB (g/L).
        (3.84, 10 / 17.1, "1"),
        (3.83, 10 / 17.1, "2"),
        (2.42, 10 / 17.1, "2"),
        (2.41, 10 / 17.1, "3"),
    ],
)
def test_albi_grades_at_their_limits(alb: float, tbil: float, grade: str) -> None:
    """Johnson 2015: 1 up to -2.60, 2 up to -1.39, 3 above."""
    assert grade == value("ALBI_GRADE", ALB=alb, TBIL=tbil)


@pytest.mark.parametrize(
    ("change", "points"),
    [
        # Table 1 of Cleve Clin J Med (Child-Pugh classification), cell by cell.
        ({}, 5),
        ({"TBIL": 1.99}, 5),
        ({"TBIL": 2.0}, 6),
        ({"TBIL": 3.0}, 6),
        ({"TBIL": 3.01}, 7),
        ({"ALB": 3.51}, 5),
        ({"ALB": 3.5}, 6),
        ({"ALB": 2.8}, 6),
        ({"ALB": 2.79}, 7),
        ({"INR": 1.69}, 5),
        ({"INR": 1.7}, 6),
        ({"INR": 2.3}, 6),
        ({"INR": 2.31}, 7),
        ({"ascites": "slight"}, 6),
        ({"ascites": "moderate"}, 7),
        ({"encephalopathy": "grade 1-2"}, 6),
        ({"encephalopathy": "grade 3-4"}, 7),
    ],
)
def test_child_pugh_points_of_the_published_table(
    change: dict[str, float | str], points: int
) -> None:
    """Each part alone, at both sides of each limit."""
    assert points == value("CHILD_PUGH", **{**LIVER, **change})


def test_child_pugh_classes() -> None:
    """A for 5 and 6, B for 7 to 9, C for 10 to 15."""
    found = set()
    for alb, tbil, inr, fluid, brain in product(
        (4, 3, 2), (1, 2.5, 4), (1, 2, 3), liver.ASCITES, liver.ENCEPHALOPATHY
    ):
        points = liver.child_pugh(alb, tbil, inr, fluid, brain)
        found.add((int(points), liver.child_pugh_class(alb, tbil, inr, fluid, brain)))
    assert {
        (p, "A" if p in (5, 6) else "B" if p in (7, 8, 9) else "C") for p in range(5, 16)
    } == found


@pytest.mark.parametrize("missing", sorted(LIVER))
def test_child_pugh_needs_all_of_its_parts(missing: str) -> None:
    """Ascites that nobody spoke of is not absent."""
    told = {name: v for name, v in LIVER.items() if name != missing}
    found = derive("CHILD_PUGH", measured(**told))
    assert (None, f"{missing} is missing") == (found.value, found.reason)
    assert tuple(f"k/{name}" for name in LIVER if name != missing) == found.used


@pytest.mark.parametrize(
    ("change", "stage"),
    [
        # Figure 1 of Reig 2022: burden, then performance status and liver function.
        ({"largest_mm": 20}, "0"),
        ({"largest_mm": 20.5}, "A"),
        ({"largest_mm": 90}, "A"),
        ({"nodules": 3, "largest_mm": 30}, "A"),
        ({"nodules": 2, "largest_mm": 31}, "B"),
        ({"nodules": 4, "largest_mm": 10}, "B"),
        ({"macrovascular": "present"}, "C"),
        ({"extrahepatic": "present"}, "C"),
        ({"ECOG": 1}, "C"),
        ({"ECOG": 2}, "C"),
        ({"ECOG": 3}, "D"),
        ({"TBIL": 4, "ALB": 2, "ascites": "slight"}, "D"),
        ({"TBIL": 4, "ALB": 2, "ascites": "slight", "extrahepatic": "present"}, "D"),
        # models.md 1.4: stages 0 and A with Child-Pugh A and B; 0 only with A.
        ({"largest_mm": 20, "TBIL": 2.5, "ALB": 3}, "A"),
    ],
)
def test_bclc_stages(change: dict[str, float | str], stage: str) -> None:
    """The Child-Pugh class is derived from its parts where nobody tells it."""
    assert stage == value("BCLC", **{**TUMOUR, **LIVER, **change})


def test_a_told_class_is_used_and_a_derived_one_names_its_parts() -> None:
    """Provenance goes down to the entries."""
    told = derive("BCLC", measured(**TUMOUR, CHILD_PUGH_CLASS="B"))
    assert ("A", "k/CHILD_PUGH_CLASS") == (told.value, told.used[-1])
    made = derive("BCLC", measured(**TUMOUR, **LIVER))
    assert (*(f"k/{n}" for n in TUMOUR), *(f"k/{n}" for n in LIVER)) == made.used
    lacking = derive("BCLC", measured(**TUMOUR, **{**LIVER, "INR": 0.1}))
    assert (None, "INR is outside the plausible range 0.5 to 20") == (
        lacking.value,
        lacking.reason,
    )


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        # Mazzaferro 1996, and the machine rule of models.md 1.4.
        ({}, "within"),
        ({"largest_mm": 50}, "within"),
        ({"largest_mm": 50.1}, "exceeding"),
        ({"nodules": 2, "largest_mm": 30}, "within"),
        ({"nodules": 3, "largest_mm": 30}, "within"),
        ({"nodules": 3, "largest_mm": 31}, "exceeding"),
        ({"nodules": 4, "largest_mm": 5}, "exceeding"),
        ({"macrovascular": "present"}, "exceeding"),
        ({"extrahepatic": "present"}, "exceeding"),
        ({"nodules": 0}, None),
        ({"nodules": 0, "extrahepatic": "present"}, "exceeding"),
    ],
)
def test_milan(told: dict[str, float | str], expected: str | None) -> None:
    """Recurrence in the lung alone exceeds, whatever the liver shows."""
    tumour = {name: v for name, v in TUMOUR.items() if name != "ECOG"}
    assert expected == value("MILAN", **{**tumour, **told})


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"extrahepatic": "present"}, "exceeding"),
        ({"nodules": 4}, "exceeding"),
        ({"largest_mm": 51}, "exceeding"),
        ({"largest_mm": 40}, None),
        ({"nodules": 1, "largest_mm": 40, "macrovascular": "absent"}, None),
        ({}, None),
    ],
)
def test_one_thing_beyond_milan_decides_and_nothing_known_does_not(
    told: dict[str, float | str], expected: str | None
) -> None:
    """Within needs everything; exceeding needs one thing."""
    found = derive("MILAN", measured(**told))
    assert expected == found.value
    assert (expected is None) == bool(found.reason)


# Rows as the tables print them: "IIIB: T3-T4a N1/N1c, T2-T3 N2a, T1-T2 N2b". Colorectal: AJCC 8,
# as in Weiser MR, Ann Surg Oncol 2018;25:1454-5; I to III also in ISRN Oncol 2012:139268 table 1.
COLORECTAL = {
    "0": "Tis N0 M0",
    "I": "T1 N0 M0, T2 N0 M0",
    "IIA": "T3 N0 M0",
    "IIB": "T4a N0 M0",
    "IIC": "T4b N0 M0",
    "IIIA": "T1 N1 M0, T2 N1 M0, T1 N1c M0, T2 N1c M0, T1 N2a M0",
    "IIIB": "T3 N1 M0, T4a N1b M0, T3 N1c M0, T2 N2a M0, T3 N2a M0, T1 N2b M0, T2 N2b M0",
    "IIIC": "T4a N2a M0, T3 N2b M0, T4a N2b M0, T4b N1 M0, T4b N2 M0, T4b N1c M0",
    "IVA": "T1 N0 M1a, T4b N2b M1a, TX NX M1a",
    "IVB": "T2 N1 M1b",
    "IVC": "Tis N0 M1c",
}
# Liver: AJCC 8 as in BMC Public Health 2021 11872 table 2.
HCC = {
    "IA": "T1a N0 M0",
    "IB": "T1b N0 M0",
    "II": "T2 N0 M0",
    "IIIA": "T3 N0 M0",
    "IIIB": "T4 N0 M0",
    "IVA": "T1a N1 M0, T4 N1 M0, TX N1 M0",
    "IVB": "T2 N0 M1, T4 N1 M1, T0 NX M1",
}
# Breast: AJCC 8 anatomic, as in the MSD Manual's table of 2023.
BREAST = {
    "0": "Tis N0 M0",
    "IA": "T1 N0 M0, T1mi N0 M0, T1c N0(i+) M0(i+)",
    "IB": "T0 N1mi M0, T1 N1mi M0, T1mi N1mi M0",
    "IIA": "T0 N1 M0, T1 N1a M0, T2 N0 M0",
    "IIB": "T2 N1 M0, T2 N1mi M0, T3 N0 M0",
    "IIIA": "T0 N2 M0, T1 N2a M0, T2 N2 M0, T3 N1 M0, T3 N2b M0",
    "IIIB": "T4 N0 M0, T4b N1 M0, T4d N2 M0",
    "IIIC": "T1 N3 M0, T4 N3c M0, TX N3a M0",
    "IV": "T1 N0 M1, T4 N3 M1, TX NX M1",
}


@pytest.mark.parametrize(
    ("name", "group", "categories"),
    [
        (name, group, row)
        for name, table in (
            ("AJCC8_COLORECTAL", COLORECTAL),
            ("AJCC8_LIVER", HCC),
            ("AJCC8_BREAST", BREAST),
        )
        for group, listed in table.items()
        for row in listed.split(", ")
    ],
)
def test_stage_groups_of_the_published_tables(name: str, group: str, categories: str) -> None:
    """AJCC 8, row by row."""
    t, n, m = categories.split()
    assert group == value(name, pT=t, pN=n, pM=m)


@pytest.mark.parametrize(
    ("name", "categories", "expected", "reason"),
    [
        ("AJCC8_COLORECTAL", "T4 N0 M0", "II", ""),
        ("AJCC8_COLORECTAL", "T2 N2 M0", "IIIB", ""),
        ("AJCC8_COLORECTAL", "T4 N2 M0", "IIIC", ""),
        ("AJCC8_COLORECTAL", "T3 N2 M0", "III", ""),
        ("AJCC8_COLORECTAL", "T3 N1 M1", "IV", ""),
        ("AJCC8_COLORECTAL", "TX N0 M0", None, "TX N0 M0 may be 0 or I or IIA or IIB or IIC"),
        ("AJCC8_COLORECTAL", "T3 NX M0", None, "T3 NX M0 may be IIA or IIIB or IIIC"),
        ("AJCC8_COLORECTAL", "T1c N0 M0", None, "AJCC 8 has no stage group for T1c N0 M0"),
        ("AJCC8_LIVER", "T1 N0 M0", "I", ""),
        ("AJCC8_LIVER", "T2 N2 M0", None, "AJCC 8 has no stage group for T2 N2 M0"),
        ("AJCC8_BREAST", "T0 N0 M0", None, "AJCC 8 has no stage group for T0 N0 M0"),
        ("AJCC8_BREAST", "T2 N1 MX", None, "T2 N1 MX may be IIB or IV"),
    ],
)
def test_a_coarse_category_gives_what_is_certain(
    name: str, categories: str, expected: str | None, reason: str
) -> None:
    """Nothing between groups is guessed; a numeral stands where its letters differ."""
    t, n, m = categories.split()
    found = derive(name, measured(pT=t, pN=n, pM=m))
    assert (expected, reason) == (found.value, found.reason)


@pytest.mark.parametrize(
    ("name", "order_t", "order_n"),
    [
        ("AJCC8_COLORECTAL", "T1 T2 T3 T4a T4b", "N0 N1a N2a N2b"),
        ("AJCC8_LIVER", "T1a T1b T2 T3 T4", "N0 N1"),
        ("AJCC8_BREAST", "T1 T2 T3 T4", "N0 N1mi N1 N2 N3"),
    ],
)
def test_more_nodes_and_metastases_never_lower_a_stage(
    name: str, order_t: str, order_n: str
) -> None:
    """Along N at each T, along T at each N, and metastasis above all."""
    ranks = ["0", "IA", "I", "IB", "IIA", "II", "IIB", "IIC", "IIIA", "IIIB", "IIIC",
             "IVA", "IV", "IVB", "IVC"]  # fmt: skip

    def rank(t: str, n: str, m: str = "M0") -> int:
        return ranks.index(str(value(name, pT=t, pN=n, pM=m)))

    metastasis = "M1b" if name == "AJCC8_COLORECTAL" else "M1"
    for n in order_n.split():
        along = [rank(t, n) for t in order_t.split()]
        assert sorted(along) == along
    for t in order_t.split():
        along = [rank(t, n) for n in order_n.split()]
        assert sorted(along) == along
        assert rank(t, order_n.rsplit(maxsplit=1)[-1], metastasis) > along[-1]


NUMBERS = {
    "age": st.integers(1, 110), "AST": st.floats(1, 20_000), "ALT": st.floats(1, 20_000),
    "PLT": st.floats(1, 3000), "ALB": st.floats(0.5, 7), "TBIL": st.floats(0.05, 60),
    "INR": st.floats(0.5, 20), "NEU": st.floats(0, 500), "LYM": st.floats(0.01, 500),
}  # fmt: skip
RISING = {
    "FIB4": ({"age": 1, "AST": 1, "ALT": -1, "PLT": -1}),
    "APRI": ({"AST": 1, "PLT": -1}),
    "ALBI": ({"ALB": -1, "TBIL": 1}),
    "NLR": ({"NEU": 1, "LYM": -1}),
    "PLR": ({"PLT": 1, "LYM": -1}),
    "CHILD_PUGH": ({"ALB": -1, "TBIL": 1, "INR": 1}),
}


@given(st.data())
@settings(max_examples=120, deadline=None)
def test_numbers_move_a_score_in_its_one_direction(data: st.DataObject) -> None:
    """Worse never scores better, and every plausible input has a finite score."""
    name = data.draw(st.sampled_from(sorted(RISING)))
    told: dict[str, float | str] = {i: data.draw(NUMBERS[i]) for i in RISING[name]}
    if name == "CHILD_PUGH":
        told |= {"ascites": "slight", "encephalopathy": "absent"}
    moved, direction = data.draw(st.sampled_from(sorted(RISING[name].items())))
    other = data.draw(NUMBERS[moved])
    low, high = sorted((float(told[moved]), float(other)))
    below, above = (value(name, **{**told, moved: v}) for v in (low, high))
    assert isinstance(below, float)
    assert isinstance(above, float)
    assert math.isfinite(below)
    assert (above - below) * direction >= -1e-12


@given(
    st.integers(1, 9), st.floats(1, 200), st.booleans(), st.booleans(), st.integers(0, 5),
    st.sampled_from("ABC"),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_early_bclc_of_few_small_tumours_is_within_milan(
    nodules: int, largest_mm: float, invades: bool, spread: bool, ecog: int, liver: str
) -> None:
    """Two sources agree where they must: 0, and A with several nodules, are within Milan."""
    tumour: dict[str, float | str] = {
        "nodules": nodules,
        "largest_mm": largest_mm,
        "macrovascular": "present" if invades else "absent",
        "extrahepatic": "present" if spread else "absent",
    }
    stage = value("BCLC", **tumour, ECOG=ecog, CHILD_PUGH_CLASS=liver)
    within = value("MILAN", **tumour) == "within"
    if stage == "0" or (stage == "A" and nodules > 1):
        assert within
    if stage == "B":
        assert not within


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"AST": 0}, "AST is outside the plausible range 1 to 20000"),
        ({"PLT": 0}, "PLT is outside the plausible range 1 to 3000"),
        ({"PLT": float("nan")}, "PLT is not a number"),
        ({"age": 130}, "age is outside the plausible range 0 to 120"),
        ({"ALT": "high"}, "ALT is not a number"),
        ({"ALT": True}, "ALT is not a number"),
    ],
)
def test_implausible_input_gives_its_reason_and_no_value(
    change: dict[str, float | str], reason: str
) -> None:
    """Nothing is clipped; the entries that were looked at are still named."""
    told: dict[str, float | str] = {"age": 50, "AST": 40, "ALT": 36, "PLT": 200}
    found = derive("FIB4", measured(**{**told, **change}))
    assert found == Derived(
        name="FIB4",
        value=None,
        unit="1",
        formula=SCORES["FIB4"].formula,
        used=("k/age", "k/AST", "k/ALT", "k/PLT"),
        reason=reason,
    )


@pytest.mark.parametrize(
    ("name", "told", "reason"),
    [
        ("NLR", {"NEU": 3.0, "LYM": 0}, "LYM is 0: no ratio"),
        ("PLR", {"PLT": 3.0, "LYM": 0}, "LYM is 0: no ratio"),
        ("APRI", {}, "AST is missing; PLT is missing"),
        ("MILAN", {"nodules": 1.5}, "nodules is not a whole number"),
        ("MILAN", {"extrahepatic": "maybe"}, "extrahepatic is none of present, absent"),
        (
            "CHILD_PUGH_CLASS",
            {**LIVER, "ascites": "some"},
            "ascites is none of absent, slight, moderate",
        ),
    ],
)
def test_every_absent_value_has_a_reason(
    name: str, told: dict[str, float | str], reason: str
) -> None:
    """Zero, missing, fractional and unknown words."""
    found = derive(name, measured(**told))
    assert (None, reason) == (found.value, found.reason)


def test_the_registry_names_what_each_score_takes() -> None:
    """As a manifest writes it: `of = ["age", "AST", "ALT", "PLT"]`."""
    assert ("age", "AST", "ALT", "PLT") == tuple(SCORES["FIB4"].inputs)
    assert {
        "FIB4", "APRI", "ALBI", "ALBI_GRADE", "NLR", "PLR", "CHILD_PUGH", "CHILD_PUGH_CLASS",
        "BCLC", "MILAN", "AJCC8_COLORECTAL", "AJCC8_LIVER", "AJCC8_BREAST",
    } == set(SCORES)  # fmt: skip
    with pytest.raises(KeyError):
        derive("MELD", {})


def test_undecided_is_told_by_the_functions_too() -> None:
    """Whoever calls one directly sees why."""
    assert Undecided("no nodule was counted") == liver.bclc(0, 0, "absent", "absent", 0, "A")


@pytest.mark.parametrize("name", SCORES)
def test_every_score_and_its_parts_are_documented(name: str) -> None:
    """inference/packs/README.md: one row, with the ids that the score takes."""
    readme = Path(inference.__file__).parent / "packs" / "README.md"
    [row] = [
        line for line in readme.read_text("utf-8").splitlines()
        if line.startswith("| ") and f"`{name}`" in line.split("|")[1]
    ]  # fmt: skip
    assert all(f"`{part}`" in row for part in SCORES[name].inputs)
