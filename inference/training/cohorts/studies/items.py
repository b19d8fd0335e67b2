"""Measurements that several studies declare: assays with LOINC and units, and graded findings.

Source: models.md 1.0 (dictionary of codes, units and ranges).
"""

from __future__ import annotations

from math import log

from inference.training.cohorts.narrative import Language
from inference.training.cohorts.study import DEMOGRAPHICS, Answer, Assay, Graded, Panel, Site, Unit
from inference.training.cohorts.volume import Scanner
from mappings.codes import ICD10, LOCAL, LOINC
from mappings.record import Code

AJCC = f"{LOCAL}AJCC8"
EDMONDSON = f"{LOCAL}EDMONDSON"
YES = Answer(Code(LOINC, "LA9633-4"), "Present", "阳性")
NO = Answer(Code(LOINC, "LA9634-2"), "Absent", "阴性")

_UNITS: dict[str, tuple[Unit, Unit]] = {
    # name: Chinese sites, English sites
    "AFP": (Unit("1834-1", "ng/mL", 1.0, 1), Unit("1834-1", "ng/mL", 1.0, 1)),
    "DCP": (Unit("34444-0", "ng/mL", 1.0, 2), Unit("34444-0", "ng/mL", 1.0, 2)),
    "CEA": (Unit("2039-6", "ng/mL", 1.0, 2), Unit("2039-6", "ug/L", 1.0, 1)),
    "CA199": (Unit("24108-3", "U/mL", 1.0, 1), Unit("24108-3", "k[IU]/L", 1.0, 1)),
    "CA125": (Unit("10334-1", "U/mL", 1.0, 1), Unit("10334-1", "k[IU]/L", 1.0, 1)),
    "ALB": (Unit("1751-7", "g/L", 10.0, 1), Unit("1751-7", "g/dL", 1.0, 2)),
    "TBIL": (Unit("14631-6", "umol/L", 17.104, 1), Unit("1975-2", "mg/dL", 1.0, 2)),
    "ALT": (Unit("1742-6", "U/L", 1.0, 0), Unit("1742-6", "U/L", 1.0, 0)),
    "AST": (Unit("1920-8", "U/L", 1.0, 0), Unit("1920-8", "U/L", 1.0, 0)),
    "ALP": (Unit("6768-6", "U/L", 1.0, 0), Unit("6768-6", "U/L", 1.0, 0)),
    "GGT": (Unit("2324-2", "U/L", 1.0, 0), Unit("2324-2", "U/L", 1.0, 0)),
    "PLT": (Unit("777-3", "10*9/L", 1.0, 0), Unit("777-3", "10*3/uL", 1.0, 0)),
    "INR": (Unit("6301-6", "1", 1.0, 2), Unit("6301-6", "1", 1.0, 2)),
    "HGB": (Unit("718-7", "g/L", 10.0, 0), Unit("718-7", "g/dL", 1.0, 1)),
    "LDH": (Unit("2532-0", "U/L", 1.0, 0), Unit("2532-0", "U/L", 1.0, 0)),
    "CRP": (Unit("1988-5", "mg/L", 1.0, 1), Unit("1988-5", "mg/dL", 0.1, 2)),
    "NEU": (Unit("751-8", "10*9/L", 1.0, 2), Unit("751-8", "10*3/uL", 1.0, 1)),
    "LYM": (Unit("731-0", "10*9/L", 1.0, 2), Unit("731-0", "10*3/uL", 1.0, 2)),
    "CREA": (Unit("2160-0", "umol/L", 88.42, 0), Unit("2160-0", "mg/dL", 1.0, 2)),
    "size": (Unit("21889-1", "mm", 1.0, 0), Unit("21889-1", "cm", 0.1, 1)),
    "BMI": (Unit("39156-5", "kg/m2", 1.0, 1), Unit("39156-5", "kg/m2", 1.0, 1)),
    "Ki67": (Unit("85330-9", "%", 1.0, 0), Unit("85330-9", "%", 1.0, 0)),
}


def assay(
    name: str,
    panel: str,
    latent: str,
    mean: float,
    slope: float,
    noise: float,
    *,
    days: int = -3,
    by_age: bool = False,
) -> Assay:
    """A laboratory value on the logarithm of its canonical unit; `by_age` as in `Assay`."""
    zh, en = _UNITS[name]
    return Assay(
        name=name,
        panel=panel,
        latent=latent,
        mean=mean,
        slope=slope,
        noise=noise,
        zh=zh,
        en=en,
        days=days,
        by_age=by_age,
    )


def percentage(
    name: str, panel: str, latent: str, mean: float, slope: float, noise: float, *, days: int
) -> Assay:
    """A share in per cent, on its logit."""
    zh, en = _UNITS[name]
    return Assay(
        name=name,
        panel=panel,
        latent=latent,
        mean=mean,
        slope=slope,
        noise=noise,
        zh=zh,
        en=en,
        scale="logit",
        low=0.0,
        high=100.0,
        days=days,
    )


def age(latent: str, low: int, high: int, mean: float, slope: float, noise: float = 0.75) -> Assay:
    """Age in whole years between the study's limits; mean in years."""
    share = (mean - low) / (high - low)
    unit = Unit("30525-0", "a", 1.0, 0)
    return Assay(
        name="age",
        panel=DEMOGRAPHICS,
        latent=latent,
        mean=_logit(share),
        slope=slope,
        noise=noise,
        zh=unit,
        en=unit,
        scale="logit",
        low=float(low),
        high=float(high + 1),
        kind="demographic",
        days=0,
    )


def _logit(share: float) -> float:
    return log(share / (1 - share))


def sex(latent: str, slope: float, male_above: float) -> Graded:
    """Male where the probit lies above a cut."""
    return Graded(
        name="sex",
        panel=DEMOGRAPHICS,
        latent=latent,
        slope=slope,
        cuts=(male_above,),
        answers=(Answer(None, "female", "female"), Answer(None, "male", "male")),
        kind="demographic",
        days=0,
    )


def staged(
    name: str,
    panel: str,
    latent: str,
    slope: float,
    cuts: tuple[float, ...],
    answers: tuple[str, ...],
    loinc: str,
    *,
    days: int,
    system: str = AJCC,
) -> Graded:
    """A category by the names of its own system, such as pT1 to pT4."""
    return Graded(
        name=name,
        panel=panel,
        latent=latent,
        slope=slope,
        cuts=cuts,
        answers=tuple(Answer(Code(system, a), a, a) for a in answers),
        loinc=loinc,
        days=days,
    )


def yes_no(
    name: str, panel: str, latent: str, slope: float, cut: float, loinc: str, *, days: int
) -> Graded:
    """A finding that is there or not."""
    return Graded(
        name=name,
        panel=panel,
        latent=latent,
        slope=slope,
        cuts=(cut,),
        answers=(NO, YES),
        loinc=loinc,
        days=days,
    )


def diagnosis(
    name: str, panel: str, latent: str, slope: float, cut: float, icd10: str, words: tuple[str, str]
) -> Graded:
    """A condition of the history, told only where there is one."""
    return Graded(
        name=name,
        panel=panel,
        latent=latent,
        slope=slope,
        cuts=(cut,),
        answers=(Answer(None, "", ""), Answer(Code(ICD10, icd10), words[0], words[1])),
        kind="condition",
        days=-400,
    )


def gene(
    name: str, panel: str, latent: str, slope: float, cut: float, variants: tuple[str, ...]
) -> Graded:
    """A pathogenic variant that is there or not."""
    return Graded(
        name=name,
        panel=panel,
        latent=latent,
        slope=slope,
        cuts=(cut,),
        answers=(NO, YES),
        loinc="69548-6",
        kind="gene",
        variants=variants,
        days=-20,
    )


def always() -> Panel:
    """Age and sex."""
    return Panel(name=DEMOGRAPHICS, modality=DEMOGRAPHICS)


def hospitals(shift: float, gain: float = 0.02) -> tuple[Site, ...]:
    """Four hospitals, two languages: prevalence, scanner and missingness move together."""
    languages: tuple[Language, ...] = ("zh", "zh", "en", "en")
    parts = (
        (shift, Scanner(9.5, 0, gain, 3.0), -0.05, 0.10),
        (shift / 3, Scanner(11.0, 1, gain, 4.0), 0.03, 0.15),
        (-shift / 3, Scanner(10.0, 0, 1.5 * gain, 3.0), -0.02, 0.15),
        (-shift, Scanner(12.5, 1, 1.5 * gain, 5.0), 0.05, 0.20),
    )
    return tuple(
        Site(name=f"site-{n}", language=lang, shift=s, scanner=c, habit=h, stain_spread=g)
        for n, lang, (s, c, h, g) in zip((1, 2, 3, 4), languages, parts, strict=True)
    )
