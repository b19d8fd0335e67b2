"""Messages of every structure, built from what each segment may hold, and then disturbed.

A marked field carries a word that no other field has, so that a test can ask where it went.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

# Fields by segment: the kind of text that stands there in real messages.
_ID = "id"  # a number of an order, visit or document
_CODE = "code"
_TIME = "time"
_TEXT = "text"
Fields = dict[int, str]
SEGMENTS: dict[str, Fields] = {
    "PID": {3: "cx", 2: "id", 4: "id", 5: "name", 7: _TIME, 8: "sex", 11: _TEXT, 13: _TEXT, 16: _TEXT,
            18: _ID, 19: _ID, 29: _TIME, 30: "flag"},
    "PD1": {4: _TEXT},
    "NTE": {1: "small", 2: _TEXT, 3: _TEXT},
    "PV1": {2: "class", 3: _TEXT, 6: _TEXT, 7: _TEXT, 10: _CODE, 19: _ID, 44: _TIME, 45: _TIME},
    "PV2": {3: _CODE},
    "NK1": {2: _TEXT},
    "AL1": {3: _CODE},
    "IN1": {2: _CODE},
    "DG1": {2: "system", 3: _CODE, 4: _TEXT, 5: _TIME, 6: "dg", 15: "small", 16: _TEXT, 21: "action"},
    "PR1": {3: _CODE, 4: _TEXT, 5: _TIME, 8: _TEXT, 19: _ID},
    "PRB": {1: "prb", 2: _TIME, 3: _CODE, 4: _ID, 7: _TIME, 9: _TIME, 13: _CODE, 16: _TIME, 17: _TEXT,
            20: _TEXT},
    "GOL": {3: _CODE},
    "ORC": {1: "orc", 2: _ID, 3: _ID, 4: _ID, 5: "orc5", 7: "tq", 8: _ID, 9: _TIME, 12: _TEXT},
    "OBR": {2: _ID, 3: _ID, 4: _CODE, 5: _TEXT, 6: _TIME, 7: _TIME, 8: _TIME, 11: "g", 13: _TEXT,
            15: _TEXT, 16: _TEXT, 18: _ID, 20: _ID, 22: _TIME, 24: "section", 25: "obr25", 26: _TEXT,
            27: "tq", 29: _ID, 31: _CODE, 36: _TIME, 44: _CODE},
    "RXO": {1: _CODE, 2: "small"},
    "TQ1": {7: _TIME, 8: _TIME, 9: "priority"},
    "OBX": {2: "type", 3: _CODE, 4: "sub", 5: "value", 6: "unit", 7: _TEXT, 8: "flags", 10: _TEXT,
            11: "obx11", 14: _TIME, 16: _TEXT, 17: _CODE, 19: _TIME, 20: _CODE, 23: _TEXT, 29: "obx29"},
    "SPM": {2: _ID, 4: _CODE, 8: _CODE, 11: _TEXT, 17: _TIME},
    "SAC": {3: _ID},
    "ZDS": {1: _ID},
    "IPC": {1: _ID, 2: _ID, 3: _ID, 5: _CODE},
    "TXA": {2: _CODE, 3: "presentation", 4: _TIME, 5: _TEXT, 6: _TIME, 8: _TIME, 12: _ID, 13: _ID, 14: _ID,
            15: _ID, 16: _TEXT, 17: "txa17", 18: _CODE, 19: "txa19", 25: _TEXT},
    "SCH": {1: _ID, 2: _ID, 6: _CODE, 7: _CODE, 8: _CODE, 11: "tq", 16: _TEXT, 25: "sch25"},
    "RGS": {1: "small", 2: _TEXT},
    "AIS": {3: _CODE, 4: _TIME},
    "AIL": {3: _TEXT},
    "AIP": {3: _TEXT, 4: _CODE},
    "RXA": {3: _TIME, 5: _CODE, 6: "small", 7: _CODE, 9: _TEXT, 15: _TEXT, 17: _CODE, 20: "rxa20"},
    "RXR": {1: _CODE, 2: _CODE},
    "ZPI": {1: _TEXT, 4: _TEXT},
    "QQQ": {2: _TEXT},
}  # fmt: skip
_TYPES = [
    "NM",
    "SN",
    "ST",
    "TX",
    "FT",
    "CE",
    "CWE",
    "ED",
    "RP",
    "DT",
    "TM",
    "TS",
    "DTM",
    "DR",
    "NR",
    "NA",
    "EI",
    "HD",
    "XTN",
    "CX",
    "XAD",
    "CF",
    "VR",
    "ID",
    "IS",
    "ZZ",
    "nm",
]
_WORDS: dict[str, list[str]] = {
    "sex": ["M", "F", "男", "9", "?", '""'],
    "flag": ["Y", "N", "x"],
    "class": ["I", "O", "E", "P", "N", ""],
    "dg": ["A", "W", "F", ""],
    "action": ["A", "D", "U", "X", ""],
    "prb": ["AD", "CO", "DE", "LI", "UC", "UN", "UP", ""],
    "orc": ["NW", "CA", "CR", "HD", "HR", "OK", "SC", "XO", "PR", "RE", "OC", ""],
    "orc5": ["IP", "SC", "CM", "CA", "A", "HD", ""],
    "g": ["G", "L"],
    "section": ["CH", "RAD", "CT", "SP", "GE", "HM", ""],
    "obr25": ["F", "P", "C", "X", "I", "Y", "M", ""],
    "obx11": [*"FPCDWXURSION", "", "f", "?"],
    "obx29": ["RSLT", "QST", "SCI"],
    "type": _TYPES,
    "unit": ["ng/mL", "10^9/L", "mg/dl^毫克^L", "", "?"],
    "flags": ["H", "L~A", "↑", "??", ""],
    "sub": ["", "1", "2", "1.a", "1.a.1", "1.b", "2^1^1"],
    "system": ["I10", "ICD-10", ""],
    "priority": ["S^STAT", "R", ""],
    "presentation": ["TX", "AP"],
    "txa17": ["LA", "DI", "AU", "??", ""],
    "txa19": ["AV", "CA", ""],
    "sch25": ["Booked", "Cancelled", "??", ""],
    "rxa20": ["CP", "RE", "NA", ""],
    "small": ["1", "20"],
    "tq": ["1^^^20261119083000^^S", "^^^x", "1^Q8H"],
}  # fmt: skip
_TIMES = [
    "20261120093000+0800",
    "20261120",
    "2026",
    "202611200930",
    "00000000",
    "0930",
    "20261120240000",
]
_TIMES += ["2026-11-20 09:30", "上周", '""']
_VALUES = [
    "5.10",
    "<5",
    ">=^90",
    "^1^:^128",
    "^application^pdf^Base64^JVBERi0xLjQK",
    "a~b",
    '""',
    "阴性",
]
_VALUES += ["A^甲^L~B^乙^L", "1^2~3^4", "C:\\temp\\x", "\\X41\\", "http://pacs.example/1^^^PDF", ""]

_ADMISSIONS = [
    "A01",
    "A02",
    "A03",
    "A04",
    "A05",
    "A06",
    "A07",
    "A08",
    "A11",
    "A12",
    "A13",
    "A14",
    "A15",
    "A16",
    "A21",
    "A28",
    "A31",
    "A38",
]
PATIENT = ["PID", "PD1", "NTE", "NK1", "PV1", "PV2", "AL1", "IN1"]
RESULTS = ["ORC", "OBR", "NTE", "TQ1", "OBX", "NTE", "OBX", "OBX", "SPM", "OBX", "ZDS"]
ORDER = ["ORC", "TQ1", "OBR", "NTE", "DG1", "OBX", "NTE", "SPM", "IPC", "ZDS"]
STRUCTURES: dict[str, list[str]] = {
    **{
        f"ADT^{event}": ["EVN", *PATIENT, "OBX", "DG1", "DG1", "PR1", "ZPI"]
        for event in _ADMISSIONS
    },
    "ORU^R01": [*PATIENT, *RESULTS, *RESULTS],
    "ORU^R30": [*PATIENT, *RESULTS],
    "OUL^R22": ["PID", "SPM", "OBX", "SAC", "OBR", "ORC", "OBX", "NTE", "SPM", "OBR", "OBX"],
    "OUL^R23": ["PID", "SPM", "SAC", "OBR", "ORC", "OBX", "NTE"],
    "OUL^R24": ["PID", "OBR", "ORC", "SPM", "OBX", "OBX"],
    "ORM^O01": [*PATIENT, *ORDER, "ORC", "RXO", "NTE", *RESULTS],
    "OML^O21": [*PATIENT, *ORDER, *ORDER],
    "OMG^O19": [*PATIENT, *ORDER],
    **{f"MDM^T0{n}": ["EVN", "PID", "PV1", "TXA", "OBX", "NTE", "OBX"] for n in (2, 4, 6, 8)},
    "MDM^T10": ["EVN", "PID", "ORC", "OBR", "TXA", "OBX", "OBX"],
    **{f"MDM^T{n}": ["EVN", "PID", "TXA"] for n in ("01", "03", "05", "07", "09", "11")},
    **{
        f"SIU^S{n}": ["SCH", "NTE", "PID", "PV1", "DG1", "RGS", "AIS", "AIL", "AIP", "NTE", "OBX"]
        for n in (12, 13, 15, 17, 26)
    },
    **{f"PPR^PC{n}": ["PID", "PV1", "PRB", "NTE", "OBX", "GOL", "PRB", *ORDER] for n in (1, 2, 3)},
    "VXU^V04": ["PID", "NK1", "ORC", "RXA", "RXR", "OBX", "NTE", "RXA"],
}


@st.composite
def messages(draw: Any, structure: str | None = None, *, disturbed: bool = True) -> bytes:
    """A message of a structure; each free text is a word of its own (`W12X`)."""
    event = structure or draw(st.sampled_from(sorted(STRUCTURES)))
    counter = iter(range(10_000))
    names = list(STRUCTURES[event])
    if disturbed:
        names = _shuffled(draw, names)
    lines = [_line(draw, name, counter, disturbed=disturbed) for name in names]
    lines.insert(0, _msh(draw, event, disturbed=disturbed))
    end = draw(st.sampled_from(["\r", "\n", "\r\n"])) if disturbed else "\r"
    tail = (
        draw(st.sampled_from(["", "", "\x1c", "\0\0", "垃圾", "ZZZZ", "|||"])) if disturbed else ""
    )
    return (end.join(lines) + end + tail).encode()


def _msh(draw: Any, event: str, *, disturbed: bool) -> str:
    version = draw(st.sampled_from(["2.1", "2.2", "2.3.1", "2.4", "2.5.1", "2.8.2", "2.9", ""]))
    sent = event
    if disturbed:
        kind, _, trigger = event.partition("^")
        sent = draw(
            st.sampled_from(
                [event, f"{event}^{kind}_{trigger}", f"{kind}_{trigger}", event.lower()]
            )
        )
    return f"MSH|^~\\&|HIS|HOSP|ONCORD|HOSP|20261120101112+0800||{sent}|C1|P|{version}||||||UNICODE UTF-8"


def _shuffled(draw: Any, names: list[str]) -> list[str]:
    """Some segments missing, doubled, out of place or unheard of."""
    kept = [name for name in names if name == "PID" or draw(st.integers(0, 9)) > 0]
    for _ in range(draw(st.integers(0, 3))):
        extra = draw(st.sampled_from([*names, "QQQ", "ZPI", "NTE", "OBX", "PID", "DG1"]))
        if extra == "PID" and "SCH" in names:
            continue  # one SCH speaks of all its patients: which of two counts is tested apart
        kept.insert(draw(st.integers(0, len(kept))), extra)
    if draw(st.integers(0, 4)) == 0 and len(kept) > 1:
        at = draw(st.integers(0, len(kept) - 2))
        kept[at], kept[at + 1] = kept[at + 1], kept[at]
    return kept


def _line(draw: Any, name: str, counter: Any, *, disturbed: bool) -> str:
    if name == "EVN":
        return "EVN|A01|20261120101100+0800"
    fields = SEGMENTS[name]
    texts = [""] * (max(fields) + 1)
    texts[0] = name
    for number, kind in fields.items():
        if kind == "cx" or draw(st.integers(0, 2)) > 0:
            texts[number] = _field(draw, kind, next(counter))
    if disturbed and draw(st.integers(0, 15)) == 0:
        texts[0] = name.lower()
    if disturbed and draw(st.integers(0, 15)) == 0 and name != "PID":
        texts = texts[: draw(st.integers(1, len(texts)))]
    return "|".join(texts)


def _field(draw: Any, kind: str, number: int) -> str:  # noqa: PLR0911  one per kind
    word = f"W{number}X"
    match kind:
        case "cx":
            return draw(
                st.sampled_from(
                    ["SYN-1^^^HOSP^MR", "SYN-2^^^HOSP^MR", "SYN-1^^^HOSP^MR~7^^^CHINAID^NI"]
                )
            )
        case "name":
            return f"{word}^三^^^^^L^I"
        case "id":
            return draw(st.sampled_from([word, f"{word}^HIS", f"{word}^HIS^1.2.3^ISO", "SAME^LAB"]))
        case "code":
            return draw(
                st.sampled_from(
                    [word, f"{word}^词^L", f"{word}^词^LN", f"^{word}", "1834-1^AFP^LN"]
                )
            )
        case "time":
            return draw(st.sampled_from(_TIMES))
        case "value":
            return draw(st.sampled_from([word, f"{word}~x", *_VALUES]))
        case "text":
            return draw(st.sampled_from([word, f"{word}\\.br\\二", f"{word}^x", f"{word}~y"]))
        case _:
            return draw(st.sampled_from(_WORDS[kind]))
