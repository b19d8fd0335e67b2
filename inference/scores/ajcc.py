"""Stage groups of TNM categories: AJCC, 8th edition, anatomic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from inference.scores.undecided import Undecided


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

    @property
    def answers(self) -> tuple[str, ...]:
        """Every group, and the bare numeral of those that are subdivided."""
        groups = dict.fromkeys(row[0] for row in self.rows)
        return tuple(dict.fromkeys(name for g in groups for name in (g, g.rstrip("ABC"))))

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

COLORECTAL = _Staging(
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
LIVER = _Staging(
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
BREAST = _Staging(
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
    return _stage(COLORECTAL, t, n, m)


def ajcc8_liver(t: str, n: str, m: str) -> str | Undecided:
    """Stage group of a hepatocellular carcinoma, `IA` to `IVB`; T1 without a letter gives `I`.

    Source: AJCC Cancer Staging Manual, 8th edition (2017), chapter 22.
    """
    return _stage(LIVER, t, n, m)


def ajcc8_breast(t: str, n: str, m: str) -> str | Undecided:
    """Anatomic stage group of a breast carcinoma, `0` to `IV`; no grade, no receptors.

    Source: AJCC Cancer Staging Manual, 8th edition (2017, breast chapter of 2018), chapter 48.
    """
    return _stage(BREAST, t, n, m)


def categories(letter: str) -> tuple[str, ...]:
    """Every category of T, N or M that a table knows, by its digit alone too, and `X`."""
    listed = {
        category
        for staging in (COLORECTAL, LIVER, BREAST)
        for category in (*staging.t, *staging.n, *staging.m, *staging.finer)
        if category.startswith(letter)
    }
    coarse = {category[:2] for category in listed if category[1].isdigit()}
    return tuple(sorted(listed | coarse | {f"{letter}X"}))
