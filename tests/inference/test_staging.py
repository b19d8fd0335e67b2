"""Answers of forms as canonical words: English, Chinese, codes; doubt and contradiction have none."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.scores import Measured, derive, liver
from inference.staging import READERS, Answer, read
from mappings.record import Code, Coded, Interval, Quantity, Text, Value

LOINC = "http://loinc.org"


@pytest.mark.parametrize(
    ("kind", "text", "value", "prefix"),
    [
        ("pT", "pT2", "T2", "p"),
        ("pT", "T2", "T2", ""),
        ("pT", "ｐＴ４ａ", "T4a", "p"),
        ("pT", "pT4A", "T4a", "p"),
        ("pT", "ypT1mi", "T1mi", "yp"),
        ("pT", "rpT3", "T3", "rp"),
        ("pT", "pTis(DCIS)", "Tis", "p"),
        ("pT", "pTX", "TX", "p"),
        ("pT", "pT分期：pT2（AJCC 8th）", "T2", "p"),
        ("pT", "pT3期", "T3", "p"),
        ("pT", "pT1c(m)", "T1c", "p"),
        ("pT", "pT3N1aM0", "T3", "p"),
        ("pN", "pT3N1aM0", "N1a", "p"),
        ("pM", "pT3N1aM0", "M0", "p"),
        ("pM", "pT3 pN1a cM0", "M0", "c"),
        ("pN", "ypN1a", "N1a", "yp"),
        ("pN", "pN0(i+)", "N0(i+)", "p"),
        ("pN", "pN1mi(sn)", "N1mi", "p"),
        ("pN", "N2", "N2", ""),
        ("pM", "cM0", "M0", "c"),
        ("pM", "pM1b", "M1b", "p"),
        ("stage", "ⅢB期", "IIIB", ""),
        ("stage", "Stage IIIb", "IIIB", ""),
        ("stage", "3B", "IIIB", ""),
        ("stage", "pIIA", "IIA", "p"),
        ("stage", "TNM分期：Ⅳ期", "IV", ""),
        ("stage", "0期", "0", ""),
    ],
)
def test_categories_and_stages(kind: str, text: str, value: str, prefix: str) -> None:
    """With and without prefixes, suffixes, full-width letters and the other two categories."""
    assert Answer(value=value, prefix=prefix) == read(kind, Text(text))


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("grade", "G2", "G2"),
        ("grade", "Grade 3", "G3"),
        ("grade", "Ⅱ级", "G2"),
        ("grade", "组织学2级", "G2"),
        ("grade", "Nottingham grade 1", "G1"),
        ("grade", "中分化", "G2"),
        ("grade", "低分化腺癌", "G3"),
        ("grade", "Poorly differentiated", "G3"),
        ("grade", "GX", "GX"),
        ("edmondson", "Edmondson Ⅱ级", "2"),
        ("edmondson", "Edmondson-Steiner grade III", "3"),
        ("edmondson", "Ⅳ级", "4"),
        ("margin", "R0", "R0"),
        ("margin", "R1切除", "R1"),
        ("margin", "切缘阴性", "R0"),
        ("margin", "切缘净", "R0"),
        ("margin", "切缘：阳性", "R+"),
        ("margin", "Margins negative", "R0"),
        ("margin", "Rx", "RX"),
        ("MVI", "M1", "M1"),
        ("MVI", "MVI分级M2", "M2"),
        ("MVI", "未见", "M0"),
        ("MVI", "MVI(-)", "M0"),
        ("MVI", "阳性", "present"),
        ("LVI", "阴性", "absent"),
        ("LVI", "脉管癌栓（-）", "absent"),
        ("LVI", "未见明确脉管癌栓", "absent"),
        ("LVI", "可见脉管癌栓", "present"),
        ("LVI", "脉管癌栓：（+）", "present"),
        ("LVI", "Not identified", "absent"),
        ("LVI", "Present", "present"),
        ("LVI", "L1", "present"),
        ("PNI", "神经侵犯（+）", "present"),
        ("PNI", "未见神经侵犯", "absent"),
        ("PNI", "Pn0", "absent"),
        ("PNI", "有", "present"),
        ("PNI", "无", "absent"),
        ("PNI", "未检出", "absent"),
        ("ER", "阳性", "positive"),
        ("ER", "(-)", "negative"),
        ("PR", "弱阳性", "positive"),
        ("HER2", "3+", "3+"),
        ("HER2", "HER2（2+）", "2+"),
        ("HER2", "0", "0"),
        ("HER2", "阴性", "negative"),
        ("ascites", "无", "absent"),
        ("ascites", "少量腹水", "slight"),
        ("ascites", "大量", "moderate"),
        ("ascites", "Moderate ascites", "moderate"),
        ("ascites", "未见腹水", "absent"),
        ("encephalopathy", "无肝性脑病", "absent"),
        ("encephalopathy", "Ⅱ期", "grade 1-2"),
        ("encephalopathy", "Grade 3", "grade 3-4"),
        ("encephalopathy", "I-II级", "grade 1-2"),
    ],
)
def test_words_of_both_languages(kind: str, text: str, value: str) -> None:
    """What laboratories and wards write."""
    assert value == read(kind, Text(text)).value


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        ("pT", "pT5", "answer is not understood"),
        ("pT", "T2-T3", "answer is not understood"),
        ("pT", "肝癌", "answer is not understood"),
        ("pN", "pT2", "answer is not understood"),
        ("pT", "未知", "not assessed"),
        ("pT", "pT2 (AJCC 7th edition)", "of edition 7"),
        ("stage", "IIIB or IIIC", "answer is not understood"),
        ("grade", "中-低分化", "between two grades"),
        ("grade", "G2-3", "between two grades"),
        ("grade", "Edmondson Ⅱ级", "graded by Edmondson and Steiner"),
        ("edmondson", "Edmondson Ⅱ-Ⅲ级", "between two grades"),
        ("margin", "切缘不能评估", "not assessed"),
        ("margin", "切缘可疑", "doubtful"),
        ("MVI", "可疑", "doubtful"),
        ("LVI", "可疑脉管癌栓", "doubtful"),
        ("LVI", "未查", "not assessed"),
        ("LVI", "Cannot be determined", "not assessed"),
        ("LVI", "suspicious for lymphovascular invasion", "doubtful"),
        ("PNI", "见上", "answer is not understood"),
        ("PNI", "not applicable", "not assessed"),
        ("ascites", "有", "how much is not told"),
        ("ascites", "可疑少量腹水", "doubtful"),
        ("encephalopathy", "present", "its grade is not told"),
        ("encephalopathy", "II-III级", "between two grades"),
    ],
)
def test_what_is_not_told_has_a_reason(kind: str, text: str, reason: str) -> None:
    """Doubt, another edition, a range and what was not examined are no value."""
    assert Answer(value=None, reason=reason) == read(kind, Text(text))


@pytest.mark.parametrize(
    ("kind", "code", "display", "text", "value", "reason"),
    [
        ("LVI", "LA9633-4", "Present", "有", "present", ""),
        ("LVI", "LA9634-2", "Absent", "无", "absent", ""),
        ("LVI", "LA9634-2", "Absent", "有", None, "code and words disagree: absent, present"),
        ("MVI", "LA9633-4", "M1", "M1", "M1", ""),
        ("MVI", "LA9634-2", "M1", "M1", None, "code and words disagree: M0, M1"),
        ("ER", "LA6576-8", "阳性", "阳性", "positive", ""),
        ("pT", "pT2", "pT2", "pT2", "T2", ""),
        ("pT", "1228889001", "American Joint Committee on Cancer pT2", "pT2", "T2", ""),
        ("margin", "260385009", "Negative", "", "R0", ""),
        ("PNI", "LA9633-4", "Present", "可疑", None, "doubtful"),
    ],
)
def test_codes_displays_and_words_are_read_together(
    kind: str, code: str, display: str, text: str, value: str | None, reason: str
) -> None:
    """A code that says it is there beside a grade is no contradiction; two answers are."""
    found = read(kind, Coded((Code(LOINC, code, display),), text))
    assert (value, reason) == (found.value, found.reason)


@pytest.mark.parametrize(("system", "value"), [("AJCC8", "T2"), ("AJCC7", None)])
def test_the_edition_may_stand_in_the_name_of_the_system(system: str, value: str | None) -> None:
    """Stage groups are of one edition."""
    coded = Coded((Code(f"urn:oncord:code:{system}", "pT2", "pT2"),), "pT2")
    assert value == read("pT", coded).value


@pytest.mark.parametrize("value", [None, Coded((), ""), Text(""), Interval("1", "2")])
def test_an_empty_answer_is_none(value: Value | None) -> None:
    """No words, no code, or another type."""
    assert "no answer in words or codes" == read("pT", value).reason


def test_a_number_is_read_by_its_text() -> None:
    """A grade sent as NM."""
    assert "G2" == read("grade", Quantity(Decimal(2), "1", "2")).value


@given(st.sampled_from(sorted(READERS)), st.text(max_size=12))
@settings(max_examples=150, deadline=None)
def test_any_text_has_a_value_or_a_reason(kind: str, text: str) -> None:
    """Never both, never neither."""
    found = read(kind, Text(text))
    assert (found.value is None) == bool(found.reason)


def test_what_is_read_is_what_scores_take() -> None:
    """From the words of a Chinese form to a stage group and a Child-Pugh class."""
    tnm = {
        kind: Measured(value=str(read(kind, Text("pT3N1aM0")).value), key=f"k/{kind}")
        for kind in ("pT", "pN", "pM")
    }
    assert "IIIB" == derive("AJCC8_COLORECTAL", tnm).value
    assert read("ascites", Text("少量腹水")).value in liver.ASCITES
    assert read("encephalopathy", Text("Ⅲ期")).value in liver.ENCEPHALOPATHY


def test_an_unknown_kind_is_an_error() -> None:
    """A manifest that asks for one is refused where it is read."""
    with pytest.raises(KeyError):
        read("colour", Text("red"))
