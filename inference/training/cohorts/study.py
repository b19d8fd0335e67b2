"""A study as a declaration: sites, latents, what measures them, and what they lead to.

A patient is a handful of correlated standard normal latents. Each thing a hospital would hold is a
measurement of one of them with noise of its own; the outcome is a predictor of the latents. No
measurement reads the outcome. How patients are made of a declaration is in `drawing`.

Source: model-rules 8; models.md 4.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from inference.training.cohorts import ages
from inference.training.cohorts.classes import Classes
from inference.training.cohorts.errors import BadDeclaration
from inference.training.cohorts.narrative import Grammar, Language
from inference.training.cohorts.outcome import Outcome, Rate
from inference.training.cohorts.prognosis import Prognosis
from inference.training.cohorts.slide import Stains
from inference.training.cohorts.volume import Anatomy, Scanner
from mappings.record import Code

Doubles = NDArray[np.float64]
Set = Literal["internal", "external", "stress", "natural-low", "natural-mid", "natural-high"]
SETS: tuple[Set, ...] = (
    "internal",
    "external",
    "stress",
    "natural-low",
    "natural-mid",
    "natural-high",
)
Scale = Literal["log", "linear", "logit"]
Kind = Literal["observation", "condition", "demographic", "gene"]


def rate_of(which: Set) -> Rate:
    """The base rate a set has."""
    if which == "internal" or which == "external" or which == "stress":  # noqa: PLR1714  narrows
        return "development"
    return which


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What differs between hospitals.

    Attributes:
        shift: Added to the headline's logit or log hazard; its sign turns in the external set.
        habit: Added to the probability that an optional panel was not done.
        stain_spread: SD of the log strength of a stain from slide to slide.
    """

    name: str
    language: Language
    shift: float
    scanner: Scanner
    habit: float
    stain_spread: float = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """What is done or not done together.

    Attributes:
        missing: Probability that it was not done at a site without habits; 0 is always done.
        by_age: Change of that probability from the youngest to the oldest patients.
        mnar: Latent and slope: in the stress set, those with more of it are examined less.
        unless: An earlier panel; where that was not done, this one always was.
    """

    name: str
    modality: str
    missing: float = 0.0
    by_age: float = 0.0
    mnar: tuple[str, float] | None = None
    unless: str | None = None


@dataclass(frozen=True, slots=True)
class Unit:
    """How one language's sites report an assay: factor from the canonical unit, and decimals."""

    loinc: str
    unit: str
    factor: float
    decimals: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Assay:
    """A number: mean + slope * latent + noise on its own scale.

    Attributes:
        scale: `log` of the canonical value, the value itself, or for bounded values the logit of
            where it lies between `low` and `high`.
        days: When it was measured, from the index.
        by_age: Drawn around the published median of the patient's age and sex; `mean` is adults'.
    """

    name: str
    panel: str
    latent: str
    mean: float
    slope: float
    noise: float
    zh: Unit
    en: Unit
    scale: Scale = "log"
    low: float = 0.0
    high: float = 1.0
    kind: Kind = "observation"
    days: int = -3
    by_age: bool = False

    def unit(self, language: Language) -> Unit:
        """As this language's sites report it."""
        return self.zh if language == "zh" else self.en

    def value(self, scaled: Doubles) -> Doubles:
        """Canonical value of a number on the assay's scale."""
        if self.scale == "log":
            return np.exp(scaled)
        if self.scale == "linear":
            return scaled
        made: Doubles = self.low + (self.high - self.low) / (1 + np.exp(-scaled))
        return made

    def scaled(self, value: Doubles) -> Doubles:
        """Inverse of `value`."""
        if self.scale == "log":
            return np.log(value)
        if self.scale == "linear":
            return value
        share = (value - self.low) / (self.high - self.low)
        made: Doubles = np.log(share / (1 - share))
        return made


@dataclass(frozen=True, slots=True)
class Answer:
    """One category of a graded finding: its code, or None where its absence says it."""

    code: Code | None
    en: str
    zh: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """A coded finding as an ordered probit: slope * latent + N(0, 1), cut.

    Attributes:
        cuts: Ascending; one fewer than answers.
        loinc: What was asked; blank for conditions and sex.
        variants: For genes: HGVS names, one of which a carrier has.
    """

    name: str
    panel: str
    latent: str
    slope: float
    cuts: tuple[float, ...]
    answers: tuple[Answer, ...]
    loinc: str = ""
    kind: Kind = "observation"
    variants: tuple[str, ...] = ()
    days: int = -3


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrative:
    """A report of a noisy reader of one latent."""

    name: str
    panel: str
    latent: str
    grammar: Grammar
    loinc: str
    days: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One thing a picture shows: latent + N(0, noise) of biology, then the picture's own noise.

    Attributes:
        pixel_sd: What the picture adds for the best reader, root mean square over patients, at a
            scanner noise of 10; used where a picture is not rendered, checked against the renderer.
        spatial: Only places tell it: counts and statistics of the whole slide do not.
    """

    name: str
    latent: str
    noise: float
    pixel_sd: float
    spatial: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image as a measurement; `shows` says how its components are realised.

    Attributes:
        lacking: Channels that were not always acquired, and how often at a site without habits.
    """

    name: str
    panel: str
    components: tuple[Component, ...]
    shows: Anatomy | Stains
    days: int = -10
    lacking: tuple[tuple[str, float], ...] = ()

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of channels or stains, in order."""
        return self.shows.channels


@dataclass(frozen=True, slots=True)
class Derived:
    """A coded fact that follows from graded ones, such as a stage group from T and N."""

    name: str
    inputs: tuple[str, ...]
    loinc: str
    rule: Callable[..., int]
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTable:
    """How causes stand in the registry, and how they are read back from it.

    Attributes:
        codes: ICD-10 code of each cause, the headline first.
        describe: What the registrar notes of an event of a cause (from 1), at an age in years, by
            a random stream; `icd10` among it is told instead of the cause's own code.
        cause_of: Cause of an event of a code with such notes; without it, the code decides.
        none: ICD-10 codes that pathology gives to those without the headline, one of them each.
    """

    codes: tuple[str, ...]
    none: tuple[str, ...] = ()
    describe: Callable[[int, int, np.random.Generator], Mapping[str, Any]] | None = None
    cause_of: Callable[[str, Mapping[str, Any]], int] | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """What a model of this study may read, by modality; its lock in days from the index."""

    name: str
    modalities: frozenset[str]
    lock_days: int


@dataclass(frozen=True, slots=True)
class Baseline:
    """A naive score: a regression on named assays and graded findings alone."""

    name: str
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A study.

    Attributes:
        name: As in `oncord cohort check NAME`.
        registry: Its record at ClinicalTrials.gov.
        version: Changes whenever any emitted byte does.
        index: What day 0 is.
        correlation: Between any two latents.
        bar: Least and greatest figure of the full bound (clause a).
        concordance: The bar is a C-index, not an AUC at the horizon.
        judged: Modalities that each must add to the others (clause b).
        places: What the spatial components must add to the full bound (model-rules 5).
        only_sex: Emitted when sex is no measurement.
        prognosis: What follows the operation of those with the headline.
        free_of: A study of the same latents and hospitals, but for their prevalences; who has
            its headline at the index is none of this cohort.
        gap_days: Days before the index of which nothing is told, in cases and controls alike;
            0 without a gap.
        wait_days: At most so much longer ago was the last examination, evenly.
    """

    name: str
    registry: str
    version: str
    index: str
    latents: tuple[str, ...]
    correlation: float
    sites: tuple[Site, ...]
    panels: tuple[Panel, ...]
    assays: tuple[Assay, ...]
    graded: tuple[Graded, ...]
    pictures: tuple[Picture, ...]
    outcome: Outcome
    registry_events: EventTable
    profiles: tuple[Profile, ...]
    baselines: tuple[Baseline, ...]
    judged: tuple[str, ...]
    bar: tuple[float, float]
    narratives: tuple[Narrative, ...] = ()
    derived: tuple[Derived, ...] = ()
    concordance: bool = False
    places: float = 0.0
    only_sex: Literal["female", "male"] | None = None
    prognosis: Prognosis | None = None
    free_of: Study | None = None
    gap_days: int = 0
    wait_days: int = 0

    def __post_init__(self) -> None:
        panels = {p.name for p in self.panels}
        parts: tuple[Measurement, ...]
        parts = (*self.assays, *self.graded, *self.narratives, *self.pictures)
        for part in parts:
            self._has("panel", part.name, part.panel, panels)
        single: tuple[Assay | Graded | Narrative, ...]
        single = (*self.assays, *self.graded, *self.narratives)
        for one in single:
            self._has("latent", one.name, one.latent, self.latents)
        for picture in self.pictures:
            for component in picture.components:
                self._has("latent", picture.name, component.latent, self.latents)
        later = self.prognosis.predictors if self.prognosis else ()
        for terms in (*self.outcome.predictors, *later):
            for name in terms.names:
                self._has("latent", "outcome", name, self.latents)
        for question in self.graded:
            if len(question.answers) != len(question.cuts) + 1:
                raise BadDeclaration(self.name, question.name, "one answer more than cuts")
        self._in_order()
        ages.check(self)

    def _in_order(self) -> None:
        for place, panel in enumerate(self.panels):
            if panel.unless is not None:
                earlier = {p.name for p in self.panels[:place]}
                self._has("panel before it", panel.name, panel.unless, earlier)

    def _has(self, what: str, at: str, name: str, known: set[str] | tuple[str, ...]) -> None:
        if name not in known:
            raise BadDeclaration(self.name, at, f"a {what} that is declared, not {name!r}")

    @property
    def tabular(self) -> frozenset[str]:
        """Modalities without picture or prose."""
        pictured = {self.modality(p) for p in self.pictures}
        rich = pictured | {self.modality(n) for n in self.narratives}
        return frozenset(self.modalities) - rich

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those that may be left out, in order of declaration; demographics always stay."""
        names = dict.fromkeys(p.modality for p in self.panels)
        return tuple(n for n in names if n != DEMOGRAPHICS)

    @property
    def headline_causes(self) -> int:
        """How many causes, from the first, are the headline: the kinds of a diagnosis, else one."""
        return len(self.outcome.kinds) if isinstance(self.outcome, Classes) else 1

    def panel(self, name: str) -> Panel:
        """A panel by name."""
        return next(p for p in self.panels if p.name == name)

    def modality(self, part: Measurement) -> str:
        """The modality that a measurement belongs to."""
        return self.panel(part.panel).modality

    def column(self, latent: str) -> int:
        """Where a latent stands."""
        return self.latents.index(latent)


Measurement: TypeAlias = Assay | Graded | Narrative | Picture
DEMOGRAPHICS = "demographics"
