"""Protocols: what they refuse, and every rule of the five studies on records that fit and do not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count

import pytest

from inference import eligibility, features, protocol
from inference.eligibility import Readiness
from inference.errors import ManifestRefused
from inference.manifest import Cues, Lexicon
from inference.protocol import FOLDER, Protocol
from inference.rules import StudySummary
from inference.toml_table import document
from mappings.record import (
    Code,
    Coded,
    Entry,
    Identifier,
    Kind,
    PatientRecord,
    Quantity,
    Source,
    Text,
    Value,
    When,
)

T0 = datetime(2026, 3, 4, 9, tzinfo=UTC)
NOW = T0 + timedelta(days=20)
WHO = Identifier("SYN-1", "https://hospital.example/ns/mrn")
ALL = sorted(path.stem for path in FOLDER.glob("*.toml"))
LABS = {
    "AFP": ("1834-1", "ng/mL"), "DCP": ("34444-0", "ng/mL"), "CEA": ("2039-6", "ng/mL"),
    "CA199": ("24108-3", "U/mL"), "ALB": ("1751-7", "g/dL"), "TBIL": ("1975-2", "mg/dL"),
    "ALT": ("1742-6", "U/L"), "AST": ("1920-8", "U/L"), "PLT": ("777-3", "10*3/uL"),
    "INR": ("6301-6", "1"), "HGB": ("718-7", "g/dL"), "CREA": ("2160-0", "mg/dL"),
}  # fmt: skip
USUAL = {"ALB": "4.1", "TBIL": "0.8", "INR": "1.0", "HGB": "13", "CREA": "0.9"}
_number = count(1)


def entry(
    kind: Kind, code: str, days: float | None = 0, value: Value | None = None, **changes: object
) -> Entry:
    """One fact, so many days from the index."""
    number = next(_number)
    parts: dict[str, object] = {
        "kind": kind, "key": f"{kind}/{code}/{number}", "patient": WHO, "path": "X",
        "source": Source("his", number, T0 - timedelta(days=300)), "seq": number, "value": value,
        "code": Code("urn:x", code) if code else None,
        "effective": When.instant(T0 + timedelta(days=days)) if days is not None else None,
    }  # fmt: skip
    return Entry(**(parts | changes))  # type: ignore[arg-type]


def lab(name: str, days: float = -3) -> Entry:
    """A laboratory value of an unremarkable size."""
    code, unit = LABS[name]
    text = USUAL.get(name, "60")
    return entry("observation", code, days, Quantity(Decimal(text), unit, text))


def coded(code: str, answer: str, days: float = 5) -> Entry:
    """A coded answer."""
    return entry("observation", code, days, Coded((Code("urn:x", answer),), answer))


def born(year: int = 1970, sex: str = "male") -> list[Entry]:
    """Who the patient is."""
    date = When(datetime(year, 6, 1), "day")
    return [
        entry("patient", "", None, date, key="patient/birth_date"),
        entry("patient", "", None, Text(sex), key="patient/sex"),
    ]


def consent(*, patient: bool = True, **details: object) -> Entry:
    """A consent that the patient, or somebody else, gave."""
    return entry(
        "consent", "59284-0", -10, details={"performers": [{"patient": patient}], **details}
    )


def study(modality: str, days: float = -5, **changes: object) -> StudySummary:
    """A complete study."""
    parts: dict[str, object] = {
        "study_instance_uid": f"2.25.{next(_number)}", "modality": modality, "complete": True,
        "started": When.instant(T0 + timedelta(days=days)),
    }  # fmt: skip
    return StudySummary(**(parts | changes))  # type: ignore[arg-type]


HEPATECTOMY = entry("procedure", "107963000")
COLECTOMY = entry("procedure", "23968004")
MASTECTOMY = entry("procedure", "5884001")
PATHOLOGY = entry("report", "60568-3", 6)
LIVER_LABS = ("AFP", "ALB", "TBIL", "ALT", "AST", "PLT", "INR")
Facts = tuple[list[Entry], list[StudySummary]]


def fitting(name: str) -> Facts:
    """A patient whom a protocol takes."""
    liver = [lab(n) for n in LIVER_LABS]
    crlm = [COLECTOMY, PATHOLOGY, consent(), entry("condition", "C18.700", -9), lab("CEA")]
    crlm += [coded("21902-2", "IIIB"), coded("84892-9", "R0")]
    crlm += [coded("21899-0", "pT3"), coded("21900-6", "pN1")]
    breast = [MASTECTOMY, PATHOLOGY, entry("condition", "C50.901", -20)]
    breast += [entry("specimen", "119376003", 0), coded("21899-0", "pT2"), coded("21900-6", "pN0")]
    breast += [coded("85337-4", "positive"), coded("85319-2", "negative")]
    pan = [consent(), entry("condition", "I10", -400)]
    pan += [lab(n, -60) for n in ("HGB", "PLT", "ALB", "ALT", "CREA")]
    post = [
        HEPATECTOMY,
        PATHOLOGY,
        entry("condition", "C22.0", -20),
        coded("84892-9", "R0"),
        *liver,
    ]
    ct, slides = study("CT"), study("SM", 4)
    return {
        "pan_cancer_now": ([*born(), *pan], []),
        "pan_cancer_1y": ([*born(), *pan], []),
        "liver_px": ([*born(), *post], [ct]),
        "breast_dm": ([*born(1975, "female"), *breast], [slides]),
        "hcc_ar_pre": ([*born(), *liver], [study("MR", 0)]),
        "hcc_ar_post": ([*born(), *post], [study("MR"), slides]),
        "crlm_2y": ([*born(), *crlm], [ct, slides]),
    }[name]


def judged(name: str, facts: Facts, as_of: datetime = NOW) -> Readiness:
    """Readiness of these facts."""
    moved = as_of if protocol.shipped()[name].index.on != "assessment" else T0
    record = PatientRecord.of(facts[0], as_of=moved)
    return eligibility.readiness(protocol.shipped()[name], record, facts[1], moved)


def verdict(name: str, rule: str, facts: Facts) -> str:
    """One rule's answer."""
    return next(r.verdict for r in judged(name, facts).rules if r.rule == rule)


def test_all_five_studies_have_protocols() -> None:
    """With the pack liver_dx every registry number of the house is there."""
    studies = {p.study for p in protocol.shipped().values()} | {"NCT07658586"}
    assert {
        "NCT06791473", "NCT07658586", "NCT07244094", "NCT07030842", "NCT07392567"
    } == studies  # fmt: skip
    assert ALL == sorted(protocol.shipped())


@pytest.mark.parametrize("name", ALL)
def test_a_fitting_patient_is_ready(name: str) -> None:
    """Every rule that gates is met, with evidence where it rests on something."""
    ready = judged(name, fitting(name))
    assert ("ready", ()) == (ready.state, ready.waiting_for), ready.waiting_for
    assert all(r.source and r.text for r in ready.rules)


@pytest.mark.parametrize("name", ALL)
def test_an_empty_record_is_never_eligible(name: str) -> None:
    """Unknown is not met: without facts a protocol waits."""
    ready = judged(name, ([], []))
    assert "waiting" == ready.state
    gating = [r for r in ready.rules if r.scope != "analyse" and r.verdict == "met"]
    assert all("nobody told of it" in r.reason or r.rule == "lock" for r in gating)


@pytest.mark.parametrize("name", ALL)
def test_only_what_is_analysed_looks_beyond_the_lock(name: str) -> None:
    """Facts of years later change no rule that gates (model-rules 1)."""
    later = [entry("condition", code, 400) for code in ("C78.7", "C22.0", "O80", "Z51.5")]
    later += [lab(n, 400) for n in LABS] + [coded("21902-2", "IV", 400)]
    entries, studies = fitting(name)
    before = {r.rule: r for r in judged(name, (entries, studies)).rules}
    after = judged(name, ([*entries, *later], studies), NOW + timedelta(days=900))
    for rule in after.rules:
        if rule.scope == "predict" and name != "hcc_ar_pre":
            assert before[rule.rule].verdict == rule.verdict, rule


def without(facts: Facts, code: str) -> Facts:
    """The facts but those of a code."""
    return [e for e in facts[0] if e.code is None or e.code.code != code], facts[1]


def with_(facts: Facts, *more: Entry) -> Facts:
    """The facts and some more."""
    return [*facts[0], *more], facts[1]


def as_if(facts: Facts, *told: Entry) -> Facts:
    """The facts with others under the same keys."""
    keys = {e.key for e in told}
    return [*(e for e in facts[0] if e.key not in keys), *told], facts[1]


PREGNANT = ("pan_cancer_now", "not_pregnant")
CASES: list[tuple[str, str, Iterable[Entry], str]] = [
    # Pan cancer: pregnancy, consent, minors.
    (*PREGNANT, born(1990, "female"), "unknown"),
    (*PREGNANT, [*born(1990, "female"), coded("82810-3", "not pregnant", -1)], "met"),
    (*PREGNANT, [*born(1990, "female"), coded("82810-3", "77386006", -1)], "not_met"),
    (*PREGNANT, [*born(1990, "female"), coded("82810-3", "not pregnant", -400)], "unknown"),
    (*PREGNANT, [*born(1990, "female"), entry("condition", "O26.901", -30)], "not_met"),
    (*PREGNANT, [*born(1990, "female"), entry("condition", "O26.901", -400)], "unknown"),
    (*PREGNANT, born(1950, "female"), "met"),
    (*PREGNANT, born(1990, "male"), "met"),
    ("pan_cancer_now", "consent", [*born(2015), consent()], "unknown"),
    ("pan_cancer_now", "consent", [*born(2015), consent(patient=False)], "met"),
    ("pan_cancer_now", "no_severe_cognitive_disorder", [entry("condition", "F03.x00", -9)], "not_met"),
    ("pan_cancer_now", "no_terminal_illness", [entry("condition", "Z51.500", -9)], "not_met"),
    ("pan_cancer_1y", "no_known_cancer", [entry("condition", "C34.900", -900)], "not_met"),
    ("pan_cancer_now", "age", born(1930), "not_met"),
    # Liver prognosis.
    ("liver_px", "radical", [coded("84892-9", "R1", 9)], "not_met"),
    ("liver_px", "radical", [entry("observation", "84892-9", 9, Text("阴性"))], "met"),
    ("liver_px", "age", born(1940), "not_met"),
    ("liver_px", "neoadjuvant", [entry("medication", "L01XX", -60)], "not_met"),
    # Breast.
    ("breast_dm", "female", born(1975, "male"), "not_met"),
    ("breast_dm", "not_metastatic", [entry("condition", "C79.500", -3)], "not_met"),
    ("breast_dm", "before_treatment", [entry("medication", "L01CD", -40)], "not_met"),
    ("breast_dm", "before_treatment", [entry("medication", "L01CD", 30)], "met"),
    # HCC.
    ("hcc_ar_post", "no_neoadjuvant", [entry("medication", "L01EX", -90)], "not_met"),
    ("hcc_ar_post", "no_neoadjuvant", [entry("medication", "L01EX", 90)], "met"),
    ("hcc_ar_post", "no_tace", [entry("procedure", "39.7900", -90)], "not_met"),
    ("hcc_ar_post", "no_macrovascular_invasion", [entry("condition", "I81.x00", -9)], "not_met"),
    # Colorectal.
    ("crlm_2y", "stage", [coded("21902-2", "IVA", 9)], "not_met"),
    ("crlm_2y", "no_synchronous", [entry("condition", "C78.700", 15)], "not_met"),
    ("crlm_2y", "no_synchronous", [entry("condition", "C78.700", 90)], "met"),
    ("crlm_2y", "no_other_cancer", [entry("condition", "C50.900", -2000)], "not_met"),
    ("crlm_2y", "no_other_cancer", [entry("condition", "C18.900", -20)], "met"),
    ("crlm_2y", "age", born(1940), "not_met"),
    ("crlm_2y", "follow_up", [entry("condition", "C78.700", 200)], "met"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "rule", "told", "expected"), CASES)
def test_each_rule_can_fail(name: str, rule: str, told: Iterable[Entry], expected: str) -> None:
    """A fitting patient but for what is told here."""
    as_of = NOW + timedelta(days=900) if rule == "follow_up" else NOW
    ready = judged(name, as_if(fitting(name), *told), as_of)
    assert expected == next(r.verdict for r in ready.rules if r.rule == rule)


@pytest.mark.parametrize(
    ("name", "rule", "code"),
    [
        ("crlm_2y", "colorectal_cancer", "C18.700"), ("crlm_2y", "consent", "59284-0"),
        ("crlm_2y", "cea", "2039-6"), ("crlm_2y", "pt_known", "21899-0"),
        ("crlm_2y", "lock", "60568-3"), ("crlm_2y", "stage", "21902-2"),
        ("breast_dm", "invasive", "C50.901"), ("breast_dm", "er_known", "85337-4"),
        ("breast_dm", "before_treatment", "119376003"), ("hcc_ar_post", "margin", "84892-9"),
        ("hcc_ar_pre", "core_labs", "1834-1"), ("pan_cancer_1y", "history", "I10"),
    ],
)  # fmt: skip
def test_what_is_missing_is_waited_for(name: str, rule: str, code: str) -> None:
    """The rule becomes unknown, and with it the patient waits."""
    facts = without(fitting(name), code)
    assert "unknown" == verdict(name, rule, facts)
    assert "waiting" == judged(name, facts).state


@pytest.mark.parametrize(("name", "rule", "told", "expected"), CASES)
def test_what_is_asked_for_decides(
    name: str, rule: str, told: Iterable[Entry], expected: str
) -> None:
    """The part of the record that readiness asks for gives the answer of the whole record."""
    entries, studies = as_if(fitting(name), *told)
    p, as_of = protocol.shipped()[name], NOW if rule != "follow_up" else NOW + timedelta(days=900)
    as_of = T0 if p.index.on == "assessment" else as_of
    whole = PatientRecord.of(entries, as_of=as_of)
    study = eligibility.index_study(p, studies, as_of)
    wanted = eligibility.asked(p, eligibility.index_time(p, whole, study, as_of), as_of)
    part = [
        e
        for e in entries
        if e.kind in wanted.kinds
        or e.key.removeprefix("patient/") in wanted.demographics
        or wanted.spans_hold(e)
    ]
    record = PatientRecord.of(part, as_of=as_of)
    found = eligibility.readiness(p, record, studies, as_of).rules
    assert eligibility.readiness(p, whole, studies, as_of).rules == found
    assert expected == next(r.verdict for r in found if r.rule == rule)


def test_an_old_value_serves_where_the_last_days_have_none() -> None:
    """Of long windows the last days are read first; what they lack is looked for in the whole."""
    p, told = protocol.shipped()["pan_cancer_now"], [*born(), lab("CEA", -600), lab("ALB", -5)]
    unusable = entry("observation", "1834-1", -5, Quantity(Decimal(9), None, "9"))
    told += [lab("AFP", -400), unusable, lab("ALB", -500)]
    narrow = eligibility.asked(p, T0, T0, whole=())
    part = [e for e in told if e.kind == "patient" or narrow.spans_hold(e)]
    assert {"1751-7", "1834-1"} == {e.code.code for e in part if e.code}
    record = PatientRecord.of(part, as_of=T0, elsewhere=frozenset({"2039-6"}))
    whole = eligibility.unserved(p, record, T0, T0)
    assert {"AFP", "CEA"} == whole
    wide = eligibility.asked(p, T0, T0, whole=whole)
    record = PatientRecord.of(
        [e for e in told if e.kind == "patient" or wide.spans_hold(e)], as_of=T0
    )
    everything = PatientRecord.of(told, as_of=T0)
    found = [features.find_all(p.inputs, r, T0, T0) for r in (record, everything)]
    assert found[0] == found[1]
    assert found[0]["AFP"].there


def test_pre_and_post_part_at_the_operation() -> None:
    """PRE is over when surgery began; what it reads ends before; POST waits for pathology."""
    entries, studies = fitting("hcc_ar_pre")
    operated = entry("procedure", "107963000", 7)
    after = judged("hcc_ar_pre", ([*entries, operated], studies))
    assert "not_eligible" == after.state
    assert "not_met" == next(r.verdict for r in after.rules if r.rule == "lock")
    late = without((entries, studies), "1834-1")
    told = judged("hcc_ar_pre", with_(late, lab("AFP", 9), operated))
    assert not next(i.present for i in told.inputs if i.input == "AFP")
    assert "unknown" == verdict("hcc_ar_post", "lock", without(fitting("hcc_ar_post"), "60568-3"))


def test_a_coarse_time_is_unknown() -> None:
    """A diagnosis of 'this year' may lie before or after the window's end."""
    vague = entry("condition", "C78.700", effective=When(datetime(2026, 1, 1), "year"))
    assert "unknown" == verdict("crlm_2y", "no_synchronous", with_(fitting("crlm_2y"), vague))


def test_an_unconfirmed_diagnosis_is_unknown() -> None:
    """Neither excluded by it nor cleared of it."""
    vague = entry("condition", "C78.700", -5, status="preliminary")
    assert "unknown" == verdict("crlm_2y", "no_synchronous", with_(fitting("crlm_2y"), vague))


def test_contradictory_dates_are_unknown_and_harm_nothing() -> None:
    """A birth after the index, surgery twice, a specimen of an unknown day."""
    facts = as_if(fitting("breast_dm"), *born(2027, "female"))
    assert "not_met" == verdict("breast_dm", "age", facts)
    undated = entry("specimen", "119376003", None)
    facts = with_(without(fitting("breast_dm"), "119376003"), undated)
    assert "unknown" == verdict("breast_dm", "before_treatment", facts)


def test_our_own_results_are_no_evidence() -> None:
    """A diagnosis that we wrote ourselves proves nothing (site rule 1)."""
    ours = entry("condition", "C78.700", -5)
    ours = replace(ours, source=replace(ours.source, origin="own"))
    assert "met" == verdict("crlm_2y", "no_synchronous", with_(fitting("crlm_2y"), ours))


def test_icd10_of_chinese_length_matches() -> None:
    """C18.700x003 lies below C18 and inside C18-C20; C21 does not."""
    for code, expected in (("C18.700x003", "met"), ("C20.x00", "met"), ("C21.000", "unknown")):
        facts = with_(without(fitting("crlm_2y"), "C18.700"), entry("condition", code, -9))
        assert expected == verdict("crlm_2y", "colorectal_cancer", facts), code


def changed(name: str, old: str, new: str) -> Protocol:
    """A protocol with one text replaced."""
    text = (FOLDER / f"{name}.toml").read_text("utf-8")
    assert old in text
    return protocol.read(document(text.replace(old, new, 1).encode(), "x.toml"))


REFUSED = {
    "a unit nobody defined": ("crlm_2y", 'unit = "ng/mL"', 'unit = "furlong"', "inputs[2].unit"),
    "a code that is none": ("crlm_2y", '["2039-6"]', '["2039-7"]', "inputs[2].codes"),
    "a window of halves": ("crlm_2y", "window_days = [-30, 0]", "window_days = [-0.5, 0]",
                           "inputs[2].window_days"),
    "a window turned round": ("crlm_2y", "window_days = [-30, 0]", "window_days = [0, -30]",
                              "inputs[2].window_days"),
    "an input of the future": ("crlm_2y", "window_days = [-30, 0]", "window_days = [-30, 90]",
                               "inputs[2].window_days"),
    "a rule of the future": ("crlm_2y", 'window_days = [0, 60]\nvalues = ["I"',
                             'window_days = [0, 730]\nvalues = ["I"', "rules[3].window_days"),
    "follow-up that gates": ("crlm_2y", 'scope = "analyse"\ntest = "follow_up"',
                             'scope = "predict"\ntest = "follow_up"', "rules[12].scope"),
    "pathology in PRE": ("hcc_ar_pre", '["1834-1"]', '["21899-0"]', "inputs[2].codes"),
    "a test nobody knows": ("crlm_2y", 'test = "consent"', 'test = "oracle"', "rules[1].test"),
    "a misspelt key": ("crlm_2y", "majority = 18", "majorit = 18", "rules[1].majority"),
    "an input that is not there": ("crlm_2y", 'inputs = ["CEA"]', 'inputs = ["CEB"]',
                                   "rules[11].inputs"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_protocol_may_not_say_is_refused_by_name(case: str) -> None:
    """The error names file, line and key."""
    name, old, new, key = REFUSED[case]
    with pytest.raises(ManifestRefused) as caught:
        changed(name, old, new)
    assert ("x.toml", key) == (caught.value.file, caught.value.key)
    assert caught.value.line


def test_the_error_names_the_line() -> None:
    """Of the key, also in the second of several tables of one name."""
    text = (FOLDER / "crlm_2y.toml").read_text("utf-8")
    with pytest.raises(ManifestRefused) as caught:
        changed("crlm_2y", "majority = 18", 'majority = "18"')
    line = text.splitlines().index("majority = 18") + 1
    assert (line, f"x.toml:{line}: rules[1].majority") == (
        caught.value.line, str(caught.value).removeprefix("pack refused: ").partition(": exp")[0]
    )  # fmt: skip


def found(name: str, *entries: Entry, t0: datetime = T0) -> dict[str, features.Found]:
    """What serves each input of a protocol."""
    record = PatientRecord.of(entries, as_of=NOW)
    return features.find_all(protocol.shipped()[name].inputs, record, t0, NOW)


def quantity(name: str, text: str, days: float = -3, comparator: str | None = None) -> Entry:
    """A laboratory value."""
    code, unit = {**LABS, "NEU": ("751-8", "10*3/uL"), "LYM": ("731-0", "10*3/uL")}[name]
    return entry("observation", code, days, Quantity(Decimal(text), unit, text, "", comparator))


def test_a_score_rests_on_what_went_into_it() -> None:
    """FIB-4 of 55 years, AST 80, ALT 64, PLT 100: 5.5, with the keys of all four."""
    told = [*born(1970), quantity("AST", "80"), quantity("ALT", "64"), quantity("PLT", "100")]
    made = found("hcc_ar_post", *told)["FIB4"]
    assert isinstance(made.value, float)
    years = features.age_years(When(datetime(1970, 6, 1), "day"), T0)
    assert sum(years) / 2 * 80 / (100 * 8) == pytest.approx(made.value)
    assert {e.key for e in made.entries} == {e.key for e in told if e.key != "patient/sex"}


def test_a_score_without_a_part_says_which() -> None:
    """No platelets, no FIB-4."""
    made = found("hcc_ar_post", *born(), quantity("AST", "80"), quantity("ALT", "64"))["FIB4"]
    assert not made.there
    assert "PLT" in made.reason


def test_a_score_of_a_value_at_the_end_of_an_assay_says_so() -> None:
    """AST below its detection limit: FIB-4 is at a limit, too."""
    p = protocol.shipped()["hcc_ar_post"]
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
