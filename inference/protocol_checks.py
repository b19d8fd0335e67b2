"""What the keys of a protocol must say of each other; above all, nothing reads past its lock."""

from __future__ import annotations

from collections.abc import Sequence

from inference import reference_intervals
from inference.protocol import (
    TRENDS,
    AllInputs,
    Contrast,
    FollowUp,
    Imaging,
    Input,
    Protocol,
    Rule,
    ScoreIs,
    Selector,
    Window,
    selectors,
)
from inference.scores import SCORES
from inference.toml_table import Table
from mappings.codes import is_question, is_snomed
from mappings.units import normalise

# What is known only from the resected specimen: pathology reports, pT, pN, margins, MVI and LVI.
_POSTOPERATIVE = frozenset(
    {"11526-1", "60568-3", "21899-0", "21900-6", "21901-4", "21902-2", "84892-9", "33739-4"}
    | {"59544-7", "92837-4", "21893-3", "21894-1"}
)
_QUESTIONS = "codes of LOINC, SNOMED CT or tables/questions.csv"
# Where a code of digits alone is SNOMED CT's; of medications it may be RxNorm's.
_OF_SNOMED = frozenset({"condition", "procedure", "specimen"})
_LEAST_SNOMED = 6
_REPORTS = frozenset({"11526-1", "60568-3"})


def agree(p: Protocol, doc: Table) -> None:
    """Check a protocol against itself.

    Raises:
        ManifestRefused: Names the key that contradicts another.
    """
    ids = [i.id for i in p.inputs]
    for n, i in enumerate(p.inputs):
        here = f"inputs[{n}]"
        if i.id in ids[:n]:
            raise doc.refuse(f"{here}.id", "an id that occurs once")
        if i.modality not in p.modalities:
            raise doc.refuse(f"{here}.modality", "a name of pack.modalities")
        if p.lock.before is not None and _POSTOPERATIVE.intersection(i.codes):
            raise doc.refuse(f"{here}.codes", "nothing that a resection tells")
        _ends_at_the_lock(p, doc, here, i.window_days)
        _known_terms(doc, here, i)
        _sound_statistic(doc, here, i)
        if i.kind == "score":
            _known_score(doc, here, i, p.inputs[:n])
    for n, rule in enumerate(p.rules):
        _agree_on_rule(p, doc, f"rules[{n}]", rule)
    _sound_concepts(doc, "index", p.index.codes)
    for name, selector in (("before", p.lock.before), ("after", p.lock.after)):
        if selector is not None:
            _sound_selector(doc, f"lock.{name}", selector)


def _agree_on_rule(p: Protocol, doc: Table, here: str, rule: Rule) -> None:
    test = rule.test
    match test:
        case AllInputs() if not set(test.inputs) <= {i.id for i in p.inputs}:
            raise doc.refuse(f"{here}.inputs", "ids of [[inputs]]")
        case ScoreIs():
            _known_categories(p, doc, here, test)
        case Contrast() if p.index.on != "study":
            raise doc.refuse(f"{here}.test", "an index that is a study")
    for selector in selectors(test):
        _sound_selector(doc, here, selector)
    if rule.scope != "analyse":
        _knowable_at_the_lock(p, doc, here, rule)


def _sound_selector(doc: Table, here: str, selector: Selector) -> None:
    """A mistyped code would wait for ever."""
    if selector.kind == "observation" and not all(map(is_question, selector.codes)):
        raise doc.refuse(f"{here}.codes", f"whole {_QUESTIONS} for observations")
    if selector.kind in _OF_SNOMED:
        _sound_concepts(doc, here, selector.codes)


def _sound_concepts(doc: Table, here: str, codes: Sequence[str]) -> None:
    for code in codes:
        if len(code) >= _LEAST_SNOMED and code.isdigit() and not is_snomed(code):
            raise doc.refuse(f"{here}.codes", f"{code} with SNOMED CT's check digit")


def _knowable_at_the_lock(p: Protocol, doc: Table, here: str, rule: Rule) -> None:
    test = rule.test
    if isinstance(test, FollowUp):
        raise doc.refuse(f"{here}.scope", "analyse: follow-up comes after the lock")
    if isinstance(test, Imaging):
        _ends_at_the_lock(p, doc, here, test.window_days)
    for selector in selectors(test):
        _ends_at_the_lock(p, doc, here, selector.window_days)
        if p.lock.after is None and _REPORTS.intersection(selector.codes):
            raise doc.refuse(f"{here}.scope", "analyse: pathology is the label here")


def _ends_at_the_lock(p: Protocol, doc: Table, here: str, window: Window | None) -> None:
    if window is not None and window[1] > p.lock.days:
        expected = f"a window that ends by the lock, day {p.lock.days}"
        raise doc.refuse(f"{here}.window_days", expected)


def _known_score(doc: Table, here: str, i: Input, above: Sequence[Input]) -> None:
    """A score of another name, or of inputs that come later, would be missing for ever."""
    score = SCORES.get(i.score)
    if score is None:
        raise doc.refuse(f"{here}.score", f"one of {', '.join(SCORES)}")
    fit = {one.id for one in above if one.statistic not in TRENDS}
    for name in i.of:
        if name not in fit:
            raise doc.refuse(f"{here}.of", f"ids of inputs above, no trends; {name} is none")
    if not set(i.tokens) >= set(score.categories):
        raise doc.refuse(f"{here}.tokens", f"a number for each of {', '.join(score.categories)}")


def _known_categories(p: Protocol, doc: Table, here: str, test: ScoreIs) -> None:
    """A word that the score never answers would never be met."""
    scored = next((i for i in p.inputs if i.id == test.input and i.kind == "score"), None)
    if scored is None or not SCORES[scored.score].categories:
        raise doc.refuse(f"{here}.input", "the id of an input that is a score of categories")
    categories = SCORES[scored.score].categories
    if not test.values or not set(test.values) <= set(categories):
        raise doc.refuse(f"{here}.values", f"some of {', '.join(categories)}")


_TREND_DAYS = 2


def _sound_statistic(doc: Table, here: str, i: Input) -> None:
    """Only numbers have one, and one day has no direction."""
    if i.statistic != "last" and i.kind != "quantity":
        raise doc.refuse(f"{here}.statistic", "an input that is a quantity")
    if i.statistic in TRENDS and i.distinct_days < _TREND_DAYS:
        raise doc.refuse(f"{here}.distinct_days", f"{_TREND_DAYS} days or more")


def _by_age(doc: Table, here: str, i: Input) -> None:
    if i.kind != "quantity" or not set(i.codes) <= reference_intervals.codes():
        raise doc.refuse(f"{here}.transform", "a quantity whose codes have reference intervals")
    if i.statistic != "last":
        raise doc.refuse(f"{here}.statistic", "last: several values have no one age")


def _known_terms(doc: Table, here: str, i: Input) -> None:
    """A unit that nobody defined converts to nothing; a mistyped code would wait for ever."""
    if i.transform == "zscore_by_age":
        _by_age(doc, here, i)
    if i.kind == "quantity" and normalise(i.unit, {}) != i.unit:
        raise doc.refuse(f"{here}.unit", "a UCUM unit")
    for code in i.codes if i.kind != "history" else ():
        if not is_question(code):
            raise doc.refuse(
                f"{here}.codes",
                f"codes of LOINC, SNOMED CT or tables/questions.csv; {code} is none",
            )
