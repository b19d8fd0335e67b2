"""The messages of a pretend hospital's feed: senders with their dialects, and segments.

What happens to whom, and when it is sent, is decided in `feed`.
Source: HL7 v2.1 to v2.8, chapters 2 to 4, 6, 7, 9, 10, 12; dialects as senders are known to have.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from random import Random

from mappings.outbound.er7 import escape

CHINA = timezone(timedelta(hours=8))


@dataclass(frozen=True, slots=True)
class Sender:
    """One sending application: its interface, MSH-3, MSH-18, Python codec, MSH-12, line end."""

    interface: str
    application: str
    charset: str
    codec: str
    version: str
    end: str


# By interface, then by campus: a Chinese, a Western, and an old ASCII one.
SENDERS = {
    "his": (
        Sender("his", "HIS", "GB 18030-2000", "gb18030", "2.4", "\r"),
        Sender("his", "ADTWEST", "8859/1", "latin-1", "2.3", "\r\n"),
        Sender("his", "PAS", "", "ascii", "2.1", "\n"),
    ),
    "lis": (
        Sender("lis", "LIS", "UNICODE UTF-8", "utf-8", "2.5.1", "\r"),
        Sender("lis", "LABWEST", "8859/1", "latin-1", "2.2", "\r"),
        Sender("lis", "COBAS", "ASCII", "ascii", "2.8", "\r\n"),
    ),
    "ris": (
        Sender("ris", "RIS", "GB 18030-2000", "gb18030", "2.3.1", "\r\n"),
        Sender("ris", "RADWEST", "8859/1", "latin-1", "2.6", "\r"),
        Sender("ris", "RADOLD", "UNICODE UTF-8", "utf-8", "2.7", "\n"),
    ),
}
INTERFACES = tuple(SENDERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """Somebody in the feed: medical record number, name by components, birth date, sex."""

    number: str
    name: str
    born: str
    sex: str
    campus: int

    @property
    def cx(self) -> str:
        """PID-3."""
        return f"{self.number}^^^DEMOHOSP^MR"


@dataclass(frozen=True, slots=True)
class Analyte:
    """One laboratory value: LOINC, short name, Chinese name, unit, range, decimals."""

    loinc: str
    short: str
    chinese: str
    unit: str
    low: float
    high: float
    places: int


ANALYTES = (
    Analyte("1834-1", "AFP", "甲胎蛋白", "ng/mL", 1, 2000, 1),
    Analyte("2039-6", "CEA", "癌胚抗原", "ng/mL", 0, 60, 2),
    Analyte("1751-7", "ALB", "白蛋白", "g/L", 24, 52, 1),
    Analyte("14631-6", "TBIL", "总胆红素", "umol/L", 4, 90, 1),
    Analyte("1742-6", "ALT", "丙氨酸氨基转移酶", "U/L", 8, 400, 0),
    Analyte("777-3", "PLT", "血小板计数", "10*9/L", 40, 380, 0),
    Analyte("6301-6", "INR", "国际标准化比值", "", 0.8, 2.2, 2),
)
_OLD = 2
_UNITS = (
    {"umol/L": "μmol/L", "10*9/L": "10^9/L"},
    {"umol/L": "umol/l", "U/L": "IU/L", "10*9/L": "G/l"},
    {"ng/mL": "NG/ML", "U/L": "", "10*9/L": "K/uL"},
)
_NAMES = (
    ("王^小明", "李^建国", "张^秀英", "陈^淑芬"),
    ("Müller^Jörg", "Núñez^Inés", "Lefèvre^Zoé", "Åberg^Björn"),
    ("SMITH^ANNA", "JONES^WILLIAM", "O'BRIEN^PAT", "DE LA CRUZ^MARIA"),
)
_REPORTS = (
    "检查所见：肝右叶见一类圆形低密度影，动脉期明显强化。\n诊断意见：肝右叶占位，考虑肝细胞癌。",
    "FINDINGS: Lesion of 3 cm in segment VI, wash-out (à surveiller).\nIMPRESSION: LI-RADS 5.",
    "FINDINGS: No focal lesion | no ascites.\nIMPRESSION: No change.",
)
_PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"


def patient(random: Random, number: str) -> Patient:
    """A new patient of some campus."""
    campus = random.randrange(3)
    born = f"{random.randrange(1935, 2000)}{random.randrange(1, 13):02}{random.randrange(1, 29):02}"
    return Patient(
        number=number,
        name=random.choice(_NAMES[campus]),
        born=born,
        sex=random.choice("MF"),
        campus=campus,
    )


def stamp(moment: datetime) -> str:
    """A TS in China time."""
    return moment.astimezone(CHINA).strftime("%Y%m%d%H%M%S%z")


def message(
    sender: Sender, event: str, control_id: str, sent: datetime, segments: Sequence[str]
) -> bytes:
    """Segments under the sender's MSH, in its charset and with its line ends."""
    head = msh(sender, event, control_id, sent)
    return "".join(line + sender.end for line in (head, *segments)).encode(sender.codec)


def msh(sender: Sender, event: str, control_id: str, sent: datetime) -> str:
    """An MSH of a sender."""
    return (
        f"MSH|^~\\&|{sender.application}|DEMOHOSP|ONCORD|DEMOHOSP|{stamp(sent)}||{event}"
        f"|{control_id}|P|{sender.version}||||||{sender.charset}"
    ).rstrip("|")


def pid(who: Patient, *others: str, number: int = 1) -> str:
    """A PID; `others` are further repetitions of PID-3."""
    names = "~".join((who.cx, *others))
    return f"PID|{number}||{names}||{who.name}||{who.born}|{who.sex}"


def pv1(visit: str, kind: str = "I") -> str:
    """A PV1 of a visit."""
    return f"PV1|1|{kind}|HEPA^201^1^DEMOHOSP{'|' * 16}{visit}^^^DEMOHOSP^VN"


def adt(event: str, who: Patient, visit: str, at: datetime) -> list[str]:
    """Admission, transfer, discharge, update, and their cancels."""
    made = [f"EVN|{event}|{stamp(at)}", pid(who), pv1(visit)]
    if event in ("A01", "A08"):
        made.append("DG1|1||C22.0^Liver cell carcinoma^I10||" + stamp(at)[:8] + "|A")
    return made


def _obr(filler: str, sender: Sender, code: str, done: datetime, issued: datetime, end: str) -> str:
    """An OBR; `end` is OBR-24 and OBR-25."""
    number = f"{filler}^{sender.application}"
    return f"OBR|1||{number}|{code}|||{stamp(done)}{'|' * 15}{stamp(issued)}||{end}"


def labs(
    random: Random, who: Patient, filler: str, visit: str, drawn: datetime, issued: datetime,
    status: str, chosen: Sequence[Analyte],
) -> list[str]:  # fmt: skip
    """An order of results in the dialect of the patient's laboratory."""
    sender = SENDERS["lis"][who.campus]
    made = [
        pid(who),
        pv1(visit),
        f"ORC|RE||{filler}^{sender.application}",
        _obr(filler, sender, "24323-8^Panel^LN", drawn, issued, f"|{status}"),
    ]
    made += [
        _obx(random, who.campus, number, analyte, status)
        for number, analyte in enumerate(chosen, 1)
    ]
    if not random.randrange(5):
        made.append("NTE|1|L|haemolytic, see previous")
    return made


def _obx(random: Random, campus: int, number: int, analyte: Analyte, status: str) -> str:
    names = (
        f"{analyte.loinc}^{analyte.chinese}^LN",
        f"{analyte.short}^{analyte.short}^L^{analyte.loinc}^{analyte.short}^LN",
        f"{analyte.short}^^99COBAS",
    )
    unit = escape(_UNITS[campus].get(analyte.unit, analyte.unit))
    value = f"{random.uniform(analyte.low, analyte.high):.{analyte.places}f}"
    kind = "NM"
    if campus == _OLD and not random.randrange(5):
        kind, value = "SN", f">^{value}"
    elif not random.randrange(20):
        value = f"<{value}"
    limits = f"{analyte.low:g}-{analyte.high:g}"
    return f"OBX|{number}|{kind}|{names[campus]}||{value}|{unit}|{limits}||||{status}"


def retracted(segments: Sequence[str], issued: datetime) -> list[str]:
    """A result taken back: the same message with D or W, later and without values."""
    made = []
    for segment in segments:
        fields = segment.split("|")
        if fields[0] == "OBR":
            fields[22], fields[25] = stamp(issued), "X"
        elif fields[0] == "OBX":
            fields[5], fields[11] = '""', "D" if fields[1] == "1" else "W"
        made.append("|".join(fields))
    return made


def order(event: str, who: Patient, placer: str, visit: str, at: datetime) -> list[str]:
    """ORM^O01 and OML^O21: a panel is ordered."""
    parts = [pid(who), pv1(visit), f"ORC|NW|{placer}^HIS|||||||{stamp(at)}"]
    obr = f"OBR|1|{placer}^HIS||24323-8^Panel^LN|||{stamp(at)}"
    return [*parts, obr, *(["SPM|1|||BLD^Blood^HL70487"] if event == "O21" else [])]


def imaging_order(who: Patient, placer: str, visit: str, at: datetime) -> list[str]:
    """OMG^O19: a CT is ordered, with the weight for its contrast and what is suspected."""
    return [
        pid(who),
        pv1(visit),
        f"ORC|NW|{placer}^HIS|||||||{stamp(at)}",
        f"OBR|1|{placer}^HIS||18748-4^CT^LN|||{stamp(at)}",
        "DG1|1||C22.0^Liver cell carcinoma^I10|||W",
        "OBX|1|NM|29463-7^Body weight^LN||62|kg|||||F",
    ]


def by_specimen(ordered: Sequence[str], specimen: str, drawn: datetime) -> list[str]:
    """OUL^R22: the results of `labs` under the tube they were measured in."""
    who, visit, orc, obr, *results = ordered
    tube = f"SPM|1|{specimen}||BLD^Blood^HL70487{'|' * 13}{stamp(drawn)}"
    return [who, visit, tube, obr, orc, *results]


def problem(who: Patient, number: str, visit: str, at: datetime) -> list[str]:
    """PPR^PC1: a suspicion comes on the problem list."""
    told = f"PRB|AD|{stamp(at)}|C22.0^Liver cell carcinoma^I10|{number}^HIS|||{stamp(at)[:8]}"
    return [pid(who), pv1(visit), f"{told}||||||PROBABLE^Probable^L"]


def vaccination(who: Patient, number: str, given: datetime) -> list[str]:
    """VXU^V04: a dose of hepatitis B vaccine of years ago."""
    day = stamp(given)[:8]
    dose = f"RXA|0|1|{day}|{day}|08^Hepatitis B^CVX|1|mL{'|' * 8}L{number}||MSD^Merck^MVX|||CP|A"
    return [pid(who), f"ORC|RE||{number}^REG", dose, "RXR|IM^Intramuscular^HL70162"]


def charge(event: str, who: Patient, visit: str, at: datetime) -> list[str]:
    """BAR^P01 and DFT^P03: accounts and charges, which engines pass on to everybody."""
    made = [f"EVN|{event}|{stamp(at)}", pid(who), pv1(visit)]
    if event == "P01":
        return [*made, "IN1|1|BASIC|4400|Urban resident scheme"]
    return [*made, f"FT1|1|||{stamp(at)}||CG|CT^CT abdomen^L|||1|380"]


def radiology(who: Patient, filler: str, done: datetime, issued: datetime) -> list[str]:
    """ORU^R01 with a narrative, a line an OBX."""
    sender = SENDERS["ris"][who.campus]
    lines = _REPORTS[who.campus].splitlines()
    return [
        pid(who),
        _obr(filler, sender, "18748-4^CT^LN", done, issued, "CT|F"),
        *(
            f"OBX|{n}|TX|18748-4^CT^LN||{escape(line)}||||||F"
            for n, line in enumerate(lines, 1)
        ),
    ]  # fmt: skip


def document(event: str, who: Patient, number: str, at: datetime, size: int) -> list[str]:
    """MDM^T02: a report as PDF in base64."""
    encoded = base64.b64encode(_PDF + b"%" + b"x" * size).decode()
    return [
        f"EVN|{event}|{stamp(at)}",
        pid(who),
        pv1("", "O"),
        f"TXA|1|RAD|TX|{stamp(at)}||||||||{number}^DOCS|||||LA",
        f"OBX|1|ED|18748-4^CT^LN||^application^pdf^Base64^{encoded}||||||F",
    ]


def pathology(who: Patient, filler: str, at: datetime) -> list[str]:
    """ORU^R01: a synoptic report of a resection."""
    sender = SENDERS["lis"][who.campus]
    return [
        pid(who),
        _obr(filler, sender, "60568-3^Pathology synoptic report^LN", at, at, "|F"),
        "OBX|1|CWE|59847-4^Histology^LN||25370001^Hepatocellular carcinoma^SCT||||||F",
        "OBX|2|NM|33728-7^Size^LN||3.4|cm|||||F",
        "OBX|3|TX|22637-3^Diagnosis^LN||Hepatocellular carcinoma, pT1b||||||F",
    ]


def genomics(random: Random, who: Patient, filler: str, at: datetime) -> list[str]:
    """ORU^R01 by the LOINC genomics guide: a variant in each OBX-4 group."""
    sender = SENDERS["lis"][who.campus]
    made = [
        pid(who),
        _obr(filler, sender, "81247-9^Master panel^LN", at, at, "|F"),
    ]
    for group, gene in (("2a", "TP53"), ("2b", "CTNNB1"), ("2c", "TERT")):
        place = random.randrange(50, 400)
        number = len(made)
        made += [
            f"OBX|{number - 1}|CWE|48018-6^Gene studied^LN|{group}|{gene}^{gene}^HGNC||||||F",
            f"OBX|{number}|CWE|48005-3^pHGVS^LN|{group}|p.Arg{place}His^p.Arg{place}His^L||||||F",
        ]
    return made


def appointment(who: Patient, number: str, start: datetime) -> list[str]:
    """SIU^S12: a CT is booked."""
    return [
        f"SCH|{number}^HIS|{number}^RIS|||||CT^Abdomen^L||30|min|^^^{stamp(start)}",
        pid(who),
        "RGS|1",
        f"AIS|1||CT^Abdomen^L|{stamp(start)}",
    ]
