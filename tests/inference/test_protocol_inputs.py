"""Inputs of protocols: scores, answers, histories, genes; what serves them, and why nothing does."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from study_facts import COLECTOMY, LABS, NOW, T0, born, coded, entry

from inference import features, matching, protocol_reading
from inference.manifest import Cues, Lexicon
from mappings.record import Entry, PatientRecord, Quantity, Text, When


def found(name: str, *entries: Entry, t0: datetime = T0) -> dict[str, features.Found]:
    """What serves each input of a protocol."""
    record = PatientRecord.of(entries, as_of=NOW)
    return features.find_all(protocol_reading.shipped()[name].inputs, record, t0, NOW)


def quantity(name: str, text: str, days: float = -3, comparator: str | None = None) -> Entry:
    """A laboratory value."""
    code, unit = {**LABS, "NEU": ("751-8", "10*3/uL"), "LYM": ("731-0", "10*3/uL")}[name]
    return entry("observation", code, days, Quantity(Decimal(text), unit, text, "", comparator))


def test_a_score_rests_on_what_went_into_it() -> None:
    """FIB-4 of 55 years, AST 80, ALT 64, PLT 100: 5.5, with the keys of all four."""
    told = [*born(1970), quantity("AST", "80"), quantity("ALT", "64"), quantity("PLT", "100")]
    made = found("hcc_ar_post", *told)["FIB4"]
    assert isinstance(made.value, float)
    years = matching.age_years(When(datetime(1970, 6, 1), "day"), T0)
    assert sum(years) / 2 * 80 / (100 * 8) == pytest.approx(made.value)
    assert {e.key for e in made.entries} == {e.key for e in told if e.key != "patient/sex"}


def test_a_score_without_a_part_says_which() -> None:
    """No platelets, no FIB-4."""
    made = found("hcc_ar_post", *born(), quantity("AST", "80"), quantity("ALT", "64"))["FIB4"]
    assert not made.there
    assert "PLT" in made.reason


def test_a_score_of_a_value_at_the_end_of_an_assay_says_so() -> None:
    """AST below its detection limit: FIB-4 is at a limit, too."""
    p = protocol_reading.shipped()["hcc_ar_post"]
    told = [*born(), quantity("AST", "5", comparator="<"), quantity("ALT", "9")]
    record = PatientRecord.of([*told, quantity("PLT", "200")], as_of=NOW)
    lexicon = Lexicon(
        findings=(), negation=Cues(before={}, after={}), hedge=Cues(before={}, after={}), breaks=()
    )
    made = features.read(p, lexicon, record, T0, NOW)
    assert {"AST", "FIB4", "APRI"} == set(made.comparators)


@pytest.mark.parametrize(
    ("answer", "expected"), [("pT3", "T3"), ("pT1a", "T1a"), ("pTx", None), ("侵及浆膜", None)]
)
def test_an_answer_is_one_of_the_words_or_missing(answer: str, expected: str | None) -> None:
    """As pathologists write it; another word is never guessed."""
    made = found("crlm_2y", COLECTOMY, coded("21899-0", answer))["pT"]
    assert expected == made.value
    assert made.there == (expected is not None)


def test_a_history_is_told_or_declared_absent() -> None:
    """Hepatitis B that nobody told counts as none; tobacco that nobody told is unknown."""
    told = found("pan_cancer_now", entry("condition", "B18.104", -900))
    assert 1.0 == told["hepatitis_b"].value
    nothing = found("pan_cancer_now")
    assert (0.0, ()) == (nothing["hepatitis_b"].value, nothing["hepatitis_b"].entries)
    assert not nothing["smoking"].there
    ancient = found("pan_cancer_now", entry("condition", "B18.104", -9000))
    assert not ancient["hepatitis_b"].there


def test_a_gene_that_was_not_tested_is_missing() -> None:
    """Never 0."""
    made = found("pan_cancer_now", *born())["germline"]
    assert not made.there
    assert "BRCA1" in made.reason


def child(years: float) -> list[Entry]:
    """A girl so many years before the index."""
    born_at = T0 - timedelta(days=years * 365.2425)
    day = When(datetime(born_at.year, born_at.month, born_at.day), "day")
    return [
        entry("patient", "", None, day, key="patient/birth_date"),
        entry("patient", "", None, Text("female"), key="patient/sex"),
    ]


def test_a_value_is_judged_by_age_and_sex() -> None:
    """Haemoglobin of 12 g/dL: usual at four years, low in a woman; 1.96 at the limit."""
    girl, woman = (
        found("pan_cancer_now", *child(years), quantity("HGB", "12"), t0=T0)["HGB"]
        for years in (4, 40)
    )
    assert girl.scaled is not None
    assert woman.scaled is not None
    assert -1.96 < girl.scaled < 0
    assert -1.96 < woman.scaled < girl.scaled
    at_limit = found("pan_cancer_now", *child(40), quantity("HGB", "11.5"))["HGB"]
    assert pytest.approx(-1.96, abs=0.01) == at_limit.scaled
    assert {"patient/birth_date", "patient/sex"} < {e.key for e in girl.entries}


@pytest.mark.parametrize(
    ("who", "reason"),
    [
        ([], "the age is not known"),
        (child(0.02), "no reference interval for this age and sex"),
    ],
)
def test_a_value_that_nobody_can_judge_is_missing(who: list[Entry], reason: str) -> None:
    """Without a birth date, and in the first four weeks."""
    made = found("pan_cancer_now", *who, quantity("HGB", "12"))["HGB"]
    assert (None, True) == (made.scaled, reason in made.reason)
