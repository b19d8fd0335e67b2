"""A pathology report of a resection: coded answers of the synoptic form, then the narrative.

Two OBR of one ORU^R01 under one case number: LOINC 60568-3 with a CWE or NM for each answer, and
11526-1 with gross, microscopy and diagnosis in Chinese or English. What was not examined is not
sent. Source: HL7 v2.5.1 chapter 7; CAP and ICCR synoptic protocols; models.md 1.0 (LOINC).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from mappings.codes import LOCAL, LOINC
from mappings.record import Code, Coded, Quantity
from workers.demo.feed_messages import stamp
from workers.demo.results import ICDO3, Answer, coded, number, obr, obx, prose
from workers.demo.subject import CannotSend, Language, Subject, oru

# The edition stands in the name of the system: CWE.7 is not kept by every reader.
TNM = f"{LOCAL}AJCC8"
_LOCAL = f"{LOCAL}99PATH"
_APPLICATION = "PATH"
_PRESENCE = {True: ("LA9633-4", "Present", "有"), False: ("LA9634-2", "Absent", "无")}
_STATUS = {True: ("LA6576-8", "Positive", "阳性"), False: ("LA6577-6", "Negative", "阴性")}
_RECEPTOR_POSITIVE = 1  # per cent of nuclei (ASCO/CAP)

Organ = Literal["liver", "breast", "colon"]
_ORGANS = {
    "liver": ("10200004", "Liver", "肝"),
    "breast": ("76752008", "Breast", "乳腺"),
    "colon": ("71854001", "Colon", "结肠"),
}
_HISTOLOGIES: dict[str, tuple[str, str]] = {  # ICD-O-3 morphology: English, Chinese
    "8170/3": ("Hepatocellular carcinoma", "肝细胞癌"),
    "8160/3": ("Intrahepatic cholangiocarcinoma", "肝内胆管癌"),
    "8500/3": ("Invasive breast carcinoma of no special type", "乳腺浸润性癌（非特殊类型）"),
    "8140/3": ("Adenocarcinoma", "腺癌"),
}
# LOINC question: English, Chinese; a local code beside it where the form has its own.
QUESTIONS: dict[str, tuple[str, str]] = {
    "59847-4": ("Histology and behavior ICD-O-3", "组织学类型"),
    "33732-9": ("Histology grade", "组织学分级"),
    "21899-0": ("Primary tumor.pathology", "pT分期"),
    "21900-6": ("Regional lymph nodes.pathology", "pN分期"),
    "21902-2": ("Stage group.pathology", "病理分期"),
    "21889-1": ("Size tumor", "肿瘤最大径"),
    "21893-3": ("Regional lymph nodes positive", "阳性淋巴结数"),
    "21894-1": ("Regional lymph nodes examined", "检出淋巴结数"),
    "59544-7": ("Lymph-vascular invasion", "脉管侵犯"),
    "92837-4": ("Perineural invasion", "神经侵犯"),
    "33739-4": ("Lymphatic and small vessel invasion", "微血管侵犯"),
    "84892-9": ("Residual tumor classification", "切缘（R分类）"),
    "85337-4": ("Estrogen receptor Ag", "雌激素受体"),
    "85329-1": ("Cells.estrogen receptor/100 cells", "雌激素受体阳性率"),
    "85339-0": ("Progesterone receptor Ag", "孕激素受体"),
    "85325-9": ("Cells.progesterone receptor/100 cells", "孕激素受体阳性率"),
    "85319-2": ("HER2 by immune stain", "HER2"),
    "85330-9": ("Cells.Ki-67 nuclear Ag/100 cells", "Ki-67阳性率"),
}
_OWN_CODES = {"33739-4": "MVI"}
_IN_DIAGNOSIS = frozenset({"59847-4", "33732-9", "21899-0", "21900-6", "84892-9"})
_TITLES = {  # LOINC: English, Chinese
    "synoptic": ("60568-3", "Pathology Synoptic report", "病理结构化报告"),
    "narrative": ("11526-1", "Pathology study", "病理报告"),
    "gross": ("22634-0", "Gross description", "肉眼所见"),
    "microscopic": ("22635-7", "Microscopic description", "镜下所见"),
    "diagnosis": ("22637-3", "Diagnosis", "病理诊断"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Synoptic:
    """The answers of one resection; None is not examined, and not sent.

    Attributes:
        organ: What was resected.
        histology: ICD-O-3 morphology, of hepatocellular, cholangio-, breast or adenocarcinoma.
        pt, pn: AJCC 8 categories, `pT2`, `pN0`.
        stage: AJCC 8 stage group, `IIA`.
        grade: As the form words it: `G2`, `Edmondson II`.
        sizes_mm: Greatest diameter of each tumour, the largest first.
        nodes_positive, nodes_examined: Regional lymph nodes.
        lymphovascular, perineural: Whether the tumour invades them.
        mvi: Microvascular invasion of a liver tumour, M0 to M2.
        margin: Residual tumour, R0 to R2.
        er_percent, pr_percent, ki67_percent: Stained nuclei.
        her2: Immunohistochemistry score, `0` to `3+`.

    Raises:
        CannotSend: An answer is none of the form's.
    """

    organ: Organ
    histology: str
    pt: str | None = None
    pn: str | None = None
    stage: str | None = None
    grade: str | None = None
    sizes_mm: Sequence[int] = ()
    nodes_positive: int | None = None
    nodes_examined: int | None = None
    lymphovascular: bool | None = None
    perineural: bool | None = None
    mvi: Literal["M0", "M1", "M2"] | None = None
    margin: Literal["R0", "R1", "R2"] | None = None
    er_percent: int | None = None
    pr_percent: int | None = None
    her2: Literal["0", "1+", "2+", "3+"] | None = None
    ki67_percent: int | None = None

    def __post_init__(self) -> None:
        if self.histology not in _HISTOLOGIES:
            raise CannotSend(f"histology {self.histology}", f"one of {', '.join(_HISTOLOGIES)}")
        shares = (self.er_percent, self.pr_percent, self.ki67_percent)
        if any(share is not None and not 0 <= share <= 100 for share in shares):  # noqa: PLR2004
            raise CannotSend("share of stained nuclei", "0 to 100 per cent")
        examined = self.nodes_examined
        if self.nodes_positive is not None and not 0 <= self.nodes_positive <= (examined or 0):
            raise CannotSend("positive nodes", "no more than were examined")


_Row = tuple[str, Quantity | Coded | None]


def answers(form: Synoptic, language: Language) -> Iterator[Answer]:
    """What the form answers, names of codes in a language, the size of each tumour last."""
    chinese = language == "zh"
    for question, value in (*_categories(form, chinese), *_stained(form, chinese), *_nodes(form)):
        if value is not None:
            yield Answer(
                code=_question(question, chinese), value=value, alternates=_own(question, chinese)
            )
    for lesion, millimetres in enumerate(form.sizes_mm, 1):
        size = number(millimetres, "mm")
        yield Answer(code=_question("21889-1", chinese), value=size, sub_id=str(lesion))


def _question(loinc: str, chinese: bool) -> Code:
    return Code(LOINC, loinc, QUESTIONS[loinc][chinese])


def _own(loinc: str, chinese: bool) -> tuple[Code, ...]:
    own = _OWN_CODES.get(loinc)
    return (Code(_LOCAL, own, QUESTIONS[loinc][chinese]),) if own else ()


def _categories(form: Synoptic, chinese: bool) -> Iterator[_Row]:
    """Histology, then categories by their own names, then what is there or not."""
    yield "59847-4", coded(ICDO3, form.histology, _HISTOLOGIES[form.histology][chinese])
    for question, category, system in (
        ("33732-9", form.grade, _LOCAL),
        ("21899-0", form.pt, TNM),
        ("21900-6", form.pn, TNM),
        ("21902-2", form.stage, TNM),
        ("33739-4", form.mvi, _LOCAL),
        ("84892-9", form.margin, TNM),
        ("85319-2", form.her2, _LOCAL),
    ):
        if category is not None:
            yield question, coded(system, category, category)
    for question, there in (("59544-7", form.lymphovascular), ("92837-4", form.perineural)):
        yield question, None if there is None else _loinc(_PRESENCE[there], chinese)


def _stained(form: Synoptic, chinese: bool) -> Iterator[_Row]:
    """Shares of nuclei; of a receptor also whether that counts as positive."""
    for question, status, share in (
        ("85329-1", "85337-4", form.er_percent),
        ("85325-9", "85339-0", form.pr_percent),
        ("85330-9", "", form.ki67_percent),
    ):
        if share is not None:
            if status:
                yield status, _loinc(_STATUS[share >= _RECEPTOR_POSITIVE], chinese)
            yield question, number(share, "%")


def _nodes(form: Synoptic) -> Iterator[_Row]:
    for question, count in (("21893-3", form.nodes_positive), ("21894-1", form.nodes_examined)):
        yield question, None if count is None else number(count, "{#}")


def _loinc(words: tuple[str, str, str], chinese: bool) -> Coded:
    return coded(LOINC, words[0], words[2 if chinese else 1])


def oru_pathology(
    who: Subject,
    form: Synoptic,
    control_id: str,
    now: datetime,
    *,
    collected: datetime,
    issued: datetime,
) -> bytes:
    """The report as ORU^R01.

    Args:
        who: The patient; the language of the narrative is theirs.
        form: What was found.
        control_id: MSH-10.
        now: MSH-7, aware.
        collected: When the specimen was taken: the operation.
        issued: When the report was released.
    """
    case, language = who.numbered("P"), who.language
    done, released = stamp(collected), stamp(issued)
    segments = []
    for place, (title, suffix, lines) in enumerate(
        (
            (_TITLES["synoptic"], "S", obx(answers(form, language))),
            (_TITLES["narrative"], "N", prose(narrative(form, language))),
        ),
        1,
    ):
        filler = f"{case}{suffix}^{_APPLICATION}"
        segments += [
            f"ORC|RE||{filler}",
            obr(
                place, filler, _named(title, language), done=done, issued=released, section="SP",
                accession=case,
            ),
            *lines,
            _specimen(case, form.organ, language, done),
        ]  # fmt: skip
    return oru(who, _APPLICATION, control_id, now, segments)


def _named(words: tuple[str, str, str], language: Language) -> Code:
    return Code(LOINC, words[0], words[2 if language == "zh" else 1])


def _specimen(case: str, organ: Organ, language: Language, done: str) -> str:
    """The resection, by the number that DICOM calls the parent of the blocks."""
    code, english, chinese = _ORGANS[organ]
    site = f"{code}^{chinese if language == 'zh' else english}^SCT"
    kind = "430861001^Gross specimen^SCT"
    return f"SPM|1|{case}&{_APPLICATION}||{kind}||||{site}{'|' * 9}{done}"


def narrative(form: Synoptic, language: Language) -> Iterator[tuple[Code, str]]:
    """Gross, microscopy and diagnosis, each under its LOINC section."""
    chinese = language == "zh"
    histology, organ = _HISTOLOGIES[form.histology][chinese], _ORGANS[form.organ][1 + chinese]
    between, stop = ("、", "。") if chinese else (", ", ".")
    sizes = between.join(f"{size} mm" for size in form.sizes_mm)
    gross = f"{organ}切除标本" if chinese else f"Resection of {organ.lower()}"
    if sizes:
        gross += f"，肿瘤最大径 {sizes}" if chinese else f", tumour {sizes} in greatest dimension"
    yield _named(_TITLES["gross"], language), gross + stop
    seen = [
        f"{answer.code.display}{'：' if chinese else ': '}{_worded(answer.value)}"
        for answer in answers(form, language)
        if answer.code.code not in _IN_DIAGNOSIS and not answer.sub_id
    ]
    listed = [histology, *seen]
    yield _named(_TITLES["microscopic"], language), ("；" if chinese else "; ").join(listed) + stop
    parts = [p for p in (histology, form.grade, form.pt, form.pn, form.margin) if p]
    yield _named(_TITLES["diagnosis"], language), ("，" if chinese else ", ").join(parts) + stop


def _worded(value: Quantity | Coded) -> str:
    if isinstance(value, Coded):
        return value.text
    return value.text + ("%" if value.unit == "%" else "")
